"""What a trained model says of the texts that another is trained on: soft targets.

Hinton et al. 2015, arXiv 1503.02531. A large model (the teacher) fills in the labels that the data
leaves empty, and softens those that it has, for a small one (the student).
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from moderation.errors import ConfigError
from moderation.models.classifier import Classifier
from moderation.training.data import Rows, load_rows, read_table
from moderation.training.recipe import read_recipe

KEY = "text_sha1"
CHUNK = 4096


def text_key(text: str) -> str:
    return hashlib.sha1(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()


def write_soft_targets(
    teacher: str | Path,
    recipe_path: str | Path,
    output: str | Path,
    *,
    more_texts: Sequence[str] = (),
    threads: int | None = None,
) -> Path:
    """Scores the training texts of a recipe, and `more_texts`, with the model folder `teacher`.

    The Parquet file `output` has a row a text: `text_sha1` (hexadecimal, of its UTF-8 bytes) and
    one calibrated probability for each label of the teacher. It holds no texts.
    """
    model = Classifier.load(teacher, threads=threads)
    path = Path(recipe_path)
    texts = load_rows(read_recipe(path), path).part("train").texts
    texts = sorted({*texts, *more_texts}, key=len)
    said = [
        model.predict_proba(texts[begin : begin + CHUNK])
        for begin in track(
            range(0, len(texts), CHUNK), "scoring", console=Console(stderr=True), transient=True
        )
    ]
    import pyarrow
    import pyarrow.parquet

    columns = np.concatenate(said).astype(np.float16).T
    table = pyarrow.table(
        {KEY: [text_key(text) for text in texts], **dict(zip(model.labels, columns, strict=True))}
    )
    target = Path(output)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}")
    pyarrow.parquet.write_table(table, temporary, compression="zstd")
    os.replace(temporary, target)
    return target


def with_soft_targets(
    rows: Rows, labels: Sequence[str], path: str | Path, *, weight: float = 0.5
) -> Rows:
    """`rows` with what the teacher said: `weight` of it where a label is known, all where not.

    Raises ConfigError where the file is missing, lacks a label, or knows fewer than half of the
    rows' texts, as it then was made from other data.
    """
    file = Path(path)
    frame = read_table(file)
    if missing := sorted({KEY, *labels} - set(frame.columns)):
        raise ConfigError(f"no column {', '.join(missing)}; score again", where=str(file))
    place = {key: number for number, key in enumerate(frame[KEY])}
    found = np.asarray([place.get(text_key(text), -1) for text in rows.texts])
    if len(found) and (found >= 0).mean() < 0.5:
        raise ConfigError(
            f"knows {(found >= 0).mean():.0%} of the training texts; score those of this recipe",
            where=str(file),
        )
    soft = frame[list(labels)].to_numpy(np.float32)[found]
    soft[found < 0] = np.nan
    mixed = (1 - weight) * rows.targets + weight * soft
    targets = np.where(np.isnan(rows.targets), soft, mixed)
    targets = np.where(np.isnan(soft), rows.targets, targets)
    return dataclasses.replace(rows, targets=targets.astype(np.float32))
