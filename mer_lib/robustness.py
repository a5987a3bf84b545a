"""What is left of a system when something goes wrong: noise, rooms, missing channels, wrong words; and how sure it is.

Sound is changed as a waveform, and features are made again (`heard`, `with_sound`). What changes features and words is
in `conditions`. Then: what a system says when it is told that a channel is missing, ceilings under wrong channels, who
is right when the channels disagree, calibration, and abstention.

Our choice throughout, but for formulas with a source. Shown in chapter 18.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss
from torch import nn

from mer_lib._torchaudio import torchaudio
from mer_lib.ceilings import cells, evenly
from mer_lib.conditions import exchanged
from mer_lib.corpora.base import EMOTIONS, SAMPLE_RATE
from mer_lib.corpora.duet.process import Process, generator
from mer_lib.features.audio import frames, normalise
from mer_lib.features.batches import Utterances, pair
from mer_lib.metrics import proportion_interval
from mer_lib.progress import progress
from mer_lib.systems.mmin import MMIN
from mer_lib.tables import best_rules, kind_of
from mer_lib.training import predict

Change = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""What is done to a waveform, with a random generator of its own for each utterance."""

# Sound -------------------------------------------------------------------------------------------------------


def noisy(wave: np.ndarray, noise: np.ndarray, snr: float) -> np.ndarray:
    """Add noise at a signal-to-noise ratio: 10 log10 of the power of the wave over that of the noise.

    Args:
        wave: float32, (samples,).
        noise: At least as many samples; what is too long is cut.
        snr: In dB, over the whole utterance, its pauses included.

    Raises:
        ValueError: If the noise is too short.
    """
    if len(noise) < len(wave):
        raise ValueError(f"{len(noise)} samples of noise cannot cover {len(wave)} of sound; repeat the noise.")
    sounds = (torch.as_tensor(x[: len(wave)], dtype=torch.float32) for x in (wave, noise))
    return torchaudio.functional.add_noise(*sounds, torch.tensor(float(snr))).numpy()


def babble(waves: Sequence[np.ndarray], samples: int) -> np.ndarray:
    """Many voices at once, equally loud, each repeated until it fills so many samples."""
    loudness = [np.sqrt(np.mean(np.square(wave))) for wave in waves]
    voices = [np.resize(wave, samples) / max(level, 1e-9) for wave, level in zip(waves, loudness, strict=True)]
    return np.stack(voices).sum(axis=0).astype(np.float32)


def room(seconds: float, rng: np.random.Generator, direct: float = 0.0, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Impulse response of a room: the direct sound, then normal noise that decays by 60 dB.

    Source: Polack (1988), whose model this is without early reflections.

    Args:
        seconds: Time of reverberation: how long the decay by 60 dB takes.
        rng: Draws the noise.
        direct: Power of the direct sound over that of all that follows, in dB.
        sample_rate: In Hz.

    Returns:
        float32, (samples,); the first one is the direct sound, 1.
    """
    time = np.arange(1, round(seconds * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / seconds)
    tail *= 10 ** (-direct / 20) / np.linalg.norm(tail)
    return np.append(1.0, tail).astype(np.float32)


def reverberant(wave: np.ndarray, impulse: np.ndarray) -> np.ndarray:
    """Play a sound in a room; what still rings at the end is cut, so that the length stays."""
    sounds = (torch.as_tensor(x, dtype=torch.float32) for x in (wave, impulse))
    return torchaudio.functional.fftconvolve(*sounds)[: len(wave)].numpy()


def heard(waves: Mapping[str, np.ndarray], change: Change, sample_rate: int = SAMPLE_RATE) -> dict[str, np.ndarray]:
    """Change sounds and make their features: id to (time, features), not yet normalised."""
    changed = {name: change(wave, generator(0, "heard", name)) for name, wave in waves.items()}
    told = progress(changed.items(), "features of changed sounds", len(changed))
    return {name: frames(wave, sample_rate) for name, wave in told}


def one_by_one(
    tables: Mapping[str, np.ndarray], usual: Mapping[str, np.ndarray], groups: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """Normalise each utterance as if it were the only changed one among the usual ones of its group.

    Args:
        tables: Changed frames by id, as `heard` returns.
        usual: Frames of all utterances as they were, by id.
        groups: Id to the name of its group, such as its speaker.
    """
    done = {}
    for name, table in tables.items():
        group = {other: usual[other] for other in usual if groups[other] == groups[name]}
        group[name] = table
        done[name] = normalise(group, dict.fromkeys(group, ""))[name]
    return done


def with_sound(part: Utterances, tables: Mapping[str, np.ndarray]) -> Utterances:
    """The same utterances with other sound, given as normalised frames by id."""
    return exchanged(part, audio=[torch.as_tensor(pair(tables[name])) for name in part.ids])


# Systems and scores ------------------------------------------------------------------------------------------


@torch.no_grad()
def told(system: nn.Module, part: Utterances, modality: str) -> np.ndarray:
    """What a system says that is told that only one channel is there.

    MMIN leaves the other one out, as in its training. Late fusion and the method with L_ua let the classifier of that
    channel speak.

    Args:
        system: A trained system.
        part: The utterances; what they hold of the other channel is not used.
        modality: The channel that is there, "audio" or "text".

    Returns:
        Logits, (utterances, classes).

    Raises:
        ValueError: If the system has no classifier for one channel.
    """
    if isinstance(system, MMIN):
        deprived = copy.copy(system)
        deprived.config = replace(system.config, modalities=(modality,))
        return predict(deprived, part)
    found = [system.eval()(batch).unimodal for batch in part.batches(128)]
    if modality not in found[0]:
        raise ValueError(f"{type(system).__name__} has no answer from {modality} alone; let it hear or read silence.")
    return torch.cat([logits[modality] for logits in found]).numpy()


def interval(right: np.ndarray, label: np.ndarray, repeats: int = 2000) -> tuple[float, float, float]:
    """UA in percent with its 95% interval, by a bootstrap over the utterances of each emotion (Efron 1979).

    The interval is the luck of the test utterances; other seeds and folds are not in it.

    Args:
        right: (utterances,), 1 where the answer is right. UA is linear in it, so the difference of two systems' is
            allowed: it gives the difference of their UA, on the same utterances.
        label: (utterances,), the emotion of each as a number; an emotion without utterances is left out.
        repeats: Number of bootstrap samples.

    Returns:
        Mean, lower end, upper end.
    """
    rng, draws, means = np.random.default_rng(0), np.zeros(repeats), []
    for emotion in np.unique(label):
        values = np.asarray(right, dtype=float)[label == emotion]
        draws += rng.choice(values, (repeats, len(values))).mean(1)
        means.append(values.mean())
    low, high = np.quantile(draws / len(means), [0.025, 0.975])
    return 100 * float(np.mean(means)), 100 * float(low), 100 * float(high)


# Ceilings ----------------------------------------------------------------------------------------------------


def swapped_ceiling(process: Process, share: float, channel: str) -> float:
    """Best mean recall, in percent, if some utterances have one channel of another utterance; exact.

    P(y, a, t) becomes (1 - share) P(y, a, t) + share P(y, a) P(t) if the words are swapped. The best rule knows the
    share, and not which utterances it befell. At share 1 it is the ceiling of the other channel.

    Args:
        process: The planted process.
        share: Share of utterances, 0 to 1.
        channel: The one that is swapped, "audio" or "text".

    Raises:
        ValueError: If there is no such channel.
    """
    if channel not in ("audio", "text"):
        raise ValueError(f"There is no channel {channel!r}; choose audio or text.")
    seen = cells(process)
    joint = np.zeros((seen.audio.max() + 1, seen.text.max() + 1, len(EMOTIONS)))
    np.add.at(joint, (seen.audio, seen.text), seen.p)
    axis = 0 if channel == "audio" else 1
    stray = joint.sum(axis=axis, keepdims=True) * joint.sum(axis=(1 - axis, 2), keepdims=True)
    mixed = (1 - share) * joint + share * stray
    return 100 * float(evenly(mixed.reshape(-1, len(EMOTIONS))).max(axis=1).sum())


def conflict(voice: str, stressed: int, says: str, emotion: str) -> str:
    """Name who is right about an utterance, by what was planted in its voice and in its words.

    Returns:
        "both right" or "both wrong" where voice and words say the same; "words right", "voice right" or "neither
        right" where they differ; "irony" or "focus", where they are not meant one by one.
    """
    kind = kind_of(voice, stressed, says).partition(",")[0]
    if kind != "ordinary":
        return kind
    if voice == says:
        return "both right" if says == emotion else "both wrong"
    return "words right" if says == emotion else "voice right" if voice == emotion else "neither right"


CONFLICTS = ("both right", "both wrong", "words right", "voice right", "neither right", "irony", "focus")
"""What `conflict` returns."""


def right_by_conflict(process: Process) -> pd.DataFrame:
    """How often the rules that are best in accuracy are right, by who is right; exact.

    Returns:
        Indexed by those of `CONFLICTS` that occur, in percent: `share` of the corpus, and the rules of
        `tables.best_rules`: audio, text, late, both.
    """
    seen, rules = cells(process), best_rules(process)
    names = pd.Series([conflict(*cues, emotion) for cues in seen.number for emotion in EMOTIONS])
    weights = {"share": seen.p} | {name: seen.p * rule for name, rule in rules.items()}
    table = pd.DataFrame({name: weight.ravel() for name, weight in weights.items()}).groupby(names).sum()
    table = table[table["share"] > 0].reindex([name for name in CONFLICTS if name in set(names)]).dropna()
    table[list(rules)] = table[list(rules)].div(table["share"], axis=0)
    return 100 * table


# How sure ----------------------------------------------------------------------------------------------------


def confidence(logits: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Probability that a system gives its own plain decision, (utterances,)."""
    return softmax(logits / temperature, axis=1).max(axis=1)


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """The number to divide logits by, so that the cross-entropy is lowest; above 1, the system was too sure.

    Source: Guo et al. (2017). No decision changes. Fit it on dev.
    """

    def loss(log_temperature: float) -> float:
        return log_loss(label, softmax(logits / np.exp(log_temperature), axis=1), labels=range(logits.shape[1]))

    return float(np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20.0]), method="bounded").x))


def reliability(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """How often answers are right that are about equally sure: the points of a reliability diagram.

    Args:
        sure: (answers,), confidence from 0 to 1.
        right: (answers,), whether the answer is right.
        bins: Number of bins of equal width; each holds its upper edge.

    Returns:
        One row per bin that is not empty: `answers`, how many; `confidence`, their mean; `right`, the share, with
        `low` and `high`, its Wilson interval.
    """
    share, mean = calibration_curve(np.asarray(right, dtype=int), sure, n_bins=bins)
    count = np.bincount(_bin(sure, bins))
    count = count[count > 0]
    ends = [proportion_interval(round(s * n), int(n)) for s, n in zip(share, count, strict=True)]
    low, high = np.transpose(ends)
    return pd.DataFrame({"answers": count, "confidence": mean, "right": share, "low": low, "high": high})


def calibration_error(sure: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: sum over bins of (share of the answers) |share right - mean confidence|.

    Source: Naeini et al. (2015), Guo et al. (2017). Args as `reliability`. It depends on the bins, and is above 0 by
    luck alone: see `calibration_luck`.
    """
    return float(np.abs(np.bincount(_bin(sure, bins), right - sure)).sum() / len(sure))


def calibration_luck(sure: np.ndarray, bins: int = 10, repeats: int = 1000) -> tuple[float, float]:
    """Mean and 95% quantile of `calibration_error` if every confidence were the true probability of being right.

    Source: consistency resampling, Bröcker & Smith (2007).
    """
    rng = np.random.default_rng(0)
    errors = [calibration_error(sure, rng.random(len(sure)) < sure, bins) for _ in range(repeats)]
    return float(np.mean(errors)), float(np.quantile(errors, 0.95))


def _bin(sure: np.ndarray, bins: int) -> np.ndarray:
    """Number of the bin of each confidence, with edges as in scikit-learn's `calibration_curve`."""
    return np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], sure)


def risk_coverage(sure: np.ndarray, right: np.ndarray) -> pd.Series:
    """Share of wrong answers among the surest ones: what remains if a system may keep silent when in doubt.

    Source: El-Yaniv & Wiener (2010). Answers that are equally sure come in random order; this is the mean over all.

    Args:
        sure: (answers,), any score that is higher the surer.
        right: (answers,), whether the answer is right, or the probability that it is.

    Returns:
        Risk, 0 to 1, indexed by the coverage 1/n, 2/n ... 1: the share of utterances that get an answer.
    """
    order = np.argsort(-np.asarray(sure), kind="stable")
    wrong = pd.Series(1.0 - np.asarray(right, dtype=float)[order])
    wrong = wrong.groupby(np.asarray(sure)[order], sort=False).transform("mean")
    answered = np.arange(1, len(wrong) + 1)
    return pd.Series(
        wrong.cumsum().to_numpy() / answered, pd.Index(answered / len(wrong), name="coverage"), name="risk"
    )
