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
from mer_lib.systems.parts import SystemConfig


class System(NamedTuple):
    """A system: how it is configured and built, and what it is."""

    module: type[nn.Module]
    config: type
    about: str


SYSTEMS = {
    "method": System(Method, MethodConfig, "Du et al. (2024), our reconstruction: all its parts switch on and off"),
    "majority": System(Majority, SystemConfig, "Always the largest class of training"),
    "logistic": System(Logistic, SystemConfig, "Logistic regression on the means of features and word vectors"),
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
