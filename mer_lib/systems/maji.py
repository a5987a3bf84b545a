"""Cross-modal transformer and self-attention (Maji, Swain, Guha & Routray 2023, ICASSP; "Bubai." in the deck).

Audio is read by convolutions and a bidirectional GRU, text by a bidirectional GRU on fixed word vectors. A cross-modal
transformer lets each modality look at the other; self-attention over the fused sequence picks what counts; its mean
over time is classified.

Kept: these parts in their order. Simplified: two convolutions and one layer of all else, our audio features, our word
vectors for GloVe. We could check the abstract only, so the joining along time and the mean at the end are our choice.
With one modality alone, its encoder and the self-attention are left. Sees one utterance: no context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import Attention, ConvBlock, FeedForward, Output, Recurrent, classifier, embeddings, pool
from mer_lib.systems.parts import SystemConfig, attend_both_ways


class Maji(nn.Module):
    """CNN and BiGRU, cross-modal transformer, self-attention. Shown in chapter 13."""

    def __init__(self, config: SystemConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop, modalities = config.dim, config.dropout, config.modalities
        self.embed = embeddings(modalities, features, vectors, dim, drop)
        if "audio" in modalities:
            self.convs = nn.ModuleList(ConvBlock(dim, drop) for _ in range(2))
        self.recurrent = nn.ModuleDict({m: Recurrent(dim, dim, "gru") for m in modalities})
        if len(modalities) == 2:
            self.cross = nn.ModuleDict({m: Attention(dim, 4, drop) for m in modalities})
            self.after = nn.ModuleDict({m: FeedForward(dim, drop) for m in modalities})
        self.fused = Attention(dim, 4, drop)
        self.classify = classifier(dim, dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        encoded = self._encode(batch)
        h, weights = encoded, dict[str, Tensor]()
        if len(h) == 2:
            h, weights = attend_both_ways(self.cross, h, batch)
            h = {m: self.after[m](x) for m, x in h.items()}
        sequence, mask = torch.cat(list(h.values()), 1), torch.cat([batch.mask(m) for m in h], 1)
        sequence, _ = self.fused(sequence, sequence, mask)
        return Output(self.classify(pool(sequence, mask)), encoded=encoded, attention=weights)

    def _encode(self, batch: Batch) -> dict[str, Tensor]:
        """Modality to (batch, time, d)."""
        x = {"audio": batch.audio, "text": batch.text}
        x = {m: embed(x[m]) for m, embed in self.embed.items()}
        if "audio" in x:
            for conv in self.convs:
                x["audio"] = conv(x["audio"], batch.audio_mask)
        return {m: recurrent(x[m], batch.mask(m)) for m, recurrent in self.recurrent.items()}
