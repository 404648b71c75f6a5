"""For tests of filters and of policies: a contract that proves a filter, and a predictable one.

    from moderation.testing import FilterContract

    class TestShouting(FilterContract):
        filter = Shouting(limit=0.8)

pytest finds the class and runs its tests; importing this module does not need pytest.
"""

from __future__ import annotations

import json
import math
import re
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal, TypeAlias, TypeVar

from pydantic import Field, ValidationError, model_validator

from moderation.content import PART_KINDS, Content, Part, PartKind
from moderation.engine import Moderator
from moderation.errors import ModerationError
from moderation.filter import Filter, Finding, TextFilter
from moderation.hookspecs import hookimpl
from moderation.plugins import Registry
from moderation.policy import Policy, Score, Step, Thresholds
from moderation.verdict import Signal

TOLERANCE = 1e-4
"""How far a score may move with what else is in the batch."""

REPORTED = 0.5
"""The score from which a category counts as reported for `expected`."""

TEXTS: Mapping[str, str] = {
    "one letter": "a",
    "a full stop": ".",
    "a sentence": "The weather is lovely today, and the library opens at nine.",
    "an insult": "You are a complete idiot and I hate you.",
    "capitals": "STOP SENDING ME THIS GARBAGE RIGHT NOW",
    "emoji": "\U0001f469\u200d\U0001f4bb \U0001f44d\U0001f3fd \U0001f1eb\U0001f1f7 \u2764\ufe0f",
    "Arabic": "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645",
    "Chinese": "\u4eca\u5929\u5929\u6c14\u5f88\u597d\uff0c\u6211\u4eec\u53bb\u516c\u56ed\u3002",
    "Cyrillic": "\u0414\u043e\u0431\u0440\u044b\u0439 \u0434\u0435\u043d\u044c.",
    "combining marks": "z" + "\u0301\u0327\u0336" * 40 + "algo text",
    "control characters": "line\r\n\tone\x00two\x1b[31mthree\x7f\x85four",
    "invisible characters": "zero\u200bwidth \u202eright to left\u202c soft\u00adhyphen \ufeff",
    # Lower-casing the first makes two characters of one: spans taken from it run past the end.
    "letters that grow": "\u0130\u0130\u0130\u0130 \ufb01\ufb02 \u00df \ufdfa idiot",
    "styled letters": "\U0001d4f2\U0001d4ed\U0001d4f2\U0001d4f8\U0001d4fd \uff28\uff41\uff54\uff45",
    "digits and signs": "50% of $1,000.00 = 5e2; C++ <b>&amp;</b> {0!r} %s \\d+ ' \" --",
    "addresses": "mail a.b@example.org or see https://example.org/a?b=c#d, call +1 555 0100",
    "one long word": "ha" * 1_500,
    "a long text": "The committee met on Tuesday and agreed on the plan. " * 200,
}
"""What every filter is shown, by what a fault calls it."""

_T = TypeVar("_T")


class StaticFilter(TextFilter):
    """Says what it is told to say: for tests of policies and of what stands behind them.

    A text that holds a key of `scores` is given that key's scores.

    >>> [signal] = StaticFilter(scores={"spam": {"spam": 0.9}}).check("buy spam")
    >>> signal.category, signal.score, signal.span
    ('spam', 0.9, (4, 8))
    """

    name: ClassVar[str] = "static"

    scores: dict[str, dict[str, Score]] = Field(default_factory=dict)
    """Scores by category, by the piece of text that calls for them."""
    default: dict[str, Score] = Field(default_factory=lambda: {"toxic": 0.0})
    """Scores of every text, without a span."""
    exact: bool = False
    """Whether a key has to be the whole text instead of a piece of it."""
    spans: bool = True
    """Whether to say where the key stands, once for each place."""
    fault: Literal["raise", "nan", "sleep", "load"] | None = None
    """What goes wrong: `check` raises, reports NaN or sleeps for `seconds`, or `load` raises."""
    fault_on: str = ""
    """Only texts that hold this go wrong; every text does where it is empty."""
    seconds: float = Field(default=1.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _usable(self) -> StaticFilter:
        if "" in self.scores:
            raise ValueError("scores: expected pieces of text, found ''; use default instead")
        if not self.categories():
            raise ValueError("expected a category in scores or default, found none")
        return self

    def categories(self) -> list[str]:
        return list(
            dict.fromkeys([*self.default, *(c for each in self.scores.values() for c in each)])
        )

    def load(self) -> None:
        if self.fault == "load":
            raise RuntimeError("StaticFilter was told to fail at load")

    def check(self, text: str) -> Iterator[Signal]:
        if self.fault_on in text:
            if self.fault == "raise":
                raise RuntimeError("StaticFilter was told to fail")
            if self.fault == "sleep":
                time.sleep(self.seconds)
            if self.fault == "nan":
                for category in self.categories():
                    yield Signal(category, math.nan)
        for category, score in self.default.items():
            yield Signal(category, score)
        for key, scores in self.scores.items():
            if self.exact and key != text:
                continue
            places = [match.span() for match in re.finditer(re.escape(key), text)]
            for span in places if self.spans else places[:1]:
                for category, score in scores.items():
                    yield Signal(category, score, span if self.spans else None)


@hookimpl
def moderation_filters() -> list[type[Filter]]:
    """Offer `static` to policies that name the plugin `testing`."""
    return [StaticFilter]


def check_filter(
    filter: Filter,  # noqa: A002  # the word that a policy uses
    *,
    texts: Sequence[str] = (),
    contents: Sequence[Content] = (),
    expected: Mapping[str, Collection[str]] | None = None,
) -> list[str]:
    """Everything that is wrong with `filter`, one sentence each; empty where nothing is.

    Args:
        filter: with its options set; it is loaded here.
        texts: shown to it beside `TEXTS`.
        contents: shown to it as they are. A filter that reads images alone is proved with these
            and nothing else.
        expected: for a text, the categories that reach `REPORTED`, and no others do.
    """
    subject = _Subject(filter, tuple(texts), tuple(contents), expected or {})
    faults: dict[str, None] = {}
    for check in _CHECKS:
        try:
            faults.update(dict.fromkeys(_faults(check, subject)))
        except AssertionError as error:
            faults[str(error)] = None
    return list(faults)


class FilterContract:
    """A test class: subclass it, give it a filter, and pytest proves that the filter keeps to
    what the engine relies on.

    `texts` are shown to the filter beside `TEXTS`; `contents` as they are, for filters that read
    images or conversations; `expected` gives, for a text, the categories whose score reaches
    `REPORTED`: those and no others.
    """

    filter: Filter
    texts: Sequence[str] = ()
    contents: Sequence[Content] = ()
    expected: Mapping[str, Collection[str]] = {}

    def test_name(self) -> None:
        self._prove(_name)

    def test_categories(self) -> None:
        self._prove(_categories)

    def test_languages_and_parts(self) -> None:
        self._prove(_languages_and_parts)

    def test_options(self) -> None:
        self._prove(_options)

    def test_load_twice(self) -> None:
        self._prove(_load_twice)

    def test_fingerprint(self) -> None:
        self._prove(_fingerprint)

    def test_signals(self) -> None:
        self._prove(_signals)

    def test_expected(self) -> None:
        self._prove(_expected)

    def test_same_answer_twice(self) -> None:
        self._prove(_same_answer_twice)

    def test_neighbours(self) -> None:
        self._prove(_neighbours)

    def test_several_parts(self) -> None:
        self._prove(_several_parts)

    def test_contents_unchanged(self) -> None:
        self._prove(_contents_unchanged)

    def test_threads(self) -> None:
        self._prove(_threads)

    def test_in_a_policy(self) -> None:
        self._prove(_in_a_policy)

    def _prove(self, check: _Check) -> None:
        cls = type(self)
        if "_subject" not in cls.__dict__:  # once for all tests of the class: loading may be slow
            if not isinstance(getattr(cls, "filter", None), Filter):
                raise AssertionError(
                    f"{cls.__name__}.filter: expected an instance of a Filter; write "
                    "filter = YourFilter(...) in the class"
                )
            if not cls.filter.parts.intersection(_TEXT_KINDS) and not cls.contents:
                raise AssertionError(
                    f"{cls.__name__}.contents: the filter reads no text; give contents to show it"
                )
            cls._subject = _Subject(cls.filter, tuple(cls.texts), tuple(cls.contents), cls.expected)
        faults = _faults(check, cls._subject)
        if faults:
            raise AssertionError("\n".join(faults))

    _subject: ClassVar[_Subject]


_TEXT_KINDS: tuple[PartKind, ...] = ("text", "caption", "ocr")
_SHOWN = 5


@dataclass(frozen=True)
class _Subject:
    """A filter, what it is shown, and its answers."""

    filter: Filter
    texts: tuple[str, ...]
    contents: tuple[Content, ...]
    expected: Mapping[str, Collection[str]]

    @cached_property
    def probes(self) -> dict[str, Content]:
        """Contents by what a fault calls them: never by their text."""
        probes: dict[str, str] = {}
        kind = next((kind for kind in _TEXT_KINDS if kind in self.filter.parts), None)
        if kind is not None:
            probes.update({f"TEXTS[{name!r}]": text for name, text in TEXTS.items()})
            for number, text in enumerate(self.texts):
                probes[f"texts[{number}]"] = text
                # Where spans are found in a lower-cased copy, this moves them past the end.
                probes[f"texts[{number}] after '\\u0130' * 9"] = "\u0130" * 9 + text
            for number, text in enumerate(self.expected):
                probes[f"expected[{number}]"] = text
        found = {
            name: Content((Part(kind, text),), metadata={"id": name})
            for name, text in probes.items()
            if kind is not None and text.strip()  # blank texts never reach a filter
        }
        found.update({f"contents[{number}]": each for number, each in enumerate(self.contents)})
        return found

    @cached_property
    def states(self) -> dict[str, tuple[Any, ...]]:
        """What the probes are before the filter has seen any."""
        return {name: _state(probe) for name, probe in self.probes.items()}

    @cached_property
    def answers(self) -> tuple[dict[str, list[Finding]], dict[str, list[Finding]]]:
        """What the filter says about each probe in a call of its own, asked twice in a row.

        Kept together, since a filter that remembers what it saw answers differently only once.
        """
        _ = self.states
        _call("load()", self.filter.load)
        first, second = (
            {name: self.run([probe], name)[0] for name, probe in self.probes.items()}
            for _ in range(2)
        )
        return first, second

    @property
    def alone(self) -> dict[str, list[Finding]]:
        return self.answers[0]

    def run(self, contents: list[Content], on: str) -> list[list[Finding]]:
        what = f"check_batch() on {on}"
        found = _call(what, self.filter.check_batch, contents)
        rows = _call(f"reading what {what} returned", lambda: [list(row) for row in found])
        if len(rows) != len(contents):
            raise AssertionError(
                f"{what} returned {len(rows)} lists of findings; expected {len(contents)}, one "
                "for each content"
            )
        for finding in (finding for row in rows for finding in row):
            if not isinstance(finding, (Signal, Part)):
                raise AssertionError(
                    f"{what} reported a {type(finding).__name__}; expected Signals and Parts"
                )
        return rows

    def fresh(self) -> Filter:
        """Another instance with the same options, not loaded."""
        options = {
            field.alias or name: getattr(self.filter, name)
            for name, field in type(self.filter).model_fields.items()
        }
        return _call("building the filter again", type(self.filter).model_validate, options)


_Check: TypeAlias = Callable[[_Subject], Iterable[str]]


def _faults(check: _Check, subject: _Subject) -> list[str]:
    found = list(dict.fromkeys(check(subject)))
    if len(found) > _SHOWN + 1:
        found[_SHOWN:] = [f"({check.__name__.strip('_')}: {len(found) - _SHOWN} more like these)"]
    return found


def _name(subject: _Subject) -> Iterator[str]:
    name = getattr(type(subject.filter), "name", None)
    if not isinstance(name, str) or not re.fullmatch(r"[\w.-]+", name):
        yield f"name: expected letters, digits, '_', '-' and '.', found {name!r}"


def _categories(subject: _Subject) -> Iterator[str]:
    fresh = subject.fresh()
    # The engine asks before it loads anything.
    found = _call("categories() before load()", fresh.categories)
    yield from _names("categories()", found)
    if isinstance(found, str):
        return
    before = set(_call("categories() before load()", fresh.categories))
    _call("load()", fresh.load)
    if set(_call("categories()", fresh.categories)) != before:
        yield "categories(): changed with load(); the engine asks once, before"


def _languages_and_parts(subject: _Subject) -> Iterator[str]:
    languages = _call("languages()", subject.fresh().languages)
    if languages is not None:
        yield from _names("languages()", languages)
        for code in () if isinstance(languages, str) else languages:
            if isinstance(code, str) and not re.fullmatch("[a-z]{2,3}", code):
                yield f"languages(): expected ISO 639 codes such as 'en', found {code!r}"
    parts = subject.filter.parts
    if not isinstance(parts, (set, frozenset)) or not parts or not parts <= set(PART_KINDS):
        yield f"parts: expected a frozenset of {', '.join(PART_KINDS)}, found {parts!r}"


def _options(subject: _Subject) -> Iterator[str]:
    cls, options = type(subject.filter), subject.fresh()
    if cls.model_config.get("frozen") is not True:
        yield "options: not frozen; leave model_config as Filter has it"
    try:
        dumped = options.model_dump(mode="json")
        text = json.dumps(dumped, allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"options: cannot be written as JSON: {error}"
        return
    try:
        again = cls.model_validate(json.loads(text)).model_dump(mode="json")
    except ValidationError as error:
        # What pydantic quotes here are the options of a test, not what a user wrote.
        yield f"options: written as JSON they are not accepted again: {error}"
    else:
        if again != dumped:
            yield "options: read back from JSON they are not the same"
    try:
        cls.model_validate({**json.loads(text), "no_such_option_": 0})
    except ValidationError as error:
        if not any(item["type"] == "extra_forbidden" for item in error.errors()):
            yield "options: one that does not exist is accepted; leave model_config as it is"
    else:
        yield "options: one that does not exist is accepted; leave model_config as Filter has it"


def _load_twice(subject: _Subject) -> Iterator[str]:
    before = subject.alone
    _call("load(), the second time,", subject.filter.load)
    for name, probe in subject.probes.items():
        change = _change(before[name], subject.run([probe], name)[0])
        if change:
            yield f"load(): after a second call {change} on {name}"


def _fingerprint(subject: _Subject) -> Iterator[str]:
    _call("load()", subject.filter.load)
    found = _call("fingerprint()", subject.filter.fingerprint)
    if not isinstance(found, str) or not re.fullmatch("[0-9a-f]{12}", found):
        yield f"fingerprint(): expected 12 hexadecimal digits, found {found!r}"
    fresh = subject.fresh()
    _call("load()", fresh.load)
    if fresh.fingerprint() != found:
        yield "fingerprint(): differs between two instances with the same options"


def _signals(subject: _Subject) -> Iterator[str]:
    categories = set(_call("categories()", subject.filter.categories))
    for name, findings in subject.alone.items():
        parts = subject.probes[name].parts
        for finding in findings:
            if isinstance(finding, Part):
                if finding.source is None or not 0 <= finding.source < len(parts):
                    yield f"{name}: added a part whose source is no part of the content"
            else:
                for fault in _signal_faults(finding, categories, parts):
                    yield f"{name}: {fault}"


def _signal_faults(signal: Signal, categories: set[str], parts: Sequence[Part]) -> Iterator[str]:
    category, score, span, part, reason, _ = signal
    if category not in categories:
        yield f"reported {category!r}, which categories() does not declare"
    try:
        number = float(score)
    except (TypeError, ValueError):
        yield f"expected a score from 0 to 1 for {category!r}, found a {type(score).__name__}"
    else:
        if not 0 <= number <= 1:
            yield f"expected a score from 0 to 1 for {category!r}, found {number:g}"
    if not isinstance(reason, str):
        yield f"expected a reason that is a str for {category!r}, found a {type(reason).__name__}"
    if not isinstance(part, int) or not 0 <= part < len(parts):
        yield f"reported {category!r} for part {part!r} of a content of {len(parts)}"
        return
    if span is None:
        return
    length = len(parts[part].text)
    try:
        begin, end = (int(edge.__index__()) for edge in span)
    except (AttributeError, TypeError, ValueError):
        yield f"expected a span of two integers for {category!r}, found {type(span).__name__}"
        return
    if begin == end:
        yield f"the span of {category!r} is empty, at {begin}; use None for the whole text"
    elif not 0 <= begin < end <= length:
        yield f"the span of {category!r}, {begin} to {end}, is not in a text of {length} characters"


def _expected(subject: _Subject) -> Iterator[str]:
    answers = subject.alone
    for number, wanted in enumerate(subject.expected.values()):
        name = f"expected[{number}]"
        if isinstance(wanted, str):
            yield f"{name}: expected a set of categories, found a str"
            continue
        found = {
            finding.category
            for finding in answers.get(name, ())
            if isinstance(finding, Signal) and finding.score >= REPORTED
        }
        if found != set(wanted):
            yield f"{name}: expected {_listed(wanted)} from {REPORTED:g} on, found {_listed(found)}"


def _same_answer_twice(subject: _Subject) -> Iterator[str]:
    first, second = subject.answers
    for name in subject.probes:
        change = _change(first[name], second[name])
        if change:
            yield f"asked twice, {change} on {name}"


def _neighbours(subject: _Subject) -> Iterator[str]:
    names = list(subject.probes)
    orders = {"in a batch": names, "in a reversed batch": names[::-1]}
    orders["twice in a batch"] = [name for name in names for _ in range(2)]
    for how, order in orders.items():
        rows = subject.run([subject.probes[name] for name in order], f"all probes {how}")
        for name, row in zip(order, rows, strict=True):
            change = _change(subject.alone[name], row)
            if change:
                yield f"{how}, {change} on {name}"


def _several_parts(subject: _Subject) -> Iterator[str]:
    single = [
        name
        for name, probe in subject.probes.items()
        if len(probe.parts) == 1 and not probe.context and probe.language is None
    ]
    for start in range(0, len(single), 4):
        names = single[start : start + 4]
        content = Content(tuple(subject.probes[name].parts[0] for name in names))
        [row] = subject.run([content], f"a content of {len(names)} parts")
        for index, name in enumerate(names):
            own = [_moved(one) for one in row if _owner(one) == index]
            change = _change(subject.alone[name], own)
            if change:
                yield f"as part {index} of {len(names)}, {change} on {name}"


def _contents_unchanged(subject: _Subject) -> Iterator[str]:
    _ = subject.answers  # before anything else is asked: the order of the checks must not matter
    before = subject.states
    contents = list(subject.probes.values())
    given = list(contents)
    subject.run(given, "all probes")
    if [id(content) for content in given] != [id(content) for content in contents]:
        yield "check_batch() changed the list that it was given"
    for name, content in subject.probes.items():
        if _state(content) != before[name]:
            yield f"check_batch() changed the content of {name}"


def _threads(subject: _Subject) -> Iterator[str]:
    expected, workers = subject.alone, 4
    names = list(subject.probes)
    together = threading.Barrier(workers)

    def work(number: int) -> list[str]:
        order = names[number:] + names[:number]
        together.wait()
        changes = []
        for name in order:
            found = subject.run([subject.probes[name]], f"{name} in a thread")
            changes.append((name, _change(expected[name], found[0])))
        return [f"with {workers} threads, {change} on {name}" for name, change in changes if change]

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns so often that shared state shows
    try:
        with ThreadPoolExecutor(workers) as pool:
            for faults in pool.map(work, range(workers)):
                yield from faults
    finally:
        sys.setswitchinterval(interval)


def _in_a_policy(subject: _Subject) -> Iterator[str]:
    cls, fresh, alone = type(subject.filter), subject.fresh(), subject.alone
    options = {name: getattr(fresh, name) for name in cls.model_fields}
    categories = list(_call("categories()", fresh.categories))
    try:
        policy = Policy(
            name="contract",
            steps=(Step(name="step", filter=cls.name, options=options, on_error="raise"),),
            thresholds={category: Thresholds(review=REPORTED) for category in categories},
        )
        boxed = Registry().filters.get(cls.name) is cls
        moderator = Moderator(policy, plugins=() if boxed else (_Offer(cls),))
        verdicts = moderator.moderate_batch(subject.probes.values(), exhaustive=True)
    except (ModerationError, ValidationError) as error:
        yield f"in a policy: {error}"
        return
    for (name, findings), verdict in zip(alone.items(), verdicts, strict=True):
        if verdict.trace[0].status != "ran":
            continue  # in a language that the filter does not read, say
        wanted: dict[str, float] = {}
        for finding in findings:
            if isinstance(finding, Signal):
                wanted[finding.category] = max(
                    wanted.get(finding.category, 0.0), float(finding.score)
                )
        change = _change(
            [Signal(category, score) for category, score in wanted.items()],
            [Signal(category, score) for category, score in verdict.scores.items()],
        )
        if change and len(subject.probes[name].parts) == 1:
            yield f"in a policy, {change} on {name}"
        try:
            json.dumps(verdict.to_dict(), allow_nan=False)
        except (TypeError, ValueError) as error:
            yield f"in a policy: the verdict on {name} cannot be written as JSON: {error}"


_CHECKS: tuple[_Check, ...] = (
    _name,
    _categories,
    _languages_and_parts,
    _options,
    _load_twice,
    _fingerprint,
    _signals,
    _expected,
    _same_answer_twice,
    _neighbours,
    _several_parts,
    _contents_unchanged,
    _threads,
    _in_a_policy,
)


class _Offer:
    """A plugin that brings one filter."""

    def __init__(self, cls: type[Filter]) -> None:
        self._cls = cls

    @hookimpl
    def moderation_filters(self) -> list[type[Filter]]:
        return [self._cls]


def _names(what: str, found: object) -> Iterator[str]:
    if isinstance(found, str) or not isinstance(found, Iterable):
        yield f"{what}: expected a list of str, found a {type(found).__name__}"
        return
    names = list(found)
    for name in names:
        if not isinstance(name, str) or not name or name != name.strip():
            yield f"{what}: expected names, found {name!r}"
    if len({str(name) for name in names}) != len(names):
        yield f"{what}: a name stands twice"


def _change(before: Iterable[Finding], after: Iterable[Finding]) -> str:
    """What is different, in words that fit between 'asked twice,' and 'on TEXTS[…]'."""
    first, second = _by_place(before), _by_place(after)
    for place in first.keys() | second.keys():
        one, other = first.get(place, []), second.get(place, [])
        if len(one) != len(other):
            what = f"Signals of {place[1]!r}" if place[0] == "signal" else "added Parts"
            return f"the number of {what} goes from {len(one)} to {len(other)}"
        for low, high in zip(one, other, strict=True):
            if abs(low - high) > TOLERANCE:  # NaN is not told here but as a faulty signal
                return f"the score of {place[1]!r} goes from {low:.6g} to {high:.6g}"
    return ""


def _by_place(findings: Iterable[Finding]) -> dict[tuple[Any, ...], list[float]]:
    places: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for finding in findings:
        if isinstance(finding, Signal):
            signal = ("signal", finding.category, finding.span, finding.part)
            places[signal].append(float(finding.score))
        else:
            part = ("part", finding.kind, finding.text, finding.source, finding.boxes)
            places[part].append(1.0)
    return {place: sorted(scores) for place, scores in places.items()}


def _owner(finding: Finding) -> int | None:
    return finding.part if isinstance(finding, Signal) else finding.source


def _moved(finding: Finding) -> Finding:
    if isinstance(finding, Signal):
        return finding._replace(part=0)
    return Part(finding.kind, finding.text, finding.image, 0, finding.boxes)


def _state(content: Content) -> tuple[Any, ...]:
    parts = [
        (id(part), part.kind, part.text, id(part.image), part.source, part.boxes)
        for part in content.parts
    ]
    return parts, content.context, content.language, dict(content.metadata)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"


def _call(what: str, function: Callable[..., _T], *args: Any) -> _T:
    try:
        return function(*args)
    except Exception as error:
        place, trace = "", error.__traceback__
        while trace is not None:
            place = f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
            trace = trace.tb_next
        raise AssertionError(f"{what} raised {type(error).__name__}{place}: {error}") from error
