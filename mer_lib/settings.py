"""How to train, as data: what names a run, and needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """How to train; the same for every system that is compared.

    Attributes:
        epochs: Most passes over the training split.
        patience: Stop after so many epochs without a better score on dev.
        batch: Utterances per step.
        rate: Learning rate (AdamW); the running average of the weights stands in for a decay to 0.
        warm_up: Steps over which the rate grows from 0.
        decay: Weight decay.
        clip: Longest gradient.
        average: Decay of the running average of the weights that is evaluated.
        choose_by: Score on dev that picks the epoch, "ua" or "f1".
        balanced: Weigh the classes of the task's loss evenly; its logits are then those of even classes, and no
            decision corrects them for the prior again.
    """

    epochs: int = 40
    patience: int = 6
    batch: int = 64
    rate: float = 2e-3
    warm_up: int = 100
    decay: float = 0.01
    clip: float = 1.0
    average: float = 0.99
    choose_by: str = "ua"
    balanced: bool = False
