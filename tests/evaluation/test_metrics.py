"""Metrics against values worked out by hand, and against scikit-learn and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from moderation.evaluation import metrics

TRUTH = np.array([True, False, True, False])
SCORES = np.array([0.9, 0.8, 0.7, 0.1])


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Truth of both classes, and scores coarse enough to be tied now and then."""
    size = draw(st.integers(4, 40))
    truth = np.array(draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    truth[:2] = [True, False]
    scores = draw(st.lists(st.integers(0, 10), min_size=size, max_size=size))
    return truth, np.asarray(scores) / 10


@settings(max_examples=60, deadline=None)
@given(scored())
def test_ranking_is_that_of_scikit_learn_with_ties_too(
    data: tuple[np.ndarray, np.ndarray],
) -> None:
    truth, scores = data
    found = metrics.ranking(truth, scores, draws=5)
    assert found.auc.value == pytest.approx(roc_auc_score(truth, scores))
    assert found.average_precision.value == pytest.approx(average_precision_score(truth, scores))


def test_ranking_interval_is_that_of_the_plain_bootstrap() -> None:
    rng = np.random.default_rng(3)
    truth = rng.random(400) < 0.3
    scores = np.clip(truth * 0.3 + rng.normal(0.4, 0.2, 400), 0, 1)
    one = metrics.ranking(truth, scores, draws=800).auc
    two = metrics.bootstrap(metrics.auc, truth, scores, draws=800, seed=9)
    assert one.value == pytest.approx(two.value)
    assert one.low == pytest.approx(two.low, abs=0.01)
    assert one.high == pytest.approx(two.high, abs=0.01)


def test_one_class_has_no_ranking() -> None:
    ones = np.ones(5, np.bool_)
    for measure in (metrics.ranking, lambda *args: metrics.bootstrap(metrics.auc, *args)):
        with pytest.raises(ValueError, match="one class"):
            measure(ones, np.linspace(0, 1, 5))


@settings(max_examples=60, deadline=None)
@given(scored())
def test_decisions_are_those_of_scikit_learn(data: tuple[np.ndarray, np.ndarray]) -> None:
    truth, scores = data
    said = scores >= 0.5
    found = metrics.decisions(truth, said, draws=20)
    assert found.macro_f1.value == pytest.approx(
        f1_score(truth, said, average="macro", labels=[0, 1], zero_division=0.0)
    )
    assert found.f1.value == pytest.approx(f1_score(truth, said, zero_division=0.0))
    assert sum(map(sum, found.counts)) == len(truth)


def test_decisions_by_hand() -> None:
    truth = np.array([True, True, True, False, False])
    said = np.array([True, True, False, True, False])
    found = metrics.decisions(truth, said)
    assert found.counts == [[1, 1], [1, 2]]
    assert found.precision.value == pytest.approx(2 / 3)
    assert found.recall.value == pytest.approx(2 / 3)
    assert found.flagged.value == pytest.approx(3 / 5)
    assert found.f1.value == pytest.approx(2 / 3)
    assert found.macro_f1.value == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_wilson_by_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    for hits, total in ((0, 7), (3, 7), (7, 7), (450, 1000)):
        theirs = stats.binomtest(hits, total).proportion_ci(method="wilson")
        ours = metrics.wilson(hits, total)
        assert ours.low == pytest.approx(theirs.low, abs=1e-6)
        assert ours.high == pytest.approx(theirs.high, abs=1e-6)
    assert metrics.wilson(0, 0)[1:] == (0.0, 1.0)


def test_reliability_by_hand_and_as_the_calibration_error_counts() -> None:
    truth = np.array([False, True, True, False, True])
    scores = np.array([0.02, 0.05, 0.95, 0.97, 1.0])
    first, last = metrics.reliability(truth, scores, bins=10)
    assert (first.low, first.high, first.rows) == (0.0, 0.1, 2)
    assert first.score == pytest.approx(0.035)
    assert first.rate.value == pytest.approx(0.5)
    assert (last.rows, last.rate.value) == (3, pytest.approx(2 / 3))
    gaps = 2 / 5 * abs(0.5 - 0.035) + 3 / 5 * abs(2 / 3 - last.score)
    assert metrics.calibration_error(truth, scores, bins=10) == pytest.approx(gaps)


def test_brier_skill_by_hand() -> None:
    assert metrics.brier_skill(TRUTH, TRUTH.astype(float)) == 1
    assert metrics.brier_skill(TRUTH, np.full(4, 0.5)) == 0
    assert metrics.brier_skill(TRUTH, SCORES) == pytest.approx(1 - (0.75 / 4) / 0.25)


def test_curves_by_hand() -> None:
    curve = metrics.roc(TRUTH, SCORES)
    assert list(zip(curve.x, curve.y, strict=True)) == [
        (0.0, 0.0),
        (0.0, 0.5),
        (0.5, 0.5),
        (0.5, 1.0),
        (1.0, 1.0),
    ]
    curve = metrics.precision_recall(TRUTH, SCORES)
    points = dict(zip(curve.thresholds, zip(curve.x, curve.y, strict=True), strict=True))
    assert points[0.7] == (1.0, pytest.approx(2 / 3, abs=1e-4))
    assert points[0.9] == (0.5, 1.0)


def test_a_long_curve_keeps_its_ends_and_its_shape() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random(5000) < 0.2
    scores = np.clip(rng.normal(0.3 + 0.3 * truth, 0.15), 0, 1)
    curve = metrics.roc(truth, scores)
    assert 50 < len(curve.x) <= metrics.POINTS + 2
    assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(metrics.auc(truth, scores), abs=0.005)


@pytest.mark.parametrize(
    ("marked", "found", "expected"),
    [
        ([], [], 1.0),
        ([(0, 4)], [], 0.0),
        ([], [(0, 4)], 0.0),
        ([(0, 4)], [(0, 4, 0.9)], 1.0),
        # Six marked, eight found, four of them right: 2 * 4 / 14.
        ([(0, 6)], [(2, 10)], 8 / 14),
        ([(0, 2), (1, 4)], [(0, 4)], 1.0),
    ],
)
def test_character_f1(marked: list[tuple[int, int]], found: list[tuple], expected: float) -> None:
    assert metrics.character_f1(marked, found) == pytest.approx(expected)


def test_mean_has_the_interval_of_its_standard_error() -> None:
    values = np.random.default_rng(1).normal(3, 2, 900)
    found = metrics.mean(values, draws=2000)
    assert found.value == pytest.approx(values.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / 30, rel=0.1)
