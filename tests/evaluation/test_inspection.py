"""What was planted in a file is found, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("datasketch")

from moderation.errors import ConfigError
from moderation.evaluation import Inspection, inspect, write_inspection

Table = Callable[..., Path]
WORDS = (
    "river stone lantern copper window garden thunder velvet market compass orchard saddle "
    "harbour pepper mirror candle bridge feather tunnel ribbon glacier walnut anchor meadow"
).split()


def sentences(count: int) -> list[str]:
    """Sentences that have hardly a piece in common."""
    rng = np.random.default_rng(4)
    return [" ".join(rng.permutation(WORDS)[:9]) + f" {number}" for number in range(count)]


@pytest.fixture
def planted(table: Table) -> Path:
    texts = sentences(60)
    split = ["train"] * 40 + ["validation"] * 10 + ["test"] * 10
    rude = [number % 3 == 0 for number in range(60)]
    advert: list[Any] = [None] * 60
    advert[0] = 1
    texts[7] = texts[3].upper() + "  !!"  # a copy but for case and signs, with the same label
    rude[3] = rude[7] = True
    texts[21] = texts[20].replace(" ", ", ")  # a copy with the other label
    rude[20], rude[21] = True, False
    texts[55] = texts[12]  # a copy in another split
    rude[12] = rude[55] = False
    texts[45] = texts[30] + " indeed"  # nearly a copy in another split
    texts[35] = "  "
    return table(text=texts, rude=np.array(rude, int), advert=advert, split=split, n=range(60))


@pytest.fixture
def found(planted: Path, toxicity: Path) -> Inspection:
    return inspect(planted, tokenizer=toxicity)


def test_copies_conflicts_and_leaks_are_found(found: Inspection) -> None:
    # Rows count from 1.
    assert found.numbers["duplicates"]["largest"] == [[4, 8], [13, 56], [21, 22]]
    assert found.numbers["duplicates"]["rows to spare"] == 3
    assert found.numbers["near-duplicates"]["largest"] == [[31, 46]]
    assert found.numbers["conflicts"]["largest"] == [[21, 22]]
    assert found.numbers["leaks"]["largest"] == [[13, 56], [31, 46]]
    assert found.numbers["leaks"]["between"] == {"test and train": 1, "train and validation": 1}
    assert found.numbers["empty texts"] == {"rows": 1, "first": [36]}
    assert found.numbers["splits"] == {"train": 40, "validation": 10, "test": 10}


def test_labels_are_the_columns_of_numbers_from_0_to_1(found: Inspection) -> None:
    labels = found.numbers["labels"]
    assert set(labels) == {"rude", "advert"}
    assert labels["advert"]["rows"] == labels["advert"]["positives"] == 1
    # The one advert is rude too; of what is rude only it says whether it is an advert.
    assert found.numbers["co-occurrence"] == [[1.0, 1.0], [1.0, 1.0]]


def test_co_occurrence_by_hand(table: Table) -> None:
    file = table(text=sentences(5), a=[1, 1, 1, 0, 1], b=[1, 0, None, 1, 0])
    numbers = inspect(file, near=False).numbers
    assert numbers["co-occurrence"] == [[1.0, round(1 / 3, 4)], [0.5, 1.0]]
    assert numbers["near-duplicates"] is None
    assert numbers["leaks"] is None


def test_lengths_and_the_length_that_holds_them(table: Table, toxicity: Path) -> None:
    texts = ["sun rain"] * 198 + ["sun " * 40, "sun " * 300]
    texts = [f"{text} {number}" for number, text in enumerate(texts)]
    lengths = inspect(table(text=texts, rude=[0, 1] * 100), tokenizer=toxicity, near=False).numbers[
        "length"
    ]
    assert lengths["words"]["percentiles"] == {"50": 3, "90": 3, "95": 3, "99": 3, "100": 301}
    # The tiny tokenizer has a token for each word. 199 of 200 fit into 48.
    assert lengths["tokens"]["percentiles"]["100"] == 301
    assert lengths["tokens"]["suggested max_length"] == 32
    assert lengths["tokens"]["covered"] == 0.99


def test_classes_conflict_too(table: Table) -> None:
    texts = sentences(6)
    texts[5] = texts[0]
    numbers = inspect(
        table(text=texts, label=["x", "y", "x", "y", "x", "y"]), target="label", near=False
    ).numbers
    assert numbers["classes"] == {"x": 3, "y": 3}
    assert numbers["conflicts"]["largest"] == [[1, 6]]


def test_near_duplicates_join_into_groups(table: Table) -> None:
    texts = sentences(12)
    texts[4], texts[8] = texts[1] + " one", texts[1] + " two"
    numbers = inspect(table(text=texts, rude=[0, 1] * 6)).numbers
    assert numbers["near-duplicates"]["largest"] == [[2, 5, 9]]
    assert numbers["near-duplicates"]["rows to spare"] == 2


def test_short_texts_are_not_nearly_alike_by_chance(table: Table) -> None:
    numbers = inspect(
        table(text=["yes", "yes!", "yess", "no", "non"], rude=[0, 1, 0, 1, 0])
    ).numbers
    assert numbers["near-duplicates"]["groups"] == 0
    assert numbers["duplicates"]["largest"] == [[1, 2]]


def test_the_text_names_rows_and_the_page_shows_texts(found: Inspection, tmp_path: Path) -> None:
    told = found.text()
    for line in (
        "data.csv: 60 rows",
        "rows 4, 8",
        "leaks              2 groups",
        "test and train: 1 groups",
        "empty texts        1 rows, the first 36",
    ):
        assert line in told
    assert not any(word in told for word in WORDS)
    write_inspection(found, tmp_path / "data.html")
    page = (tmp_path / "data.html").read_text(encoding="utf-8")
    for key in (
        "glance",
        "labels",
        "length",
        "duplicates",
        "near-duplicates",
        "conflicts",
        "leaks",
    ):
        assert f'<section id="{key}">' in page
    assert found.texts[20] in page
    assert "src=" not in page.partition("plotly.js v")[0]
    found.write_json(tmp_path / "data.json")
    assert json.loads((tmp_path / "data.json").read_text())["rows"] == 60


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"text": ("body",)}, "no column body; the file has text, rude"),
        ({"labels": ("mood",)}, "no column mood"),
        ({"labels": ("text",)}, "column text: expected numbers"),
        ({"tokenizer": "nosuch"}, "found none at nosuch"),
    ],
)
def test_what_is_amiss_is_named(table: Table, options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        inspect(table(text=sentences(4), rude=[0, 1, 0, 1]), **options)
