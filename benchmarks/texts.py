"""The texts that the benchmarks run on: the test split where the data lies, else our own."""

from __future__ import annotations

import os
import random
from dataclasses import dataclass
from pathlib import Path

DATA = Path(
    os.environ.get("MODERATION_DATA")
    or Path(__file__).resolve().parent.parent.parent / "shared" / "data"
)


@dataclass(frozen=True)
class Texts:
    texts: list[str]
    told: str
    """What they are, for the head of a table."""


def sample(count: int, seed: int = 7) -> Texts:
    """`count` texts of the length that people post, drawn at random."""
    table = DATA / "moderation_train.parquet"
    if table.is_file():
        import pandas as pd

        frame = pd.read_parquet(table, columns=["text", "split"])
        texts = frame.loc[frame.split == "test", "text"].sample(count, random_state=seed).tolist()
        return Texts(texts, f"{count:,} rows of the test split")
    from moderation.training.contrast import contrast_rows

    rng = random.Random(seed)
    rows = [row.text for row in contrast_rows()]
    texts = [" ".join(rng.sample(rows, rng.randint(1, 3))) for _ in range(count)]
    return Texts(texts, f"{count:,} texts of the contrast sets (the data sets are not here)")
