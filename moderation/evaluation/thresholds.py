"""Thresholds that reach what somebody wants of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ConfigError
from moderation.evaluation.labelled import Labelled
from moderation.evaluation.metrics import Interval, Scores, Truth, wilson

FEW = 50
"""Positives below which a threshold is little more than a guess."""

Measure = Literal["precision", "recall", "flag rate"]


class Goal(NamedTuple):
    """At least this precision, at least this recall, or at most this share flagged."""

    measure: Measure
    value: float


@dataclass(frozen=True)
class Choice:
    """A threshold for one label, or None where none reaches the goal, and what it reaches.

    Without a threshold, precision, recall and flag rate are those of the threshold that comes
    closest. A threshold chosen on few positives reaches less on other texts than it does here.
    """

    label: str
    threshold: float | None
    precision: Interval
    recall: Interval
    flagged: Interval
    rows: int
    positives: int


def choose(labelled: Labelled, scores: NDArray[np.float64], goal: Goal) -> list[Choice]:
    """One choice for each label of `labelled`; `scores` is [n, labels].

    Raises ConfigError for a goal outside 0 to 1, or a label with one class only.
    """
    if not 0 < goal.value <= 1:
        raise ConfigError(f"expected a {goal.measure} above 0 and up to 1, found {goal.value:g}")
    choices = []
    for place, label in enumerate(labelled.labels):
        known = ~np.isnan(labelled.targets[:, place])
        truth = labelled.targets[known, place] >= 0.5
        if truth.all() or not truth.any():
            side = "positive" if len(truth) and truth[0] else "negative"
            raise ConfigError(
                f"label {label}: all {len(truth):,} known values are {side}; a threshold is chosen "
                "on positives and negatives: add rows, or leave the label out",
                where=labelled.name,
            )
        choices.append(_choose(label, truth, scores[known, place], goal))
    return choices


def _choose(label: str, truth: Truth, scores: Scores, goal: Goal) -> Choice:
    # Every threshold that decides differently from the others: one at each distinct score.
    levels, inverse = np.unique(scores, return_inverse=True)
    rows = np.bincount(inverse, minlength=len(levels))[::-1].cumsum()[::-1]
    hits = np.bincount(inverse, truth, len(levels))[::-1].cumsum()[::-1]
    precision = hits / rows
    recall = hits / max(1, int(truth.sum()))
    flagged = rows / len(truth)
    if goal.measure == "precision":
        # Of those that reach it the lowest one: the same promise, and the most found.
        reached = np.flatnonzero((precision >= goal.value) & (hits > 0))
        place = int(reached[0]) if len(reached) else int(np.argmax(precision))
    elif goal.measure == "recall":
        reached = np.flatnonzero(recall >= goal.value)
        place = int(reached[-1]) if len(reached) else 0
    else:
        reached = np.flatnonzero(flagged <= goal.value)
        place = int(reached[0]) if len(reached) else len(levels) - 1
    below = float(levels[place - 1]) if place else float(levels[0]) / 2
    return Choice(
        label,
        shortest(below, float(levels[place])) if len(reached) else None,
        wilson(int(hits[place]), int(rows[place])),
        wilson(int(hits[place]), int(truth.sum())),
        wilson(int(rows[place]), len(truth)),
        len(truth),
        int(truth.sum()),
    )


def shortest(below: float, score: float) -> float:
    """The decimal with the fewest digits that is above `below` and not above `score`.

    It decides as `score` itself would and is fit to be read.
    """
    for digits in range(2, 17):
        unit = 10.0**-digits
        found = round(math.floor(score / unit) * unit, digits)
        if below < found <= score:
            return found
    return score


def as_yaml(choices: list[Choice], goal: Goal, action: str) -> str:
    """Lines for a policy, each with what it reaches on the data that it was chosen on."""
    lines = ["thresholds:"]
    width = max(len(choice.label) for choice in choices) + 1
    for choice in choices:
        told = ", ".join(
            f"{name} {interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
            for name, interval in (
                ("precision", choice.precision),
                ("recall", choice.recall),
                ("flags", choice.flagged),
            )
        )
        told += f"; {choice.positives:,} positives of {choice.rows:,}"
        if choice.positives < FEW:
            told += ", too few to rely on"
        head = f"{choice.label + ':':<{width}}"
        if choice.threshold is None:
            lines.append(f"  # {head} no threshold reaches {goal.measure} {goal.value:g}; {told}")
        else:
            lines.append(f"  {head} {{{action}: {choice.threshold!r}}}  # {told}")
    return "\n".join(lines) + "\n"
