"""Tables as people upload them, with everything that is wrong with some."""

from __future__ import annotations

import codecs
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="the extra ui is not installed")

from moderation.errors import ContentError, MissingExtraError
from moderation.ui.table import Table, read, write


def made(folder: Path, name: str, data: bytes | str) -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_csv_as_it_should_be(tmp_path: Path) -> None:
    found = read(made(tmp_path, "a.csv", 'id,text\n1,"a ""b"", c\nd"\n2,null\n'))
    assert found.columns == {"id": ["1", "2"], "text": ['a "b", c\nd', "null"]}
    assert found.notes == ()
    assert found.guess() == "text"


@pytest.mark.parametrize(
    ("name", "text"), [("a.csv", "id;text\n1;a,b\n"), ("a.tsv", "id\ttext\n1\ta,b\n")]
)
def test_other_separators(tmp_path: Path, name: str, text: str) -> None:
    assert read(made(tmp_path, name, text)).columns == {"id": ["1"], "text": ["a,b"]}


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"text\ncaf\xc3\xa9\n", ""),
        (codecs.BOM_UTF8 + b"text\ncaf\xc3\xa9\n", ""),
        ("text\ncafé\n".encode("utf-16"), "UTF-16"),
        (codecs.BOM_UTF16_BE + "text\ncafé\n".encode("utf-16-be"), "UTF-16"),
        ("text\ncafé\n".encode("cp1252"), "line 2"),
    ],
)
def test_encodings(tmp_path: Path, data: bytes, note: str) -> None:
    found = read(made(tmp_path, "a.csv", data))
    assert found.columns == {"text": ["café"]}
    assert bool(found.notes) == bool(note)
    assert note in "".join(found.notes)


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"text\n", "no rows"),
        ("a.csv", b"\n\n", "no rows"),
        ("a.csv", b'id,text\n1,"fine"\n2,"open\n3,b\n', "line 3: a quote that is never closed"),
        ("a.csv", b'id,text\n1,"a"b\n', "line 2: a broken quote"),
        ("a.csv", b"id,text\n1,a\n2\n", "line 3: expected 2 values as in the first line, found 1"),
        ("a.csv", b"text\na,b\n", "line 2: expected 1 values"),
        ("a.csv", b"text\n" + b"a" * 140_000, "line 2: a value of over 131,072 characters"),
        ("a.csv", b"PK\x03\x04 and more", "found an Excel workbook"),
        ("a.csv", b"t\0e\0x\0t\0\n\0a\0", "UTF-16 without a mark"),
        ("a.csv", b"\xff\xfet\0e\0x\0t\0\n\0\x00\xd8", "says that it is UTF-16"),
        ("a.csv", ",".join(f"c{n}" for n in range(201)) + "\n", "more than 200 columns"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2, column 10: the line is no JSON"),
        ("a.jsonl", b'{"text": "a"}\n\n"b"\n', "line 3: expected an object"),
        ("a.jsonl", b'[\n{"text": "a"}\n]', "starts a JSON array"),
        ("a.jsonl", b"[" * 100_000, "line 1"),
        ("a.jsonl", b"\n \n", "no rows"),
        ("a.parquet", b"PAR1 cut off", "cannot be read as Parquet"),
        ("a.xlsx", b"PK", "expected a name that ends in .csv"),
        ("../../etc/passwd", b"x", "expected a name that ends in"),
        ("<img src=x onerror=alert(1)>.exe", b"x", "expected a name that ends in"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path: Path, name: str, data: Any, told: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    with pytest.raises(ContentError) as raised:
        read(made(tmp_path, "upload", data), name)
    assert told in str(raised.value)


def test_a_message_quotes_nothing_of_the_file(tmp_path: Path) -> None:
    for data in ('text\n"secret words"x\n', "text\nsecret,words\n", 'text\n"secret words\n'):
        with pytest.raises(ContentError) as raised:
            read(made(tmp_path, "a.csv", data))
        assert "secret" not in str(raised.value)
        assert "secret" not in repr(raised.value.__cause__)
    with pytest.raises(ContentError) as raised:
        read(made(tmp_path, "a.jsonl", '{"secret": words}'))
    assert "secret" not in str(raised.value)


def test_a_file_of_two_gigabytes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("wb") as file:
        os.truncate(file.fileno(), 2_000_000_000)  # a hole, that takes no room on the disk
    with pytest.raises(ContentError, match=r"at most 100 MB, found 2,000; split"):
        read(path)


def test_too_many_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moderation.ui.table.MAX_ROWS", 2)
    for name, line in (("a.csv", "text\n" + "a\n" * 3), ("a.jsonl", '{"text": "a"}\n' * 3)):
        with pytest.raises(ContentError, match="more than 2 rows"):
            read(made(tmp_path, name, line))


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="upload it again"):
        read(tmp_path / "a.csv")


def test_json_lines_with_different_names_in_each(tmp_path: Path) -> None:
    found = read(made(tmp_path, "a.jsonl", '{"text": "a"}\n{"text": "b", "n": 1}\n{"n": null}\n'))
    assert found.columns == {"text": ["a", "b", None], "n": [None, 1, None]}


def test_texts_of_a_column() -> None:
    table = Table({"text": ["a", None, " ", 3, float("nan")], "list": [[1], 2, 3, 4, 5]})
    texts, notes = table.texts("text")
    assert texts == ["a", "", " ", "3", ""]
    assert notes == (
        "3 rows have no text in this column and are allowed as empty",
        "1 rows hold a number, which is read as its digits",
    )
    with pytest.raises(ContentError, match="row 1: expected a text in this column, found a list"):
        table.texts("list")
    with pytest.raises(ContentError, match="it has text, list"):
        table.texts("other")


def test_columns_that_share_a_name_or_have_none(tmp_path: Path) -> None:
    found = read(made(tmp_path, "a.csv", "text,text,\na,b,c\n"))
    assert found.columns == {"text": ["a"], "text (2)": ["b"], "column 3": ["c"]}


def test_labels_are_columns_of_numbers_named_as_categories() -> None:
    table = Table({"toxic": ["0", "1", ""], "insult": ["0", "2", "1"], "threat": ["true", "", "0"]})
    found = table.labels(["toxic", "insult", "threat", "spam"])
    assert list(found) == ["toxic", "threat"]
    assert found["toxic"][:2] == [0.0, 1.0]
    assert found["toxic"][2] != found["toxic"][2]
    assert found["threat"][0] == 1.0


def test_parquet_without_pyarrow_says_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'moderation\[ui\]'"):
        read(made(tmp_path, "a.parquet", "PAR1"))


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_what_is_written_can_be_read(tmp_path: Path, ending: str) -> None:
    if ending == "parquet":
        pytest.importorskip("pyarrow")
    columns = {
        "text": ['a "b",\nc', "ü\u2028", None],
        "n": [0.5, None, 1.0],
        "mixed": [1, "a", None],
    }
    path = tmp_path / f"a.{ending}"
    write(columns, path)
    found = read(path).columns
    if ending == "csv":
        assert found == {
            "text": ['a "b",\nc', "ü\u2028", ""],
            "n": ["0.5", "", "1.0"],
            "mixed": ["1", "a", ""],
        }
    else:
        mixed = [1, "a", None] if ending == "jsonl" else ["1", "a", None]
        assert found == columns | {"mixed": mixed}


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@settings(deadline=None)
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=8))
def test_any_text_survives_a_round_trip(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("trip")
    columns = {"id": [one for one, _ in rows], "text": [two for _, two in rows]}
    for ending in ("csv", "jsonl"):
        path = folder / f"a.{ending}"
        write(columns, path)
        assert read(path).columns == columns


def test_half_a_character_can_be_written(tmp_path: Path) -> None:
    path = made(tmp_path, "a.jsonl", json.dumps({"text": "\ud83d"}))
    write(read(path).columns, tmp_path / "b.csv")
    assert read(tmp_path / "b.csv").columns == {"text": ["?"]}
