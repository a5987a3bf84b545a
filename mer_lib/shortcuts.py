"""What a model may exploit instead of emotion: clues that hear and read nothing, and mistakes that flatter.

A *clue* is something that a table says about an utterance beside its words and its sound. `lookup` learns from
one clue alone; `planted` says how far that can lead on Duet. The other functions run a mistake on purpose, so
that it can be measured. Decisions are those of `experiments.decisions`: plain for WA, adjusted for UA.

Our choice throughout, but for formulas with a source. Shown in chapter 17.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pandas as pd
from scipy.special import gammaln
from sklearn.base import ClassifierMixin, clone

from mer_lib.ceilings import GOALS, best_class, evenly
from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet.process import Process
from mer_lib.metrics import adjusted
from mer_lib.shipped import folder

BINS = 10
"""Classes of equal size into which numbers are put before they are looked up."""

Split = tuple[Sequence[str], Sequence[str]]
"""Ids to learn from, ids to judge."""

Learner = Callable[[Sequence[str], Sequence[str]], np.ndarray]
"""Learns from some ids and returns logits for others, (others, classes)."""


# Clues -------------------------------------------------------------------------------------------------------


def clues(table: pd.DataFrame) -> pd.DataFrame:
    """Everything that can be known of an utterance without its words and its sound.

    Args:
        table: A corpus's table.

    Returns:
        Indexed by id, one column per clue: `nothing`; `speaker`, `scenario`, `dialogue` and `sentence` (the exact
        text), by name; `turn`, `words` (how many) and `seconds`, each in `BINS` classes; `before`, the label of the
        turn before in the same dialogue ("" at its start).
    """
    numbers = pd.DataFrame({
        "turn": table["turn"],
        "words": table["text"].str.split().str.len(),
        "seconds": table["end"] - table["start"],
    })  # fmt: skip
    turns = table.sort_values(["dialogue", "turn"], kind="stable")
    return pd.DataFrame({
        "nothing": "",
        "speaker": table["speaker"],
        "scenario": table["scenario"],
        **{name: pd.qcut(values, BINS, labels=False, duplicates="drop") for name, values in numbers.items()},
        "sentence": table["text"],
        "dialogue": table["dialogue"],
        "before": turns.groupby("dialogue")["emotion"].shift().fillna("").reindex(table.index),
    })  # fmt: skip


def lookup(clue: pd.Series, emotion: pd.Series) -> Learner:
    """Learn how often each emotion goes with each value of one clue, and nothing else.

    The plain decision is the most frequent emotion of that value in training. One utterance that is shared out
    like the whole training split is added to each value, so a value that training lacks gets the training shares.

    Args:
        clue: Its value, indexed by id.
        emotion: Labels, indexed by id.
    """
    emotions = _classes(emotion)

    def learn(train: Sequence[str], test: Sequence[str]) -> np.ndarray:
        label = pd.Categorical(emotion.loc[list(train)], emotions)
        prior = label.value_counts().to_numpy() / len(label)
        seen = pd.crosstab(clue.loc[list(train)].to_numpy(), label.astype(str))
        counts = seen.reindex(index=clue.loc[list(test)], columns=emotions).fillna(0).to_numpy() + prior
        return np.log(np.maximum(counts / counts.sum(axis=1, keepdims=True), 1e-9))

    return learn


def _classes(labels: pd.Series) -> list[str]:
    """The emotions of a corpus, in the order of the logits here: the usual four, then others by the alphabet."""
    return [*EMOTIONS, *sorted(set(labels) - set(EMOTIONS))]


def planted(process: Process, starts: float = 1 / 12) -> pd.DataFrame:
    """How often the best rule that sees one clue is right, on utterances without end; exact.

    Speaker and turn number tell nothing: the process draws emotions without looking at them, and a dialogue's first
    turn has the same shares as its last. What words and seconds tell was not planted, so it is not here.

    Args:
        process: The planted process.
        starts: Share of turns that open a dialogue; dialogues have 12 turns on average.

    Returns:
        Indexed by clue: `accuracy` and `mean_recall`, each of its own best rule.
    """
    first = np.array(process.shares)
    scenarios = process.scenarios()
    weight, given = scenarios["probability"].to_numpy(), scenarios[list(EMOTIONS)].to_numpy()
    again = np.einsum("s,sa,sb->ab", weight, given, given)  # drawn anew in the same scenario
    pairs = process.inertia * np.diag(first) + (1 - process.inertia) * again
    noise = np.full((4, 4), process.label_noise / 3) + np.diag([1 - 4 / 3 * process.label_noise] * 4)
    joint = np.vstack([starts * first @ noise, (1 - starts) * noise.T @ pairs @ noise])
    nothing = _best(joint.sum(axis=0, keepdims=True))
    rows = {"nothing": nothing, "speaker": nothing, "turn": nothing}
    rows |= {"scenario": _best(weight[:, None] * given @ noise), "before": _best(joint)}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("clue")


def _best(joint: np.ndarray) -> dict[str, float]:
    """Accuracy and mean recall of the best rules for P(symbol, emotion), (symbols, 4)."""
    each = zip(GOALS, (joint, evenly(joint)), strict=True)
    return {goal: float(p[np.arange(len(p)), best_class(p)].sum()) for goal, p in each}


# Splits and decisions ----------------------------------------------------------------------------------------


def dealt(names: pd.Series, parts: int, rng: np.random.Generator) -> list[Split]:
    """Deal utterances out at random, those with the same name together; judge each part by the others.

    Args:
        names: Indexed by id. The ids themselves give random folds, the dialogues give folds that share no dialogue.
        parts: Number of parts.
        rng: Draws who goes where.
    """
    groups = rng.permutation(names.unique())
    part = names.map(dict(zip(groups, np.arange(len(groups)) % parts, strict=True)))
    return [(names.index[part != number].tolist(), names.index[part == number].tolist()) for number in range(parts)]


def classifier(model: ClassifierMixin, features: pd.DataFrame, emotion: pd.Series) -> Learner:
    """Make a learner of a scikit-learn classifier with `predict_proba`; features are indexed by id."""
    emotions = _classes(emotion)

    def learn(train: Sequence[str], test: Sequence[str]) -> np.ndarray:
        fitted = clone(model).fit(features.loc[list(train)].to_numpy(), emotion.loc[list(train)].to_numpy())
        found = pd.DataFrame(fitted.predict_proba(features.loc[list(test)].to_numpy()), columns=fitted.classes_)
        return np.log(np.maximum(found.reindex(columns=emotions, fill_value=0).to_numpy(), 1e-9))

    return learn


def judged(table: pd.DataFrame, splits: Iterable[Split], learn: Learner) -> pd.DataFrame:
    """Let a learner judge the second part of each split by the first.

    Returns:
        One row per judged utterance: `id`, `session`, `emotion` (the label), and what was said: `plain`, and
        `adjusted` for the prior of the training part.
    """
    rows, emotions = [], _classes(table["emotion"])
    for train, test in splits:
        prior = table.loc[list(train), "emotion"].value_counts(normalize=True).reindex(emotions, fill_value=0)
        logits = learn(train, test)
        both = {"plain": logits, "adjusted": adjusted(logits, prior.to_numpy())}
        said = {how: np.array(emotions)[best_class(values)] for how, values in both.items()}
        rows.append(table.loc[list(test), ["id", "session", "emotion"]].assign(**said))
    return pd.concat(rows, ignore_index=True)


def by_session(decisions: pd.DataFrame) -> pd.DataFrame:
    """WA of the plain and UA of the adjusted decisions, in percent, indexed by session."""
    right = decisions.assign(wa=decisions["plain"] == decisions["emotion"])
    right["ua"] = right["adjusted"] == right["emotion"]
    recalls = right.groupby(["session", "emotion"])["ua"].mean()
    return 100 * pd.DataFrame({"wa": right.groupby("session")["wa"].mean(), "ua": recalls.groupby("session").mean()})


# Signs and sizes of a mistake --------------------------------------------------------------------------------


def favoured(table: pd.DataFrame) -> pd.Series:
    """Whether the label of an utterance is commoner in its scenario than elsewhere, judged by the other sessions.

    Returns:
        Indexed by id, True or False; utterances of a scenario that the other sessions lack are left out.
    """
    parts = []
    for session in table["session"].unique():
        here, others = table[table["session"] == session], table[table["session"] != session]
        here = here[here["scenario"].isin(set(others["scenario"]))]
        share = others.groupby(["scenario", "emotion"]).size() / others.groupby("scenario").size()
        share = share.reindex(pd.MultiIndex.from_frame(here[["scenario", "emotion"]]), fill_value=0)
        overall = others["emotion"].value_counts(normalize=True).reindex(here["emotion"], fill_value=0)
        parts.append(pd.Series(share.to_numpy() > overall.to_numpy(), here.index))
    return pd.concat(parts)


def reliance(decisions: pd.DataFrame, favour: pd.Series) -> pd.Series:
    """How much better a label is recognised in scenarios that favour it than in others, in points of recall.

    If words and voice know no scenario once the emotion is given, a system that uses no scenario has 0 here, up to
    luck; one that guesses by the scenario has more. On Duet the voice knows none, nor do improvised words.

    Args:
        decisions: As `judged` or `experiments.decisions` returns.
        favour: As `favoured` returns.

    Returns:
        The mean over emotions, indexed by session (or by fold, where there is no session). Where no emotion has both
        kinds of utterances, there is nothing to compare, and the session is left out.
    """
    place = "session" if "session" in decisions else "fold"
    known = decisions[decisions["id"].isin(favour.index)]
    known = known.assign(right=known["adjusted"] == known["emotion"], favour=known["id"].map(favour))
    recalls = known.pivot_table("right", [place, "emotion"], "favour", aggfunc="mean").reindex(columns=[True, False])
    return 100 * (recalls[True] - recalls[False]).groupby(place).mean().dropna()


def chosen(judge: Sequence[float], score: Sequence[float], tries: int) -> float:
    """Expected score of the run that `judge` puts first among so many runs, drawn without replacement.

    Exact, from order statistics: the run with rank r among n is the best of k with probability
    C(r - 1, k - 1) / C(n, k). With judge = score it is the expected best (Dodge et al. 2019, who draw with
    replacement; without, it is unbiased, Tang et al. 2020); with dev scores as judge it is what an honest choice
    brings. Runs that `judge` likes equally take their order.

    Args:
        judge: What is chosen by, one value per run.
        score: What is reported.
        tries: Number of runs to choose among, 1 to all.

    Raises:
        ValueError: If there are fewer runs than tries, or the two differ in length.
    """
    n = len(judge)
    if len(score) != n or not 1 <= tries <= n:
        raise ValueError(
            f"One cannot choose among {tries} runs, given {n} values to choose by and {len(score)} scores."
        )
    ahead = np.arange(n)  # how many runs stand below
    possible = ahead >= tries - 1
    log = np.full(n, -np.inf)
    log[possible] = _log_binomial(ahead[possible], tries - 1) - _log_binomial(np.array([n]), tries)
    return float(np.exp(log) @ np.asarray(score, dtype=float)[np.argsort(judge, kind="stable")])


def _log_binomial(n: np.ndarray, k: int) -> np.ndarray:
    return gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)


def thinned(table: pd.DataFrame, keep: str, share: float, rng: np.random.Generator) -> pd.DataFrame:
    """Take utterances of all emotions but one away, in every session alike: the same speech, other class shares."""
    others = table[table["emotion"] != keep]
    drawn = others.groupby(["session", "emotion"], sort=False).sample(frac=share, random_state=rng)
    return table[(table["emotion"] == keep) | table.index.isin(drawn.index)]


def orientation() -> pd.DataFrame:
    """How often the scenario alone is right on IEMOCAP, for readers without a licence: `data/results/scenario.csv`.

    Returns:
        One row per part of the corpus: `corpus`, `part`, `accuracy` (in percent) and `source`.
    """
    return pd.read_csv(folder("results") / "scenario.csv")
