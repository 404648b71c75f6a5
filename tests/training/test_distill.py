"""Soft targets: written by a trained model, mixed into the targets of another."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pandas = pytest.importorskip("pandas")

from moderation.errors import ConfigError  # noqa: E402
from moderation.models import Classifier  # noqa: E402
from moderation.training import train  # noqa: E402
from moderation.training.data import Rows, load_rows  # noqa: E402
from moderation.training.distill import (  # noqa: E402
    text_key,
    with_soft_targets,
    write_soft_targets,
)
from moderation.training.recipe import read_recipe  # noqa: E402


def rows(targets: list[list[float]]) -> Rows:
    count = len(targets)
    return Rows(
        [f"text {number}" for number in range(count)],
        np.asarray(targets, np.float32),
        np.full(count, "source"),
        np.full(count, "train"),
        np.ones(count, np.float32),
        [None] * count,
        np.full(count, ""),
    )


def table(file: Path, **said: list[float]) -> Path:
    keys = [text_key(f"text {number}") for number in range(len(next(iter(said.values()))))]
    pandas.DataFrame({"text_sha1": keys, **said}).to_parquet(file)
    return file


def test_known_labels_are_mixed_and_missing_ones_filled(tmp_path: Path) -> None:
    nan = float("nan")
    file = table(tmp_path / "soft.parquet", rude=[0.8, 0.2], loud=[0.1, 0.6])

    found = with_soft_targets(
        rows([[1, nan], [nan, 0], [1, nan]]), ("loud", "rude"), file, weight=0.25
    )

    # The teacher does not know the third text.
    np.testing.assert_allclose(found.targets, [[0.775, 0.8], [0.6, 0.05], [1, nan]], atol=1e-6)


def test_a_file_for_other_texts_or_labels_is_refused(tmp_path: Path) -> None:
    file = table(tmp_path / "soft.parquet", rude=[0.8])
    with pytest.raises(ConfigError, match="knows 20% of the training texts"):
        with_soft_targets(rows([[1.0]] * 5), ("rude",), file)
    with pytest.raises(ConfigError, match="no column loud"):
        with_soft_targets(rows([[1.0]]), ("loud",), file)
    with pytest.raises(ConfigError, match="no such file"):
        with_soft_targets(rows([[1.0]]), ("rude",), tmp_path / "none.parquet")


def test_a_trained_model_scores_its_training_texts(recipe_file: Path, tmp_path: Path) -> None:
    teacher = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")

    file = write_soft_targets(
        teacher, recipe_file, tmp_path / "soft" / "file.parquet", more_texts=["one more"]
    )

    recipe = read_recipe(recipe_file)
    part = load_rows(recipe, recipe_file).part("train")
    frame = pandas.read_parquet(file)
    assert set(frame["text_sha1"]) == {text_key(text) for text in [*part.texts, "one more"]}
    found = with_soft_targets(part, recipe.labels, file, weight=1)
    expected = Classifier.load(teacher).predict_proba(part.texts)
    np.testing.assert_allclose(found.targets, expected, atol=1e-3)
