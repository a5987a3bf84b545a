"""Low-rank multimodal fusion (Liu, Shen, Lakshminarasimhan, Liang, Zadeh & Morency 2018, ACL).

Tensor fusion (Zadeh et al. 2017) multiplies every number of [x_a; 1] with every number of [x_t; 1] and puts a linear
layer on the table of products. Here the weights of that layer are a sum of `rank` products of one factor for each
modality, so the table is never built. The 1 keeps each modality alone among the products.

Kept: the fusion. Simplified: the paper's subnetworks for each modality are our encoder and its mean over time, as in
the method, so that only the fusion differs. With one modality alone, a linear layer is left. Sees one utterance: no
context.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.features.batches import Batch
from mer_lib.model import Output, classifier
from mer_lib.systems.parts import Channels, SystemConfig, pooled


@dataclass(frozen=True)
class LMFConfig(SystemConfig):
    """Options of low-rank fusion.

    Attributes:
        rank: Number of products that are summed.
    """

    rank: int = 4


class LowRankFusion(nn.Module):
    """h = sum over r of (W_a^r [x_a; 1]) * (W_t^r [x_t; 1]) + b. Source: Liu et al. (2018), equation 8.

    Args:
        modalities: Any number.
        inputs: Width of each modality's vector.
        dim: Width of the result.
        rank: Number of products that are summed.
    """

    def __init__(self, modalities: tuple[str, ...], inputs: int, dim: int, rank: int) -> None:
        super().__init__()
        shape, spread = (rank, inputs + 1, dim), 1 / math.sqrt(inputs + 1)
        self.factors = nn.ParameterDict({m: nn.Parameter(torch.randn(shape) * spread) for m in modalities})
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: dict[str, Tensor]) -> Tensor:
        """Modality to (batch, inputs), to (batch, dim)."""
        sides = [torch.einsum("bi,rio->rbo", F.pad(x[m], (0, 1), value=1.0), w) for m, w in self.factors.items()]
        return torch.stack(sides).prod(0).sum(0) + self.bias


class LMF(nn.Module):
    """Encoders, low-rank fusion of their means over time, head. Shown in chapter 13."""

    def __init__(self, config: LMFConfig, features: int, vectors: Tensor) -> None:
        super().__init__()
        self.config = config
        self.channels = Channels(config, features, vectors)
        self.fusion = LowRankFusion(config.modalities, config.dim, config.dim, config.rank)
        self.classify = classifier(config.dim, config.dim, config.dropout, config.classes)

    def forward(self, batch: Batch) -> Output:
        """Classify a batch."""
        encoded = self.channels(batch)
        return Output(self.classify(self.fusion(pooled(encoded, batch))), encoded=encoded)
