"""MISA: modality-invariant and -specific representations (Hazarika, Zimmermann & Poria 2020, ACM Multimedia).

The vector of each modality is mapped twice: by a map that all modalities share, and by a private one of its own. Three
losses shape the maps: the shared vectors should be distributed alike (CMD), shared and private should not overlap, and
their sum should rebuild the vector. A transformer lets all these vectors look at each other; then they are classified.

Kept: the maps, the losses and the weights that the authors' code begins with, the transformer.
Simplified: one bidirectional LSTM and the mean over time for two layers and their last states; two modalities, no BERT.
With one modality alone, its shared and private vector are left, and no similarity. Sees one utterance: no context.
In `Output`, shared is `public` and private is `unique`: the method took them from here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.losses import difference, subspace_mapping_loss
from mer_lib.model import Attention, FeedForward, Output, classifier
from mer_lib.systems.parts import Channels, SystemConfig, pooled


@dataclass(frozen=True)
class MISAConfig(SystemConfig):
    """Options of MISA.

    Attributes:
        similarity: Weight of the discrepancy between the shared vectors.
        difference: Weight of the overlap of shared and private vectors.
        reconstruction: Weight of the error of the rebuilt vectors.
    """

    similarity: float = 1.0
    difference: float = 0.3
    reconstruction: float = 1.0


class MISA(nn.Module):
    """Shared and private vectors of each modality, and a transformer over all of them. Shown in chapter 13."""

    def __init__(self, config: MISAConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop, modalities = config.dim, config.dropout, config.modalities
        self.channels = Channels(config, features, vectors, "lstm")
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(dim, dim), nn.ReLU(), nn.LayerNorm(dim)) for m in modalities}
        )
        self.shared = nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid())
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(dim, dim), nn.Sigmoid()) for m in modalities})
        self.rebuild = nn.ModuleDict({m: nn.Linear(dim, dim) for m in modalities})
        self.attention, self.after = Attention(dim, 4, drop), FeedForward(dim, drop)
        self.classify = classifier(2 * len(modalities) * dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        encoded = self.channels(batch)
        h = {m: self.project[m](x) for m, x in pooled(encoded, batch).items()}
        shared = {m: self.shared(x) for m, x in h.items()}
        private = {m: self.private[m](x) for m, x in h.items()}
        output = Output(self._fuse([*shared.values(), *private.values()]), encoded=encoded)
        output.public, output.unique = shared, private
        output.losses = self._losses(h, shared, private)
        return output

    def _fuse(self, parts: list[Tensor]) -> Tensor:
        """The vectors, (batch, d) each, look at each other as if they were the steps of a sequence."""
        sequence = torch.stack(parts, 1)
        everything = torch.ones(sequence.shape[:2], dtype=torch.bool, device=sequence.device)
        sequence, _ = self.attention(sequence, sequence, everything)
        return self.classify(self.after(sequence).flatten(1))

    def _losses(self, h: dict[str, Tensor], shared: dict[str, Tensor], private: dict[str, Tensor]) -> dict[str, Tensor]:
        """The named losses, weighted."""
        if len(h) == 2:
            terms = subspace_mapping_loss(shared, private)
        else:
            terms = {"difference": torch.stack([difference(shared[m], private[m]) for m in h]).sum()}
        rebuilt = [F.mse_loss(self.rebuild[m](shared[m] + private[m]), h[m]) for m in h]
        terms["reconstruction"] = torch.stack(rebuilt).mean()
        return {name: getattr(self.config, name) * value for name, value in terms.items()}
