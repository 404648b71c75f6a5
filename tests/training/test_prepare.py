"""From files as people have them to rows that may be learnt from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("pandas")
pytest.importorskip("sklearn")

from tokenizers import Tokenizer, models, pre_tokenizers

from moderation.errors import ConfigError
from moderation.training.data import load_rows
from moderation.training.prepare import clean_first, cleaner
from moderation.training.recipe import Recipe

STEPS = ("urls", "mentions", "white_space", "case", "accents")


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODERATION_DATA", raising=False)


def recipe(task: str = "multi_class", path: str = "data.jsonl", **fields: Any) -> Recipe:
    table = {"kind": "table", "path": path, **fields.pop("table", {})}
    if task == "multi_class" and "classes" not in table:
        table.setdefault("target", "kind")
    return Recipe.model_validate(
        {
            "name": "tiny",
            "task": task,
            "data": [table],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            **fields,
        }
    )


def load(folder: Path, rows: list[dict[str, Any]], settings: Recipe) -> Any:
    lines = "\n".join(json.dumps(row) for row in rows)
    (folder / "data.jsonl").write_text(lines, encoding="utf-8")
    return load_rows(settings, folder / "recipe.yaml")


def classes(counts: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {"text": f"{name} text number {number}", "kind": name}
        for name, count in counts.items()
        for number in range(count)
    ]


def found(rows: Any) -> dict[str, dict[str, int]]:
    """Split to class to rows."""
    names = [rows.labels[place] for place in rows.targets.argmax(axis=1)]
    return {
        split: dict(Counter(n for n, s in zip(names, rows.splits, strict=True) if s == split))
        for split in ("train", "validation", "test")
    }


@pytest.mark.parametrize(
    ("step", "text", "expected"),
    [
        ("urls", "see https://a.example/b?c=d, or www.b.example", "see http or http"),
        ("mentions", "@Some_One wrote to me@home.example", "@user wrote to me@home.example"),
        ("white_space", "  two\t\n words  ", "two words"),
        ("case", "LOUD Ünd", "loud ünd"),
        ("accents", "crème Ångström", "creme Angstrom"),
    ],
)
def test_cleaning_steps(step: Any, text: str, expected: str) -> None:
    assert cleaner([step]).normalize_str(text) == expected


@given(st.text(alphabet=st.characters(codec="utf-8")))
def test_a_clean_text_is_clean(text: str) -> None:
    clean = cleaner(["urls", "mentions", "white_space"])
    once = clean.normalize_str(text)
    assert clean.normalize_str(once) == once


def test_cleaning_is_kept_in_the_tokenizer_and_offsets_are_those_of_the_text() -> None:
    vocabulary = {"?": 0, "hey": 1, "http": 2, "you": 3}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="?"))  # noqa: S106
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    clean_first(tokenizer, recipe(preparation={"clean": ["urls", "case"]}))

    encoding = Tokenizer.from_str(tokenizer.to_str()).encode("HEY https://long.example/path YOU")
    assert encoding.tokens == ["hey", "http", "you"]
    assert encoding.offsets[-1] == (30, 33)


def test_a_file_without_splits_is_split_with_the_classes_in_equal_shares(tmp_path: Path) -> None:
    rows = load(tmp_path, classes({"a": 500, "b": 100, "c": 10}), recipe())

    assert rows.labels == ("a", "b", "c")
    assert found(rows) == {
        "train": {"a": 400, "b": 80, "c": 8},
        "validation": {"a": 50, "b": 10, "c": 1},
        "test": {"a": 50, "b": 10, "c": 1},
    }
    again = load(tmp_path, classes({"a": 500, "b": 100, "c": 10}), recipe())
    assert again.splits.tolist() == rows.splits.tolist()


def test_a_dataset_with_a_test_part_but_none_to_validate_on(tmp_path: Path) -> None:
    table = [
        {**row, "split": "test" if place % 5 == 0 else "train"}
        for place, row in enumerate(classes({"a": 200, "b": 50}))
    ]
    rows = load(tmp_path, table, recipe(table={"split": "split"}))

    assert found(rows) == {
        "train": {"a": 144, "b": 36},
        "validation": {"a": 16, "b": 4},
        "test": {"a": 40, "b": 10},
    }
    assert rows.notes == ("20 rows of the training part are kept to validate on",)


def test_shares_of_the_split(tmp_path: Path) -> None:
    settings = recipe(preparation={"validation": 0.2, "test": 0.3})
    sizes = Counter(load(tmp_path, classes({"a": 60, "b": 40}), settings).splits.tolist())
    assert sizes == {"train": 50, "validation": 20, "test": 30}


def test_a_class_of_three_rows_is_in_every_part(tmp_path: Path) -> None:
    rows = load(tmp_path, classes({"a": 200, "b": 3}), recipe())
    assert [part["b"] for part in found(rows).values()] == [1, 1, 1]


def test_scarce_labels_are_spread_over_the_parts(tmp_path: Path) -> None:
    """Twenty threats in a thousand rows, all of them insults too, half of the labels unknown."""
    table = [
        {
            "text": f"text {number}",
            "insult": number % 2,
            "threat": None if number % 2 == 0 and number % 4 == 0 else int(number % 50 == 1),
        }
        for number in range(1_000)
    ]
    rows = load(tmp_path, table, recipe("multi_label", labels=["insult", "threat"]))

    for split, share in (("train", 0.8), ("validation", 0.1), ("test", 0.1)):
        part = rows.part(split)
        assert np.nansum(part.targets[:, 1]) == pytest.approx(20 * share, abs=1)
    assert np.isnan(rows.targets[:, 1]).sum() == 250


@given(
    counts=st.lists(st.integers(10, 40), min_size=2, max_size=4),
    copies=st.integers(2, 4),
    seed=st.integers(0, 50),
)
def test_copies_that_are_kept_lie_in_one_part(
    tmp_path_factory: pytest.TempPathFactory, counts: list[int], copies: int, seed: int
) -> None:
    table = classes({f"class{place}": count for place, count in enumerate(counts)})
    table += [
        {"text": row["text"].upper().replace(" ", "  "), "kind": row["kind"]}
        for row in table[::3]
        for _ in range(copies)
    ]
    rows = load(tmp_path_factory.mktemp("copies"), table, recipe(seed=seed))

    assert len(rows) == len(table)
    parts: dict[str, set[str]] = {}
    for text, split in zip(rows.texts, rows.splits, strict=True):
        parts.setdefault(" ".join(text.lower().split()), set()).add(split)
    assert all(len(found) == 1 for found in parts.values())


def test_copies_are_dropped_before_the_split(tmp_path: Path) -> None:
    table = classes({"a": 50, "b": 50})
    table += [{"text": "A  Text Number 7", "kind": "a"}, {"text": "b text number 3", "kind": "a"}]
    rows = load(tmp_path, table, recipe(preparation={}))

    assert "A  Text Number 7" not in rows.texts
    assert "a text number 7" in rows.texts
    # Nobody can say which of two contradicting copies is right.
    assert "b text number 3" not in rows.texts
    assert rows.notes == ("3 copies of other rows left out",)


def test_copies_by_the_cleaned_text(tmp_path: Path) -> None:
    table = classes({"a": 50, "b": 50})
    table += [
        {"text": f"look https://{n}.example @{n}", "kind": "a"} for n in ("one", "two", "six")
    ]
    settings = recipe(preparation={"clean": ["urls", "mentions"]})
    texts = load(tmp_path, table, settings).texts
    assert [text for text in texts if "look" in text] == ["look https://one.example @one"]


def test_the_test_part_stays_and_no_copy_of_it_is_trained_on(tmp_path: Path) -> None:
    table = [
        {**row, "split": ("train", "validation", "test")[place % 3]}
        for place, row in enumerate(classes({"a": 30, "b": 30}))
    ]
    (copied,) = [row for row in table if row["text"] == "a text number 2"]
    assert copied["split"] == "test"
    table += [copied, {**copied, "split": "train"}, {**copied, "kind": "b", "split": "validation"}]
    rows = load(tmp_path, table, recipe(table={"split": "split"}, preparation={}))

    places = [place for place, text in enumerate(rows.texts) if text == copied["text"]]
    assert rows.splits[places].tolist() == ["test", "test"]


def test_what_copies_know_is_put_together(tmp_path: Path) -> None:
    table: list[dict[str, Any]] = [
        {"text": f"text {number}", "insult": number % 2, "threat": number // 2 % 2}
        for number in range(40)
    ]
    table += [
        {"text": "half", "insult": 1, "threat": None},
        {"text": "HALF", "insult": None, "threat": 0},
    ]
    rows = load(tmp_path, table, recipe("multi_label", labels=["insult", "threat"], preparation={}))
    assert rows.targets[rows.texts.index("half")].tolist() == [1, 0]


def test_sparse_classes_are_merged(tmp_path: Path) -> None:
    table = classes({"a": 100, "b": 60, "c": 5, "d": 4, "e": 1})
    rows = load(tmp_path, table, recipe(preparation={"fewest": 10, "other": "rest"}))

    assert rows.labels == ("a", "b", "rest")
    assert rows.targets.sum(axis=0).tolist() == [100, 60, 10]
    assert rows.targets[rows.texts.index("e text number 0")].tolist() == [0, 0, 1]
    assert rows.notes == ("3 classes of fewer than 10 rows are 'rest'",)


def test_classes_that_are_numbers_with_some_missing(tmp_path: Path) -> None:
    table = [
        {"text": f"t {number}", "kind": None if number == 5 else number % 2} for number in range(40)
    ]
    rows = load(tmp_path, table, recipe())
    assert rows.labels == ("0", "1")
    assert len(rows) == 39


def test_classes_told_by_other_columns(tmp_path: Path) -> None:
    rules = {"hate": {"attack": 1}, "rude": {"attack": 0, "toxic": 1}, "fine": {"toxic": 0}}
    table = [
        {"text": f"t {n}", "toxic": int(n % 3 != 0), "attack": int(n % 3 == 1), "from": "x"}
        for n in range(60)
    ]
    table += [{"text": "neither", "toxic": 0.5, "attack": None, "from": "x"}]
    table += [{"text": "elsewhere", "toxic": 0, "attack": 0, "from": "y"}]
    settings = recipe(
        labels=["hate", "rude", "fine"], table={"classes": rules, "source": "from", "keep": ["x"]}
    )
    rows = load(tmp_path, table, settings)

    assert rows.targets.sum(axis=0).tolist() == [20, 20, 20]
    assert rows.targets[rows.texts.index("t 4")].tolist() == [1, 0, 0]
    assert "elsewhere" not in rows.texts

    both = recipe(table={"classes": {"hate": {"attack": 1}, "rude": {"toxic": 1}}})
    with pytest.raises(ConfigError, match="classes hate and rude both fit 20 rows"):
        load(tmp_path, table, both)


@pytest.mark.parametrize(
    ("counts", "settings", "expected"),
    [
        ({"a": 50, "b": 1}, {}, "class 'b' has 1 of the rows to split.* leave it out, or merge"),
        ({"a": 50}, {}, "1 class in the data; a classifier needs two or more"),
        (
            dict.fromkeys("abcdefgh", 4),
            {},
            r"a test part of 3 rows cannot hold 8 classes; raise preparation.test",
        ),
        ({"a": 50, "b": 50}, {"labels": ["a", "c"]}, "values that labels does not name"),
        ({"a": 1, "b": 1}, {}, "class 'a' has 1 of"),
    ],
)
def test_classes_that_cannot_be_learnt(
    tmp_path: Path, counts: dict[str, int], settings: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, classes(counts), recipe(**settings))


def test_a_target_that_holds_texts_is_not_quoted(tmp_path: Path) -> None:
    table = [{"text": f"private {number}", "kind": f"private {number}"} for number in range(60)]
    expected = "column kind: expected classes, found 60 different values in 60 rows"
    with pytest.raises(ConfigError, match=expected) as caught:
        load(tmp_path, table, recipe())
    assert "private" not in str(caught.value)


def test_a_published_validation_part_without_one_of_the_classes(tmp_path: Path) -> None:
    table = [{**row, "split": "train"} for row in classes({"a": 9, "b": 9, "c": 9})]
    table += [{"text": f"v {kind}", "kind": kind, "split": "validation"} for kind in "ab"]
    expected = r"class 'c', validation part: no row \(2 rows for 3 classes\); add rows"
    with pytest.raises(ConfigError, match=expected):
        load(tmp_path, table, recipe(table={"split": "split"}))


def test_texts_that_cleaning_leaves_empty(tmp_path: Path) -> None:
    table = [*classes({"a": 20, "b": 20}), {"text": "\u0301", "kind": "a"}]
    settings = recipe(preparation={"clean": ["accents"]})
    with pytest.raises(ConfigError, match="1 texts are empty when cleaned, first that of row 41"):
        load(tmp_path, table, settings)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache as the Hub's own client leaves it, and no connection."""
    pytest.importorskip("huggingface_hub")
    import huggingface_hub.constants
    import pandas

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    commit = "c" * 40
    root = tmp_path / "hub" / "datasets--someone--letters"
    refs = root / "refs" / "refs" / "convert" / "parquet"
    refs.parent.mkdir(parents=True)
    refs.write_text(commit)
    for configuration in ("plain", "other"):
        for split, count in (("train", 20), ("validation", 6), ("test", 4)):
            file = root / "snapshots" / commit / configuration / split / "0000.parquet"
            file.parent.mkdir(parents=True)
            table = classes({"a": count, "b": count})
            frame = pandas.DataFrame([{**row, "text": f"{split} {row['text']}"} for row in table])
            frame.to_parquet(file)
    return tmp_path


def test_a_dataset_of_the_hub(hub: Path) -> None:
    settings = recipe(path="hf://datasets/someone/letters/plain")
    rows = load_rows(settings, hub / "recipe.yaml")

    assert found(rows) == {
        "train": {"a": 20, "b": 20},
        "validation": {"a": 6, "b": 6},
        "test": {"a": 4, "b": 4},
    }


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("someone/letters", "has configurations other, plain; append one"),
        ("someone/nothing", "not in the local cache, and no download .* give their path"),
        ("nobody", "expected hf://datasets/OWNER/NAME"),
    ],
)
def test_datasets_of_the_hub_that_cannot_be_read(hub: Path, path: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_rows(recipe(path=f"hf://datasets/{path}"), hub / "recipe.yaml")
