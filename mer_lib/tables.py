"""The book's result tables: runs beside the deck's numbers and beside the best that is possible."""

from __future__ import annotations

import json
import shlex
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from mer_lib import corpora
from mer_lib.ceilings import additive_rule, ceilings, cells, evenly, late_rule
from mer_lib.corpora import duet
from mer_lib.corpora.base import EMOTIONS
from mer_lib.corpora.duet.process import DEADPAN, Process
from mer_lib.experiments import (
    ENCODERS,
    PARTS,
    RUN,
    SEEDS,
    TABLES,
    VARIANTS,
    labels,
    named_encoders,
    read_results,
    summary,
)
from mer_lib.metrics import holm, paired_difference
from mer_lib.paper import reported
from mer_lib.progress import watched
from mer_lib.shipped import folder

if TYPE_CHECKING:
    from mer_lib.features.pretrained import Pretrained

_DECK = {"duet-i": "IEMOCAP", "iemocap": "IEMOCAP", "duet-m": "MSP-Improv", "msp-improv": "MSP-Improv"}

CHANNELS = {"A": "audio", "T": "text", "A+T (w/o L_ua)": "both", "A+T": "both"}
"""What each row of Table 3 sees, and so whose ceiling it has. All other variants see both channels."""

ABLATION_SCORES = {"WA": "wa", "F1": "f1", "UA": "ua"}
"""Printed columns and what `experiments.execute` calls them; Table 3 has the emotions instead of F1."""

HEADINGS = {
    "measured": "measured, ± 95% interval over folds",
    "reported": "reported by the deck",
    "ceiling": "ceiling of the planted process",
}
"""Groups of columns that a page shows side by side."""

COMPARED = HEADINGS | {"sees": "reads the", "cost": "one training"}
"""The same where systems of many kinds are compared."""


def deck_dataset(corpus: str) -> str | None:
    """Which of the deck's datasets stands beside a corpus, if any does: one with the same classes."""
    beside = _DECK.get(corpora.bare(corpus))
    return beside if beside and corpora.emotions(corpus) == EMOTIONS else None


def recorded(
    corpus: str | None = None, audio: Pretrained | str | None = None, text: Pretrained | str | None = None
) -> pd.DataFrame:
    """Read the runs that are kept in `data/results`, one file per corpus, named after it.

    Args:
        corpus: The corpus that a chapter runs on.
        audio: Its pretrained encoder of speech, as for `experiments.grid`; None for the book's own features.
        text: Its pretrained encoder of text; likewise.

    Returns:
        One row per run, as `experiments.execute` returns, its seconds made comparable, see `side_by_side`; without
        rows if nothing is kept. Runs on `corpus` are those with these encoders; all others are those with the book's
        own features.
    """
    together, usual = _kept(), labels(None, None)
    asked = labels(audio, text) if corpus else usual
    own = (together[ENCODERS] == usual).all(axis=1)
    return together[(together[ENCODERS] == asked).all(axis=1).where(together["corpus"] == corpus, own)]


def _kept() -> pd.DataFrame:
    """All runs that are kept, whatever their encoders."""
    try:
        files = sorted(folder("results").glob("*.csv"))
    except FileNotFoundError:
        files = []
    runs = [named_encoders(read_results(path)) for path in files if corpora.bare(path.stem) in corpora.names()]
    return side_by_side(pd.concat(runs, ignore_index=True)) if runs else pd.DataFrame(columns=[*RUN, *ENCODERS])


def side_by_side(runs: pd.DataFrame) -> pd.DataFrame:
    """Replace the seconds of runs by their epochs times the seconds of one epoch, as `benchmarks/systems.py` found.

    Runs are made on different days, beside other work, so their own seconds do not compare; there all rows took
    turns in one process. What it has not measured keeps its own seconds.
    """
    path = folder("results") / "speed.csv"
    if not path.is_file():
        return runs
    speed = pd.read_csv(path).set_index(["corpus", "variant"])["seconds_per_epoch"]
    each = speed.reindex(pd.MultiIndex.from_frame(runs[["corpus", "variant"]])).to_numpy()
    epochs = [len(json.loads(history)["epoch"]) for history in runs["history"]]
    return runs.assign(seconds=np.where(np.isnan(each), runs["seconds"], each * epochs))


def extent(runs: pd.DataFrame, of: Sequence[str] = ("fold", "seed")) -> str:
    """Say what stands behind a mean, such as "5 folds x 1 seed"."""
    numbers = {name: runs[name].nunique() for name in of}
    return " x ".join(f"{number} {name}{'s' if number != 1 else ''}" for name, number in numbers.items())


def recipe(
    corpus: str, table: str = "table3", root: str | None = None, audio: str | None = None, text: str | None = None
) -> str:
    """Say what to type in a shell so that the record gets all the runs of a table."""
    place = root if corpora.bare(corpus) not in duet.names() else None
    more = {"ROOT": place, "AUDIO": audio, "TEXT": text}
    told = "".join(f" {name}={shlex.quote(value)}" for name, value in more.items() if value)
    return f"make sweep PROFILE=full TABLE={table} CORPUS={shlex.quote(corpus)}{told}"


def lacking(
    record: pd.DataFrame,
    names: Sequence[str],
    table: str,
    root: str | None = None,
    audio: str | None = None,
    text: str | None = None,
) -> str:
    """Say what a record does not hold of a table yet, and what makes it.

    Args:
        record: One row per run, as `recorded` returns.
        names: Corpora to ask for.
        table: Key of `experiments.TABLES`.
        root: Folder of the corpus that a reader has brought, if there is one.
        audio: The pretrained encoder of speech that a reader has brought; likewise.
        text: That of text.

    Returns:
        A Markdown list with an item for each corpus whose rows are not all there with `experiments.SEEDS` seeds;
        empty if nothing is lacking.
    """
    items = []
    for name in names:
        seeds = record[record["corpus"] == name].groupby("variant")["seed"].nunique()
        seeds = seeds.reindex(list(TABLES[table]), fill_value=0)
        absent, few = int((seeds == 0).sum()), int(((seeds > 0) & (seeds < SEEDS)).sum())
        said = [f"{absent} of {len(seeds)} rows are missing"] if absent else []
        said += [f"{few} of {len(seeds)} rows have fewer than {SEEDS} seeds"] if few else []
        if said:
            items.append(f"- {name}: {', '.join(said)}; `{recipe(name, table, root, audio, text)}`")
    return "\n".join(items)


def shared(results: pd.DataFrame) -> pd.DataFrame:
    """Leave out the runs whose fold and seed not all variants of a corpus have yet: a sweep that is under way."""
    variants = results.groupby("corpus")["variant"].transform("nunique")
    present = results.groupby(["corpus", "fold", "seed"])["variant"].transform("nunique")
    return results[present == variants]


def table3(results: pd.DataFrame, corpus: str) -> pd.DataFrame:
    """Arrange the runs on one corpus as the deck's Table 3, with what can be compared beside it.

    Args:
        results: One row per run of the method, as `experiments.sweep` returns.
        corpus: Name of the corpus.

    Returns:
        One row per variant; columns (group, column). In percent: "measured", "low" and "high" (mean and 95%
        interval over folds) and "ceiling" with a column for each emotion of the corpus, WA and UA; "reported"
        (by the deck: the four classes and "average"); "share" (WA, UA: measured over ceiling). "sees": context,
        "dialogue" or "utterance". "cost": parameters, seconds of a training, folds, seeds. Groups that nobody knows
        for this corpus are absent.

    Raises:
        ValueError: If there is no run on the corpus, or the variants ran on different folds or seeds.

    Shown in chapter 11.
    """
    emotions = {emotion: emotion for emotion in corpora.emotions(corpus)}
    return _arranged(results, corpus, "table3", emotions | {"WA": "wa", "UA": "ua"})


def ablation(results: pd.DataFrame, corpus: str, table: str) -> pd.DataFrame:
    """Arrange the runs on one corpus as one of the deck's Tables 4 to 7, or as one of our own tables of variants.

    Args:
        results: As for `table3`.
        corpus: Name of the corpus.
        table: A key of `experiments.TABLES`.

    Returns:
        As `table3`, with the columns WA, F1 and UA; "reported" has the deck's WA or F1, or both, where it has that
        table on the dataset that the corpus mirrors; "ceiling" and "share" have WA and UA. The ceiling of a system
        that reads the dialogue is that of all cues of the dialogue, later turns too.

    Raises:
        ValueError: As `table3`, or if there is no such table.

    Shown in chapters 12 and 13.
    """
    if table not in TABLES:
        raise ValueError(f"There is no table {table!r}; there are {', '.join(TABLES)}.")
    return _arranged(results, corpus, table, ABLATION_SCORES)


def _arranged(results: pd.DataFrame, corpus: str, table: str, scores: dict[str, str]) -> pd.DataFrame:
    runs = results[(results["corpus"] == corpus) & results["variant"].isin(TABLES[table])]
    if runs.empty:
        held, name = ", ".join(sorted(set(results["corpus"]))) or "none", table.replace("table", "Table ")
        raise ValueError(f"There is no run of {name} on {corpus!r} among the results (corpora: {held}).")
    variants = [variant for variant in TABLES[table] if variant in set(runs["variant"])]
    _require_same_runs(runs)
    found = summary(runs, by=("variant",)).loc[variants]
    groups = {
        group: pd.DataFrame({shown: found.get((name, end), np.nan) for shown, name in scores.items()}, index=variants)
        for group, end in (("measured", "mean"), ("low", "low"), ("high", "high"))
    }
    number, beside = table.removeprefix("table"), deck_dataset(corpus)
    if beside and number.isdecimal() and beside in set(reported(int(number))["dataset"]):
        groups["reported"] = deck(int(number), beside).loc[variants]
    if corpus in duet.names():
        best = ceilings_by_class(duet.process(corpus))
        channels = [CHANNELS.get(variant.rpartition(": ")[2], "both") for variant in variants]
        known = [shown for shown in scores if shown in best]
        groups["ceiling"] = best.loc[channels, known].set_axis(variants)
        around = [variant for variant in variants if reads_dialogue(variant)]
        if around:
            groups["ceiling"].loc[around, ["WA", "UA"]] = _ceiling_with_context(corpus)
        groups["share"] = 100 * groups["measured"][["WA", "UA"]] / groups["ceiling"][["WA", "UA"]]
    read = ["dialogue" if reads_dialogue(variant) else "utterance" for variant in variants]
    groups["sees"] = pd.DataFrame({"context": read}, index=variants)
    by = runs.groupby("variant")
    # The median, since a training that had to wait for others, or was put to sleep, took longer than it costs.
    cost = {name: by[name].median().round(1) for name in ("parameters", "seconds") if name in runs}
    cost |= {"folds": by["fold"].nunique(), "seeds": by["seed"].nunique()}
    groups["cost"] = pd.DataFrame(cost).loc[variants]
    return pd.concat(groups, axis=1).rename_axis("variant")


def reads_dialogue(variant: str) -> bool:
    """Whether the system of a row of the tables reads the turns around an utterance."""
    from mer_lib import systems  # here, since they need torch, and no other part of a table does
    from mer_lib.training import needs_context

    return needs_context(systems.require(VARIANTS[variant].get("system", "method")).module)


@lru_cache
def _ceiling_with_context(corpus: str) -> tuple[float, float]:
    """Best WA and best UA of whoever knows all cues of a dialogue of a Duet corpus."""
    best = 100 * ceilings(duet.process(corpus)).loc["both+context"]
    return best["accuracy"], best["mean_recall"]


def _require_same_runs(runs: pd.DataFrame) -> None:
    done = {variant: sorted(zip(part["fold"], part["seed"], strict=True)) for variant, part in runs.groupby("variant")}
    first, *others = done
    for other in others:
        if done[other] != done[first]:
            raise ValueError(
                f"{other} ran on other folds or seeds than {first}, or one of them ran twice, so their means do not"
                " compare. Let the sweep end, and give each run once."
            )


def deck(table: int, dataset: str) -> pd.DataFrame:
    """A result table as the deck prints it, its rows under our names and in our order.

    Args:
        table: Its number in the deck.
        dataset: "IEMOCAP" or "MSP-Improv"; Table 4 is on the first only, Table 5 on the second only.

    Returns:
        One row per variant. Table 3: columns happy, sad, neutral, angry, average; Table 4: WA; Table 5: F1; Tables 6
        and 7: WA, F1.

    Raises:
        ValueError: If the deck has no such result table, or it is not on this dataset.
    """
    rows = reported(table)
    if dataset not in set(rows["dataset"]):
        has = ", ".join(sorted(set(rows["dataset"])))
        raise ValueError(f"Table {table} of the deck is not on {dataset!r}; it is on {has}.")
    rows = rows[rows["dataset"] == dataset]
    column = rows["class"].where(rows["metric"] == "accuracy", rows["metric"])
    rows = rows.assign(variant=[_variant(row) for row in rows.to_dict("records")], column=column)
    wide = rows.pivot_table(index="variant", columns="column", values="value", sort=False)
    return wide.loc[list(TABLES[f"table{table}"]), list(dict.fromkeys(column))].rename_axis(columns=None)


NAMES = {"Zheng.": "Lian 2019", "Wen.": "Wu 2021", "Soumya.": "Dutta 2022", "Bubai.": "Maji 2023"}
"""Systems that the deck calls by a first name, under the name of their first author and the year."""


def _variant(row: dict) -> str:
    """Our name of a row of the deck: the channels or the system, and the parts that it says are left out."""
    if row["table"] == 5 and row["system"] != "Our Method":
        plain = "" if row["reference"] else "plain "
        return f"{plain}{row['system']}: {row['modality']}"
    name = row["modality"] or "A+T" if row["system"] == "Our Method" else NAMES.get(row["system"], row["system"])
    missing = [part for part in PARTS if row[part.lower()] is False]
    return f"{name} (w/o {', '.join(missing)})" if missing else name


# Comparing variants ------------------------------------------------------------------------------------------


def differences(results: pd.DataFrame, full: str = "A+T", score: str = "ua") -> pd.DataFrame:
    """Compare every variant with the full method, fold by fold, with the seeds of a fold averaged first.

    Args:
        results: One row per run; several corpora may be among them.
        full: The variant that the others are compared with.
        score: Which score.

    Returns:
        One row per corpus and other variant: `difference` (full method minus variant, in points), `low` and
        `high` (95% interval over folds), `p` (paired t-test), `folds`, and `p_holm`, corrected for the number of
        rows. So give it what you mean to look at, all of it and nothing else.

    Raises:
        ValueError: If on a corpus the full method is missing, the variants ran on different folds or seeds, or
            there is only one fold.

    Shown in chapter 12.
    """
    rows = {}
    for corpus, runs in results.groupby("corpus", sort=False):
        if full not in set(runs["variant"]):
            raise ValueError(f"There is no run of {full} on {corpus!r} to compare with.")
        _require_same_runs(runs)
        folds = runs.pivot_table(score, "fold", "variant", sort=False)
        for variant in folds.columns.drop(full):
            rows[corpus, variant] = paired_difference(folds[full], folds[variant]) | {"folds": len(folds)}
    return _corrected(rows, "variant")


def _corrected(rows: dict[tuple[str, str], dict], name: str) -> pd.DataFrame:
    """Put tests into a table, one row each, with Holm's correction beside p."""
    table = pd.DataFrame(list(rows.values()), columns=["difference", "low", "high", "p", "folds"])
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["corpus", name])
    return table.assign(p_holm=holm(table["p"]))


def contrasts(scores: pd.DataFrame) -> pd.DataFrame:
    """Main effects and interactions of the three parts, row by row.

    Every effect is a difference of two means of four cells. For a part: the cells with it minus those without. For
    an interaction: the cells in which an even number of its parts is missing, minus those in which an odd number
    is. That is half of how much more a part adds where the other one is there. Source: Fisher (1935), Yates (1937).

    Args:
        scores: Any rows (folds); a column for each of the eight variants in `TABLES["parts"]`.

    Returns:
        Same rows; columns "attention", "L_sp", "L_ua", "attention x L_sp" and so on, in points.

    Raises:
        ValueError: If a combination of the parts is missing.

    Shown in chapter 12.
    """
    missing = [variant for variant in TABLES["parts"] if variant not in scores]
    if missing:
        raise ValueError(f"Effects need all eight combinations of the parts; there is no {missing[0]}.")
    found = {}
    for effect in [some for size in (1, 2, 3) for some in combinations(PARTS, size)]:
        absent = {v: [part for part in effect if PARTS[part] in VARIANTS[v].items()] for v in TABLES["parts"]}
        sign = pd.Series({variant: (-1) ** len(parts) for variant, parts in absent.items()})
        found[" x ".join(effect)] = (scores[sign.index] * sign).sum(axis=1) / 4
    return pd.DataFrame(found)


def effects(results: pd.DataFrame, score: str = "ua") -> pd.DataFrame:
    """Main effects and interactions of the three parts with their intervals over folds.

    Args:
        results: One row per run; the eight variants of `TABLES["parts"]` on one or more corpora.
        score: Which score.

    Returns:
        One row per corpus and effect; columns as `differences`, see `contrasts` for what they mean.

    Raises:
        ValueError: If a combination is missing, the variants ran on different folds or seeds, or there is only
            one fold.

    Shown in chapter 12.
    """
    rows = {}
    for corpus, runs in results.groupby("corpus", sort=False):
        _require_same_runs(runs)
        folds = runs.pivot_table(score, "fold", "variant", sort=False)
        for effect, values in contrasts(folds).items():
            rows[corpus, effect] = paired_difference(values, [0.0] * len(folds)) | {"folds": len(folds)}
    return _corrected(rows, "effect")


# Ceilings ----------------------------------------------------------------------------------------------------


def ceilings_by_class(process: Process, table: pd.DataFrame | None = None) -> pd.DataFrame:
    """What the best systems reach on a Duet corpus, class by class.

    Args:
        process: The planted process.
        table: A corpus drawn from it (columns `emotion`, `voice`, `stressed`, `says`), to see how often the very
            same rules are right on its rows; by default how often they are right on average.

    Returns:
        One row per channel ("audio", "text", "both"), in percent: UA of the rule that is best in mean recall
        and its recall of each emotion; WA of the rule that is best in accuracy. Where several answers are
        equally good, each is given equally often, so no emotion gains by its place in a list. A system may
        pass the recall of one emotion, at the price of others; it cannot pass WA or UA but by luck.

    Raises:
        ValueError: If the table holds a cue that the process cannot produce.
    """
    seen, rows = cells(process), {}
    weight = seen.p if table is None else _counts(process, table)
    symbols = {"audio": seen.audio, "text": seen.text, "both": np.arange(len(seen.p))}
    for channel, symbol in symbols.items():
        joint = _seen_as(symbol, seen.p)
        right = weight * best_answers(evenly(joint))[symbol]
        recalls = right.sum(0) / weight.sum(0)
        accuracy = (weight * best_answers(joint)[symbol]).sum() / weight.sum()
        rows[channel] = dict(zip(EMOTIONS, recalls, strict=True)) | {"WA": accuracy, "UA": recalls.mean()}
    return 100 * pd.DataFrame.from_dict(rows, orient="index")


def _counts(process: Process, table: pd.DataFrame) -> np.ndarray:
    """Number of rows of each emotion in each cell, (cells, classes)."""
    number, counts = cells(process).number, np.zeros(cells(process).p.shape)
    for voice, stressed, says, emotion in table[["voice", "stressed", "says", "emotion"]].itertuples(index=False):
        if (voice, stressed, says) not in number:
            raise ValueError(f"{process.name} cannot produce {(voice, stressed, says)}; was it drawn from another?")
        counts[number[voice, stressed, says], EMOTIONS.index(emotion)] += 1
    return counts


def ceilings_by_kind(process: Process) -> pd.DataFrame:
    """How often the rules that are best in accuracy on a whole Duet corpus are right on each kind of utterance.

    Args:
        process: The planted process.

    Returns:
        One row per kind ("ordinary", "irony", "focus, 2 clauses" ...) and one for "all", in percent: `share` of
        the corpus, and `text` (text alone), `late` (late fusion, see `ceilings.late_rule`), `additive` (any sum of a
        function of the voice and one of the words) and `both` (joint).
    """
    seen, rules = cells(process), best_rules(process)
    kinds = pd.Series([kind_of(voice, stressed, says) for voice, stressed, says in seen.number])
    added = np.eye(len(EMOTIONS))[additive_rule(seen, seen.p)]
    answers = {"text": rules["text"], "late": rules["late"], "additive": added, "both": rules["both"]}
    right = pd.DataFrame({"share": seen.p.sum(1)} | {name: (seen.p * rule).sum(1) for name, rule in answers.items()})
    table = right.groupby(kinds, sort=False).sum()
    table.loc["all"] = right.sum()
    table[list(answers)] = table[list(answers)].div(table["share"], axis=0)
    return 100 * table


def best_rules(process: Process) -> dict[str, np.ndarray]:
    """The rules that are best in accuracy on a whole Duet corpus: what each answers in each of `ceilings.cells`.

    Returns:
        "audio", "text", "late" (late fusion, see `ceilings.late_rule`) and "both" (joint) to the probability of each
        answer, (cells, classes); ties are split evenly, save in late fusion, which has one answer.
    """
    seen = cells(process)
    single = {name: getattr(seen, name) for name in ("audio", "text")}
    rules = {name: best_answers(_seen_as(symbol, seen.p))[symbol] for name, symbol in single.items()}
    return rules | {"late": np.eye(len(EMOTIONS))[late_rule(seen, seen.p)], "both": best_answers(seen.p)}


def kind_of(voice: str, stressed: int, says: str) -> str:
    """Name the kind of an utterance by what was planted in it; a focus has the number of its clauses."""
    if stressed >= 0:
        return f"focus, {says.count('|') + 1} clauses"
    return "irony" if voice == DEADPAN else "ordinary"


def best_answers(joint: np.ndarray) -> np.ndarray:
    """Probability that the best rule gives each answer, ties split evenly. (symbols, classes) to the same."""
    best = np.isclose(joint, joint.max(axis=1, keepdims=True), rtol=1e-9, atol=0)
    return best / best.sum(axis=1, keepdims=True)


def _seen_as(symbol: np.ndarray, joint: np.ndarray) -> np.ndarray:
    """Add the rows that look the same: (cells, classes) to (symbols, classes)."""
    total = np.zeros((symbol.max() + 1, joint.shape[1]))
    np.add.at(total, symbol, joint)
    return total


# Live runs against kept ones ---------------------------------------------------------------------------------


def _same(record: pd.DataFrame, run: dict, *columns: str) -> pd.DataFrame:
    """The recorded runs that are like a run in some columns, and in its pretrained encoders where they are told."""
    told = [name for name in ENCODERS if name in record]
    return record[
        (record[[*columns, *told]] == [*(run[c] for c in columns), *(run.get(c, "") for c in told)]).all(axis=1)
    ]


def agreement(live: pd.DataFrame, record: pd.DataFrame, score: str = "ua", level: float = 0.999) -> pd.DataFrame:
    """Ask whether live runs look like further seeds of the recorded ones.

    The same run on another machine adds its numbers in another order, and training blows up the difference, so
    it is like another seed. For n recorded seeds of its fold with mean m, a further one lies within
    m ± t s sqrt(1 + 1/n) with probability `level`. Few seeds tell little of their spread, so s is the deviation
    between seeds pooled over all folds of that system; t is Student's quantile with as many degrees of freedom as
    s has, the runs less the folds.

    Args:
        live: One row per run, as `experiments.execute` returns.
        record: The recorded runs.
        score: Which column to compare.
        level: Probability that a run of the same kind lies inside.

    Returns:
        One row per live run, indexed by variant: `fold`, `live`, `seeds`, `mean`, `low`, `high`, `inside`.

    Raises:
        ValueError: If the record was made with other data or settings, or has fewer than three seeds of a run.
    """
    from scipy import stats

    rows = []
    for run in live.to_dict("records"):
        alike = _same(record, run, "corpus", "variant")
        same = alike[alike["fold"] == run["fold"]]
        what = f"{run['variant']} on {run['corpus']}, fold {run['fold']}"
        if len(same) < 3:
            raise ValueError(f"The record has {len(same)} seeds of {what}; it takes three. Run `make sweep`.")
        twin = same[same["seed"] == run["seed"]]
        if len(twin) and run["key"] not in set(twin["key"]):
            raise ValueError(f"The record of {what} is of other data or settings. Make it again with `make sweep`.")
        n, mean = len(same), same[score].mean()
        apart = alike[score] - alike.groupby("fold")[score].transform("mean")
        freedom = len(alike) - alike["fold"].nunique()
        deviation = np.sqrt((apart**2).sum() / freedom)
        half = stats.t.ppf(0.5 + level / 2, freedom) * deviation * np.sqrt(1 + 1 / n)
        inside = bool(abs(run[score] - mean) <= half)
        rows.append([run["variant"], run["fold"], run[score], n, mean, mean - half, mean + half, inside])
    columns = ["variant", "fold", "live", "seeds", "mean", "low", "high", "inside"]
    return pd.DataFrame(rows, columns=columns).set_index("variant")


def held(live: pd.DataFrame, record: pd.DataFrame | None = None) -> str:
    """Hold live runs against the record, see `agreement`; the book is not built where one is off.

    Args:
        live: One row per run, as `experiments.execute` returns.
        record: The recorded runs; by default all that are kept.

    Returns:
        A Markdown list, one item per run: its UA and where the record has it; or that fewer than three seeds are
        recorded, too few to compare with. A reader whose run differs is told so: other versions and other processors
        round differently, and a training that was changed on purpose is the reader's own.

    Raises:
        ValueError: If a live UA is not what the record allows, or the record was made with other data or settings;
            in a reader's notebook neither stops anything.

    Explained in chapter 11.
    """
    record, items = _kept() if record is None else record, []
    for run in live.to_dict("records"):
        name = f"{run['variant']} on {run['corpus']}, fold {run['fold']}, seed {run['seed']}"
        seeds = len(_same(record, run, "corpus", "variant", "fold"))
        if seeds < 3:
            items.append(
                f"- {name}: UA {run['ua']:.1f}, not compared: the record has {seeds} of the three seeds it takes."
            )
            continue
        try:
            found = agreement(pd.DataFrame([run]), record).iloc[0]
        except ValueError as error:
            if not watched():
                raise
            items.append(f"- {name}: UA {run['ua']:.1f}, not compared: {error}")
            continue
        told = f"UA {found['live']:.1f}; {seeds} recorded seeds allow {found['low']:.1f} to {found['high']:.1f}"
        if not found["inside"] and not watched():
            raise ValueError(
                f"{name}: {told}. Where the code has changed on purpose, make the record again: `make sweep`."
            )
        differs = "" if found["inside"] else " **Yours differs**, as it may with other versions, or code of your own."
        items.append(f"- {name}: {told}.{differs}")
    return "\n".join(items)


# For the page ------------------------------------------------------------------------------------------------


def styled(table: pd.DataFrame, caption: str, headings: dict[str, str] = HEADINGS) -> Styler:
    """Make a page's table of the scores that `table3` returns, with the interval below each mean.

    Args:
        table: What `table3` returns.
        caption: What the table holds, in a sentence or two.
        headings: Groups of columns to show, and what to write above each.
    """
    shown = {
        (headings[group], column): [_cell(table, variant, group, column) for variant in table.index]
        for group, column in table.columns
        if group in headings
    }
    text = pd.DataFrame(shown, index=table.index.rename(None))
    groups = text.columns.get_level_values(0)
    starts = [f".col{i}:not(.level0)" for i in range(len(groups)) if i == 0 or groups[i] != groups[i - 1]]
    edge = "border-left: 1px solid #999"
    sticky = "text-align: left; position: sticky; left: 0; z-index: 1; background: "
    ground = "var(--pst-color-background, var(--jp-layout-color0, Canvas))"
    rules = [
        {"selector": "", "props": "font-size: 0.85em; line-height: 1.3"},
        {"selector": "th, td", "props": "text-align: right; white-space: nowrap; padding: 0.3em 0.35em"},
        {"selector": "th.row_heading", "props": sticky + ground},
        {"selector": "th.level0", "props": "text-align: left"},
        {"selector": "caption", "props": "caption-side: top; text-align: left; min-width: 20em; max-width: 44em"},
        {"selector": f"{', '.join(starts)}, th.col_heading.level0", "props": edge},
    ]
    style = text.style.set_uuid(f"{zlib.crc32(caption.encode()):x}").set_caption(caption).set_table_styles(rules)
    return style.set_table_attributes('class="dataframe"')  # by this name pages know how to show it in the dark


def _cell(table: pd.DataFrame, variant: str, group: str, column: str) -> str:
    value = table.loc[variant, (group, column)]
    if group == "sees":
        return value
    if group == "cost":
        return f"{value:,.0f}"
    if group != "measured":
        return f"{value:.2f}" if group == "reported" else f"{value:.1f}"
    if np.isnan(value):  # no fold has an utterance of that class to test on
        return "–"
    half = (table.loc[variant, ("high", column)] - table.loc[variant, ("low", column)]) / 2
    return f"{value:.1f}<br><small>±{half:.1f}</small>" if np.isfinite(half) else f"{value:.1f}"
