"""What several systems need: options, encoders, heads, pooling."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features.batches import Batch
from mer_lib.model import MODALITIES, Encoder, MethodConfig, check_modalities, embeddings, pool


@dataclass(frozen=True)
class SystemConfig:
    """Options that every system has.

    Attributes:
        modalities: ("audio", "text"), or one of them alone.
        dim: Width d of every representation.
        dropout: Share of values dropped.
        classes: Number of classes, those of the corpus.
    """

    modalities: tuple[str, ...] = MODALITIES
    dim: int = 64
    dropout: float = 0.1
    classes: int = len(EMOTIONS)

    def __post_init__(self) -> None:
        check_modalities(self.modalities)


def check_choice(name: str, given: str, known: tuple[str, ...]) -> None:
    """Raise a ValueError unless an option has one of the values it can have."""
    if given not in known:
        raise ValueError(f"{name} is {given!r}; it can be {', '.join(known)}.")


def level(modalities: tuple[str, ...], features: int, vectors: Tensor, dim: int, dropout: float) -> nn.ModuleDict:
    """`model.embeddings`, each with LayerNorm behind it (Ba et al. 2016; our choice), so that none drowns the other.

    Frames vary by 1, word vectors by an eighth. Where a system adds or pools them as they come, and joins them before
    an encoder has normalised either, it would hear the sound and hardly the words.
    """
    found = embeddings(modalities, features, vectors, dim, dropout)
    return nn.ModuleDict({m: nn.Sequential(embed, nn.LayerNorm(dim)) for m, embed in found.items()})


class Channels(nn.Module):
    """Embed and encode each modality by itself, with the method's own encoder: what a fusion starts from.

    Args:
        config: Says which modalities, how wide, how much dropout.
        features: Number of audio features.
        vectors: (vocabulary, dimensions), pretrained word vectors.
        encoder: "conv", "lstm" or "gru"; see `model.Encoder`.
    """

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor, encoder: str = "conv") -> None:
        super().__init__()
        shape = MethodConfig(dim=config.dim, dropout=config.dropout, encoder=encoder)
        self.embed = embeddings(config.modalities, features, vectors, config.dim, config.dropout)
        self.encoders = nn.ModuleDict({m: Encoder(shape) for m in config.modalities})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Modality to its sequence H_m, (batch, time, d); padded steps come out as 0."""
        x = {"audio": batch.audio, "text": batch.text}
        return {m: encode(self.embed[m](x[m]), batch.mask(m)) for m, encode in self.encoders.items()}


def pooled(sequences: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Mean over time of each modality: (batch, time, d) to (batch, d)."""
    return {m: pool(sequence, batch.mask(m)) for m, sequence in sequences.items()}


def squared_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean squared error over what the mask shows; 0 where it shows nothing.

    Args:
        predicted: (..., d).
        target: (..., d).
        mask: (...), bool.

    Returns:
        A scalar.
    """
    error = (predicted - target).square().mean(-1)
    return torch.where(mask, error, 0.0).sum() / mask.sum().clamp_min(1)


class AttentivePool(nn.Module):
    """Mean over time with learned weights: score each step, softmax over what the mask shows.

    Source: Yang et al. (2016), equations 5 to 7.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.score = nn.Sequential(nn.Linear(dim, dim), nn.Tanh(), nn.Linear(dim, 1, bias=False))

    def forward(self, sequence: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, time, d) and (batch, time) to (batch, d) and the weights (batch, time), which sum to 1."""
        scores = self.score(sequence).squeeze(-1).masked_fill(~mask, float("-inf"))
        weights = scores.softmax(-1)
        return (sequence * weights.unsqueeze(-1)).sum(1), weights


def attend_both_ways(
    cross: nn.ModuleDict, h: dict[str, Tensor], batch: Batch
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Let each of the two modalities look at the other, both at once.

    Args:
        cross: Modality that asks to its `model.Attention`.
        h: Modality to (batch, time, d).
        batch: Has the masks.

    Returns:
        The same as `h` with what was seen added, and modality that asks to the weights, as in `Output`.
    """
    pairs = (("audio", "text"), ("text", "audio"))
    heard = {asks: cross[asks](h[asks], h[other], batch.mask(other)) for asks, other in pairs}
    return {m: heard[m][0] for m in h}, {m: weights for m, (_, weights) in heard.items()}
