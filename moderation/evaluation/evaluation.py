"""Everything that is measured about a system on labelled texts, as numbers ready for JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ConfigError
from moderation.evaluation import metrics
from moderation.evaluation.baseline import Baseline
from moderation.evaluation.embedding import coordinates, pick
from moderation.evaluation.labelled import LENGTHS, LONGER, Labelled
from moderation.evaluation.metrics import FEWEST
from moderation.evaluation.output import write_whole
from moderation.evaluation.system import Scored, System

SCHEMA = 1
DEFAULT_THRESHOLD = 0.5
SLICE_ROWS = 20
SLICE_VALUES = 60
SLICE_DRAWS = 200
ERRORS = 12
"""Errors of each kind for each label."""
FALSE_ALARM, MISSED, WRONG_CLASS = "flagged, labelled harmless", "missed", "wrong class"
BARS = 40
NO_LABEL = "none"

Advance = Callable[[int], Any]


class Points(NamedTuple):
    """Texts as points: rows of the data, [n, 3], what they were made of, and a label of each."""

    rows: NDArray[np.int64]
    places: NDArray[np.float32]
    source: str
    groups: list[str]


@dataclass(frozen=True)
class Evaluation:
    """`numbers` is everything but the texts; `labelled` holds the labels that were measured."""

    numbers: dict[str, Any]
    labelled: Labelled
    scored: Scored
    points: Points | None

    def write_json(self, path: str | Path) -> None:
        """The numbers alone: texts are named by their row in the file."""
        write_whole(path, json.dumps(self.numbers, indent=1) + "\n")

    def summary(self) -> list[dict[str, Any]]:
        """One row for each label, for a table."""
        return [{"label": label, **row} for label, row in self.numbers["labels"].items()]


def evaluate(
    system: System,
    labelled: Labelled,
    *,
    train: Labelled | None = None,
    baseline: Baseline | None = None,
    history: Sequence[dict[str, float]] = (),
    draws: int = 500,
    picture: bool = True,
    advance: Advance = lambda count: None,
) -> Evaluation:
    """Scores every text of `labelled` and measures what comes out.

    Args:
        train: what the baseline is fitted on; without it, it is cross-validated on `labelled`.
        baseline: its options; without them there is no baseline.
        history: a record for each epoch of the run that the model comes from, see `read_history`.
        draws: draws of the bootstrap.
        picture: whether to place texts by t-SNE.
        advance: told how many more texts are scored.

    Raises:
        ConfigError: `labelled` has labels that the system does not report.
    """
    if unknown := [label for label in labelled.labels if label not in system.labels]:
        raise ConfigError(f"{system.name} reports no {unknown[0]}", where=labelled.name)
    columns = [system.labels.index(label) for label in labelled.labels]
    found = system.score(labelled.texts, advance)
    scored = found._replace(scores=found.scores[:, columns])
    scores = scored.scores
    numbers: dict[str, Any] = {
        "schema": SCHEMA,
        "system": {
            "name": system.name,
            "kind": system.kind,
            "fingerprint": system.fingerprint,
            "labels": list(system.labels),
        },
        "data": {
            "file": labelled.name,
            "rows": len(labelled),
            "fingerprint": labelled.fingerprint(),
        },
        "task": labelled.task,
        "gaps": dict(scored.gaps.most_common()),
        "history": list(history),
    }
    compared: NDArray[np.float64] | None = None
    if baseline is not None:
        if train is not None:
            compared = baseline.scores(train, labelled.texts)
            how = f"fitted on {min(len(train), baseline.rows):,} rows of {train.name}"
        else:
            compared = baseline.cross_validated(labelled)
            how = "cross-validated on the rows measured: each scored by one not fitted on it"
        numbers["baseline"] = {"what": baseline.told(), "how": how}
    said = _said(labelled, scores, system)
    numbers["labels"] = {
        label: _label(labelled, scores, said, place, system, compared, draws)
        for place, label in enumerate(labelled.labels)
    }
    numbers["overall"] = _overall(labelled, scores, said, compared, draws)
    numbers["slices"] = list(_slices(labelled, scores, said))
    numbers["spans"] = _spans(labelled, scored, draws)
    numbers["errors"] = list(_errors(labelled, scores, said))
    points = None
    if picture and len(labelled) >= 10:
        rows = pick(labelled)
        places, source = coordinates([labelled.texts[row] for row in rows], system.model)
        points = Points(rows, places, source, _groups(labelled.targets[rows], labelled.labels))
        numbers["embedding"] = {
            "source": source,
            "rows": labelled.numbers[rows].tolist(),
            "places": np.round(places, 3).tolist(),
            "groups": points.groups,
        }
    return Evaluation(numbers, labelled, scored, points)


def _groups(targets: NDArray[np.float32], labels: Sequence[str]) -> list[str]:
    """The rarest label that each row has: a broad one such as `toxic` would be all there is."""
    has = np.nan_to_num(targets) >= 0.5
    rarity = np.where(has, has.sum(axis=0), np.inf)
    return [labels[int(row.argmin())] if row.min() < np.inf else NO_LABEL for row in rarity]


def read_history(run: str | Path) -> list[dict[str, float]]:
    """The records of a training run's epochs: loss, score, and the parts of the score.

    Raises ConfigError where the folder holds no run.
    """
    file = Path(run) / "state.json" if Path(run).is_dir() else Path(run)
    try:
        history = json.loads(file.read_text(encoding="utf-8"))["history"]
        return [{str(key): float(value) for key, value in row.items()} for row in history]
    except FileNotFoundError:
        raise ConfigError(
            "expected the folder of a training run, found no state.json", where=str(file)
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError("expected the state of a training run", where=str(file)) from error


def _limit(system: System, label: str) -> float:
    """From which score on a label is acted on in any way."""
    return min(system.thresholds.get(label, {}).values(), default=DEFAULT_THRESHOLD)


def _said(labelled: Labelled, scores: NDArray[np.float64], system: System) -> NDArray[np.bool_]:
    """What is decided of each row, [n, labels]."""
    if labelled.task == "multi_class":
        chosen: NDArray[np.bool_] = np.eye(len(labelled.labels), dtype=np.bool_)[
            scores.argmax(axis=1)
        ]
        return chosen
    limits = np.asarray([_limit(system, label) for label in labelled.labels])
    decided: NDArray[np.bool_] = scores >= limits
    return decided


def _enough(truth: NDArray[np.bool_]) -> bool:
    return min(int(truth.sum()), int((~truth).sum())) >= FEWEST


def _label(
    labelled: Labelled,
    scores: NDArray[np.float64],
    said: NDArray[np.bool_],
    place: int,
    system: System,
    compared: NDArray[np.float64] | None,
    draws: int,
) -> dict[str, Any]:
    label = labelled.labels[place]
    known = ~np.isnan(labelled.targets[:, place])
    truth, found = labelled.targets[known, place] >= 0.5, scores[known, place]
    row: dict[str, Any] = {"rows": len(truth), "positives": int(truth.sum())}
    if labelled.task == "multi_label":
        row["threshold"] = _limit(system, label)
    row |= _decided(truth, said[known, place], draws)
    row["at"] = {
        action: {"threshold": limit, **_decided(truth, found >= limit, draws)}
        for action, limit in system.thresholds.get(label, {}).items()
    }
    bars = np.linspace(0, 1, BARS + 1)
    row["scores"] = {
        "positive": np.histogram(found[truth], bars)[0].tolist(),
        "negative": np.histogram(found[~truth], bars)[0].tolist(),
    }
    if not _enough(truth):
        return row
    ranked = metrics.ranking(truth, found, draws=draws)
    row |= {
        "AUC": ranked.auc.rounded(),
        "average precision": ranked.average_precision.rounded(),
        "calibration error": round(metrics.calibration_error(truth, found), 4),
        "Brier skill": metrics.bootstrap(
            metrics.brier_skill, truth, found, draws=min(draws, 200)
        ).rounded(),
        "ROC": metrics.roc(truth, found)._asdict(),
        "precision-recall": metrics.precision_recall(truth, found)._asdict(),
        "reliability": [
            {**each._asdict(), "score": round(each.score, 5), "rate": each.rate.rounded()}
            for each in metrics.reliability(truth, found)
        ],
    }
    if compared is not None:
        other = compared[known, place]
        ranked = metrics.ranking(truth, other, draws=draws)
        decided = other >= DEFAULT_THRESHOLD
        if labelled.task == "multi_class":
            decided = (compared.argmax(axis=1) == place)[known]
        row["baseline"] = {
            "AUC": ranked.auc.rounded(),
            "average precision": ranked.average_precision.rounded(),
            "macro F1": metrics.decisions(truth, decided, draws=draws).macro_f1.rounded(),
        }
    return row


def _decided(truth: NDArray[np.bool_], said: NDArray[np.bool_], draws: int) -> dict[str, Any]:
    found = metrics.decisions(truth, said, draws=draws)
    both = truth.any() and not truth.all()
    return {
        "confusion": found.counts,
        "precision": _or_none(found.precision),
        "recall": _or_none(found.recall),
        # Of one class alone F1 says nothing: it would be 0, or a half, whatever was decided.
        "F1": found.f1.rounded() if both else None,
        "macro F1": found.macro_f1.rounded() if both else None,
        "flagged": _or_none(found.flagged),
    }


def _or_none(interval: metrics.Interval) -> list[float] | None:
    # JSON has no NaN: a share of nothing is nothing.
    return None if np.isnan(interval.value) else interval.rounded()


def _overall(
    labelled: Labelled,
    scores: NDArray[np.float64],
    said: NDArray[np.bool_],
    compared: NDArray[np.float64] | None,
    draws: int,
) -> dict[str, Any]:
    if labelled.task == "multi_label":
        rows = (~np.isnan(labelled.targets)).all(axis=1)
        result: dict[str, Any] = {"rows with every label": int(rows.sum())}
        if rows.any():
            # A column vector is taken for classes: two columns say that these are labels.
            truth = labelled.targets[rows] >= 0.5
            decided = said[rows]
            if len(labelled.labels) == 1:
                truth, decided = truth[:, 0].astype(int), decided[:, 0].astype(int)
                names: Sequence[str] = (f"not {labelled.labels[0]}", labelled.labels[0])
            else:
                names = labelled.labels
            result["classification report"] = metrics.report(truth, decided, names)
        return result
    truth, found = labelled.targets.argmax(axis=1), scores.argmax(axis=1)
    right = (truth == found).astype(np.float64)
    counts = np.zeros((len(labelled.labels),) * 2, np.int64)
    np.add.at(counts, (truth, found), 1)
    sure = scores.max(axis=1)
    result = {
        "accuracy": metrics.mean(right, draws=draws).rounded(),
        "macro F1": _multinomial_macro_f1(counts, draws).rounded(),
        "calibration error": round(metrics.calibration_error(right > 0, sure), 4),
        "confusion": counts.tolist(),
        "reliability": [
            {**each._asdict(), "rate": each.rate.rounded()}
            for each in metrics.reliability(right > 0, sure)
        ],
        "classification report": metrics.report(truth, found, labelled.labels),
    }
    if compared is not None:
        other = compared.argmax(axis=1)
        counts = np.zeros((len(labelled.labels),) * 2, np.int64)
        np.add.at(counts, (truth, other), 1)
        result["baseline"] = {
            "accuracy": metrics.mean((truth == other).astype(np.float64), draws=draws).rounded(),
            "macro F1": _multinomial_macro_f1(counts, draws).rounded(),
        }
    return result


def _multinomial_macro_f1(counts: NDArray[np.int64], draws: int) -> metrics.Interval:
    """Macro F1 of a confusion matrix; to draw rows is to draw its cells."""

    def macro(tables: NDArray[np.int64]) -> NDArray[np.float64]:
        hits = np.diagonal(tables, axis1=1, axis2=2)
        total = tables.sum(axis=1) + tables.sum(axis=2)
        values: NDArray[np.float64] = (2 * hits / np.maximum(total, 1)).mean(axis=1)
        return values

    shares = counts.ravel() / counts.sum()
    drawn = np.random.default_rng(0).multinomial(int(counts.sum()), shares, draws)
    values = macro(drawn.reshape(-1, *counts.shape))
    low, high = np.percentile(values, [2.5, 97.5])
    return metrics.Interval(float(macro(counts[None])[0]), float(low), float(high))


def _slices(
    labelled: Labelled, scores: NDArray[np.float64], said: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    for column, values in labelled.slices.items():
        names, counts = np.unique(values, return_counts=True)
        order = {name: place for place, name in enumerate((*LENGTHS, LONGER))}
        kept = names[np.argsort(-counts, kind="stable")][:SLICE_VALUES].tolist()
        if set(kept) <= order.keys():
            kept.sort(key=lambda value: order[value])
        for value in kept:
            part = values == value
            if part.sum() < SLICE_ROWS:
                continue
            if labelled.task == "multi_class":
                right = (labelled.targets[part] * said[part]).sum(axis=1)
                yield {
                    "column": column,
                    "value": value,
                    "label": "all classes",
                    "rows": int(part.sum()),
                    "accuracy": metrics.wilson(int(right.sum()), len(right)).rounded(),
                }
                continue
            for place, label in enumerate(labelled.labels):
                chosen = part & ~np.isnan(labelled.targets[:, place])
                truth = labelled.targets[chosen, place] >= 0.5
                if len(truth) < SLICE_ROWS:
                    continue
                row = {
                    "column": column,
                    "value": value,
                    "label": label,
                    "rows": len(truth),
                    "positives": int(truth.sum()),
                }
                decided = metrics.decisions(truth, said[chosen, place], draws=SLICE_DRAWS)
                row["precision"] = _or_none(decided.precision)
                row["recall"] = _or_none(decided.recall)
                (tn, fp), _ = decided.counts
                row["false-positive rate"] = _or_none(metrics.wilson(fp, fp + tn))
                if _enough(truth):
                    ranked = metrics.ranking(truth, scores[chosen, place], draws=SLICE_DRAWS)
                    row["AUC"] = ranked.auc.rounded()
                    row["macro F1"] = decided.macro_f1.rounded()
                yield row


def _spans(labelled: Labelled, scored: Scored, draws: int) -> dict[str, Any] | None:
    rows = [row for row, spans in enumerate(labelled.spans) if spans is not None]
    if not rows:
        return None
    values = np.asarray(
        [metrics.character_f1(labelled.spans[row] or (), scored.spans[row]) for row in rows]
    )
    return {
        "rows": len(rows),
        "marked": sum(bool(labelled.spans[row]) for row in rows),
        "character F1": metrics.mean(values, draws=draws).rounded(),
    }


def _errors(
    labelled: Labelled, scores: NDArray[np.float64], said: NDArray[np.bool_]
) -> Iterator[dict[str, Any]]:
    """The surest mistakes: of the model, or of whoever labelled the text. Copies are left out."""
    if labelled.task == "multi_class":
        classes, chosen = labelled.targets.argmax(axis=1), scores.argmax(axis=1)
        sure = scores[np.arange(len(scores)), chosen]
        wrong = np.flatnonzero(classes != chosen)
        for row in _distinct(labelled, wrong[np.argsort(-sure[wrong])], ERRORS * 4):
            yield {
                "row": int(labelled.numbers[row]),
                "place": row,
                "kind": WRONG_CLASS,
                "label": labelled.labels[classes[row]],
                "said": labelled.labels[chosen[row]],
                "score": round(float(sure[row]), 4),
            }
        return
    for place, label in enumerate(labelled.labels):
        known = ~np.isnan(labelled.targets[:, place])
        truth = labelled.targets[:, place] >= 0.5
        decided = said[:, place]
        for kind, mistaken, sign in (
            (FALSE_ALARM, known & decided & ~truth, -1),
            (MISSED, known & ~decided & truth, 1),
        ):
            rows = np.flatnonzero(mistaken)
            rows = rows[np.argsort(sign * scores[rows, place], kind="stable")]
            for row in _distinct(labelled, rows, ERRORS):
                yield {
                    "row": int(labelled.numbers[row]),
                    "place": row,
                    "kind": kind,
                    "label": label,
                    "score": round(float(scores[row, place]), 4),
                    "labelled": round(float(labelled.targets[row, place]), 4),
                }


def _distinct(labelled: Labelled, rows: NDArray[np.int64], count: int) -> list[int]:
    seen: set[str] = set()
    kept: list[int] = []
    for row in rows.tolist():
        key = " ".join(labelled.texts[row].casefold().split())
        if key not in seen:
            seen.add(key)
            kept.append(row)
        if len(kept) == count:
            break
    return kept
