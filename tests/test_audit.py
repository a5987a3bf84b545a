from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import comb, floor

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mer_lib import audit
from mer_lib.paper import reported
from mer_lib.tables import deck

SESSION_5 = {"happy": 443, "sad": 245, "neutral": 384, "angry": 170}
"""IEMOCAP's Session 5 in the label list that has 1,623 utterances in six classes there."""


def printed_as(k: int, n: int, how: str, decimals: int) -> set[Fraction]:
    """All that k of n right may be printed as: a second way, from shares to digits and not back."""
    exact = Fraction(100 * k, n) * 10**decimals
    below = Fraction(floor(exact))
    rounded = {below} if exact - below < Fraction(1, 2) else {below + 1}
    if exact - below == Fraction(1, 2):
        rounded = {below, below + 1}
    found = {"rounded": rounded, "truncated": {below}, "either": rounded | {below}}[how]
    return {f / 10**decimals for f in found}


# Whole counts


def test_three_of_seven_are_printed_as_42_86_when_rounded_and_as_42_85_when_cut() -> None:
    assert audit.counts(42.86, 7) == [3]
    assert audit.counts(42.86, 7, "rounded") == [3]
    assert audit.counts(42.86, 7, "truncated") == []
    assert audit.counts(42.85, 7, "truncated") == [3]
    assert audit.sizes([42.86], 20) == [7, 14]


def test_a_share_half_way_may_be_printed_up_or_down() -> None:
    # 1 of 32 is 3.125%.
    assert audit.counts(3.12, 32, "rounded") == audit.counts(3.13, 32, "rounded") == [1]
    assert audit.counts(3.13, 32, "truncated") == []
    assert audit.counts(3.14, 32) == []


@pytest.mark.parametrize("how", audit.WIDTH)
def test_nothing_and_all_are_whole_counts_of_every_size(how: str) -> None:
    for n in (1, 7, 1000):
        assert audit.counts(0, n, how) == [0]
        assert audit.counts(100, n, how) == [n]


def test_a_large_test_set_can_print_everything() -> None:
    assert audit.counts(12.34, 20_000, "rounded") == [2467, 2468, 2469]
    assert all(audit.counts(v / 100, 10_000) for v in range(0, 10_001, 37))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(1, 400), st.sampled_from(sorted(audit.WIDTH)), st.integers(0, 2), st.data())
def test_counts_agree_with_printing_every_share(n: int, how: str, decimals: int, data: st.DataObject) -> None:
    units = data.draw(st.integers(0, 100 * 10**decimals))
    value = Fraction(units, 10**decimals)
    wanted = [k for k in range(n + 1) if value in printed_as(k, n, how, decimals)]
    assert audit.counts(float(value), n, how, decimals) == wanted


@pytest.mark.parametrize("how", audit.WIDTH)
def test_sizes_agree_with_counts_and_with_fits(how: str) -> None:
    values = [62.5, 37.5, 12.5]
    wanted = [n for n in range(1, 101) if all(audit.counts(v, n, how) for v in values)]
    assert audit.sizes(values, 100, how) == wanted
    assert set(range(8, 101, 8)) <= set(wanted)
    table = audit.fits(pd.Series(values, ["a", "b", "c"]), 100, how)
    assert table.index[table.all(axis=1)].tolist() == wanted
    assert list(table) == ["a", "b", "c"]


def test_fits_leaves_out_what_is_not_printed() -> None:
    table = audit.fits(pd.Series({"a": 50.0, "b": np.nan}), 4)
    assert list(table) == ["a"]
    assert table["a"].tolist() == [False, True, False, True]


@pytest.mark.parametrize("how", audit.WIDTH)
def test_a_size_prints_about_as_many_percentages_as_accidents_assumes(how: str) -> None:
    for n in (7, 61, 443):
        possible = set().union(*(printed_as(k, n, how, 2) for k in range(n + 1)))
        expected = audit.accidents([12.34], n, how) - audit.accidents([12.34], n - 1, how)
        assert len(possible) / 10_001 == pytest.approx(expected, abs=2e-4)


def test_accidents_by_hand() -> None:
    # At n = 1 and 2, a rounded value fits with probability 1 and 2 in 10,000.
    assert audit.accidents([10.0, 20.0], 2, "rounded") == pytest.approx(1e-8 + 4e-8)
    assert audit.accidents([10.0, 20.0, 20.0], 2, "rounded") == pytest.approx(5e-8), "printed twice counts once"
    one = 2 * 1e-4 * (1 - 1e-4) + 2 * 2e-4 * (1 - 2e-4)
    assert audit.accidents([10.0, 20.0], 2, "rounded", missed=1) == pytest.approx(one + 5e-8)
    assert audit.accidents([10.0], 20_000, "rounded") == pytest.approx(5_000.5 + 10_000)


def test_recalls_give_counts_and_counts_give_the_accuracy() -> None:
    recalls = pd.DataFrame({"glad": [66.67, 60.0], "calm": [25.0, 50.0]}, index=["ours", "theirs"])
    found = audit.implied(recalls, {"glad": 3, "calm": 8})
    assert found.loc["ours", ["glad", "calm", "right"]].tolist() == [2, 2, 4]
    assert found.loc["ours", "accuracy"] == pytest.approx(400 / 11)
    assert found.loc["ours", "mean recall"] == pytest.approx((200 / 3 + 25) / 2)
    assert found.loc["theirs"].isna().tolist() == [True, False, True, True, True]


# Columns against each other


@pytest.mark.parametrize(("how", "most"), [("rounded", 0.01), ("truncated", 0.01), ("either", 0.015)])
def test_an_average_agrees_if_rounding_explains_the_gap(how: str, most: float) -> None:
    recalls = pd.DataFrame({"a": [80.0] * 3, "b": [70.0] * 3})
    found = audit.averages(recalls, pd.Series([75.0, 75.01, 75.02]), how)
    assert found["agrees"].tolist() == [gap <= most for gap in (0, 0.01, 0.02)]
    assert found["gap"].tolist() == pytest.approx([0, 0.01, 0.02])


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(41, 90)), min_size=2, max_size=5), st.booleans())
def test_an_honest_average_always_agrees(pairs: list[tuple[int, int]], cut: bool) -> None:
    def show(x: Fraction) -> float:
        return floor(x * 100) / 100 if cut else round(float(x), 2)

    shares = [Fraction(100 * k, n) for k, n in pairs]
    recalls = pd.DataFrame([[show(share) for share in shares]])
    found = audit.averages(recalls, pd.Series([show(sum(shares) / len(shares))]), "truncated" if cut else "rounded")
    assert found["agrees"].all()
    assert found["between"].all()


def test_an_average_outside_of_the_recalls_is_no_weighted_mean() -> None:
    recalls = pd.DataFrame({"a": [80.0, 80.0], "b": [70.0, 70.0]})
    assert audit.averages(recalls, pd.Series([79.0, 81.0]))["between"].tolist() == [True, False]


def test_what_two_tables_print_stands_side_by_side() -> None:
    rows = pd.DataFrame(
        [(1, "x", "WA", 80.0), (2, "x", "WA", 81.5), (2, "x", "F1", 70.0), (3, "y", "WA", 60.0), (1, "y", "WA", 60.0)],
        columns=["table", "system", "metric", "value"],
    )
    found = audit.restated(rows, ["system", "metric"])
    assert found.index.tolist() == [("x", "WA"), ("y", "WA")]
    assert found["gap"].tolist() == [1.5, 0]
    assert found.loc[("x", "WA"), [1, 2]].tolist() == [80.0, 81.5]
    with pytest.raises(ValueError, match="Table 2 prints x more than once"):
        audit.restated(rows, ["system"])


def f1_of_all_decisions(right: list[int], n: list[int]) -> tuple[float, float]:
    """Try every way to give the lost utterances of each class to the other classes."""
    classes = range(len(n))

    def ways(lost: int, own: int) -> list[tuple[int, ...]]:
        cells = product(range(lost + 1), repeat=len(n))
        return [cell for cell in cells if sum(cell) == lost and cell[own] == 0]

    found = []
    for rows in product(*(ways(n[c] - right[c], c) for c in classes)):
        given = [sum(row[c] for row in rows) for c in classes]
        found.append(100 * np.mean([2 * right[c] / (right[c] + n[c] + given[c]) for c in classes]))
    return min(found), max(found)


@pytest.mark.parametrize(
    ("right", "n"),
    [
        ([2, 3, 1], [4, 5, 2]),
        ([0, 3], [2, 6]),
        ([3, 3, 3], [3, 3, 3]),
        ([1, 0, 4], [4, 1, 6]),
        ([1, 1, 1, 2], [2, 2, 3, 3]),
    ],
)
def test_the_range_of_f1_is_that_of_all_decisions_with_these_recalls(right: list[int], n: list[int]) -> None:
    assert audit.f1_range(right, n) == pytest.approx(f1_of_all_decisions(right, n))


def test_the_range_of_f1_by_hand() -> None:
    # Two classes leave no choice: the lost one of each goes to the other. F1 of both: 2 * 3 / (2 * 3 + 1 + 1).
    assert audit.f1_range([3, 3], [4, 4]) == pytest.approx((75, 75))


# Differences against luck


def test_a_difference_by_hand() -> None:
    # 90 and 80 of 100. Best: the ten of b alone, p = 2 / 2^10. Worst: b + c = 10 + 20.
    found = audit.difference(90, 80, 100)
    assert (found["gap"], found["utterances"]) == (10, 10)
    assert (found["least"], found["most"]) == (10, 30)
    assert found["best_p"] == pytest.approx(2 / 2**10)
    assert found["worst_p"] == pytest.approx(stats.binomtest(20, 30).pvalue)
    assert found["best_high"] - 10 == pytest.approx(196 * np.sqrt((0.1 - 0.01) / 100), rel=1e-3)
    assert found["unpaired_high"] - 10 == pytest.approx(196 * np.sqrt((0.09 + 0.16) / 100), rel=1e-3)
    assert found["worst_high"] - 10 == pytest.approx(196 * np.sqrt((0.3 - 0.01) / 100), rel=1e-3)
    assert found["unpaired_p"] == pytest.approx(2 * stats.norm.sf(0.1 / np.sqrt(2 * 0.85 * 0.15 / 100)))


@settings(deadline=None, max_examples=60, derandomize=True)
@given(st.integers(5, 60), st.data())
def test_bounds_are_those_of_all_overlaps(n: int, data: st.DataObject) -> None:
    k, m = data.draw(st.integers(0, n)), data.draw(st.integers(0, n))
    found = audit.difference(100 * k / n, 100 * m / n, n)
    overlaps = [both for both in range(n + 1) if both <= min(k, m) and k + m - both <= n]
    apart = {k + m - 2 * both: (k - both, m - both) for both in overlaps}
    p = {d: stats.binomtest(b, b + c).pvalue if b + c else 1.0 for d, (b, c) in apart.items()}
    assert (found["least"], found["most"]) == (min(apart), max(apart))
    assert found["best_p"] == pytest.approx(p[min(apart)])
    assert found["worst_p"] == pytest.approx(p[max(apart)])
    assert found["limit"] == max((d for d in apart if p[d] < 0.05), default=0)
    assert all(found["best_low"] >= found[f"{o}_low"] - 1e-9 for o in audit.OVERLAPS)


def test_intervals_hold_the_true_difference_as_often_as_they_promise() -> None:
    rng, n, trials = np.random.default_rng(0), 1200, 800
    unpaired = rng.binomial(n, [0.85, 0.80], (trials, 2)) * 100 / n
    nested = rng.multinomial(n, [0.80, 0.05, 0.15], trials)  # both right, only the first, neither
    shared = np.stack([nested[:, 0] + nested[:, 1], nested[:, 0]], axis=1) * 100 / n
    for name, scores in (("unpaired", unpaired), ("best", shared)):
        found = [audit.difference(p, q, n) for p, q in scores]
        covered = np.mean([f[f"{name}_low"] <= 5 <= f[f"{name}_high"] for f in found])
        assert covered == pytest.approx(0.95, abs=0.02), name


@pytest.mark.parametrize(
    ("first", "second", "n", "words"),
    [
        (90, 60, 100, "beyond luck, however the errors overlap"),
        (90, 79, 100, "beyond luck, unless the errors avoid each other"),
        (90, 82, 100, "open: beyond luck only if at most 12 utterances are judged differently"),
        (90, 85, 100, "within luck, however the errors overlap"),
        (90, 90, 100, "within luck, however the errors overlap"),
    ],
)
def test_the_verdict_names_what_the_overlap_decides(first: float, second: float, n: int, words: str) -> None:
    assert audit.verdict(audit.difference(first, second, n)) == words


def test_five_utterances_are_never_beyond_luck_and_six_may_be() -> None:
    assert audit.difference(95, 90, 100)["best_p"] == pytest.approx(2 / 2**5)
    assert audit.difference(96, 90, 100)["best_p"] == pytest.approx(2 / 2**6)


def test_as_many_utterances_as_needed_find_the_difference_four_times_in_five() -> None:
    rng, trials = np.random.default_rng(0), 4000
    for apart in (None, 12.0, 4.0):
        n = audit.needed(87, 85, apart)
        if apart is None:
            k, m = rng.binomial(n, [[0.87], [0.85]], (2, trials))
            pooled = (k + m) / (2 * n)
            z = (k - m) / n / np.sqrt(2 * pooled * (1 - pooled) / n)
        else:
            only = rng.multinomial(n, [(apart + 2) / 200, (apart - 2) / 200, 1 - apart / 100], trials)
            z = (only[:, 0] - only[:, 1]) / np.sqrt(only[:, 0] + only[:, 1])
        assert np.mean(z > 1.96) == pytest.approx(0.8, abs=0.025), apart


def test_the_number_needed_by_hand() -> None:
    # (1.960 sqrt(.12) + .842 sqrt(.12 - .0025))^2 / .0025
    assert audit.needed(90, 85, 12) == pytest.approx((1.95996 * 0.34641 + 0.84162 * 0.34278) ** 2 / 0.0025, abs=1)
    assert audit.needed(85, 90, 12) == audit.needed(90, 85, 12)


# The form

MADE_UP = pd.DataFrame(
    {"glad": [57.14, 85.71, 80.00, 7], "calm": [70.0, 90.0, 80.0, 10], "average": [63.57, 87.86, 85.00, np.nan]},
    index=["one", "two", "three", "n"],
)


def test_an_audit_has_a_row_per_printed_number_in_the_order_of_the_table() -> None:
    numbers, sentences = audit.audit(MADE_UP)
    assert numbers.index.tolist() == list(product(["one", "two", "three"], ["glad", "calm", "average"]))
    assert numbers["agrees"].tolist() == [True, True, True, True, True, True, False, True, False]
    assert numbers.loc[("two", "glad"), ["alone", "n", "count"]].tolist() == [7, 7, 6]
    assert numbers.loc[("three", "glad"), "others"] == 7
    assert numbers.loc[("three", "glad"), "shared"] == 35
    assert numbers.loc[("three", "glad"), "expected"] == pytest.approx(600 / 7)
    assert numbers.loc[("three", "average"), "expected"] == pytest.approx(80)
    assert numbers.loc[("one", "average"), ["alone", "shared", "others", "n", "count"]].isna().all()
    assert sentences == [
        "one: the average 63.57 can be the mean of the recalls (63.5700).",
        "two: the average 87.86 can be the mean of the recalls (87.8550).",
        "three: the average is printed as 85.00, but the mean of the recalls is 80.0000; no rounding explains +5.00."
        " It lies outside of the recalls, so it is no weighted mean of them either.",
        "one: 11 of 17 right, an accuracy of 64.71, a mean recall of 63.57.",
        "two: 15 of 17 right, an accuracy of 88.24, a mean recall of 87.86.",
        "three: no whole count of these sizes gives glad.",
        "two leads three by 2.86 points; read as accuracies on 17 utterances: within luck, however the errors overlap.",
    ]


def test_without_sizes_an_audit_looks_for_them() -> None:
    numbers, sentences = audit.audit(MADE_UP.drop("n").drop(columns="average"), most=30)
    assert numbers[["n", "count", "expected", "agrees"]].isna().all(axis=None)
    assert len(sentences) == 2
    assert sentences[0].startswith("glad: all 3 rows are whole counts of no size up to 30 (")
    assert "Without three, the others are so of 7 (" in sentences[0]
    assert sentences[1].startswith("calm: all 3 rows are whole counts of 10 utterances, and of no fewer (")


def test_an_audit_does_with_missing_numbers_and_with_one_row() -> None:
    table = pd.DataFrame({"glad": [50.0, np.nan], "calm": [np.nan, 25.0]}, index=["one", "two"])
    numbers, sentences = audit.audit(table)
    assert numbers.index.tolist() == [("one", "glad"), ("two", "calm")]
    assert numbers["shared"].tolist() == [2, 4]
    assert len(sentences) == 2
    assert len(audit.audit(table.loc[["one"], ["glad"]])[0]) == 1


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda: audit.counts(101, 7), "101 is not a percentage with 2 decimals"),
        (lambda: audit.counts(42.857, 7), "42.857 is not a percentage with 2 decimals; give it as it is printed"),
        (lambda: audit.counts(50, 0), "0 is not a number of utterances"),
        (lambda: audit.counts(50, 2.5), "2.5 is not a number of utterances"),
        (lambda: audit.counts(50, 2, "up"), "no way to print called 'up'; there are: rounded, truncated, either"),
        (lambda: audit.difference(50, 120, 9), "120 is not a percentage"),
        (lambda: audit.needed(50, 50), "there must be a gap"),
        (lambda: audit.needed(60, 50, 5), "with 5% judged differently"),
        (lambda: audit.f1_range([3], [4]), "are not counts of two classes or more"),
        (lambda: audit.f1_range([5, 1], [4, 4]), "are not counts of two classes or more"),
        (lambda: audit.audit(pd.DataFrame({"average": [50.0]})), "The table has no recalls"),
        (lambda: audit.audit(pd.DataFrame({"a": [50.0, 60.0]}, index=["x", "x"])), "have the same name"),
    ],
)
def test_a_wrong_wish_is_answered_by_a_sentence(act, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        act()


# What the chapter says about the deck


def test_three_rows_on_iemocap_share_the_sizes_of_session_5_and_the_fourth_fits_none() -> None:
    table = deck(3, "IEMOCAP")
    for name, n in SESSION_5.items():
        fits = audit.fits(table[name], n).loc[n]
        assert fits.tolist() == [True, True, True, False], name
    assert audit.sizes(table["happy"][:3], 800) == [443]
    assert audit.sizes(table["sad"][:3], 700) == [245, 490]
    assert audit.sizes(table["neutral"][:3], 600) == [192, 384, 576]
    assert audit.sizes(table["angry"][:3], 500) == [170, 340]
    found = audit.implied(table[:3].drop(columns="average"), SESSION_5)
    assert found["accuracy"].astype(float).round(1).tolist() == [66.0, 81.9, 80.3]


def test_three_rows_on_msp_improv_share_multiples_of_four_sizes() -> None:
    table = deck(3, "MSP-Improv")
    for name, n in {"happy": 110, "sad": 88, "neutral": 61, "angry": 112}.items():
        assert audit.sizes(table[name][:3], 470) == list(range(n, 471, n)), name
        assert not any(audit.counts(table.loc["A+T", name], size) for size in range(n, 471, n)), name


def test_two_averages_are_not_the_mean_of_their_recalls() -> None:
    for name, row, gap in (("IEMOCAP", "A+T (w/o L_ua)", -0.495), ("MSP-Improv", "T", 2.275)):
        table = deck(3, name)
        found = audit.averages(table.drop(columns="average"), table["average"])
        assert found.index[~found["agrees"]].tolist() == [row]
        assert found.loc[row, "gap"] == pytest.approx(gap)


def test_table_4_calls_wa_what_table_3_calls_average() -> None:
    wa = reported(4).query("system == 'Our Method'").set_index("modality")["value"]
    assert wa.to_dict() == {name: deck(3, "IEMOCAP").loc[name, "average"] for name in ("A", "T", "A+T")}


def test_every_share_of_a_small_set_is_counted_by_comb_and_binomial_alike() -> None:
    """The exact test that `difference` uses is the sign test: b or more of b + c coins."""
    for least, both in ((4, 6), (8, 12), (1, 9)):
        b = (both + least) // 2
        tail = sum(comb(both, i) for i in range(b, both + 1)) / 2**both
        assert stats.binom.sf(b - 1, both, 0.5) == pytest.approx(tail)
