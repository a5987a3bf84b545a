"""Early fusion: frames and words are put together before either is read in its context ("pooled": after).

Frames and words are not equally many. `join` says how they are put together all the same:

- "words": each word gets the mean of the frames that are spoken in its span, and one encoder reads the joint sequence
  (the early fusion of word-aligned corpora, as in the baseline EF-LSTM of Tsai et al. 2019, ACL). The spans are those
  in the batch, in proportion to letters; nobody aligned them by ear.
- "pooled": each modality has an encoder of its own; the mean encodings are put side by side (concatenation).

A linear layer on a concatenation is the sum of two linear layers, so "words" adds two embeddings; each is normalised
first (see `parts.level`), which a plain concatenation would not do. The encoder is the method's own, so little but the
fusion differs from it. With one modality alone, its encoder and the head are left. Not from the deck: our choice of a
baseline. Sees one utterance: no context.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Encoder, MethodConfig, Output, classifier, frame_spans, pool
from mer_lib.systems.parts import Channels, SystemConfig, check_choice, level, pooled


@dataclass(frozen=True)
class EarlyConfig(SystemConfig):
    """Options of early fusion.

    Attributes:
        join: "words" or "pooled"; see the module.
    """

    join: str = "words"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("join", self.join, ("words", "pooled"))


def frames_of_words(spans: Tensor, audio_mask: Tensor) -> Tensor:
    """How much of each word's time falls on each frame.

    Args:
        spans: (batch, words, 2), begin and end of each word, 0 to 1.
        audio_mask: (batch, frames).

    Returns:
        (batch, words, frames); the weights of a word sum to 1. Times frames, it gives their mean in each word.
    """
    frames = frame_spans(audio_mask)[:, None]
    words = spans[:, :, None]
    overlap = torch.minimum(words[..., 1], frames[..., 1]) - torch.maximum(words[..., 0], frames[..., 0])
    overlap = overlap.clamp_min(0.0) * audio_mask[:, None]
    return overlap / overlap.sum(-1, keepdim=True).clamp_min(1e-9)


class Early(nn.Module):
    """One network on both modalities at once. Shown in chapter 13."""

    def __init__(self, config: EarlyConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop, width = config.dim, config.dropout, config.dim
        if config.join == "words":
            self.embed = level(config.modalities, features, vectors, dim, drop)
            self.encoder = Encoder(MethodConfig(dim=dim, dropout=drop))
        else:
            self.channels = Channels(config, features, vectors)
            width = len(config.modalities) * dim
        self.classify = classifier(width, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        if self.config.join == "pooled":
            encoded = self.channels(batch)
            return Output(self.classify(torch.cat(list(pooled(encoded, batch).values()), -1)), encoded=encoded)
        sequence, mask = self._joint(batch)
        return Output(self.classify(pool(self.encoder(sequence, mask), mask)))

    def _joint(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One sequence of both, (batch, words, d), and its mask; or the one modality there is."""
        x = {"audio": batch.audio, "text": batch.text}
        x = {m: embed(x[m]) for m, embed in self.embed.items()}
        if len(x) == 1:
            ((modality, sequence),) = x.items()
            return sequence, batch.mask(modality)
        heard = frames_of_words(batch.text_span, batch.audio_mask) @ x["audio"]
        return heard + x["text"], batch.text_mask
