"""Figures of `moderation.evaluation.plots` as SVG: lines, markers with intervals, a heat map.

Nothing is drawn in the browser, so that a chart needs no script, prints, and takes the colours of
the light or the dark page from the same CSS variables as everything else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import unescape
from typing import Any

from moderation.ui import look

WIDTH = 460
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 10, 40
_DASH = {"dash": "6 4", "dot": "1.5 4"}


def svg(figure: Mapping[str, Any], title: str, *, height: int = 300) -> str:
    """HTML of a figure with its legend under it; `title` says what it shows."""
    data, layout = figure["data"], figure["layout"]
    if data and data[0].get("type") == "heatmap":
        return _framed(title, _heat(data[0], layout), ())
    xs, ys = layout.get("xaxis", {}), layout.get("yaxis", {})
    names = _categories(data, ys)
    if names:
        height = 24 * len(names) + _TOP + _BOTTOM
    left = max(_LEFT, 8 + 7 * max(map(len, names), default=0))
    low, high = _range(xs, [value for trace in data for value in _ends(trace, "x")])
    bottom, top = (
        (len(names) - 0.5, -0.5)
        if names
        else _range(ys, [value for trace in data for value in _ends(trace, "y")])
    )
    places = {name: place for place, name in enumerate(reversed(names))}

    def x(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - left - _RIGHT)

    def y(value: Any) -> float:
        number = places[value] if names else value
        return _TOP + (top - number) / (top - bottom) * (height - _TOP - _BOTTOM)

    pieces = [_axes(xs, ys, (low, high), (bottom, top), names, x, y, left, height)]
    pieces += [_trace(trace, x, y) for trace in data]
    legend = [trace for trace in data if trace.get("name") and layout.get("showlegend", True)]
    body = (
        f'<svg viewBox="0 0 {WIDTH} {height}" class="chart" role="img" '
        f'aria-label="{look.text(title)}">{"".join(pieces)}</svg>'
    )
    return _framed(title, body, legend)


def _framed(title: str, body: str, legend: Sequence[Mapping[str, Any]]) -> str:
    keys = "".join(
        f'<span><svg viewBox="0 0 22 8" width="22" height="8" aria-hidden="true">'
        f'<path d="M1 4h20" {_stroke(trace["line"])}/></svg>{_told(trace["name"])}</span>'
        for trace in legend
    )
    return (
        f'<figure class="figure">{body}'
        + (f'<div class="legend">{keys}</div>' if keys else "")
        + f"<figcaption>{look.text(title)}</figcaption></figure>"
    )


def _told(name: str) -> str:
    # The names of a figure are escaped already, for plotly.
    return look.text(unescape(name))


def _categories(data: Sequence[Mapping[str, Any]], axis: Mapping[str, Any]) -> list[str]:
    return list(data[0]["y"]) if axis.get("type") == "category" else []


def _ends(trace: Mapping[str, Any], side: str) -> list[float]:
    values = [value for value in trace[side] if isinstance(value, (int, float))]
    error = trace.get(f"error_{side}")
    if error:
        values += [v + e for v, e in zip(trace[side], error["array"], strict=True)]
        values += [v - e for v, e in zip(trace[side], error["arrayminus"], strict=True)]
    return values


def _range(axis: Mapping[str, Any], values: Sequence[float]) -> tuple[float, float]:
    if "range" in axis:
        low, high = axis["range"]
        return float(low), float(high)
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = (high - low) * 0.06 or 0.5
    return low - room, high + room


def _axes(
    xs: Mapping[str, Any],
    ys: Mapping[str, Any],
    across: tuple[float, float],
    up: tuple[float, float],
    names: Sequence[str],
    x: Any,
    y: Any,
    left: float,
    height: float,
) -> str:
    out = [
        f'<path class="grid" d="M{x(value):.1f} {_TOP}V{height - _BOTTOM}"/>'
        f'<text x="{x(value):.1f}" y="{height - _BOTTOM + 16}" text-anchor="middle">'
        f"{value:g}</text>"
        for value in _ticks(*across)
    ]
    for value in names or _ticks(*up):
        told = _told(value) if isinstance(value, str) else f"{value:g}"
        out.append(
            f'<path class="grid" d="M{left} {y(value):.1f}H{WIDTH - _RIGHT}"/>'
            f'<text x="{left - 7}" y="{y(value) + 4:.1f}" text-anchor="end">{told}</text>'
        )
    title = xs.get("title", {}).get("text", "")
    out.append(
        f'<text x="{(left + WIDTH - _RIGHT) / 2:.0f}" y="{height - 6}" text-anchor="middle">'
        f"{_told(title)}</text>"
    )
    title = ys.get("title", {}).get("text", "")
    if title:
        middle = (height - _BOTTOM + _TOP) / 2
        out.append(
            f'<text transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            f"{_told(title)}</text>"
        )
    return "".join(out)


def _ticks(low: float, high: float) -> list[float]:
    step = next(
        each
        for each in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 100, 1e4)
        if (high - low) / each <= 6
    )
    first = int(low / step) + (low > 0 and low % step > 0)
    return [
        round(number * step, 6)
        for number in range(first, first + 8)
        if low <= number * step <= high
    ]


def _trace(trace: Mapping[str, Any], x: Any, y: Any) -> str:
    points = [
        (x(a), y(b), a, b)
        for a, b in zip(trace["x"], trace["y"], strict=True)
        if a is not None and b is not None
    ]
    mode = trace.get("mode", "")
    out = []
    if "lines" in mode and points:
        path = "L".join(f"{a:.1f} {b:.1f}" for a, b, _, _ in points)
        out.append(f'<path d="M{path}" {_stroke(trace["line"])}/>')
    for side in ("x", "y"):
        error = trace.get(f"error_{side}")
        if not error:
            continue
        for place, (a, b, at_x, at_y) in enumerate(points):
            more, less = error["array"][place], error["arrayminus"][place]
            ends = (
                f"M{x(at_x - less):.1f} {b:.1f}H{x(at_x + more):.1f}"
                if side == "x"
                else f"M{a:.1f} {y(at_y - less):.1f}V{y(at_y + more):.1f}"
            )
            out.append(f'<path d="{ends}" stroke="var({error["color"]})" stroke-width="1.5"/>')
    if "markers" in mode:
        colour = trace.get("marker", {}).get("color") or trace["line"]["color"]
        for a, b, at_x, at_y in points:
            told = f"{at_y}: {at_x:.3f}" if isinstance(at_y, str) else f"{at_x:.3f}, {at_y:.3f}"
            out.append(
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="4" fill="var({colour})">'
                f"<title>{look.text(told)}</title></circle>"
            )
    return "".join(out)


def _stroke(line: Mapping[str, Any]) -> str:
    dash = _DASH.get(line.get("dash", ""), "")
    return f'fill="none" stroke="var({line["color"]})" stroke-width="{line.get("width", 2)}"' + (
        f' stroke-dasharray="{dash}"' if dash else ""
    )


def _heat(trace: Mapping[str, Any], layout: Mapping[str, Any]) -> str:
    """A table, since that is what it is to a screen reader."""
    names = [_told(name) for name in layout["xaxis"]["ticktext"]]
    notes = {(note["y"], note["x"]): note["text"] for note in layout["annotations"]}
    head = "".join(f'<th scope="col">said {name}</th>' for name in names)
    rows = ""
    for row, shares in enumerate(trace["z"]):
        cells = ""
        for column, share in enumerate(shares):
            strong = " strong" if share > 0.55 else ""
            text = notes[row, column].replace("<br>", " · ")
            cells += f'<td class="heat{strong}" style="--share:{share:.0%}">{text}</td>'
        rows += f'<tr><th scope="row">is {names[row]}</th>{cells}</tr>'
    return f'<div class="scroll"><table><tr><td></td>{head}</tr>{rows}</table></div>'
