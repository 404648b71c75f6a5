from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sklearn")

from moderation.training.calibration import calibrate, platt
from moderation.training.data import CONTRAST, Rows
from moderation.training.measure import calibration_error
from moderation.training.recipe import Recipe


def recipe(**fields: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "labels": ["toxic"],
            "data": [{"kind": "table", "path": "none.csv"}],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            **fields,
        }
    )


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def rows(targets: np.ndarray, sources: list[str]) -> Rows:
    count = len(sources)
    return Rows(
        ["x"] * count,
        targets.astype(np.float32),
        np.array(sources),
        np.full(count, "validation"),
        np.ones(count, np.float32),
        [None] * count,
        np.full(count, ""),
    )


def test_platt_finds_the_scale_and_offset_that_made_the_labels() -> None:
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, 40_000).astype(np.float32)
    truth = (generator.random(40_000) < sigmoid(0.4 * logits - 1.5)).astype(np.float64)

    scale, offset = platt(logits, truth, np.full(40_000, 1 / 40_000))

    assert scale == pytest.approx(0.4, abs=0.02)
    assert offset == pytest.approx(-1.5, abs=0.05)


def test_a_useless_output_still_rises() -> None:
    truth = np.array([1.0, 0.0, 1.0, 0.0])
    scale, _ = platt(np.array([-2, 2, -1, 1], np.float32), truth, np.full(4, 0.25))

    assert scale > 0


def test_missing_labels_are_left_out_and_contrast_has_its_share() -> None:
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 2, (6_000, 1)).astype(np.float32)
    truth = (generator.random((6_000, 1)) < sigmoid(logits)).astype(np.float32)
    truth[:1000] = np.nan
    truth[1000:2000] = 1
    sources = ["forum"] * 1000 + [CONTRAST] * 1000 + ["forum"] * 4000

    found = calibrate(logits, rows(truth, sources), recipe(calibration={"contrast_share": 0.25}))

    natural = truth[2000:].mean()
    assert found.base_rate[0] == pytest.approx(0.75 * natural + 0.25 * 1, abs=1e-4)
    assert "25 % contrast" in found.fitted_on


def test_calibrated_scores_mean_what_they_say() -> None:
    generator = np.random.default_rng(2)
    logits = generator.normal(0, 4, (20_000, 1)).astype(np.float32)
    truth = (generator.random((20_000, 1)) < sigmoid(0.3 * logits + 1)).astype(np.float32)

    found = calibrate(logits, rows(truth, ["forum"] * 20_000), recipe())
    scores = sigmoid(logits[:, 0] * found.scale[0] + found.offset[0]).astype(np.float32)

    assert calibration_error(truth[:, 0] >= 0.5, sigmoid(logits[:, 0]).astype(np.float32)) > 0.1
    assert calibration_error(truth[:, 0] >= 0.5, scores) < 0.02


def test_one_temperature_for_classes() -> None:
    generator = np.random.default_rng(3)
    logits = generator.normal(0, 3, (20_000, 3)).astype(np.float32)
    shares = np.exp(logits * 0.5)
    shares /= shares.sum(axis=1, keepdims=True)
    chosen = (generator.random((20_000, 1)) > shares.cumsum(axis=1)).sum(axis=1)
    settings = {"task": "multi_class", "labels": ["a", "b", "c"]}
    settings["data"] = [{"kind": "table", "path": "none.csv", "target": "kind"}]

    found = calibrate(logits, rows(np.eye(3)[chosen], ["x"] * 20_000), recipe(**settings))

    assert found.scale[0] == pytest.approx(0.5, abs=0.03)
    assert len(set(found.scale)) == 1
    assert found.offset == (0, 0, 0)
