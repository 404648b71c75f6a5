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
from sklearn.metrics import roc_auc_score

from moderation.evaluation.baseline import Baseline
from moderation.evaluation.labelled import Labelled
from moderation.evaluation.metrics import FEWEST, Interval
from moderation.training.data import CONTRAST, Rows
from moderation.training.prepare import cleaner
from moderation.training.recipe import BaselineOptions, Recipe

DRAWS = 500
Scores: TypeAlias = NDArray[np.floating[Any]]
Places: TypeAlias = NDArray[np.int64]
# From the rows of a draw to one value.
Measure: TypeAlias = Callable[[Places], float]


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
    negatives, and mean macro F1 at 0.5, of labels.
    """
    rows = np.flatnonzero(~np.isnan(targets).all(axis=1))
    rng = np.random.default_rng(0)
    draws = [rows[rng.integers(0, len(rows), len(rows))] for _ in range(DRAWS)]
    pairs = _class_measures if task == "multi_class" else _label_measures
    return {
        name: _gap(one, two, rows, draws)
        for (name, one), (_, two) in zip(
            pairs(model, targets).items(), pairs(baseline, targets).items(), strict=True
        )
    }


def _gap(model: Measure, baseline: Measure, rows: Places, draws: list[Places]) -> dict[str, Any]:
    ours = np.asarray([model(draw) for draw in draws])
    theirs = np.asarray([baseline(draw) for draw in draws])
    whole = model(rows), baseline(rows)
    return {
        "model": _interval(whole[0], ours),
        "baseline": _interval(whole[1], theirs),
        "gap": _interval(whole[0] - whole[1], ours - theirs),
    }


def _interval(value: float, values: NDArray[np.float64]) -> list[float]:
    # A draw may leave a label with one class only; it then says nothing.
    low, high = np.nanpercentile(values, [2.5, 97.5])
    return Interval(value, float(low), float(high)).rounded()


def _class_measures(scores: Scores, targets: NDArray[np.float32]) -> dict[str, Measure]:
    truth, said = np.nan_to_num(targets).argmax(axis=1), scores.argmax(axis=1)
    count = targets.shape[1]

    def accuracy(rows: Places) -> float:
        return float((truth[rows] == said[rows]).mean())

    def macro_f1(rows: Places) -> float:
        """The mean over the classes that occur, as truth or as answer."""
        pairs = np.bincount(truth[rows] * count + said[rows], minlength=count * count)
        table = pairs.reshape(count, count)
        both = table.sum(axis=0) + table.sum(axis=1)
        return float((2 * np.diag(table)[both > 0] / both[both > 0]).mean())

    return {"accuracy": accuracy, "macro F1": macro_f1}


def _label_measures(scores: Scores, targets: NDArray[np.float32]) -> dict[str, Measure]:
    known = ~np.isnan(targets)
    truth = np.nan_to_num(targets) >= 0.5
    said = scores >= 0.5
    positives, negatives = (truth & known).sum(axis=0), (~truth & known).sum(axis=0)
    fewest = np.minimum(positives, negatives)
    measured = np.flatnonzero(fewest >= min(FEWEST, fewest.max())).tolist()

    def of(rows: Places, label: int) -> tuple[NDArray[np.bool_], Places]:
        chosen = rows[known[rows, label]]
        return truth[chosen, label], chosen

    def auc(rows: Places) -> float:
        values = []
        for label in measured:
            right, chosen = of(rows, label)
            if right.any() and not right.all():
                values.append(roc_auc_score(right, scores[chosen, label]))
        return float(np.mean(values)) if values else float("nan")

    def macro_f1(rows: Places) -> float:
        values = []
        for label in measured:
            right, chosen = of(rows, label)
            answer = said[chosen, label]
            hit, silence = int((right & answer).sum()), int((~right & ~answer).sum())
            wrong = int((right ^ answer).sum())
            values += [2 * hit / max(1, 2 * hit + wrong), 2 * silence / max(1, 2 * silence + wrong)]
        return float(np.mean(values)) if values else float("nan")

    return {"mean AUC": auc, "mean macro F1": macro_f1}


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
