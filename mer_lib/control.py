"""The control of Figure 5: the terms of L_sp, measured in every epoch of a training, trained on or not.

    python -m mer_lib control --corpus duet-i --corpus duet-m --out data/results/control.csv

A history (`experiments.histories`) tells of losses that are trained on only. Here the same trainings run again, and
after every epoch the system that would be kept is asked. Shown in chapter 15.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pandas as pd
import torch
from torch import nn

from mer_lib.experiments import RUN, Run, build, fit_on, prepared, read_results
from mer_lib.features.batches import Prepared
from mer_lib.losses import subspace_mapping_loss
from mer_lib.model import MODALITIES
from mer_lib.probes import SPACES, Probes, alignment, pooled
from mer_lib.shipped import folder
from mer_lib.training import seed_everything

ROW = [*RUN, "epoch"]
"""Columns that name a row of the results."""

VARIANTS = ("A+T", "A+T (w/o L_sp)")
"""What is compared: the terms trained on, and only measured."""


def measured(system: nn.Module, data: Prepared) -> dict[str, float]:
    """What the terms say of all dev utterances at once, without dropout, and what they are meant to change.

    Returns:
        `similarity` and `difference`, without any weight; `spread`, the root of the mean variance of a coordinate
        within the public cloud of a channel; `gap`, `modality_public` (%) and `leak` (%), which
        `probes.alignment` and `probes.Probes` explain.
    """
    vectors = pooled(system, data.dev)
    spaces = ({m: torch.as_tensor(vectors[f"{space} {m}"]) for m in MODALITIES} for space in SPACES)
    found = {name: float(term) for name, term in subspace_mapping_loss(*spaces).items()}
    variance = sum(vectors[f"public {m}"].var(0).mean() for m in MODALITIES) / 2
    told = Probes(system, data.train).ask(vectors, data.dev.labels.numpy())
    return {
        **found,
        "spread": float(variance**0.5),
        "gap": alignment(vectors)["gap"],
        "modality_public": told["modality_public"],
        "leak": told["leak"],
    }


def follow(run: Run, epochs: int | None = None) -> list[dict[str, Any]]:
    """Train a run, and measure before the first and after every epoch.

    Args:
        run: A run of the method with both channels.
        epochs: Stop after so many epochs, and not before; by default where the run itself would.

    Returns:
        One row per epoch, from 0: the run; `task`, the mean loss of the task over the training batches, and
        `dev_ua` (%), both NaN in epoch 0; and what `measured` returns. `key` is that of the whole run, of which a
        shorter one is the beginning.
    """
    data = prepared(run.corpus, run.fold, run.root)
    seed_everything(run.seed)
    found = [measured(build(run, data), data)]
    shorter = replace(run.training, epochs=epochs, patience=epochs) if epochs else run.training
    history = fit_on(replace(run, training=shorter), data, lambda system: found.append(measured(system, data))).history
    name = {column: getattr(run, column) for column in RUN}
    told: list[dict[str, Any]] = [
        {"epoch": 0},
        *({column: row[column] for column in ("epoch", "task", "dev_ua")} for row in history),
    ]
    return [{**name, **of, **what, "key": run.key()} for of, what in zip(told, found, strict=True)]


def recorded() -> pd.DataFrame:
    """Read the kept control, `data/results/control.csv`; without rows if nothing is kept."""
    try:
        return read_results(folder("results") / "control.csv", ("epoch", "key"))
    except (FileNotFoundError, ValueError):
        return pd.DataFrame(columns=[*ROW, "key"])
