"""Draws docs/images/band.svg from the numbers of `moderation band POLICY DATA --json band.json`.

python docs/make_band.py band.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

WIDTH, HEIGHT = 720, 400
LEFT, RIGHT, TOP, BOTTOM = 78, 28, 16, 56
INK, SOFT, GRID, POINT, CHOSEN, FEWER = (
    "#16181d",
    "#5b6270",
    "#e8e9ec",
    "#2a78d6",
    "#d08700",
    "#c2413b",
)


def svg(numbers: Mapping[str, Any]) -> str:
    """Every band as a point: what is refined, and what is lost at the label that loses most."""
    bands, goals = numbers["bands"], numbers["goals"]
    chosen = numbers["narrowed"]
    losses = [row["worst loss"] for row in bands]
    low, high = min(0.0, *losses), max(goals["loss"] * 1.5, *losses)
    step = next(
        size for size in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1) if high - low < 8 * size
    )

    def across(share: float) -> float:
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def down(loss: float) -> float:
        return TOP + (high - loss) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def line(x1: float, y1: float, x2: float, y2: float, colour: str, dash: str = "") -> str:
        more = f' stroke-dasharray="{dash}"' if dash else ""
        ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
        return f'<line {ends} stroke="{colour}"{more}/>'

    def text(x: float, y: float, told: str, anchor: str = "middle", more: str = "") -> str:
        return (
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{SOFT}"{more}>'
            f"{escape(told)}</text>"
        )

    def parts() -> Iterator[str]:
        for tenth in range(0, 11, 2):
            x = across(tenth / 10)
            yield line(x, TOP, x, HEIGHT - BOTTOM, GRID)
            yield text(x, HEIGHT - BOTTOM + 18, f"{tenth * 10} %")
        for number in range(round(low / step), int(high / step) + 1):
            y = down(number * step)
            yield line(LEFT, y, WIDTH - RIGHT, y, GRID)
            yield text(LEFT - 8, y + 4, f"{number * step:.3f}", "end")
        yield line(
            across(goals["share"]), TOP, across(goals["share"]), HEIGHT - BOTTOM, SOFT, "4 4"
        )
        yield line(LEFT, down(goals["loss"]), WIDTH - RIGHT, down(goals["loss"]), SOFT, "4 4")
        for row in bands:
            colour = FEWER if row["blocked less"] else POINT
            yield (
                f'<circle cx="{across(row["read"]):.1f}" cy="{down(row["worst loss"]):.1f}" r="3" '
                f'fill="{colour}" fill-opacity="0.6"/>'
            )
        if chosen is not None:
            x, y = across(chosen["read"]), down(chosen["worst loss"])
            ring = f'fill="none" stroke="{CHOSEN}" stroke-width="3"'
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="7" {ring}/>'
            told = "{:g} to {:g}".format(*chosen["between"])
            if chosen["bands"]:
                told += f", narrower for {len(chosen['bands'])}"
            # Above the goal's line, which would cross it out.
            above = min(y, down(goals["loss"])) - 10
            yield text(x + 12, above, told, "start", ' font-weight="600"')
        middle = (HEIGHT - BOTTOM + TOP) / 2
        yield text(
            18, middle, "AUC lost, worst label", more=f' transform="rotate(-90 18 {middle:.1f})"'
        )
        yield text((WIDTH + LEFT) / 2, HEIGHT - 12, "share of the traffic that is refined")

    body = "\n".join(parts())
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'font-family="system-ui, sans-serif" font-size="12" role="img">\n'
        f"<title>What each band refines, and what it loses</title>\n"
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n{body}\n</svg>\n'
    )


if __name__ == "__main__":
    numbers = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    target = Path(__file__).parent / "images" / "band.svg"
    target.write_text(svg(numbers), encoding="utf-8")
