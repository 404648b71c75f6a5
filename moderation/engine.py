"""The one path: contents through the steps of a policy to verdicts."""

from __future__ import annotations

import logging
import math
import operator
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from pydantic import ValidationError

from moderation.content import Content, Part
from moderation.errors import (
    ArtifactError,
    ConfigError,
    ContentError,
    FilterError,
    FilterTimeout,
    ModerationError,
    PluginError,
)
from moderation.filter import Filter, Finding
from moderation.plugins import Registry, is_path
from moderation.policy import OnError, Policy, Step, config_error, did_you_mean
from moderation.verdict import Action, Signal, StepTrace, Verdict

if TYPE_CHECKING:
    import PIL.Image

BATCH = 1024
"""Contents of a batch that go through the chain together. Texts of one length share a call of a
model, so the more there are to choose from, the less of a call is padding."""

CHUNK = 256
"""Contents that are read ahead of a stream, or judged within the `timeout` of a step."""

MAX_ABANDONED = 4
"""Calls of one step that may hang at the same time before the step fails without being called."""

MAX_FINDINGS = 10_000
"""Findings of one step on one content."""

MAX_PARTS = 64
"""Parts of one content beyond which filters may add no more."""

_T = TypeVar("_T")

Checkable: TypeAlias = Content | Part | str | Iterable[Part]

log = logging.getLogger("moderation")


class Moderator:
    """A loaded policy. Safe to share between threads.

    >>> Moderator().moderate("have a nice day").action
    <Action.ALLOW: 0>
    """

    def __init__(self, policy: Policy | str | Path = "default", *, plugins: Sequence[Any] = ()):
        """Check the policy against the filters that exist; models are read at the first use.

        Args:
            policy: a shipped policy's name, a YAML file, or a Policy.
            plugins: further plugins beside those that the policy names: entry points, paths
                (relative to the working directory), or objects with hook implementations.

        Raises:
            ConfigError: the policy names a filter, an option or a category that does not exist.
            PluginError: a plugin cannot be loaded.
        """
        self.policy = policy if isinstance(policy, Policy) else Policy.load(policy)
        self._where = policy.name if isinstance(policy, Policy) else str(policy)
        own = [
            str(self.policy.folder / name) if self.policy.folder and is_path(name) else name
            for name in self.policy.plugins
        ]
        self.registry = Registry([*own, *plugins])
        self.steps = tuple(
            self._build(step, f"steps[{index}]") for index, step in enumerate(self.policy.steps)
        )
        self._check_categories()
        self.kinds = frozenset(
            kind for step in self.steps for each in step.line() for kind in each.kinds
        )
        """The kinds of part that some step, or a stand-in, reads."""
        self._stop_at = Action[self.policy.stop_on.upper()] if self.policy.stop_on else None
        self._policy = f"{self.policy.name}@{self.policy.fingerprint}"
        self._models: dict[str, str] = {}
        self._lock = threading.Lock()
        self._loaded = False

    def load(self) -> None:
        """Load every step now instead of at the first content.

        A step that cannot be loaded is logged once with what to do; from then on its `fallback`
        or `on_error` rules.

        Raises:
            FilterError: a step cannot be loaded and its policy says `on_error: raise`.
        """
        with self._lock:
            if self._loaded:
                return
            for step in self.steps:
                line = list(step.line())
                for each in line:
                    each.load()
                if line[-1].on_error == "raise" and all(each.fault for each in line):
                    raise FilterError(f"step {line[-1].spec.name} {line[-1].fault}")
            self._models = {
                each.spec.name: each.fingerprint
                for step in self.steps
                for each in step.line()
                if not each.fault
            }
            self._loaded = True

    def faults(self) -> dict[str, str]:
        """Steps that could not be loaded, with the reason; call `load` first."""
        return {
            each.spec.name: each.fault for step in self.steps for each in step.line() if each.fault
        }

    def image(self, source: Path | str | bytes | PIL.Image.Image) -> Part:
        """An image as a part of a content, read within what the policy says under `images`.

        Raises: as `Part.from_image`.
        """
        return Part.from_image(source, self.policy.images)

    def moderate(self, content: Checkable, *, exhaustive: bool = False) -> Verdict:
        """The verdict about one content; see `moderate_batch`."""
        return self.moderate_batch([content], exhaustive=exhaustive)[0]

    def moderate_batch(
        self, contents: Iterable[Checkable], *, exhaustive: bool = False
    ) -> list[Verdict]:
        """Verdicts in the order of `contents`.

        Args:
            contents: each a str, a Part, several Parts or a Content.
            exhaustive: run every step whatever the earlier ones said (`stop_on` is ignored).

        Raises:
            ContentError: an item cannot be read as content.
            FilterError: a step failed and its policy says `on_error: raise`.
        """
        return list(self._judged(contents, BATCH, exhaustive))

    def moderate_iter(
        self, contents: Iterable[Checkable], *, exhaustive: bool = False
    ) -> Iterator[Verdict]:
        """Verdicts one by one, reading at most `CHUNK` contents ahead: for what never ends.

        Raises: as `moderate_batch`.
        """
        yield from self._judged(contents, CHUNK, exhaustive)

    def _judged(
        self, contents: Iterable[Checkable], size: int, exhaustive: bool
    ) -> Iterator[Verdict]:
        if not self._loaded:
            self.load()
        if isinstance(contents, (str, Part, Content)):
            contents = [contents]
        elif not isinstance(contents, Iterable) or isinstance(
            contents, (bytes, bytearray, Mapping)
        ):
            raise ContentError(
                f"expected contents to iterate over, found {type(contents).__name__}"
            )
        source = iter(contents)
        while chunk := list(islice(source, size)):
            cases = [_Case(Content.of(item)) for item in chunk]
            for step in self.steps:
                self._run(step, cases, exhaustive)
            for case in cases:
                verdict = self._verdict(case)
                if self.registry.observed:
                    self.registry.observe(case.content, verdict)
                yield verdict

    def _build(self, spec: Step, place: str, parent: _LoadedStep | None = None) -> _LoadedStep:
        filters = self.registry.filters
        if spec.filter not in filters:
            raise ConfigError(
                f"{place}.filter: there is no filter {spec.filter!r}; "
                f"{did_you_mean(spec.filter, sorted(filters))}",
                where=self._where,
            )
        cls = filters[spec.filter]
        unread = sorted(set(spec.parts or ()) - cls.parts)
        if unread:
            raise ConfigError(
                f"{place}.parts: {spec.filter} reads {', '.join(sorted(cls.parts))}, "
                f"not {', '.join(unread)}",
                where=self._where,
            )
        try:
            filter_ = cls.model_validate(spec.options, context={"folder": self.policy.folder})
            step = _LoadedStep(spec, filter_, parent)
        except ValidationError as error:
            options = ", ".join(cls.model_fields) or "none"
            found = config_error(error, self._where, f"{place}.options")
            raise ConfigError(f"{found}; the options of {spec.filter} are: {options}") from None
        except ConfigError as error:
            raise ConfigError(f"{place}: {error}", where=self._where) from None
        except ModerationError:
            raise
        except Exception as error:
            raise PluginError(
                f"{place}: the filter {spec.filter!r} raised {type(error).__name__}: {error}",
                where=self.registry.origin(spec.filter),
            ) from error
        if spec.fallback is not None:
            step.fallback = self._build(spec.fallback, f"{place}.fallback", step)
        return step

    def _check_categories(self) -> None:
        line = [each for step in self.steps for each in step.line()]
        known = sorted({category for each in line for category in each.categories})
        for category in self.policy.thresholds:
            # A step whose model is missing cannot say what it would have reported.
            if category not in known and not any(each.fault for each in line):
                raise ConfigError(
                    f"thresholds.{category}: no step reports this category; "
                    f"{did_you_mean(category, known)}",
                    where=self._where,
                )
        by_name = {step.spec.name: step for step in self.steps}
        for index, step in enumerate(self.steps):
            if step.spec.refines is None:
                continue
            refined = by_name[step.spec.refines]
            refined.refiners.append(step)
            if not step.categories & refined.categories and not (step.fault or refined.fault):
                raise ConfigError(
                    f"steps[{index}].refines: {step.spec.name} and {step.spec.refines} "
                    "report no category in common",
                    where=self._where,
                )
            both = sorted(step.categories & refined.categories)
            for category in step.spec.bands:
                if category not in both and not (step.fault or refined.fault):
                    raise ConfigError(
                        f"steps[{index}].bands.{category}: not a category that {step.spec.name} "
                        f"and {step.spec.refines} both report; {did_you_mean(category, both)}",
                        where=self._where,
                    )

    def _run(self, step: _LoadedStep, cases: Sequence[_Case], exhaustive: bool) -> None:
        due: list[_Case] = []
        for case in cases:
            why = self._skipped(step, case, exhaustive)
            if why is None:
                due.append(case)
            else:
                case.skip(step, why)
        if due:
            self._judge(step, due)
        for case in due:
            if case.owed:
                self._apply_on_error(case)
        for case in cases:
            case.done.add(step.spec.name)

    def _skipped(self, step: _LoadedStep, case: _Case, exhaustive: bool) -> str | None:
        if case.stopped is None and self._stop_at is not None and not exhaustive and case.trace:
            action, _ = self.policy.decide(self._settled(case))
            action = max(action, case.floor)
            if action >= self._stop_at:
                case.stopped = f"stopped: {action} after {case.trace[-1].step}"
        if case.stopped is not None:
            return case.stopped
        if step.spec.refines is not None and not self._in_band(step, case):
            if not case.said.get(step.spec.refines):
                return f"nothing to refine: {step.spec.refines} gave no score"
            low, high = step.spec.between
            own = ", or in its category's own band" if step.spec.bands else ""
            return f"sure: no score of {step.spec.refines} lies from {low:g} to {high:g}{own}"
        return None

    def _in_band(self, step: _LoadedStep, case: _Case) -> bool:
        said = case.said.get(step.spec.refines or "", {})
        usual, own = step.spec.between, step.spec.bands
        # A step whose model is missing cannot say what it would have reported. Taken for sure, the
        # verdict would hide that nobody looked again.
        for name, score in said.items():
            low, high = own.get(name, usual) if own else usual
            if low <= score <= high and (name in step.categories or not step.categories):
                return True
        return False

    def _settled(self, case: _Case) -> dict[str, float]:
        """Scores that no later step is going to replace: only these may end the chain early."""
        settled: list[Signal] = []
        for step in self.steps:
            open_ = {
                category
                for refiner in step.refiners
                if refiner.spec.name not in case.done and self._in_band(refiner, case)
                for category in refiner.categories
            }
            found = case.signals.get(step.spec.name, ())
            settled += [signal for signal in found if signal.category not in open_]
        return _highest(settled)

    def _judge(self, step: _LoadedStep, cases: Sequence[_Case]) -> None:
        """Let `step` judge `cases`; what it fails on goes to its fallback."""
        views: list[tuple[_Case, Content, list[int], str]] = []
        failed: list[_Case] = []
        for case in cases:
            view = self._view(step, case)
            if view is not None:
                views.append((case, *view))
            elif case.owed:
                failed.append(case)
        if views:
            began = perf_counter()
            outcomes = step.check([content for _, content, _, _ in views])
            ms = (perf_counter() - began) * 1e3 / len(views)
            for (case, _, indexes, note), outcome in zip(views, outcomes, strict=True):
                if not isinstance(outcome, FilterError):
                    added = sum(isinstance(finding, Part) for finding in outcome)
                    if added and len(case.parts) + added > MAX_PARTS:
                        outcome = FilterError(
                            f"added {added} parts to {len(case.parts)}; a content may have "
                            f"{MAX_PARTS}"
                        )
                if isinstance(outcome, FilterError):
                    case.fail(step, outcome, indexes, ms)
                    failed.append(case)
                else:
                    self._accept(step, case, outcome, indexes, note, ms)
        if failed and step.fallback is not None:
            self._judge(step.fallback, failed)

    def _view(self, step: _LoadedStep, case: _Case) -> tuple[Content, list[int], str] | None:
        """What of the content `step` gets to see, the indexes of those parts, and what is amiss."""
        indexes: list[int] = []
        unread: list[int] = []
        blank = False
        for index, part in enumerate(case.parts):
            if part.kind not in step.kinds:
                continue
            case.seen.add(index)
            if part.kind != "image":
                if not part.text.strip():
                    blank = True
                    continue
                if step.languages is not None:
                    language = case.content.language_of(part)
                    if language is not None and language not in step.languages:
                        unread.append(index)
                        continue
            indexes.append(index)
        if unread:
            case.unread = case.degraded = True
        if not indexes:
            why = "language" if unread else "blank" if blank else "no part of a kind it reads"
            case.skip(step, why)
            return None
        note = f"not read, language: part {', '.join(map(str, unread))}" if unread else ""
        if len(indexes) == len(case.content.parts) == len(case.parts):
            return case.content, indexes, note
        parts = tuple(case.parts[index] for index in indexes)
        return replace(case.content, parts=parts), indexes, note

    def _accept(
        self,
        step: _LoadedStep,
        case: _Case,
        findings: Sequence[Finding],
        indexes: Sequence[int],
        note: str,
        ms: float,
    ) -> None:
        moved = indexes[-1] != len(indexes) - 1
        signals: list[Signal] = []
        for finding in findings:
            if isinstance(finding, Part):
                source = None if finding.source is None else indexes[finding.source]
                case.parts.append(replace(finding, source=source))
            else:
                signals.append(finding._replace(part=indexes[finding.part]) if moved else finding)
        refined = step.head.spec.refines
        if refined is not None:
            judged = set(indexes)
            case.signals[refined] = [
                signal
                for signal in case.signals.get(refined, ())
                if signal.category not in step.categories or signal.part not in judged
            ]
        case.signals[step.head.spec.name] = signals
        scores = case.said[step.head.spec.name] = _highest(signals)
        case.trace.append(StepTrace(step.spec.name, step.spec.filter, "ran", note, ms, scores))
        case.owed.difference_update(indexes)

    def _apply_on_error(self, case: _Case) -> None:
        """What it means that a step failed and no fallback judged all that it should have."""
        assert case.failure is not None
        step, error = case.failure
        last = list(step.line())[-1]
        if last.on_error == "raise":
            kind = FilterTimeout if isinstance(error, FilterTimeout) else FilterError
            raise kind(f"step {step.spec.name}: {error}")
        if last.on_error != "skip":
            action = Action[last.on_error.upper()]
            case.floor = max(case.floor, action)
            case.floor_reasons.append(f"step {step.spec.name} failed: {action}")
        case.owed.clear()

    def _verdict(self, case: _Case) -> Verdict:
        signals = [signal for found in case.signals.values() for signal in found]
        scores = _highest(signals)
        action, reasons = self.policy.decide(scores)
        floor, why = case.floor, list(case.floor_reasons)
        if case.unread and self.policy.unsupported_language == "review":
            floor = max(floor, Action.REVIEW)
            why.append("a step does not read the text's language: review")
        for kind in sorted({part.kind for part in self._unseen(case)}):
            case.degraded = True
            floor = max(floor, Action.REVIEW)
            why.append(f"no step has read the {kind}: review")
        if floor > action:
            action, reasons = floor, tuple(why)
        elif floor > Action.ALLOW:
            reasons = (*reasons, *why)
        return Verdict(
            action=action,
            scores=scores,
            signals=tuple(signals),
            parts=tuple(case.parts),
            trace=tuple(case.trace),
            reasons=reasons,
            degraded=case.degraded,
            policy=self._policy,
            models=self._models,
        )

    def _unseen(self, case: _Case) -> Iterator[Part]:
        """Parts that no step was there to judge: a caption, say, after the last step for texts."""
        for index, part in enumerate(case.parts):
            blank = part.kind != "image" and not part.text.strip()
            stopped = case.stopped is not None and part.kind in self.kinds
            if index not in case.seen and not blank and not stopped:
                yield part


class _Case:
    """What is known so far about one content on its way through the chain."""

    __slots__ = (
        "content",
        "degraded",
        "done",
        "failure",
        "floor",
        "floor_reasons",
        "owed",
        "parts",
        "said",
        "seen",
        "signals",
        "stopped",
        "trace",
        "unread",
    )

    def __init__(self, content: Content) -> None:
        self.content = content
        self.parts: list[Part] = list(content.parts)
        self.signals: dict[str, list[Signal]] = {}
        """What counts, by the name of the step that heads the line; refiners take from it."""
        self.said: dict[str, dict[str, float]] = {}
        """Scores as the step gave them, whatever has replaced them since."""
        self.seen: set[int] = set()
        """Parts that some step was there to judge."""
        self.owed: set[int] = set()
        """Parts that a failed step should have judged, until a fallback has."""
        self.failure: tuple[_LoadedStep, FilterError] | None = None
        self.trace: list[StepTrace] = []
        self.done: set[str] = set()
        self.degraded = False
        self.unread = False
        self.floor = Action.ALLOW
        self.floor_reasons: list[str] = []
        self.stopped: str | None = None

    def skip(self, step: _LoadedStep, why: str) -> None:
        self.trace.append(StepTrace(step.spec.name, step.spec.filter, "skipped", why))

    def fail(
        self, step: _LoadedStep, error: FilterError, indexes: Sequence[int], ms: float
    ) -> None:
        self.trace.append(StepTrace(step.spec.name, step.spec.filter, "failed", str(error), ms))
        self.degraded = True
        self.owed.update(indexes)
        self.failure = step, error


class _LoadedStep:
    """A step with its filter built, and the guarded way to call it."""

    def __init__(self, spec: Step, filter_: Filter, parent: _LoadedStep | None) -> None:
        self.spec = spec
        self.filter = filter_
        self.head: _LoadedStep = parent.head if parent else self
        """The step whose place in the chain this is: itself, or what it is the fallback of."""
        self.fallback: _LoadedStep | None = None
        self.refiners: list[_LoadedStep] = []
        self.kinds: frozenset[str] = frozenset(spec.parts or filter_.parts)
        default: OnError = "skip" if self.head.spec.refines else "review"
        self.on_error: OnError = spec.on_error or (parent.on_error if parent else default)
        self.fault = ""
        self.fingerprint = ""
        self.categories: frozenset[str] = frozenset()
        self.languages: frozenset[str] | None = None
        self._loaded = False
        self._abandoned = 0
        self._lock = threading.Lock()
        try:
            self.categories = _names("categories", filter_.categories())
            languages = filter_.languages()
            if languages is not None:
                self.languages = frozenset(
                    code.replace("_", "-").lower().split("-", 1)[0]
                    for code in _names("languages", languages)
                )
        except ArtifactError as error:  # said once, by load
            self.fault = f"cannot be loaded: {error}"

    def line(self) -> Iterator[_LoadedStep]:
        step: _LoadedStep | None = self
        while step is not None:
            yield step
            step = step.fallback

    def load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        try:
            if not self.fault:
                self.filter.load()
                self.fingerprint = self.filter.fingerprint()
        except (KeyboardInterrupt, SystemExit):
            self._loaded = False
            raise
        except BaseException as error:  # noqa: BLE001  # plugins raise anything, Rust panics
            told = _told(error)
            if not isinstance(error, ModerationError):  # no user text is near: say all there is
                told += f": {error}"
            self.fault = f"cannot be loaded: {told}"
        if self.fault:
            log.error("step %s %s", self.spec.name, self.fault)

    def check(self, contents: Sequence[Content]) -> list[list[Finding] | FilterError]:
        """The findings for each content, or why there are none."""
        if self.fault:
            return [FilterError(self.fault)] * len(contents)
        if self.spec.timeout is not None and len(contents) > CHUNK:
            parts = (contents[begin : begin + CHUNK] for begin in range(0, len(contents), CHUNK))
            return [outcome for part in parts for outcome in self.check(part)]
        try:
            return list(self._call(contents))
        except FilterTimeout as error:
            return [error] * len(contents)
        except FilterError as error:
            if len(contents) == 1:
                return [error]
        # One bad row costs only itself: every content of a failed chunk gets a call of its own.
        return [outcome for content in contents for outcome in self.check([content])]

    def _call(self, contents: Sequence[Content]) -> list[list[Finding]]:
        def call() -> list[list[Finding]]:
            return self._checked(self.filter.check_batch(contents), contents)

        try:
            if self.spec.timeout is None:
                return call()
            return self._in_time(call, self.spec.timeout)
        except (FilterError, KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001  # plugins raise anything, Rust panics
            # Not from it: a traceback would print its message, which may quote what a user wrote.
            raise FilterError(f"raised {_told(error)}") from None

    def _in_time(self, call: Callable[[], _T], seconds: float) -> _T:
        """Run `call` on a thread of its own and stop waiting after `seconds`.

        A thread cannot be killed: a late one is abandoned and ends when it ends. Code that holds
        the interpreter lock cannot be timed out.
        """
        if self._abandoned >= MAX_ABANDONED:
            raise FilterTimeout(f"{MAX_ABANDONED} earlier calls still hang; not called again yet")
        done = threading.Event()
        box: list[_T] = []
        fault: list[BaseException] = []
        late = False

        def work() -> None:
            try:
                box.append(call())
            except BaseException as error:  # noqa: BLE001  # raised again by the waiting thread
                fault.append(error)
            finally:
                with self._lock:
                    done.set()
                    if late:
                        self._abandoned -= 1

        threading.Thread(target=work, name=f"moderation-{self.spec.name}", daemon=True).start()
        if not done.wait(seconds):
            with self._lock:
                if not done.is_set():
                    late = True
                    self._abandoned += 1
        if late:
            raise FilterTimeout(f"no answer within {seconds:g} s")
        if fault:
            raise fault[0]
        return box[0]

    def _checked(self, found: Any, contents: Sequence[Content]) -> list[list[Finding]]:
        if not isinstance(found, Iterable):
            raise FilterError(
                f"expected a list of findings for each content, found {type(found).__name__}"
            )
        rows = list(found)
        if len(rows) != len(contents):
            raise FilterError(f"expected findings for {len(contents)} contents, found {len(rows)}")
        checked: list[list[Finding]] = []
        for row, content in zip(rows, contents, strict=True):
            if not isinstance(row, Iterable):
                raise FilterError(f"expected a list of findings, found {type(row).__name__}")
            findings = list(islice(row, MAX_FINDINGS + 1))
            if len(findings) > MAX_FINDINGS:
                raise FilterError(f"reported more than {MAX_FINDINGS:,} findings on one content")
            checked.append([self._checked_one(finding, content) for finding in findings])
        return checked

    def _checked_one(self, finding: Any, content: Content) -> Finding:
        if isinstance(finding, Signal):
            category, score, span, part, reason, _ = finding
            if not isinstance(category, str) or category not in self.categories:
                # Not quoted: the filter may have taken it from the text.
                known = ", ".join(sorted(self.categories)) or "none"
                raise FilterError(f"reported a category that it does not declare; known: {known}")
            if not isinstance(reason, str):
                raise FilterError(f"gave a reason of type {type(reason).__name__}; expected a str")
            if type(score) is not float:  # a numpy scalar, say, which JSON cannot carry
                score = _number(score)
            if not 0.0 <= score <= 1.0:
                told = "not a number" if math.isnan(score) else f"{score:g}"
                raise FilterError(f"reported a score for {category} of {told}; expected 0 to 1")
            try:
                part = operator.index(part)
                begin, end = (0, 0) if span is None else map(operator.index, span)
            except (TypeError, ValueError):
                raise FilterError(
                    "expected a part and a span of whole numbers, found something else"
                ) from None
            if not 0 <= part < len(content.parts):
                raise FilterError(f"reported part {part} of a content of {len(content.parts)}")
            if span is not None:
                if not 0 <= begin < end <= len(content.parts[part].text):
                    raise FilterError(f"reported a span from {begin} to {end}, outside the text")
                span = begin, end
            return Signal(category, score, span, part, reason, self.spec.name)
        if isinstance(finding, Part):
            if finding.source is None or finding.source >= len(content.parts):
                raise FilterError("added a part that was not derived from a part of the content")
            return finding
        raise FilterError(f"expected Signals and Parts, found {type(finding).__name__}")


def _number(score: Any) -> float:
    try:
        if not isinstance(score, (str, bytes)):
            return float(score)
    except (TypeError, ValueError, OverflowError):
        pass
    raise FilterError(f"reported a score of type {type(score).__name__}; expected 0 to 1")


def _names(method: str, names: Any) -> frozenset[str]:
    """What `method` of a filter returned, if it is names; one bare str would be its letters."""
    if isinstance(names, Iterable) and not isinstance(names, str):
        found = frozenset(names)
        if all(isinstance(name, str) and name for name in found):
            return found
    raise ConfigError(f'{method}() returns names, as in ["en"], found {type(names).__name__}')


def _highest(signals: Iterable[Signal]) -> dict[str, float]:
    scores: dict[str, float] = {}
    for signal in signals:
        if signal.score > scores.get(signal.category, -1.0):
            scores[signal.category] = signal.score
    return scores


def _told(error: BaseException) -> str:
    """What may be said of an error: a message of ours, else only its type and where it arose.

    The message of somebody else's exception may quote what a user wrote.
    """
    if isinstance(error, ModerationError):
        return str(error)
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return type(error).__name__ + place
