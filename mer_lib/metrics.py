"""How well, and how sure: WA, UA, macro-F1, confusion, and intervals over folds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mer_lib.corpora.base import EMOTIONS


def adjusted(logits: np.ndarray, prior: np.ndarray) -> np.ndarray:
    """Take the class prior out of the logits: the decision that maximises mean recall.

    A classifier trained by cross-entropy leans towards frequent classes, as accuracy wants. Mean
    recall wants every class to count the same. Source: Menon et al. (2021), logit adjustment.

    Args:
        logits: (utterances, classes).
        prior: (classes,), shares of the classes in training.

    Returns:
        (utterances, classes).
    """
    return logits - np.log(np.maximum(prior, 1e-9))


def scores(
    logits: np.ndarray, label: np.ndarray, prior: np.ndarray, emotions: Sequence[str] = EMOTIONS
) -> dict[str, float]:
    """Every score that the tables show, in percent.

    Args:
        logits: (utterances, classes).
        label: (utterances,), index into `emotions`.
        prior: (classes,), shares of the classes in training.
        emotions: The classes of the corpus.

    Returns:
        `wa` (weighted accuracy: share of utterances that are right) and `f1` (macro-F1) of the plain
        decision; `ua` (unweighted accuracy: mean recall) and one recall per emotion of the
        prior-adjusted decision; `ua_plain`, mean recall of the plain decision. The recall of a class without
        utterances is NaN, and `ua`, `f1` and `ua_plain` are means over the other classes.

    Raises:
        ValueError: If there is no utterance, shapes disagree, or a logit is not finite.
    """
    if logits.shape != (len(label), len(emotions)) or not np.isfinite(logits).all():
        raise ValueError(f"Logits must be finite, of shape ({len(label)}, {len(emotions)}); they have {logits.shape}.")
    if not len(label):
        raise ValueError("There is no utterance to score; use a larger split.")
    there = np.unique(label)
    plain, even = logits.argmax(1), adjusted(logits, prior).argmax(1)
    from sklearn import metrics as sk  # here, like scipy's below, since they take longer to load than all else

    recalls = sk.recall_score(label, even, labels=there, average=None)
    result = {
        "wa": sk.accuracy_score(label, plain),
        "ua": recalls.mean(),
        "f1": sk.f1_score(label, plain, labels=there, average="macro"),
        "ua_plain": sk.recall_score(label, plain, labels=there, average="macro"),
        **dict.fromkeys(emotions, np.nan),
        **{emotions[number]: recall for number, recall in zip(there, recalls, strict=True)},
    }
    return {name: 100 * float(value) for name, value in result.items()}


def confusion(label: np.ndarray, decision: np.ndarray, classes: int = len(EMOTIONS)) -> np.ndarray:
    """Confusion matrix in shares of each true class, (classes, classes).

    Rows are the truth and sum to 1; that of a class without utterances is 0.
    """
    from sklearn import metrics as sk

    return sk.confusion_matrix(label, decision, labels=range(classes), normalize="true")


def proportion_interval(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval of a proportion (Wilson 1927): what the size of one test set leaves open.

    Raises:
        ValueError: If there is no trial, or more right than trials.
    """
    from scipy import stats

    if total < 1 or not 0 <= right <= total:
        raise ValueError(f"{right} right out of {total} is not a proportion.")
    interval = stats.binomtest(right, total).proportion_ci(level, method="wilson")
    return interval.low, interval.high


def mean_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float, float]:
    """Mean and Student's t interval of values that do not depend on each other.

    Give it one value per fold (seeds averaged first): runs that share a test fold share its luck.

    Returns:
        Mean, lower end, upper end; the ends are NaN when there is only one value.

    Raises:
        ValueError: If there is no value.
    """
    from scipy import stats

    if not len(values):
        raise ValueError("There is no value to average.")
    mean = float(np.mean(values))
    if len(values) == 1:
        return mean, float("nan"), float("nan")
    half = stats.sem(values) * stats.t.ppf(0.5 + level / 2, len(values) - 1)
    return mean, mean - float(half), mean + float(half)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> dict[str, float]:
    """Compare two systems fold by fold: mean difference, its 95% interval, and p of the paired t-test.

    Args:
        first: One value per fold.
        second: The same folds, in the same order.

    Raises:
        ValueError: If the lengths differ or are below 2.
    """
    from scipy import stats

    if len(first) != len(second) or len(first) < 2:
        raise ValueError(f"A paired test needs the same folds twice, at least two; got {len(first)} and {len(second)}.")
    gap = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    mean, low, high = mean_interval(gap)
    t = abs(mean) / max(stats.sem(gap), 1e-12)  # by hand, since SciPy's test warns where all gaps are equal
    p = 1.0 if np.allclose(gap, 0) else float(2 * stats.t.sf(t, len(gap) - 1))
    return {"difference": mean, "low": low, "high": high, "p": p}


def holm(p: Sequence[float]) -> np.ndarray:
    """Correct the p values of several tests, so that a false alarm among *all* of them stays as rare as in one.

    The smallest of m values is multiplied by m, the next one by m - 1, and so on; none may fall below the one
    before it, and none exceeds 1. Source: Holm (1979).

    Args:
        p: One value per test.

    Returns:
        (tests,), in the order given: hold these against the level, 0.05 say.

    Raises:
        ValueError: If a value is no probability.

    Shown in chapter 12.
    """
    values = np.asarray(p, dtype=float)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p values lie between 0 and 1; these do not: {values[~((values >= 0) & (values <= 1))]}.")
    order = values.argsort()
    corrected = np.empty_like(values)
    corrected[order] = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)).clip(max=1)
    return corrected
