"""Scores a model or a policy on the functional suite; README.md says what each kind measures.

python benchmarks/functional/run.py                        the default policy
python benchmarks/functional/run.py --policy accurate      a shipped policy, or a YAML file
python benchmarks/functional/run.py --model FOLDER         one model artifact, no other filter
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score, roc_auc_score

from moderation import ModerationError, Moderator
from moderation.models import Classifier

SUITE = Path(__file__).parent / "suite.jsonl"
THRESHOLD = 0.5
CATEGORIES = (
    "identity_attack",
    "toxic",
    "threat",
    "insult",
    "violence",
    "sexual",
    "self_harm",
    "obscene",
)
TEMPLATES = ("identity.neutral", "identity.template_hate")

Scores: TypeAlias = dict[str, NDArray[np.float64]]
"""[rows] for each category, 0 to 1; a category that the system never reports is absent."""


class Row(NamedTuple):
    text: str
    kind: str
    labels: dict[str, int]
    twin: str | None
    group: str | None = None


def read_suite(path: Path = SUITE) -> list[Row]:
    return [Row(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]


def model_scores(folder: str, texts: list[str]) -> Scores:
    model = Classifier.load(folder)
    columns = model.predict_proba(texts).astype(np.float64).T
    return dict(zip(model.labels, columns, strict=True))


def policy_scores(policy: str, texts: list[str]) -> tuple[Scores, Counter[str]]:
    """Also why steps gave no score, and how often: then the numbers are not the whole policy's."""
    verdicts = Moderator(policy).moderate_batch(texts, exhaustive=True)
    reported = {category for verdict in verdicts for category in verdict.scores}
    scores = {
        category: np.array([verdict.scores.get(category, 0.0) for verdict in verdicts])
        for category in reported
    }
    gaps = Counter(
        f"step {trace.step} {trace.status}: {trace.reason}"
        for verdict in verdicts
        for trace in verdict.trace
        if trace.status == "failed" or trace.reason == "language"
    )
    return scores, gaps


def measure(rows: list[Row], scores: Scores) -> dict[str, Any]:
    """Numbers for the report.

    Returns:
        `kinds`: for each kind n, its twin, and for each labelled category that is reported
        {"label", "n", "accuracy"}; `categories`: n of each side, recall, false-positive rate, AUC
        and macro-F1; `identity_attack`: macro-F1 of all rows and of the hand-written ones;
        `neutral`: false-positive rates on the identity templates, whole and for each term.
    """
    kinds: dict[str, dict[str, Any]] = {}
    members: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        members[row.kind].append(index)
    for kind, indices in members.items():
        cells = {}
        for category in scores:
            labelled = [index for index in indices if category in rows[index].labels]
            if labelled:
                truth = np.array([rows[index].labels[category] for index in labelled])
                correct = (scores[category][labelled] >= THRESHOLD) == truth
                # The labels of a kind never differ, so accuracy is recall or specificity.
                label = int(truth[0])
                cells[category] = {
                    "label": label,
                    "n": len(labelled),
                    "accuracy": float(correct.mean()),
                }
        kinds[kind] = {"n": len(indices), "twin": rows[indices[0]].twin, "categories": cells}

    categories = {}
    for category in CATEGORIES:
        if category in scores:
            labelled = [index for index, row in enumerate(rows) if category in row.labels]
            truth = np.array([rows[index].labels[category] for index in labelled])
            score = scores[category][labelled]
            categories[category] = {
                "positive": int(truth.sum()),
                "negative": int((1 - truth).sum()),
                "recall": float((score[truth == 1] >= THRESHOLD).mean()),
                "false_positive_rate": float((score[truth == 0] >= THRESHOLD).mean()),
                "auc": float(roc_auc_score(truth, score)),
                "macro_f1": _macro_f1(rows, scores, category, labelled),
            }

    identity = [index for index, row in enumerate(rows) if "identity_attack" in row.labels]
    written = [index for index in identity if rows[index].kind not in TEMPLATES]
    neutral: dict[str, Any] = {"n": len(members["identity.neutral"])}
    for category in ("identity_attack", "toxic", "sexual"):
        if category in scores:
            flagged = scores[category] >= THRESHOLD
            by_group: dict[str, list[bool]] = defaultdict(list)
            for index in members["identity.neutral"]:
                by_group[str(rows[index].group)].append(bool(flagged[index]))
            neutral[category] = {
                "false_positive_rate": float(flagged[members["identity.neutral"]].mean()),
                "by_group": {group: float(np.mean(hits)) for group, hits in by_group.items()},
            }
    return {
        "threshold": THRESHOLD,
        "n": len(rows),
        "kinds": kinds,
        "categories": categories,
        "identity_attack": {
            "macro_f1": _macro_f1(rows, scores, "identity_attack", identity),
            "macro_f1_hand_written": _macro_f1(rows, scores, "identity_attack", written),
        },
        "neutral": neutral,
    }


def _macro_f1(rows: list[Row], scores: Scores, category: str, indices: list[int]) -> float | None:
    if category not in scores:
        return None
    truth = [rows[index].labels[category] for index in indices]
    return float(
        f1_score(truth, scores[category][indices] >= THRESHOLD, average="macro", zero_division=0.0)
    )


def show(numbers: dict[str, Any], console: Console) -> None:
    reported = [category for category in CATEGORIES if category in numbers["categories"]]
    title = f"Accuracy at {THRESHOLD} (+ rows of label 1, - rows of label 0)"
    table = Table(title=title, title_justify="left")
    table.add_column("kind", no_wrap=True)
    table.add_column("n", justify="right")
    for category in reported:
        table.add_column(category.replace("_", "\n"), justify="right", no_wrap=True)
    for kind, found in numbers["kinds"].items():
        cells = []
        for category in reported:
            cell = found["categories"].get(category)
            cells.append(f"{'-+'[cell['label']]} {cell['accuracy']:.2f}" if cell else "")
        table.add_row(kind, str(found["n"]), *cells)
    console.print(table)

    totals = Table(title="Totals", title_justify="left")
    for name in ("category", "label 1", "label 0", "recall", "false positives", "AUC", "macro-F1"):
        totals.add_column(name, justify="left" if name == "category" else "right")
    for category, found in numbers["categories"].items():
        rates = (found[key] for key in ("recall", "false_positive_rate", "auc", "macro_f1"))
        totals.add_row(
            category,
            str(found["positive"]),
            str(found["negative"]),
            *(f"{rate:.3f}" for rate in rates),
        )
    console.print(totals)
    unreported = [category for category in CATEGORIES if category not in reported]
    if unreported:
        console.print(f"Not reported by this system: {', '.join(unreported)}")

    identity = numbers["identity_attack"]
    if identity["macro_f1"] is not None:
        console.print(
            f"identity_attack macro-F1: {identity['macro_f1']:.3f} of all rows, "
            f"{identity['macro_f1_hand_written']:.3f} of the hand-written ones"
        )
    for category, found in numbers["neutral"].items():
        if category == "n":
            continue
        worst = sorted(found["by_group"].items(), key=lambda item: -item[1])[:5]
        names = ", ".join(f"{group} {rate:.2f}" for group, rate in worst if rate)
        console.print(
            f"False positives of {category} on identity.neutral: "
            f"{found['false_positive_rate']:.3f}" + (f" (most: {names})" if names else "")
        )


def main() -> int:
    parser = argparse.ArgumentParser(description="Score a system on the functional suite.")
    system = parser.add_mutually_exclusive_group()
    system.add_argument("--policy", default="default", help="a shipped policy or a YAML file")
    system.add_argument("--model", metavar="FOLDER", help="a model artifact, without a policy")
    parser.add_argument("--json", metavar="FILE", type=Path, help="also write the numbers here")
    options = parser.parse_args()

    rows = read_suite()
    texts = [row.text for row in rows]
    gaps: Counter[str] = Counter()
    try:
        if options.model:
            scores = model_scores(options.model, texts)
        else:
            scores, gaps = policy_scores(options.policy, texts)
    except ModerationError as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 2
    for gap, count in gaps.most_common():
        print(f"run.py: no score for {count} of {len(rows)} texts: {gap}", file=sys.stderr)
    if not set(scores) & set(CATEGORIES):
        print(
            f"run.py: expected scores of at least one of {', '.join(CATEGORIES)}; "
            f"found {', '.join(sorted(scores)) or 'none'}. Does the policy have a classifier step?",
            file=sys.stderr,
        )
        return 2

    numbers = {"system": options.model or options.policy, "gaps": dict(gaps)}
    numbers |= measure(rows, scores)
    # Wide enough for every category when the output goes to a file.
    show(numbers, Console(width=None if sys.stdout.isatty() else 120))
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
