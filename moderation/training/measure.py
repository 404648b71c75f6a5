"""Numbers about predictions, with the bootstrap intervals that small parts need."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_auc_score

from moderation.models.classifier import Classifier, Span
from moderation.training.data import CONTRAST, Rows, Spans
from moderation.training.recipe import Recipe

Scores = NDArray[np.float32]
FEWEST = 10


class Interval(NamedTuple):
    """A value with the 2.5th and 97.5th percentile of its bootstrap."""

    value: float
    low: float
    high: float


def auc(truth: NDArray[np.bool_], scores: Scores) -> float:
    return float(roc_auc_score(truth, scores))


def macro_f1(truth: NDArray[np.bool_], scores: Scores) -> float:
    return float(f1_score(truth, scores >= 0.5, average="macro", zero_division=0.0))


def brier_skill(truth: NDArray[np.bool_], scores: Scores) -> float:
    """1 is perfect, 0 no better than always saying the base rate (Brier 1950)."""
    rate = truth.mean()
    return float(1 - np.mean((scores - truth) ** 2) / (rate * (1 - rate)))


def calibration_error(truth: NDArray[np.bool_], scores: Scores, bins: int = 15) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017, arXiv 1706.04599)."""
    places = np.minimum((scores * bins).astype(int), bins - 1)
    counts = np.bincount(places, minlength=bins)
    gaps = np.bincount(places, scores, bins) - np.bincount(places, truth, bins)
    return float(np.abs(gaps).sum() / max(1, counts.sum()))


def bootstrap(
    measure: Callable[[NDArray[np.bool_], Scores], float],
    truth: NDArray[np.bool_],
    scores: Scores,
    *,
    draws: int = 500,
    seed: int = 0,
) -> Interval:
    """Rows drawn with replacement; draws with one class only are drawn again."""
    rng = np.random.default_rng(seed)
    values: list[float] = []
    while len(values) < draws:
        rows = rng.integers(0, len(truth), len(truth))
        if truth[rows].all() or not truth[rows].any():
            continue
        values.append(measure(truth[rows], scores[rows]))
    low, high = np.percentile(values, [2.5, 97.5])
    return Interval(measure(truth, scores), float(low), float(high))


def selection_score(logits: Scores, rows: Rows, recipe: Recipe) -> tuple[float, dict[str, float]]:
    """What early stopping watches: the mean AUC over labels, on natural and contrast rows apart.

    Apart, because between them a model could rank by the style of the data set alone. For a
    multi-class recipe it is the accuracy.
    """
    if recipe.task == "multi_class":
        accuracy = float((logits.argmax(axis=1) == rows.targets.argmax(axis=1)).mean())
        return accuracy, {"accuracy": accuracy}
    details: dict[str, float] = {}
    contrast = rows.sources == CONTRAST
    for name, part in (("natural", ~contrast), (CONTRAST, contrast)):
        for place, label in enumerate(recipe.labels):
            known = part & ~np.isnan(rows.targets[:, place])
            truth = rows.targets[known, place] >= 0.5
            if min(truth.sum(), (~truth).sum()) >= FEWEST:
                details[f"{name}.{label}"] = auc(truth, logits[known, place])
    if not details:
        for place, label in enumerate(recipe.labels):
            known = ~np.isnan(rows.targets[:, place])
            details[label] = auc(rows.targets[known, place] >= 0.5, logits[known, place])
    return float(np.mean(list(details.values()))), details


def character_f1(marked: Spans, found: list[Span]) -> float:
    """F1 over characters of one text, 1 where both are empty (SemEval-2021 task 5)."""
    truth = {place for begin, end in marked for place in range(begin, end)}
    said = {place for span in found for place in range(span.begin, span.end)}
    if not truth or not said:
        return float(truth == said)
    return 2 * len(truth & said) / (len(truth) + len(said))


def span_scores(model: Classifier, rows: Rows) -> Scores:
    """Character F1 of every row whose spans are known."""
    places = [place for place, spans in enumerate(rows.spans) if spans is not None]
    predictions = model.predict([rows.texts[place] for place in places])
    return np.asarray(
        [
            character_f1(rows.spans[place] or (), prediction.spans)
            for place, prediction in zip(places, predictions, strict=True)
        ],
        np.float32,
    )


def span_threshold(model: Classifier, validation: Rows) -> float:
    """The threshold with the best mean character F1 on the validation part."""
    best, chosen = -1.0, 0.5
    for step in range(2, 17):
        threshold = round(0.05 * step, 2)
        scores = span_scores(model.with_span_threshold(threshold), validation)
        if len(scores) and scores.mean() > best:
            best, chosen = float(scores.mean()), threshold
    return chosen


def measure(
    model: Classifier, validation: Rows, test: Rows, unseen: Rows | None, recipe: Recipe
) -> dict[str, Any]:
    """What the model card reports.

    Natural rows of the test part, by label and source; rows of the sources that were left out;
    contrast rows of the validation part (they have no test part: their wording was not trained
    on), by label and kind.
    """
    result: dict[str, Any] = {}
    natural = test.where(test.sources != CONTRAST)
    scores = model.predict_proba(natural.texts)
    if recipe.task == "multi_class":
        truth = natural.targets.argmax(axis=1)
        hits = scores.argmax(axis=1) == truth
        return {
            "accuracy": float(hits.mean()),
            "macro F1": float(f1_score(truth, scores.argmax(axis=1), average="macro")),
        }
    result["test"] = {
        label: _label_report(natural, scores, place) for place, label in enumerate(recipe.labels)
    }
    if unseen is not None:
        scores = model.predict_proba(unseen.texts)
        reports = {
            label: _label_report(unseen, scores, place)["sources"]
            for place, label in enumerate(recipe.labels)
        }
        result["sources left out"] = {label: report for label, report in reports.items() if report}
    contrast = validation.where(validation.sources == CONTRAST)
    if len(contrast):
        scores = model.predict_proba(contrast.texts)
        result["contrast"] = {
            label: _contrast_report(contrast, scores[:, place], place)
            for place, label in enumerate(recipe.labels)
        }
    spans = span_scores(model, validation)
    if len(spans):
        draws = np.random.default_rng(0).integers(0, len(spans), (500, len(spans)))
        low, high = np.percentile(spans[draws].mean(axis=1), [2.5, 97.5])
        result["spans"] = {
            "rows": len(spans),
            "character F1": _rounded(Interval(float(spans.mean()), float(low), float(high))),
        }
    return result


def _rounded(interval: Interval) -> list[float]:
    return [round(value, 4) for value in interval]


def _known(rows: Rows, place: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    known = ~np.isnan(rows.targets[:, place])
    return known, rows.targets[:, place] >= 0.5


def _label_report(rows: Rows, scores: Scores, place: int) -> dict[str, Any]:
    known, positive = _known(rows, place)
    truth, said = positive[known], scores[known, place]
    report: dict[str, Any] = {
        "rows": int(known.sum()),
        "positives": int(truth.sum()),
        "sources": {},
    }
    if min(truth.sum(), (~truth).sum()) < FEWEST:
        return report
    report |= {
        "AUC": _rounded(bootstrap(auc, truth, said)),
        "macro F1": _rounded(bootstrap(macro_f1, truth, said)),
        "calibration error": round(calibration_error(truth, said), 4),
        "Brier skill": round(brier_skill(truth, said), 4),
    }
    for source in sorted(set(rows.sources.tolist())):
        part = known & (rows.sources == source)
        truth, said = positive[part], scores[part, place]
        counts = {"rows": int(part.sum()), "positives": int(truth.sum())}
        if min(truth.sum(), (~truth).sum()) >= FEWEST:
            report["sources"][source] = counts | {
                "AUC": _rounded(bootstrap(auc, truth, said)),
                "macro F1": _rounded(bootstrap(macro_f1, truth, said)),
            }
        elif not truth.any() and len(truth) >= 50:
            report["sources"][source] = counts | {"flagged": round(float((said >= 0.5).mean()), 4)}
    return report


def _contrast_report(rows: Rows, scores: Scores, place: int) -> dict[str, Any]:
    known, positive = _known(rows, place)
    truth, said = positive[known], scores[known]
    report: dict[str, Any] = {"rows": int(known.sum()), "positives": int(truth.sum())}
    if min(truth.sum(), (~truth).sum()) < FEWEST:
        return report
    report["AUC"] = _rounded(bootstrap(auc, truth, said))
    report["macro F1"] = _rounded(bootstrap(macro_f1, truth, said))
    kinds: dict[str, Any] = {}
    for kind in sorted(set(rows.kinds[known].tolist())):
        part = known & (rows.kinds == kind)
        right = (scores[part] >= 0.5) == positive[part]
        kinds[kind] = {"rows": int(part.sum()), "right": round(float(right.mean()), 4)}
    report["kinds"] = kinds
    return report
