"""What models say of one text, side by side. Needs no extra."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from moderation.errors import ArtifactError
from moderation.filters.classifier import WEIGHTS
from moderation.models import Classifier
from moderation.models.artifact import CARD_FILE
from moderation.policy import did_you_mean, shipped_policies

BAR = 20


def model_folder(name: str | Path) -> Path:
    """The folder of a model: a path, or the name of a shipped one.

    Raises ArtifactError, naming those that are there.
    """
    path = Path(name)
    if path.is_dir():
        return path
    shipped = sorted(file.parent.name for file in WEIGHTS.glob(f"*/{CARD_FILE}"))
    if str(name) in shipped:
        return WEIGHTS / str(name)
    raise ArtifactError(
        f"{name}: no folder there, and no such model or policy is shipped; models: "
        f"{did_you_mean(str(name), shipped)}; policies: {', '.join(shipped_policies())}"
    )


def predictions(models: Sequence[str | Path], text: str) -> list[dict[str, Any]]:
    """For each model its name, its task, a probability for each label, and the words it points at.

    Raises ArtifactError where a model is missing or damaged.
    """
    result = []
    for name in models:
        classifier = Classifier.load(model_folder(name))
        [found] = classifier.predict([text])
        result.append(
            {
                "model": classifier.card.name,
                "fingerprint": classifier.fingerprint,
                "task": classifier.card.task,
                "scores": {
                    label: round(float(score), 6)
                    for label, score in zip(classifier.labels, found.probabilities, strict=True)
                },
                "words": [
                    {"begin": span.begin, "end": span.end, "score": round(span.score, 6)}
                    for span in found.spans
                ],
            }
        )
    return result


def show(found: Sequence[dict[str, Any]], text: str, console: Console) -> None:
    """A line for each label, the likeliest first, and a column for each model."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("")
    for each in found:
        table.add_column(each["model"])
    labels = dict.fromkeys(label for each in found for label in each["scores"])
    ranked = sorted(labels, key=lambda label: -max(e["scores"].get(label, -1) for e in found))
    for label in ranked:
        cells = [Text(label)]
        for each in found:
            score = each["scores"].get(label)
            if score is None:
                cells.append(Text("–", style="dim"))
                continue
            first = each["task"] == "multi_class" and score == max(each["scores"].values())
            style = "bold" if first or (each["task"] == "multi_label" and score >= 0.5) else "dim"
            full = round(score * BAR)
            cells.append(
                Text("█" * full, style=style)
                + Text("░" * (BAR - full), style="dim")
                + Text(f" {score:.3f}", style=style)
            )
        table.add_row(*cells)
    console.print(table)
    for each in found:
        if each["words"]:
            words = ", ".join(
                f"{_shown(text[word['begin'] : word['end']])} ({word['score']:.2f})"
                for word in each["words"]
            )
            console.print(Text(f"{each['model']} points at: {words}"))


def _shown(piece: str) -> str:
    # Controls would act on the terminal instead of being shown.
    return "".join(char if char.isprintable() else "�" for char in piece)
