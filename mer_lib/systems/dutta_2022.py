"""Dutta & Ganapathy 2022: each modality reads the dialogue alone, a transformer then reads both, end to end.

Dutta & Ganapathy (2022): Multimodal Transformer with Learnable Frontend and Self Attention for Emotion Recognition.
ICASSP. Compared with the authors' code (iiscleap/multimodal_emotion_recognition).

Per modality, a bidirectional GRU with self-attention reads the utterance vectors of the dialogue and is trained on the
labels. Both sequences are put one behind the other in time, and a transformer lets every turn of each modality look at
every turn of both. The two results of a turn decide together.

Kept: all of this. Simplified: all is trained at once, not stage by stage; the learnable audio front end and BERT are
replaced by our common inputs and encoder; one layer each. As in the authors' code the transformer is not told the
order of the turns, which the GRUs know. One modality: the transformer reads its sequence alone. Context: the whole
dialogue, later turns too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.losses import unimodal_auxiliary_loss
from mer_lib.model import Attention, FeedForward, Output, classifier
from mer_lib.systems.dialogue import ContextEncoder, UtteranceEncoder, dialogues, padded
from mer_lib.systems.parts import SystemConfig


@dataclass(frozen=True)
class Dutta2022Config(SystemConfig):
    """Options of Dutta & Ganapathy 2022.

    Attributes:
        heads: Heads of the transformer.
    """

    heads: int = 4


class Dutta2022(nn.Module):
    """A GRU with self-attention per modality, then a transformer over both sequences."""

    context = True

    def __init__(self, config: Dutta2022Config, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        names, dim, drop = config.modalities, config.dim, config.dropout
        self.encode = UtteranceEncoder(names, features, vectors, dim, drop)
        self.read = nn.ModuleDict({m: ContextEncoder(dim, dim, drop) for m in names})
        self.heads = nn.ModuleDict({m: nn.Linear(dim, config.classes) for m in names})
        self.enter = nn.ModuleDict({m: nn.Linear(dim, dim) for m in names})
        self.attention = Attention(dim, config.heads, drop)
        self.feed_forward = FeedForward(dim, drop)
        self.classify = classifier(len(names) * dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify the utterances of whole dialogues."""
        where, mask = dialogues(batch.place)
        row, turn = where.T
        read = {m: self.read[m](padded(x, where, mask), mask) for m, x in self.encode(batch).items()}
        unimodal = {m: self.heads[m](turns[row, turn]) for m, turns in read.items()}
        together = self.transform(read, mask)
        losses = {"unimodal": unimodal_auxiliary_loss(unimodal, batch.label)}
        return Output(self.classify(together[row, turn]), losses, unimodal)

    def transform(self, read: dict[str, Tensor], mask: Tensor) -> Tensor:
        """Every turn of each modality looks at every turn of both.

        Args:
            read: Modality to (dialogues, turns, d).
            mask: (dialogues, turns).

        Returns:
            (dialogues, turns, modalities x d).
        """
        sequence = torch.cat([self.enter[m](turns) for m, turns in read.items()], 1)
        sequence, _ = self.attention(sequence, sequence, mask.repeat(1, len(read)))
        return torch.cat(self.feed_forward(sequence).split(mask.shape[1], 1), -1)
