"""One file through one policy, or through two: what was found, row by row, and what to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from time import perf_counter
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.engine import CHUNK, Moderator
from moderation.errors import ConfigError
from moderation.ui.replay import Kept, Replayed
from moderation.ui.table import Table
from moderation.verdict import Action

SLICE = 0.4
"""Seconds of work between two looks at the clock and at the wish to stop."""

PAGE = 25
"""Rows that go to the browser at a time."""

Order = Literal["file", "severe", "disagree"] | str
"""How rows are sorted: as in the file, by severity, by disagreement, or by a category's score."""


class Pace(NamedTuple):
    """How far a run is; `rate` in rows a second, `left` in seconds."""

    done: int
    total: int
    rate: float
    left: float


class Side:
    """What one policy says about the rows."""

    def __init__(self, name: str, moderator: Moderator, size: int) -> None:
        self.name = name
        self.moderator = moderator
        self.kept = Kept(moderator, size)
        self.actions = np.zeros(size, np.int8)
        self.degraded = np.zeros(size, np.bool_)
        self.reasons: dict[int, tuple[str, ...]] = {}
        """By row; rows with none are left out."""

    def judge(self, texts: Sequence[str]) -> None:
        """The next rows.

        Raises:
            ModerationError: a step failed and the policy says `on_error: raise`.
        """
        for row, verdict in enumerate(self.moderator.moderate_iter(texts), start=len(self.kept)):
            self.kept.add(verdict)
            self.actions[row] = verdict.action
            self.degraded[row] = verdict.degraded
            if verdict.reasons:
                self.reasons[row] = verdict.reasons

    def counts(self, rows: int) -> dict[Action, int]:
        found = np.bincount(self.actions[:rows], minlength=3)
        return {action: int(found[action]) for action in Action}


class Run:
    """A file on its way through a policy, and through a second one to compare with.

    Made by one visit and seen by no other. `done` rows are judged; `stop` asks `judge` to end.
    """

    def __init__(self, table: Table, column: str, sides: Mapping[str, Moderator]) -> None:
        """Raises ContentError where `column` is not one of texts."""
        self.table = table
        self.column = column
        self.texts, self.notes = table.texts(column)
        self.sides = [Side(name, moderator, len(table)) for name, moderator in sides.items()]
        self.done = 0
        self.stop = False
        self.seconds = 0.0

    def __len__(self) -> int:
        return len(self.table)

    @property
    def rate(self) -> float:
        return self.done / self.seconds if self.seconds else 0.0

    def judge(self) -> Iterator[Pace]:
        """Judge all rows, and say every `SLICE` or so how far it is.

        Raises:
            ModerationError: as `Side.judge`; the rows before are kept.
        """
        size = 32
        while self.done < len(self) and not self.stop:
            began = perf_counter()
            texts = self.texts[self.done : self.done + size]
            for side in self.sides:
                side.judge(texts)
            self.done += len(texts)
            took = perf_counter() - began
            self.seconds += took
            size = max(1, min(CHUNK, round(len(texts) * SLICE / max(took, 1e-6))))
            yield Pace(self.done, len(self), self.rate, (len(self) - self.done) / self.rate)

    @cached_property
    def found(self) -> list[Replayed]:
        """The scores of each side; to be asked for when `judge` has ended."""
        return [side.kept.replay(side.moderator.policy) for side in self.sides]

    @cached_property
    def labels(self) -> dict[str, NDArray[np.float64]]:
        """Columns of labels by the category that they are named as; see `Table.labels`."""
        categories = dict.fromkeys(c for side in self.sides for c in side.kept.categories)
        found = self.table.labels(list(categories))
        return {name: np.asarray(values[: self.done]) for name, values in found.items()}

    @cached_property
    def disagreement(self) -> NDArray[np.float64]:
        """How far two policies are apart on each row: whole numbers are levels of action.

        0.25 is the same action with scores that differ by up to 0.25 in some category; 1.25 is
        one level apart.
        """
        if len(self.sides) < 2:
            return np.zeros(self.done)
        one, two = self.found
        levels = np.abs(one.actions.astype(np.float64) - two.actions)
        widest = np.zeros(self.done)
        for category in set(one.categories) & set(two.categories):
            left = np.nan_to_num(one.scores[:, one.categories.index(category)])
            right = np.nan_to_num(two.scores[:, two.categories.index(category)])
            widest = np.maximum(widest, np.abs(left - right))
        return levels + np.minimum(widest, 0.999)

    def crossed(self) -> NDArray[np.int64]:
        """[3, 3]: rows by the action of the first policy and of the second."""
        one, two = (side.actions[: self.done].astype(np.int64) for side in self.sides)
        return np.bincount(3 * one + two, minlength=9).reshape(3, 3)

    def by_category(self, side: int = 0) -> dict[str, tuple[int, int]]:
        """Rows that reach review, and block, by category; the most frequent first."""
        found = self.found[side]
        counted = {}
        for category, limits in self.sides[side].moderator.policy.thresholds.items():
            if category not in found.categories:
                continue
            scores = found.scores[:, found.categories.index(category)]
            block = (
                np.zeros(len(scores), np.bool_)
                if limits.block is None
                else (scores >= limits.block)
            )
            review = (
                np.zeros(len(scores), np.bool_)
                if limits.review is None
                else (scores >= limits.review)
            )
            counted[category] = (int((review & ~block).sum()), int(block.sum()))
        return dict(sorted(counted.items(), key=lambda item: -sum(item[1])))

    def rows(
        self, *, only: str = "all", search: str = "", order: Order = "file"
    ) -> NDArray[np.int64]:
        """Places of rows, filtered and sorted.

        Args:
            only: an action, `flagged`, `degraded`, `disagree`, or `all`.
            search: what the text has to hold, whatever the case.
            order: see `Order`; the greatest first, the order of the file among equals.

        Raises:
            ConfigError: `only` or `order` is none of these.
        """
        side, found = self.sides[0], self.found[0]
        actions = side.actions[: self.done]
        chosen = {
            "all": np.ones(self.done, np.bool_),
            "flagged": actions > 0,
            "degraded": side.degraded[: self.done],
            "disagree": self.disagreement >= 1,
            **{str(action): actions == action for action in Action},
        }
        if only not in chosen:
            raise ConfigError(f"expected one of {', '.join(chosen)}, found {only[:60]!r}")
        rows = np.flatnonzero(chosen[only])
        if wanted := search.casefold().strip():
            texts = self.texts
            rows = np.asarray([r for r in rows.tolist() if wanted in texts[r].casefold()], np.int64)
        if order == "file":
            return rows
        if order == "severe":
            highest = np.nan_to_num(found.scores).max(axis=1, initial=0.0)
            key = actions + np.minimum(highest, 0.999)
        elif order == "disagree":
            key = self.disagreement
        elif order in found.categories:
            key = np.nan_to_num(found.scores[:, found.categories.index(order)], nan=-1.0)
        else:
            known = ", ".join(("file", "severe", "disagree", *found.categories))
            raise ConfigError(f"expected one of {known}, found {order[:60]!r}")
        return rows[np.argsort(-key[rows], kind="stable")]

    def leading(self, row: int) -> tuple[str, float]:
        """The category that led to the first policy's action, or else the highest, and its score.

        An empty name where no score did: a step failed, or none reported anything.
        """
        side, scores = self.sides[0], self.found[0].of(row)
        if side.actions[row]:
            limits = side.moderator.policy.thresholds
            scores = {
                category: score
                for category, score in scores.items()
                if category in limits and limits[category].action(score) == side.actions[row]
            }
        category = max(scores, key=lambda name: scores[name], default="")
        return category, scores.get(category, 0.0)

    def columns(self) -> dict[str, list[Any]]:
        """The file with the verdicts beside it: what is downloaded.

        For each policy `NAME.action`, `.degraded`, `.reasons` and `.CATEGORY`, a score from 0 to 1
        or nothing where no step reported one.
        """
        columns = {name: values[: self.done] for name, values in self.table.columns.items()}

        def add(name: str, values: list[Any]) -> None:
            while name in columns:
                name += "_"
            columns[name] = values

        words = [str(action) for action in Action]
        for side, found in zip(self.sides, self.found, strict=True):
            add(f"{side.name}.action", [words[a] for a in side.actions[: self.done].tolist()])
            add(f"{side.name}.degraded", side.degraded[: self.done].tolist())
            reasons = side.reasons
            add(f"{side.name}.reasons", ["; ".join(reasons.get(r, ())) for r in range(self.done)])
            for place, category in enumerate(found.categories):
                scores = np.round(found.scores[:, place], 6).tolist()
                add(f"{side.name}.{category}", [s if s == s else None for s in scores])
        return columns
