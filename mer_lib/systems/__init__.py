"""Every system by its name, all with one face: a batch in, an `Output` out, no trainer of its own.

To add a system, write a module with a config and a `torch.nn.Module`, and enter it here.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import nn

from mer_lib.features import STEP_FEATURES
from mer_lib.model import Method, MethodConfig
from mer_lib.systems.baselines import Logistic, Majority
from mer_lib.systems.early import Early, EarlyConfig
from mer_lib.systems.gated import Gated
from mer_lib.systems.late import Late, LateConfig
from mer_lib.systems.lmf import LMF, LMFConfig
from mer_lib.systems.maji import Maji
from mer_lib.systems.mctn import MCTN, MCTNConfig
from mer_lib.systems.mer_han import MERHAN
from mer_lib.systems.misa import MISA, MISAConfig
from mer_lib.systems.mmin import MMIN, MMINConfig
from mer_lib.systems.parts import SystemConfig
from mer_lib.systems.recurrent import RecurrentClassifier, RecurrentConfig


class System(NamedTuple):
    """A system: how it is configured and built, and what it is."""

    module: type[nn.Module]
    config: type
    about: str


SYSTEMS = {
    "method": System(Method, MethodConfig, "Du et al. (2024), our reconstruction: all its parts switch on and off"),
    "majority": System(Majority, SystemConfig, "Always the largest class of training"),
    "logistic": System(Logistic, SystemConfig, "Logistic regression on the means of features and word vectors"),
    "early": System(Early, EarlyConfig, "Early fusion: frames join the words they are spoken in, one encoder"),
    "late": System(Late, LateConfig, "Late fusion: one classifier per modality, probabilities averaged or weighted"),
    "gated": System(Gated, SystemConfig, "Arevalo et al. (2017), GMU: a gate mixes the modalities"),
    "lmf": System(LMF, LMFConfig, "Liu et al. (2018): low-rank tensor fusion"),
    "misa": System(MISA, MISAConfig, "Hazarika et al. (2020): shared and private vectors, transformer fusion"),
    "mer-han": System(MERHAN, SystemConfig, "Zhang et al. (2023): local, cross-modal and global attention"),
    "maji-2023": System(Maji, SystemConfig, "Maji et al. (2023): CNN and BiGRU, cross-modal transformer"),
    "recurrent": System(RecurrentClassifier, RecurrentConfig, "LSTM or GRU per modality, one direction or two"),
    "mctn": System(MCTN, MCTNConfig, "Pham et al. (2019): source to target to source; the source alone at test"),
    "mmin": System(MMIN, MMINConfig, "Zhao et al. (2021): imagines a missing modality"),
}


def names() -> list[str]:
    """Names that `build` knows."""
    return list(SYSTEMS)


def require(name: str) -> System:
    """Return a system by its name.

    Raises:
        ValueError: If there is none of that name; the message lists those there are.
    """
    if name not in SYSTEMS:
        raise ValueError(f"There is no system {name!r}; there are: {', '.join(names())}.")
    return SYSTEMS[name]


def build(name: str, vectors: torch.Tensor, features: int = STEP_FEATURES, **options: Any) -> nn.Module:
    """Build a system with fresh weights, drawn from PyTorch's random generator.

    Args:
        name: One of `names()`.
        vectors: (vocabulary, dimensions), pretrained word vectors.
        features: Number of audio features per step.
        **options: Fields of the system's config.

    Raises:
        ValueError: If the system or an option is unknown, or an option has a value it cannot have.
    """
    system = require(name)
    known = [field.name for field in fields(system.config)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ValueError(f"System {name!r} has no option {unknown[0]!r}; it has: {', '.join(known)}.")
    if "modalities" in options:
        options["modalities"] = tuple(options["modalities"])
    return system.module(system.config(**options), features, vectors)
