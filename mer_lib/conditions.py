"""When does each part matter? Conditions that were written down beforehand, and what is measured under each.

A `Condition` says what the literature claims, what is changed in the data, which utterances are scored, and what we
predicted for each part of the method before any of it was measured. Corpora are drawn anew for this (`drawn`), so
that the draws, not the seeds, carry the intervals. Conditions that change only the test share their trainings.

    python -m mer_lib conditions --draws 8 --seeds 1 --out data/results/conditions.csv

Shown in chapters 12 and 18.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from mer_lib import corpora, tables
from mer_lib.cache import digest
from mer_lib.corpora import duet
from mer_lib.corpora.duet.generate import generate
from mer_lib.corpora.duet.process import generator
from mer_lib.experiments import Run, account, complete, fit_on, grid, prepared, read_results
from mer_lib.features.batches import Prepared, Utterances
from mer_lib.metrics import holm, scores
from mer_lib.probes import Probes, alignment, on_stress, pooled
from mer_lib.shipped import folder
from mer_lib.training import Trained, TrainingConfig, predict

ROW = ["condition", "draw", "variant", "seed"]
"""Columns that name a row of the results."""

FULL = "A+T"
MARGIN = 2.0
"""Points within which we call two systems equally good. Our choice."""

FEWEST = 5
"""Draws from which on there are verdicts: with fewer, intervals are so wide that all but chance is open. Our choice,
made when the first draw had been measured."""

PLANNED = 8
"""Draws that were planned before the first was measured."""

# What can be changed -----------------------------------------------------------------------------------------


def some(part: Utterances, rows: Sequence[int]) -> Utterances:
    """Some utterances of a split, in the order given."""

    def arrays(things: list[Tensor]) -> list[np.ndarray]:
        return [things[row].numpy() for row in rows]

    ids, labels = [part.ids[row] for row in rows], part.labels[list(rows)].tolist()
    places = part.places[list(rows)].numpy()
    return Utterances(
        ids, arrays(part.audio), arrays(part.text), arrays(part.spans), labels, places, emotions=part.emotions
    )


def exchanged(part: Utterances, **new: list[Tensor]) -> Utterances:
    """The same utterances with another `audio`, or other `text` and `spans`, one tensor per utterance."""
    copy = some(part, range(len(part)))
    for name, things in new.items():
        setattr(copy, name, things)
    return copy


def _chosen(part: Utterances, share: float, rng: np.random.Generator) -> list[int]:
    return rng.permutation(len(part))[: round(share * len(part))].tolist()


def fewer(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Keep a share of the utterances of each emotion, at least one of each."""
    kept: list[int] = []
    for label in part.labels.unique():
        mine = np.flatnonzero(part.labels.numpy() == int(label))
        kept += rng.permutation(mine)[: max(1, round(share * len(mine)))].tolist()
    return some(part, sorted(kept))


def no_voice(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Take the voice from a share of the utterances.

    What is left is one step of zeros, the mean of the speaker, so that not even the length can be heard. A sequence
    without any step has no mean, and is refused by `Utterances`.
    """
    audio = list(part.audio)
    for row in _chosen(part, share, rng):
        audio[row] = torch.zeros_like(audio[row][:1])
    return exchanged(part, audio=audio)


def no_words(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Take the words from a share of the utterances; one unknown word is left, as of an empty text.

    Where a pretrained encoder has read the texts, it is one piece of zeros.
    """
    text, spans = list(part.text), list(part.spans)
    for row in _chosen(part, share, rng):
        text[row], spans[row] = torch.zeros_like(text[row][:1]), torch.tensor([[0.0, 1.0]])
    return exchanged(part, text=text, spans=spans)


def other_voice(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Give each of a share of the utterances the voice of another one of them, whatever that one means."""
    audio, rows = list(part.audio), _chosen(part, share, rng)
    for row, donor in zip(rows, rows[1:] + rows[:1], strict=True):
        audio[row] = part.audio[donor]
    return exchanged(part, audio=audio)


def other_words(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Give each of a share of the utterances the words of another one of them, whatever that one means."""
    text, spans, rows = list(part.text), list(part.spans), _chosen(part, share, rng)
    for row, donor in zip(rows, rows[1:] + rows[:1], strict=True):
        text[row], spans[row] = part.text[donor], part.spans[donor]
    return exchanged(part, text=text, spans=spans)


def noisy_voice(part: Utterances, strength: float, rng: np.random.Generator) -> Utterances:
    """Add normal noise to the speech features, whose own deviation is 1.

    Half of its variance is drawn for each step, and half once for the utterance, since what changes at every step
    is lost in the mean over time.
    """
    audio = []
    for frames in part.audio:
        noise = rng.normal(size=frames.shape) + rng.normal(size=frames.shape[1])
        audio.append(frames + strength * torch.as_tensor(noise / np.sqrt(2), dtype=frames.dtype))
    return exchanged(part, audio=audio)


def wrong_words(part: Utterances, share: float, rng: np.random.Generator) -> Utterances:
    """Replace each word, with the probability `share`, by one that is drawn from all the words of the split.

    Where a pretrained encoder has read the texts, what it said of a word in its place is replaced.
    """
    every, text = torch.cat(part.text), []
    for words in part.text:
        misheard = torch.as_tensor(rng.random(len(words)) < share)
        instead = every[rng.integers(len(every), size=len(words))]
        text.append(torch.where(misheard.reshape(-1, *[1] * (words.dim() - 1)), instead, words))
    return exchanged(part, text=text)


CHANGES = {
    function.__name__: function
    for function in (fewer, no_voice, no_words, other_voice, other_words, noisy_voice, wrong_words)
}


@dataclass(frozen=True)
class Change:
    """Something that is done to the data of a fold.

    Attributes:
        what: A key of `CHANGES`.
        amount: How much of it: a share, or the strength of the noise.
        splits: Where: "train", "dev", "test".
    """

    what: str
    amount: float
    splits: tuple[str, ...]


def changed(data: Prepared, changes: Sequence[Change], seed: int) -> Prepared:
    """Change the data of a fold; the old ones stay as they are. The same seed changes them in the same way."""
    for change in changes:
        for split in change.splits:
            rng = generator(seed, change.what, split)
            data = replace(data, **{split: CHANGES[change.what](getattr(data, split), change.amount, rng)})  # type: ignore[arg-type]
    return data


# What was written down ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """A condition under which the parts of the method are compared.

    Attributes:
        name: Its name.
        corpus: The Duet corpus that is drawn anew.
        claim: What the literature claims, with its reference.
        why: Why we predict what we predict on Duet.
        predicted: Variant to what we expect of the full method against it: +1 better, 0 within `MARGIN`.
        changes: What is changed in the data.
        kind: Which utterances are scored, as `tables.kind_of` names them; all of them if None.
    """

    name: str
    corpus: str
    claim: str
    why: str
    predicted: dict[str, int]
    changes: tuple[Change, ...] = ()
    kind: str | None = None

    def at(self, *splits: str) -> tuple[Change, ...]:
        """What is changed in these splits; conditions that agree on train and dev share their trainings."""
        kept = [replace(change, splits=tuple(s for s in change.splits if s in splits)) for change in self.changes]
        return tuple(change for change in kept if change.splits)


EVERYWHERE = ("train", "dev", "test")


def _parts(attention: int = 0, l_sp: int = 0, l_ua: int = 0) -> dict[str, int]:
    return {"A+T (w/o attention)": attention, "A+T (w/o L_sp)": l_sp, "A+T (w/o L_ua)": l_ua}


def _focus(clauses: int) -> Condition:
    return Condition(
        f"focus, {clauses} clauses",
        "duet-x",
        "Attention across channels finds which words and sounds belong together (Tsai et al. 2019; Xu et al. 2019).",
        "Pooled vectors do not hold which clause was stressed, and without a prior on alignment every word hears the"
        " same.",
        _parts(attention=1) | {"A+T (w/o alignment)": 1},
        kind=f"focus, {clauses} clauses",
    )


_WRITTEN_DOWN = [
    Condition(
        "independent cues",
        "duet-i",
        "With cues that are independent given the class, adding their evidence is optimal (Kittler et al. 1998).",
        "An additive fusion reaches the ceiling, so there is nothing for a part to win but easier training.",
        _parts(),
    ),
    Condition(
        "irony",
        "duet-x",
        "Irony shows as a clash of the channels, which attention across them finds (Pan et al. 2020).",
        "The deadpan voice fills the whole utterance, so a network that sees both means can tell it, too.",
        _parts(),
        kind="irony",
    ),
    _focus(2),
    _focus(3),
    _focus(4),
    Condition(
        "weak voice",
        "duet-i",
        "A dominant channel starves the other one (Peng et al. 2022); losses of its own keep that alive"
        " (Wang et al. 2020).",
        "Half of the utterances get a wrong voice, so words dominate all the more.",
        _parts(l_ua=1),
        (Change("other_voice", 0.5, EVERYWHERE),),
    ),
    Condition(
        "a quarter of the labels",
        "duet-i",
        "Tasks beside the main one help most when data are few (Caruana 1997).",
        "L_ua asks each label three times; what L_sp asks takes no label at all.",
        _parts(l_sp=1, l_ua=1),
        (Change("fewer", 0.25, ("train",)),),
    ),
    Condition(
        "a tenth of the labels",
        "duet-i",
        "Tasks beside the main one help most when data are few (Caruana 1997).",
        "As with a quarter, only more so.",
        _parts(l_sp=1, l_ua=1),
        (Change("fewer", 0.1, ("train",)),),
    ),
    Condition(
        "no words at test",
        "duet-i",
        "Joint networks break when a channel is missing (Ma et al. 2022). Encoders that can answer alone (Du et al."
        " 2023), or a space that both share (Wang et al. 2023), should help.",
        "The trials before this book saw such an effect of L_ua.",
        _parts(l_sp=1, l_ua=1),
        (Change("no_words", 1.0, ("test",)),),
    ),
    Condition(
        "no voice at test",
        "duet-i",
        "The same claim, for the weaker channel.",
        "Words are the stronger channel and are learnt anyway; but the joint decision has never seen silence.",
        _parts(l_sp=1, l_ua=1),
        (Change("no_voice", 1.0, ("test",)),),
    ),
    Condition(
        "voice missing in training",
        "duet-i",
        "Shared and specific features, kept apart, learn from incomplete examples (Wang et al. 2023).",
        "Half of the training utterances teach nothing about voices; L_ua makes more of those that do.",
        _parts(l_sp=1, l_ua=1),
        (Change("no_voice", 0.5, ("train", "dev")),),
    ),
    Condition(
        "noisy voice",
        "duet-i",
        "What is peculiar to a channel, such as its noise, goes to its private space and leaves the shared one clean"
        " (Bousmalis et al. 2016).",
        "Noise of the strength of the features themselves, in training and at test.",
        _parts(l_sp=1),
        (Change("noisy_voice", 1.0, EVERYWHERE),),
    ),
    Condition(
        "noisy voice at test",
        "duet-i",
        "A shared space holds what the channels have in common (Hazarika et al. 2020); so, we infer, it suffers less"
        " from what disturbs one of them.",
        "The noise comes as a surprise; nothing in training prepared any variant for it.",
        _parts(l_sp=1),
        (Change("noisy_voice", 1.0, ("test",)),),
    ),
    Condition(
        "wrong words at test",
        "duet-i",
        "A lazy encoder cannot step in when the other channel errs (Du et al. 2023).",
        "A third of the words are misheard, as by a poor speech recogniser; the voice has to make up for it.",
        _parts(l_ua=1),
        (Change("wrong_words", 1 / 3, ("test",)),),
    ),
]

CONDITIONS = {condition.name: condition for condition in _WRITTEN_DOWN}
"""All conditions by name. They were written down before any of them was measured."""


def condition(name: str) -> Condition:
    """Return a condition by its name.

    Raises:
        ValueError: If there is none of that name; the message lists those there are.
    """
    if name not in CONDITIONS:
        raise ValueError(f"There is no condition {name!r}; there are: {'; '.join(CONDITIONS)}.")
    return CONDITIONS[name]


# Trainings and their results ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trial:
    """One training, and the conditions that are measured on it; they agree on what is changed before training."""

    run: Run
    draw: int
    conditions: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.run}, draw {self.draw}"

    def key(self) -> str:
        """A short name that changes with everything that changes the result."""
        told = [
            (name, CONDITIONS[name].kind, [asdict(c) for c in CONDITIONS[name].changes]) for name in self.conditions
        ]
        return digest(self.run.key(), json.dumps(told, sort_keys=True))


def drawn(corpus: str, draw: int, home: Path, jobs: int = 2) -> Path:
    """Return the root of a corpus that is drawn anew, as large as the shipped one; made where it is missing.

    Args:
        corpus: Name of the Duet corpus.
        draw: Number of the draw, from 1; the seed of the generator. The shipped corpora are draw 0.
        home: Folder of all draws.
        jobs: Processes.

    Raises:
        SpeechError: If it has to be made and there is no eSpeak NG on this machine.
    """
    root = Path(home) / str(draw)
    if not (root / corpus / "corpus.json").is_file():  # written last
        generate(duet.process(corpus), len(corpora.load(corpus)), draw, root, jobs)
    return root


def held(results: pd.DataFrame, names: Sequence[str], seeds: int) -> set[int]:
    """Draws of which results have every row: all these conditions, variants and seeds, trained as they are now."""
    wanted = set()
    for one in map(condition, names):
        how = json.dumps(asdict(as_many_steps(TrainingConfig(), one.changes)), sort_keys=True)
        wanted |= {(one.name, v, seed, how) for v in (FULL, *one.predicted) for seed in range(seeds)}
    places = results[["condition", "variant", "seed", "training"]]
    return {int(draw) for draw, rows in places.groupby(results["draw"]) if wanted <= set(rows.itertuples(False, None))}


def trials(names: Sequence[str], draws: Sequence[int], seeds: int, home: Path, jobs: int = 2) -> list[Trial]:
    """All trainings that some conditions need, each once.

    Draw d holds out session d (and begins again after the last), so that the draws differ in their test speakers:
    all draws of a corpus have the same voices.

    Raises:
        ValueError: If a condition is unknown, or there is nothing to do.
    """
    if not (names and draws and seeds > 0):
        raise ValueError("There is nothing to run; ask for at least one condition, one draw and one seed.")
    groups: dict[tuple, list[Condition]] = {}
    for asked in [condition(name) for name in names]:
        groups.setdefault((asked.corpus, asked.at("train", "dev")), []).append(asked)
    found = []
    for draw in draws:
        for (corpus, _), group in groups.items():
            root = str(drawn(corpus, draw, home, jobs))
            fold = 1 + (draw - 1) % len(corpora.load(corpus, root=root).folds())
            for variant in dict.fromkeys([FULL, *(v for c in group for v in c.predicted)]):
                measured = tuple(c.name for c in group if variant in (FULL, *c.predicted))
                for run in grid(corpus, [variant], [fold], range(seeds), root=root):
                    run = replace(run, training=as_many_steps(run.training, group[0].changes))
                    found.append(Trial(run, draw, measured))
    return found


def as_many_steps(training: TrainingConfig, changes: Sequence[Change]) -> TrainingConfig:
    """Train with more epochs where an epoch is shorter, so that few labels do not mean few steps as well.

    With a tenth of the labels, 40 epochs have 80 steps: they end before the learning rate has warmed up.
    """
    share = math.prod(change.amount for change in changes if change.what == "fewer" and "train" in change.splits)
    return replace(training, epochs=round(training.epochs / share), patience=round(training.patience / share))


def execute(trial: Trial) -> list[dict[str, Any]]:
    """Train once, then measure under every condition; one row each."""
    run, asked = trial.run, [CONDITIONS[name] for name in trial.conditions]
    data, truth = prepared(run.corpus, run.fold, run.root), corpora.load(run.corpus, root=run.root).truth
    learnt = changed(data, asked[0].at("train", "dev"), run.seed)
    trained = fit_on(run, learnt)
    probes, seen, rows = Probes(trained.system, learnt.train), {}, []
    for one in asked:
        test = changed(data, one.at("test"), run.seed).test
        if one.at("test") not in seen:
            seen[one.at("test")] = predict(trained.system, test), quantities(trained, probes, test, truth)
        logits, measured = seen[one.at("test")]
        scored = scored_rows(one, test, truth)
        rows.append({
            "condition": one.name, "draw": trial.draw, "corpus": run.corpus, "variant": run.variant,
            "fold": run.fold, "seed": run.seed, "utterances": len(scored),
            **scores(logits[scored], test.labels.numpy()[scored], trained.prior, test.emotions),
            **measured, **account(run, trained),
        })  # fmt: skip
    return rows


def scored_rows(asked: Condition, test: Utterances, truth: pd.DataFrame) -> np.ndarray:
    """Positions of the utterances that a condition scores."""
    if asked.kind is None:
        return np.arange(len(test))
    cues = truth.loc[test.ids, ["voice", "stressed", "says"]]
    return np.flatnonzero([tables.kind_of(*cue) == asked.kind for cue in cues.itertuples(index=False)])


def one_missing(trained: Trained, part: Utterances) -> dict[str, float]:
    """UA when a channel is missing at test, in percent."""
    rng, label = np.random.default_rng(0), part.labels.numpy()
    without = {"audio": no_voice(part, 1.0, rng), "text": no_words(part, 1.0, rng)}
    logits = {m: predict(trained.system, lacking) for m, lacking in without.items()}
    found = {m: scores(values, label, trained.prior, part.emotions) for m, values in logits.items()}
    return {f"ua_without_{m}": score["ua"] for m, score in found.items()}


def quantities(trained: Trained, probes: Probes, test: Utterances, truth: pd.DataFrame) -> dict[str, float]:
    """Measure what each part of the method acts on, on a whole test split; see `QUANTITIES`."""
    vectors = pooled(trained.system, test)
    found = probes.ask(vectors, test.labels.numpy()) | alignment(vectors) | one_missing(trained, test)
    if trained.system.config.attention and (truth.loc[test.ids, "stressed"] >= 0).any():
        found |= on_stress(trained.system, test, truth)
    return {name: float(value) for name, value in found.items()}


QUANTITIES = {
    "L_ua": ("probe_audio", "probe_text", "ua_without_text", "ua_without_audio"),
    "L_sp": ("cmd", "gap", "modality_public", "leak", "emotion_public", "emotion_unique"),
    "attention": ("on_stress", "on_stress_prior", "on_stress_even", "points_at_stress"),
}
"""Columns of the results that say what each part does, beside accuracy."""


def sweep(asked: Sequence[Trial], store: Path, jobs: int | None = None) -> pd.DataFrame:
    """Execute trials, keep each as it ends, skip those that are kept already; one row per condition and training."""
    return pd.DataFrame([row for rows in complete(asked, execute, store, jobs) for row in rows])


def recorded() -> pd.DataFrame:
    """Read the kept results of the conditions, `data/results/conditions.csv`; without rows if nothing is kept."""
    try:
        return read_results(folder("results") / "conditions.csv")
    except (FileNotFoundError, ValueError):
        return pd.DataFrame(columns=ROW)


def verdicts(results: pd.DataFrame, score: str = "ua") -> pd.DataFrame:
    """Hold what was measured against what was predicted.

    Args:
        results: One row per condition and training, as `sweep` returns.
        score: Which score, or one of `QUANTITIES`.

    Returns:
        One row per condition and variant: columns as `tables.differences` (full method minus variant; the values
        that do not depend on each other are the draws), `predicted` (+1 or 0), and `verdict`: "as predicted",
        "against it", "open", or "too few draws" (fewer than `FEWEST`). A predicted gain holds, or is refuted, where
        `p_holm` is below 0.05; a predicted null holds where the whole interval lies within ± `MARGIN` points, and is
        refuted where `p_holm` is below 0.05. `p` is that of no difference. `p_holm` is corrected for all gains, or all
        nulls, that were predicted; for a null it is that of a difference no larger than the margin.
        A condition that has one draw only is left out.

    Raises:
        ValueError: If no condition has two draws.
    """
    places = tables.shared(results.assign(corpus=results["condition"], fold=results["draw"]))
    several = places.groupby("corpus")["fold"].transform("nunique") > 1
    if not several.any():
        raise ValueError("No condition has two draws yet, and an interval takes two.")
    found = tables.differences(places[several], FULL, score).rename_axis(["condition", "variant"])
    found = found.rename(columns={"folds": "draws"})
    found["predicted"] = [CONDITIONS[name].predicted[variant] for name, variant in found.index]
    asked = found["p"].where(found["predicted"] != 0, [_beyond_margin(row) for row in found.to_dict("records")])
    found["p_holm"] = asked.groupby(found["predicted"]).transform(holm)
    found["verdict"] = [_verdict(row) for row in found.to_dict("records")]
    return found


def _beyond_margin(row: dict[str, float]) -> float:
    """How probable it is to be as far beyond the margin, on either side, if the difference is no larger than it."""
    freedom = row["draws"] - 1
    error = (row["high"] - row["difference"]) / stats.t.ppf(0.975, freedom)
    return min(1.0, float(2 * stats.t.sf((abs(row["difference"]) - MARGIN) / max(error, 1e-12), freedom)))


def _verdict(row: dict[str, float]) -> str:
    if row["draws"] < FEWEST:
        return "too few draws"
    within, sure = row["low"] >= -MARGIN and row["high"] <= MARGIN, row["p_holm"] < 0.05
    if not row["predicted"]:
        return "as predicted" if within else "against it" if sure else "open"
    if not sure:
        return "open"
    return "as predicted" if row["predicted"] * row["difference"] > 0 else "against it"
