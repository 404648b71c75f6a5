"""A trained model beside TF-IDF with logistic regression, on the same rows.

So that nobody ships a network that loses to it. The baseline is measured and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from moderation.evaluation.baseline import Baseline
from moderation.evaluation.labelled import Labelled
from moderation.evaluation.metrics import FEWEST, Interval
from moderation.training.data import CONTRAST, Rows
from moderation.training.prepare import cleaner
from moderation.training.recipe import BaselineOptions, Recipe

DRAWS = 500
Scores: TypeAlias = NDArray[np.floating[Any]]
Counts: TypeAlias = NDArray[np.int64]
# From how often each row is in a draw to one value.
Measure: TypeAlias = Callable[[Counts], float]


def beside(scores: Scores, train: Rows, test: Rows, recipe: Recipe) -> dict[str, Any]:
    """What the model card keeps: for each measure [value, low, high] of both and of the gap.

    `scores` are the model's probabilities of `test`, [n, labels]. The gap's interval is that of
    pairs: both are measured on the rows of the same draw.
    """
    options = recipe.baseline or BaselineOptions()
    baseline = Baseline(**options.model_dump(), seed=recipe.seed)
    natural = test.sources != CONTRAST
    test = test.where(natural)
    labelled = np.asarray((~np.isnan(train.targets)).any(axis=1), np.bool_)
    known = _labelled(train.where(labelled), recipe)
    found = baseline.scores(known, _labelled(test, recipe).texts)
    return {"is": baseline.told(), **compared(scores[natural], found, test.targets, recipe.task)}


def _labelled(rows: Rows, recipe: Recipe) -> Labelled:
    clean = cleaner(recipe.preparation.clean if recipe.preparation else ())
    return Labelled(
        name=recipe.name,
        task=recipe.task,
        labels=recipe.labels,
        texts=[clean.normalize_str(text) for text in rows.texts],
        targets=rows.targets,
        numbers=np.arange(1, len(rows) + 1),
        slices={},
        spans=rows.spans,
    )


def compared(
    model: Scores, baseline: Scores, targets: NDArray[np.float32], task: str
) -> dict[str, dict[str, list[float]]]:
    """Measure to model, baseline and gap, each [value, low, high] with a 95 % interval.

    Accuracy and macro F1 of classes; mean AUC over the labels that have ten positives and ten
    negatives, and their mean macro F1 at 0.5, of labels.
    """
    rows = np.flatnonzero(~np.isnan(targets).all(axis=1))
    rng = np.random.default_rng(0)
    draws = [
        np.bincount(rows[rng.integers(0, len(rows), len(rows))], minlength=len(targets))
        for _ in range(DRAWS)
    ]
    whole = np.bincount(rows, minlength=len(targets))
    measures = _class_measures if task == "multi_class" else _label_measures
    return {
        name: _gap(one, two, whole, draws)
        for (name, one), (_, two) in zip(
            measures(model, targets).items(), measures(baseline, targets).items(), strict=True
        )
    }


def _gap(model: Measure, baseline: Measure, whole: Counts, draws: list[Counts]) -> dict[str, Any]:
    ours = np.asarray([model(draw) for draw in draws])
    theirs = np.asarray([baseline(draw) for draw in draws])
    return {
        "model": _interval(model(whole), ours),
        "baseline": _interval(baseline(whole), theirs),
        "gap": _interval(model(whole) - baseline(whole), ours - theirs),
    }


def _interval(value: float, values: NDArray[np.float64]) -> list[float]:
    # A draw may leave a label with one class only; it then says nothing.
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high)).rounded()


def _class_measures(scores: Scores, targets: NDArray[np.float32]) -> dict[str, Measure]:
    count = targets.shape[1]
    pairs = np.nan_to_num(targets).argmax(axis=1) * count + scores.argmax(axis=1)

    def table(weights: Counts) -> NDArray[np.float64]:
        found = np.bincount(pairs, weights, count * count).astype(np.float64)
        return found.reshape(count, count)

    def accuracy(weights: Counts) -> float:
        found = table(weights)
        return float(np.trace(found) / found.sum())

    def macro_f1(weights: Counts) -> float:
        """The mean over the classes that occur, as truth or as answer."""
        found = table(weights)
        both = found.sum(axis=0) + found.sum(axis=1)
        return float((2 * np.diag(found)[both > 0] / both[both > 0]).mean())

    return {"accuracy": accuracy, "macro F1": macro_f1}


def _label_measures(scores: Scores, targets: NDArray[np.float32]) -> dict[str, Measure]:
    known = ~np.isnan(targets)
    truth = np.nan_to_num(targets) >= 0.5
    fewest = np.minimum((truth & known).sum(axis=0), (~truth & known).sum(axis=0))
    labels = [
        _Label(np.flatnonzero(known[:, place]), truth[:, place], scores[:, place])
        for place in np.flatnonzero(fewest >= min(FEWEST, fewest.max())).tolist()
    ]

    def auc(weights: Counts) -> float:
        return float(np.nanmean([label.auc(weights) for label in labels]))

    def macro_f1(weights: Counts) -> float:
        return float(np.mean([label.macro_f1(weights) for label in labels]))

    return {"mean AUC": auc, "mean macro F1": macro_f1}


class _Label:
    """The rows of which one label is known, sorted by score once for all draws."""

    def __init__(self, rows: Counts, truth: NDArray[np.bool_], scores: Scores) -> None:
        self.rows = rows[np.argsort(-scores[rows], kind="stable")]
        self.truth, scores = truth[self.rows], scores[self.rows]
        self.said = scores >= 0.5
        # The last place of each run of equal scores: no threshold can part them.
        self.ends = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)

    def auc(self, weights: Counts) -> float:
        counts = weights[self.rows]
        hits = np.cumsum(counts * self.truth)[self.ends]
        false = np.cumsum(counts)[self.ends] - hits
        if not hits[-1] or not false[-1]:
            return float("nan")
        middle = hits - np.diff(hits, prepend=0) / 2
        return float((np.diff(false, prepend=0) * middle).sum() / (hits[-1] * false[-1]))

    def macro_f1(self, weights: Counts) -> float:
        counts = weights[self.rows]
        tn, fp, fn, tp = np.bincount(2 * self.truth + self.said, counts, 4)
        return float(tp / max(1, 2 * tp + fp + fn) + tn / max(1, 2 * tn + fp + fn))


def shown(name: str, found: dict[str, Any], console: Console) -> None:
    """The comparison as a table, and in words where the model does not win."""
    table = Table(box=None, pad_edge=False)
    measures = [measure for measure in found if measure != "is"]
    for column in ("", *measures):
        table.add_column(column)
    for title, key in ((name, "model"), ("TF-IDF baseline", "baseline"), ("gap", "gap")):
        table.add_row(title, *(_told(found[measure][key]) for measure in measures))
    console.print(table)
    for measure in measures:
        _, low, _ = found[measure]["gap"]
        if not low > 0:
            console.print(f"{measure}: not shown to be better than the baseline")


def _told(values: list[float]) -> str:
    value, low, high = values
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
