"""Labelled rows out of files, by recipe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ConfigError
from moderation.training.hub import HUB_SPLIT, hub_folder
from moderation.training.prepare import prepared
from moderation.training.recipe import (
    HUB,
    ContrastData,
    Recipe,
    TableData,
    TextData,
    data_file,
)
from moderation.training.table import named, named_columns, read_table, require, texts_of

if TYPE_CHECKING:
    import pandas

SPLITS = ("train", "validation", "test")
CONTRAST = "contrast"
# More different values than this, few of them twice, are no classes but texts or numbers of rows.
FEW_CLASSES = 50

Spans = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Rows:
    """Texts and what is known of them; every field has one entry a row.

    `targets` is [n, labels] from 0 to 1, NaN where a label is not known. `spans` is None where
    nobody marked characters. `splits` is empty where the file says none. `weights` says how often
    a row is seen in one epoch. `labels` names the columns of `targets`,
    `notes` says what was done to the rows.
    """

    texts: list[str]
    targets: NDArray[np.float32]
    sources: NDArray[np.str_]
    splits: NDArray[np.str_]
    weights: NDArray[np.float32]
    spans: list[Spans | None]
    kinds: NDArray[np.str_]
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    def where(self, chosen: NDArray[np.bool_]) -> Rows:
        places = np.flatnonzero(chosen)
        return Rows(
            [self.texts[place] for place in places],
            self.targets[places],
            self.sources[places],
            self.splits[places],
            self.weights[places],
            [self.spans[place] for place in places],
            self.kinds[places],
            self.labels,
            self.notes,
        )

    def part(self, split: str) -> Rows:
        return self.where(self.splits == split)

    def fingerprint(self) -> str:
        """Sixteen hex digits that change with any text, label, span, source or split."""
        digest = hashlib.sha256()
        digest.update(np.nan_to_num(self.targets, nan=-1).astype("<f4").tobytes())
        for text, source, split, spans in zip(
            self.texts, self.sources, self.splits, self.spans, strict=True
        ):
            record = json.dumps([text, str(source), str(split), spans], ensure_ascii=True)
            digest.update(record.encode())
        return digest.hexdigest()[:16]


def load_rows(recipe: Recipe, recipe_path: Path) -> Rows:
    """Everything that the recipe names, in its order.

    Raises ConfigError, naming the file and the place, for a missing file or column, a label out
    of range, an empty text, or a part without rows or with one class only.
    """
    parts = []
    for place, item in enumerate(recipe.data):
        if isinstance(item, ContrastData):
            parts.append(_contrast(recipe, item, f"{recipe_path}: data[{place}]"))
        elif isinstance(item, TextData):
            parts.append(_texts(recipe, item, _place(recipe, item, recipe_path)))
        else:
            parts.append(_table(recipe, item, _place(recipe, item, recipe_path)))
    rows = prepared(_unseen(_together(parts)), recipe, str(recipe_path))
    _check(recipe, rows, str(recipe_path))
    return rows


def _unseen(rows: Rows) -> Rows:
    """Without those rows nobody labelled whose text, but for case and spacing, another row has."""
    labelled = ~np.isnan(rows.targets).all(axis=1) | np.asarray([s is not None for s in rows.spans])
    if labelled.all():
        return rows
    keys = [" ".join(text.casefold().split()) for text in rows.texts]
    seen = {key for key, known in zip(keys, labelled, strict=True) if known}
    new = np.asarray([key not in seen for key in keys])
    return rows.where(labelled | new)


def _place(recipe: Recipe, data: TableData | TextData, recipe_path: Path) -> Path:
    if data.path.startswith(HUB):
        return hub_folder(data.path, str(recipe_path))
    return data_file(recipe_path, recipe, data.path)


def left_out_rows(recipe: Recipe, recipe_path: Path) -> Rows | None:
    """Labelled rows of the sources that the recipe drops, whatever their split.

    Nothing of them was trained on, so they say how the model does on a source it has not seen.
    """
    found = [
        _table(recipe, item, _place(recipe, item, recipe_path), left_out=True)
        for item in recipe.data
        if isinstance(item, TableData) and item.drop and item.source
    ]
    rows = _together(found) if found else None
    return rows if rows is not None and len(rows) else None


def _together(parts: Sequence[Rows]) -> Rows:
    labels = parts[0].labels
    if any(part.labels != labels for part in parts):
        # Classes that were found, not named: every file has its own.
        labels = tuple(sorted({label for part in parts for label in part.labels}))
        parts = [_aligned(part, labels) for part in parts]
    return Rows(
        [text for part in parts for text in part.texts],
        np.concatenate([part.targets for part in parts]),
        np.concatenate([part.sources for part in parts]),
        np.concatenate([part.splits for part in parts]),
        np.concatenate([part.weights for part in parts]),
        [spans for part in parts for spans in part.spans],
        np.concatenate([part.kinds for part in parts]),
        labels,
    )


def _aligned(rows: Rows, labels: tuple[str, ...]) -> Rows:
    targets = np.zeros((len(rows), len(labels)), np.float32)
    targets[:, [labels.index(label) for label in rows.labels]] = rows.targets
    return replace(rows, targets=targets, labels=labels)


def _check(recipe: Recipe, rows: Rows, where: str) -> None:
    for split in ("train", "validation"):
        targets = rows.targets[rows.splits == split]
        if not len(targets):
            raise ConfigError(
                f"no {split} rows; check the split column and the sources dropped", where=where
            )
        if recipe.task == "multi_class" and len(rows.labels) < 2:
            raise ConfigError(
                f"{len(rows.labels)} class in the data; a classifier needs two or more", where=where
            )
        for place, label in enumerate(rows.labels):
            known = targets[:, place][~np.isnan(targets[:, place])]
            if recipe.task == "multi_class" and not known.any():
                raise ConfigError(
                    f"class {label!r}, {split} part: no row ({len(targets):,} rows for "
                    f"{len(rows.labels)} classes); add rows, make the part larger, or merge sparse "
                    "classes with preparation.fewest",
                    where=where,
                )
            if not (known >= 0.5).any() or not (known < 0.5).any():
                found = f"{int((known >= 0.5).sum())} positive, {int((known < 0.5).sum())} negative"
                raise ConfigError(
                    f"label {label!r}, {split} part: {found}; a label needs both to be learnt "
                    "and calibrated: add data, or leave the label out",
                    where=where,
                )


def _table(recipe: Recipe, data: TableData, file: Path, *, left_out: bool = False) -> Rows:
    frame = read_table(file)
    columns = set(map(str, frame.columns))
    mapping = data.labels
    if mapping is None:
        mapping = {label: label for label in recipe.labels if label in columns}
        if not mapping and not data.spans and recipe.task == "multi_label":
            raise ConfigError(
                f"no column named as one of {', '.join(recipe.labels)}; the file has "
                f"{named_columns(frame)}; give labels: {{{recipe.labels[0]}: COLUMN}}",
                where=str(file),
            )
    needed = [*data.text, *mapping.values()]
    needed += [name for name in (data.target, data.spans, data.split, data.source) if name]
    needed += [name for rule in data.classes.values() for name in rule]
    require(frame, needed, file)
    if data.source:
        known = set(frame[data.source].astype(str))
        frame = frame[frame[data.source].astype(str).isin(data.drop) == left_out]
        if data.keep:
            frame = frame[frame[data.source].astype(str).isin(data.keep)]
    else:
        known = {data.name or file.stem}
    if not len(frame) and not left_out:
        raise ConfigError("no rows left", where=str(file))
    texts = _joined(frame, data.text, file)
    labels = recipe.labels
    if recipe.task == "multi_class":
        labels, targets = _classes(recipe, data, frame, file)
    else:
        targets = _labels(recipe, frame, mapping, file)
    sources = (
        frame[data.source].astype(str).to_numpy(dtype=np.str_)
        if data.source
        else np.full(len(frame), data.name or file.stem)
    )
    used = {*data.mask, *data.mask_unless, *data.weights, *data.keep}
    if data.source:
        used |= set(data.drop)
    if data.implied_zeros:
        used |= set(data.implied_zeros.sources)
    if unknown := sorted(used - known):
        raise ConfigError(
            f"keep, drop, mask, weights or implied_zeros name {', '.join(unknown)}, not among the "
            f"sources {named(sorted(known))}",
            where=str(file),
        )
    place = {label: index for index, label in enumerate(labels)}
    for source, rules in data.mask_unless.items():
        for label, other in rules.items():
            without = np.isnan(targets[:, place[other]])
            targets[(sources == source) & without, place[label]] = np.nan
    for source, masked in data.mask.items():
        for label in masked:
            targets[sources == source, place[label]] = np.nan
    if (implied := data.implied_zeros) is not None:
        civil = targets[:, place[implied.label]] <= implied.at_most
        civil &= np.isin(sources, implied.sources)
        for label in implied.labels:
            column = targets[:, place[label]]
            column[civil & np.isnan(column)] = 0
    weights = np.ones(len(texts), np.float32)
    for source, weight in data.weights.items():
        weights[sources == source] = weight
    for label, weight in data.positives.items():
        if label not in place:
            raise ConfigError(f"positives name {label}, not among the labels", where=str(file))
        scarce = targets[:, place[label]] >= 0.5
        weights[scarce] = np.maximum(weights[scarce], weight)
    split = data.split or (HUB_SPLIT if HUB_SPLIT in columns else None)
    splits = (
        frame[split].astype(str).to_numpy(dtype=np.str_)
        if split
        else np.full(len(texts), "", "U10")
    )
    if data.split and (strange := sorted(set(splits.tolist()) - set(SPLITS))):
        raise ConfigError(
            f"column {data.split}: expected {', '.join(SPLITS)}, found {named(strange)}",
            where=str(file),
        )
    spans: list[Spans | None] = [None] * len(texts)
    if data.spans:
        spans = [
            read_spans(value, text, f"{file}: row {frame.index[row] + 1}: {data.spans}")
            for row, (value, text) in enumerate(zip(frame[data.spans], texts, strict=True))
        ]
    kinds = np.full(len(texts), "")
    rows = Rows(texts, targets, sources, splits, weights, spans, kinds, labels)
    # Rows of which nothing is known that the recipe asks for have nothing to teach.
    taught = ~np.isnan(targets).all(axis=1) | np.asarray([s is not None for s in spans], np.bool_)
    if not taught.any() and not left_out:
        raise ConfigError(
            "nothing is known of any row: every label that the recipe uses is empty or masked",
            where=str(file),
        )
    return rows.where(taught)


def _joined(frame: pandas.DataFrame, columns: tuple[str, ...], file: Path) -> list[str]:
    missing = frame[list(columns)].isna().all(axis=1)
    if missing.any():
        row = int(np.flatnonzero(missing)[0])
        raise ConfigError(f"row {frame.index[row] + 1}: no text; remove the row", where=str(file))
    texts = texts_of(frame, columns, file)
    for row, text in enumerate(texts):
        if not text.strip():
            number = frame.index[row] + 1
            raise ConfigError(f"row {number}: empty text; remove the row", where=str(file))
    return texts


def _texts(recipe: Recipe, data: TextData, file: Path) -> Rows:
    frame = read_table(file)
    require(frame, data.text, file)
    texts = _joined(frame, data.text, file)
    return Rows(
        texts,
        np.full((len(texts), len(recipe.labels)), np.nan, np.float32),
        np.full(len(texts), data.name),
        np.full(len(texts), "train"),
        np.full(len(texts), data.weight, np.float32),
        [None] * len(texts),
        np.full(len(texts), ""),
        recipe.labels,
    )


def _labels(
    recipe: Recipe, frame: pandas.DataFrame, mapping: dict[str, str], file: Path
) -> NDArray[np.float32]:
    import pandas

    targets = np.full((len(frame), len(recipe.labels)), np.nan, np.float32)
    for label, column in mapping.items():
        try:
            values = pandas.to_numeric(frame[column]).to_numpy(np.float32, na_value=np.nan)
        except (ValueError, TypeError):
            raise ConfigError(
                f"column {column}: expected numbers from 0 to 1 or nothing", where=str(file)
            ) from None
        outside = (values < 0) | (values > 1) | np.isinf(values)
        if outside.any():
            row = int(np.flatnonzero(outside)[0])
            raise ConfigError(
                f"column {column}, row {frame.index[row] + 1}: expected a number from 0 to 1, "
                f"found {values[row]:g}",
                where=str(file),
            )
        targets[:, recipe.labels.index(label)] = values
    return targets


def _classes(
    recipe: Recipe, data: TableData, frame: pandas.DataFrame, file: Path
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """The classes, and [n, classes] with one 1 in every row; NaN in a row without a class."""
    from pandas.api.types import is_float_dtype

    if data.classes:
        values = np.full(len(frame), None, object)
        for name, rule in data.classes.items():
            fits = np.logical_and.reduce([frame[key] == value for key, value in rule.items()])
            if twice := [str(other) for other in values[fits] if other is not None]:
                raise ConfigError(
                    f"classes {twice[0]} and {name} both fit {len(twice)} rows; make the rules "
                    "exclude one another",
                    where=str(file),
                )
            values[fits] = name
    else:
        column = frame[data.target]
        if is_float_dtype(column) and (column.dropna() % 1 == 0).all():
            # Whole numbers, read as fractions because some are missing.
            column = column.astype("Int64")
        values = column.astype(object).where(column.notna(), None).to_numpy()
    classed = np.asarray([value is not None for value in values], np.bool_)
    classes = [str(value) for value in values[classed]]
    labels = recipe.labels or tuple(data.classes) or tuple(sorted(set(classes)))
    if len(labels) > max(FEW_CLASSES, len(classes) // 2):
        raise ConfigError(
            f"column {data.target}: expected classes, found {len(labels):,} different values in "
            f"{len(classes):,} rows; name the column with the class as target",
            where=str(file),
        )
    place = {label: index for index, label in enumerate(labels)}
    if unknown := sorted(set(classes) - set(place)):
        raise ConfigError(
            f"column {data.target}: {len(unknown)} values that labels does not name: "
            f"{named(unknown)}",
            where=str(file),
        )
    targets = np.full((len(frame), len(place)), np.nan, np.float32)
    targets[classed] = np.eye(len(place), dtype=np.float32)[[place[value] for value in classes]]
    return labels, targets


def read_spans(value: Any, text: str, where: str) -> Spans | None:
    """A cell with [[begin, end], ...] in characters of `text`; an empty cell says nothing.

    In a CSV file, where a cell is a text, it is written as JSON.
    """
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    try:
        cell = json.loads(value) if isinstance(value, str) else value
        spans = tuple((int(begin), int(end)) for begin, end in cell)
    except (TypeError, ValueError):
        raise ConfigError("expected a list of [begin, end]", where=where) from None
    for begin, end in spans:
        if not 0 <= begin < end <= len(text):
            raise ConfigError(
                f"span {begin} to {end} does not lie in a text of {len(text)} characters",
                where=where,
            )
    return spans


def _contrast(recipe: Recipe, data: ContrastData, where: str) -> Rows:
    from moderation.training.contrast import contrast_rows

    if recipe.task != "multi_label":
        raise ConfigError("contrast rows have no classes; use them multi_label", where=where)
    rows = contrast_rows(seed=recipe.seed)
    targets = np.full((len(rows), len(recipe.labels)), np.nan, np.float32)
    for row, item in enumerate(rows):
        for place, label in enumerate(recipe.labels):
            if label in item.labels:
                targets[row, place] = item.labels[label]
    return Rows(
        [row.text for row in rows],
        targets,
        np.full(len(rows), CONTRAST),
        np.asarray([row.part for row in rows], np.str_),
        np.full(len(rows), data.weight, np.float32),
        [None] * len(rows),
        np.asarray([row.kind for row in rows], np.str_),
        recipe.labels,
    )


def epoch_order(weights: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.int64]:
    """Row numbers of one epoch: a row of weight 2.5 comes twice or three times."""
    whole = np.floor(weights)
    copies = whole + (rng.random(len(weights)) < weights - whole)
    return np.repeat(np.arange(len(weights)), copies.astype(np.int64))


def batches(
    lengths: Sequence[int] | NDArray[np.int64],
    size: int,
    rng: np.random.Generator,
    *,
    pool: int = 50,
) -> list[NDArray[np.int64]]:
    """Shuffled batches of rows of about the same length, so that little of a batch is padding."""
    order = rng.permutation(len(lengths))
    known = np.asarray(lengths)
    result: list[NDArray[np.int64]] = []
    for begin in range(0, len(order), size * pool):
        chunk = order[begin : begin + size * pool]
        chunk = chunk[np.argsort(known[chunk], kind="stable")]
        result += [chunk[place : place + size] for place in range(0, len(chunk), size)]
    return [result[place] for place in rng.permutation(len(result))]
