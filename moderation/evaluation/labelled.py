"""A labelled file as it is measured: texts, what is known of them, and columns to slice by."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ConfigError
from moderation.policy import did_you_mean
from moderation.training.data import Rows, Spans, read_spans
from moderation.training.table import named_columns, read_table, require, texts_of

if TYPE_CHECKING:
    import pandas

Task: TypeAlias = Literal["multi_label", "multi_class"]
LENGTH = "length"
"""A slice that every file has: words of the text."""
LENGTHS = {"1 to 5 words": 5, "6 to 15 words": 15, "16 to 40 words": 40, "41 to 100 words": 100}
LONGER = "over 100 words"
CLASS_COLUMNS = ("label_name", "label", "class", "target", "category")
FEW_VALUES = 20
"""A column with more values than this is no list of names: numbers are sliced into quarters."""


@dataclass(frozen=True)
class Labelled:
    """Texts and what is known of them; every field has one entry a row.

    `targets` is [n, labels] from 0 to 1, NaN where a label is not known; for multi_class a single
    1 in each row. `numbers` are places in the file, from 1. `spans` is None where nobody marked
    characters.
    """

    name: str
    task: Task
    labels: tuple[str, ...]
    texts: list[str]
    targets: NDArray[np.float32]
    numbers: NDArray[np.int64]
    slices: dict[str, NDArray[np.str_]]
    spans: list[Spans | None]

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, chosen: NDArray[np.bool_]) -> Labelled:
        places = np.flatnonzero(chosen)
        return Labelled(
            self.name,
            self.task,
            self.labels,
            [self.texts[place] for place in places],
            self.targets[places],
            self.numbers[places],
            {name: values[places] for name, values in self.slices.items()},
            [self.spans[place] for place in places],
        )

    def drawn(self, count: int, seed: int = 0) -> Labelled:
        """At most `count` rows, drawn without replacement, in their order."""
        chosen = np.zeros(len(self), np.bool_)
        chosen[np.random.default_rng(seed).permutation(len(self))[:count]] = True
        return self.where(chosen)

    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any text or label."""
        digest = hashlib.sha256(np.nan_to_num(self.targets, nan=-1).astype("<f4").tobytes())
        for text in self.texts:
            digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
        return digest.hexdigest()[:16]


def from_rows(rows: Rows, labels: Sequence[str], task: Task, name: str) -> Labelled:
    """What a training run measures: slices by source, and by kind where the rows have kinds."""
    slices = {"source": rows.sources}
    if (rows.kinds != "").any():
        slices["kind"] = rows.kinds
    numbers = np.arange(1, len(rows) + 1)
    return Labelled(
        name, task, tuple(labels), rows.texts, rows.targets, numbers, slices, rows.spans
    )


def read_labelled(
    path: str | Path,
    *,
    known: Sequence[str],
    task: Task,
    text: Sequence[str] = ("text",),
    labels: Mapping[str, str] | None = None,
    target: str | None = None,
    slices: Sequence[str] = (),
    spans: str | None = None,
    where: Mapping[str, str] | None = None,
) -> Labelled:
    """Reads CSV, TSV, JSON lines or Parquet.

    Args:
        known: the labels of the system that is going to be measured.
        text: columns, joined by a line break where there are several.
        labels: label to column; by default every known label that is a column of the file.
        target: column with the class of a multi_class file; by default one with a usual name.
        slices: columns to tell numbers apart by; `length` is words of the text.
        spans: column with [[begin, end], ...] in characters.
        where: column to the value that rows must have.

    Raises:
        ConfigError: the file, a column, a label or a text is not as expected; names the place.
    """
    file = Path(path)
    if not file.is_file():
        raise ConfigError("expected a data file, found none there", where=str(file))
    frame = read_table(file)
    mapping = dict(labels or {})
    if task == "multi_class" and mapping:
        raise ConfigError(
            "a model that picks one of many is measured on one column of classes: name it as the "
            "target, not labels",
            where=str(file),
        )
    if task == "multi_label" and target:
        raise ConfigError(
            "a target column holds classes, but this system gives each label a score of its own: "
            "name the columns of the labels instead",
            where=str(file),
        )
    if unknown := sorted(set(mapping) - set(known)):
        raise ConfigError(
            f"nothing reports {unknown[0]!r}; {did_you_mean(unknown[0], sorted(known))}",
            where=str(file),
        )
    columns = [str(column) for column in frame.columns]
    if task == "multi_label" and not mapping:
        mapping = {label: label for label in known if label in columns}
        if not mapping:
            raise ConfigError(
                f"expected a column for at least one of {', '.join(known)}; found "
                f"{named_columns(frame)}; say which column holds which label",
                where=str(file),
            )
    if task == "multi_class" and target is None:
        target = next((name for name in CLASS_COLUMNS if name in columns), None)
        if target is None:
            raise ConfigError(
                f"expected a column with the class; found {named_columns(frame)}; name it",
                where=str(file),
            )
    wanted = [*text, *mapping.values(), *([target] if target else []), *([spans] if spans else [])]
    wanted += [name for name in slices if name != LENGTH]
    frame, numbers = _rows(frame, [*wanted, *(where or {})], where or {}, file)
    texts = _texts(frame, text, numbers, file)
    if task == "multi_class":
        names = tuple(known)
        targets = _classes(frame, str(target), names, numbers, file)
    else:
        names = tuple(label for label in known if label in mapping)
        targets = np.full((len(frame), len(names)), np.nan, np.float32)
        for place, label in enumerate(names):
            targets[:, place] = _numbers(frame, mapping[label], numbers, file)
        if np.isnan(targets).all():
            raise ConfigError("every label of every row is empty", where=str(file))
    marked: list[Spans | None] = [None] * len(texts)
    if spans:
        marked = [
            read_spans(value, text_, f"{file}: row {number}, column {spans}")
            for value, text_, number in zip(frame[spans], texts, numbers, strict=True)
        ]
    sliced = {
        name: lengths(texts) if name == LENGTH and name not in columns else _values(frame[name])
        for name in slices
    }
    return Labelled(file.name, task, names, texts, targets, numbers, sliced, marked)


def _rows(
    frame: pandas.DataFrame, wanted: Sequence[str], where: Mapping[str, str], file: Path
) -> tuple[pandas.DataFrame, NDArray[np.int64]]:
    require(frame, wanted, file)
    if not len(frame):
        raise ConfigError("expected rows, found an empty table", where=str(file))
    chosen = np.ones(len(frame), np.bool_)
    for column, value in where.items():
        chosen &= (frame[column].astype(str) == value).to_numpy(np.bool_)
        if not chosen.any():
            values = sorted({str(item) for item in frame[column].head(10_000)})
            # A column of many or of long values may be what people wrote.
            few = len(values) <= FEW_VALUES and max(map(len, values)) <= 30
            found = ", ".join(values) if few else f"{len(values):,} others"
            raise ConfigError(f"no row has {column} = {value!r}; found {found}", where=str(file))
    return frame[chosen], np.flatnonzero(chosen) + 1


def _texts(
    frame: pandas.DataFrame, columns: Sequence[str], numbers: NDArray[np.int64], file: Path
) -> list[str]:
    texts = texts_of(frame, columns, file)
    empty = [number for number, text in zip(numbers, texts, strict=True) if not text.strip()]
    if empty:
        raise ConfigError(
            f"expected a text in every row, found none in {len(empty):,}, the first in row "
            f"{empty[0]}; remove them, or name another column",
            where=str(file),
        )
    return texts


def _numbers(
    frame: pandas.DataFrame, column: str, numbers: NDArray[np.int64], file: Path
) -> NDArray[np.float32]:
    import pandas

    try:
        values: NDArray[np.float32] = pandas.to_numeric(frame[column]).to_numpy(
            np.float32, na_value=np.nan
        )
    except (ValueError, TypeError):
        raise ConfigError(
            f"column {column}: expected numbers from 0 to 1, or nothing, found something else",
            where=str(file),
        ) from None
    outside = np.flatnonzero((values < 0) | (values > 1) | np.isinf(values))
    if len(outside):
        raise ConfigError(
            f"column {column}, row {numbers[outside[0]]}: expected a number from 0 to 1, or "
            f"nothing, found {values[outside[0]]:g}",
            where=str(file),
        )
    return values


def _classes(
    frame: pandas.DataFrame,
    column: str,
    names: tuple[str, ...],
    numbers: NDArray[np.int64],
    file: Path,
) -> NDArray[np.float32]:
    place = {name: index for index, name in enumerate(names)}
    empty = np.flatnonzero(frame[column].isna().to_numpy())
    if len(empty):
        raise ConfigError(
            f"column {column}, row {numbers[empty[0]]}: expected a class, found nothing "
            f"({len(empty):,} such rows)",
            where=str(file),
        )
    values = frame[column].astype(str).tolist()
    found = set(values)
    if not found <= set(place):
        # Numbers count the classes in the order in which the model has them.
        if found <= {str(index) for index in range(len(names))}:
            place = {str(index): index for index in range(len(names))}
        else:
            raise ConfigError(
                f"column {column}: {len(found - set(place))} of its values are no class of the "
                f"model; expected {', '.join(names)}",
                where=str(file),
            )
    if len(found) < 2:
        raise ConfigError(
            f"column {column}: expected two classes or more, found one", where=str(file)
        )
    targets: NDArray[np.float32] = np.eye(len(names), dtype=np.float32)[
        [place[value] for value in values]
    ]
    return targets


def lengths(texts: Sequence[str]) -> NDArray[np.str_]:
    """The slice `length`."""
    names = [*LENGTHS, LONGER]
    words = np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))
    return np.asarray(names)[np.searchsorted([*LENGTHS.values()], words)]


def _values(column: pandas.Series) -> NDArray[np.str_]:
    import pandas

    if pandas.api.types.is_float_dtype(column) and column.nunique() > FEW_VALUES:
        column = pandas.qcut(column, 4, duplicates="drop")
    values: NDArray[np.str_] = (
        column.astype(object).where(column.notna(), "(empty)").astype(str).to_numpy(dtype=np.str_)
    )
    return values


@dataclass(frozen=True)
class Columns:
    """A file as it is, faults and all; every field has one entry a row.

    `targets` is [n, labels], NaN where a label is not known; `classes` is empty strings where no
    column holds classes.
    """

    texts: list[str]
    labels: tuple[str, ...]
    targets: NDArray[np.float32]
    classes: list[str]
    splits: list[str] | None


def read_columns(
    file: Path,
    *,
    text: Sequence[str],
    labels: Sequence[str],
    target: str | None,
    split: str | None,
) -> Columns:
    """As `read_labelled`, but for texts and labels that are amiss: those are what is looked for.

    `labels` are by default the columns of numbers from 0 to 1; `split` is by default the column
    of that name.

    Raises ConfigError for a file or a column that is not there.
    """
    import pandas

    if not file.is_file():
        raise ConfigError("expected a data file, found none there", where=str(file))
    frame = read_table(file)
    if split is None and "split" in frame.columns:
        split = "split"
    wanted = [*text, *labels, *([target] if target else []), *([split] if split else [])]
    frame, numbers = _rows(frame, wanted, {}, file)
    names = list(labels)
    if not names and not target:
        for column in frame.columns:
            values = frame[column]
            if column != target and pandas.api.types.is_numeric_dtype(values):
                known = values.dropna()
                if len(known) and known.between(0, 1).all():
                    names.append(str(column))
    targets = np.full((len(frame), len(names)), np.nan, np.float32)
    for place, name in enumerate(names):
        targets[:, place] = _numbers(frame, name, numbers, file)
    return Columns(
        texts_of(frame, text, file),
        tuple(names),
        targets,
        _values(frame[target]).tolist() if target else [""] * len(frame),
        _values(frame[split]).tolist() if split else None,
    )
