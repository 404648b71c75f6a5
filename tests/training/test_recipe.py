from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from moderation.errors import ConfigError
from moderation.training.recipe import read_recipe

RECIPES = sorted((Path(__file__).parents[2] / "configs" / "training").glob("*.yaml"))
GOOD = {
    "name": "tiny",
    "labels": ["toxic", "insult"],
    "data": [{"kind": "table", "path": "data.csv"}],
    "model": {"kind": "lstm", "base": "somewhere", "base_licence": "none"},
}


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_shipped_recipes_can_be_read(file: Path) -> None:
    assert file.stem.startswith(read_recipe(file).name)


@pytest.mark.parametrize(
    ("change", "place", "expected"),
    [
        ({"epochs": 3}, "epochs", "there is no such key; known: name, task, labels"),
        ({"optimisation": {"epoch": 3}}, "optimisation.epoch", "did you mean 'epochs'?"),
        ({"model": {**GOOD["model"], "hiden": [8]}}, "model.lstm.hiden", "did you mean 'hidden'?"),
        (
            {"data": [{"kind": "table", "path": "a.csv", "taget": "x"}]},
            "data.0.table.taget",
            "did you mean 'target'?",
        ),
        ({"optimisation": {"epochs": 0}}, "optimisation.epochs", "greater than or equal to 1"),
        ({"labels": []}, "labels", "name the labels to learn"),
        ({"labels": ["toxic", "toxic"]}, "", "occurs twice"),
        ({"optimisation": {"positive_weights": {"rude": 2}}}, "", "rude: not among labels"),
        ({"data": [{"kind": "magic"}]}, "data.0", "magic"),
        ({"model": {"kind": "forest"}}, "model", "forest"),
        ({"name": "Not A Name"}, "name", "match pattern"),
        ({"task": "multi_class"}, "data[0]", "gives target, the column"),
    ],
)
def test_a_mistake_is_named_with_its_place(
    tmp_path: Path, change: dict[str, object], place: str, expected: str
) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump({**GOOD, **change}))

    with pytest.raises(ConfigError) as caught:
        read_recipe(file)
    assert "recipe.yaml" in str(caught.value)
    assert place in str(caught.value)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "content",
    ["", "- a list", "a: [", "\ufeff: : :", "x: !!python/name:os", "seed: 2026-13-45"],
)
def test_no_recipe_at_all(tmp_path: Path, content: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(ConfigError, match=r"recipe\.yaml"):
        read_recipe(file)


def test_a_key_that_stands_twice_is_named(tmp_path: Path) -> None:
    """YAML's own rule, the last one counts, would drop the first in silence."""
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(GOOD, sort_keys=False) + "seed: 1\nlabels: [toxic]\n")
    with pytest.raises(ConfigError, match=r"recipe\.yaml.* line \d+.*'labels' stands twice"):
        read_recipe(file)


def test_a_file_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(GOOD), encoding="utf-8-sig")
    assert read_recipe(file).name == "tiny"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such recipe"):
        read_recipe(tmp_path / "none.yaml")
