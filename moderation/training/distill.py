"""What a trained model says of the texts that another is trained on: soft targets.

Hinton et al. 2015, arXiv 1503.02531. A large model (the teacher) fills in the labels that the data
leaves empty, and softens those that it has, for a small one (the student). A student as large as
its teachers learns from them too (born-again networks, Furlanello et al. 2018, arXiv 1805.04770).
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
from moderation.training.data import CONTRAST, Rows
from moderation.training.recipe import Distillation

CHUNK = 4096
SURE = 1e-4
"""No teacher is surer than this: one of several does not outweigh the rest."""

CHARACTERS = 5
"""Of a token, about: the teacher is asked of as much of a text as the student is shown."""


def taught(
    rows: Rows, distillation: Distillation, recipe_path: Path, run_folder: Path, max_length: int
) -> tuple[Rows, str]:
    """`rows` with the teachers' opinion mixed in, and the name and `makes` of each teacher.

    The opinion of several is the mean of their logits. Contrast rows keep the labels that they
    were written with: they are there because models get them wrong. `max_length` is what the
    student reads, in tokens. What a teacher says is kept in `run_folder`, so that a run that was
    interrupted goes on where it was.

    Raises ArtifactError where a teacher cannot be loaded, ConfigError where it does not know a
    label.
    """
    natural = np.flatnonzero(rows.sources != CONTRAST)
    texts = [rows.texts[place][: CHARACTERS * max_length] for place in natural]
    names, logits = [], []
    for folder in distillation.teachers:
        teacher = Classifier.load(recipe_path.parent / folder)
        if missing := sorted(set(rows.labels) - set(teacher.labels)):
            raise ConfigError(
                f"{folder} does not know {', '.join(missing)}; choose a teacher that does",
                where=f"{recipe_path}: distillation.teachers",
            )
        places = [teacher.labels.index(label) for label in rows.labels]
        said = soft_targets(teacher, texts, run_folder / "soft-targets")[:, places]
        said = np.clip(said, SURE, 1 - SURE)
        logits.append(np.log(said / (1 - said)))
        names.append(f"{teacher.card.name} {makes(teacher.card)}")
    opinion = np.full_like(rows.targets, np.nan)
    opinion[natural] = 1 / (1 + np.exp(-np.mean(logits, axis=0)))
    return mixed(rows, opinion, distillation.weight), ", ".join(names)


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
    """`rows` with `soft` [rows, labels], NaN where the teacher was not asked.

    `weight` of it where a label is known, all of it where not.
    """
    both = (1 - weight) * rows.targets + weight * soft
    targets = np.where(np.isnan(rows.targets), soft, np.where(np.isnan(soft), rows.targets, both))
    return dataclasses.replace(rows, targets=targets.astype(np.float32))
