"""What several systems need: common options, attentive pooling, the way from utterances to dialogues and back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.model import MODALITIES, check_modalities


@dataclass(frozen=True)
class SystemConfig:
    """Options that every system has.

    Attributes:
        modalities: ("audio", "text"), or one of them alone.
        dim: Width d of every representation.
        dropout: Share of values dropped.
    """

    modalities: tuple[str, ...] = MODALITIES
    dim: int = 64
    dropout: float = 0.1

    def __post_init__(self) -> None:
        check_modalities(self.modalities)


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


def dialogues(place: Tensor) -> tuple[Tensor, Tensor]:
    """Where each utterance of a batch stands in its dialogue.

    Args:
        place: (batch, 3), as in `Batch`; the turns of a dialogue follow each other.

    Returns:
        (batch, 2), the dialogue and the turn, both counted from 0 within the batch; and (dialogues, turns), True where
        there is a turn. `padded` and `table[row, turn]` use them.
    """
    _, row = torch.unique_consecutive(place[:, 0], return_inverse=True)
    lengths = torch.bincount(row)
    first = lengths.cumsum(0) - lengths
    turn = torch.arange(len(row)) - first[row]
    return torch.stack([row, turn], -1), torch.arange(int(lengths.max())) < lengths[:, None]


def padded(vectors: Tensor, where: Tensor, mask: Tensor) -> Tensor:
    """Put the vectors of utterances into a table of dialogues: (batch, d) to (dialogues, turns, d), 0 where none is.

    `table[where[:, 0], where[:, 1]]` takes them out again.
    """
    table = vectors.new_zeros(*mask.shape, vectors.shape[-1])
    return table.index_put((where[:, 0], where[:, 1]), vectors)
