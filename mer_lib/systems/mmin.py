"""MMIN: missing modality imagination network (Zhao, Li & Jin 2021, ACL).

In training modalities are dropped at random, and a cascade of residual autoencoders imagines the vector of the missing
one from the one that is there (forward imagination); a second cascade imagines what was there from what was imagined
(backward). The codes inside the forward cascade are the joint representation that is classified. So one network serves
whatever is missing at test.

Kept: both imaginations, the cascade, classification from its codes. Simplified: the paper first trains encoders on full
data and takes their vectors as what should be imagined; here the encoders' own vectors of the same step are it, without
gradient, so that one training suffices. A missing modality is a vector of zeros, in the paper a sequence of zeros. The
paper's encoders (LSTM, TextCNN, maximum over time) are GRUs with means over time, and the two layers behind each of its
cascades are left out. The paper trains on every way of missing something, and on nothing complete; here a third each:
audio missing, text missing, nothing missing.

`modalities` is what is there at test, and only that: training always has both, so A, T and A+T of the deck's Table 5
are the same network under three conditions (trained anew for each, since dev picks the epoch under its condition).
Sees one utterance: no context.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mer_lib.features.batches import Batch
from mer_lib.model import MODALITIES, Output, classifier
from mer_lib.systems.parts import Channels, SystemConfig, pooled, squared_error


@dataclass(frozen=True)
class MMINConfig(SystemConfig):
    """Options of MMIN; its `modalities` are those that are there at test.

    Attributes:
        imagine: Weight of the error of the imagined missing modality.
        cycle: Weight of the error of what is imagined back.
        blocks: Residual autoencoders in a cascade.
    """

    imagine: float = 1.0
    cycle: float = 1.0
    blocks: int = 3


class Cascade(nn.Module):
    """Residual autoencoders in a row: each sees the input plus all that those before it added."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        half, code = width // 2, width // 4
        self.encoders = nn.ModuleList(
            nn.Sequential(nn.Linear(width, half), nn.LeakyReLU(), nn.Linear(half, code)) for _ in range(blocks)
        )
        self.decoders = nn.ModuleList(
            nn.Sequential(nn.Linear(code, half), nn.ReLU(), nn.Linear(half, width)) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, width) to what is imagined, (batch, width), and the codes, (batch, blocks * width / 4)."""
        codes = []
        for encode, decode in zip(self.encoders, self.decoders, strict=True):
            codes.append(encode(x))
            x = x + decode(codes[-1])
        return x, torch.cat(codes, -1)


class MMIN(nn.Module):
    """Imagine what is missing, classify from the codes. Shown in chapter 13."""

    def __init__(self, config: MMINConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        dim, drop = config.dim, config.dropout
        self.channels = Channels(replace(config, modalities=MODALITIES), features, vectors, "gru")
        self.ahead, self.back = Cascade(2 * dim, config.blocks), Cascade(2 * dim, config.blocks)
        self.classify = classifier(config.blocks * (2 * dim // 4), dim, drop, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch, with something missing at random in training."""
        encoded = self.channels(batch)
        vectors = torch.stack([pooled(encoded, batch)[m] for m in MODALITIES], 1)
        there = self.there(len(batch.label))
        imagined, codes = self.imagine(self.ahead, vectors, there)
        output = Output(self.classify(codes), encoded=encoded)
        output.losses = self._losses(vectors.detach(), imagined, there)
        return output

    def there(self, size: int) -> Tensor:
        """Which modality is there, (batch, 2): drawn in training, those of the configuration at test."""
        if not self.training:
            return torch.tensor([m in self.config.modalities for m in MODALITIES]).expand(size, -1)
        missing = torch.randint(3, (size,))  # 2: neither
        return torch.stack([missing != 0, missing != 1], 1)

    def imagine(self, cascade: Cascade, vectors: Tensor, there: Tensor) -> tuple[Tensor, Tensor]:
        """From what is there of (batch, 2, d) to (batch, 2, d) and the codes; what is missing is not read."""
        seen = torch.where(there.unsqueeze(-1), vectors, 0.0)
        imagined, codes = cascade(seen.flatten(1))
        return imagined.unflatten(1, (2, -1)), codes

    def _losses(self, vectors: Tensor, imagined: Tensor, there: Tensor) -> dict[str, Tensor]:
        """Error of the missing from the one there, and of the one there from the imagined; weighted."""
        returned, _ = self.imagine(self.back, imagined, ~there)
        incomplete = there & ~there.all(1, keepdim=True)
        return {
            "imagine": self.config.imagine * squared_error(imagined, vectors, ~there),
            "cycle": self.config.cycle * squared_error(returned, vectors, incomplete),
        }
