"""Quality of policies on the test split, by source, beside alt-profanity-check.

    pip install '.[train]' alt-profanity-check && python benchmarks/quality.py

Needs the training data's test part (MODERATION_DATA). The peer gives one number, profanity or
offence; it is compared on `toxic`, which is what it was made for. It was trained on the tweets of
Davidson et al. and on Jigsaw's Wikipedia comments, test rows included, so that its figures for
those two sources are not of unseen text. Intervals are 95 % bootstrap.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import pandas as pd
from rich.console import Console
from rich.progress import track
from rich.table import Table
from texts import DATA

from moderation import Moderator
from moderation.evaluation.metrics import decisions, ranking

# Left out of training for their licences or because they are personal: not measured here either.
LEFT_OUT = (
    "unhealthy_conversations",
    "safety_tuned_instructions",
    "alpaca_instructions",
    "toxicr_code_review",
    "reddit_suicidewatch",
)
FEWEST = 20
WIKIPEDIA = ("jigsaw_wikipedia", "wikipedia_context_toxicity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--policy", action="append", help="again for more; default and accurate unless told"
    )
    parser.add_argument("--label", default="toxic")
    parser.add_argument("--json", type=Path, help="Write the numbers here as well.")
    args = parser.parse_args()

    table = DATA / "moderation_train.parquet"
    if not table.is_file():
        sys.exit(f"the data is not at {table}; set MODERATION_DATA to the folder that holds it")
    frame = pd.read_parquet(table)
    frame = frame[(frame.split == "test") & ~frame.source.isin(LEFT_OUT)]
    frame = frame[frame[args.label].notna()].reset_index(drop=True)

    console = Console(width=None if sys.stdout.isatty() else 130)
    systems = args.policy or ["default", "accurate"]
    for policy in systems:
        verdicts = Moderator(policy).moderate_iter(frame.text, exhaustive=True)
        told = Console(stderr=True)
        progress = track(verdicts, total=len(frame), console=told, description=policy)
        frame[policy] = [verdict.scores.get(args.label, 0.0) for verdict in progress]
    if args.label == "toxic":
        from profanity_check import predict_prob

        systems.append("alt-profanity-check")
        frame[systems[-1]] = predict_prob(frame.text.tolist())

    shown = Table(title=f"{args.label}, test split", title_justify="left")
    for column in ("source", "rows", "positive"):
        shown.add_column(column, justify="left" if column == "source" else "right")
    for name in systems:
        shown.add_column(f"AUC, {name}", justify="right")
        shown.add_column("macro-F1", justify="right")
    numbers: dict[str, object] = {}
    wikipedia = frame[frame.source.isin(WIKIPEDIA)]
    groups = [("all", frame), ("both of Wikipedia", wikipedia), *frame.groupby("source")]
    for source, part in groups:
        truth = (part[args.label] >= 0.5).to_numpy()
        if min(truth.sum(), (~truth).sum()) < FEWEST:
            continue
        row = [str(source), f"{len(part):,}", f"{truth.mean():.0%}"]
        entry: dict[str, object] = {"rows": len(part), "positives": int(truth.sum())}
        for name in systems:
            scores = part[name].to_numpy(dtype=float)
            auc = ranking(truth, scores).auc
            f1 = decisions(truth, scores >= 0.5).macro_f1
            row += [f"{auc.value:.3f} ({auc.low:.3f}–{auc.high:.3f})", f"{f1.value:.3f}"]
            entry[name] = {"AUC": auc.rounded(), "macro F1": f1.rounded()}
        numbers[str(source)] = entry
        shown.add_row(*row, end_section=source == "both of Wikipedia")
    console.print(shown)
    if args.json:
        args.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
