from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from mer_lib.corpora.base import EMOTIONS
from mer_lib.metrics import (
    adjusted,
    confusion,
    holm,
    mean_interval,
    paired_difference,
    proportion_interval,
    scores,
)  # fmt: skip

EVEN = np.full(4, 0.25)


def decided(decisions: list[int]) -> np.ndarray:
    """Logits that decide so, with a margin of 5."""
    return 5.0 * np.eye(4)[decisions]


def scores_by_counting(label: list[int], decision: list[int]) -> dict[str, float]:
    """Accuracy, mean recall and macro-F1 from counts of right, missed and wrongly claimed utterances."""
    pairs = list(zip(label, decision, strict=True))
    recalls, f1 = [], []
    for c in range(4):
        right = sum(t == c and d == c for t, d in pairs)
        missed, claimed = sum(t == c and d != c for t, d in pairs), sum(t != c and d == c for t, d in pairs)
        recalls.append(right / (right + missed))
        f1.append(2 * right / (2 * right + missed + claimed))
    return {"wa": 100 * sum(t == d for t, d in pairs) / len(pairs), "ua": 25 * sum(recalls), "f1": 25 * sum(f1)}


def test_scores_are_what_the_hand_counts() -> None:
    label, decision = [0, 0, 0, 0, 1, 1, 2, 3], [0, 0, 0, 1, 1, 2, 2, 0]
    found = scores(decided(decision), np.array(label), EVEN)
    assert found["wa"] == pytest.approx(100 * 5 / 8)
    assert [found[e] for e in EMOTIONS] == pytest.approx([75, 50, 100, 0])
    assert found["ua"] == pytest.approx((75 + 50 + 100 + 0) / 4)
    # Happy: 3 right, 1 missed, 1 claimed. Sad: 1, 1, 1. Neutral: 1, 0, 1. Angry: 0, 1, 0.
    assert found["f1"] == pytest.approx(100 * (6 / 8 + 2 / 4 + 2 / 3 + 0) / 4)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30),
    st.lists(st.integers(0, 3), min_size=4, max_size=4),
)
def test_scores_agree_with_counting(pairs: list[tuple[int, int]], more: list[int]) -> None:
    pairs = [*pairs, *enumerate(more)]  # every class at least once
    label, decision = [t for t, _ in pairs], [d for _, d in pairs]
    found = scores(decided(decision), np.array(label), EVEN)
    counted = scores_by_counting(label, decision)
    assert {name: found[name] for name in counted} == pytest.approx(counted)
    assert found["ua_plain"] == pytest.approx(counted["ua"])


def test_the_adjusted_decision_helps_the_rare_class_and_only_in_mean_recall() -> None:
    # 90% of the training data are happy, so the logits lean that way by log(0.9 / 0.03).
    prior = np.array([0.9, 0.04, 0.03, 0.03])
    logits = np.array([[2.0, 0, 0, 0], [1.0, 0, 0.5, 0], [0, 3, 0, 0], [0, 0, 0, 3.0]])
    label = np.array([0, 2, 1, 3])
    found = scores(logits, label, prior)
    even = adjusted(logits, prior).argmax(1)
    assert logits.argmax(1).tolist() == [0, 0, 1, 3]
    assert even[1] == 2
    assert found["wa"] == pytest.approx(75)
    assert found["ua_plain"] == pytest.approx(75)
    assert found["ua"] == pytest.approx(100 * sum(int(d == t) for d, t in zip(even, label, strict=True)) / 4)
    assert found["neutral"] == 100


def test_adjusting_subtracts_the_logarithm_of_the_prior() -> None:
    found = adjusted(np.array([[1.0, 1.0, 1.0, 1.0]]), np.array([0.5, 0.25, 0.125, 0.125]))
    assert found[0].tolist() == pytest.approx([1 + math.log(2), 1 + math.log(4), 1 + math.log(8), 1 + math.log(8)])


def test_adjusting_by_an_even_prior_changes_no_decision() -> None:
    logits = np.random.default_rng(0).normal(size=(50, 4))
    assert (adjusted(logits, EVEN).argmax(1) == logits.argmax(1)).all()


def test_adjusting_bayes_posteriors_gives_the_likelihood_decision() -> None:
    rng = np.random.default_rng(0)
    likelihood, prior = rng.dirichlet(np.ones(4), size=50), np.array([0.6, 0.2, 0.15, 0.05])
    posterior = likelihood * prior / (likelihood * prior).sum(axis=1, keepdims=True)
    assert (adjusted(np.log(posterior), prior).argmax(1) == likelihood.argmax(1)).all()


@pytest.mark.parametrize(
    ("logits", "label", "message"),
    [
        (np.zeros((3, 4)), [0, 1, 2, 3], r"shape \(4, 4\); they have \(3, 4\)"),
        (np.zeros((4, 3)), [0, 1, 2, 3], r"they have \(4, 3\)"),
        (np.full((4, 4), np.nan), [0, 1, 2, 3], "finite"),
        (np.full((4, 4), np.inf), [0, 1, 2, 3], "finite"),
        (np.zeros((0, 4)), [], "no utterance to score"),
    ],
)
def test_what_cannot_be_scored_is_said(logits: np.ndarray, label: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scores(logits, np.array(label), EVEN)


def test_confusion_rows_are_shares_of_the_truth() -> None:
    found = confusion(np.array([0, 0, 0, 0, 1, 2, 3, 3]), np.array([0, 0, 0, 1, 1, 2, 2, 3]))
    expected = [[0.75, 0.25, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 0.5]]
    np.testing.assert_allclose(found, expected)


def wilson(right: int, total: int, z: float) -> tuple[float, float]:
    """Centre and half-width as in Wilson (1927)."""
    p = right / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    return centre - half, centre + half


@pytest.mark.parametrize(("right", "total"), [(7, 10), (50, 100), (1, 30), (29, 30)])
def test_the_interval_of_a_proportion_is_wilsons(right: int, total: int) -> None:
    assert proportion_interval(right, total) == pytest.approx(wilson(right, total, 1.959964), abs=1e-6)
    assert proportion_interval(right, total, level=0.9) == pytest.approx(wilson(right, total, 1.644854), abs=1e-6)


@settings(deadline=None, max_examples=30, derandomize=True)
@given(st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_of_a_proportion_holds_it_and_stays_within_0_and_1(case: tuple[int, int]) -> None:
    right, total = case
    low, high = proportion_interval(right, total)
    assert 0 <= low <= right / total <= high <= 1
    assert low < high


@pytest.mark.parametrize(("right", "total"), [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_proportion_is_refused(right: int, total: int) -> None:
    with pytest.raises(ValueError, match=f"{right} right out of {total} is not a proportion"):
        proportion_interval(right, total)


def test_the_mean_interval_is_students() -> None:
    # Mean 3, standard deviation sqrt(2.5), five values; the t quantile for 4 degrees of freedom is 2.776445.
    mean, low, high = mean_interval([1, 2, 3, 4, 5])
    half = 2.776445 * math.sqrt(2.5) / math.sqrt(5)
    assert (mean, low, high) == pytest.approx((3, 3 - half, 3 + half), abs=1e-5)


def test_one_value_has_a_mean_and_no_interval() -> None:
    mean, low, high = mean_interval([70.0])
    assert mean == 70
    assert math.isnan(low)
    assert math.isnan(high)


def test_no_value_has_no_mean() -> None:
    with pytest.raises(ValueError, match=r"no value to average"):
        mean_interval([])


def test_a_paired_comparison_looks_at_differences_only() -> None:
    # Differences 1, 2, 3: mean 2, deviation 1, t = 2 / (1 / sqrt 3) = 3.4641 with 2 degrees of freedom.
    found = paired_difference([51, 72, 93], [50, 70, 90])
    t = 2 * math.sqrt(3)
    assert found["difference"] == pytest.approx(2)
    assert (found["low"], found["high"]) == pytest.approx(
        (2 - 4.302653 / math.sqrt(3), 2 + 4.302653 / math.sqrt(3)), abs=1e-5
    )
    assert found["p"] == pytest.approx(
        1 - t / math.sqrt(2 + t**2), abs=1e-9
    )  # the t distribution has a closed form at 2


def test_turning_a_comparison_round_turns_its_sign_only() -> None:
    first, second = [60.0, 71.0, 65.0, 80.0], [58.0, 72.0, 61.0, 77.0]
    here, there = paired_difference(first, second), paired_difference(second, first)
    assert there["difference"] == pytest.approx(-here["difference"])
    assert (there["low"], there["high"]) == pytest.approx((-here["high"], -here["low"]))
    assert there["p"] == pytest.approx(here["p"])


def test_equal_systems_do_not_differ() -> None:
    assert paired_difference([70, 71], [70, 71]) == {"difference": 0, "low": 0, "high": 0, "p": 1}


def test_a_constant_gain_over_all_folds_is_certain() -> None:
    found = paired_difference([71.0, 72.0, 73.0], [70.0, 71.0, 72.0])
    assert found == pytest.approx({"difference": 1, "low": 1, "high": 1, "p": 0}, abs=1e-9)


def test_the_paired_p_value_is_that_of_scipys_paired_t_test() -> None:
    first, second = np.random.default_rng(0).normal(70, 3, size=(2, 6))
    assert paired_difference(first, second)["p"] == pytest.approx(stats.ttest_rel(first, second).pvalue, abs=1e-12)


@pytest.mark.parametrize(("first", "second"), [([1.0], [2.0]), ([1.0, 2.0], [1.0]), ([], [])])
def test_a_paired_comparison_needs_the_same_folds_twice(first: list[float], second: list[float]) -> None:
    with pytest.raises(ValueError, match=r"same folds twice"):
        paired_difference(first, second)


def test_holms_correction_is_that_of_the_pencil() -> None:
    # Sorted .01 .02 .03 .04 are multiplied by 4 3 2 1: .04 .06 .06 .04; none may fall below the one before.
    assert holm([0.03, 0.01, 0.04, 0.02]).tolist() == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]).tolist() == [1, 1]
    assert holm([0.2]).tolist() == [0.2]
    assert holm([]).tolist() == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_lies_between_no_correction_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    corrected, raw = holm(p), np.array(p)
    assert (corrected >= raw).all()
    assert (corrected <= np.minimum(raw * len(p), 1) + 1e-12).all()
    assert (np.diff(corrected[raw.argsort()]) >= 0).all()


@pytest.mark.parametrize("p", [[0.1, 1.2], [-0.1], [float("nan")]])
def test_what_is_no_probability_is_not_corrected(p: list[float]) -> None:
    with pytest.raises(ValueError, match="p values lie between 0 and 1; these do not"):
        holm(p)
