"""What is printed beside a model."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")

from rich.console import Console
from sklearn.metrics import f1_score, roc_auc_score

from moderation.training.baseline import beside, compared, shown
from moderation.training.data import Rows
from moderation.training.recipe import Recipe


def test_accuracy_and_macro_f1_of_classes() -> None:
    """Four rows; the model errs once, the baseline twice."""
    targets = np.eye(3, dtype=np.float32)[[0, 0, 1, 2]]
    model, baseline = np.eye(3)[[0, 1, 1, 2]], np.eye(3)[[0, 1, 1, 1]]
    found = compared(model, baseline, targets, "multi_class")

    assert found["accuracy"]["model"][0] == 0.75
    assert found["accuracy"]["baseline"][0] == 0.5
    assert found["accuracy"]["gap"][0] == 0.25
    # F1 of the classes: 2/3, 2/3 and 1 of the model, 2/3, 1/2 and 0 of the baseline.
    assert found["macro F1"]["model"][0] == pytest.approx(7 / 9, abs=1e-4)
    assert found["macro F1"]["baseline"][0] == pytest.approx(7 / 18, abs=1e-4)


def test_labels_against_scikit_learn_where_some_are_missing() -> None:
    rng = np.random.default_rng(3)
    targets = (rng.random((400, 3)) < 0.3).astype(np.float32)
    targets[rng.random((400, 3)) < 0.4] = np.nan
    targets[:395, 2] = np.nan  # too few to be measured
    scores = np.where(np.nan_to_num(targets) > 0, 0.3, 0.0) + 0.7 * rng.random((400, 3))
    found = compared(scores, np.full((400, 3), 0.2), targets, "multi_label")

    aucs, f1s = [], []
    for label in (0, 1):
        known = ~np.isnan(targets[:, label])
        truth, said = targets[known, label], scores[known, label]
        aucs.append(roc_auc_score(truth, said))
        f1s.append(f1_score(truth, said >= 0.5, average="macro"))
    assert found["mean AUC"]["model"][0] == pytest.approx(np.mean(aucs), abs=1e-4)
    assert found["mean macro F1"]["model"][0] == pytest.approx(np.mean(f1s), abs=1e-4)
    assert found["mean AUC"]["baseline"][0] == 0.5
    _, low, high = found["mean AUC"]["gap"]
    assert 0 < low < found["mean AUC"]["gap"][0] < high


def test_the_gap_is_measured_on_pairs() -> None:
    """Where one model is right whenever the other is, the gap is known better than either."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 300)
    said = np.where(rng.random(300) < 0.3, 1 - truth, truth)
    better = said.copy()
    better[np.flatnonzero(said != truth)[:15]] = truth[np.flatnonzero(said != truth)[:15]]
    found = compared(
        np.eye(2)[better], np.eye(2)[said], np.eye(2, dtype=np.float32)[truth], "multi_class"
    )["accuracy"]

    assert found["gap"][0] == pytest.approx(15 / 300)
    assert found["gap"][1] > 0
    assert found["model"][1] < found["baseline"][2]


def rows(count: int) -> Rows:
    kinds = [number % 2 for number in range(count)]
    return Rows(
        [f"the {('match', 'market')[kind]} of day {n}" for n, kind in enumerate(kinds)],
        np.eye(2, dtype=np.float32)[kinds],
        np.full(count, "news"),
        np.full(count, "train"),
        np.ones(count, np.float32),
        [None] * count,
        np.full(count, ""),
        ("sport", "money"),
    )


@pytest.mark.parametrize("options", [{}, {"stop_words": True, "stem": True}])
def test_the_baseline_learns_and_is_shown_beside_the_model(options: dict[str, Any]) -> None:
    if options:
        pytest.importorskip("nltk")
    recipe = Recipe.model_validate(
        {
            "name": "news",
            "task": "multi_class",
            "labels": ["sport", "money"],
            "data": [{"kind": "table", "path": "data.csv", "target": "kind"}],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            "baseline": options,
        }
    )
    test = rows(40)
    found = beside(1 - test.targets, rows(100), test, recipe)

    assert found["accuracy"]["baseline"] == [1, 1, 1]
    assert found["accuracy"]["model"] == [0, 0, 0]
    assert ("Porter" in found["is"]) == bool(options)
    told = io.StringIO()
    shown("news", found, Console(file=told, width=120))
    assert "TF-IDF baseline" in told.getvalue()
    assert "accuracy: not shown to be better than the baseline" in told.getvalue()
