"""Throughput and latency of the shipped chains beside their peers, in one run on the same texts.

    pip install '.[train]' alt-profanity-check && python benchmarks/speed.py

The peers: a BERT-base classifier in torch, the shape that Detoxify runs, with random weights
(speed does not depend on them), and alt-profanity-check, a linear model on word counts. Every
round times each of them once, so that a change of the machine's speed meets them all; the table
shows medians over the rounds, and the ratios are medians of the ratios within a round.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).parent))

from rich.console import Console
from rich.progress import track
from rich.table import Table
from texts import natural

from moderation import Moderator


def bert_base(texts: list[str]) -> Callable[[int], None]:
    """A BERT-base classifier on `n` of the texts, sorted by length, in batches of 32."""
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertForSequenceClassification

    torch.set_num_threads(os.cpu_count() or 1)
    weights = Path(__file__).parent.parent / "moderation" / "weights" / "toxicity-lstm"
    tokenizer = Tokenizer.from_file(str(weights / "tokenizer.json"))
    tokenizer.enable_truncation(512)
    model = BertForSequenceClassification(BertConfig(num_labels=6)).eval()

    def run(count: int) -> None:
        rows = sorted((e.ids for e in tokenizer.encode_batch(texts[:count])), key=len)
        with torch.inference_mode():
            for begin in range(0, count, 32):
                batch = rows[begin : begin + 32]
                longest = len(batch[-1])
                ids = torch.tensor([row + [0] * (longest - len(row)) for row in batch])
                mask = torch.tensor([[1] * len(r) + [0] * (longest - len(r)) for r in batch])
                model(input_ids=ids, attention_mask=mask)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--policy", action="append", help="again for more; default and accurate unless told"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--bert-texts", type=int, default=96, help="BERT-base is slow: fewer do")
    args = parser.parse_args()

    drawn = natural(args.texts)
    texts = drawn.texts
    moderators = {
        f"policy {name}": Moderator(name) for name in args.policy or ("default", "accurate")
    }
    for moderator in moderators.values():
        moderator.moderate_batch(texts[:512])
    bert = bert_base(texts)
    bert(16)
    from profanity_check import predict_prob

    predict_prob(texts[:16])

    # Importing torch and transformers leaves a million objects that a process without them does not
    # have; Python's garbage collector would look through them again and again.
    gc.collect()
    gc.freeze()
    runs: dict[str, tuple[Callable[[int], object], int]] = {
        name: (lambda n, m=moderator: m.moderate_batch(texts[:n]), len(texts))
        for name, moderator in moderators.items()
    }
    runs["BERT-base, torch"] = (bert, args.bert_texts)
    runs["alt-profanity-check"] = (lambda n: predict_prob(texts[:n]), len(texts))
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for _ in track(range(args.rounds), description="bulk", console=Console(stderr=True)):
        for name, (run, count) in runs.items():
            began = perf_counter()
            run(count)
            rates[name].append(count / (perf_counter() - began))

    table = Table(title=f"Bulk, {drawn.told}, {os.cpu_count()} cores", title_justify="left")
    for column in ("", "texts a second", "times BERT-base, torch"):
        table.add_column(column, justify="left" if not column else "right")
    for name, found in rates.items():
        ratio = statistics.median(
            a / b for a, b in zip(found, rates["BERT-base, torch"], strict=True)
        )
        table.add_row(name, f"{statistics.median(found):,.0f}", f"{ratio:,.0f}")
    console = Console()
    console.print(table)

    for name, moderator in moderators.items():
        times: list[float] = []
        for text in texts[:1000]:
            began = perf_counter()
            moderator.moderate(text)
            times.append((perf_counter() - began) * 1e3)
        cuts = statistics.quantiles(times, n=100)
        console.print(
            f"{name}, single text: median {statistics.median(times):.2f} ms, "
            f"90th percentile {cuts[89]:.2f} ms, 99th {cuts[98]:.2f} ms"
        )
        steps: dict[str, list[float]] = {}
        for verdict in moderator.moderate_batch(texts):
            for trace in verdict.trace:
                if trace.status == "ran":
                    steps.setdefault(trace.step, []).append(trace.ms)
        for step, spent in steps.items():
            share = len(spent) / len(texts)
            console.print(
                f"  in bulk, step {step}: {sum(spent) / len(spent):.3f} ms a text, "
                f"{share:.0%} of texts"
            )


if __name__ == "__main__":
    main()
