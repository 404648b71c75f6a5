"""What a policy still finds when the same texts are disguised, and what it then wrongly flags.

    pip install '.[train]' && python benchmarks/disguise.py

Every drawn text of the test split is judged as it is and, several times, disguised: its listed
words, else some content words, in leetspeak, look-alike letters, spaces, masks, repeats and the
rest of what `moderation.training.disguise` makes. Needs the training data's test part
(MODERATION_DATA). The models were trained on a share of texts disguised by the same code, so that
this says how well that was learnt, and not how well a disguise nobody thought of is read.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from texts import DATA

from moderation import Action, Moderator
from moderation.evaluation.metrics import wilson
from moderation.training.disguise import disguise

LABELS = ("toxic", "identity_attack", "obscene", "insult", "threat")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--policy", action="append", help="again for more; default and accurate unless told"
    )
    parser.add_argument("--texts", type=int, default=1000, help="of each label and side")
    parser.add_argument("--draws", type=int, default=5, help="disguises of each text")
    args = parser.parse_args()
    table = DATA / "moderation_train.parquet"
    if not table.is_file():
        sys.exit(f"the data is not at {table}; set MODERATION_DATA to the folder that holds it")
    frame = pd.read_parquet(table)
    frame = frame[frame.split == "test"]
    generator = random.Random(7)
    console = Console(width=None if sys.stdout.isatty() else 120)
    for policy in args.policy or ("default", "accurate"):
        moderator = Moderator(policy)
        shown = Table(title=f"policy {policy}, recall at one half", title_justify="left")
        for column in ("", "texts", "plain", "disguised", "lost, points"):
            shown.add_column(column, justify="left" if not column else "right")
        for label in LABELS:
            texts = frame.text[frame[label] >= 0.5]
            texts = texts.sample(min(args.texts, len(texts)), random_state=7).tolist()
            drawn = [[disguise(text, generator) for text in texts] for _ in range(args.draws)]
            plain, *hidden = (
                np.array([v.scores.get(label, 0.0) >= 0.5 for v in moderator.moderate_batch(each)])
                for each in (texts, *drawn)
            )
            # Text by text, so that the interval is of the loss and not of two recalls.
            lost = 100 * (plain - np.mean(hidden, axis=0))
            half = 1.96 * lost.std(ddof=1) / np.sqrt(len(lost))
            shown.add_row(
                label,
                f"{len(texts):,}",
                f"{plain.mean():.3f}",
                f"{np.mean(hidden):.3f}",
                f"{lost.mean():.1f} ({lost.mean() - half:.1f} to {lost.mean() + half:.1f})",
            )
        texts = frame.text[frame.toxic == 0].sample(args.texts, random_state=7).tolist()
        row = ["harmless texts flagged", f"{len(texts):,}"]
        for each in (texts, [disguise(text, generator) for text in texts]):
            flagged = sum(v.action > Action.ALLOW for v in moderator.moderate_batch(each))
            share = wilson(flagged, len(each))
            row.append(f"{share.value:.3f} ({share.low:.3f}–{share.high:.3f})")
        shown.add_section()
        shown.add_row(*row, "")
        console.print(shown)


if __name__ == "__main__":
    main()
