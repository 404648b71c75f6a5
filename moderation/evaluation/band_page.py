"""The bands of a cascade on a terminal and as one HTML page: quality against cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from moderation.evaluation.band import BandChoice
from moderation.evaluation.page import SERIES, Figure, Page, Raw, interval, table, tiles

_COST = {"title": {"text": "share of the traffic that is refined"}, "tickformat": "~%"}


def show(choice: BandChoice, console: Console) -> None:
    """What never and always refining do, and the best bands between them, by what they cost."""
    found = Table(box=None, pad_edge=False)
    head = ("band", "read", "worst AUC loss", "of", "blocked less", "same action", "")
    for name in head:
        found.add_column(name, justify="left" if name in ("band", "of", "") else "right")
    for name, row in _rows(choice):
        found.add_row(
            _band(row),
            f"{row['read']:.1%}",
            f"{row['worst loss']:+.4f}",
            row["worst label"],
            f"{row['blocked less']:,}",
            f"{row['same action']:.1%}",
            name,
        )
    console.print(found)
    for gap, count in choice.numbers["gaps"].items():
        console.print(f"no score for {count:,} texts: {gap}", markup=False, highlight=False)
    console.print()


def _rows(choice: BandChoice) -> Iterator[tuple[str, dict[str, Any]]]:
    """Rows of a table, each with what is special about it."""
    numbers, best = choice.numbers, choice.chosen
    marked = {_key(numbers["now"]): "the policy's own"}
    rows = {_key(row): row for row in choice.ladder()}
    rows.setdefault(_key(numbers["now"]), numbers["now"])
    if best is not None:
        marked[_key(best)] = "chosen"
        rows[_key(best)] = best
    else:
        nearest = choice.nearest
        marked[_key(nearest)] = "the closest"
        rows[_key(nearest)] = nearest
    yield "never refined", numbers["never"]
    for key, row in sorted(rows.items(), key=lambda item: float(item[1]["read"])):
        yield marked.get(key, ""), row
    yield "always refined", numbers["always"]


def _key(row: Mapping[str, Any]) -> tuple[object, ...]:
    return *row["between"], *sorted((label, *ends) for label, ends in row["bands"].items())


def _band(row: Mapping[str, Any]) -> str:
    if row["between"] is None:
        return "none"
    return "{:g} to {:g}".format(*row["between"]) + _narrower(row)


def _narrower(row: Mapping[str, Any]) -> str:
    return f", narrower for {len(row['bands'])}" if row["bands"] else ""


def write_bands(choice: BandChoice, path: str | Path) -> None:
    """Writes the page. Everything is inside: it opens without a network."""
    page(choice).write(path)


def page(choice: BandChoice) -> Page:
    numbers = choice.numbers
    policy, traffic = numbers["policy"], numbers["traffic"]
    result = Page(
        f"The band of {policy['refining']} in {policy['name']}",
        f"policy {policy['name']} ({policy['fingerprint']}), where {policy['refining']} refines "
        f"{policy['refined']}, on {numbers['data']['rows']:,} rows of {numbers['data']['file']} "
        f"(data {numbers['data']['fingerprint']}); cost on {traffic['rows']:,} texts of "
        f"{traffic['file']}",
    )
    result.section("glance", "At a glance", *_glance(choice))
    result.section(
        "cost",
        "Quality against cost",
        result.figure(
            losses(choice),
            "Every band, by what the refining step reads and by what is lost at the label that "
            "loses most. Below the dashed line and left of it a band keeps within the goals.",
        ),
        result.figure(
            areas(choice),
            "Label by label: never refined, then bands that end as the chosen one does and begin "
            "lower and lower, then always refined.",
        ),
    )
    result.section("bands", "Bands", *_bands(choice))
    result.section("labels", "What the chosen band does", *_labels(choice))
    result.section("how", "How this was measured", *_how(numbers))
    return result


def _glance(choice: BandChoice) -> Iterator[str]:
    numbers, row = choice.numbers, choice.chosen
    for gap, count in numbers["gaps"].items():
        yield f'<p class="warn">No score for {count:,} texts: {escape(gap)}.</p>'
    if row is None:
        row = choice.nearest
        yield '<p class="warn">No band reaches the goals; this one comes closest.</p>'
    yield tiles(
        [
            ("band" + _narrower(row), "{:g} to {:g}".format(*row["between"])),
            (f"read by {numbers['policy']['refining']}", f"{row['read']:.1%}"),
            (f"worst AUC loss ({row['worst label']})", f"{row['worst loss']:+.4f}"),
            ("blocked positives lost", f"{row['blocked less']:,}"),
            ("same action as always refined", f"{row['same action']:.1%}"),
        ]
    )
    yield f"<pre>{escape(choice.as_yaml())}</pre>"


def losses(choice: BandChoice) -> Figure:
    """Each band as a point: cost, and the worst loss; the frontier as a line."""
    numbers = choice.numbers
    goals, bands = numbers["goals"], numbers["bands"]
    edge = choice.frontier()
    chosen = choice.chosen or choice.nearest

    def points(rows: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
        return {
            "x": [row["read"] for row in rows],
            "y": [row["worst loss"] for row in rows],
            "customdata": [
                f"{_band(row)} · {escape(row['worst label'])}"
                + (f" · blocks {row['blocked less']} fewer" if row["blocked less"] else "")
                for row in rows
            ],
            "hovertemplate": "%{customdata}<br>reads %{x:.1%}, loses %{y:.4f}<extra></extra>",
            **more,
        }

    def dashed(**place: Any) -> dict[str, Any]:
        return {
            "type": "line",
            "line": {"color": "--soft", "width": 1, "dash": "dash"},
            "x0": 0,
            "x1": 1,
            "y0": 0,
            "y1": 1,
            **place,
        }

    whole = [row for row in bands if not row["blocked less"]]
    less = [row for row in bands if row["blocked less"]]
    data = [
        points(
            whole,
            mode="markers",
            name="blocks no fewer positives",
            marker={"color": "--series-1", "size": 6, "opacity": 0.6},
        ),
        points(
            less,
            mode="markers",
            name="blocks fewer",
            marker={"color": "--series-4", "size": 6, "opacity": 0.6, "symbol": "x"},
        ),
        points(edge, mode="lines", name="least loss", line={"color": "--soft", "width": 1}),
        points(
            [chosen],
            mode="markers",
            name="chosen" if choice.chosen else "closest",
            marker={"color": "--series-3", "size": 13, "symbol": "star"},
        ),
    ]
    return {
        "data": [each for each in data if each["x"]],
        "layout": {
            "height": 460,
            "xaxis": {
                "title": {"text": "share of the traffic that is refined"},
                "tickformat": "~%",
            },
            "yaxis": {"title": {"text": "AUC lost against always refining"}},
            "shapes": [
                dashed(x0=goals["share"], x1=goals["share"], yref="paper"),
                dashed(y0=goals["loss"], y1=goals["loss"], xref="paper"),
            ],
            "showlegend": True,
        },
    }


def areas(choice: BandChoice) -> Figure:
    """AUC by cost, a line for each label that the band was chosen by."""
    numbers = choice.numbers
    rows = [numbers["never"], *choice.widening(), numbers["always"]]
    labels = [label for label, each in numbers["labels"].items() if each["binding"]]
    return {
        "data": [
            {
                "x": [row["read"] for row in rows],
                "y": [row["labels"][label]["AUC"] for row in rows],
                "customdata": [_band(row) for row in rows],
                "mode": "lines+markers",
                "name": escape(label),
                "line": {"color": SERIES[place % len(SERIES)], "width": 2},
                "marker": {"size": 4},
                "hovertemplate": "%{customdata}<br>reads %{x:.1%}, AUC %{y:.4f}",
            }
            for place, label in enumerate(labels)
        ],
        "layout": {
            "height": 420,
            "xaxis": {
                "title": {"text": "share of the traffic that is refined"},
                "tickformat": "~%",
            },
            "yaxis": {"title": {"text": "AUC"}},
            "showlegend": True,
        },
    }


def _bands(choice: BandChoice) -> Iterator[str]:
    yield table(
        ("band", "", "read", "worst AUC loss", "of", "blocked less", "same action"),
        [
            (
                _band(row),
                name,
                f"{row['read']:.1%}",
                f"{row['worst loss']:+.4f}",
                row["worst label"],
                f"{row['blocked less']:,}",
                f"{row['same action']:.1%}",
            )
            for name, row in _rows(choice)
        ],
        text=(1, 4),
    )


def _labels(choice: BandChoice) -> Iterator[str]:
    numbers = choice.numbers
    row = choice.chosen or choice.nearest
    rows: list[Sequence[object]] = []
    for label, about in numbers["labels"].items():
        if "AUC" not in row["labels"][label]:
            continue
        never, here, always = (
            each["labels"][label] for each in (numbers["never"], row, numbers["always"])
        )
        rows.append(
            (
                label,
                f"{about['positives']:,}",
                f"{never['AUC']:.4f}",
                f"{here['AUC']:.4f}",
                f"{always['AUC']:.4f}",
                interval(here["loss"], 4),
                "yes" if about["binding"] else "too few",
            )
        )
    yield table(("label", "positive", "never", "band", "always", "loss", "chosen by"), rows)
    rows = []
    for label, about in numbers["labels"].items():
        for action, limit in about["thresholds"].items():
            here, always = (each["labels"][label][action] for each in (row, numbers["always"]))
            rows.append(
                (
                    label,
                    f"{action} at {limit:g}",
                    interval(here["recall"]),
                    interval(always["recall"]),
                    interval(here["precision"]) if here["recall"][0] else Raw(""),
                    interval(always["precision"]) if always["recall"][0] else Raw(""),
                )
            )
    if rows:
        head = ("label", "threshold", "recall", "always", "precision", "always")
        yield table(head, rows, text=(1,))


def _how(numbers: Mapping[str, Any]) -> Iterator[str]:
    policy, goals, traffic = numbers["policy"], numbers["goals"], numbers["traffic"]
    notes = [
        "Every step read every text once; what the policy makes of it was then worked out for each "
        "band. Folding, the other steps and their highest scores are in the numbers.",
        f"A text is refined where a score of {policy['refined']} lies in the band, ends included, "
        f"for a category that {policy['refining']} reports too; all that it reports is then "
        "replaced.",
        "Bands that reach the goals for all categories alike are made narrower for one category "
        "after the other, whichever saves most, while the goals are reached; of all these the "
        "cheapest is chosen.",
        f"Goals: at most {goals['share']:.3g} of the traffic refined; at most {goals['loss']:g} of "
        "AUC lost for every label with enough positives; at the block threshold of each no fewer "
        "positives than if every text were refined"
        + (f"; the same action for {goals['same']:.3g} of the rows." if goals["same"] else "."),
        "Intervals of losses: DeLong et al. (1988), for two rankings of the same texts; of shares: "
        "Wilson (1927). They do not know that the band was chosen on the same texts.",
        "A step that comes after a block under stop_on does not run; here every step did, so a "
        "policy with stop_on costs less than this says.",
    ]
    if traffic.get("positives") is not None:
        notes.append(
            f"The rows stand for the traffic, weighted to {traffic['positives']:.1%} with a label."
        )
    yield "<ul>" + "".join(f"<li>{escape(note)}</li>" for note in notes) + "</ul>"
