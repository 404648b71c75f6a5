"""What a trained model says of the texts that another is trained on: soft targets.

Hinton et al. 2015, arXiv 1503.02531. A large model (the teacher) fills in the labels that the data
leaves empty, and softens those that it has, for a small one (the student).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from moderation.errors import ConfigError
from moderation.models.artifact import ModelCard
from moderation.models.classifier import Classifier
from moderation.training.data import Rows
from moderation.training.recipe import Distillation

CHUNK = 4096
CHARACTERS = 5
"""Of a token, about: the teacher is asked of as much of a text as the student is shown."""


def taught(
    rows: Rows, distillation: Distillation, recipe_path: Path, run_folder: Path, max_length: int
) -> tuple[Rows, str]:
    """`rows` with the teacher's opinion mixed in, and the teacher's name and `makes`.

    `max_length` is what the student reads, in tokens. What the teacher says is kept in
    `run_folder`, so that a run that was interrupted goes on where it was.

    Raises ArtifactError where the teacher cannot be loaded, ConfigError where it does not know a
    label.
    """
    teacher = Classifier.load(recipe_path.parent / distillation.teacher)
    if missing := sorted(set(rows.labels) - set(teacher.labels)):
        raise ConfigError(
            f"does not know {', '.join(missing)}; choose a teacher that does",
            where=f"{recipe_path}: distillation.teacher",
        )
    places = [teacher.labels.index(label) for label in rows.labels]
    texts = [text[: CHARACTERS * max_length] for text in rows.texts]
    soft = soft_targets(teacher, texts, run_folder / "soft-targets")[:, places]
    return mixed(rows, soft, distillation.weight), f"{teacher.card.name} {makes(teacher.card)}"


def makes(card: ModelCard) -> str:
    """Twelve hex digits that change with whatever changes a model's answers, not with its card."""
    return hashlib.sha256(_made(card).encode()).hexdigest()[:12]


def _made(card: ModelCard) -> str:
    return json.dumps(
        [sorted(card.files.items()), card.calibration.model_dump(), card.max_length, card.stride]
    )


def soft_targets(teacher: Classifier, texts: Sequence[str], folder: Path) -> NDArray[np.float32]:
    """Calibrated probabilities [texts, labels of the teacher], kept by chunks in `folder`.

    A chunk's file is named by the texts and by what makes the teacher's answers, and holds no
    texts: what was asked before is not asked again.
    """
    made = _made(teacher.card)
    folder.mkdir(parents=True, exist_ok=True)
    # Texts of about one length together: little of a batch is padding.
    order = sorted(range(len(texts)), key=lambda place: (len(texts[place]), texts[place]))
    result = np.empty((len(texts), len(teacher.labels)), np.float32)
    for begin in track(
        range(0, len(order), CHUNK), "asking the teacher", console=Console(stderr=True)
    ):
        chunk = order[begin : begin + CHUNK]
        asked = [texts[place] for place in chunk]
        digest = hashlib.sha256(made.encode())
        for text in asked:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        file = folder / f"{digest.hexdigest()[:32]}.npy"
        if file.exists():
            said = np.load(file, allow_pickle=False).astype(np.float32)
        else:
            said = teacher.predict_proba(asked)
            temporary = file.with_suffix(".part")
            with temporary.open("wb") as stream:
                np.save(stream, said.astype(np.float16), allow_pickle=False)
            os.replace(temporary, file)
            said = said.astype(np.float16).astype(np.float32)
        result[chunk] = said
    return result


def mixed(rows: Rows, soft: NDArray[np.float32], weight: float) -> Rows:
    """`rows` with `soft` [rows, labels]: `weight` of it where a label is known, all where not."""
    targets = np.where(np.isnan(rows.targets), soft, (1 - weight) * rows.targets + weight * soft)
    return dataclasses.replace(rows, targets=targets.astype(np.float32))
