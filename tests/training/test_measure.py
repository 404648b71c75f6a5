from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from moderation.models import Span
from moderation.training.measure import (
    auc,
    bootstrap,
    brier_skill,
    calibration_error,
    character_f1,
    macro_f1,
)

TRUTH = np.array([True, True, False, False])


@pytest.mark.parametrize(
    ("marked", "found", "expected"),
    [
        ((), [], 1.0),
        (((0, 3),), [], 0.0),
        ((), [Span(0, 3, 0.9)], 0.0),
        (((0, 4),), [Span(0, 4, 0.9)], 1.0),
        # 2 characters of 4 found, 2 of 4 said are right: F1 = 0.5.
        (((0, 4),), [Span(2, 6, 0.9)], 0.5),
        # 3 of 6 found, all said are right: F1 = 2 * 3 / (6 + 3).
        (((0, 3), (5, 8)), [Span(5, 8, 0.9)], 2 / 3),
    ],
)
def test_character_f1_by_hand(
    marked: tuple[tuple[int, int], ...], found: list[Span], expected: float
) -> None:
    assert character_f1(marked, found) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    # Two bins: mean score .9 with half right, mean score .1 with none right.
    scores = np.array([0.9, 0.9, 0.1, 0.1], np.float32)
    truth = np.array([True, False, False, False])

    assert calibration_error(truth, scores) == pytest.approx(0.5 * 0.4 + 0.5 * 0.1, abs=1e-6)
    assert calibration_error(np.array([True]), np.array([1.0], np.float32)) == 0


def test_brier_skill_by_hand() -> None:
    assert brier_skill(TRUTH, np.array([1, 1, 0, 0], np.float32)) == 1
    assert brier_skill(TRUTH, np.full(4, 0.5, np.float32)) == 0


def test_auc_and_f1_by_hand() -> None:
    scores = np.array([0.9, 0.4, 0.6, 0.1], np.float32)

    assert auc(TRUTH, scores) == 0.75
    assert macro_f1(TRUTH, scores) == 0.5


def test_bootstrap_brackets_the_value_and_narrows_with_more_rows() -> None:
    generator = np.random.default_rng(0)
    widths = []
    for count in (100, 4_000):
        truth = generator.random(count) < 0.3
        scores = (truth + generator.normal(0, 1, count)).astype(np.float32)
        found = bootstrap(auc, truth, scores, draws=200)
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3
