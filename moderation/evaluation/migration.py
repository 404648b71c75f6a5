"""Thresholds for who moves here from another service: as many texts flagged as before.

Two services' scores are not on one scale: .8 of the one is not .8 of the other. What can be kept is
the share of one's own texts that is flagged. Which texts these are changes all the same, so those
that change sides are shown, to be read before anything is switched.

    moves = migrate(open_system("perspective"), read_scores(...), [Old("TOXICITY", 0.8)])
    print(as_yaml(moves))
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ConfigError
from moderation.evaluation.labelled import read_columns
from moderation.evaluation.output import write_whole
from moderation.evaluation.page import Figure, Page, chooser, table, tiles
from moderation.evaluation.system import Advance, System
from moderation.evaluation.thresholds import FEW, shortest
from moderation.policy import did_you_mean
from moderation.taxonomy import OPENAI, PERSPECTIVE, TABLE, TWIN

Floats = NDArray[np.float64]
Marks = NDArray[np.bool_]

ACTIONS = ("review", "block")
POINTS = 2_000
"""Texts that a figure shows, drawn by lot."""
SHOWN = 50
"""Texts that the page shows of each side."""
LONGEST = 400
"""Characters of a text that the page shows."""


class Old(NamedTuple):
    """From which score of the old service on a text was flagged, and what that means here.

    `name` is what the old service calls it: an attribute of Perspective, one of OpenAI's names, or
    a category of ours.
    """

    name: str
    threshold: float
    action: Literal["review", "block"] = "review"

    @classmethod
    def read(cls, text: str, action: Literal["review", "block"]) -> Old:
        """``NAME=SCORE``, as in ``TOXICITY=.8``.

        Raises ConfigError for anything else, or a score that is not above 0 and up to 1.
        """
        name, _, score = text.partition("=")
        try:
            threshold = float(score)
        except ValueError:
            threshold = 0.0
        if not name.strip() or not 0 < threshold <= 1:
            raise ConfigError(
                f"expected NAME=SCORE with a score above 0, up to 1, found {text!r}",
                where=f"--{action}",
            )
        return cls(name.strip(), threshold, action)


@dataclass(frozen=True)
class Scores:
    """Texts with what the old service said of them: [n] for each name, NaN where it said nothing.

    `blank` is how many rows were left out because they have no text.
    """

    file: str
    texts: list[str]
    old: dict[str, Floats]
    blank: int = 0


@dataclass(frozen=True)
class Move:
    """One old threshold, and the new one in its place.

    `threshold` is None where the old one flags no text of the file: then nothing is known of it.
    `rows` are places in the file's texts of which the old service said something; `before` and
    `after` are the two services' scores of them.
    """

    old: Old
    categories: tuple[str, ...]
    threshold: float | None
    rows: NDArray[np.int64]
    before: Floats
    after: Floats

    @property
    def was(self) -> Marks:
        """Which were flagged. Ties count, as they do in a policy."""
        flagged: Marks = self.before >= self.old.threshold
        return flagged

    @property
    def now(self) -> Marks:
        """Which are flagged."""
        limit = np.inf if self.threshold is None else self.threshold
        flagged: Marks = self.after >= limit
        return flagged

    def changed(self, *, to: bool) -> NDArray[np.int64]:
        """Places in `rows` that change sides, the clearest first: those flagged now, or no more."""
        places = np.flatnonzero((self.now == to) & (self.was != to))
        return places[np.argsort(-np.abs(self.after - self.before)[places], kind="stable")]

    def rank_correlation(self) -> float:
        """Spearman's, of the two services' scores; NaN where one of them never varies."""
        before, after = _ranks(self.before), _ranks(self.after)
        if before.std() == 0 or after.std() == 0:
            return float("nan")
        return float(np.corrcoef(before, after)[0, 1])


def read_scores(
    file: Path, columns: Mapping[str, str], *, text: Sequence[str] = ("text",)
) -> Scores:
    """Reads CSV, TSV, JSON lines or Parquet: texts, and the column of old scores of each name.

    Raises ConfigError for a file or column that is not there, or scores outside of 0 to 1.
    """
    found = read_columns(
        file, text=text, labels=list(dict.fromkeys(columns.values())), target=None, split=None
    )
    kept = [place for place, each in enumerate(found.texts) if each.strip()]
    if not kept:
        raise ConfigError("expected texts, found none", where=str(file))
    # As they were written: 0.7 read as a float32 would not reach a threshold of 0.7.
    written = found.targets[kept].astype(np.float64).round(7)
    old = {name: written[:, found.labels.index(column)] for name, column in columns.items()}
    return Scores(
        file.name, [found.texts[place] for place in kept], old, len(found.texts) - len(kept)
    )


def categories_behind(name: str, known: Sequence[str]) -> tuple[str, ...]:
    """Our categories that a threshold for `name` is written for; `known` are those reported.

    Raises ConfigError where nothing reports what stands behind it.
    """
    rows = _rows(name)
    if not rows:
        if name in known:
            return (name,)
        names = sorted({*PERSPECTIVE, *OPENAI, *known})
        raise ConfigError(f"there is no name {name!r}; {did_you_mean(name, names)}")
    single = tuple(row[0] for row in rows if len(row) == 1 and row[0] in known)
    if not single:
        together = next((row for row in rows if len(row) > 1), ())
        why = (
            f"it holds where {' and '.join(together)} hold together, and a policy has a threshold "
            "for each of them only: move the names of those"
            if together
            else f"no step reports {' or '.join(row[0] for row in rows)}"
        )
        raise ConfigError(f"{name}: {why}")
    return single


def migrate(
    system: System,
    scores: Scores,
    wanted: Sequence[Old],
    advance: Advance = lambda count: None,
) -> tuple[list[Move], Counter[str]]:
    """A new threshold for each old one, and why steps gave no score, for how many texts.

    Raises ConfigError for a name that nothing stands behind, a threshold outside of 0 to 1, or a
    column without a score.
    """
    behind = {each.name: categories_behind(each.name, system.labels) for each in wanted}
    for each in wanted:
        if not 0 < each.threshold <= 1:
            raise ConfigError(f"{each.name}: expected a threshold above 0, up to 1")
        if np.isnan(scores.old[each.name]).all():
            raise ConfigError(f"{each.name}: every score is empty", where=scores.file)
    found = system.score(scores.texts, advance)
    moves = []
    for each in wanted:
        columns = [system.labels.index(category) for category in behind[each.name]]
        rows = np.flatnonzero(~np.isnan(scores.old[each.name]))
        before = scores.old[each.name][rows]
        after = found.scores[rows][:, columns].max(axis=1)
        count = int((before >= each.threshold).sum())
        moves.append(Move(each, behind[each.name], same_count(after, count), rows, before, after))
    return moves, found.gaps


def same_count(scores: Floats, count: int) -> float | None:
    """The threshold that as near to `count` of `scores` reach as can be; None for none of them.

    Where two come as near, the lower one: rather one text more to look at than one too few.
    """
    if count == 0:
        return None
    levels, inverse = np.unique(scores, return_inverse=True)
    reached = np.bincount(inverse, minlength=len(levels))[::-1].cumsum()[::-1]
    place = int(np.argmin(np.abs(reached - count)))
    below = float(levels[place - 1]) if place else float(levels[0]) / 2
    return shortest(below, float(levels[place]))


def as_yaml(moves: Sequence[Move]) -> str:
    """Lines for a policy, each with what it replaces and what it changes.

    A category that stands behind several names gets the lowest of their thresholds.
    """
    limits: dict[str, dict[str, float]] = {}
    told: dict[str, list[str]] = {}
    for move in moves:
        for category in move.categories:
            told.setdefault(category, []).append(_told(move))
            if move.threshold is not None:
                actions = limits.setdefault(category, {})
                known = actions.get(move.old.action, 1.0)
                actions[move.old.action] = min(known, move.threshold)
    lines = ["thresholds:"]
    for category, comments in told.items():
        lines += [f"  # {comment}" for comment in comments]
        actions = limits.get(category, {})
        if {"review", "block"} <= actions.keys():
            actions["review"] = min(actions["review"], actions["block"])
        inner = ", ".join(
            f"{name}: {actions[name]!r}" for name in ("review", "block") if name in actions
        )
        lines.append(f"  {category}: {{{inner}}}" if inner else f"  # {category}: no threshold")
    return "\n".join(lines) + "\n"


def write_yaml(moves: Sequence[Move], path: Path) -> None:
    """The lines of `as_yaml`, to be copied into a policy."""
    write_whole(path, as_yaml(moves))


def write_changed(moves: Sequence[Move], scores: Scores, path: Path) -> None:
    """Every text that changes sides, as JSON lines, with both services' scores."""
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for row in _changed(moves, scores):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def write_page(moves: Sequence[Move], scores: Scores, system: System, path: Path) -> None:
    """The page with the figures and the texts that change sides; everything is inside."""
    lead = (
        f"{system.kind} {system.name} ({system.fingerprint}) in the place of the service that gave "
        f"the scores in {scores.file}: {len(scores.texts):,} texts"
    )
    page = Page(f"Moving to {system.name}", lead)
    changed = {row["row"] for row in _changed(moves, scores)}
    head = ("old", "category", "new", "before", "now", "no more", "newly", "rank correlation")
    rows = []
    for move in moves:
        before, after = int(move.was.sum()), int(move.now.sum())
        correlation = move.rank_correlation()
        rows.append(
            (
                _name(move),
                ", ".join(move.categories),
                "none" if move.threshold is None else f"{move.threshold:g}",
                f"{before:,} ({before / len(move.rows):.2%})",
                f"{after:,} ({after / len(move.rows):.2%})",
                f"{len(move.changed(to=False)):,}",
                f"{len(move.changed(to=True)):,}",
                "" if np.isnan(correlation) else f"{correlation:.3f}",
            )
        )
    page.section(
        "glance",
        "At a glance",
        tiles(
            [
                ("texts", f"{len(scores.texts):,}"),
                ("thresholds", f"{len(moves):,}"),
                ("texts that change sides", f"{len(changed):,}"),
            ]
        ),
        table(head, rows, text=(1,)),
        f"<pre>{escape(as_yaml(moves))}</pre>",
        "<p>Read the texts that change sides before you switch: as many are flagged as before, and "
        "not the same ones.</p>",
    )
    figures = {_name(move): _figures(page, move) for move in moves}
    page.section("figures", "Scores", chooser("figures", figures, told="Threshold"))
    texts = {_name(move): _texts(move, scores) for move in moves}
    page.section("texts", "Texts that change sides", chooser("texts", texts, told="Threshold"))
    page.write(path)


def _rows(name: str) -> list[tuple[str, ...]]:
    base = name.removesuffix(TWIN)
    return [row.categories for row in TABLE if name in row.openai or base in row.perspective]


def _ranks(values: Floats) -> Floats:
    """Ranks, where equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (counts.cumsum() - (counts - 1) / 2)[inverse]
    return ranks


def _name(move: Move) -> str:
    return f"{move.old.name} from {move.old.threshold:g}: {move.old.action}"


def _told(move: Move) -> str:
    total, before = len(move.rows), int(move.was.sum())
    old = f"{move.old.name} {move.old.threshold:g}"
    head = f"{old} flagged {before:,} of {total:,} ({before / total:.2%})"
    if move.threshold is None:
        return f"{head}: nothing to go by"
    after = int(move.now.sum())
    few = ", too few to rely on" if before < FEW else ""
    return (
        f"{head}; {move.threshold:g} flags {after:,}: {len(move.changed(to=False)):,} no more, "
        f"{len(move.changed(to=True)):,} newly{few}"
    )


def _changed(moves: Sequence[Move], scores: Scores) -> Iterator[dict[str, Any]]:
    for move in moves:
        for to in (False, True):
            for place in move.changed(to=to):
                row = int(move.rows[place])
                yield {
                    "row": row,
                    "name": move.old.name,
                    "action": move.old.action,
                    "flagged": "now" if to else "before",
                    "old": float(move.before[place]),
                    "new": float(move.after[place]),
                    "text": scores.texts[row],
                }


def _texts(move: Move, scores: Scores) -> str:
    pieces = []
    for to, told in ((False, "Flagged before, and no more"), (True, "Flagged now, and not before")):
        places = move.changed(to=to)
        pieces.append(f"<h3>{told}: {len(places):,}</h3>")
        if len(places) > SHOWN:
            pieces.append(f'<p class="soft">The {SHOWN} whose scores differ most.</p>')
        rows = []
        for place in places[:SHOWN]:
            text = scores.texts[move.rows[place]]
            shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} …"
            rows.append(
                f"<tr><td>{move.before[place]:.3f}</td><td>{move.after[place]:.3f}</td>"
                f'<td class="wrap">{escape(shown)}</td></tr>'
            )
        if rows:
            pieces.append(
                '<div class="scroll"><table><thead><tr><th>old</th><th>new</th>'
                '<th class="text">text</th></tr></thead>'
                f"<tbody>{''.join(rows)}</tbody></table></div>"
            )
    return "\n".join(pieces)


def _figures(page: Page, move: Move) -> str:
    curves = page.figure(_curves(move), "How many texts are flagged, by threshold.")
    points = page.figure(_points(move), "Texts by what both services say; lines at the thresholds.")
    return f'<div class="pair">{curves}{points}</div>'


def _curves(move: Move) -> Figure:
    data = []
    for name, scores, limit, colour in (
        ("old service", move.before, move.old.threshold, "--series-3"),
        ("here", move.after, move.threshold, "--series-1"),
    ):
        levels = np.unique(np.quantile(scores, np.linspace(0, 1, 400)))
        shares = [float((scores >= level).mean()) for level in levels]
        data.append(
            {
                "x": levels.tolist(),
                "y": shares,
                "mode": "lines",
                "name": name,
                "line": {"color": colour, "width": 2, "shape": "vh"},
                "hovertemplate": "from %{x:.3f}: %{y:.2%}",
            }
        )
        if limit is not None:
            data.append(
                {
                    "x": [limit],
                    "y": [float((scores >= limit).mean())],
                    "mode": "markers",
                    "showlegend": False,
                    "marker": {"color": colour, "size": 10},
                    "hovertemplate": "%{x:.3f}: %{y:.2%}",
                }
            )
    return {
        "data": data,
        "layout": {
            "xaxis": {"title": {"text": "threshold"}, "range": [-0.02, 1.02]},
            "yaxis": {
                "title": {"text": "share of texts flagged, log"},
                "type": "log",
                "tickformat": "~%",
                "dtick": 1,
            },
        },
    }


def _points(move: Move) -> Figure:
    chosen = np.random.default_rng(0).permutation(len(move.rows))[:POINTS]
    changed = move.was[chosen] != move.now[chosen]
    data = [
        {
            "x": move.before[chosen][side].tolist(),
            "y": move.after[chosen][side].tolist(),
            "mode": "markers",
            "name": name,
            "marker": {"color": colour, "size": 5, "opacity": 0.6},
            "hovertemplate": "old %{x:.3f}, new %{y:.3f}",
        }
        for name, side, colour in (
            ("same side", ~changed, "--series-1"),
            ("changes sides", changed, "--series-4"),
        )
    ]
    line = {"type": "line", "line": {"color": "--soft", "width": 1, "dash": "dash"}}
    limit = move.old.threshold
    shapes = [{**line, "x0": limit, "x1": limit, "yref": "paper", "y0": 0, "y1": 1}]
    if move.threshold is not None:
        limit = move.threshold
        shapes.append({**line, "xref": "paper", "x0": 0, "x1": 1, "y0": limit, "y1": limit})
    axis = {"range": [-0.02, 1.02]}
    return {
        "data": data,
        "layout": {
            "shapes": shapes,
            "xaxis": {"title": {"text": "old score"}, **axis},
            "yaxis": {"title": {"text": "new score"}, **axis},
        },
    }
