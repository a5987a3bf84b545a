"""Gated fusion: the gated multimodal unit (Arevalo, Solorio, Montes-y-Gómez & González 2017, ICLR workshop).

Each modality makes a proposal; a gate that sees both says, coordinate by coordinate, how much of which proposal counts;
the mixture is classified. Kept: the unit for two modalities, as in the paper. Simplified: the paper's features of
posters and plots and its maxout classifier are our encoder and head, the same as the method's, so that only the fusion
differs. With one modality alone, its proposal is left and there is nothing to mix. Sees one utterance: no context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Output, classifier
from mer_lib.systems.parts import Channels, SystemConfig, pooled


class GatedUnit(nn.Module):
    """h = z * h_a + (1 - z) * h_t, with h_m = tanh(W_m x_m) and z = sigmoid(W_z [x_a; x_t]). Source: Arevalo et al."""

    def __init__(self, modalities: tuple[str, ...], dim: int) -> None:
        super().__init__()
        self.propose = nn.ModuleDict({m: nn.Linear(dim, dim) for m in modalities})
        if len(modalities) == 2:
            self.gate = nn.Linear(2 * dim, dim)

    def forward(self, x: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Modality to (batch, d), to the mixture (batch, d) and the gate (batch, d): the share of the first one."""
        first, *second = (propose(x[m]).tanh() for m, propose in self.propose.items())
        if not second:
            return first, torch.ones_like(first)
        z = self.gate(torch.cat([x[m] for m in self.propose], -1)).sigmoid()
        return z * first + (1 - z) * second[0], z


class Gated(nn.Module):
    """Encoders, the gated unit on their means over time, head. Shown in chapter 13."""

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        self.channels = Channels(config, features, vectors)
        self.unit = GatedUnit(config.modalities, config.dim)
        self.classify = classifier(config.dim, config.dim, config.dropout, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        encoded = self.channels(batch)
        mixture, _ = self.unit(pooled(encoded, batch))
        return Output(self.classify(mixture), encoded=encoded)
