"""What a policy with other thresholds, or without some of its steps, would have decided.

No model runs: what every step said is kept, and only the decision is made again, for all texts at
once. It follows `Moderator` step by step, so that the action is the one that the engine would give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.engine import Moderator
from moderation.errors import ConfigError
from moderation.policy import Policy, Thresholds, did_you_mean
from moderation.verdict import Action, Verdict

# What a step did with a text, as bits.
_RAN, _OWED, _UNREAD, _SEEN, _STOPPED = 1, 2, 4, 8, 16

Rows = NDArray[np.bool_]
Scores = NDArray[np.float64]


class Replayed(NamedTuple):
    """What the policy decides; every field has one entry a text.

    `known` is False where the answer depends on a step that did not run: the action is then what
    the steps that did run call for. `scores` is [n, categories], NaN where nothing was reported.
    """

    actions: NDArray[np.int8]
    known: Rows
    scores: Scores
    categories: tuple[str, ...]

    def of(self, row: int) -> dict[str, float]:
        """The scores of one text by category."""
        found = zip(self.categories, self.scores[row].tolist(), strict=True)
        return {category: score for category, score in found if score == score}  # NaN is not


class Quality(NamedTuple):
    """How well what was flagged agrees with labels: counts of texts.

    `hits` were flagged and should be, `flagged` were, `positives` should be, of `rows` known.
    """

    hits: int
    flagged: int
    positives: int
    rows: int

    @classmethod
    def of(cls, flagged: Rows, labels: Scores) -> Quality:
        """`labels` are from 0 to 1, positive from 0.5, NaN where nothing is known."""
        known = ~np.isnan(labels)
        said, truth = flagged[known], labels[known] >= 0.5
        return cls(int((said & truth).sum()), int(said.sum()), int(truth.sum()), int(known.sum()))

    @property
    def precision(self) -> float:
        """The share of what was flagged that should be; NaN where nothing was."""
        return self.hits / self.flagged if self.flagged else float("nan")

    @property
    def recall(self) -> float:
        """The share of what should be flagged that was; NaN where nothing should."""
        return self.hits / self.positives if self.positives else float("nan")


class Kept:
    """What every step of a policy said about texts: numbers only, none of the texts.

    Room is made for `size` texts at once, about 100 bytes each for a small policy.
    """

    def __init__(self, moderator: Moderator, size: int = 1) -> None:
        self.policy = moderator.policy
        self._steps = {step.spec.name: step for step in moderator.steps}
        self._lines = {step.spec.name: list(step.line()) for step in moderator.steps}
        self._places = {
            each.spec.name: (name, place)
            for name, line in self._lines.items()
            for place, each in enumerate(line)
        }
        self._columns = {
            name: {
                category: column
                for column, category in enumerate(
                    sorted({category for each in line for category in each.categories})
                )
            }
            for name, line in self._lines.items()
        }
        self.categories = tuple(sorted({c for names in self._columns.values() for c in names}))
        """Every category that a step may report."""
        self._where = {category: place for place, category in enumerate(self.categories)}
        self._bits = {name: np.zeros(size, np.uint8) for name in self._steps}
        self._by = {name: np.zeros(size, np.uint8) for name in self._steps}
        self._said = {
            name: np.full((size, len(columns)), np.nan) for name, columns in self._columns.items()
        }
        self._blank = np.zeros(size, np.bool_)
        # Of contents with several parts: the final scores, and what is at least to be done.
        self._whole = np.zeros(size, np.bool_)
        self._floor = np.zeros(size, np.int8)
        self._final = dict[int, dict[str, float]]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, verdict: Verdict) -> None:
        """Keep what the steps said about the next text.

        `verdict` comes from the moderator that this was made for. Exhaustive verdicts leave nothing
        open where the policy has `stop_on`; those of contents with several parts must not be.
        """
        row, self._count = self._count, self._count + 1
        parts = verdict.parts
        if len(parts) == 1 and parts[0].kind == "text":
            self._blank[row] = not parts[0].text.strip()
        else:
            self._whole[row] = True
            self._final[row] = dict(verdict.scores)
            self._floor[row] = _floor(verdict, self.policy)
        for trace in verdict.trace:
            name, place = self._places[trace.step]
            bits = 0
            if trace.status == "ran":
                bits = _RAN | _SEEN
                said, columns = self._said[name], self._columns[name]
                for category, score in trace.scores.items():
                    said[row, columns[category]] = score
                self._by[name][row] = place
            elif trace.status == "failed":
                bits = _OWED | _SEEN
            elif trace.reason == "language":
                bits = _UNREAD | _SEEN
            elif trace.reason == "blank":
                bits = _SEEN
            elif trace.reason.startswith("stopped: "):
                bits = _STOPPED
            self._bits[name][row] |= bits

    def replay(self, policy: Policy) -> Replayed:
        """Decide again, by `policy`.

        Raises:
            ConfigError: a step of `policy` is not one of the steps that have spoken.
        """
        rows = self._count
        names = [step.name for step in policy.steps]
        for step in policy.steps:
            if step.name not in self._steps or step != self._steps[step.name].spec:
                raise ConfigError(
                    f"step {step.name}: it is not as it was when the texts were judged; judge them "
                    "again under this policy"
                )
        bits = {name: self._bits[name][:rows] for name in names}
        counted = {name: self._said[name][:rows].copy() for name in names}
        refiners: dict[str, list[str]] = {name: [] for name in names}
        for step in policy.steps:
            if step.refines is not None:
                refiners[step.refines].append(step.name)
        done: list[str] = []
        floor = np.zeros(rows, np.int8)
        stopped, unread, seen, unknown = (np.zeros(rows, np.bool_) for _ in range(4))
        stop_at = Action[policy.stop_on.upper()] if policy.stop_on else None
        for step in policy.steps:
            name = step.name
            head = self._steps[name]
            if stop_at is not None and done:
                settled = self._settled(done, counted, refiners)
                called = np.maximum(_decided(policy, settled, self._where), floor)
                stopped |= called >= stop_at
            live = ~stopped
            did = bits[name]
            due = live.copy()
            if step.refines is not None:
                due &= self._in_band(name)
            if "text" in head.kinds:
                unknown |= due & (did & _STOPPED > 0)
            ran = due & (did & _RAN > 0)
            counted[name][~ran] = np.nan
            if step.refines is not None:
                theirs = self._columns[step.refines]
                for place, each in enumerate(self._lines[name]):
                    taken = [theirs[c] for c in each.categories if c in theirs]
                    replaced = np.flatnonzero(ran & (self._by[name][:rows] == place))
                    counted[step.refines][np.ix_(replaced, np.asarray(taken, np.intp))] = np.nan
            last = self._lines[name][-1].on_error
            if last in ("review", "block"):
                failed = due & (did & _OWED > 0) & (did & _RAN == 0)
                floor[failed] = np.maximum(floor[failed], Action[last.upper()])
            unread |= due & (did & _UNREAD > 0)
            seen |= due & (did & _SEEN > 0)
            done.append(name)
        scores = self._highest(done, counted)
        whole = self._whole[:rows]
        if whole.any():
            # Which step read which part is not known here, so only the thresholds can move.
            for row in np.flatnonzero(whole).tolist():
                scores[row] = np.nan
                for category, score in self._final[row].items():
                    scores[row, self._where[category]] = score
                # A chain that a block would have ended blocks at its end as well; one that a
                # review would have ended may not.
                cut = any(self._bits[name][row] & _STOPPED for name in names)
                unknown[row] = (
                    names != list(self._steps)
                    or policy.stop_on != self.policy.stop_on
                    or policy.unsupported_language != self.policy.unsupported_language
                    or (
                        (cut or policy.stop_on == "review")
                        and policy.thresholds != self.policy.thresholds
                    )
                )
        actions = _decided(policy, scores, self._where)
        if policy.unsupported_language == "review":
            floor[unread] = np.maximum(floor[unread], Action.REVIEW)
        unseen = ~seen & ~self._blank[:rows]
        floor[unseen] = np.maximum(floor[unseen], Action.REVIEW)
        floor[whole] = self._floor[:rows][whole]
        return Replayed(np.maximum(actions, floor), ~unknown, scores, self.categories)

    def _in_band(self, name: str) -> Rows:
        """Texts whose score from the refined step calls for this one."""
        spec = self._steps[name].spec
        assert spec.refines is not None
        theirs = self._columns[spec.refines]
        shared = [c for c in self._steps[name].categories if c in theirs]
        low, high = np.asarray([spec.band(c) for c in shared]).T
        said = self._said[spec.refines][: self._count, [theirs[c] for c in shared]]
        inside: Rows = np.any((low <= said) & (said <= high), axis=1)
        return inside

    def _settled(
        self,
        done: Collection[str],
        counted: Mapping[str, Scores],
        refiners: Mapping[str, Collection[str]],
    ) -> Scores:
        """The highest scores so far among those that no later step is going to replace."""
        settled = dict[str, Scores]()
        for name in done:
            settled[name] = counted[name]
            for refiner in refiners[name]:
                if refiner in done:
                    continue
                theirs = self._columns[name]
                taken = [theirs[c] for c in self._steps[refiner].categories if c in theirs]
                open_ = np.flatnonzero(self._in_band(refiner))
                settled[name] = settled[name].copy()
                settled[name][np.ix_(open_, np.asarray(taken, np.intp))] = np.nan
        return self._highest(done, settled)

    def _highest(self, names: Collection[str], said: Mapping[str, Scores]) -> Scores:
        scores = np.full((self._count, len(self.categories)), np.nan)
        for name in names:
            for category, column in self._columns[name].items():
                place = self._where[category]
                scores[:, place] = np.fmax(scores[:, place], said[name][:, column])
        return scores


def edited(
    moderator: Moderator,
    *,
    steps: Collection[str] | None = None,
    thresholds: Mapping[str, Thresholds] | None = None,
) -> Policy:
    """The policy of `moderator` with other steps and thresholds, fit to be used by the engine.

    A step that refines one that is switched off is switched off with it, and a threshold for a
    category that no step is left to report goes: the engine would refuse both.

    Args:
        steps: names of those that are on; all of them unless given.
        thresholds: by category; as they are unless given.

    Raises:
        ConfigError: no step is left, or a step or category is not known.
    """
    policy = moderator.policy
    on = {step.name for step in policy.steps}
    if steps is not None:
        if unknown := sorted(set(steps) - on):
            raise ConfigError(f"steps: {did_you_mean(unknown[0][:60], sorted(on))}")
        on = set(steps)
    left = []
    for step in moderator.steps:
        if step.spec.refines is not None and step.spec.refines not in on:
            on.discard(step.spec.name)
        if step.spec.name in on:
            left.append(step)
    if not left:
        raise ConfigError("no step is on; switch on at least one")
    line = [each for step in left for each in step.line()]
    said = {category for each in line for category in each.categories}
    # A step whose model is missing cannot say what it would have reported.
    open_ = any(each.fault and not each.categories for each in line)
    limits = policy.thresholds if thresholds is None else thresholds
    everything = {c for step in moderator.steps for each in step.line() for c in each.categories}
    if unknown := sorted(set(limits) - everything - set(policy.thresholds)):
        raise ConfigError(f"thresholds: {did_you_mean(unknown[0][:60], sorted(everything))}")
    kept = {name: limit for name, limit in limits.items() if open_ or name in said}
    specs = tuple(step.spec for step in left)
    found = policy.model_copy(update={"steps": specs, "thresholds": kept})
    found._folder = policy.folder
    return found


def _decided(policy: Policy, scores: Scores, where: Mapping[str, int]) -> NDArray[np.int8]:
    actions = np.zeros(len(scores), np.int8)
    for category, limits in policy.thresholds.items():
        if category not in where:
            continue
        found = scores[:, where[category]]
        # No number is at least a limit if it is none: a score that nobody reported does not act.
        if limits.review is not None:
            actions[(found >= limits.review) & (actions < Action.REVIEW)] = Action.REVIEW
        if limits.block is not None:
            actions[found >= limits.block] = Action.BLOCK
    return actions


def _floor(verdict: Verdict, policy: Policy) -> Action:
    """What the verdict calls for beside its scores: a step failed, a language was not read."""
    _, reasons = policy.decide(verdict.scores)
    told = verdict.reasons
    why = told[len(reasons) :] if told[: len(reasons)] == reasons else told
    found = (reason.rpartition(": ")[2].upper() for reason in why)
    return max((Action[name] for name in found), default=Action.ALLOW)
