"""What any system has to beat: always the largest class, and logistic regression on pooled features.

Both are trained like every other system. Not from the deck: our choice of what a reader asks for first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Output, Words, pool
from mer_lib.systems.parts import SystemConfig


class Majority(nn.Module):
    """Hears and reads nothing: a learned logit per class, which become the class shares of the training split."""

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        self.logits = nn.Parameter(torch.zeros(config.classes))

    def forward(self, batch: Batch) -> Output:
        """The same answer to every utterance."""
        return Output(self.logits.expand(len(batch.label), -1))


class Logistic(nn.Module):
    """One linear layer on the mean of the audio features and the mean of the word vectors.

    Each mean is normalised (LayerNorm without weights): the numbers of word vectors are an eighth of those of features,
    and at one learning rate for both their weights would have to grow eight times as long.
    """

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        self.words = Words.from_pretrained(vectors.clone(), freeze=True)
        width = {"audio": features, "text": vectors.shape[1]}
        self.norm = nn.ModuleDict({m: nn.LayerNorm(width[m], elementwise_affine=False) for m in config.modalities})
        self.classify = nn.Linear(sum(width[m] for m in config.modalities), config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        means = {"audio": pool(batch.audio, batch.audio_mask), "text": pool(self.words(batch.text), batch.text_mask)}
        return Output(self.classify(torch.cat([norm(means[m]) for m, norm in self.norm.items()], -1)))
