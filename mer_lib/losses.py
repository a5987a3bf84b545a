"""The losses: central moment discrepancy, difference, and the unimodal auxiliary loss.

The deck names L_sp and L_ua and gives no formula. The two terms of L_sp are those of MISA (Hazarika,
Zimmermann & Poria 2020), which took them from Zellinger et al. (2017) and Bousmalis et al. (2016).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F


def central_moment_discrepancy(x: Tensor, y: Tensor, moments: int = 5, width: float = 1.0) -> Tensor:
    """How far apart two clouds of points are, by their means and central moments.

    CMD = |E x - E y| / width + sum over k = 2..moments of |c_k(x) - c_k(y)| / width^k, where c_k is the
    vector of k-th central moments of each coordinate. Source: Zellinger et al. (2017), equation 5.

    Args:
        x: (batch, d), values in an interval of length `width`.
        y: (other batch, d), in the same interval.
        moments: The highest moment; 5 in the paper.
        width: Length of the interval; 1 for values that come out of a sigmoid.

    Returns:
        A scalar, 0 when all the moments agree. Shown in chapter 08.
    """
    centre_x, centre_y = x.mean(0), y.mean(0)
    distance = _norm(centre_x - centre_y) / width
    for k in range(2, moments + 1):
        moment_x, moment_y = ((x - centre_x) ** k).mean(0), ((y - centre_y) ** k).mean(0)
        distance = distance + _norm(moment_x - moment_y) / width**k
    return distance


def _norm(v: Tensor) -> Tensor:
    """Euclidean norm whose gradient stays finite at 0."""
    return (v.square().sum() + 1e-12).sqrt()


def difference(x: Tensor, y: Tensor) -> Tensor:
    """Squared Frobenius norm of the cross-correlation of two sets of vectors: 0 when no coordinates go together.

    Each column is centred over the batch and each row scaled to length 1, so that the value lies
    between 0 and 1. Source: Bousmalis et al. (2016), equation 5, normalised as by MISA.

    Args:
        x: (batch, d).
        y: (batch, e).

    Returns:
        A scalar. Shown in chapter 08.
    """
    x = F.normalize(x - x.mean(0), dim=1)
    y = F.normalize(y - y.mean(0), dim=1)
    return (x.T @ y / len(x)).square().sum()


def subspace_mapping_loss(public: Mapping[str, Tensor], unique: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The two terms of L_sp.

    Args:
        public: Modality to its pooled public vectors, (batch, d), in 0..1.
        unique: Modality to its pooled unique vectors, (batch, d).

    Returns:
        "similarity": discrepancy between the public vectors of the modalities; "difference": overlap
        between public and unique of each modality and between the uniques. Shown in chapter 08.
    """
    apart = [difference(public[m], unique[m]) for m in public] + [difference(unique["audio"], unique["text"])]
    return {
        "similarity": central_moment_discrepancy(public["audio"], public["text"]),
        "difference": torch.stack(apart).sum(),
    }


def unimodal_auxiliary_loss(logits: Mapping[str, Tensor], label: Tensor) -> Tensor:
    """L_ua: the mean cross-entropy of the heads that see one modality each.

    Args:
        logits: Modality to (batch, classes).
        label: (batch,).

    Returns:
        A scalar. The deck names it; the form is our choice. Shown in chapter 10.
    """
    return torch.stack([F.cross_entropy(scores, label) for scores in logits.values()]).mean()
