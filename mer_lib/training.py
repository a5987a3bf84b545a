"""One readable training loop, the same for every system."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mer_lib.corpora.base import EMOTIONS
from mer_lib.features.batches import MODALITIES, Batch, Utterances
from mer_lib.features.fronts import pretrained_parameters
from mer_lib.metrics import scores
from mer_lib.progress import progress
from mer_lib.settings import TrainingConfig

FINE_TUNING = 0.02
"""What was pretrained learns at this share of the rate: by default at 4e-5 (Devlin et al. 2019: 2e-5 to 5e-5)."""


@dataclass
class Trained:
    """A trained system and how it got there.

    Attributes:
        system: The weights of the epoch that was best on dev.
        history: One row per epoch: the mean of each named loss, and the dev scores.
        seconds: Wall time of the training.
        prior: (classes,), shares of the classes that the logits are used to: those in training, or even ones.
    """

    system: nn.Module
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    prior: np.ndarray = field(default_factory=lambda: even_shares(len(EMOTIONS)))


def seed_everything(seed: int) -> torch.Generator:
    """Seed PyTorch and return a generator for the order of the batches."""
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def class_shares(utterances: Utterances) -> np.ndarray:
    """Share of each class, (classes,)."""
    return np.bincount(utterances.labels.numpy(), minlength=len(utterances.emotions)) / len(utterances)


def even_shares(classes: int) -> np.ndarray:
    """The same share for each class, (classes,)."""
    return np.full(classes, 1 / classes)


def needs_context(system: nn.Module) -> bool:
    """Whether a system reads the dialogue around an utterance: it says so by an attribute `context`."""
    return getattr(system, "context", False)


def reads(system: nn.Module) -> tuple[str, ...]:
    """Modalities that a system needs in its batches: both, unless it says by an attribute `reads` that one will do."""
    return getattr(system, "reads", MODALITIES)


def _batches(system: nn.Module, data: Utterances, size: int, order: torch.Generator) -> Iterator[Batch]:
    if needs_context(system):
        return (data.batch(rows, reads(system)) for rows in data.dialogues(size, order))
    return data.batches(size, order, reads(system))


def train(
    system: nn.Module,
    data: Utterances,
    dev: Utterances,
    config: TrainingConfig,
    seed: int = 0,
    watch: Callable[[nn.Module], object] | None = None,
) -> Trained:
    """Train a system and keep the weights of its best epoch on dev.

    Args:
        system: Takes a `Batch`, returns an `Output`.
        data: The training split.
        dev: The split that picks the epoch; the test split is never seen here.
        config: How to train.
        seed: Draws the order of the batches and the dropout.
        watch: Called after every epoch with the system as it would be kept. It must leave the system as it is, and
            PyTorch's random numbers, too; then what is watched is the training that nobody watches.

    Raises:
        FloatingPointError: If the loss stops being finite; the message names epoch and loss.
    """
    if "audio" in reads(system):
        _ = data.audio, dev.audio  # made now, where they are not yet, so that the clock measures the training alone
    order, started = seed_everything(seed), time.perf_counter()
    prior, weight = class_shares(data), None
    if config.balanced:
        weight = torch.tensor(1 / np.maximum(prior, 1e-9) / len(prior), dtype=torch.float32)
        prior = even_shares(len(prior))
    optimiser = torch.optim.AdamW(_learning(system, config.rate), lr=config.rate, weight_decay=config.decay, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda done: min(1.0, (done + 1) / config.warm_up))
    averaged = torch.optim.swa_utils.AveragedModel(
        system, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average)
    )
    best, waited, result = -1.0, 0, Trained(system, prior=prior)
    for epoch in progress(range(config.epochs), "training, epochs at most"):
        system.train()
        sums: dict[str, float] = {}
        for batch in _batches(system, data, config.batch, order):
            output = system(batch)
            losses = {"task": F.cross_entropy(output.logits, batch.label, weight=weight), **output.losses}
            step(optimiser, torch.stack(list(losses.values())).sum(), system, config.clip, f"epoch {epoch + 1}")
            schedule.step()
            averaged.update_parameters(system)
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) * len(batch.label) / len(data)
        found = scores(predict(averaged.module, dev), dev.labels.numpy(), prior, dev.emotions)
        result.history.append({"epoch": epoch + 1, **sums, **{f"dev_{k}": found[k] for k in ("wa", "ua", "f1")}})
        if watch:
            watch(averaged.module)
        waited += 1
        if found[config.choose_by] > best:
            best, waited, result.system = found[config.choose_by], 0, copy.deepcopy(averaged.module)
        if waited == config.patience:
            break
    result.seconds = time.perf_counter() - started
    return result


def _learning(system: nn.Module, rate: float) -> list[dict[str, Any]]:
    """The parameters of a system, each with its rate."""
    tuned = pretrained_parameters(system)
    slow = {id(p) for p in tuned}
    fresh = [p for p in system.parameters() if id(p) not in slow]
    return [{"params": fresh}] + ([{"params": tuned, "lr": FINE_TUNING * rate}] if tuned else [])


def step(optimiser: torch.optim.Optimizer, loss: Tensor, system: nn.Module, clip: float, where: str) -> None:
    """Go one step down the gradient of `loss`, clipped to length `clip`."""
    if not torch.isfinite(loss):
        raise FloatingPointError(
            f"The loss is {float(loss.detach())} in {where}. Lower the learning rate or check the features."
        )
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(system.parameters(), clip)
    optimiser.step()


@torch.no_grad()
def predict(system: nn.Module, data: Utterances, batch: int = 128) -> np.ndarray:
    """Logits of every utterance, (utterances, classes), in order."""
    system.eval()
    if needs_context(system):
        parts = list(data.dialogues(batch))
    else:  # alike in length: little padding
        lengths = torch.tensor(data.steps)
        parts = [rows.tolist() for rows in lengths.argsort(stable=True).split(batch)]
    logits = torch.cat([system(data.batch(rows, reads(system))).logits for rows in parts])
    return logits[torch.tensor([row for rows in parts for row in rows]).argsort()].numpy()
