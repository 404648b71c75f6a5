"""What a training run watches, and what the model card reports of its outcome."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score

from moderation.evaluation.metrics import (
    FEWEST,
    auc,
    bootstrap,
    brier_skill,
    calibration_error,
    character_f1,
    macro_f1,
    mean,
)
from moderation.models.classifier import Classifier
from moderation.training.data import CONTRAST, Rows
from moderation.training.recipe import Recipe

SPAN_THRESHOLDS = (0.3, 0.4, 0.5, 0.6)
SPAN_RATIOS = (None, 0.5, 0.6, 0.7)

Scores = NDArray[np.float32]


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


def span_rule(model: Classifier, validation: Rows) -> tuple[float, float | None]:
    """`span_threshold` and `span_ratio` with the best mean character F1 on the validation part."""
    chosen: tuple[float, float | None] = (0.5, None)
    best = -1.0
    for ratio in SPAN_RATIOS:
        for threshold in SPAN_THRESHOLDS:
            scores = span_scores(model.with_spans(threshold, ratio), validation)
            if len(scores) and scores.mean() > best:
                best, chosen = float(scores.mean()), (threshold, ratio)
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
            "accuracy": round(float(hits.mean()), 4),
            "macro F1": round(float(f1_score(truth, scores.argmax(axis=1), average="macro")), 4),
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
        result["spans"] = {"rows": len(spans), "character F1": mean(spans).rounded()}
    return result


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
        "AUC": bootstrap(auc, truth, said).rounded(),
        "macro F1": bootstrap(macro_f1, truth, said).rounded(),
        "calibration error": round(calibration_error(truth, said), 4),
        "Brier skill": round(brier_skill(truth, said), 4),
    }
    for source in sorted(set(rows.sources.tolist())):
        part = known & (rows.sources == source)
        truth, said = positive[part], scores[part, place]
        counts = {"rows": int(part.sum()), "positives": int(truth.sum())}
        if min(truth.sum(), (~truth).sum()) >= FEWEST:
            report["sources"][source] = counts | {
                "AUC": bootstrap(auc, truth, said).rounded(),
                "macro F1": bootstrap(macro_f1, truth, said).rounded(),
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
    report["AUC"] = bootstrap(auc, truth, said).rounded()
    report["macro F1"] = bootstrap(macro_f1, truth, said).rounded()
    kinds: dict[str, Any] = {}
    for kind in sorted(set(rows.kinds[known].tolist())):
        part = known & (rows.kinds == kind)
        right = (scores[part] >= 0.5) == positive[part]
        kinds[kind] = {"rows": int(part.sum()), "right": round(float(right.mean()), 4)}
    report["kinds"] = kinds
    return report
