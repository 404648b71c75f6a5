from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from moderation.errors import ConfigError
from moderation.evaluation import read_labelled

Table = Callable[..., Path]
TEXTS = ["one", "two words", "three words here", "four"]


@pytest.mark.parametrize("name", ["data.csv", "data.jsonl", "data.parquet"])
def test_missing_labels_stay_missing_in_every_format(table: Table, name: str) -> None:
    file = table(name, text=TEXTS, rude=[1, None, 0.25, 0], other=["a", "b", "a", "b"])
    found = read_labelled(file, known=("rude", "advert"), task="multi_label", slices=("other",))
    assert found.labels == ("rude",)
    np.testing.assert_array_equal(found.targets[:, 0], [1, np.nan, 0.25, 0])
    assert found.slices["other"].tolist() == ["a", "b", "a", "b"]
    assert found.numbers.tolist() == [1, 2, 3, 4]


def test_columns_may_have_other_names_and_rows_be_chosen(table: Table) -> None:
    file = table(head=TEXTS, body=TEXTS[::-1], bad=[1, 0, 1, 0], split=["a", "b", "b", "b"])
    found = read_labelled(
        file,
        known=("rude",),
        task="multi_label",
        text=("head", "body"),
        labels={"rude": "bad"},
        where={"split": "b"},
        slices=("length",),
    )
    assert found.texts[0] == "two words\nthree words here"
    assert found.numbers.tolist() == [2, 3, 4]
    assert found.slices["length"].tolist() == ["1 to 5 words"] * 3


def test_classes_by_name_or_by_number(table: Table) -> None:
    by_name = table(text=TEXTS, label=["sport", "money", "money", "sport"])
    found = read_labelled(by_name, known=("sport", "money"), task="multi_class")
    by_number = table("numbers.csv", text=TEXTS, label=[0, 1, 1, 0])
    other = read_labelled(by_number, known=("sport", "money"), task="multi_class")
    expected = [[1, 0], [0, 1], [0, 1], [1, 0]]
    assert found.targets.tolist() == other.targets.tolist() == expected


def test_a_column_of_many_numbers_is_sliced_into_quarters(table: Table) -> None:
    texts = [f"text {number}" for number in range(40)]
    file = table(text=texts, rude=[0, 1] * 20, age=np.linspace(1, 80, 40))
    found = read_labelled(file, known=("rude",), task="multi_label", slices=("age",))
    _, counts = np.unique(found.slices["age"], return_counts=True)
    assert counts.tolist() == [10] * 4


@pytest.mark.parametrize(
    ("columns", "options", "told"),
    [
        ({"body": TEXTS, "rude": [0, 1, 0, 1]}, {}, "no column text; the file has body, rude"),
        ({"text": TEXTS, "bad": [0, 1, 0, 1]}, {}, "at least one of rude, advert; found text, bad"),
        ({"text": TEXTS, "rude": [0, 1, 0, 5]}, {}, "column rude, row 4: .*found 5"),
        ({"text": TEXTS, "rude": [0, 1, 0, -1]}, {}, "row 4"),
        ({"text": TEXTS, "rude": [0, 1, 0, np.inf]}, {}, "row 4"),
        ({"text": TEXTS, "rude": ["yes", "no", "no", "no"]}, {}, "column rude: expected numbers"),
        ({"text": TEXTS, "rude": [None] * 4}, {}, "every label of every row is empty"),
        (
            {"text": ["a", " ", "c", None], "rude": [0, 1, 0, 1]},
            {},
            "none in 2, the first in row 2",
        ),
        ({"text": [], "rude": []}, {}, "empty table"),
        ({"text": TEXTS, "rude": [0, 1, 0, 1]}, {"slices": ("tone",)}, "no column tone"),
        ({"text": TEXTS, "rude": [0, 1, 0, 1]}, {"where": {"rude": "7"}}, "found 0, 1$"),
        (
            {"text": TEXTS, "rude": [0, 1, 0, 1]},
            {"labels": {"rud": "rude"}},
            "did you mean 'rude'",
        ),
        ({"text": TEXTS, "rude": [0, 1, 0, 1]}, {"target": "rude"}, "columns of the labels"),
    ],
)
def test_what_is_amiss_is_named(table: Table, columns: dict, options: dict, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read_labelled(table(**columns), known=("rude", "advert"), task="multi_label", **options)
    assert "three words here" not in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (["sport", "money", "secret things", "sport"], "1 of its values are no class of the model"),
        (["sport", "money", None, "sport"], "row 3: expected a class, found nothing"),
        (["sport"] * 4, "two classes or more, found one"),
    ],
)
def test_classes_that_are_amiss(table: Table, labels: list, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        read_labelled(table(text=TEXTS, label=labels), known=("sport", "money"), task="multi_class")
    assert "secret things" not in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found none there"):
        read_labelled(tmp_path / "no.csv", known=("rude",), task="multi_label")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 but not really")
    with pytest.raises(ConfigError, match="cannot be read as parquet"):
        read_labelled(tmp_path / "broken.parquet", known=("rude",), task="multi_label")
    (tmp_path / "table.xlsx").write_bytes(b"")
    with pytest.raises(ConfigError, match="ends in"):
        read_labelled(tmp_path / "table.xlsx", known=("rude",), task="multi_label")
