"""The model card for people: README.md of a model folder, out of its model.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from moderation.models.artifact import ModelCard
from moderation.training.data import CONTRAST
from moderation.training.recipe import DistilBertLora, LstmModel, Recipe, TableData, TextData


def readme(card: ModelCard, recipe: Recipe) -> str:
    """Markdown; every number in it is taken from `card`."""
    parts = [f"# {card.name}", recipe.notes.strip()]
    facts = [
        ("task", card.task.replace("_", "-")),
        ("labels", ", ".join(card.labels)),
        ("languages", ", ".join(card.languages)),
        ("network", _network(recipe.model)),
        ("reads", f"windows of {card.max_length} tokens, {card.stride} shared by two neighbours"),
    ]
    if card.base:
        facts.append(
            (
                "started from",
                f"{card.base.name} ({card.base.licence}), weights {card.base.revision}",
            )
        )
    facts += [
        ("command", f"`{card.command}`"),
        ("seed", str(card.seed)),
        ("data fingerprint", f"`{card.data.fingerprint}`"),
        ("rows trained on", f"{card.data.rows:,}"),
    ]
    if card.data.adapter:
        facts.append(("trained on from", card.data.adapter))
    if card.data.teacher:
        facts.append(("taught by", f"{card.data.teacher} (soft targets beside the labels)"))
    parts.append(_table(("", ""), facts))
    parts += ["## Calibration", _calibration(card)]
    if card.metrics:
        parts += ["## Measured", _metrics(card.metrics)]
    parts += ["## Data", _data(card, recipe)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _network(model: LstmModel | DistilBertLora) -> str:
    pooling = f"{model.attention} attention heads and maximum"
    if isinstance(model, DistilBertLora):
        return (
            f"DistilBERT with LoRA of rank {model.rank}, {pooling}; int8 weights and activations, "
            "one scale for each token"
        )
    layers = ", ".join(map(str, model.hidden))
    return (
        f"embedding {model.embedding}, bidirectional LSTM layers {layers}, {pooling}; "
        "int8 weights, float32 arithmetic"
    )


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    columns = list(head)
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _calibration(card: ModelCard) -> str:
    fitted = card.calibration
    return (
        f"Probabilities are calibrated on {fitted.fitted_on}. They hold for the base rates below; "
        "traffic with fewer positives has fewer than the probabilities say.\n\n"
        + _table(
            ("label", "base rate", "scale", "offset"),
            (
                (label, f"{rate:.3f}", f"{scale:.3f}", f"{offset:.3f}")
                for label, rate, scale, offset in zip(
                    card.labels, fitted.base_rate, fitted.scale, fitted.offset, strict=True
                )
            ),
        )
    )


def _interval(values: list[float] | None) -> str:
    if not values:
        return ""
    return f"{values[0]:.3f} ({values[1]:.3f} to {values[2]:.3f})"


def _source_rows(reports: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for label, sources in reports.items():
        for source, row in sources.items():
            yield (
                label,
                source,
                f"{row['rows']:,}",
                f"{row['positives']:,}",
                _interval(row.get("AUC")),
                _interval(row.get("macro F1")),
                str(row.get("flagged", "")),
            )


def _metrics(metrics: dict[str, Any]) -> str:
    parts = ["Brackets hold 95 % bootstrap intervals; F1 at probability 0.5."]
    if test := metrics.get("test"):
        parts.append("Natural texts of the test part:")
        parts.append(
            _table(
                (
                    "label",
                    "rows",
                    "positives",
                    "AUC",
                    "macro F1",
                    "calibration error",
                    "Brier skill",
                ),
                (
                    (
                        label,
                        f"{row['rows']:,}",
                        f"{row['positives']:,}",
                        _interval(row.get("AUC")),
                        _interval(row.get("macro F1")),
                        row.get("calibration error", ""),
                        row.get("Brier skill", ""),
                    )
                    for label, row in test.items()
                ),
            )
        )
        parts.append(
            "By source (where a source has positives and negatives; else the share flagged):"
        )
        parts.append(
            _table(
                ("label", "source", "rows", "positives", "AUC", "macro F1", "flagged"),
                _source_rows({label: report["sources"] for label, report in test.items()}),
            )
        )
    if unseen := metrics.get("sources left out"):
        parts.append("Sources that were left out of training, so never seen:")
        parts.append(
            _table(
                ("label", "source", "rows", "positives", "AUC", "macro F1", "flagged"),
                _source_rows(unseen),
            )
        )
    if contrast := metrics.get("contrast"):
        parts.append("Contrast sentences of wordings that were not trained on:")
        parts.append(
            _table(
                ("label", "rows", "positives", "AUC", "macro F1"),
                (
                    (
                        label,
                        f"{row['rows']:,}",
                        f"{row['positives']:,}",
                        _interval(row.get("AUC")),
                        _interval(row.get("macro F1")),
                    )
                    for label, row in contrast.items()
                ),
            )
        )
        kinds = contrast.get("identity_attack", {}).get("kinds", {})
        if kinds:
            parts.append("`identity_attack` at 0.5, by kind of contrast sentence:")
            parts.append(
                _table(
                    ("kind", "rows", "right"),
                    ((kind, row["rows"], f"{row['right']:.3f}") for kind, row in kinds.items()),
                )
            )
    if spans := metrics.get("spans"):
        parts.append(
            f"Words pointed at: character F1 {_interval(spans['character F1'])} on "
            f"{spans['rows']:,} validation posts."
        )
    if baseline := metrics.get("baseline"):
        parts.append(f"Beside a baseline ({baseline['is']}) on the same rows:")
        parts.append(
            _table(
                ("", "this model", "baseline", "gap"),
                (
                    (name, *(_interval(row[key]) for key in ("model", "baseline", "gap")))
                    for name, row in baseline.items()
                    if name != "is"
                ),
            )
        )
    rest = {
        key: value
        for key, value in metrics.items()
        if key not in ("test", "sources left out", "contrast", "spans", "baseline")
    }
    parts += [f"{key}: {value}" for key, value in rest.items()]
    return "\n\n".join(parts)


def _data(card: ModelCard, recipe: Recipe) -> str:
    about: dict[str, str] = {CONTRAST: "sentences written by hand for this project; Apache-2.0"}
    masked: dict[str, str] = {}
    dropped: list[str] = []
    for data in recipe.data:
        if isinstance(data, TableData):
            about |= data.about
            dropped += data.drop
            masked |= {source: ", ".join(labels) for source, labels in data.mask.items()}
        elif isinstance(data, TextData):
            about[data.name] = f"{data.about}; texts alone, the teacher gave the labels"
    table = _table(
        ("source", "rows trained on", "upstream and licence", "labels not used"),
        (
            (source, f"{rows:,}", about.get(source, ""), masked.get(source, ""))
            for source, rows in card.data.sources.items()
        ),
    )
    if dropped:
        table += "\n\nLeft out: " + ", ".join(dropped) + "."
    return table
