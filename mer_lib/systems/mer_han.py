"""MER-HAN: hybrid attention networks (Zhang et al. 2023, Biomedical Signal Processing and Control 85, 105052).

Three kinds of attention follow each other: within each modality (local intra-modal), from each modality to the other
(cross-modal), and over everything at once (global inter-modal), which gives the vector that is classified.

Kept: the three stages in their order. We could check the abstract only, not the layers, so these are our choice: a
bidirectional LSTM with self-attention per modality for the audio and text encoder (ATE), attention both ways for the
cross-modal block (CMA), attentive pooling over the joined sequences for the global attention (MEC). With one modality
alone, local attention and the pooling are left. Sees one utterance: no context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Attention, Output, classifier
from mer_lib.systems.parts import AttentivePool, Channels, SystemConfig, attend_both_ways


class MERHAN(nn.Module):
    """Local, cross-modal and global attention. Shown in chapter 13."""

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop, modalities = config.dim, config.dropout, config.modalities
        self.channels = Channels(config, features, vectors, "lstm")
        self.local = nn.ModuleDict({m: Attention(dim, 4, drop) for m in modalities})
        if len(modalities) == 2:
            self.cross = nn.ModuleDict({m: Attention(dim, 4, drop) for m in modalities})
        self.overall = AttentivePool(dim)
        self.classify = classifier(dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        encoded = self.channels(batch)
        h = {m: self.local[m](x, x, batch.mask(m))[0] for m, x in encoded.items()}
        weights = dict[str, Tensor]()
        if len(h) == 2:
            h, weights = attend_both_ways(self.cross, h, batch)
        mask = torch.cat([batch.mask(m) for m in h], 1)
        vector, _ = self.overall(torch.cat(list(h.values()), 1), mask)
        return Output(self.classify(vector), encoded=encoded, attention=weights)
