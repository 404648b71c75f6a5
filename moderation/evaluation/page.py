"""One HTML file that needs nothing else: style, scripts, figures and tables are all inside.

Colours are names of CSS variables (`--series-1`), looked up when a figure is drawn, so that one
figure serves the light and the dark page. A figure is drawn when it is first scrolled to.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, TypeAlias

from moderation.evaluation.output import write_whole

Figure: TypeAlias = Mapping[str, Any]
"""`data` and `layout` of plotly.js."""

SERIES = tuple(f"--series-{number}" for number in range(1, 9))

_STYLE = """
:root {
  color-scheme: light;
  --page: #f7f7f5; --card: #ffffff; --ink: #16181d; --soft: #5b6270; --line: #dfe1e5;
  --grid: #e8e9ec; --good: #1a7f4b; --bad: #c2322d; --mark: #ffd9a8;
  --series-1: #2a78d6; --series-2: #1a9a6c; --series-3: #d08700; --series-4: #c2413b;
  --series-5: #6a4fc1; --series-6: #c8568c; --series-7: #1f8f9c; --series-8: #7b6a4a;
  --heat-0: #f3f6fb; --heat-1: #2a78d6;
}
:root[data-theme="dark"] {
  color-scheme: dark;
  --page: #111318; --card: #191c22; --ink: #eceef2; --soft: #a0a7b4; --line: #2d323b;
  --grid: #282d36; --good: #4cc38a; --bad: #ff7b72; --mark: #6b4a17;
  --series-1: #5aa2f2; --series-2: #3fbf90; --series-3: #e5a532; --series-4: #ef7d74;
  --series-5: #a08cf0; --series-6: #ea86b4; --series-7: #4fc0cc; --series-8: #b8a57f;
  --heat-0: #1d222b; --heat-1: #5aa2f2;
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main { max-width: 72rem; margin: 0 auto; padding: 1rem 1rem 4rem; }
header { display: flex; gap: 1rem; align-items: start; justify-content: space-between; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 0 0 .5rem; }
h3 { font-size: 1rem; margin: 1.25rem 0 .25rem; }
p { margin: .25rem 0 .75rem; max-width: 46rem; }
.soft, figcaption { color: var(--soft); font-size: .9rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: 1rem; margin: 1rem 0; }
nav { display: flex; flex-wrap: wrap; gap: .25rem .9rem; font-size: .92rem; margin: .5rem 0; }
a { color: var(--series-1); }
button, select { font: inherit; color: inherit; background: var(--card);
  border: 1px solid var(--line); border-radius: .4rem; padding: .3rem .6rem; white-space: nowrap; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; }
.tile { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.tile b { display: block; font-size: 1.5rem; font-weight: 600; line-height: 1.25; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr));
  gap: 1rem; }
.pair > * { min-width: 0; }
figure { margin: 0 0 .75rem; min-width: 0; }
.plot { width: 100%; }
.scroll { overflow-x: auto; margin: .75rem 0; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .65rem; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
td:first-child, th:first-child, td.text, th.text { text-align: left; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--card); }
td.wrap { white-space: normal; overflow-wrap: anywhere; min-width: 16rem; text-align: left; }
td small { display: block; color: var(--soft); font-size: .78rem; }
.good { color: var(--good); } .bad { color: var(--bad); }
.warn { border-left: 4px solid var(--bad); padding: .25rem .75rem; }
pre { overflow-x: auto; }
mark { background: var(--mark); color: inherit; border-radius: .2rem; }
details { margin: .5rem 0; } summary { cursor: pointer; }
[hidden] { display: none !important; }
@media (max-width: 40rem) { body { font-size: 15px; } main { padding: .5rem .5rem 3rem; }
  section { padding: .75rem; } h1 { font-size: 1.3rem; } th, td { padding: .3rem .45rem; } }
@media print { section { break-inside: avoid; } button, select, nav { display: none; } }
"""

_SCRIPT = """
(function () {
  const root = document.documentElement;
  const wide = window.matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  function theme() { root.dataset.theme = chosen || (wide.matches ? "dark" : "light"); }
  theme();
  function colour(name) { return getComputedStyle(root).getPropertyValue(name).trim(); }
  function coloured(value) {
    if (typeof value === "string") return value.startsWith("--") ? colour(value) : value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object")
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v)]));
    return value;
  }
  function axis(own, narrow) {
    return Object.assign({ gridcolor: colour("--grid"), zerolinecolor: colour("--grid"),
      linecolor: colour("--line"), automargin: true }, own,
      own && own.title ? { title: { text: own.title.text, standoff: 6 } } : {});
  }
  function draw(node) {
    const spec = coloured(JSON.parse(document.getElementById(node.dataset.figure).textContent));
    const narrow = node.clientWidth < 520;
    delete spec.layout.width;
    const layout = Object.assign({ margin: { l: 48, r: 12, t: 12, b: 44 }, dragmode: false,
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", height: 380,
      hoverlabel: { align: "left" }, legend: {} }, spec.layout);
    layout.font = { color: colour("--ink"), family: "system-ui, sans-serif",
      size: narrow ? 11 : 13 };
    layout.legend = Object.assign({ orientation: "h", yref: "container", y: 0,
      yanchor: "bottom", x: 0 }, layout.legend);
    layout.hoverlabel = { bgcolor: colour("--card"), bordercolor: colour("--line"), align: "left",
      font: { color: colour("--ink") } };
    for (const key of Object.keys(layout))
      if (/^[xy]axis/.test(key)) layout[key] = axis(layout[key], narrow);
    if (layout.scene) {
      layout.scene.bgcolor = "rgba(0,0,0,0)";
      for (const key of ["xaxis", "yaxis", "zaxis"]) layout.scene[key] = {
        title: { text: "" }, showticklabels: false, gridcolor: colour("--grid"),
        zerolinecolor: colour("--grid"), showbackground: false, showspikes: false };
      layout.dragmode = "orbit";
    }
    Plotly.react(node, spec.data, layout,
      { responsive: true, displaylogo: false, displayModeBar: false });
    node.dataset.drawn = root.dataset.theme;
  }
  function redraw() {
    document.querySelectorAll(".plot[data-drawn]").forEach(draw);
  }
  wide.addEventListener("change", function () { theme(); redraw(); });
  document.getElementById("theme").addEventListener("click", function () {
    chosen = root.dataset.theme === "dark" ? "light" : "dark"; theme(); redraw();
  });
  const seen = new IntersectionObserver(function (entries) {
    for (const entry of entries)
      if (entry.isIntersecting && !entry.target.dataset.drawn) draw(entry.target);
  }, { rootMargin: "300px" });
  document.querySelectorAll(".plot").forEach(function (node) { seen.observe(node); });
  window.addEventListener("beforeprint", function () {
    document.querySelectorAll(".plot").forEach(draw);
  });
  document.querySelectorAll("select[data-chooses]").forEach(function (select) {
    function show() {
      document.querySelectorAll("[data-of='" + select.dataset.chooses + "']").forEach(
        function (node) { node.hidden = node.dataset.value !== select.value; });
    }
    select.addEventListener("change", show);
    show();
  });
})();
"""


class Raw(str):
    """A cell that is HTML already."""

    __slots__ = ()


class Page:
    """Sections in the order in which they are added."""

    def __init__(self, title: str, lead: str) -> None:
        self.title = title
        self.lead = lead
        self._sections: list[tuple[str, str, str]] = []
        self._figures: list[str] = []

    def section(self, key: str, title: str, *parts: str) -> None:
        """`parts` are HTML; empty ones are left out."""
        self._sections.append((key, title, "\n".join(part for part in parts if part)))

    def figure(self, figure: Figure, caption: str = "") -> str:
        """HTML of a figure; `width` in its layout is the most that it takes.

        Text in it is escaped by whoever made it: plotly.js reads tags.
        """
        key = f"figure-{len(self._figures) + 1}"
        # `<` would end the script element, or begin a comment in it.
        data = json.dumps(_jsonable(figure), separators=(",", ":")).replace("<", "\\u003c")
        self._figures.append(f'<script type="application/json" id="{key}">{data}</script>')
        layout = figure.get("layout", {})
        height, width = layout.get("height", 380), layout.get("width")
        style = f"min-height:{height}px" + (f";max-width:{width}px" if width else "")
        told = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
        return (
            f'<figure><div class="plot" data-figure="{key}" style="{style}"></div>{told}</figure>'
        )

    def html(self) -> str:
        from plotly.offline import get_plotlyjs

        links = "".join(f'<a href="#{key}">{escape(title)}</a>' for key, title, _ in self._sections)
        sections = "\n".join(
            f'<section id="{key}"><h2>{escape(title)}</h2>\n{body}\n</section>'
            for key, title, body in self._sections
        )
        figures = "\n".join(self._figures)
        return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(self.title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
<header><h1>{escape(self.title)}</h1><button id="theme" type="button">Light / dark</button></header>
<p class="soft">{escape(self.lead)}</p>
<nav>{links}</nav>
{sections}
</main>
{figures}
<script>{get_plotlyjs()}</script>
<script>{_SCRIPT}</script>
</body>
</html>
"""

    def write(self, path: str | Path) -> None:
        write_whole(path, self.html())


def table(
    head: Sequence[str], rows: Iterable[Sequence[object]], *, text: Iterable[int] = ()
) -> str:
    """HTML of a table; the columns `text` are set to the left, as the first is."""
    left = set(text)

    def cell(place: int, value: object, tag: str) -> str:
        shown = value if isinstance(value, Raw) else escape("" if value is None else str(value))
        return (
            f'<{tag} class="text">{shown}</{tag}>' if place in left else f"<{tag}>{shown}</{tag}>"
        )

    top = "".join(cell(place, name, "th") for place, name in enumerate(head))
    body = "\n".join(
        "<tr>" + "".join(cell(place, value, "td") for place, value in enumerate(row)) + "</tr>"
        for row in rows
    )
    return (
        f'<div class="scroll"><table><thead><tr>{top}</tr></thead>\n'
        f"<tbody>{body}</tbody></table></div>"
    )


def tiles(values: Iterable[tuple[str, str]]) -> str:
    cells = "".join(
        f'<div class="tile"><b>{escape(value)}</b><span class="soft">{escape(name)}</span></div>'
        for name, value in values
    )
    return f'<div class="tiles">{cells}</div>'


def chooser(group: str, parts: Mapping[str, str], *, told: str = "Label") -> str:
    """A list to choose from, and what belongs to each choice: only that of one is shown."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    options = "".join(f"<option>{escape(name)}</option>" for name in parts)
    bodies = "\n".join(
        f'<div data-of="{group}" data-value="{escape(name)}">{body}</div>'
        for name, body in parts.items()
    )
    return (
        f'<label>{escape(told)} <select data-chooses="{group}">{options}</select></label>\n{bodies}'
    )


def interval(values: Sequence[float] | None, digits: int = 3) -> Raw:
    """A value, and small beside it the ends of its interval."""
    if values is None:
        return Raw("")
    value, low, high = values
    return Raw(f"{value:.{digits}f} <small>{low:.{digits}f} to {high:.{digits}f}</small>")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
