"""Cross-examine a printed result table: what its numbers permit, and what they leave open.

The tools see printed numbers only. They say whether a percentage can be a share of whole utterances, whether columns
agree with each other, and whether a gap is larger than luck. They never say how a number came about.

All percentages are as printed, with a fixed number of decimals. What "printed" may mean is given by `how`: "rounded",
"truncated" (the digits that follow were cut off), or "either" where nobody says, which forgives most.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import permutations
from math import ceil, comb, sqrt
from pathlib import Path

import numpy as np
import pandas as pd

from mer_lib.corpora import reading

WIDTH = {"rounded": 1.0, "truncated": 1.0, "either": 1.5}
"""How wide the numbers lie that are printed alike, in units of the last digit."""

OVERLAPS = ("best", "unpaired", "worst")
"""Errors of two systems: as much in common as can be, as if independent, as little in common as can be."""

FINDINGS = {
    "printed": "float", "alone": "Int64", "shared": "Int64", "others": "Int64",
    "n": "Int64", "count": "Int64", "expected": "float", "agrees": "boolean",
}  # fmt: skip
"""Columns of `audit`, and their types."""


# Whole counts ------------------------------------------------------------------------------------------------


def counts(value: float, n: int, how: str = "either", decimals: int = 2) -> list[int]:
    """Which numbers of right utterances out of n are printed as this percentage.

    A share of n utterances is one of n + 1 numbers; a printed percentage that none of them gives is no such share.
    Source: Brown & Heathers (2017), who ask it of means of whole numbers (GRIM). Where a share lies half-way between
    two printed numbers, "rounded" permits both.

    Args:
        value: As printed, in percent.
        n: Number of utterances, at least 1.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.

    Raises:
        ValueError: If the value is no percentage with so many decimals, n is no size, or `how` is unknown.

    Shown in chapter 16.
    """
    first, last = _first_and_last(_units(value, decimals), np.array([_size(n)]), how, decimals)
    return list(range(int(first[0]), int(last[0]) + 1))


def fits(column: pd.Series, most: int = 1500, how: str = "either", decimals: int = 2) -> pd.DataFrame:
    """Which test-set sizes make the printed percentages of a column whole counts.

    Args:
        column: One percentage per row of the table; missing ones are left out.
        most: The largest size to try.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.

    Returns:
        (most, rows of the table), True where it fits; indexed by the sizes from 1.

    Shown in chapter 16.
    """
    n = np.arange(1, _size(most) + 1)
    ends = {row: _first_and_last(_units(v, decimals), n, how, decimals) for row, v in column.dropna().items()}
    return pd.DataFrame({row: last >= first for row, (first, last) in ends.items()}, index=pd.Index(n, name="n"))


def sizes(values: Iterable[float], most: int = 1500, how: str = "either", decimals: int = 2) -> list[int]:
    """Which test-set sizes, up to `most`, make *all* of these percentages whole counts (see `fits`)."""
    table = fits(pd.Series(list(values), dtype=float), most, how, decimals)
    return table.index[table.all(axis=1)].tolist()


def accidents(values: Iterable[float], most: int, how: str = "either", decimals: int = 2, missed: int = 0) -> float:
    """How many sizes up to `most` fit such percentages by accident, on average, if their last digits mean nothing.

    Possible shares of n utterances are 100 / n points apart, so a share is printed as a given percentage with
    probability width * n / (100 * 10^decimals), which is 1 from there on: a large test set can print everything, and
    then to fit says nothing. A percentage that is printed twice counts once.

    Args:
        values: As printed, in percent.
        most: The largest size that was tried.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.
        missed: How many of the percentages a size may miss, whichever they are; so many or fewer.

    Shown in chapter 16.
    """
    distinct = len({_units(v, decimals) for v in values})
    share = np.minimum(1, WIDTH[_known(how)] * np.arange(1, _size(most) + 1) / (100 * 10**decimals))
    ways = (comb(distinct, m) * share ** (distinct - m) * (1 - share) ** m for m in range(min(missed, distinct) + 1))
    return float(sum(np.sum(way) for way in ways))


def implied(recalls: pd.DataFrame, n: Mapping[str, int], how: str = "either", decimals: int = 2) -> pd.DataFrame:
    """Turn recalls back into counts, and counts into the accuracy that the table does not print.

    Args:
        recalls: One row per system, one column per class, in percent.
        n: Class to number of its test utterances.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.

    Returns:
        One row per system: per class the count nearest to the recall, missing where none is printed so; then
        `right` (their sum), `accuracy` and `mean recall` in percent, missing where a count is.

    Shown in chapter 16.
    """
    found = pd.DataFrame(index=recalls.index)
    for name, column in recalls.items():
        found[name] = pd.array([_nearest(v, n[name], how, decimals) for v in column], dtype="Int64")
    shares = pd.DataFrame({name: 100 * found[name] / n[name] for name in recalls})
    found["right"] = found[list(recalls)].sum(axis=1, skipna=False)
    found["accuracy"] = 100 * found["right"] / sum(n[name] for name in recalls)
    found["mean recall"] = shares.mean(axis=1, skipna=False)
    return found


# Columns against each other ----------------------------------------------------------------------------------


def averages(recalls: pd.DataFrame, printed: pd.Series, how: str = "either", decimals: int = 2) -> pd.DataFrame:
    """Compare a printed average with the mean of the printed recalls, row by row.

    All are printed numbers, so the mean can be off by as much as one of them, and so can the average: they agree if
    they differ by no more than the width of what is printed alike.

    Args:
        recalls: One row per system, one column per class, in percent.
        printed: The average of each row, as the table claims it.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.

    Returns:
        One row per system: `printed`, `mean`, `gap` (printed minus mean), `agrees`, and `between`: whether it lies
        between the smallest and the largest recall, as every weighted mean does (accuracy is one).

    Shown in chapter 16.
    """
    off = WIDTH[_known(how)] / 10**decimals + 1e-9
    mean = recalls.mean(axis=1, skipna=False)
    found = pd.DataFrame({"printed": printed, "mean": mean, "gap": printed - mean})
    found["agrees"] = found["gap"].abs() <= off
    found["between"] = printed.between(recalls.min(axis=1) - off, recalls.max(axis=1) + off)
    return found


def restated(rows: pd.DataFrame, quantity: Sequence[str]) -> pd.DataFrame:
    """Find quantities that several tables print, and by how much they differ.

    Args:
        rows: One row per printed number: `table`, `value`, and columns that say what was measured.
        quantity: Those columns; rows that agree in all of them claim the same thing.

    Returns:
        One row per quantity that more than one table prints; a column per table, and `gap`, largest minus smallest.

    Raises:
        ValueError: If one table prints a quantity twice, so that `quantity` does not tell its rows apart.

    Shown in chapter 16.
    """
    twice = rows[rows.duplicated(["table", *quantity], keep=False)]
    if len(twice):
        first = ", ".join(str(twice.iloc[0][name]) for name in quantity)
        raise ValueError(f"Table {twice.iloc[0]['table']} prints {first} more than once; name what tells them apart.")
    wide = rows.pivot_table(index=list(quantity), columns="table", values="value", sort=False)
    wide = wide[wide.notna().sum(axis=1) > 1].dropna(axis=1, how="all")
    return wide.assign(gap=(wide.max(axis=1) - wide.min(axis=1)).round(9)).rename_axis(columns=None)


def f1_range(right: Sequence[int], n: Sequence[int]) -> tuple[float, float]:
    """Smallest and largest macro-F1, in percent, among all decisions with the same recalls.

    Recalls fix how many utterances each class loses, not to which class they go. A class that is given x of them has
    F1 = 2 right / (right + n + x), which falls less and less as x grows. So the smallest sum gives one by one to the
    class that loses most, and the largest one fills class after class; no class can be given what it lost itself.

    Args:
        right: Number of right utterances of each class.
        n: Number of utterances of each class.

    Raises:
        ValueError: If there are fewer than two classes, or a class has more right than utterances.

    Shown in chapter 16.
    """
    hits, size = np.array(right), np.array(n)
    if len(size) < 2 or len(hits) != len(size) or (hits > size).any() or (hits < 0).any() or (size < 1).any():
        raise ValueError(f"{list(right)} right out of {list(n)} are not counts of two classes or more.")
    lost = int((size - hits).sum())
    room = lost - (size - hits)

    def macro(given: np.ndarray) -> float:
        return float(np.mean(200 * hits / (hits + size + given)))

    given = np.zeros_like(hits)
    for _ in range(lost):
        loss = hits / (hits + size + given) - hits / (hits + size + given + 1)
        given[np.where(given < room, loss, -1.0).argmax()] += 1
    return macro(given), max(macro(_filled(room, lost, order)) for order in permutations(range(len(size))))


def _filled(room: np.ndarray, amount: int, order: Sequence[int]) -> np.ndarray:
    """Give each class in turn as much as it has room for, until the amount is gone."""
    given = np.zeros_like(room)
    for c in order:
        given[c] = min(int(room[c]), amount - int(given.sum()))
    return given


# Differences against luck ------------------------------------------------------------------------------------


def difference(first: float, second: float, n: int, level: float = 0.95) -> dict[str, float]:
    """Ask whether two systems differ by more than luck, if all that is known are two accuracies.

    On the same n utterances, b are those that only the first has right and c those that only the second has. The gap
    fixes b - c; the luck lies in b + c, the utterances that they judge differently (McNemar 1947), which tables do
    not print. It lies between |b - c| ("best": the errors of one are among those of the other) and the least overlap
    that the accuracies permit ("worst"). Two test sets of n utterances each ("unpaired") are as uncertain as one on
    which errors are independent, so this lies between.

    Args:
        first: Accuracy of one system, in percent.
        second: Accuracy of the other.
        n: Number of test utterances.
        level: Of the intervals, and 1 minus this is the level of the tests.

    Returns:
        `gap` in points; `utterances` (b - c, from the nearest counts); for "best", "unpaired" and "worst" the ends of
        the interval of the gap in points, `best_low` ..., and the p-value, `best_p` ... (the exact test for best and
        worst, the two-sample z-test for unpaired); `least`, `most`: what b + c can be; `limit`: the largest b + c with
        p below 1 - level, 0 if there is none.

    Raises:
        ValueError: If an accuracy is no percentage or n is no size.

    Shown in chapter 16.
    """
    from scipy import stats  # here, since it takes seconds to load

    p, q = _share(first), _share(second)
    right, other = round(p * _size(n)), round(q * n)
    apart = {"best": abs(p - q), "unpaired": p * (1 - q) + q * (1 - p), "worst": min(p + q, 2 - p - q)}
    found: dict[str, float] = {"gap": first - second, "utterances": right - other}
    for overlap in OVERLAPS:
        half = 100 * stats.norm.ppf(0.5 + level / 2) * sqrt((apart[overlap] - (p - q) ** 2) / n)
        found |= {f"{overlap}_low": found["gap"] - half, f"{overlap}_high": found["gap"] + half}
    least, most = abs(right - other), min(right + other, 2 * n - right - other)
    both = np.arange(least, most + 1, 2)  # all that b + c can be, given b - c
    chance = np.minimum(1, 2 * stats.binom.sf((both + least) // 2 - 1, both, 0.5))
    pooled = sqrt((p + q) * (2 - p - q) / (2 * n))
    found |= {"best_p": chance[0], "worst_p": chance[-1]}
    found["unpaired_p"] = 2 * stats.norm.sf(abs(p - q) / pooled) if pooled else 1.0
    below = both[chance < 1 - level]
    found |= {"least": least, "most": most, "limit": below[-1] if len(below) else 0}
    return {name: float(value) for name, value in found.items()}


def verdict(found: Mapping[str, float], level: float = 0.95) -> str:
    """Say in a few words what `difference` found."""
    if found["worst_p"] < 1 - level:
        return "beyond luck, however the errors overlap"
    if found["unpaired_p"] < 1 - level:
        return "beyond luck, unless the errors avoid each other"
    if found["best_p"] < 1 - level:
        return f"open: beyond luck only if at most {found['limit']:.0f} utterances are judged differently"
    return "within luck, however the errors overlap"


def needed(first: float, second: float, apart: float | None = None, power: float = 0.8, level: float = 0.95) -> int:
    """How many utterances it takes to tell two accuracies apart.

    n = ((z_a sqrt(d) + z_b sqrt(d - g^2)) / g)^2, with the gap g, the share d of utterances that are judged
    differently, and the normal quantiles z_a of the level (two-sided) and z_b of the power. Source: Connor (1987).

    Args:
        first: True accuracy of one system, in percent.
        second: True accuracy of the other.
        apart: How many percent of the utterances are judged rightly by only one of the two. By default as if errors
            were independent, which is also what two test sets of n utterances each need.
        power: Probability that the test finds the difference.
        level: 1 minus the level of the test.

    Raises:
        ValueError: If there is no difference, or fewer utterances are judged differently than the gap demands.

    Shown in chapter 16.
    """
    from scipy import stats

    p, q = _share(first), _share(second)
    gap, share = abs(p - q), p * (1 - q) + q * (1 - p) if apart is None else apart / 100
    if not 0 < gap <= share + 1e-12 or share > 1:
        raise ValueError(
            f"{first} and {second} cannot be told apart with {100 * share:g}% judged differently: there must be a gap,"
            " and the share must lie between the gap and 100%."
        )
    z_level, z_power = stats.norm.ppf([0.5 + level / 2, power])
    return ceil(((z_level * sqrt(share) + z_power * sqrt(max(share - gap**2, 0))) / gap) ** 2)


# The form ----------------------------------------------------------------------------------------------------


def audit(
    table: pd.DataFrame, how: str = "either", decimals: int = 2, most: int = 1500
) -> tuple[pd.DataFrame, list[str]]:
    """Cross-examine any table of recalls.

    Args:
        table: One row per system, one column per class, recalls in percent as printed; missing ones may be missing. A
            column "average", if there is one, is what the table claims to be their average. A row "n", if there is
            one, gives the number of test utterances of each class.
        how: "rounded", "truncated" or "either".
        decimals: Digits printed after the point.
        most: The largest size of a class to try.

    Returns:
        One row per printed number, indexed by (row, column): `printed`; `alone`, the smallest size that makes it a
        whole count; `shared`, the smallest that does so for the whole column; `others`, the smallest that does so for
        the column without this row; `n`, as given; `count`, the whole count at that size; `expected`, the nearest
        percentage there, or the mean of the recalls for an average; `agrees`, whether the printed number can be it.
        What does not apply is missing. Then the same in sentences.

    Raises:
        ValueError: If the table has no recalls, names something twice, or holds a number that is not printed so.

    Shown in chapter 16.
    """
    recalls, printed, n = _parts(table)
    numbers = pd.concat({name: _column(recalls[name], n.get(name), how, decimals, most) for name in recalls})
    sentences = [
        _about_sizes(recalls[name], numbers.loc[name], how, decimals, most) for name in recalls if name not in n
    ]
    if printed is not None:
        checked = averages(recalls, printed, how, decimals).dropna(subset="gap")
        claims = checked.rename(columns={"mean": "expected"}).reindex(columns=list(FINDINGS)).astype(FINDINGS)
        numbers = pd.concat([numbers, pd.concat({"average": claims})])
        sentences += [_about_average(row, found, decimals) for row, found in checked.iterrows()]
    if len(n) == len(recalls.columns):
        sentences += _about_counts(recalls, n, how, decimals)
        sentences += _about_the_lead(recalls, printed, sum(n.values()))
    numbers = numbers.swaplevel().rename_axis(["row", "column"])
    order = pd.MultiIndex.from_product([recalls.index, [*recalls, "average"]], names=numbers.index.names)
    return numbers.reindex(order[order.isin(numbers.index)]), sentences


def _parts(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.Series | None, dict[str, int]]:
    """Take a table apart: recalls, claimed averages, and the sizes of those classes that have one."""
    if table.index.has_duplicates or table.columns.has_duplicates:
        raise ValueError("Two rows or two columns of the table have the same name; give each its own.")
    recalls = table.drop(columns="average", errors="ignore").drop(index="n", errors="ignore").astype(float)
    if recalls.empty:
        raise ValueError("The table has no recalls: it takes one row per system and one column per class.")
    printed = table["average"].drop(index="n", errors="ignore").astype(float) if "average" in table else None
    given = table.loc["n", recalls.columns].dropna() if "n" in table.index else pd.Series(dtype=float)
    return recalls, printed, {name: _size(size) for name, size in given.items()}


def _column(values: pd.Series, n: int | None, how: str, decimals: int, most: int) -> pd.DataFrame:
    """The findings on one class, one row per system (see `audit`)."""
    values = values.dropna()
    table = fits(values, most, how, decimals)
    rows: dict[str, dict[str, object]] = {}
    for row, value in values.items():
        rest = table.drop(columns=row)
        rows[row] = {"printed": value, "alone": _smallest(table[[row]]), "shared": _smallest(table)}
        rows[row]["others"] = _smallest(rest) if len(rest.columns) else pd.NA
        if n is not None:
            count, expected = _nearest(value, n, how, decimals), 100 * round(value * n / 100) / n
            rows[row] |= {"n": n, "count": count, "expected": expected, "agrees": pd.notna(count)}
    return pd.DataFrame.from_dict(rows, orient="index").reindex(columns=list(FINDINGS)).astype(FINDINGS)


def _nearest(value: float, n: int, how: str, decimals: int) -> int | None:
    """The count nearest to a printed percentage, missing where none is printed so."""
    whole = [] if pd.isna(value) else counts(value, n, how, decimals)
    return min(whole, key=lambda k: abs(k - value * n / 100), default=pd.NA)


def _smallest(table: pd.DataFrame) -> int | None:
    """The smallest size that fits all columns of what `fits` returns, missing where none does."""
    found = table.index[table.all(axis=1)]
    return int(found[0]) if len(found) else pd.NA


def _about_sizes(values: pd.Series, found: pd.DataFrame, how: str, decimals: int, most: int) -> str:
    """Say which size the rows of a class share, and which one they share without the row that stands out most."""
    shared = found["shared"].iloc[0]
    luck = accidents(values.dropna(), most if pd.isna(shared) else shared, how, decimals)
    text = f"{values.name}: all {len(found)} rows are whole counts "
    text += f"of no size up to {most}" if pd.isna(shared) else f"of {shared} utterances, and of no fewer"
    text += f" ({luck:.2g} such sizes expected by accident)."
    others = pd.to_numeric(found["others"]).dropna()
    if len(found) > 2 and len(others) and (pd.isna(shared) or others.min() < shared):
        least, odd = int(others.min()), others.idxmin()
        luck = accidents(values.dropna(), least, how, decimals, missed=1)
        text += f" Without {odd}, the others are so of {least} ({luck:.2g} by accident, whichever row is left out)."
    return text


def _about_average(row: str, found: pd.Series, decimals: int) -> str:
    printed, mean = f"{found['printed']:.{decimals}f}", f"{found['mean']:.{decimals + 2}f}"
    if found["agrees"]:
        return f"{row}: the average {printed} can be the mean of the recalls ({mean})."
    outside = "" if found["between"] else " It lies outside of the recalls, so it is no weighted mean of them either."
    return (
        f"{row}: the average is printed as {printed}, but the mean of the recalls is {mean}; no rounding explains"
        f" {found['gap']:+.{decimals}f}.{outside}"
    )


def _about_counts(recalls: pd.DataFrame, n: dict[str, int], how: str, decimals: int) -> list[str]:
    """Say for each row which accuracy its counts imply, or which classes have none."""
    sentences = []
    for row, found in implied(recalls, n, how, decimals).iterrows():
        absent = [name for name in recalls if pd.isna(found[name])]
        if absent:
            sentences.append(f"{row}: no whole count of these sizes gives {', '.join(absent)}.")
        else:
            sentences.append(
                f"{row}: {found['right']} of {sum(n.values())} right, an accuracy of {found['accuracy']:.2f},"
                f" a mean recall of {found['mean recall']:.2f}."
            )
    return sentences


def _about_the_lead(recalls: pd.DataFrame, printed: pd.Series | None, total: int) -> list[str]:
    """Say whether the best row leads the next by more than luck, read as accuracies."""
    scores = (recalls.mean(axis=1) if printed is None else printed).dropna().sort_values(ascending=False)
    if len(scores) < 2:
        return []
    found = difference(scores.iloc[0], scores.iloc[1], total)
    return [
        f"{scores.index[0]} leads {scores.index[1]} by {found['gap']:.2f} points; read as accuracies on {total}"
        f" utterances: {verdict(found)}."
    ]


# Small checks ------------------------------------------------------------------------------------------------


def _first_and_last(printed: int, n: np.ndarray, how: str, decimals: int) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest count that is printed so, for each size; the last is below the first where there is none.

    In whole numbers, halves of the last digit, so that no rounding of the computer's takes part.
    """
    whole = 200 * 10**decimals
    lowest = 2 * printed * n if _known(how) == "truncated" else (2 * printed - 1) * n
    first = -(-lowest // whole)
    last = (2 * printed + 1) * n // whole if how == "rounded" else -(-(2 * printed + 2) * n // whole) - 1
    return np.maximum(first, 0), np.minimum(last, n)


def _units(value: float, decimals: int) -> int:
    """A printed percentage in units of its last digit."""
    units = round(float(value) * 10**decimals)
    if not 0 <= value <= 100 or abs(units - value * 10**decimals) > 1e-6:
        raise ValueError(f"{value} is not a percentage with {decimals} decimals; give it as it is printed.")
    return units


def _share(value: float) -> float:
    if not 0 <= value <= 100:
        raise ValueError(f"{value} is not a percentage.")
    return value / 100


def _size(n: float) -> int:
    if n < 1 or n != int(n):
        raise ValueError(f"{n} is not a number of utterances; it takes a whole number from 1.")
    return int(n)


def _known(how: str) -> str:
    if how not in WIDTH:
        raise ValueError(f"There is no way to print called {how!r}; there are: {', '.join(WIDTH)}.")
    return how


# From a file --------------------------------------------------------------------------------------------------

COLUMNS = (
    "CSV file: its first column names the systems, each other one is a class with recalls in percent as printed; a"
    ' column "average" is what the table claims to be their mean; a row "n" holds the number of test utterances of each'
    " class; cells may be empty"
)
"""What `read` takes, in words."""


def read(path: Path) -> tuple[pd.DataFrame, int]:
    """Read a table for `audit` from a CSV file; `COLUMNS` says what is in it.

    Returns:
        The table, and how many digits after the point its numbers have at most.

    Raises:
        ValueError: If the file is no such table; the message names the row and the column.
    """
    if not path.is_file():
        raise ValueError(f"There is no file {path}; give a {COLUMNS.partition(':')[0]}.")
    try:
        lines = [row for row in csv.reader(io.StringIO(reading.text(path), newline=""), strict=True) if any(row)]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read as a CSV file ({error}).") from None
    if len(lines) < 2 or len(lines[0]) < 2:
        raise ValueError(f"{path} holds no table; it takes names of classes in the first line, separated by commas.")
    header = [name.strip() for name in lines[0][1:]]
    if "" in header:
        raise ValueError(f"{path} has a column without a name, number {header.index('') + 2}.")
    cells: dict[str, list[str]] = {}
    for row in lines[1:]:
        name, values = row[0].strip(), [cell.strip().removesuffix("%").rstrip() for cell in row[1:]]
        if not name or name in cells:
            raise ValueError(f"{path} has {'two rows' if name else 'a row'} named {name!r}; give each its own name.")
        if len(values) != len(header):
            raise ValueError(f"Row {name!r} of {path} has {len(row)} fields; the first line has {len(lines[0])}.")
        cells[name] = values
    wrong = [(n, c, v) for n, row in cells.items() for c, v in zip(header, row, strict=True) if not _NUMBER.match(v)]
    if wrong:
        name, column, value = wrong[0]
        raise ValueError(f"{value!r} in row {name!r}, column {column!r} of {path} is no number such as 71.67.")
    digits = [len(v.partition(".")[2]) for name, row in cells.items() if name != "n" for v in row]
    table = pd.DataFrame.from_dict(cells, orient="index", columns=header)
    return table.replace("", np.nan).astype(float), max(digits, default=0)


_NUMBER = re.compile(r"(\d+(\.\d*)?)?$")
