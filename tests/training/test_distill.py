"""Soft targets: written by a trained model, mixed into the targets of another."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")
pytest.importorskip("pandas")

from moderation.errors import ConfigError
from moderation.models import Classifier
from moderation.training import train
from moderation.training.data import Rows, load_rows
from moderation.training.distill import makes, mixed, taught
from moderation.training.recipe import Distillation, read_recipe


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


def test_known_labels_are_mixed_and_missing_ones_filled() -> None:
    nan = float("nan")
    soft = np.asarray([[0.1, 0.8], [0.6, 0.2]], np.float32)

    found = mixed(rows([[1, nan], [nan, 0]]), soft, weight=0.25)

    np.testing.assert_allclose(found.targets, [[0.775, 0.8], [0.6, 0.05]], atol=1e-6)


def test_a_teacher_fills_in_what_nobody_labelled(recipe_file: Path, tmp_path: Path) -> None:
    teacher = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    expected = Classifier.load(teacher)
    recipe = read_recipe(recipe_file)
    part = load_rows(recipe, recipe_file).part("train")
    unlabelled = dataclasses.replace(part, targets=np.full_like(part.targets, np.nan))
    distillation = Distillation(teachers=(str(teacher),))

    found, said_by = taught(unlabelled, distillation, recipe_file, tmp_path / "run", 64)

    np.testing.assert_allclose(found.targets, expected.predict_proba(part.texts), atol=1e-3)
    assert said_by.endswith(makes(expected.card))
    # What was asked once is kept, and no text is kept with it.
    kept = sorted((tmp_path / "run" / "soft-targets").iterdir())
    changed = [file.stat().st_mtime_ns for file in kept]
    again, _ = taught(unlabelled, distillation, recipe_file, tmp_path / "run", 64)
    assert [file.stat().st_mtime_ns for file in kept] == changed
    np.testing.assert_array_equal(again.targets, found.targets)


def test_several_teachers_answer_with_the_mean_of_their_logits(
    recipe_file: Path, tmp_path: Path
) -> None:
    first = train(recipe_file, output=tmp_path / "first", runs=tmp_path / "runs")
    content = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    recipe_file.write_text(yaml.safe_dump(content | {"seed": 99, "name": "other"}), "utf-8")
    second = train(recipe_file, output=tmp_path / "second", runs=tmp_path / "runs")
    part = load_rows(read_recipe(recipe_file), recipe_file).part("train")
    empty = dataclasses.replace(part, targets=np.full_like(part.targets, np.nan))
    said = [
        np.clip(Classifier.load(folder).predict_proba(part.texts), 1e-4, 1 - 1e-4)
        for folder in (first, second)
    ]
    # The mean of logits is the logit of odds multiplied, to the power of a half.
    odds = np.sqrt(said[0] / (1 - said[0]) * (said[1] / (1 - said[1])))

    found, said_by = taught(
        empty, Distillation(teachers=(str(first), str(second))), recipe_file, tmp_path / "run", 64
    )

    np.testing.assert_allclose(found.targets, odds / (1 + odds), atol=2e-3)
    assert all(makes(Classifier.load(folder).card) in said_by for folder in (first, second))


def test_contrast_rows_keep_the_labels_they_were_written_with(
    recipe_file: Path, tmp_path: Path
) -> None:
    teacher = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    part = load_rows(read_recipe(recipe_file), recipe_file).part("train")
    sources = np.where(np.arange(len(part)) % 2, "contrast", "table")
    learnt = dataclasses.replace(part, sources=sources)

    found, _ = taught(
        learnt, Distillation(teachers=(str(teacher),)), recipe_file, tmp_path / "run", 64
    )

    np.testing.assert_array_equal(found.targets[1::2], part.targets[1::2])
    assert not np.array_equal(found.targets[::2], part.targets[::2])


def test_a_teacher_that_does_not_know_a_label_is_refused(recipe_file: Path, tmp_path: Path) -> None:
    teacher = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    strange = dataclasses.replace(rows([[1.0]]), labels=("unheard_of",))
    with pytest.raises(ConfigError, match=r"does not know unheard_of; choose a teacher"):
        taught(strange, Distillation(teachers=(str(teacher),)), recipe_file, tmp_path / "run", 64)


def test_a_student_is_trained_on_labels_texts_and_its_teacher(
    recipe_file: Path, tmp_path: Path
) -> None:
    teacher = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    content = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    more = recipe_file.parent / "more.csv"
    held = load_rows(read_recipe(recipe_file), recipe_file).part("validation").texts[0]
    # A text of the validation part is not learnt from, however it comes in.
    lines = ["text", "a text nobody labelled", "another one", f'"{held.upper()}"']
    more.write_text("\n".join(lines) + "\n", encoding="utf-8")
    content["data"].append(
        {"kind": "texts", "path": str(more), "name": "more", "about": "More; CC0 1.0"}
    )
    content["distillation"] = {"teachers": [str(teacher)]}
    content["name"] = "student"
    student_file = recipe_file.parent / "student.yaml"
    student_file.write_text(yaml.safe_dump(content), encoding="utf-8")

    student = train(student_file, output=tmp_path / "student", runs=tmp_path / "runs")

    card = Classifier.load(student).card
    assert card.data.sources["more"] == 2
    assert makes(Classifier.load(teacher).card) in card.data.teacher
    told = (student / "README.md").read_text(encoding="utf-8")
    assert "More; CC0 1.0; texts alone" in told
    assert "taught by" in told


def test_texts_without_a_teacher_are_refused(recipe_file: Path) -> None:
    content = yaml.safe_load(recipe_file.read_text(encoding="utf-8"))
    content["data"].append({"kind": "texts", "path": "more.csv", "name": "more"})
    recipe_file.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(ConfigError, match="name one under distillation"):
        read_recipe(recipe_file)
