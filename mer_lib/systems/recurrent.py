"""A plain recurrent classifier: the deck's Bi-LSTM, GRU and Bi-GRU (Table 5).

Each modality is read by one recurrent layer of its own, the outputs are averaged over time, put side by side and
classified. The deck says no more than the names; mean pooling and this early concatenation are our choice, the same
as in the method. With one modality alone, that layer and the head are left. Sees one utterance: no context.
Cells: Hochreiter & Schmidhuber (1997), LSTM; Cho et al. (2014), GRU; Schuster & Paliwal (1997), both directions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Output, Recurrent, classifier, embeddings
from mer_lib.systems.parts import SystemConfig, check_choice, pooled


@dataclass(frozen=True)
class RecurrentConfig(SystemConfig):
    """Options of the recurrent classifier.

    Attributes:
        cell: "lstm" or "gru".
        bidirectional: Whether half of the units read from the end.
    """

    cell: str = "gru"
    bidirectional: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("cell", self.cell, ("lstm", "gru"))


class RecurrentClassifier(nn.Module):
    """One recurrent layer per modality, means over time, concatenation, head. Shown in chapter 13."""

    def __init__(self, config: RecurrentConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config, self.reads = config, config.modalities
        self.embed = embeddings(config.modalities, features, vectors, config.dim, config.dropout)
        self.layers = nn.ModuleDict(
            {m: Recurrent(config.dim, config.dim, config.cell, config.bidirectional) for m in config.modalities}
        )
        self.classify = classifier(len(config.modalities) * config.dim, config.dim, config.dropout, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        x = {"audio": batch.audio, "text": batch.text}
        encoded = {m: layer(self.embed[m](x[m]), batch.mask(m)) for m, layer in self.layers.items()}
        return Output(self.classify(torch.cat(list(pooled(encoded, batch).values()), -1)), encoded=encoded)
