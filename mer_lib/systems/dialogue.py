"""From utterances to dialogues and back, and what the systems share that read the turns around an utterance."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Attention, ConvBlock, Recurrent
from mer_lib.systems.parts import AttentivePool, level


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


def speakers(place: Tensor) -> Tensor:
    """Number the people of each dialogue from 0, in the order in which they first speak: (batch, 3) to (batch,).

    What is learned about the first and the second speaker also holds for people never heard before.
    """
    where, mask = dialogues(place)
    who = padded(place[:, 2:], where, mask).squeeze(-1)
    same = (who[:, :, None] == who[:, None, :]) & mask[:, None, :]
    first = same.int().argmax(-1)  # the turn in which the speaker of each turn speaks for the first time
    new = (first == torch.arange(mask.shape[1])) & mask
    number = (new.cumsum(-1) - 1).gather(1, first)
    return number[where[:, 0], where[:, 1]]


class UtteranceEncoder(nn.Module):
    """One vector per utterance and modality: embed each step, look at its neighbours, pool with learned weights.

    Stands for the feature extractors of the papers (text CNNs, openSMILE, BERT ...), so that the systems with context
    start from the same, all but Wu 2021.
    """

    def __init__(self, modalities: tuple[str, ...], features: int, vectors: Tensor, dim: int, dropout: float) -> None:
        super().__init__()
        self.embed = level(modalities, features, vectors, dim, dropout)
        self.conv = nn.ModuleDict({m: ConvBlock(dim, dropout) for m in modalities})
        self.pool = nn.ModuleDict({m: AttentivePool(dim) for m in modalities})

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Modality to (batch, d)."""
        x = {"audio": batch.audio, "text": batch.text}
        steps = {m: self.conv[m](embed(x[m]), batch.mask(m)) for m, embed in self.embed.items()}
        return {m: self.pool[m](sequence, batch.mask(m))[0] for m, sequence in steps.items()}


class AttentionFusion(nn.Module):
    """Mean over the modalities with learned weights, so that an utterance can trust its voice or its words.

    Source: Poria et al. (2017b), AT-Fusion. A single modality passes through.
    """

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.pool = AttentivePool(dim) if len(modalities) > 1 else None

    def forward(self, vectors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Modality to (batch, d), to (batch, d) and the weights (batch, modalities), which sum to 1."""
        side_by_side = torch.stack(list(vectors.values()), 1)
        everything = torch.ones(side_by_side.shape[:2], dtype=torch.bool)
        if self.pool is None:
            return side_by_side.squeeze(1), everything.to(side_by_side.dtype)
        return self.pool(side_by_side, everything)


class ContextEncoder(nn.Module):
    """Read a dialogue in both directions (GRU), then let each turn look at all turns (one head)."""

    def __init__(self, inputs: int, dim: int, dropout: float) -> None:
        super().__init__()
        self.recurrent = Recurrent(inputs, dim)
        self.attention = Attention(dim, 1, dropout)

    def forward(self, table: Tensor, mask: Tensor) -> Tensor:
        """(dialogues, turns, inputs) and (dialogues, turns) to (dialogues, turns, d)."""
        turns = self.recurrent(table, mask)
        return self.attention(turns, turns, mask)[0]
