"""The best that any system can reach on Duet: ceilings and information, computed from the planted process.

A channel sees a symbol. The audio symbol is a = (acted style, number of clauses, stressed clause), the text
symbol is t = what each clause says. `Process.joint` gives P(y, a, t) for the emotion y, so the best rule is
known for every kind of system, and so is how often it is right. Nothing here looks at words or sound: a
ceiling is what would remain if both were understood perfectly.

Two goals, each with its own best rule: *accuracy*, and *mean recall* (UA), which is the accuracy after the
classes are weighted evenly. Ties go to the first class of `EMOTIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import combinations, permutations, product

import numpy as np
import pandas as pd

from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet.process import TURNS, Process, generator

CHANNELS = ("audio", "text", "both")
GOALS = ("accuracy", "mean_recall")
CLASS_PAIRS = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
TINY = 1e-12


@dataclass(frozen=True)
class Cells:
    """P(emotion, audio symbol, text symbol), one row per pair of symbols that can occur.

    Attributes:
        p: (cells, 4), summing to 1.
        audio: (cells,) number of the audio symbol.
        text: (cells,) number of the text symbol.
        clauses: (cells,) number of clauses, which both channels see.
        number: Number of the cell of each (voice, stressed, says).
    """

    p: np.ndarray
    audio: np.ndarray
    text: np.ndarray
    clauses: np.ndarray
    number: dict[tuple[str, int, str], int]


@lru_cache(maxsize=32)
def cells(process: Process) -> Cells:
    """Arrange `Process.joint` by what the two channels see.

    Raises:
        ValueError: If an emotion never occurs.
    """
    if min(process.shares) <= 0:
        raise ValueError(f"{process.name} gives an emotion no share, {process.shares}; ceilings need all four.")
    keys = ["voice", "stressed", "says"]
    joint = process.joint()
    wide = joint.pivot_table(index=keys, columns="emotion", values="probability", aggfunc="sum", fill_value=0)
    wide = wide.reindex(columns=list(EMOTIONS), fill_value=0.0)
    voice, stressed, says = (wide.index.get_level_values(key) for key in keys)
    clauses = says.str.count(r"\|").to_numpy() + 1
    audio = pd.factorize(pd.MultiIndex.from_arrays([voice, clauses, stressed]))[0]
    number = {key: i for i, key in enumerate(wide.index)}
    return Cells(wide.to_numpy(), audio, pd.factorize(says)[0], clauses, number)


def ceilings(process: Process, table: pd.DataFrame | None = None, dialogues: int = 8000, seed: int = 0) -> pd.DataFrame:
    """Return the best accuracy and the best mean recall of every kind of system.

    `audio`, `text`, `both`: one channel, or both together. A channel that is missing at test leaves the other.
    `late`: see `late_rule`. `additive`: see `additive_rule`. Always late <= additive <= both.
    `scenario`, `text+scenario`, `both+scenario`: the scenario is known too. Words may give the scenario away,
    so `both+scenario` bounds what a system that sees single utterances could gain by that.
    `both+past`, `both+context`: all cues of the dialogue up to this turn, or of the whole dialogue, are known;
    the scenario is not. These two are averaged over simulated dialogues; all the others are exact.

    Args:
        process: The planted process.
        table: A corpus drawn from it (columns `emotion`, `dialogue`, `turn`, `scenario`, `voice`, `stressed`,
            `says`), to see how often the very same rules are right on its rows.
        dialogues: Number of dialogues to simulate for the two context ceilings.
        seed: Seed of that simulation.

    Returns:
        One row per system. `accuracy`, `mean_recall`: each of its own best rule; `accuracy_se`,
        `mean_recall_se`: their standard errors, 0 where exact; `recall_happy` to `recall_angry`: of the rule
        that is best in accuracy; with a table also `accuracy_drawn` and `mean_recall_drawn`.

    Raises:
        ValueError: If the table holds a cue that the process cannot produce, or lacks a column.

    Shown in chapter 03.
    """
    rows = {}
    seen = {} if table is None else _symbols(process, table)
    for system, (joint, rules) in _rules(process).items():
        rows[system] = _score(joint, rules)
        if table is not None:
            rows[system] |= _score_drawn(table, [rule[seen[system]] for rule in rules])
    prior = cells(process).p.sum(0)
    turns = _simulate(process, dialogues, seed)
    drawn = None if table is None else _turns_of(process, table)
    for system, future in (("both+past", False), ("both+context", True)):
        rows[system] = _score_context(_posterior(process, turns, future), turns, prior)
        if drawn is not None:
            posterior = _posterior(process, drawn, future)[drawn.row]
            rows[system] |= _score_drawn(table, [best_class(posterior), best_class(posterior / prior)])
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("system")


def bayes_confusion(process: Process, channel: str, goal: str = "accuracy") -> np.ndarray:
    """Confusion of the best rule there is when `channel` is seen: no one confuses less on the whole.

    Args:
        process: The planted process.
        channel: "audio", "text" or "both".
        goal: What the rule is best in, "accuracy" or "mean_recall".

    Returns:
        (4, 4), row = emotion, column = answer; rows sum to 1.

    Raises:
        ValueError: If the channel or the goal is unknown.

    Shown in chapter 14.
    """
    if channel not in CHANNELS:
        raise ValueError(f"There is no channel {channel!r}; choose one of {', '.join(CHANNELS)}.")
    if goal not in GOALS:
        raise ValueError(f"There is no goal {goal!r}; choose one of {', '.join(GOALS)}.")
    seen = cells(process)
    joint = seen.p if channel == "both" else _sum_by(getattr(seen, channel), seen.p)
    rule = best_class(joint if goal == "accuracy" else evenly(joint))
    return _confusion(joint, rule) / joint.sum(0)[:, None]


def best_class(scores: np.ndarray) -> np.ndarray:
    """Number of the best class in each row of (rows, 4); differences below rounding count as ties."""
    scale = np.abs(scores).max(axis=1, keepdims=True)
    return np.round(scores / np.where(scale > 0, scale, 1), 10).argmax(axis=1)


def evenly(joint: np.ndarray) -> np.ndarray:
    """Weight the classes evenly, so that accuracy becomes mean recall. (symbols, 4) to the same."""
    prior = joint.sum(axis=0)
    return joint / np.where(prior > 0, prior, 1) / (prior > 0).sum()


# One utterance at a time -------------------------------------------------------------------------------------


@lru_cache(maxsize=32)
def _rules(process: Process) -> dict[str, tuple[np.ndarray, tuple[np.ndarray, np.ndarray]]]:
    """Per system: P(symbol, emotion), and the best rules (symbol -> class) for accuracy and for mean recall."""
    both = cells(process)
    with_scenario = _with_scenario(process)
    free = {
        "audio": _sum_by(both.audio, both.p),
        "text": _sum_by(both.text, both.p),
        "both": both.p,
        "scenario": with_scenario.sum(axis=0),
        "text+scenario": _sum_by(both.text, with_scenario).reshape(-1, 4),
        "both+scenario": with_scenario.reshape(-1, 4),
    }
    rules = {system: (joint, (best_class(joint), best_class(evenly(joint)))) for system, joint in free.items()}
    for system, rule in (("late", late_rule), ("additive", additive_rule)):
        rules[system] = (both.p, (rule(both, both.p), rule(both, evenly(both.p))))
    order = ["audio", "text", "late", "additive", "both", "scenario", "text+scenario", "both+scenario"]
    return {system: rules[system] for system in order}


def late_rule(both: Cells, joint: np.ndarray) -> np.ndarray:
    """Best late fusion: one weight between two classifiers that never met.

    score(y) = w log p(y|a) + (1 - w) log p(y|t) - min(w, 1 - w) log p(y)

    The last term is the prior correction: both posteriors hold the prior, and the weaker channel hands its
    share back. At w = 1 this is audio alone, at w = 0 text alone, at w = 1/2 the Bayes rule if the cues are
    conditionally independent. Scores are linear in w on either side of 1/2, so the answers change only at
    breakpoints; one w between any two neighbours, and 0, 1/2 and 1, try every rule there is (ties at a
    breakpoint, which could be broken either way, do not count). A posterior of zero counts as 1e-300.
    Our choice of family; averaging log posteriors is the product rule of Kittler et al. (1998) with a weight.

    Args:
        both: The symbols.
        joint: (cells, 4) probabilities, those of `both` or weighted evenly.

    Returns:
        (cells,) answer of the best rule.
    """
    audio, text, prior = (_log(part) for part in _posteriors(both, joint))
    best, answer = -1.0, np.zeros(len(joint), dtype=int)
    halfway = 0.5 * (audio + text - prior)
    for start, end in ((text, halfway), (halfway, audio)):
        slope = 2 * (end - start)
        for w in _between(start, slope):
            rule = best_class(start + w * slope)
            value = joint[np.arange(len(joint)), rule].sum()
            if value > best + TINY:
                best, answer = value, rule
    return answer


def _between(start: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """0, 1/2, and one number between any two neighbouring points where start + w slope changes its best class."""
    pairs = np.array(CLASS_PAIRS)
    gap = np.unique(np.round(np.hstack([start, slope]), 12), axis=0)
    rise = gap[:, 4 + pairs[:, 0]] - gap[:, 4 + pairs[:, 1]]
    fall = gap[:, pairs[:, 1]] - gap[:, pairs[:, 0]]
    cross = np.divide(fall, rise, out=np.zeros_like(fall), where=np.abs(rise) > TINY)
    points = np.unique(np.round([0, 0.5, *cross[(cross > 0) & (cross < 0.5)]], 12))
    return np.concatenate([points[[0, -1]], (points[1:] + points[:-1]) / 2])


def _posteriors(both: Cells, joint: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """p(y|a), p(y|t) per cell, (cells, 4) each, and p(y), (4,)."""
    by_audio, by_text = (_sum_by(symbol, joint)[symbol] for symbol in (both.audio, both.text))
    normal = [part / part.sum(axis=1, keepdims=True) for part in (by_audio, by_text)]
    return normal[0], normal[1], joint.sum(axis=0) / joint.sum()


def _log(p: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(p, 1e-300))


def _sum_by(symbol: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Add the rows of `joint` that share a symbol: (cells, ...) to (symbols, ...)."""
    total = np.zeros((symbol.max() + 1, *joint.shape[1:]))
    np.add.at(total, symbol, joint)
    return total


def _clean(process: Process) -> tuple[np.ndarray, np.ndarray]:
    """P(cell | true emotion), (cells, 4), and P(label | true emotion), (4, 4)."""
    p = cells(process).p
    noise = np.full((4, 4), process.label_noise / 3)
    np.fill_diagonal(noise, 1 - process.label_noise)
    if process.label_noise:
        true, number = cells(replace(process, label_noise=0.0)), cells(process).number
        p = np.zeros_like(p)
        p[[number[key] for key in true.number]] = true.p
    return p / np.array(process.shares), noise


def _with_scenario(process: Process) -> np.ndarray:
    """P(cell, scenario, label), (cells, scenarios, 4): given the true emotion the cues know no scenario."""
    scenarios = process.scenarios()
    emotion = scenarios[list(EMOTIONS)].to_numpy() * scenarios[["probability"]].to_numpy()
    cue, noise = _clean(process)
    return np.einsum("ce,se,ey->csy", cue, emotion, noise)


def _symbols(process: Process, table: pd.DataFrame) -> dict[str, np.ndarray]:
    """Number of the symbol that each system sees in each row of the table, (rows,)."""
    both, cell = cells(process), _cell_of(process, table)
    known = process.scenarios().index
    scenario = known.get_indexer(table["scenario"])
    if (scenario < 0).any():
        raise ValueError(f"{process.name} has no scenario {table['scenario'][scenario < 0].iloc[0]!r}.")
    seen = {"audio": both.audio[cell], "text": both.text[cell], "scenario": scenario}
    seen |= dict.fromkeys(("late", "additive", "both"), cell)
    return seen | {
        "text+scenario": both.text[cell] * len(known) + scenario,
        "both+scenario": cell * len(known) + scenario,
    }


def _cell_of(process: Process, table: pd.DataFrame) -> np.ndarray:
    needed = ["emotion", "dialogue", "turn", "scenario", "voice", "stressed", "says"]
    missing = [column for column in needed if column not in table]
    if missing:
        raise ValueError(f"The table lacks the planted columns {missing}; join the corpus's table with its truth.")
    number = cells(process).number
    keys = [(voice, int(stressed), says) for voice, stressed, says in table[needed[-3:]].itertuples(index=False)]
    strange = next((key for key in keys if key not in number), None)
    if strange is not None:
        raise ValueError(f"{process.name} cannot produce {strange} (voice, stressed, says); was it drawn from another?")
    return np.array([number[key] for key in keys])


def _confusion(joint: np.ndarray, rule: np.ndarray) -> np.ndarray:
    """P(emotion, answer), (4, 4)."""
    return np.stack([joint[rule == answer].sum(axis=0) for answer in range(4)], axis=1)


def _score(joint: np.ndarray, rules: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
    for_accuracy, for_recall = (_confusion(joint, rule) for rule in rules)
    prior = joint.sum(axis=0)
    row = {"accuracy": np.trace(for_accuracy), "mean_recall": np.mean(np.diag(for_recall) / prior)}
    row |= {"accuracy_se": 0.0, "mean_recall_se": 0.0}
    return row | _recalls(np.diag(for_accuracy) / prior)


def _recalls(recalls: np.ndarray) -> dict[str, float]:
    return {f"recall_{emotion}": recall for emotion, recall in zip(EMOTIONS, recalls, strict=True)}


def _score_drawn(table: pd.DataFrame, answers: list[np.ndarray]) -> dict[str, float]:
    emotion = pd.Categorical(table["emotion"], categories=EMOTIONS).codes
    for_accuracy, for_recall = (pd.Series(answer == emotion) for answer in answers)
    return {"accuracy_drawn": for_accuracy.mean(), "mean_recall_drawn": for_recall.groupby(emotion).mean().mean()}


# A whole dialogue ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Turns:
    """Dialogues side by side: `cell` (dialogues, turns), -1 after the end; `row`: where a table's rows went."""

    cell: np.ndarray
    row: tuple[np.ndarray, np.ndarray] | None = None


def _turns_of(process: Process, table: pd.DataFrame) -> _Turns:
    dialogue = pd.factorize(table["dialogue"])[0]
    place = table.groupby("dialogue")["turn"].rank(method="first").to_numpy(dtype=int) - 1
    cell = np.full((dialogue.max() + 1, place.max() + 1), -1)
    cell[dialogue, place] = _cell_of(process, table)
    return _Turns(cell, (dialogue, place))


def _simulate(process: Process, dialogues: int, seed: int) -> _Turns:
    """Draw dialogues of cues: the chain of `Process.draw`, for all dialogues at once."""
    rng = generator(seed, process.name, "ceilings")
    scenarios, (cue, _) = process.scenarios(), _clean(process)
    given = scenarios[list(EMOTIONS)].to_numpy()[_pick(rng, scenarios["probability"].to_numpy()[None], dialogues)]
    emotion = np.empty((dialogues, TURNS[1]), dtype=int)
    for turn in range(TURNS[1]):
        keep = (rng.random(dialogues) < process.inertia) & (turn > 0)
        emotion[:, turn] = np.where(keep, emotion[:, turn - 1], _pick(rng, given, dialogues))
    cell = np.empty_like(emotion)
    for e in range(4):
        cell[emotion == e] = _pick(rng, cue[None, :, e], int((emotion == e).sum()))
    length = rng.integers(TURNS[0], TURNS[1] + 1, dialogues)
    return _Turns(np.where(np.arange(TURNS[1]) < length[:, None], cell, -1))


def _pick(rng: np.random.Generator, p: np.ndarray, size: int) -> np.ndarray:
    """Draw `size` indices with probabilities p, (1 or size, choices)."""
    cumulative = p.cumsum(axis=1)
    point = rng.random(size) * cumulative[:, -1]
    if len(p) == 1:
        return np.searchsorted(cumulative[0], point, side="right")
    return (cumulative <= point[:, None]).sum(axis=1)


def _posterior(process: Process, turns: _Turns, future: bool) -> np.ndarray:
    """P(label of a turn | cues of its dialogue), (dialogues, turns, 4), by the forward-backward algorithm.

    Hidden are the emotions (a Markov chain) and the scenario that drives it (fixed within a dialogue), so the
    state is the pair of both (Rabiner 1989). Without `future` only the cues up to the turn count.
    """
    scenarios, (cue, noise) = process.scenarios(), _clean(process)
    fresh = scenarios[list(EMOTIONS)].to_numpy()  # (scenarios, 4)
    seen = np.where((turns.cell >= 0)[..., None], cue[turns.cell], 1.0)[:, :, None]  # (dialogues, turns, 1, 4)
    steps = turns.cell.shape[1]
    belief = [_normal(scenarios[["probability"]].to_numpy() * fresh * seen[:, 0])]
    for t in range(1, steps):
        moved = process.inertia * belief[-1] + (1 - process.inertia) * belief[-1].sum(-1, keepdims=True) * fresh
        belief.append(_normal(moved * seen[:, t]))
    after = np.ones_like(belief[0])
    for t in reversed(range(steps)):
        if future:
            belief[t] = _normal(belief[t] * after)
            after = after * seen[:, t]
            after = _normal(process.inertia * after + (1 - process.inertia) * (fresh * after).sum(-1, keepdims=True))
    return np.stack([b.sum(axis=1) for b in belief], axis=1) @ noise


def _normal(belief: np.ndarray) -> np.ndarray:
    """Scale (dialogues, scenarios, 4) to sum to 1 per dialogue."""
    return belief / belief.sum(axis=(1, 2), keepdims=True)


def _score_context(posterior: np.ndarray, turns: _Turns, prior: np.ndarray) -> dict[str, float]:
    """Expected scores of the best rules, with standard errors over dialogues (ratio estimates, Cochran 1977).

    The posterior itself says how often a rule is right; that is less noisy than counting drawn labels.
    """
    mass = posterior * (turns.cell >= 0)[..., None]
    for_accuracy, for_recall = (
        (np.eye(4)[best_class(scores.reshape(-1, 4))].reshape(mass.shape) * mass).sum(axis=1)
        for scores in (posterior, posterior / prior)
    )
    mass = mass.sum(axis=1)  # all three are (dialogues, 4) by now
    accuracy, recall = for_accuracy.sum() / mass.sum(), for_recall.sum(axis=0) / mass.sum(axis=0)
    off = (for_accuracy - accuracy * mass).sum(axis=1) / mass.sum()
    off_recall = ((for_recall - recall * mass) / mass.sum(axis=0)).mean(axis=1)
    row = {"accuracy": accuracy, "mean_recall": recall.mean()}
    row |= {"accuracy_se": np.sqrt((off**2).sum()), "mean_recall_se": np.sqrt((off_recall**2).sum())}
    return row | _recalls(for_accuracy.sum(axis=0) / mass.sum(axis=0))


# Information --------------------------------------------------------------------------------------------------


def information(process: Process) -> pd.Series:
    """Return entropies, mutual informations and their decompositions, in bits.

    `H(Y)`, `H(Y|A)`, `H(Y|T)`, `H(Y|A,T)`, `I(Y;A)`, `I(Y;T)`, `I(Y;A,T)`, and per definition (`wb`, `broja`)
    what `decompose` returns.

    Symbols of a channel with the same P(y|symbol) are merged before the decomposition. Both definitions
    depend on P(y, a) and P(y, t) only and do not change: a merged symbol is sufficient for y, and an optimal
    joint table of the merged symbols extends to one of all symbols with A independent of (Y, T) given the
    merged A. So the 41 audio and 64 text symbols of duet-x become 6 and 15.

    Caveat: synergy is no measure of a need for interaction. With conditionally independent cues additive fusion
    is already perfect, and still both definitions (Williams-Beer much more) report synergy: two weak cues are
    surer together. Compare with the rows `additive` and `both` of `ceilings`.

    Shown in chapter 07.
    """
    both = cells(process)
    prior, audio, text = both.p.sum(0), _sum_by(both.audio, both.p), _sum_by(both.text, both.p)
    h = {"H(Y)": _entropy(prior)}
    for name, joint in (("A", audio), ("T", text), ("A,T", both.p)):
        h[f"H(Y|{name})"] = _entropy(joint) - _entropy(joint.sum(axis=1))
    parts = {f"I(Y;{name})": h["H(Y)"] - h[f"H(Y|{name})"] for name in ("A", "T", "A,T")}
    a, t = _proportional(audio)[both.audio], _proportional(text)[both.text]
    joint = np.zeros((4, a.max() + 1, t.max() + 1))
    np.add.at(joint.transpose(1, 2, 0), (a, t), both.p)
    shared = decompose(joint)
    synergy = parts["I(Y;A,T)"] - parts["I(Y;A)"] - parts["I(Y;T)"]  # merging keeps all but the synergy
    for name in ("wb", "broja"):
        shared[f"{name} synergy"] = synergy + shared[f"{name} redundant"]
    return pd.Series({**h, **parts, **shared}, name=process.name)


def decompose(joint: np.ndarray, tolerance: float = 1e-7) -> dict[str, float]:
    """Split I(Y;A,T) into what both channels tell, what only one tells, and what only both together tell.

    redundant + unique A = I(Y;A), redundant + unique T = I(Y;T), and all four add up to I(Y;A,T), so one of
    them settles the rest. `wb` (Williams & Beer 2010): redundant = sum_y p(y) min over channels of the specific
    information sum_a p(a|y) log2(p(y|a) / p(y)). `broja` (Bertschinger et al. 2014): redundant = max over Q of
    I_Q(Y;A) - I_Q(Y;A|T), where Q has the same tables (y, a) and (y, t) as P.

    Args:
        joint: (4, audio symbols, text symbols) or any number of classes; probabilities summing to 1.
        tolerance: Largest error of the BROJA values in bits (a bound from convex duality, not a guess).

    Returns:
        For `wb` and `broja`: "<name> redundant", "... unique A", "... unique T", "... synergy", in bits.
    """
    prior, audio, text = joint.sum(axis=(1, 2)), joint.sum(axis=2), joint.sum(axis=1)
    i_audio, i_text = (_entropy(prior) + _entropy(p.sum(axis=0)) - _entropy(p) for p in (audio, text))
    i_both = _entropy(prior) + _entropy(joint.sum(axis=0)) - _entropy(joint)
    specific = np.minimum(*(_specific(p) for p in (audio, text)))
    # given the tables (y, a) and (y, t), I_Q(Y;A|T) = H(Y|T) - H_Q(Y|A,T)
    least = _entropy(text) - _entropy(text.sum(axis=0)) - _largest_entropy(audio, text, tolerance)
    result = {}
    for name, redundant in (("wb", prior @ specific), ("broja", i_audio - least)):
        result[f"{name} redundant"] = redundant
        result[f"{name} unique A"] = i_audio - redundant
        result[f"{name} unique T"] = i_text - redundant
        result[f"{name} synergy"] = i_both - i_audio - i_text + redundant
    return result


def _entropy(p: np.ndarray) -> float:
    return float(-(p * np.log2(np.where(p > 0, p, 1))).sum())


def _specific(joint: np.ndarray) -> np.ndarray:
    """Specific information of each class about the symbols of one channel, (classes, symbols) to (classes,)."""
    prior = joint.sum(axis=1, keepdims=True)
    ratio = joint / np.where(prior > 0, prior, 1) / np.where(joint.sum(axis=0) > 0, joint.sum(axis=0), 1)
    return (joint / np.where(prior > 0, prior, 1) * np.log2(np.where(ratio > 0, ratio, 1))).sum(axis=1)


def _largest_entropy(audio: np.ndarray, text: np.ndarray, tolerance: float) -> float:
    """max H_Q(Y|A,T) in bits over all Q with the tables `audio` (y, a) and `text` (y, t).

    A concave problem with linear constraints, solved by Newton steps on a logarithmic barrier (Boyd &
    Vandenberghe 2004, ch. 11); on the central path the error is at most (number of unknowns) x (barrier weight).
    """
    prior = audio.sum(axis=1)
    q = audio[:, :, None] * text[:, None] / np.where(prior > 0, prior, 1)[:, None, None]
    y, a, t = np.nonzero(q > 0)
    q = q[y, a, t]
    pair = np.unique(a * text.shape[1] + t, return_inverse=True)[1]
    rows = [np.unique(y * n + s, return_inverse=True)[1] for n, s in ((audio.shape[1], a), (text.shape[1], t))]
    constraint = np.concatenate([np.eye(row.max() + 1)[:, row] for row in rows])
    same = pair[:, None] == pair
    weight = 1.0
    while True:
        for _ in range(50):
            total = np.bincount(pair, q)[pair]
            gradient = np.log(q / total) - weight / q
            hessian = np.diag(1 / q + weight / q**2) - same / total
            step = _newton(hessian, gradient, constraint, q)
            if -gradient @ step < 1e-3 * weight:
                break
            q = q + min(1.0, 0.9 / max(np.max(-step / q), 1e-9)) * step
        if len(q) * weight / np.log(2) < tolerance:
            return float(-(q * np.log2(q / np.bincount(pair, q)[pair])).sum())
        weight *= 0.1


def _newton(hessian: np.ndarray, gradient: np.ndarray, constraint: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Newton step that keeps constraint @ q; in units of q, or the tiny probabilities would spoil the solve."""
    scaled = constraint * scale
    curvature = hessian * scale[:, None] * scale
    part = np.linalg.solve(curvature, np.column_stack([gradient * scale, scaled.T]))
    multiplier = np.linalg.lstsq(scaled @ part[:, 1:], scaled @ part[:, 0], rcond=1e-12)[0]
    return -scale * (part[:, 0] - part[:, 1:] @ multiplier)


# Additive fusion: an exact search ---------------------------------------------------------------------------


def additive_rule(both: Cells, joint: np.ndarray) -> np.ndarray:
    """Best additive fusion: score(y) = f(a, y) + g(t, y) with any two functions f and g. Exact.

    Every linear head on two concatenated encodings, every sum or product of unimodal scores and all late
    fusion are of this kind. If the cues are conditionally independent given y, then log p(y|a,t) =
    log p(a|y) + log p(t|y) + log p(y) - log p(a,t) is of this kind too: the best additive fusion is Bayes'.

    Both channels see the number of clauses, so each number is a problem of its own. Audio symbols whose
    tables P(., .|a) are proportional may share one f: given g, the best f of one is the best of the other.
    So a focus utterance counts by its stressed clause only. `best_additive` does the rest.

    Args and returns as in `late_rule`.
    """
    answer = np.zeros(len(joint), dtype=int)
    for clauses in np.unique(both.clauses):
        here = np.flatnonzero(both.clauses == clauses)
        audio, text = (np.unique(symbol[here], return_inverse=True)[1] for symbol in (both.audio, both.text))
        weight = np.zeros((audio.max() + 1, text.max() + 1, 4))
        weight[audio, text] = joint[here]
        group = _proportional(weight)
        merged = _sum_by(group, weight)
        if len(merged) > 4:  # the smaller channel spans the columns
            answer[here] = best_additive(merged)[group[audio], text]
        else:
            answer[here] = best_additive(merged.transpose(1, 0, 2))[text, group[audio]]
    return answer


def _proportional(weight: np.ndarray) -> np.ndarray:
    """Number the slices of (a, t, 4) so that proportional ones share a number."""
    flat = weight.reshape(len(weight), -1)
    return np.unique(np.round(flat / flat.sum(axis=1, keepdims=True), 10), axis=0, return_inverse=True)[1].ravel()


def best_additive(weight: np.ndarray) -> np.ndarray:
    """Find the best answers of the form argmax_y f(i, y) + g(j, y), by branch and bound, hence with proof.

    Call the answers of row i over all columns j its *pattern*. Given g, a row may have a pattern exactly if no
    exchange of its answers among the columns adds to sum_j g(j, pattern_j); f is then the dual solution of that
    assignment problem. An exchange is a cycle through two, three or four columns with as many answers. So all
    that matters of g is, for each pair of classes, the order of the columns by g(., y) - g(., z), and then which
    matching of three or four columns with classes is best. The search fixes one of these after the other. Its
    bound lets each row take the best pattern not yet excluded. At the end a linear program tells whether such a
    g exists. (What is searched are the triangulations of a product of two simplices: Develin & Sturmfels 2004.)
    Columns or classes that may change places are searched in one order only. Takes up to some ten seconds for
    24 rows and 4 columns without any symmetry; duet-x has symmetries and takes one or two.

    Args:
        weight: (rows, columns, 4), the gain of each answer in each cell; at most 4 columns.

    Returns:
        (rows, columns) the answers.

    Raises:
        ValueError: If there are more than 4 columns.
    """
    if weight.shape[1] > 4:
        raise ValueError(f"The search is written for at most 4 columns, not {weight.shape[1]}; swap the channels.")
    scaled = np.round(weight / weight.sum(), 13)
    return _best_additive(scaled.tobytes(), scaled.shape).copy()


@lru_cache(maxsize=256)
def _best_additive(weight: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    search = _Search(np.frombuffer(weight).reshape(shape))
    open_ = search.climb()
    value, answers = search.bound(open_[None])[0] + TINY, search.answers(open_)
    stack = [search.root()]
    while stack:
        node = stack.pop()
        node = node.take(node.bound > value)
        if node.level < search.levels:
            stack.extend(search.branch(node, value))
            continue
        node = search.reachable(node)
        for leaf in np.argsort(-node.bound):
            if node.bound[leaf] > value and search.realisable(node.open[leaf]):
                value, answers = node.bound[leaf] + TINY, search.answers(node.open[leaf])
    return answers


@dataclass(frozen=True)
class _Node:
    """A batch of partial decisions.

    Attributes:
        level: How many decisions are taken.
        order: (batch, 6) number of the order of the columns, per pair of classes.
        open: (batch, patterns) whether a pattern is not excluded.
        bound: (batch,) what the rows could still reach.
    """

    level: int
    order: np.ndarray
    open: np.ndarray
    bound: np.ndarray

    def take(self, which: np.ndarray) -> _Node:
        return _Node(self.level, self.order[which], self.open[which], self.bound[which])


class _Search:
    """What `best_additive` knows before it starts: patterns and their gains, orders and how they fit together."""

    def __init__(self, weight: np.ndarray) -> None:
        self.weight, self.columns = weight, weight.shape[1]
        self.patterns = np.array(list(product(range(4), repeat=self.columns)))
        self.gain = weight[:, np.arange(self.columns), self.patterns].sum(axis=2)  # (rows, patterns)
        self.ranking = [self._worth_trying(gain) for gain in self.gain]
        self.bag = np.unique(np.sort(self.patterns, axis=1), axis=0, return_inverse=True)[1].ravel()
        self.pairs = list(combinations(range(self.columns), 2))
        self.places = np.array(list(permutations(range(self.columns))))  # (orders, columns): place of each column
        self.ahead = np.array([[places[i] < places[j] for i, j in self.pairs] for places in self.places])
        self.ahead = self.ahead.reshape(len(self.places), len(self.pairs))
        sets = [some for size in range(3, self.columns + 1) for some in combinations(range(self.columns), size)]
        self.matchings = [(some, classes) for some in sets for classes in combinations(range(4), len(some))]
        self.levels = len(CLASS_PAIRS) + len(self.matchings)
        self.exchangeable = all(self._same(weight[:, places]) for places in self.places)

    def _worth_trying(self, gain: np.ndarray) -> np.ndarray:
        """Patterns of a row by falling gain, down to the first that gives one answer throughout: always open."""
        ranking = np.argsort(-gain, kind="stable")
        constant = (self.patterns[ranking] == self.patterns[ranking][:, :1]).all(axis=1)
        return ranking[: constant.argmax() + 1]

    def _same(self, changed: np.ndarray) -> bool:
        """Whether the changed weights are the old ones with the rows in another order."""
        old, new = (np.round(w.reshape(len(w), -1), 10) for w in (self.weight, changed))
        return np.array_equal(old[np.lexsort(old.T)], new[np.lexsort(new.T)])

    def bound(self, open_: np.ndarray) -> np.ndarray:
        """Upper bound, (batch,): every row takes its best open pattern."""
        best = np.zeros(len(open_))
        for gain, ranking in zip(self.gain, self.ranking, strict=True):
            best += gain[ranking[open_[:, ranking].argmax(axis=1)]]
        return best

    def answers(self, open_: np.ndarray) -> np.ndarray:
        return self.patterns[[ranking[open_[ranking].argmax()] for ranking in self.ranking]]

    def climb(self, rounds: int = 15, width: int = 400) -> np.ndarray:
        """Open patterns, (patterns,), of a good g: start from log p(y|j) and from chance, keep what is better."""
        rng = np.random.default_rng(0)
        likely = _log(self.weight.sum(axis=0)) - _log(self.weight.sum(axis=(0, 1)))
        scale = np.array([1e-6] + [1.0] * width)[:, None, None]  # never none at all: ties would count twice
        parents = np.where(scale < 1, likely, 0) + scale * rng.normal(size=(width + 1, self.columns, 4))
        for _ in range(rounds):
            steps = rng.normal(size=(width, self.columns, 4)) * rng.choice([0.01, 0.1, 0.3, 1], (width, 1, 1))
            trials = np.concatenate([parents, parents[np.arange(width) % len(parents)] + steps])
            score = trials[:, np.arange(self.columns), self.patterns].sum(axis=2)
            open_ = np.zeros(score.shape, dtype=bool)
            for bag in range(self.bag.max() + 1):
                inside = np.flatnonzero(self.bag == bag)
                open_[np.arange(len(trials)), inside[score[:, inside].argmax(axis=1)]] = True
            value = self.bound(open_)
            parents = trials[np.argsort(-value, kind="stable")[:20]]
        return open_[value.argmax()]

    def root(self) -> _Node:
        open_ = np.ones((1, len(self.patterns)), dtype=bool)
        return _Node(0, np.zeros((1, len(CLASS_PAIRS)), dtype=int), open_, self.bound(open_))

    def branch(self, node: _Node, value: float, batch: int = 20000) -> list[_Node]:
        """Take the next decision in all possible ways; the most promising batch last (it is popped first)."""
        order, open_ = self._arrange(node) if node.level < len(CLASS_PAIRS) else self._match(node)
        bound = self.bound(open_)
        best = np.argsort(-bound, kind="stable")
        best = best[bound[best] > value]
        child = _Node(node.level + 1, order, open_, bound)
        return [child.take(best[i : i + batch]) for i in range(0, len(best), batch)][::-1]

    @cached_property
    def fits(self) -> np.ndarray:
        """(orders, orders, orders): whether orders by x - y, by y - z and by x - z contradict each other nowhere."""
        first, second, whole = np.ix_(*[np.arange(len(self.places))] * 3)
        first, second, whole = (self.ahead[order] for order in (first, second, whole))
        return ~((first == second) & (first != whole)).any(axis=-1)

    def _allowed(self, pair: int) -> np.ndarray:
        """(orders, patterns): whether the pattern gives y and z to the columns in the order by y - z."""
        y, z = CLASS_PAIRS[pair]
        allowed = np.ones((len(self.places), len(self.patterns)), dtype=bool)
        for k, (i, j) in enumerate(self.pairs):
            yz = (self.patterns[:, i] == y) & (self.patterns[:, j] == z)
            zy = (self.patterns[:, i] == z) & (self.patterns[:, j] == y)
            allowed &= np.where(self.ahead[:, k, None], ~zy, ~yz)
        return allowed

    def _arrange(self, node: _Node) -> tuple[np.ndarray, np.ndarray]:
        """Decide the order of the columns for one pair of classes."""
        y, z = CLASS_PAIRS[node.level]
        possible = np.ones((len(node.order), len(self.places)), dtype=bool)
        for x in range(y):
            first, whole = (node.order[:, CLASS_PAIRS.index((x, c))] for c in (y, z))
            possible &= self.fits[first, :, whole]
        if self.exchangeable and node.level == 0:
            possible[:, 1:] = False
        source, new = np.nonzero(possible)
        order = node.order[source]
        order[:, node.level] = new
        if self.exchangeable and node.level == len(CLASS_PAIRS) - 1:
            first = self._first_of_kind(order)
            order, source, new = order[first], source[first], new[first]
        return order, node.open[source] & self._allowed(node.level)[new]

    def _first_of_kind(self, order: np.ndarray) -> np.ndarray:
        """Rows of `order` that are the first among those that differ only by the names of classes and columns."""
        number = {tuple(places): i for i, places in enumerate(self.places)}
        back = np.array([number[tuple(self.columns - 1 - places)] for places in self.places])
        renamed = np.array([[number[tuple(o[np.argsort(by)])] for o in self.places] for by in self.places])
        digits = len(self.places) ** np.arange(len(CLASS_PAIRS))
        code, first = None, np.ones(len(order), dtype=bool)
        for names in permutations(range(4)):
            if not self._same(self.weight[:, :, names]):
                continue
            other = np.empty_like(order)
            for pair, (y, z) in enumerate(CLASS_PAIRS):
                low, high = sorted((names[y], names[z]))
                same = order[:, CLASS_PAIRS.index((low, high))]
                other[:, pair] = same if low == names[y] else back[same]
            other = renamed[other[:, :1], other] @ digits
            code = other if code is None else code
            first &= code <= other
        return first

    def _match(self, node: _Node) -> tuple[np.ndarray, np.ndarray]:
        """Decide the best matching of some columns with as many classes, among those that no swap improves."""
        columns, classes = self.matchings[node.level - len(CLASS_PAIRS)]
        matchings = np.array(list(permutations(classes)))
        best = np.ones((len(node.order), len(matchings)), dtype=bool)
        for x, y in combinations(range(len(columns)), 2):
            ahead = self.ahead[node.order, self.pairs.index((columns[x], columns[y]))]  # (batch, class pairs)
            for m, matching in enumerate(matchings):
                low, high = sorted((matching[x], matching[y]))
                best[:, m] &= ahead[:, CLASS_PAIRS.index((low, high))] == (matching[x] == low)
        fits = (self.patterns[:, columns] == matchings[:, None]).all(axis=2)  # (matchings, patterns)
        if len(columns) == self.columns:
            best &= node.open @ fits.T
        source, chosen = np.nonzero(best)
        return node.order[source], node.open[source] & (fits[chosen] | ~fits.any(axis=0))

    def reachable(self, node: _Node) -> _Node:
        """Close patterns that no g opens, and drop decisions that leave a bag of answers without any order.

        As f(i, c) rises from where row i has a pattern, one column turns to c first; as it falls, one turns away.
        """
        step = 4 ** np.arange(self.columns)[::-1]
        number = np.arange(len(self.patterns))[:, None, None]
        turned = number + (np.arange(4) - self.patterns[..., None]) * step[:, None]  # (patterns, columns, classes)
        open_ = node.open.copy()
        for c in range(4):
            has = self.patterns == c
            onto = (open_[:, turned[..., c]] & ~has).any(axis=2)
            away = (open_[:, turned] & has[..., None] & (np.arange(4) != c)).any(axis=(2, 3))
            open_ &= (onto | has.all(axis=1)) & (away | ~has.any(axis=1))
        bags = np.eye(self.bag.max() + 1, dtype=int)[self.bag]
        left = _Node(node.level, node.order, open_, self.bound(open_))
        return left.take(np.all(open_ @ bags > 0, axis=1))

    def realisable(self, open_: np.ndarray) -> bool:
        """Whether some g makes every open pattern the best order of its own answers, by a margin of 1."""
        one_hot = np.eye(4)[self.patterns].reshape(len(self.patterns), -1)
        best, other = np.nonzero((self.bag[:, None] == self.bag) & open_[:, None])
        worse = (one_hot[best] - one_hot[other])[best != other]
        if not len(worse):
            return True
        from scipy.optimize import linprog  # here, since it takes as long to load as all else

        constraint = -np.unique(worse, axis=0)
        found = linprog(np.zeros(constraint.shape[1]), constraint, -np.ones(len(constraint)), bounds=(None, None))
        if found.status not in (0, 2):  # 2: proven impossible
            raise RuntimeError(f"The linear program behind the additive ceiling failed: {found.message}")
        return found.status == 0
