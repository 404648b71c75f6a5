"""An evaluation as one HTML page.

The page shows texts as they are, for people who have to read them; the numbers as JSON do not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from moderation.evaluation import plots
from moderation.evaluation.baseline import Baseline
from moderation.evaluation.evaluation import (
    FALSE_ALARM,
    MISSED,
    NO_LABEL,
    WRONG_CLASS,
    Evaluation,
    evaluate,
    read_history,
)
from moderation.evaluation.labelled import from_rows
from moderation.evaluation.metrics import FEWEST
from moderation.evaluation.page import Page, Raw, chooser, interval, table, tiles
from moderation.evaluation.system import ModelSystem
from moderation.training.data import Rows

LONGEST = 600
"""Characters of a text that the page shows."""


def write_report(evaluation: Evaluation, path: str | Path, *, title: str | None = None) -> None:
    """Writes the page. Everything is inside: it opens without a network."""
    page(evaluation, title=title).write(path)


def report_run(
    model: Path,
    held: Rows,
    train: Rows,
    run: Path,
    *,
    baseline: Baseline | None = None,
    threads: int | None = None,
) -> Path:
    """Measures the model that a training run made on rows held out, and writes beside the run.

    Gives report.html; report.json holds the numbers. The epochs are those of `run`.
    """
    system = ModelSystem(model, threads=threads)
    found = evaluate(
        system,
        from_rows(held, system.labels, system.task, "the rows held out"),
        train=from_rows(train, system.labels, system.task, "the training part"),
        baseline=baseline or Baseline(),
        history=read_history(run),
    )
    target = run / "report.html"
    write_report(found, target, title=system.name)
    found.write_json(run / "report.json")
    return target


def page(evaluation: Evaluation, *, title: str | None = None) -> Page:
    numbers = evaluation.numbers
    system, data = numbers["system"], numbers["data"]
    lead = (
        f"{system['kind']} {system['name']} ({system['fingerprint']}) on {data['rows']:,} rows of "
        f"{data['file']} (data {data['fingerprint']})"
    )
    result = Page(title or f"{system['name']} on {data['file']}", lead)
    result.section("glance", "At a glance", *_glance(numbers))
    if numbers["history"]:
        loss, score = plots.epochs(numbers["history"])
        result.section(
            "training",
            "Training",
            f'<div class="pair">{result.figure(loss)}{result.figure(score)}</div>',
        )
    result.section("curves", "ROC and precision–recall", *_curves(result, numbers))
    result.section("calibration", "Calibration", *_calibration(result, numbers))
    result.section("decisions", "Decisions", *_decisions(result, numbers))
    result.section("slices", "Slices", *_slices(result, numbers))
    if numbers["spans"]:
        result.section("spans", "Words pointed at", _spans(numbers["spans"]))
    result.section("errors", "Errors worth reading", *_errors(evaluation))
    if evaluation.points is not None:
        result.section("embedding", "Texts as points", *_points(result, evaluation))
    result.section("how", "How this was measured", *_how(numbers))
    return result


def _glance(numbers: Mapping[str, Any]) -> Iterator[str]:
    overall = numbers["overall"]
    for gap, count in numbers["gaps"].items():
        yield (
            f'<p class="warn">No score for {count:,} of {numbers["data"]["rows"]:,} texts: '
            f"{escape(gap)}. The numbers are not those of the whole policy.</p>"
        )
    baseline = "baseline" in numbers
    if numbers["task"] == "multi_class":
        values = [
            ("accuracy", f"{overall['accuracy'][0]:.3f}"),
            ("macro F1", f"{overall['macro F1'][0]:.3f}"),
            ("calibration error", f"{overall['calibration error']:.3f}"),
        ]
        if baseline:
            values.append(("accuracy of the baseline", f"{overall['baseline']['accuracy'][0]:.3f}"))
        yield tiles(values)
        rows = [["this model", *(interval(overall[name]) for name in ("accuracy", "macro F1"))]]
        if baseline:
            other = overall["baseline"]
            rows.append(["baseline", *(interval(other[name]) for name in ("accuracy", "macro F1"))])
        yield table(("", "accuracy", "macro F1"), rows)
    yield _labels(numbers["labels"], baseline=baseline)
    beaten = [
        label
        for label, row in numbers["labels"].items()
        if "baseline" in row and row["baseline"]["AUC"][0] > row["AUC"][0]
    ]
    if beaten:
        yield f'<p class="warn">The baseline ranks {escape(", ".join(beaten))} better.</p>'
    if baseline:
        told = numbers["baseline"]
        yield f'<p class="soft">Baseline: {escape(told["what"])}; {escape(told["how"])}.</p>'
    few = [label for label, row in numbers["labels"].items() if "AUC" not in row]
    if few:
        yield (
            f'<p class="soft">{escape(", ".join(few))}: fewer than {FEWEST} positives or '
            "negatives, so no ranking and no calibration.</p>"
        )


def _labels(labels: Mapping[str, Any], *, baseline: bool) -> str:
    head = ["label", "rows", "positives", "AUC", "average precision", "F1", "macro F1"]
    head += ["calibration error", "Brier skill"]
    if baseline:
        head += ["baseline: AUC", "macro F1"]
    rows: list[list[object]] = []
    for label, row in labels.items():
        cells: list[object] = [label, f"{row['rows']:,}", f"{row['positives']:,}"]
        cells += [interval(row.get(name)) for name in ("AUC", "average precision")]
        cells += [interval(row[name]) for name in ("F1", "macro F1")]
        error = row.get("calibration error")
        cells += [Raw("") if error is None else f"{error:.3f}", interval(row.get("Brier skill"))]
        if baseline:
            other = row.get("baseline", {})
            cells += [interval(other.get("AUC")), interval(other.get("macro F1"))]
        rows.append(cells)
    return table(head, rows)


def _curves(page: Page, numbers: Mapping[str, Any]) -> Iterator[str]:
    if not any("ROC" in row for row in numbers["labels"].values()):
        yield "<p>No label has enough positives and negatives.</p>"
        return
    first, second = plots.curves(numbers["labels"])
    yield f'<div class="pair">{page.figure(first)}{page.figure(second)}</div>'
    yield (
        '<p class="soft">A name in the legend hides its curve, twice shows it alone. Precision '
        "depends on how common the label is: here as in the file.</p>"
    )


def _calibration(page: Page, numbers: Mapping[str, Any]) -> Iterator[str]:
    yield (
        '<p class="soft">Of texts with a score near .7, 70 % should be positive. The whiskers are '
        "95 % intervals; calibration error is the mean distance from the diagonal, weighted by "
        "texts (Guo et al. 2017).</p>"
    )
    if numbers["task"] == "multi_class":
        yield page.figure(
            plots.reliability(numbers["overall"]["reliability"]),
            f"All classes, by the score of the class that was picked. Calibration error "
            f"{numbers['overall']['calibration error']:.3f}.",
        )
    parts = {}
    for label, row in numbers["labels"].items():
        # A model of classes picks the highest score, and has no limit to draw.
        limits = {name: at["threshold"] for name, at in row["at"].items()}
        if not limits and "threshold" in row:
            limits = {"threshold": row["threshold"]}
        figures = ""
        if "reliability" in row:
            figures = page.figure(
                plots.reliability(row["reliability"]),
                f"{label}: calibration error {row['calibration error']:.3f}, Brier skill "
                f"{row['Brier skill'][0]:.3f} (0: no better than the base rate of "
                f"{row['positives'] / row['rows']:.1%}).",
            )
        figures += page.figure(plots.histogram(row["scores"], limits), f"{label}: scores.")
        parts[label] = f'<div class="pair">{figures}</div>'
    yield chooser("calibration", parts)


def _decisions(page: Page, numbers: Mapping[str, Any]) -> Iterator[str]:
    overall = numbers["overall"]
    names = ("precision", "recall", "F1", "flagged")
    if numbers["task"] == "multi_class":
        yield page.figure(
            plots.confusion(overall["confusion"], list(numbers["labels"])),
            "Rows add up to 100 %.",
        )
        rows = [
            [label, f"{row['positives']:,}", *(interval(row[name]) for name in names)]
            for label, row in numbers["labels"].items()
        ]
        yield "<h3>By class</h3>" + table(("class", "rows", *names[:3], "said of"), rows)
    else:
        lines: list[list[object]] = []
        parts = {}
        for label, row in numbers["labels"].items():
            for action, at in row["at"].items() or [("threshold", row)]:
                cells = [interval(at[name]) for name in names]
                lines.append([label, Raw(escape(action)), f"{at['threshold']:g}", *cells])
            negative, positive = f"not {label}", label
            parts[label] = page.figure(
                plots.confusion(row["confusion"], (negative, positive)),
                f"{label} from {row['threshold']:g} on. Rows add up to 100 %.",
            )
        yield table(("label", "action", "from", *names), lines, text=(1,))
        yield "<h3>Confusion matrix</h3>" + chooser("decisions", parts)
    report = overall.get("classification report")
    if report:
        yield _report(report, overall.get("rows with every label"))


def _report(report: Mapping[str, Any], rows: int | None) -> str:
    names = ("precision", "recall", "f1-score")
    lines = [
        [name, *(f"{row[key]:.3f}" for key in names), f"{row['support']:,.0f}"]
        for name, row in report.items()
        if isinstance(row, Mapping)
    ]
    told = "" if rows is None else f", on the {rows:,} rows of which every label is known"
    return (
        f"<details><summary>Classification report{told}</summary>"
        + table(("", *names, "support"), lines)
        + "</details>"
    )


def _slices(page: Page, numbers: Mapping[str, Any]) -> Iterator[str]:
    if not numbers["slices"]:
        yield "<p>None were asked for; see <code>--slice</code>.</p>"
        return
    by_label: dict[str, dict[str, list[Mapping[str, Any]]]] = {}
    for row in numbers["slices"]:
        by_label.setdefault(row["label"], {}).setdefault(row["column"], []).append(row)
    main = "accuracy" if numbers["task"] == "multi_class" else "AUC"
    others = ["macro F1", "precision", "recall", "false-positive rate"] if main == "AUC" else []
    counts = ["rows", "positives"] if main == "AUC" else ["rows"]
    parts = {}
    for label, columns in by_label.items():
        pieces = []
        for column, rows in columns.items():
            shown = [(row["value"], row[main]) for row in rows if main in row]
            if len(shown) > 1:
                pieces.append(page.figure(plots.dots(shown, main), f"{label} by {column}."))
            lines = [
                [row["value"], *(f"{row[name]:,}" for name in counts)]
                + [interval(row.get(name)) for name in (main, *others)]
                for row in rows
            ]
            pieces.append(table((column, *counts, main, *others), lines))
        parts[label] = "".join(pieces)
    yield chooser("slices", parts)


def _spans(spans: Mapping[str, Any]) -> str:
    value, low, high = spans["character F1"]
    return tiles([("character F1", f"{value:.3f}"), ("marked texts", f"{spans['marked']:,}")]) + (
        f'<p class="soft">95 % interval {low:.3f} to {high:.3f}. On {spans["rows"]:,} texts whose '
        "words raters marked or left unmarked; the F1 of each text over its characters, 1 where "
        "both sides are empty (SemEval-2021 task 5).</p>"
    )


def _errors(evaluation: Evaluation) -> Iterator[str]:
    numbers = evaluation.numbers
    yield (
        '<p class="soft">The surest mistakes first: what the model has yet to learn, and often '
        "what was labelled wrongly. Marked words are those that the system pointed at. The texts "
        "may be hurtful to read.</p>"
    )
    by_label: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for error in numbers["errors"]:
        by_label[error["label"]].append(error)
    if not by_label:
        yield "<p>None.</p>"
        return
    parts = {}
    for label, errors in by_label.items():
        tables = []
        for kind in (FALSE_ALARM, MISSED, WRONG_CLASS):
            chosen = [error for error in errors if error["kind"] == kind]
            if not chosen:
                continue
            lines = "\n".join(
                "<tr>"
                f"<td>{error['row']:,}</td><td>{error['score']:.3f}</td>"
                + (f"<td class='text'>{escape(error['said'])}</td>" if "said" in error else "")
                + f'<td class="wrap">{_marked(evaluation, error["place"])}</td></tr>'
                for error in chosen
            )
            head = "<th>row</th><th>score</th>" + (
                '<th class="text">said</th>' if kind == WRONG_CLASS else ""
            )
            tables.append(
                f"<details><summary>{escape(label)}: {kind} ({len(chosen)} shown)</summary>"
                f'<div class="scroll"><table><thead><tr>{head}<th class="text">text</th></tr>'
                f"</thead><tbody>{lines}</tbody></table></div></details>"
            )
        parts[label] = "".join(tables)
    yield chooser("errors", parts)


def _marked(evaluation: Evaluation, place: int) -> str:
    text = evaluation.labelled.texts[place]
    pieces, last = [], 0
    for begin, end in evaluation.scored.spans[place]:
        if begin >= LONGEST:
            break
        pieces += [escape(text[last:begin]), f"<mark>{escape(text[begin:end])}</mark>"]
        last = end
    pieces.append(escape(text[last : max(last, LONGEST)]))
    return "".join(pieces) + (" …" if len(text) > max(last, LONGEST) else "")


def _points(page: Page, evaluation: Evaluation) -> Iterator[str]:
    points, labelled = evaluation.points, evaluation.labelled
    assert points is not None
    groups = points.groups
    ranks = {name: rank for rank, name in enumerate((NO_LABEL, *labelled.labels))}
    order = sorted(range(len(groups)), key=lambda place: ranks[groups[place]])
    figure = plots.points(
        [points.places[place].tolist() for place in order],
        [groups[place] for place in order],
        [labelled.texts[points.rows[place]] for place in order],
    )
    yield page.figure(figure)
    drawn = (
        "as many of each class"
        if labelled.task == "multi_class"
        else "as many with a label as without"
    )
    yield (
        f'<p class="soft">t-SNE in three dimensions of {escape(points.source)}: '
        f"{len(groups):,} texts, {drawn} as far as there are. Turn it with "
        "the mouse or a finger; near points are alike to the model, distances between far groups "
        "mean nothing.</p>"
    )


def _how(numbers: Mapping[str, Any]) -> Iterator[str]:
    notes = [
        "Brackets and whiskers: 95 % intervals, by the bootstrap for AUC, average precision, F1 "
        "and Brier skill, by Wilson (1927) for shares.",
        "A label of .5 or more is positive; where it is empty the row says nothing of that label "
        "and is left out.",
        "AUC: the chance that a positive text scores above a negative one. It does not depend on "
        "how common the label is; precision does.",
        "Brier skill: 1 is perfect, 0 is no better than always giving the base rate.",
    ]
    if numbers["task"] == "multi_label":
        notes.append(
            "Decisions are those of the policy's lowest threshold, or of .5 where there is none."
        )
    if numbers["system"]["kind"] == "policy":
        notes.append("Every step of the policy ran, whatever the earlier ones said.")
    else:
        notes.append("The model read each text as it is: no folding, no other step.")
    yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"
