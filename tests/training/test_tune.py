"""The search for settings, on functions whose best settings are known."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("optuna")
pytest.importorskip("torch")

from rich.console import Console

from moderation.errors import ConfigError
from moderation.training.recipe import Recipe
from moderation.training.trainer import TrainingError
from moderation.training.tune import SPACES, changed, search

SPACE = {
    "model.dropout": {"low": 0.0, "high": 0.5},
    "optimisation.batch": [16, 32],
    "model.hidden": [[8], [8, 8]],
}


def recipe(space: dict[str, Any] | None = None, kind: str = "lstm") -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "labels": ["toxic"],
            "data": [{"kind": "table", "path": "data.csv"}],
            "model": {"kind": kind, "base": "none", "base_licence": "none"},
            "tuning": {"space": SPACE if space is None else space},
        }
    )


def score(settings: Recipe) -> float:
    """Best at a dropout of 0.4 and two layers; the batch does not matter."""
    assert settings.model.kind == "lstm"
    return 1 - abs(settings.model.dropout - 0.4) - 0.05 * (len(settings.model.hidden) == 1)


def run(
    folder: Path,
    trials: int,
    train: Callable[[Recipe, Callable[[int, float], None]], float] | None = None,
    *,
    resume: bool = False,
    identity: str = "one",
    settings: Recipe | None = None,
) -> tuple[Recipe, dict[str, Any], str]:
    told = io.StringIO()
    best, report = search(
        settings or recipe(),
        identity,
        folder,
        trials,
        train or (lambda settings, report: score(settings)),
        resume=resume,
        console=Console(file=told, width=200),
    )
    return best, report, told.getvalue()


def test_the_best_settings_and_what_mattered(tmp_path: Path) -> None:
    best, report, told = run(tmp_path, 40)

    assert best.model.kind == "lstm"
    assert best.model.dropout == pytest.approx(0.4, abs=0.05)
    assert best.model.hidden == (8, 8)
    assert report["best score"] == pytest.approx(score(best), abs=1e-5)
    assert report["best settings"]["model.hidden"] == [8, 8]
    mattered = report["mattered"]
    assert max(mattered, key=mattered.__getitem__) == "model.dropout"
    assert mattered["optimisation.batch"] < 0.1
    assert sum(mattered.values()) == pytest.approx(1, abs=0.01)
    assert json.loads((tmp_path / "tune.json").read_text()) == report
    assert "model.dropout" in told
    assert "of the differences" in told
    assert {path.name for path in tmp_path.iterdir()} == {"study.jsonl", "tune.json"}


def test_a_search_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    seen: list[float] = []

    def broken(settings: Recipe, report: Callable[[int, float], None]) -> float:
        assert settings.model.kind == "lstm"
        seen.append(settings.model.dropout)
        if len(seen) == 4:
            raise KeyboardInterrupt
        return score(settings)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 6, broken)
    assert not (tmp_path / "tune.json").exists()
    _, report, told = run(tmp_path, 6, broken, resume=True)

    assert "3 of 6 trials are done" in told
    assert report["trials"] == 6
    assert len(seen) == 7
    assert len(set(seen)) == 7
    # Nothing is left to do; more trials may be asked for.
    assert run(tmp_path, 6, broken, resume=True)[1] == report
    assert len(seen) == 7
    assert run(tmp_path, 8, broken, resume=True)[1]["trials"] == 8


def test_without_resume_a_search_begins_anew(tmp_path: Path) -> None:
    run(tmp_path, 5)
    assert run(tmp_path, 2)[1]["trials"] == 2


def test_a_search_of_another_recipe_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, 2)
    with pytest.raises(ConfigError, match="another recipe or other data; tune without --resume"):
        run(tmp_path, 4, resume=True, identity="other")


def test_trials_worse_than_the_median_are_given_up(tmp_path: Path) -> None:
    epochs: list[int] = []

    def train(settings: Recipe, report: Callable[[int, float], None]) -> float:
        epochs.append(0)
        level = 0.9 - 0.1 * len(epochs)
        for epoch in (1, 2, 3):
            epochs[-1] = epoch
            report(epoch, level)
        return level

    _, report, _ = run(tmp_path, 5, train)
    assert epochs == [3, 3, 3, 1, 1]
    assert report["given up early"] == 2


def test_a_trial_whose_loss_is_no_number_does_not_end_the_search(tmp_path: Path) -> None:
    count = iter(range(9))

    def train(settings: Recipe, report: Callable[[int, float], None]) -> float:
        if next(count) == 1:
            raise TrainingError("the loss is nan")
        return score(settings)

    _, report, told = run(tmp_path, 4, train)
    assert report["trials"] == 4
    assert "given up: the loss is nan" in told


def test_no_whole_trial(tmp_path: Path) -> None:
    def train(settings: Recipe, report: Callable[[int, float], None]) -> float:
        raise TrainingError("the loss is nan")

    with pytest.raises(ConfigError, match="no trial of 2 came to its end"):
        run(tmp_path, 2, train)


def test_two_trials_cannot_say_what_mattered(tmp_path: Path) -> None:
    _, report, told = run(tmp_path, 2)
    assert report["mattered"] == {}
    assert "too few trials to say what mattered" in told


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        ({"model.drop": [0.1]}, "no setting 'model.drop'; a place is written model.dropout"),
        ({"dropout": [0.1]}, "no setting 'dropout'"),
        ({"model.dropout": {"low": 0.5, "high": 1.5}}, r"model.lstm.dropout: .*less than 1"),
        ({"model.dropout": []}, "a list of choices needs one or more"),
    ],
)
def test_a_space_that_cannot_be_searched(
    tmp_path: Path, space: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        run(tmp_path / "study", 2, settings=recipe(space))
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("kind", ["lstm", "distilbert"])
def test_the_default_spaces_fit_their_models(tmp_path: Path, kind: str) -> None:
    settings = recipe({}, kind)
    tried: list[Recipe] = []

    def train(settings: Recipe, report: Callable[[int, float], None]) -> float:
        tried.append(settings)
        return settings.optimisation.learning_rate

    best, report, _ = run(tmp_path, 6, train, settings=settings)
    assert report["best settings"].keys() == SPACES[kind].keys()
    assert len({trial.model_dump_json() for trial in tried}) == 6
    assert best == changed(settings, report["best settings"])
