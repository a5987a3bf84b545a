"""Every system by its name, all with one face: a batch in, an `Output` out, no trainer of its own.

To add a system, write a module with a config and a `torch.nn.Module`, and enter it here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import torch
from torch import nn

from mer_lib.features import STEP_FEATURES
from mer_lib.model import Method, MethodConfig
from mer_lib.systems.baselines import Logistic, Majority
from mer_lib.systems.bc_lstm import BcLstm, BcLstmConfig
from mer_lib.systems.catf_lstm import CatfLstm, CatfLstmConfig
from mer_lib.systems.consk_gcn import ConskGcn, ConskGcnConfig
from mer_lib.systems.dann import Dann, DannConfig
from mer_lib.systems.dutta_2022 import Dutta2022, Dutta2022Config
from mer_lib.systems.early import Early, EarlyConfig
from mer_lib.systems.gated import Gated
from mer_lib.systems.late import Late, LateConfig
from mer_lib.systems.lian_2019 import Lian2019, Lian2019Config
from mer_lib.systems.lmf import LMF, LMFConfig
from mer_lib.systems.maji import Maji
from mer_lib.systems.mctn import MCTN, MCTNConfig
from mer_lib.systems.mer_han import MERHAN
from mer_lib.systems.misa import MISA, MISAConfig
from mer_lib.systems.mmin import MMIN, MMINConfig
from mer_lib.systems.parts import SystemConfig
from mer_lib.systems.recurrent import RecurrentClassifier, RecurrentConfig
from mer_lib.systems.wu_2021 import Wu2021, Wu2021Config


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
    "bc-lstm": System(BcLstm, BcLstmConfig, "Poria et al. (2017a): LSTMs over the dialogue, per modality, then joint"),
    "catf-lstm": System(CatfLstm, CatfLstmConfig, "Poria et al. (2017b): attention over modalities and over turns"),
    "lian-2019": System(
        Lian2019, Lian2019Config, "Lian et al. (2019): attention fusion, who speaks, GRU over the dialogue"
    ),
    "dann": System(Dann, DannConfig, "Lian et al. (2020): a context encoder that unlearns who speaks"),
    "consk-gcn": System(ConskGcn, ConskGcnConfig, "Fu et al. (2021): a graph of turns that mean and feel alike"),
    "wu-2021": System(Wu2021, Wu2021Config, "Wu et al. (2021): words beside their sound, and the sentences around"),
    "dutta-2022": System(
        Dutta2022, Dutta2022Config, "Dutta & Ganapathy (2022): a transformer over both sequences of turns"
    ),
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


def build(
    name: str, vectors: torch.Tensor, features: int = STEP_FEATURES, words: Sequence[str] = (), **options: Any
) -> nn.Module:
    """Build a system with fresh weights, drawn from PyTorch's random generator.

    Args:
        name: One of `names()`.
        vectors: (vocabulary, dimensions), pretrained word vectors.
        features: Number of audio features per step.
        words: The word of each row of `vectors`, for systems that say by an attribute `reads_words` that they
            know something about words; without, they know nothing.
        **options: Fields of the system's config.

    Raises:
        ValueError: If the system or an option is unknown, or an option has a value it cannot have.
    """
    system = require(name)
    has = [field.name for field in fields(system.config)]
    unknown = sorted(set(options) - set(has))
    if unknown:
        raise ValueError(f"System {name!r} has no option {unknown[0]!r}; it has: {', '.join(has)}.")
    if "modalities" in options:
        options["modalities"] = tuple(options["modalities"])
    known = {"words": words} if getattr(system.module, "reads_words", False) else {}
    return system.module(system.config(**options), features, vectors, **known)
