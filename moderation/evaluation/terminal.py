"""Evaluation on a terminal: the same for every command that scores a file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from moderation.errors import ConfigError
from moderation.evaluation.evaluation import Advance, Evaluation
from moderation.evaluation.labelled import Labelled, read_labelled
from moderation.evaluation.system import System

TRAIN, TEST = "train", "test"


def pairs(values: Sequence[str], option: str) -> dict[str, str]:
    """`a=b,c` as {"a": "b", "c": "c"}.

    Raises ConfigError for an empty name.
    """
    found = {}
    for item in ",".join(values).split(",") if values else []:
        name, _, value = item.partition("=")
        if not name.strip():
            raise ConfigError(f"expected NAME or NAME=COLUMN, found {item!r}", where=option)
        found[name.strip()] = value.strip() or name.strip()
    return found


def conditions(values: Sequence[str]) -> dict[str, str]:
    """`column=value` as {"column": "value"}; the value may hold any character."""
    found = {}
    for item in values:
        column, equals, value = item.partition("=")
        if not equals or not column:
            raise ConfigError(f"expected COLUMN=VALUE, found {item!r}", where="--where")
        found[column] = value
    return found


def read_parts(
    system: System,
    file: Path,
    *,
    text: Sequence[str],
    labels: Sequence[str],
    target: str | None,
    slices: Sequence[str],
    spans: str | None,
    where: Sequence[str],
    split: str | None,
    train: Path | None,
    limit: int | None,
    fit: bool = True,
) -> tuple[Labelled, Labelled | None]:
    """What is measured, and what the baseline is fitted on, if anything.

    With a `split` column these are its rows `test` and `train`.
    """
    mapping = pairs(labels, "--labels") or None
    wanted = conditions(where)

    def read(path: Path, more: dict[str, str], *, sliced: bool) -> Labelled:
        return read_labelled(
            path,
            known=system.labels,
            task=system.task,
            text=text,
            labels=mapping,
            target=target,
            slices=slices if sliced else (),
            spans=spans if sliced else None,
            where=wanted | more if sliced else more,
        )

    measured = read(file, {split: TEST} if split else {}, sliced=True)
    fitted = None
    if train is not None:
        fitted = read(train, {}, sliced=False)
    elif split and fit:
        fitted = read(file, {split: TRAIN}, sliced=False)
    if fitted is not None and fitted.labels != measured.labels:
        raise ConfigError(
            f"expected the labels {', '.join(measured.labels)}, found {', '.join(fitted.labels)}",
            where=str(train or file),
        )
    return (measured if limit is None else measured.drawn(limit)), fitted


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Advance]:
    """A bar on standard error, where that is a terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task(what, total=total)

        def advance(count: int) -> None:
            bar.advance(task, count)

        yield advance


def show(evaluation: Evaluation, console: Console) -> None:
    """The numbers that fit on a screen."""
    numbers = evaluation.numbers
    baseline = "baseline" in numbers
    if numbers["task"] == "multi_class":
        overall = numbers["overall"]
        rows = [("this model", overall)]
        if baseline:
            rows.append(("baseline", overall["baseline"]))
        table = Table(box=None, pad_edge=False)
        for name in ("", "accuracy", "macro F1"):
            table.add_column(name, justify="left" if not name else "right")
        for name, row in rows:
            table.add_row(name, _told(row["accuracy"]), _told(row["macro F1"]))
        console.print(table)
        console.print()
    table = Table(box=None, pad_edge=False)
    head = ["label", "rows", "positive", "AUC", "macro F1", "precision", "recall", "ECE", "Brier"]
    for name in [*head, *(["AUC of the baseline"] if baseline else [])]:
        table.add_column(name, justify="left" if name == "label" else "right")
    for label, row in numbers["labels"].items():
        error, brier = row.get("calibration error"), row.get("Brier skill")
        cells = [label, f"{row['rows']:,}", f"{row['positives']:,}", _told(row.get("AUC"))]
        cells += [_told(row["macro F1"]), _short(row["precision"]), _short(row["recall"])]
        cells += ["" if error is None else f"{error:.3f}", _short(brier)]
        if baseline:
            cells.append(_told(row.get("baseline", {}).get("AUC")))
        table.add_row(*cells)
    console.print(table)
    if numbers["spans"]:
        console.print(f"character F1 of the words: {_told(numbers['spans']['character F1'])}")
    for gap, count in numbers["gaps"].items():
        console.print(f"no score for {count:,} texts: {gap}", markup=False, highlight=False)


def _told(values: Sequence[float] | None) -> str:
    return "" if values is None else "{:.3f} ({:.3f}–{:.3f})".format(*values)


def _short(values: Sequence[float] | None) -> str:
    return "" if values is None else f"{values[0]:.3f}"
