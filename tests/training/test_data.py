from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("pandas")

from moderation.errors import ConfigError
from moderation.training.data import batches, epoch_order, left_out_rows, load_rows
from moderation.training.recipe import Recipe, read_recipe

HEADER = "text,source,split,toxic,threat,insult"
LINES = [
    "calm one,forum,train,0,0,0",
    "rude one,forum,train,1,0,1",
    "a threat,forum,train,1,1,",
    "hateful,hate only,train,1,,",
    "not hateful,hate only,train,,,0",
    "civil,talk pages,train,0,,",
    "uncivil,talk pages,train,1,,",
    "calm two,forum,validation,0,0,0",
    "rude two,forum,validation,1,1,1",
]


def load(tmp_path: Path, lines: list[str] = LINES, header: str = HEADER, **table: Any) -> Any:
    (tmp_path / "data.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    recipe = Recipe.model_validate(
        {
            "name": "tiny",
            "labels": ["toxic", "threat", "insult"],
            "data": [
                {
                    "kind": "table",
                    "path": "data.csv",
                    "split": "split",
                    "source": "source",
                    **table,
                }
            ],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
        }
    )
    return load_rows(recipe, tmp_path / "recipe.yaml")


def _written(file: Path, content: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(content))
    return file


def target(rows: Any, text: str) -> list[float | None]:
    values = rows.targets[rows.texts.index(text)]
    return [None if np.isnan(value) else float(value) for value in values]


def test_missing_labels_stay_missing(tmp_path: Path) -> None:
    rows = load(tmp_path)

    assert target(rows, "a threat") == [1, 1, None]
    assert target(rows, "not hateful") == [None, None, 0]


def test_words_that_look_like_missing_values_are_texts(tmp_path: Path) -> None:
    rows = load(tmp_path, [*LINES, "NA,forum,train,0,0,0", "null,forum,train,1,,"])

    assert target(rows, "NA") == [0, 0, 0]
    assert target(rows, "null") == [1, None, None]


def test_masked_labels_are_not_used(tmp_path: Path) -> None:
    rows = load(tmp_path, mask={"hate only": ["toxic"]})

    assert rows.labels == ("toxic", "threat", "insult")
    assert target(rows, "rude one") == [1, 0, 1]
    # Nothing is left to learn from "hateful".
    assert "hateful" not in rows.texts
    assert target(rows, "not hateful") == [None, None, 0]


def test_masked_unless_another_label_is_known(tmp_path: Path) -> None:
    rows = load(tmp_path, mask_unless={"forum": {"toxic": "insult"}})

    assert target(rows, "rude one") == [1, 0, 1]
    assert target(rows, "a threat") == [None, 1, None]


def test_zeros_implied_by_a_civil_text(tmp_path: Path) -> None:
    rows = load(
        tmp_path,
        implied_zeros={"label": "toxic", "labels": ["threat"], "sources": ["talk pages"]},
    )

    assert target(rows, "civil") == [0, 0, None]
    assert target(rows, "uncivil") == [1, None, None]
    assert target(rows, "not hateful") == [None, None, 0]


def test_dropped_sources_and_weights(tmp_path: Path) -> None:
    rows = load(tmp_path, drop=["hate only"], weights={"talk pages": 2.5})

    assert set(rows.sources) == {"forum", "talk pages"}
    assert set(rows.weights[rows.sources == "talk pages"]) == {2.5}
    assert set(rows.weights[rows.sources == "forum"]) == {1.0}


def test_rows_of_dropped_sources_can_be_had_apart(tmp_path: Path) -> None:
    load(tmp_path, drop=["hate only"])
    settings = read_recipe(
        _written(
            tmp_path / "recipe.yaml",
            {
                "name": "tiny",
                "labels": ["toxic", "threat", "insult"],
                "data": [
                    {
                        "kind": "table",
                        "path": "data.csv",
                        "source": "source",
                        "drop": ["hate only"],
                        "weights": {"forum": 2},
                    }
                ],
                "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            },
        )
    )
    rows = left_out_rows(settings, tmp_path / "recipe.yaml")

    assert rows is not None
    assert rows.texts == ["hateful", "not hateful"]


def test_fingerprint_follows_every_change(tmp_path: Path) -> None:
    first = load(tmp_path).fingerprint()

    assert load(tmp_path).fingerprint() == first
    assert load(tmp_path, [*LINES[:-1], "rude twO,forum,validation,1,1,1"]).fingerprint() != first
    assert load(tmp_path, [*LINES[:-1], "rude two,forum,validation,1,1,.9"]).fingerprint() != first
    assert load(tmp_path, mask={"hate only": ["toxic"]}).fingerprint() != first


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([*LINES, "x,forum,train,1.5,0,0"], "column toxic, row 10: expected a number from 0 to 1"),
        ([*LINES, "x,forum,train,-1,0,0"], "column toxic, row 10"),
        ([*LINES, "x,forum,train,inf,0,0"], "column toxic, row 10"),
        ([*LINES, "x,forum,train,yes,0,0"], "column toxic: expected numbers"),
        ([*LINES, ",forum,train,1,0,0"], "row 10: no text"),
        ([*LINES, '"  ",forum,train,1,0,0'], "row 10: empty text"),
        ([*LINES, "x,forum,dev,1,0,0"], "expected train, validation, test, found dev"),
        (LINES[7:], "no train rows"),
        ([line.replace(",1,1,", ",1,0,") for line in LINES], "'threat', train part: 0 positive"),
        ([], "no rows left"),
    ],
)
def test_bad_data_is_named(tmp_path: Path, lines: list[str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, lines)
    assert expected in str(caught.value)
    assert "a threat" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"text": ["body"]}, "no column body; the file has text, source, split"),
        ({"labels": {"toxic": "rude"}}, "no column rude"),
        ({"path": "none.csv"}, "no such file"),
        ({"path": "data.xls"}, "expected a name that ends in"),
        ({"weights": {"nowhere": 2}}, "nowhere, not among the sources"),
        ({"drop": ["forums"]}, "forums, not among the sources forum, hate only, talk pages"),
    ],
)
def test_a_bad_recipe_is_named(tmp_path: Path, table: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, **table)


def test_a_file_without_a_column_of_any_label(tmp_path: Path) -> None:
    header = "text,source,split,is_toxic,is_threat,is_insult"
    expected = (
        "no column named as one of toxic, threat, insult; the file has text, .* is_insult; give"
    )
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, header=header)


def test_a_file_that_says_nothing_of_its_rows(tmp_path: Path) -> None:
    lines = [",".join(line.split(",")[:3]) + ",,," for line in LINES]
    with pytest.raises(ConfigError, match="nothing is known of any row"):
        load(tmp_path, lines)


def test_sources_may_be_numbers(tmp_path: Path) -> None:
    numbers = {"forum": "1", "hate only": "2", "talk pages": "3"}
    lines = [
        line.replace(name, number)
        for line in LINES
        for name, number in numbers.items()
        if f",{name}," in line
    ]
    rows = load(tmp_path, lines, drop=["2"], weights={"3": 2})

    assert set(rows.sources) == {"1", "3"}
    assert set(rows.weights[rows.sources == "3"]) == {2.0}


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ({"split": "note"}, "found 9 that read like texts"),
        ({"source": "note", "weights": {"forum": 2}}, "the sources 9 that read like texts"),
    ],
)
def test_a_column_of_texts_named_by_mistake_is_not_quoted(
    tmp_path: Path, table: dict[str, Any], expected: str
) -> None:
    lines = [f"{line},a private note of {number}" for number, line in enumerate(LINES)]
    with pytest.raises(ConfigError, match=expected) as caught:
        load(tmp_path, lines, f"{HEADER},note", **table)
    assert "private" not in str(caught.value)


def test_spans_in_a_csv_file_are_json(tmp_path: Path) -> None:
    lines = [
        f'{line},"[[0, {number % 3}]]"' if number % 3 else f"{line},"
        for number, line in enumerate(LINES)
    ]
    rows = load(tmp_path, lines, f"{HEADER},spans", spans="spans")

    assert rows.spans[:4] == [None, ((0, 1),), ((0, 2),), None]
    with pytest.raises(ConfigError, match="row 1: spans: expected a list of"):
        load(tmp_path, [f"{LINES[0]},from 0 to 1", *lines[1:]], f"{HEADER},spans", spans="spans")


def test_a_file_of_another_kind(tmp_path: Path) -> None:
    (tmp_path / "data.parquet").write_text("no parquet")
    with pytest.raises(ConfigError, match="cannot be read as parquet"):
        load(tmp_path, path="data.parquet")


def test_spans_outside_the_text(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(
        "\n".join(
            json.dumps(
                {
                    "text": line.split(",")[0],
                    "source": line.split(",")[1],
                    "split": line.split(",")[2],
                    "toxic": number % 2,
                    "threat": number % 2,
                    "insult": number % 2,
                    "spans": [[0, 99]] if number == 3 else [],
                }
            )
            for number, line in enumerate(LINES)
        )
    )
    with pytest.raises(ConfigError, match=r"row 4: spans.* span 0 to 99 does not lie"):
        load(tmp_path, path="data.jsonl", spans="spans")


def test_columns_are_joined_to_one_text(tmp_path: Path) -> None:
    rows = load(tmp_path, text=["text", "source"])
    assert rows.texts[0] == "calm one\nforum"


def test_a_row_of_weight_two_and_a_half_comes_that_often() -> None:
    weights = np.array([1, 2.5, 0, 0.25] * 1_000, np.float32)
    order = epoch_order(weights, np.random.default_rng(0))
    counts = np.bincount(order, minlength=4_000).reshape(-1, 4)

    assert (counts[:, 0] == 1).all()
    assert set(counts[:, 1]) == {2, 3}
    assert abs(counts[:, 1].mean() - 2.5) < 0.1
    assert (counts[:, 2] == 0).all()
    assert abs(counts[:, 3].mean() - 0.25) < 0.05


def test_batches_hold_every_row_once_and_rows_of_like_length() -> None:
    lengths = np.random.default_rng(1).integers(1, 200, 5_000)
    plan = batches(lengths, 64, np.random.default_rng(0))

    np.testing.assert_array_equal(np.sort(np.concatenate(plan)), np.arange(5_000))
    spread = np.mean([np.ptp(lengths[places]) for places in plan])
    assert spread < 20
