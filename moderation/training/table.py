"""Tables as people have them: CSV, TSV, JSON lines and Parquet.

A file that somebody hands in may hold texts in any place, its first line and its columns of classes
among them. So errors name lines, rows and counts, and quote only what reads like a name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moderation.errors import ConfigError, MissingExtraError
from moderation.training.hub import read_hub

if TYPE_CHECKING:
    import pandas

_SEPARATORS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")
# What is quoted in an error: as many names, of as many characters and words.
_MOST, _LONGEST, _WORDS = 60, 40, 3


def read_table(file: Path) -> pandas.DataFrame:
    """A CSV, TSV, JSON-lines or Parquet file, told by its ending, or a folder of `hub_folder`.

    Rows are numbered from 0. Raises ConfigError, naming the file and where it can be told the line,
    for what cannot be read.
    """
    try:
        import pandas
    except ImportError as error:
        raise MissingExtraError("pandas", extra="train", needed_for="training") from error
    if file.is_dir():
        return read_hub(file)
    ending = file.suffix.lower()
    if ending not in _ENDINGS:
        raise ConfigError(
            f"expected a name that ends in {', '.join(_ENDINGS)}, found {file.suffix!r}",
            where=str(file),
        )
    try:
        if ending == ".parquet":
            frame: pandas.DataFrame = pandas.read_parquet(file).reset_index(drop=True)
            return frame
        if ending == ".jsonl":
            return _json_lines(file)
        return _separated(file, "\t" if ending == ".tsv" else ",")
    except FileNotFoundError:
        raise ConfigError(
            "no such file; set data_root in the recipe, or MODERATION_DATA, to its folder",
            where=str(file),
        ) from None
    except UnicodeDecodeError:
        raise ConfigError(
            "expected UTF-8, found other bytes; save the file in UTF-8", where=str(file)
        ) from None
    except pandas.errors.EmptyDataError:
        raise ConfigError("expected a table, found an empty file", where=str(file)) from None
    except pandas.errors.ParserError as error:
        # The message may quote the file, so only the number is passed on.
        found = re.search(r"line (\d+)", str(error))
        raise ConfigError(
            f"cannot be read as {ending[1:]}{f', line {found[1]}' if found else ''}: more fields "
            "than the first line names, or a quotation mark that is never closed",
            where=str(file),
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot be read as {ending[1:]} ({type(error).__name__})", where=str(file)
        ) from error


def _separated(file: Path, separator: str) -> pandas.DataFrame:
    import pandas

    with file.open(encoding="utf-8-sig") as lines:
        first = lines.readline()
    other = next((sign for sign in _SEPARATORS if sign in first), separator)
    if separator not in first and other != separator:
        raise ConfigError(
            f"expected {_SEPARATORS[separator]} between the names in the first line, found "
            f"{_SEPARATORS[other]}; save the file with commas as .csv, or with tabs as .tsv",
            where=str(file),
        )
    # "NA" and "null" are words that people write; only an empty cell says nothing.
    frame: pandas.DataFrame = pandas.read_csv(
        file, sep=separator, encoding="utf-8-sig", keep_default_na=False, na_values=[""]
    )
    if not isinstance(frame.index, pandas.RangeIndex):
        # pandas would take the first fields for names of the rows, and shift all others.
        raise ConfigError(
            "the rows have more fields than the first line has names; put fields that hold "
            f"{_SEPARATORS[separator]} into quotation marks, or name every column",
            where=str(file),
        )
    return frame


def _json_lines(file: Path) -> pandas.DataFrame:
    """Values as they were written: pandas' own reader takes the text "007" for the number 7."""
    import pandas

    records = []
    with file.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise ConfigError(
                    f'line {number}: expected a JSON object, such as {{"text": …}}; every line '
                    "is a row of its own",
                    where=str(file),
                )
            records.append(record)
    if not records:
        raise ConfigError("expected a table, found an empty file", where=str(file))
    frame: pandas.DataFrame = pandas.DataFrame(records, dtype=object)
    for name in frame.columns:
        kinds = {type(value) for value in frame[name].dropna()}
        if kinds and kinds <= {int, float}:
            frame[name] = pandas.to_numeric(frame[name])
        elif kinds == {bool} and frame[name].notna().all():
            frame[name] = frame[name].astype(bool)
    return frame


def require(frame: pandas.DataFrame, columns: Iterable[str], file: Path) -> None:
    """Raises ConfigError where `frame` lacks one of `columns`."""
    there = [str(name) for name in frame.columns]
    if missing := [name for name in dict.fromkeys(columns) if name not in there]:
        raise ConfigError(
            f"no column {', '.join(missing)}; the file has {named_columns(frame)}", where=str(file)
        )


def named_columns(frame: pandas.DataFrame) -> str:
    """The columns, for an error message; not the first row of a file that names none."""
    names = [str(name) for name in frame.columns]
    if any(re.fullmatch(r"[-+.\d]+", name) for name in names) or not _speakable(names):
        return (
            f"{len(names)} that are not quoted, since they read like a row of data; the first line "
            "has to hold the names"
        )
    return ", ".join(names)


def named(values: Iterable[object]) -> str:
    """Values of a column, for an error message; how many, where they may be what people wrote."""
    names = list(dict.fromkeys(map(str, values)))
    return ", ".join(names) if _speakable(names) else f"{len(names):,} that read like texts"


def _speakable(names: Sequence[str]) -> bool:
    return len(names) <= _MOST and all(
        len(name) <= _LONGEST and len(name.split()) <= _WORDS for name in names
    )


def texts_of(frame: pandas.DataFrame, columns: Sequence[str], file: Path) -> list[str]:
    """The columns of each row joined by line breaks; an empty cell is an empty text.

    Raises ConfigError for a column that holds something else than texts or numbers.
    """
    found = []
    for column in columns:
        values: list[Any] = frame[column].astype(object).where(frame[column].notna(), "").tolist()
        for row, value in enumerate(values):
            if not isinstance(value, str):
                if isinstance(value, bytes) or hasattr(value, "__len__"):
                    raise ConfigError(
                        f"column {column}, row {frame.index[row] + 1}: expected a text, found a "
                        f"value of type {type(value).__name__}",
                        where=str(file),
                    )
                values[row] = str(value)
        found.append(values)
    return ["\n".join(parts) for parts in zip(*found, strict=True)]
