"""Tables as people upload them: CSV, JSON lines or Parquet in, the verdicts beside them out."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moderation.errors import ContentError, MissingExtraError

MAX_BYTES = 100_000_000
"""The largest file."""

MAX_ROWS = 200_000
"""The most rows: what a visit keeps has to fit beside that of others."""

MAX_COLUMNS = 200

ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")

TEXT_COLUMNS = ("text", "comment_text", "comment", "content", "message", "body", "tweet", "post")
"""What a column of texts is often called."""

_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig", "UTF-8"),
    (b"\xff\xfe\x00\x00", "utf-32", "UTF-32"),
    (b"\x00\x00\xfe\xff", "utf-32", "UTF-32"),
    (b"\xff\xfe", "utf-16", "UTF-16"),
    (b"\xfe\xff", "utf-16", "UTF-16"),
)
_BINARY = (
    (b"PK\x03\x04", "an Excel workbook or another zip file"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook"),
    (b"%PDF", "a PDF"),
    (b"\x1f\x8b", "a gzip file"),
    (b"PAR1", "a Parquet file"),
)


@dataclass(frozen=True)
class Table:
    """Columns by name, each with one value a row; `notes` say what was done to read it."""

    columns: dict[str, list[Any]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def guess(self) -> str:
        """The column that most likely holds the texts: by its name, else the longest values."""
        for name in self.columns:
            if name.strip().lower() in TEXT_COLUMNS:
                return name
        return max(self.columns, key=lambda name: sum(_length(v) for v in self.columns[name][:200]))

    def texts(self, column: str) -> tuple[list[str], tuple[str, ...]]:
        """The values of a column as texts, and notes about those that were none.

        Raises:
            ContentError: there is no such column, or it holds what is no text.
        """
        if column not in self.columns:
            raise ContentError(
                f"expected a column of the file, found another name; it has {named(self.columns)}"
            )
        texts, numbers, missing = [], 0, 0
        for row, value in enumerate(self.columns[column], start=1):
            if isinstance(value, str):
                texts.append(value)
            elif value is None or value != value:  # NaN, as Parquet may have it
                texts.append("")
                missing += 1
            elif isinstance(value, (int, float)):
                texts.append(str(value))
                numbers += 1
            else:
                raise ContentError(
                    f"row {row:,}: expected a text in this column, found a "
                    f"{type(value).__name__}; choose another column"
                )
        blank = sum(not text.strip() for text in texts)
        notes = []
        if blank:
            notes.append(f"{blank:,} rows have no text in this column and are allowed as empty")
        if numbers:
            notes.append(f"{numbers:,} rows hold a number, which is read as its digits")
        return texts, tuple(notes)

    def labels(self, categories: Sequence[str]) -> dict[str, list[float]]:
        """Columns named as a category that hold numbers from 0 to 1; NaN where there is none."""
        found = {}
        for category in categories:
            values = [_label(value) for value in self.columns.get(category, ())]
            known = [value for value in values if value == value]
            if known and all(0 <= value <= 1 for value in known):
                found[category] = values
        return found


def read(path: Path, name: str = "") -> Table:
    """Read a table by the ending of its name.

    Args:
        path: where it lies.
        name: what it was called, if not as `path`; only its ending is looked at.

    Raises:
        ContentError: it cannot be read; says where and what to do.
        MissingExtraError: Parquet needs pyarrow.
    """
    ending = Path(name or path.name).suffix.lower()
    if ending not in ENDINGS:
        raise ContentError(
            f"expected a name that ends in {', '.join(ENDINGS)}; save the table as CSV (UTF-8)"
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ContentError(
                f"expected at most {MAX_BYTES / 1e6:,.0f} MB, found {size / 1e6:,.0f}; split the "
                "file, or run it with `moderation check --file`"
            )
        if not size:
            raise ContentError("the file is empty; choose one with a row of names and texts")
        if ending == ".parquet":
            return _parquet(path)
        data = path.read_bytes()
    except OSError as error:
        raise ContentError(
            f"the file cannot be read ({error.strerror or type(error).__name__}); upload it again"
        ) from None
    text, notes = _decoded(data)
    columns = _jsonl(text) if ending in (".jsonl", ".ndjson") else _csv(text, ending)
    return Table(columns, notes)


def named(columns: Mapping[str, Any]) -> str:
    """The names of columns for a message: not many, and not long."""
    names = [_short(name) for name in list(columns)[:12]]
    more = f" and {len(columns) - 12} more" if len(columns) > 12 else ""
    return ", ".join(names) + more


def write(columns: Mapping[str, Sequence[Any]], path: Path) -> None:
    """Write a table as what the ending of `path` says.

    Raises:
        MissingExtraError: Parquet needs pyarrow.
    """
    if path.suffix == ".parquet":
        pyarrow = _pyarrow()
        # One column may hold numbers and texts: then all of it is written as texts.
        made = {}
        for name, values in columns.items():
            try:
                made[name] = pyarrow.array(values)
            except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
                told = [None if value is None else _told(value) for value in values]
                made[name] = pyarrow.array(told, pyarrow.string())
        pyarrow.parquet.write_table(pyarrow.table(made), path)
        return
    rows: Iterator[tuple[Any, ...]] = zip(*columns.values(), strict=True)
    with path.open("w", encoding="utf-8", errors="replace", newline="") as file:
        if path.suffix == ".csv":
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows([_told(value) for value in row] for row in rows)
        else:
            for row in rows:
                entry = {
                    name: value if value == value else None
                    for name, value in zip(columns, row, strict=True)
                }
                file.write(json.dumps(entry, ensure_ascii=False, default=str) + "\n")


def _decoded(data: bytes) -> tuple[str, tuple[str, ...]]:
    for mark, what in _BINARY:
        if data.startswith(mark):
            raise ContentError(f"expected text, found {what}; save the table as CSV (UTF-8)")
    for mark, encoding, told in _MARKS:
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError as error:
                raise ContentError(
                    f"the file says that it is {told}, and byte {error.start + 1:,} is not; save "
                    "it again as CSV (UTF-8)"
                ) from None
            return text.removeprefix("\ufeff"), () if told == "UTF-8" else (f"read as {told}",)
    if b"\0" in data[:10_000]:
        raise ContentError(
            "expected text, found zero bytes: UTF-16 without a mark, or no text at all; save the "
            "table as CSV (UTF-8)"
        )
    try:
        return data.decode("utf-8"), ()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        note = (
            f"not UTF-8 (first in line {line:,}), so read as Windows-1252: look at accented "
            "letters, and save the file as UTF-8 if they are wrong"
        )
        return data.decode("cp1252", errors="replace"), (note,)


def _csv(text: str, ending: str) -> dict[str, list[Any]]:
    head = text.lstrip("\r\n").partition("\n")[0]
    counts = {sign: head.count(sign) for sign in ",;\t"}
    sign = "\t" if ending == ".tsv" else max(counts, key=lambda each: counts[each])
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sign, strict=True)
    columns: dict[str, list[Any]] = {}
    count, began = 0, 1
    try:
        for row in reader:
            line, began = began, reader.line_num + 1
            if not row:
                continue
            if not columns:
                columns = _head(row)
                lists = list(columns.values())
                continue
            if len(row) != len(lists):
                raise ContentError(
                    f"line {line:,}: expected {len(lists)} values as in the first line, found "
                    f"{len(row)}; a quote or a separator may be missing in it or before it"
                )
            count += 1
            _enough(count)
            for values, value in zip(lists, row, strict=True):
                values.append(value)
    except csv.Error as error:
        # csv's own messages do not quote the file.
        what = (
            "a value of over 131,072 characters, or a quote that is never closed"
            if "field larger" in str(error)
            else "a quote that is never closed"
            if "unexpected end" in str(error)
            else f"a broken quote ({error})"
        )
        raise ContentError(
            f'line {began:,}: {what}; a value with quotes in it is written "like ""this"""'
        ) from None
    if not columns or not count:
        raise ContentError("no rows; expected a first line with names and texts below it")
    return columns


def _jsonl(text: str) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    count = 0
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError) as error:
            column = f", column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            what = "is no JSON" if number > 1 or line.strip() != "[" else "starts a JSON array"
            raise ContentError(
                f"line {number:,}{column}: the line {what}; expected one object a line, as in "
                '{"text": "…"}'
            ) from None
        if not isinstance(entry, dict):
            raise ContentError(
                f'line {number:,}: expected an object, as in {{"text": "…"}}, found a '
                f"{type(entry).__name__}"
            )
        for name in entry:
            if name not in columns:
                if len(columns) >= MAX_COLUMNS:
                    raise ContentError(f"line {number:,}: more than {MAX_COLUMNS} columns")
                columns[name] = [None] * count
        for name, values in columns.items():
            values.append(entry.get(name))
        count += 1
        _enough(count)
    if not columns:
        raise ContentError('no rows; expected one JSON object a line, as in {"text": "…"}')
    return columns


def _parquet(path: Path) -> Table:
    pyarrow = _pyarrow()
    try:
        file = pyarrow.parquet.ParquetFile(path)
        _enough(file.metadata.num_rows)
        groups = range(file.metadata.num_row_groups)
        size = sum(file.metadata.row_group(group).total_byte_size for group in groups)
        if size > 10 * MAX_BYTES:
            raise ContentError(f"unpacked it is {size / 1e6:,.0f} MB; split the file")
        if len(file.schema_arrow.names) > MAX_COLUMNS:
            raise ContentError(f"more than {MAX_COLUMNS} columns; leave out what is not needed")
        names = _head(file.schema_arrow.names)
        read = file.read()
        columns = {name: read.column(at).to_pylist() for at, name in enumerate(names)}
    except (pyarrow.ArrowException, OSError) as error:
        raise ContentError(
            f"the file cannot be read as Parquet ({type(error).__name__}); it may be cut off: "
            "upload it again"
        ) from None
    if not columns or not file.metadata.num_rows:
        raise ContentError("no rows; expected a table with a column of texts")
    return Table(columns)


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("pyarrow", extra="ui", needed_for="Parquet") from error
    return pyarrow


def _head(names: Sequence[str]) -> dict[str, list[Any]]:
    """An empty column for each name; what has none, or another's, is numbered."""
    if len(names) > MAX_COLUMNS:
        raise ContentError(f"more than {MAX_COLUMNS} columns; leave out what is not needed")
    columns: dict[str, list[Any]] = {}
    for number, name in enumerate(names, start=1):
        found = name.strip() or f"column {number}"
        columns[found if found not in columns else f"{found} ({number})"] = []
    return columns


def _enough(count: int) -> None:
    if count > MAX_ROWS:
        raise ContentError(
            f"more than {MAX_ROWS:,} rows; split the file, or run it with `moderation check --file`"
        )


def _label(value: Any) -> float:
    if value is None or value == "":
        return float("nan")
    try:
        return float({"true": 1, "false": 0}.get(str(value).strip().lower(), value))
    except (TypeError, ValueError):
        return float("inf")


def _length(value: Any) -> int:
    return len(value) if isinstance(value, str) else 0


def _told(value: Any) -> str:
    if value is None or value != value:
        return ""
    return value if isinstance(value, str) else str(value)


def _short(name: str) -> str:
    told = "".join(char if char.isprintable() else "?" for char in name)
    return told if len(told) <= 40 else told[:39] + "…"
