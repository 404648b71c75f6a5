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


TOXIC_SHARE = 0.08
"""Of natural traffic: about the share of Civil Comments whose toxicity is 0.5 or more (Borkan et
al. 2019, arXiv 1903.04561)."""

ORDINARY = (
    "wikipedia_context_toxicity",
    "sentiment140_sample",
    "airline_tweets",
    "goemotions_positive",
    "sst2_reviews",
    "ag_news_sample",
)
"""Sources that nobody searched for abuse: talk pages, tweets, Reddit, reviews, news."""


def natural(count: int, seed: int = 7) -> Texts:
    """`count` texts in the proportion that a site sees: ordinary ones, and some toxic of any."""
    table = DATA / "moderation_train.parquet"
    if not table.is_file():
        return sample(count, seed)
    import pandas as pd

    frame = pd.read_parquet(table, columns=["text", "source", "split", "toxic"])
    frame = frame[frame.split == "test"]
    toxic = frame[frame.toxic >= 0.5]
    ordinary = frame[frame.source.isin(ORDINARY) & (frame.toxic < 0.5)]
    wanted = round(count * TOXIC_SHARE)
    drawn = pd.concat(
        [
            toxic.sample(wanted, random_state=seed),
            ordinary.sample(count - wanted, random_state=seed, replace=len(ordinary) < count),
        ]
    ).sample(count, random_state=seed)
    told = f"{count:,} texts of the test split: ordinary ones and {TOXIC_SHARE:.0%} toxic ones"
    return Texts(drawn.text.tolist(), told)


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
