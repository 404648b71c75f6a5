"""The band of a cascade, chosen from data: which texts the careful step has to read.

What each step says of a text does not depend on the band, so every text is read once, by all
steps, and what the policy makes of it is then worked out for any band.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ArtifactError, ConfigError
from moderation.evaluation.labelled import Labelled
from moderation.evaluation.metrics import FEWEST, Interval, Scores, Truth, wilson
from moderation.evaluation.output import write_whole
from moderation.evaluation.system import Advance, PolicySystem, gaps_of
from moderation.evaluation.thresholds import FEW
from moderation.policy import Policy, Step

SCHEMA = 1
LOWS = (
    *(0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.06, 0.08),
    *(0.1, 0.12, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5),
)
HIGHS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.97, 0.98, 0.99, 1.0)
COSTS = (0, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.01)
ACTIONS = ("review", "block")

Band: TypeAlias = tuple[float, float]
NO_BANDS: Mapping[Any, Band] = {}


class Goals(NamedTuple):
    """What a band may cost against always refining.

    `loss`: area under the ROC curve, of every label with enough positives and negatives. `share`:
    how much of the traffic the refining step reads. `same`: how many of the rows have to end with
    the action that they would have if every text were refined. At the block thresholds nothing is
    lost: of each such label as many positives reach it as if every text were refined.
    """

    loss: float = 0.003
    share: float = 0.2
    same: float = 0.0


GOALS = Goals()


@dataclass(frozen=True)
class Readings:
    """What the steps of a policy say of texts, whatever the band; arrays are [n, categories].

    `fast` is what the refined step says, `slow` what the refining one does, `others` the highest
    of the steps beside them; NaN where they say nothing. Where `replaces` holds, an answer of the
    refining step takes the place of the refined one's. `called` [n]: there is something that the
    refining step would read. `shared` [categories]: scores that may call it.
    """

    fast: NDArray[np.float64]
    slow: NDArray[np.float64]
    others: NDArray[np.float64]
    replaces: NDArray[np.bool_]
    called: NDArray[np.bool_]
    shared: NDArray[np.bool_]
    gaps: Counter[str]

    def at(
        self, band: Band | None, bands: Mapping[int, Band] = NO_BANDS
    ) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which texts are refined with this band, and the scores of the verdicts.

        None stands for a band that no score lies in; `bands` are those of categories, by their
        place, that have another.
        """
        seen: NDArray[np.bool_] = np.zeros(len(self.called), np.bool_)
        if band is not None:
            low, high = np.asarray(
                [bands.get(place, band) for place in range(self.fast.shape[1])]
            ).T
            inside = (self.fast >= low) & (self.fast <= high) & self.shared
            seen = inside.any(axis=1) & self.called
        own = np.where(seen[:, None] & self.replaces, self.slow, self.fast)
        return seen, np.fmax(own, self.others)


class Cascade(PolicySystem):
    """A policy in which one step refines another.

    `band` and `bands` are those that the policy has. Raises ConfigError where no step refines
    another, or several do, ArtifactError where one of the two cannot be loaded.
    """

    def __init__(self, policy: Policy | str | Path, plugins: Sequence[Any] = ()) -> None:
        self.policy = policy if isinstance(policy, Policy) else Policy.load(policy)
        refining = [step for step in self.policy.steps if step.refines is not None]
        if len(refining) != 1:
            found = ", ".join(step.name for step in refining) or "none"
            raise ConfigError(
                f"steps: expected one step that refines another, found {found}; the band of one "
                "is chosen at a time",
                where=self.policy.name,
            )
        self.band = refining[0].between
        self.bands = refining[0].bands
        steps = tuple(_unbounded(step) for step in self.policy.steps)
        super().__init__(self.policy.model_copy(update={"steps": steps}), plugins)
        self.fingerprint = self.policy.fingerprint
        slow = next(step for step in self.moderator.steps if step.spec.refines is not None)
        fast = next(step for step in self.moderator.steps if step.spec.name == slow.spec.refines)
        for step in (fast, slow):
            if step.fault:
                raise ArtifactError(f"step {step.spec.name} {step.fault}")
        self.refined, self.refining = fast.spec.name, slow.spec.name
        self._shared = self._columns(slow.categories)
        self._fast = {step.spec.name for step in fast.line()}
        self._slow = {step.spec.name: self._columns(step.categories) for step in slow.line()}

    def _columns(self, categories: frozenset[str]) -> NDArray[np.bool_]:
        return np.asarray([label in categories for label in self.labels], np.bool_)

    def read(self, texts: Sequence[str], advance: Advance = lambda count: None) -> Readings:
        """Every step on every text.

        Raises ConfigError where a step adds parts to a text: then no one score is replaced.
        """
        shape = (len(texts), len(self.labels))
        place_of = {label: place for place, label in enumerate(self.labels)}
        fast, slow, others = (np.full(shape, np.nan) for _ in range(3))
        replaces, called = np.zeros(shape, np.bool_), np.zeros(len(texts), np.bool_)
        gaps: Counter[str] = Counter()
        for row, verdict in enumerate(self.moderator.moderate_iter(texts, exhaustive=True)):
            if len(verdict.parts) > 1:
                raise ConfigError(
                    "steps: one of them adds parts to a text; a band is chosen for single texts",
                    where=self.policy.name,
                )
            for trace in verdict.trace:
                if trace.step in self._slow:
                    called[row] |= trace.status != "skipped"
                if trace.status != "ran":
                    continue
                if trace.step in self._slow:
                    replaces[row] = self._slow[trace.step]
                said = slow if trace.step in self._slow else fast
                if trace.step in self._slow or trace.step in self._fast:
                    for category, score in trace.scores.items():
                        said[row, place_of[category]] = score
            for signal in verdict.signals:
                if signal.step not in self._slow and signal.step not in self._fast:
                    place = place_of[signal.category]
                    others[row, place] = np.fmax(others[row, place], signal.score)
            gaps.update(gaps_of(verdict))
            advance(1)
        return Readings(fast, slow, others, replaces, called, self._shared, gaps)


def _unbounded(step: Step) -> Step:
    """The step with the widest band, and without timeouts: they are meant for fewer texts."""
    changes: dict[str, Any] = {"timeout": None}
    if step.refines is not None:
        changes |= {"between": (0.0, 1.0), "bands": {}}
    if step.fallback is not None:
        changes["fallback"] = _unbounded(step.fallback)
    return step.model_copy(update=changes)


class Area(NamedTuple):
    """Area under the ROC curve as the means of two sets of placements (DeLong et al. 1988).

    `positives` [positives]: the share of negatives that each positive scores above; `negatives`
    [negatives]: the share of positives that score above each negative. Ties count half.
    """

    positives: NDArray[np.float64]
    negatives: NDArray[np.float64]

    @classmethod
    def of(cls, truth: Truth, scores: Scores) -> Area:
        ranks = _ranks(scores)
        above = ranks[truth] - _ranks(scores[truth])
        below = ranks[~truth] - _ranks(scores[~truth])
        return cls(above / (~truth).sum(), 1 - below / truth.sum())

    @property
    def value(self) -> float:
        return float(self.positives.mean())

    def loss(self, other: Area) -> Interval:
        """How much larger this area is than another of the same rows."""
        gaps = self.positives - other.positives, self.negatives - other.negatives
        value = float(gaps[0].mean())
        half = 1.959964 * float(np.sqrt(sum(gap.var(ddof=1) / len(gap) for gap in gaps)))
        return Interval(value, value - half, value + half)


def _ranks(values: Scores) -> NDArray[np.float64]:
    """From 1 on; equal values share the mean of their ranks."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: NDArray[np.float64] = (counts.cumsum() - (counts - 1) / 2)[places]
    return ranks


@dataclass(frozen=True)
class BandChoice:
    """`numbers` is everything, ready for JSON: no texts are in it."""

    numbers: dict[str, Any]

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The cheapest band that reaches the goals, if any does, narrower for some categories."""
        found: dict[str, Any] | None = self.numbers["narrowed"]
        return found

    @property
    def nearest(self) -> dict[str, Any]:
        """Of the bands that cost no more than allowed, the one that loses least; or the cheapest.

        Blocked positives come before areas.
        """
        bands: list[dict[str, Any]] = self.numbers["bands"]
        allowed = [row for row in bands if row["read"] <= self.numbers["goals"]["share"]]
        return min(allowed, key=_losing) if allowed else bands[0]

    def frontier(self) -> list[dict[str, Any]]:
        """From the cheapest band on, each that loses less than all that are cheaper."""
        found: list[dict[str, Any]] = []
        for row in self.numbers["bands"]:
            if not found or row["worst loss"] < found[-1]["worst loss"]:
                found.append(row)
        return found

    def ladder(self) -> list[dict[str, Any]]:
        """For each step of the cost the band that loses least."""
        found = []
        for low, high in pairwise(COSTS):
            rows = [row for row in self.numbers["bands"] if low <= row["read"] < high]
            if rows:
                found.append(min(rows, key=_losing))
        return found

    def widening(self) -> list[dict[str, Any]]:
        """Bands that end as the chosen one does and begin lower and lower."""
        high = (self.chosen or self.nearest)["between"][1]
        rows = [row for row in self.numbers["bands"] if row["between"][1] == high]
        return sorted(rows, key=lambda row: -float(row["between"][0]))

    def write_json(self, path: str | Path) -> None:
        write_whole(path, json.dumps(self.numbers, indent=1) + "\n")

    def as_yaml(self) -> str:
        """Lines for the refining step of a policy, with what they reach."""
        numbers, row = self.numbers, self.chosen
        goals = numbers["goals"]
        lines = []
        if row is None:
            row = self.nearest
            same = f", gives {goals['same']:.3g} the same action" if goals["same"] else ""
            lines.append(
                f"# no band reads at most {goals['share']:.3g} of the traffic, loses at most "
                f"{goals['loss']:g} of AUC{same} and blocks as many; this one comes closest"
            )
        low, high = row["between"]
        lines += [
            f"refines: {numbers['policy']['refined']}",
            f"between: [{low:g}, {high:g}]  # {_told(row)}",
        ]
        if row["bands"]:
            lines.append("bands:")
            lines += [
                f"  {label}: [{low:g}, {high:g}]" for label, (low, high) in row["bands"].items()
            ]
        return "\n".join(lines) + "\n"


def _losing(row: Mapping[str, Any]) -> tuple[int, float]:
    return row["blocked less"], row["worst loss"]


def _told(row: Mapping[str, Any]) -> str:
    told = f"reads {row['read']:.1%}, "
    if row["worst loss"] > 0:
        told += f"loses {row['worst loss']:.4f} of AUC at most ({row['worst label']}), "
    else:
        told += "loses no AUC, "
    less = row["blocked less"]
    return told + (f"blocks {less:,} positives fewer" if less else "blocks no fewer positives")


def choose_band(
    cascade: Cascade,
    labelled: Labelled,
    *,
    traffic: Sequence[str] = (),
    traffic_name: str = "",
    positives: float | None = None,
    goals: Goals = GOALS,
    advance: Advance = lambda count: None,
) -> BandChoice:
    """The cheapest band that reaches the goals, and what every other would do.

    A band that is the same for every category and reaches the goals is made narrower for one
    category after the other, whichever saves most, for as long as the goals are reached; of all
    that is found so the cheapest is chosen. Only categories with enough positives and negatives to
    tell get a band of their own.

    Args:
        labelled: what is lost is measured on these rows.
        traffic: what the refining step reads is measured on these texts; by default on `labelled`.
        traffic_name: what they are called in the report.
        positives: the share of positives that `labelled` is weighted to where it stands for the
            traffic; by default the share that it has.
        advance: told how many more texts are read.

    Raises:
        ConfigError: a goal or a share out of range, a label that the policy does not report, or
            none with enough positives and negatives to choose by.
    """
    _check(cascade, labelled, goals, positives)
    readings = cascade.read(labelled.texts, advance)
    passing = cascade.read(traffic, advance) if traffic else readings
    weights = _weights(labelled, positives) if not traffic else np.ones(len(traffic))
    measured = _Measured(cascade, labelled, readings)
    if not measured.binding:
        raise ConfigError(
            f"no label has {FEW} positives and {FEW} negatives, too few to choose a band by",
            where=labelled.name,
        )

    def row(band: Band | None, bands: Mapping[str, Band] = NO_BANDS) -> dict[str, Any]:
        places = {cascade.labels.index(label): ends for label, ends in bands.items()}
        read = float(np.average(passing.at(band, places)[0], weights=weights))
        found = measured.at(band, places)
        within = (
            read <= goals.share
            and found["worst loss"] <= goals.loss
            and found["same action"] >= goals.same
            and not found["blocked less"]
        )
        told = None if band is None else list(band)
        own = {label: list(ends) for label, ends in bands.items()}
        return {"between": told, "bands": own, "read": read, "within": within, **found}

    def narrowed(best: dict[str, Any]) -> dict[str, Any]:
        low, high = band = (best["between"][0], best["between"][1])
        lows: dict[str, float] = {}
        while True:
            cheaper = []
            for label in (labelled.labels[place] for place in measured.binding):
                for raised in (each for each in LOWS if lows.get(label, low) < each < high):
                    found = row(band, {x: (y, high) for x, y in (lows | {label: raised}).items()})
                    if not found["within"]:
                        break
                    if found["read"] < best["read"]:
                        cheaper.append((found["read"], found["worst loss"], label, raised, found))
            if not cheaper:
                return best
            _, _, label, raised, best = min(cheaper, key=lambda each: each[:4])
            lows[label] = raised

    rows = [row((low, high)) for low in LOWS for high in HIGHS if low < high]
    # Of bands that cost the same the one that loses least.
    rows.sort(key=lambda each: (each["read"], *_losing(each)))
    # A wide band may end up narrower than the cheapest, so one that begins at each place is tried.
    within = {each["between"][0]: each for each in reversed(rows) if each["within"]}
    cheapest = min(
        (narrowed(each) for each in within.values()),
        key=lambda each: (each["read"], *_losing(each), len(each["bands"])),
        default=None,
    )
    own = {"file": labelled.name, "rows": len(labelled), "positives": positives}
    return BandChoice(
        {
            "schema": SCHEMA,
            "policy": {
                "name": cascade.name,
                "fingerprint": cascade.fingerprint,
                "refined": cascade.refined,
                "refining": cascade.refining,
            },
            "data": {
                "file": labelled.name,
                "rows": len(labelled),
                "fingerprint": labelled.fingerprint(),
            },
            "traffic": {"file": traffic_name, "rows": len(traffic)} if traffic else own,
            "gaps": dict((readings.gaps + (passing.gaps if traffic else Counter())).most_common()),
            "goals": goals._asdict(),
            "labels": measured.summary(),
            "bands": rows,
            "narrowed": cheapest,
            "now": row(cascade.band, cascade.bands),
            "never": row(None),
            "always": row((0.0, 1.0)),
        }
    )


def _check(cascade: Cascade, labelled: Labelled, goals: Goals, positives: float | None) -> None:
    if unknown := [label for label in labelled.labels if label not in cascade.labels]:
        raise ConfigError(f"{cascade.name} reports no {unknown[0]}", where=labelled.name)
    for name, value in (*goals._asdict().items(), ("positives", positives)):
        if value is not None and not 0 <= value <= 1:
            raise ConfigError(f"{name}: expected a number from 0 to 1, found {value:g}")


def _weights(labelled: Labelled, positives: float | None) -> NDArray[np.float64]:
    """One weight a row, such that rows with any positive label make up the share `positives`."""
    if positives is None:
        return np.ones(len(labelled))
    chosen = (np.nan_to_num(labelled.targets) >= 0.5).any(axis=1)
    if chosen.all() or not chosen.any():
        raise ConfigError("positives: every row is of one kind", where=labelled.name)
    weights: NDArray[np.float64] = np.where(
        chosen, positives / chosen.sum(), (1 - positives) / (~chosen).sum()
    )
    return weights


class _Measured:
    """What a band makes of labelled texts, beside refining every one of them."""

    def __init__(self, cascade: Cascade, labelled: Labelled, readings: Readings) -> None:
        self.readings = readings
        self.labels = labelled.labels
        self.thresholds = cascade.thresholds
        self.columns = [cascade.labels.index(label) for label in labelled.labels]
        self.limits = {
            action: np.asarray(
                [cascade.thresholds.get(label, {}).get(action, np.inf) for label in cascade.labels]
            )
            for action in ACTIONS
        }
        self.known = ~np.isnan(labelled.targets)
        self.truth = labelled.targets >= 0.5
        counts = [self._sides(place) for place in range(len(self.labels))]
        self.ranked = [place for place, sides in enumerate(counts) if min(sides) >= FEWEST]
        self.binding = [place for place, sides in enumerate(counts) if min(sides) >= FEW]
        _, self.full = readings.at((0.0, 1.0))
        self.areas = {place: self._area(place, self.full) for place in self.ranked}

    def _sides(self, place: int) -> tuple[int, int]:
        """Positives and negatives of a label."""
        truth = self.truth[self.known[:, place], place]
        return int(truth.sum()), int((~truth).sum())

    def _rows(self, place: int, scores: NDArray[np.float64]) -> tuple[Truth, Scores]:
        known = self.known[:, place]
        return self.truth[known, place], scores[known, self.columns[place]]

    def _area(self, place: int, scores: NDArray[np.float64]) -> Area:
        truth, values = self._rows(place, scores)
        return Area.of(truth, np.nan_to_num(values))

    def summary(self) -> dict[str, dict[str, Any]]:
        found = {}
        for place, label in enumerate(self.labels):
            positives, negatives = self._sides(place)
            found[label] = {
                "rows": positives + negatives,
                "positives": positives,
                "binding": place in self.binding,
                "thresholds": self.thresholds.get(label, {}),
            }
        return found

    def at(self, band: Band | None, bands: Mapping[int, Band]) -> dict[str, Any]:
        seen, scores = self.readings.at(band, bands)
        rows = {label: self._label(place, scores) for place, label in enumerate(self.labels)}
        binding = [self.labels[place] for place in self.binding]
        worst = max(binding, key=lambda label: rows[label]["loss"][0])
        fewer = [
            rows[label]["block"]["of always"] - rows[label]["block"]["hits"]
            for label in binding
            if "block" in rows[label]
        ]
        return {
            "read of the data": float(seen.mean()),
            "same action": float((self._actions(scores) == self._actions(self.full)).mean()),
            "worst loss": rows[worst]["loss"][0],
            "worst label": worst,
            "blocked less": sum(max(0, gap) for gap in fewer),
            "labels": rows,
        }

    def _actions(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """0 allow, 1 review, 2 block: what the thresholds make of the scores."""
        review, block = ((scores >= self.limits[action]).any(axis=1) for action in ACTIONS)
        return np.where(block, 2, np.where(review, 1, 0))

    def _label(self, place: int, scores: NDArray[np.float64]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if place in self.areas:
            area = self._area(place, scores)
            found["AUC"] = area.value
            found["loss"] = list(self.areas[place].loss(area))
        for action, limit in self._limits(place):
            truth, said = self._rows(place, scores)
            _, full = self._rows(place, self.full)
            hits, flagged = int((said[truth] >= limit).sum()), int((said >= limit).sum())
            found[action] = {
                "hits": hits,
                "of always": int((full[truth] >= limit).sum()),
                "recall": list(wilson(hits, int(truth.sum()))),
                "precision": list(wilson(hits, flagged)),
            }
        return found

    def _limits(self, place: int) -> Iterator[tuple[str, float]]:
        limits = self.thresholds.get(self.labels[place], {})
        yield from ((action, limits[action]) for action in ACTIONS if action in limits)
