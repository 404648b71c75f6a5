"""Files as people have them, faults and all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pandas = pytest.importorskip("pandas")

from moderation.errors import ConfigError  # noqa: E402
from moderation.training.table import read_table, require, texts_of  # noqa: E402

ROWS = [{"text": f"secret {number}", "rude": number % 2} for number in range(4)]
LINES = "\n".join(json.dumps(row) for row in ROWS)
CSV = "text,rude\n" + "\n".join(f"{row['text']},{row['rude']}" for row in ROWS)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("data.csv", CSV),
        ("data.csv", b"\xef\xbb\xbf" + CSV.encode()),
        ("DATA.CSV", CSV.replace("\n", "\r\n")),
        ("data.tsv", CSV.replace(",", "\t")),
        ("data.jsonl", LINES),
        ("data.jsonl", b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n\r\n").encode()),
    ],
)
def test_one_table_in_many_files(tmp_path: Path, name: str, content: str | bytes) -> None:
    file = written(tmp_path, name, content)
    frame = read_table(file)

    assert list(frame.columns) == ["text", "rude"]
    assert texts_of(frame, ["text"], file) == [row["text"] for row in ROWS]
    assert frame["rude"].tolist() == [0, 1, 0, 1]


def test_values_of_json_lines_stay_what_they_are(tmp_path: Path) -> None:
    """A text of digits is no number, and half a character is no fault."""
    rows = [
        {"text": "007", "label": True, "score": 1},
        {"text": "2020-01-01", "label": False, "score": None},
        {"text": "a \ud800 b", "label": True},
    ]
    file = written(tmp_path, "data.jsonl", "\n".join(json.dumps(row) for row in rows))
    frame = read_table(file)

    assert texts_of(frame, ["text"], file) == ["007", "2020-01-01", "a \ud800 b"]
    assert frame["label"].tolist() == [True, False, True]
    assert frame["score"].isna().tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("data.csv", CSV.replace(",", ";"), "expected commas between .* found semicolons"),
        ("data.csv", CSV.replace(",", "\t"), "expected commas between .* found tabs"),
        ("data.tsv", CSV, "expected tabs between .* found commas"),
        ("data.csv", CSV.encode("utf-16"), "expected UTF-8, found other bytes"),
        ("data.csv", CSV.replace("secret", "secr\xe9t").encode("latin-1"), "expected UTF-8"),
        ("data.csv", CSV + "\nsecret, with a comma,1", "line 6: more fields than the first line"),
        ("data.csv", CSV + '\n"secret,1\nsecret,0', "never closed"),
        ("data.csv", CSV.replace("\nsecret", "\nsecret,secret"), "quotation marks, or name every"),
        ("data.csv", "", "found an empty file"),
        ("data.jsonl", "\n", "found an empty file"),
        ("data.jsonl", LINES + '\n{"text": "secret', "line 5: expected a JSON object"),
        ("data.jsonl", '\n["secret", 1]', "line 2: expected a JSON object"),
        ("data.jsonl", "[" + LINES.replace("\n", ",\n") + "]", "line 1: expected a JSON object"),
        ("data.jsonl", LINES.encode("utf-16"), "expected UTF-8, found other bytes"),
        ("data.parquet", "secret", "cannot be read as parquet"),
        ("data.csv.gz", "secret", "a name that ends in .csv"),
    ],
)
def test_what_cannot_be_read_is_said_without_a_text(
    tmp_path: Path, name: str, content: str | bytes, expected: str
) -> None:
    file = written(tmp_path, name, content)
    with pytest.raises(ConfigError, match=expected) as caught:
        read_table(file)
    assert str(file) in str(caught.value)
    assert "secr" not in str(caught.value)


def test_a_missing_column_is_told_beside_those_that_are_there(tmp_path: Path) -> None:
    file = written(tmp_path, "data.csv", CSV)
    with pytest.raises(ConfigError, match=r"no column body; the file has text, rude$"):
        require(read_table(file), ["body", "text"], file)


@pytest.mark.parametrize("first", ["secret,0", "secret words in a row,insult"])
def test_a_file_without_names_in_its_first_line_is_not_quoted(tmp_path: Path, first: str) -> None:
    file = written(tmp_path, "data.csv", f"{first}\nsecret words,1\n")
    with pytest.raises(ConfigError, match="the first line has to hold the names") as caught:
        require(read_table(file), ["text"], file)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "kind"), [(b"secret", "bytes"), (["secret"], "ndarray"), ({"a": "secret"}, "dict")]
)
def test_a_column_of_something_else_than_texts(tmp_path: Path, value: Any, kind: str) -> None:
    """Written out, such a value would be a text that nobody ever sent."""
    file = tmp_path / "data.parquet"
    # The places of the rows count, not the names that a filtered table kept for them.
    pandas.DataFrame({"text": [value, value]}, index=[7, 9]).to_parquet(file)
    with pytest.raises(ConfigError, match=f"column text, row 1: .* of type {kind}") as caught:
        texts_of(read_table(file), ["text"], file)
    assert "secret" not in str(caught.value)


def test_columns_are_joined_and_empty_cells_are_empty(tmp_path: Path) -> None:
    file = tmp_path / "data.parquet"
    pandas.DataFrame({"head": ["a", None], "number": [1, 2]}).to_parquet(file)
    assert texts_of(read_table(file), ["head", "number"], file) == ["a\n1", "\n2"]
