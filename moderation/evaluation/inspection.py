"""What is in a labelled file, before anything is trained on it."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ArtifactError, ConfigError, MissingExtraError
from moderation.evaluation import plots
from moderation.evaluation.labelled import read_columns
from moderation.evaluation.output import write_whole
from moderation.evaluation.page import Page, table, tiles
from moderation.filters.classifier import WEIGHTS
from moderation.models.artifact import TOKENIZER_FILE

NEAR = 0.8
"""Jaccard similarity of character shingles from which two texts are nearly the same."""
SHINGLE = 5
HASHES = 64
SHOWN = 15
PERCENTILES = (50, 90, 95, 99, 100)
MAX_LENGTHS = (32, 48, 64, 96, 128, 192, 256, 384, 512)
COVERED = 0.99
DISAGREE = 0.5

_PUNCTUATION = re.compile(r"[^\w]+")

Advance = Callable[[int], Any]


@dataclass(frozen=True)
class Inspection:
    """`numbers` is everything but the texts, and names rows by their place in the file, from 1.

    `groups` maps "duplicates", "near-duplicates", "conflicts" and "leaks" to groups of places in
    `texts`; a leak is a group that reaches into two splits.
    """

    numbers: dict[str, Any]
    texts: list[str] = field(repr=False)
    groups: dict[str, list[list[int]]] = field(repr=False)

    def text(self) -> str:
        """For a terminal: numbers and row numbers, no texts."""
        return "\n".join(_told(self)) + "\n"

    def write_json(self, path: str | Path) -> None:
        write_whole(path, json.dumps(self.numbers, indent=1) + "\n")


def inspect(
    path: str | Path,
    *,
    text: Sequence[str] = ("text",),
    labels: Sequence[str] = (),
    target: str | None = None,
    split: str | None = None,
    tokenizer: str | Path | None = None,
    near: bool = True,
    advance: Advance = lambda count: None,
) -> Inspection:
    """Reads CSV, TSV, JSON lines or Parquet.

    Args:
        text: columns, joined by a line break where there are several.
        labels: columns with numbers from 0 to 1; by default every such column of the file.
        target: column with classes.
        split: column with the part that a row belongs to; by default `split`, if there is one.
        tokenizer: a model folder or a tokenizer.json to count tokens by; by default that of a
            shipped model.
        near: whether to look for near-duplicates too, which takes most of the time.
        advance: told how many more texts have been compared.

    Raises:
        ConfigError: the file or a column is not as expected; names the place.
    """
    file = Path(path)
    columns = read_columns(file, text=text, labels=labels, target=target, split=split)
    texts, named = columns.texts, columns.labels
    # Copies differ in case, spacing and punctuation more often than in nothing.
    keys = [_PUNCTUATION.sub(" ", item.casefold()).strip() or item.strip() for item in texts]
    blank = [row for row, item in enumerate(texts) if not item.strip()]
    same: dict[str, list[int]] = defaultdict(list)
    for row, key in enumerate(keys):
        if key:
            same[key].append(row)
    duplicates = [group for group in same.values() if len(group) > 1]
    nearly = list(_near_duplicates(list(same), advance)) if near else []
    firsts = [group[0] for group in same.values()]
    whole = {group[0]: group for group in same.values()}
    near_groups = [sorted(firsts[place] for place in group) for group in nearly]
    conflicts = [
        group
        for group in duplicates
        if _disagree(columns.targets[group]) or len({columns.classes[row] for row in group}) > 1
    ]
    leaks: list[list[int]] = []
    if (splits := columns.splits) is not None:
        wide = [sorted(itertools.chain(*(whole[row] for row in group))) for group in near_groups]
        inside = set(itertools.chain(*wide))
        wide += [group for group in duplicates if group[0] not in inside]
        leaks = [group for group in wide if len({splits[row] for row in group}) > 1]
    groups = {
        "duplicates": _largest(duplicates),
        "near-duplicates": _largest(near_groups),
        "conflicts": _largest(conflicts),
        "leaks": _largest(leaks),
    }
    numbers: dict[str, Any] = {
        "file": file.name,
        "rows": len(texts),
        "empty texts": {"rows": len(blank), "first": [row + 1 for row in blank[:SHOWN]]},
        "duplicates": _counted(groups["duplicates"]),
        "near-duplicates": _counted(groups["near-duplicates"]) if near else None,
        "conflicts": _counted(groups["conflicts"]),
        "splits": dict(Counter(columns.splits or [])),
        "leaks": _leaks(groups["leaks"], columns.splits),
        "labels": _balance(named, columns.targets),
        "classes": dict(Counter(columns.classes).most_common()) if target else {},
        "co-occurrence": _together(named, columns.targets),
        "length": _lengths(texts, tokenizer),
    }
    return Inspection(numbers, texts, groups)


def _near_duplicates(keys: list[str], advance: Advance) -> Iterator[list[int]]:
    """Groups of places whose keys are alike: MinHash (Broder 1997) proposes, Jaccard decides.

    A chain of neighbours makes one group, so its ends may be less alike than `NEAR`.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError as error:
        raise MissingExtraError(
            "datasketch", extra="train", needed_for="near-duplicates"
        ) from error
    index = MinHashLSH(threshold=NEAR - 0.1, num_perm=HASHES)
    model = MinHash(num_perm=HASHES, seed=1)
    parents: dict[int, int] = {}

    def root(place: int) -> int:
        while parents.setdefault(place, place) != place:
            parents[place] = place = parents[parents[place]]
        return place

    for place, key in enumerate(keys):
        advance(1)
        shingles = _shingles(key)
        if len(key) < 4 * SHINGLE:  # short texts are alike by chance
            continue
        sketch = model.copy()
        sketch.update_batch([shingle.encode("utf-8", "replace") for shingle in shingles])
        for other in index.query(sketch):
            if root(other) == root(place):
                continue
            theirs = _shingles(keys[other])
            if len(shingles & theirs) >= NEAR * len(shingles | theirs):
                parents[root(place)] = root(other)
        index.insert(place, sketch, check_duplication=False)
    groups: dict[int, list[int]] = defaultdict(list)
    for place in parents:
        groups[root(place)].append(place)
    yield from (group for group in groups.values() if len(group) > 1)


def _shingles(key: str) -> set[str]:
    return {key[place : place + SHINGLE] for place in range(max(1, len(key) - SHINGLE + 1))}


def _disagree(targets: NDArray[np.float32]) -> bool:
    known = ~np.isnan(targets)
    highest = np.where(known, targets, -np.inf).max(axis=0, initial=-np.inf)
    lowest = np.where(known, targets, np.inf).min(axis=0, initial=np.inf)
    both = known.sum(axis=0) > 1
    return bool((highest[both] - lowest[both] >= DISAGREE).any())


def _largest(groups: Iterable[list[int]]) -> list[list[int]]:
    return sorted(groups, key=lambda group: (-len(group), group[0]))


def _counted(groups: list[list[int]]) -> dict[str, Any]:
    return {
        "groups": len(groups),
        "rows to spare": sum(len(group) - 1 for group in groups),
        "largest": [[row + 1 for row in group[:SHOWN]] for group in groups[:SHOWN]],
    }


def _leaks(groups: list[list[int]], splits: list[str] | None) -> dict[str, Any] | None:
    if splits is None:
        return None
    pairs: Counter[str] = Counter()
    for group in groups:
        for one, two in itertools.combinations(sorted({splits[row] for row in group}), 2):
            pairs[f"{one} and {two}"] += 1
    return {**_counted(groups), "between": dict(pairs.most_common())}


def _balance(labels: Sequence[str], targets: NDArray[np.float32]) -> dict[str, Any]:
    result = {}
    for place, label in enumerate(labels):
        known = targets[:, place][~np.isnan(targets[:, place])]
        positives = int((known >= 0.5).sum())
        result[label] = {
            "rows": len(known),
            "positives": positives,
            "share": round(positives / len(known), 5) if len(known) else None,
            "between 0 and 1": int(((known > 0) & (known < 1)).sum()),
        }
    return result


def _together(labels: Sequence[str], targets: NDArray[np.float32]) -> list[list[float | None]]:
    """Of the positives of each row's label whose other label is known, the share that has it."""
    positive = (np.nan_to_num(targets) >= 0.5).astype(np.float64)
    known = (~np.isnan(targets)).astype(np.float64)
    counts, both = positive.T @ known, positive.T @ positive
    return [
        [round(both[a, b] / counts[a, b], 4) if counts[a, b] else None for b in range(len(labels))]
        for a in range(len(labels))
    ]


def _lengths(texts: list[str], tokenizer: str | Path | None) -> dict[str, Any]:
    words = np.fromiter((len(text.split()) for text in texts), np.int64, len(texts))
    result: dict[str, Any] = {"words": _spread(words)}
    file = _tokenizer(tokenizer)
    if file is None:
        result["tokens"] = None
        return result
    import tokenizers

    try:
        reader = tokenizers.Tokenizer.from_file(str(file))
    except Exception as error:  # the library raises nothing narrower
        raise ArtifactError(f"{file}: not a tokenizer that tokenizers can read") from error
    reader.no_truncation()
    reader.no_padding()
    tokens = np.empty(len(texts), np.int64)
    for begin in range(0, len(texts), 1000):
        chunk = [item.encode("utf-8", "replace").decode() for item in texts[begin : begin + 1000]]
        tokens[begin : begin + 1000] = [len(found) for found in reader.encode_batch(chunk)]
    enough = [size for size in MAX_LENGTHS if (tokens <= size).mean() >= COVERED]
    suggested = enough[0] if enough else MAX_LENGTHS[-1]
    result["tokens"] = {
        **_spread(tokens),
        "tokenizer": file.parent.name,
        "suggested max_length": suggested,
        "covered": round(float((tokens <= suggested).mean()), 4),
    }
    return result


def _tokenizer(name: str | Path | None) -> Path | None:
    if name is None:
        return next(iter(sorted(WEIGHTS.glob(f"*/{TOKENIZER_FILE}"))), None)
    for path in (Path(name), Path(name) / TOKENIZER_FILE, WEIGHTS / name / TOKENIZER_FILE):
        if path.is_file():
            return path
    raise ConfigError(
        f"expected a tokenizer.json, or a folder with one, found none at {name}",
        where="tokenizer",
    )


def _spread(counts: NDArray[np.int64]) -> dict[str, Any]:
    top = max(10.0, float(np.percentile(counts, 99.5)))
    edges = np.unique(np.linspace(0, np.ceil(top), 41).round())
    return {
        "mean": round(float(counts.mean()), 1),
        "percentiles": {str(p): int(np.percentile(counts, p)) for p in PERCENTILES},
        "histogram": {
            "edges": edges.tolist(),
            "counts": np.histogram(np.minimum(counts, edges[-1]), edges)[0].tolist(),
        },
    }


def _told(inspection: Inspection) -> Iterator[str]:
    numbers = inspection.numbers
    yield f"{numbers['file']}: {numbers['rows']:,} rows"
    if empty := numbers["empty texts"]["rows"]:
        yield f"  empty texts        {empty:,} rows, the first {numbers['empty texts']['first'][0]}"
    for name in ("duplicates", "near-duplicates", "conflicts", "leaks"):
        found = numbers[name]
        if found is None:
            why = "no split column" if name == "leaks" else "not looked for"
            yield f"  {name:<18} {why}"
            continue
        line = f"  {name:<18} {found['groups']:,} groups"
        if found["groups"]:
            if name in ("duplicates", "near-duplicates"):
                line += f", {found['rows to spare']:,} rows more than needed"
            rows = ", ".join(f"{row:,}" for row in found["largest"][0][:4])
            line += f"; the largest: rows {rows}"
        yield line
        for pair, count in (found.get("between") or {}).items():
            yield f"    {pair}: {count:,} groups"
    if numbers["splits"]:
        told = ", ".join(f"{name} {count:,}" for name, count in numbers["splits"].items())
        yield f"  splits             {told}"
    for kind, spread in numbers["length"].items():
        if spread is None:
            yield f"  {kind:<18} not counted: give a tokenizer"
            continue
        told = ", ".join(
            f"{'longest' if p == '100' else f'{p} %'} {count:,}"
            for p, count in spread["percentiles"].items()
        )
        yield f"  {kind:<18} {told}"
        if "suggested max_length" in spread:
            yield (
                f"  max_length         {spread['suggested max_length']} tokens hold "
                f"{spread['covered']:.1%} of the texts ({spread['tokenizer']})"
            )
    if numbers["labels"]:
        width = max(map(len, numbers["labels"]))
        yield f"\n{'label':<{width}}  {'known':>10}  {'positive':>10}  {'share':>7}  in between"
        for label, row in numbers["labels"].items():
            share = "" if row["share"] is None else f"{row['share']:.2%}"
            yield (
                f"{label:<{width}}  {row['rows']:>10,}  {row['positives']:>10,}  {share:>7}  "
                f"{row['between 0 and 1']:,}"
            )
    if numbers["classes"]:
        width = max(map(len, numbers["classes"]))
        yield f"\n{'class':<{width}}  {'rows':>10}  {'share':>7}"
        for name, count in numbers["classes"].items():
            yield f"{name:<{width}}  {count:>10,}  {count / numbers['rows']:>7.2%}"


def write_inspection(inspection: Inspection, path: str | Path) -> None:
    """One HTML page with plots, and with the texts of what is amiss."""
    numbers = inspection.numbers
    page = Page(f"What is in {numbers['file']}", f"{numbers['rows']:,} rows")
    values = [("rows", f"{numbers['rows']:,}")]
    values += [
        (f"groups of {name}", f"{numbers[name]['groups']:,}")
        for name in ("duplicates", "near-duplicates", "conflicts", "leaks")
        if numbers[name] is not None
    ]
    empty = numbers["empty texts"]["rows"]
    page.section(
        "glance",
        "At a glance",
        tiles(values),
        f'<p class="warn">{empty:,} texts are empty.</p>' if empty else "",
    )
    page.section("labels", "Labels", *_label_parts(page, numbers))
    page.section("length", "Length", *_length_parts(page, numbers["length"]))
    told = {
        "duplicates": "The same text but for case, spacing and punctuation.",
        "near-duplicates": f"At least {NEAR:.0%} of their five-letter pieces in common.",
        "conflicts": "Duplicates that were labelled differently: half a point apart or more.",
        "leaks": "Duplicates and near-duplicates that stand in two splits: a model that has seen "
        "one is not tested by the other.",
    }
    for name, what in told.items():
        page.section(name, name.capitalize(), *_group_parts(inspection, name, what))
    page.write(path)


def _label_parts(page: Page, numbers: dict[str, Any]) -> Iterator[str]:
    labels, classes = numbers["labels"], numbers["classes"]
    if labels:
        positives = [row["positives"] for row in labels.values()]
        negatives = [row["rows"] - row["positives"] for row in labels.values()]
        series = {"positive": positives, "negative": negatives}
        yield page.figure(
            plots.bars(list(labels), series, "rows whose label is known", stacked=True)
        )
        rows = [
            [
                label,
                f"{row['rows']:,}",
                f"{row['positives']:,}",
                "" if row["share"] is None else f"{row['share']:.2%}",
                f"{row['between 0 and 1']:,}",
            ]
            for label, row in labels.items()
        ]
        yield table(("label", "known", "positive", "share", "between 0 and 1"), rows)
    if len(labels) > 1:
        yield "<h3>Co-occurrence</h3>"
        yield page.figure(
            plots.matrix(numbers["co-occurrence"], list(labels)),
            "Of the texts that have the label of the line, the share that has that of the column, "
            "where both are known.",
        )
    if classes:
        yield page.figure(plots.bars(list(classes), {"rows": list(classes.values())}, "rows"))
        rows = [
            [name, f"{count:,}", f"{count / numbers['rows']:.2%}"]
            for name, count in classes.items()
        ]
        yield table(("class", "rows", "share"), rows)


def _length_parts(page: Page, lengths: dict[str, Any]) -> Iterator[str]:
    figures, rows = [], []
    for kind, spread in lengths.items():
        if spread is None:
            yield "<p>Tokens were not counted: there was no tokenizer.</p>"
            continue
        bins = spread["histogram"]
        figures.append(page.figure(plots.columns(bins["edges"], bins["counts"], kind)))
        rows.append([kind, spread["mean"], *(f"{n:,}" for n in spread["percentiles"].values())])
    yield f'<div class="pair">{"".join(figures)}</div>'
    head = ["", "mean", *(f"{p} %" for p in PERCENTILES[:-1]), "longest"]
    yield table(head, rows)
    if tokens := lengths["tokens"]:
        yield (
            f"<p>Suggested <code>max_length</code>: {tokens['suggested max_length']} tokens, which "
            f"holds {tokens['covered']:.1%} of the texts. Counted by the tokenizer of "
            f"{escape(tokens['tokenizer'])}, special tokens included.</p>"
        )


def _group_parts(inspection: Inspection, name: str, what: str) -> Iterator[str]:
    found = inspection.numbers[name]
    if found is None:
        yield "<p>Not looked for.</p>"
        return
    yield f'<p class="soft">{escape(what)}</p>'
    if not found["groups"]:
        yield "<p>None.</p>"
        return
    for pair, count in (found.get("between") or {}).items():
        yield f"<p>{count:,} groups between {escape(pair)}.</p>"
    rows = []
    for group in inspection.groups[name][:SHOWN]:
        numbers = ", ".join(f"{row + 1:,}" for row in group[:8]) + (" …" if len(group) > 8 else "")
        text = inspection.texts[group[0]]
        rows.append([f"{len(group):,}", numbers, text[:200] + (" …" if len(text) > 200 else "")])
    lines = "\n".join(
        f"<tr><td>{count}</td><td class='wrap'>{numbers}</td><td class='wrap'>{escape(text)}</td>"
        "</tr>"
        for count, numbers, text in rows
    )
    yield (
        f"<details><summary>{found['groups']:,} groups, the {len(rows)} largest</summary>"
        '<div class="scroll"><table><thead><tr><th>texts</th><th class="text">rows</th>'
        f'<th class="text">the first</th></tr></thead><tbody>{lines}</tbody></table></div>'
        "</details>"
    )
