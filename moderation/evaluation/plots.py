"""Figures of a report, as plotly.js reads them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape
from itertools import pairwise
from typing import Any

from moderation.evaluation.page import SERIES, Figure

_SHARE = {"range": [-0.02, 1.02], "tickformat": ".1f"}
_DASHES = ("solid", "dash", "dot")


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": escape(title)}, **more}


def _line(place: int, **more: Any) -> dict[str, Any]:
    # More lines than colours: the same ones again, dashed.
    dash = _DASHES[place // len(SERIES) % len(_DASHES)]
    return {"color": SERIES[place % len(SERIES)], "width": 2, "dash": dash, **more}


def _diagonal(name: str) -> dict[str, Any]:
    return {
        "x": [0, 1],
        "y": [0, 1],
        "mode": "lines",
        "name": name,
        "line": {"color": "--soft", "width": 1, "dash": "dot"},
        "hoverinfo": "skip",
    }


def epochs(history: Sequence[Mapping[str, float]]) -> tuple[Figure, Figure]:
    """Loss, and score with its parts, by epoch."""
    numbers = [row["epoch"] for row in history]
    axis = _axis("epoch", dtick=max(1, len(numbers) // 10))
    loss = {
        "x": numbers,
        "y": [row.get("loss") for row in history],
        "mode": "lines+markers",
        "name": "training loss",
        "line": _line(0),
    }
    score = [
        {
            "x": numbers,
            "y": [row.get("score") for row in history],
            "mode": "lines+markers",
            "name": "validation score",
            "line": _line(0, width=3),
        }
    ]
    others = [name for name in history[-1] if name not in ("epoch", "loss", "score")]
    score += [
        {
            "x": numbers,
            "y": [row.get(name) for row in history],
            "mode": "lines",
            "name": escape(name),
            "line": _line(place, width=1),
            "visible": True if len(others) <= 4 else "legendonly",
        }
        for place, name in enumerate(others, 1)
    ]
    return (
        {"data": [loss], "layout": {"xaxis": axis, "yaxis": _axis("loss"), "height": 320}},
        {
            "data": score,
            "layout": {
                "xaxis": axis,
                "yaxis": _axis("score"),
                # The legend names every part of the score, two in a line.
                "height": 320 + 10 * len(others),
                "showlegend": True,
            },
        },
    )


def curves(rows: Mapping[str, Mapping[str, Any]]) -> tuple[Figure, Figure]:
    """ROC and precision-recall curves of every label that has them."""
    shown = [(label, row) for label, row in rows.items() if "ROC" in row]
    first = [_diagonal("chance")]
    second: list[dict[str, Any]] = []
    for place, (label, row) in enumerate(shown):
        for key, data, told in (
            ("ROC", first, f"AUC {row['AUC'][0]:.3f}"),
            ("precision-recall", second, f"AP {row['average precision'][0]:.3f}"),
        ):
            curve = row[key]
            data.append(
                {
                    "x": curve["x"],
                    "y": curve["y"],
                    "customdata": curve["thresholds"],
                    "mode": "lines",
                    "name": f"{escape(label)} · {told}",
                    "line": _line(place),
                    "hovertemplate": "%{x:.3f}, %{y:.3f}<br>threshold %{customdata:.3f}",
                }
            )
    height = 420 + 11 * len(shown)
    return (
        {
            "data": first,
            "layout": {
                "xaxis": _axis("false-positive rate", **_SHARE),
                "yaxis": _axis("recall", **_SHARE),
                "height": height,
            },
        },
        {
            "data": second,
            "layout": {
                "xaxis": _axis("recall", **_SHARE),
                "yaxis": _axis("precision", **_SHARE),
                "height": height,
            },
        },
    )


def reliability(bins: Sequence[Mapping[str, Any]]) -> Figure:
    """What was said against what was so, with the 95 % interval of each bin."""
    rates = [each["rate"] for each in bins]
    return {
        "data": [
            _diagonal("perfectly calibrated"),
            {
                "x": [each["score"] for each in bins],
                "y": [rate[0] for rate in rates],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [rate[2] - rate[0] for rate in rates],
                    "arrayminus": [rate[0] - rate[1] for rate in rates],
                    "color": "--series-1",
                    "thickness": 1.2,
                    "width": 3,
                },
                "customdata": [each["rows"] for each in bins],
                "mode": "lines+markers",
                "name": "observed",
                "line": {"color": "--series-1", "width": 2},
                "marker": {"size": 8},
                "hovertemplate": "said %{x:.3f}, was %{y:.3f}<br>%{customdata:,} texts",
            },
        ],
        "layout": {
            "width": 560,
            "xaxis": _axis("mean score of the bin", **_SHARE),
            "yaxis": _axis("share that is positive", **_SHARE),
        },
    }


def histogram(scores: Mapping[str, Sequence[int]], limits: Mapping[str, float]) -> Figure:
    """Scores of positives and of negatives, each as shares of their number."""
    data = []
    for place, side in enumerate(("negative", "positive")):
        counts = scores[side]
        total = max(1, sum(counts))
        width = 1 / max(1, len(counts))
        data.append(
            {
                "type": "bar",
                "x": [(number + 0.5) * width for number in range(len(counts))],
                "y": [count / total for count in counts],
                "customdata": list(counts),
                "name": f"labelled {side}",
                "marker": {"color": ("--series-1", "--series-4")[place], "opacity": 0.65},
                "hovertemplate": "score %{x:.3f}<br>%{customdata:,} texts, %{y:.1%}",
            }
        )
    lines = [
        {
            "type": "line",
            "x0": limit,
            "x1": limit,
            "yref": "paper",
            "y0": 0,
            "y1": 1,
            "line": {"color": "--soft", "width": 1, "dash": "dash"},
        }
        for limit in limits.values()
    ]
    notes = [
        {
            "x": limit,
            "yref": "paper",
            "y": 1,
            "yanchor": "top",
            "text": f"{escape(name)} {limit:g}",
            "showarrow": False,
            "xanchor": "right" if limit > 0.3 else "left",
            "textangle": -90,
        }
        for name, limit in limits.items()
    ]
    return {
        "data": data,
        "layout": {
            "barmode": "overlay",
            "bargap": 0.05,
            "shapes": lines,
            "annotations": notes,
            "xaxis": _axis("score", range=[0, 1]),
            # The lowest bar of the harmless would hide all the others.
            "yaxis": _axis("share of the side, log", type="log", tickformat="~%", dtick=1),
        },
    }


def confusion(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Figure:
    """Rows are what a text is, columns what was said of it; coloured by the share of the row."""
    shares = [[count / max(1, sum(row)) for count in row] for row in counts]
    shown = [escape(name) for name in names]
    size = len(names)
    notes = [
        {
            "x": column,
            "y": row,
            "text": f"{count:,}<br>{shares[row][column]:.0%}" if size <= 8 else f"{count:,}",
            "showarrow": False,
            "font": {"color": "--page" if shares[row][column] > 0.55 else "--ink"},
        }
        for row, line in enumerate(counts)
        for column, count in enumerate(line)
    ]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": shares,
                "zmin": 0,
                "zmax": 1,
                "colorscale": [[0, "--heat-0"], [1, "--heat-1"]],
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "hoverinfo": "skip",
            }
        ],
        "layout": {
            "annotations": notes,
            "height": max(260, 130 + 58 * size),
            "width": 220 + 90 * size,
            "xaxis": _axis("said", tickvals=list(range(size)), ticktext=shown, showgrid=False),
            "yaxis": _axis(
                "labelled",
                tickvals=list(range(size)),
                ticktext=shown,
                autorange="reversed",
                showgrid=False,
            ),
        },
    }


def dots(rows: Sequence[tuple[str, Sequence[float]]], title: str) -> Figure:
    """A value with its interval on each line."""
    rows = rows[::-1]
    return {
        "data": [
            {
                "x": [values[0] for _, values in rows],
                "y": [escape(name) for name, _ in rows],
                "error_x": {
                    "type": "data",
                    "symmetric": False,
                    "array": [values[2] - values[0] for _, values in rows],
                    "arrayminus": [values[0] - values[1] for _, values in rows],
                    "color": "--series-1",
                    "thickness": 1.2,
                    "width": 3,
                },
                "mode": "markers",
                "marker": {"color": "--series-1", "size": 8},
                "hovertemplate": "%{y}: %{x:.3f}<extra></extra>",
            }
        ],
        "layout": {
            "height": 110 + 24 * len(rows),
            "xaxis": _axis(title),
            "yaxis": {"type": "category", "tickmode": "linear"},
            "showlegend": False,
        },
    }


def bars(
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    title: str,
    *,
    stacked: bool = False,
) -> Figure:
    """Lying bars, one line a name."""
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "y": [escape(name) for name in names],
                "x": list(values),
                "name": escape(label),
                "marker": {"color": SERIES[place % len(SERIES)]},
                "hovertemplate": "%{y}: %{x:,}",
            }
            for place, (label, values) in enumerate(series.items())
        ],
        "layout": {
            "barmode": "stack" if stacked else "group",
            "height": 130 + 26 * len(names) * (1 if stacked else max(1, len(series))),
            "xaxis": _axis(title),
            "yaxis": {"type": "category", "autorange": "reversed", "tickmode": "linear"},
            "showlegend": len(series) > 1,
        },
    }


def columns(edges: Sequence[float], counts: Sequence[int], title: str) -> Figure:
    """A histogram; `edges` has one more entry than `counts`."""
    return {
        "data": [
            {
                "type": "bar",
                "x": [(low + high) / 2 for low, high in pairwise(edges)],
                "width": [high - low for low, high in pairwise(edges)],
                "y": list(counts),
                "marker": {"color": "--series-1", "line": {"color": "--card", "width": 1}},
                "customdata": [f"{low:.0f} to {high:.0f}" for low, high in pairwise(edges)],
                "hovertemplate": "%{customdata}: %{y:,}<extra></extra>",
            }
        ],
        "layout": {
            "xaxis": _axis(title),
            "yaxis": _axis("texts"),
            "showlegend": False,
            "height": 320,
        },
    }


def matrix(values: Sequence[Sequence[float]], names: Sequence[str]) -> Figure:
    """Shares from 0 to 1 of each row's label that have the column's label too."""
    shown = [escape(name) for name in names]
    return {
        "data": [
            {
                "type": "heatmap",
                "z": values,
                "x": shown,
                "y": shown,
                "zmin": 0,
                "zmax": 1,
                "colorscale": [[0, "--heat-0"], [1, "--heat-1"]],
                "showscale": False,
                "xgap": 2,
                "ygap": 2,
                "texttemplate": "%{z:.0%}",
                "hovertemplate": "%{z:.1%} of %{y} are %{x}<extra></extra>",
            }
        ],
        "layout": {
            "height": 160 + 40 * len(names),
            "width": 200 + 75 * len(names),
            "yaxis": {"autorange": "reversed", "showgrid": False},
            "xaxis": {"showgrid": False},
        },
    }


def points(
    places: Sequence[Sequence[float]], groups: Sequence[str], texts: Sequence[str]
) -> Figure:
    """Texts in three dimensions, coloured by group; the text is shown where the mouse is."""
    data = []
    for place, group in enumerate(dict.fromkeys(groups)):
        rows = [row for row, name in enumerate(groups) if name == group]
        data.append(
            {
                "type": "scatter3d",
                "mode": "markers",
                "name": escape(group),
                "x": [round(float(places[row][0]), 3) for row in rows],
                "y": [round(float(places[row][1]), 3) for row in rows],
                "z": [round(float(places[row][2]), 3) for row in rows],
                "text": ["<br>".join(wrapped(texts[row])) for row in rows],
                "hovertemplate": "%{text}",
                "marker": {"size": 3.2, "opacity": 0.8, "color": SERIES[place % len(SERIES)]},
            }
        )
    return {
        "data": data,
        "layout": {
            "height": 560,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
            "legend": {"itemsizing": "constant"},
            "scene": {"camera": {"eye": {"x": 1.1, "y": 1.1, "z": 0.7}}, "aspectmode": "data"},
        },
    }


def wrapped(text: str, width: int = 60, characters: int = 240) -> list[str]:
    """Lines that may stand in a figure: short, and without tags of their own."""
    short = textwrap.shorten(" ".join(text.split()), characters, placeholder=" …") or text[:60]
    return [escape(line) for line in textwrap.wrap(short, width)]
