"""Numbers about scores, with the intervals that small parts need. Plain arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    classification_report,
    confusion_matrix,
    f1_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

Truth = NDArray[np.bool_]
Scores = NDArray[np.floating[Any]]
FEWEST = 10
"""Positives, and negatives, below which a ranking is not worth a number."""
POINTS = 200
"""Points that a curve keeps at most: more than a screen can show."""


class Interval(NamedTuple):
    """A value with its 95 % interval: the 2.5th and the 97.5th percentile."""

    value: float
    low: float
    high: float

    def rounded(self, digits: int = 4) -> list[float]:
        return [round(float(value), digits) for value in self]


class Curve(NamedTuple):
    """Points of a curve and the threshold of each: at or above it a text is flagged."""

    x: list[float]
    y: list[float]
    thresholds: list[float]


class Bin(NamedTuple):
    """Scores from `low` to `high`: how many, their mean, and how many were really positive."""

    low: float
    high: float
    rows: int
    score: float
    rate: Interval


def auc(truth: Truth, scores: Scores) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative."""
    return float(roc_auc_score(truth, scores))


def macro_f1(truth: Truth, scores: Scores) -> float:
    return float(f1_score(truth, scores >= 0.5, average="macro", zero_division=0.0))


def brier_skill(truth: Truth, scores: Scores) -> float:
    """1 is perfect, 0 no better than always saying the base rate (Brier 1950)."""
    rate = truth.mean()
    return float(1 - np.mean((scores - truth) ** 2) / (rate * (1 - rate)))


def calibration_error(truth: Truth, scores: Scores, bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017, arXiv 1706.04599)."""
    places = _places(scores, bins)
    counts = np.bincount(places, minlength=bins)
    gaps = np.bincount(places, scores, bins) - np.bincount(places, truth, bins)
    return float(np.abs(gaps).sum() / max(1, counts.sum()))


def reliability(truth: Truth, scores: Scores, bins: int = 15) -> list[Bin]:
    """The bins of `calibration_error` that hold a score."""
    places = _places(scores, bins)
    found = []
    for place in np.unique(places):
        chosen = places == place
        rows, hits = int(chosen.sum()), int(truth[chosen].sum())
        mean = float(scores[chosen].mean())
        found.append(Bin(place / bins, (place + 1) / bins, rows, mean, wilson(hits, rows)))
    return found


def _places(scores: Scores, bins: int) -> NDArray[np.int64]:
    return np.minimum((scores * bins).astype(np.int64), bins - 1)


def roc(truth: Truth, scores: Scores) -> Curve:
    """False-positive rate against recall."""
    x, y, thresholds = roc_curve(truth, scores)
    return _thinned(x, y, np.minimum(thresholds, 1.0))


def precision_recall(truth: Truth, scores: Scores) -> Curve:
    """Recall against precision, from the lowest threshold to the highest."""
    precision, recall, thresholds = precision_recall_curve(truth, scores)
    return _thinned(recall[:-1], precision[:-1], thresholds)


def _thinned(x: Scores, y: Scores, thresholds: Scores) -> Curve:
    """Points spread evenly along the curve, its ends among them."""
    length = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    wanted = np.linspace(0, length[-1], POINTS)
    kept = np.unique(np.searchsorted(length, wanted).clip(0, len(x) - 1))
    kept = np.union1d(kept, [0, len(x) - 1])
    return Curve(*(np.round(values[kept], 5).tolist() for values in (x, y, thresholds)))


def wilson(hits: int, total: int) -> Interval:
    """A share with its 95 % interval (Wilson 1927); an empty total says nothing: 0 to 1."""
    if not total:
        return Interval(float("nan"), 0.0, 1.0)
    z = 1.959964
    share = hits / total
    middle = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * np.sqrt(share * (1 - share) / total + (z / (2 * total)) ** 2)
    return Interval(share, max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def bootstrap(
    measure: Callable[[Truth, Scores], float],
    truth: Truth,
    scores: Scores,
    *,
    draws: int = 500,
    seed: int = 0,
) -> Interval:
    """Rows drawn with replacement; draws with one class only are drawn again.

    Raises ValueError where all rows are of one class.
    """
    if truth.all() or not truth.any():
        raise ValueError("expected positives and negatives, found one class only")
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < draws:
        rows = rng.integers(0, len(truth), len(truth))
        if truth[rows].all() or not truth[rows].any():
            continue
        values.append(measure(truth[rows], scores[rows]))
    return _percentiles(measure(truth, scores), np.asarray(values))


class Ranking(NamedTuple):
    """How well scores order texts: area under the ROC curve, and average precision."""

    auc: Interval
    average_precision: Interval


def ranking(truth: Truth, scores: Scores, *, draws: int = 500, seed: int = 0) -> Ranking:
    """Both measures and their bootstrap intervals, out of one sorting of the scores.

    Raises ValueError where all rows are of one class.
    """
    if truth.all() or not truth.any():
        raise ValueError("expected positives and negatives, found one class only")
    order = np.argsort(-scores, kind="stable")
    truth, scores = truth[order], scores[order]
    # The last place of each run of equal scores: no threshold can part them.
    ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)
    rng = np.random.default_rng(seed)

    def both(weights: NDArray[np.int64]) -> tuple[float, float]:
        hits = np.cumsum(weights * truth)[ends].astype(np.float64)
        flagged = np.cumsum(weights)[ends].astype(np.float64)
        false = flagged - hits
        steps = np.diff(hits, prepend=0.0)
        area = np.sum(np.diff(false, prepend=0.0) * (hits - steps / 2)) / (hits[-1] * false[-1])
        precision = hits / np.maximum(flagged, 1)
        return float(area), float(np.sum(steps / hits[-1] * precision))

    found: list[tuple[float, float]] = []
    while len(found) < draws:
        weights = np.bincount(rng.integers(0, len(truth), len(truth)), minlength=len(truth))
        if 0 < weights[truth].sum() < len(truth):
            found.append(both(weights))
    values = np.asarray(found)
    area, precision = both(np.ones(len(truth), np.int64))
    return Ranking(_percentiles(area, values[:, 0]), _percentiles(precision, values[:, 1]))


class Decisions(NamedTuple):
    """What a threshold makes of scores. `counts` is [[tn, fp], [fn, tp]]."""

    counts: list[list[int]]
    precision: Interval
    recall: Interval
    f1: Interval
    macro_f1: Interval
    flagged: Interval


def decisions(truth: Truth, said: Truth, *, draws: int = 500, seed: int = 0) -> Decisions:
    """Shares with Wilson intervals, F1 with bootstrap intervals.

    To draw rows with replacement is to draw the four counts from a multinomial distribution.
    """
    counts = confusion_matrix(truth, said, labels=[False, True])
    (tn, fp), (fn, tp) = counts.tolist()
    total = max(1, len(truth))
    drawn = np.random.default_rng(seed).multinomial(len(truth), counts.ravel() / total, draws)
    f1, macro = _f1(counts.reshape(1, 4))
    f1s, macros = _f1(drawn)
    return Decisions(
        [[tn, fp], [fn, tp]],
        wilson(tp, tp + fp),
        wilson(tp, tp + fn),
        _percentiles(float(f1[0]), f1s),
        _percentiles(float(macro[0]), macros),
        wilson(tp + fp, len(truth)),
    )


def _f1(counts: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    tn, fp, fn, tp = counts.T
    positive = 2 * tp / np.maximum(2 * tp + fp + fn, 1)
    negative = 2 * tn / np.maximum(2 * tn + fp + fn, 1)
    return positive, (positive + negative) / 2


def mean(values: Scores, *, draws: int = 500, seed: int = 0) -> Interval:
    """The mean and its bootstrap interval."""
    rows = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    return _percentiles(float(values.mean()), values[rows].mean(axis=1))


def _percentiles(value: float, values: Scores) -> Interval:
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high))


def report(truth: NDArray[Any], said: NDArray[Any], labels: Sequence[str]) -> dict[str, Any]:
    """scikit-learn's classification report.

    `truth` and `said` are [n] class numbers, or [n, labels] bool.
    """
    numbers: dict[str, Any] = classification_report(
        truth,
        said,
        labels=range(len(labels)),
        target_names=list(labels),
        output_dict=True,
        zero_division=0.0,
    )
    return numbers


def character_f1(marked: Iterable[Sequence[Any]], found: Iterable[Sequence[Any]]) -> float:
    """F1 over characters of one text, 1 where both are empty (SemEval-2021 task 5).

    Spans begin with (begin, end), end not included; what follows these is not looked at.
    """
    truth = {place for span in marked for place in range(span[0], span[1])}
    said = {place for span in found for place in range(span[0], span[1])}
    if not truth or not said:
        return float(truth == said)
    return 2 * len(truth & said) / (len(truth) + len(said))
