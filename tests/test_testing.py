from __future__ import annotations

import math
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import pytest
from pydantic import ConfigDict, PrivateAttr, ValidationError

from moderation import Content, Filter, Moderator, Part, Policy, Signal, TextFilter
from moderation.filter import Finding
from moderation.testing import TEXTS, FilterContract, StaticFilter, check_filter


def test_importing_it_needs_no_pytest() -> None:
    code = "import sys; sys.modules['pytest'] = None; import moderation.testing"
    subprocess.run([sys.executable, "-c", code], check=True)


class Base(TextFilter):
    """A good filter, of which every bad one below breaks one thing."""

    name = "base"

    def categories(self) -> Iterable[str]:
        return ["toxic"]

    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", 0.5 if "idiot" in text else 0.1)
        begin = text.find("idiot")
        if begin >= 0:
            yield Signal("toxic", 0.9, (begin, begin + 5), reason="a word")


class NoName(Base):
    name = "two words"


class StringOfCategories(Base):
    def categories(self) -> Iterable[str]:
        return "toxic"


class EmptyCategory(Base):
    def categories(self) -> Iterable[str]:
        return ["toxic", ""]


class RepeatedCategory(Base):
    def categories(self) -> Iterable[str]:
        return ["toxic", "toxic"]


class CategoriesNeedLoad(Base):
    _names: list[str] | None = PrivateAttr(default=None)

    def load(self) -> None:
        self._names = ["toxic"]

    def categories(self) -> Iterable[str]:
        return [name.lower() for name in self._names]  # type: ignore[union-attr]


class CategoriesGrow(Base):
    _names: list[str] = PrivateAttr(default_factory=lambda: ["toxic"])

    def load(self) -> None:
        self._names = ["toxic", "more"]

    def categories(self) -> Iterable[str]:
        return self._names


class LanguageByName(Base):
    def languages(self) -> Iterable[str] | None:
        return ["English"]


class UnknownPart(Base):
    parts: ClassVar[frozenset[str]] = frozenset({"text", "video"})


class Thawed(Base):
    model_config = ConfigDict(frozen=False)

    level: int = 1


class AnythingGoes(Base):
    model_config = ConfigDict(extra="ignore")


class NotJson(Base):
    level: Any = object


class NotTheSameAgain(Base):
    level: Any = (1, 2)

    def __init__(self, **data: Any) -> None:
        if isinstance(data.get("level"), list):
            data["level"] = [*data["level"], 3]
        super().__init__(**data)

    @classmethod
    def model_validate(cls, obj: Any, **more: Any) -> NotTheSameAgain:  # type: ignore[override]
        return cls(**obj)


class LoadFails(Base):
    def load(self) -> None:
        raise OSError("no such model")


class LoadAddsUp(Base):
    _loads: int = PrivateAttr(default=0)

    def load(self) -> None:
        self._loads += 1

    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", min(1.0, self._loads / 10))


class FingerprintOfTheMoment(Base):
    def fingerprint(self) -> str:
        return f"{id(self):012x}"[-12:]


class LongFingerprint(Base):
    def fingerprint(self) -> str:
        return "version 1"


class Raises(Base):
    def check(self, text: str) -> Iterable[Signal]:
        return [Signal("toxic", 1 / text.count("e"))]


class NotANumber(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", math.nan)


class TooHigh(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", len(text) / 10)


class Undeclared(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("rude" if "idiot" in text else "toxic", 0.5)


class EmptySpan(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", 0.5, (0, 0))


class SpanOfACopy(Base):
    """Looks in a lower-cased copy, which may be longer than the text."""

    def check(self, text: str) -> Iterable[Signal]:
        begin = text.lower().find("turnip")
        if begin >= 0:
            yield Signal("toxic", 0.5, (begin, begin + 6))


class FloatSpan(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", 0.5, (0, 1.0))  # type: ignore[arg-type]


class ReasonIsNoText(Base):
    def check(self, text: str) -> Iterable[Signal]:
        yield Signal("toxic", 0.5, reason=7)  # type: ignore[arg-type]


class Tuples(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [[("toxic", 0.5)] for _ in contents]  # type: ignore[list-item]


class ReturnsNothing(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return None  # type: ignore[return-value]


class TooFew(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return super().check_batch(contents)[:1]


class WrongPart(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [[Signal("toxic", 0.5, part=1)] for _ in contents]


class FirstPartOnly(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [list(self.check(content.text)) for content in contents]


class PartOutOfNowhere(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [[Part("caption", "a cat")] for _ in contents]


class LooksAtNeighbours(Base):
    """Scales by the longest text of the batch, as padding without lengths would."""

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        longest = max(len(content.text) for content in contents)
        return [
            [
                Signal("toxic", 0.1 * len(part.text) / longest, part=index)
                for index, part in enumerate(content.parts)
            ]
            for content in contents
        ]


class LooksAtOrder(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        found = super().check_batch(contents)
        return found if len(contents) == 1 else [found[0], *reversed(found[1:])]


class Remembers(Base):
    _seen: set[str] = PrivateAttr(default_factory=set)

    def check(self, text: str) -> Iterable[Signal]:
        known = text in self._seen
        self._seen.add(text)
        yield Signal("toxic", 0.9 if known else 0.1)


class SharesStateBetweenThreads(Base):
    _text: str = PrivateAttr(default="")

    def check(self, text: str) -> Iterable[Signal]:
        self._text = text
        time.sleep(0)  # a thread may take over anywhere; here it is sure to
        yield Signal("toxic", min(1.0, len(self._text) / 10_000))


class WritesMetadata(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        for content in contents:
            content.metadata["seen"] = True  # type: ignore[index]
        return super().check_batch(contents)


class SortsTheBatch(Base):
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        found = super().check_batch(contents)
        contents.sort(key=lambda content: len(content.text))  # type: ignore[attr-defined]
        return found


class NameOfABuiltIn(Base):
    name = "classifier"


BAD: list[tuple[Filter, str, str]] = [
    (NoName(), "test_name", "name: expected letters"),
    (StringOfCategories(), "test_categories", "expected a list of str, found a str"),
    (EmptyCategory(), "test_categories", "expected names, found ''"),
    (RepeatedCategory(), "test_categories", "a name stands twice"),
    (CategoriesNeedLoad(), "test_categories", "categories() before load() raised TypeError"),
    (CategoriesGrow(), "test_categories", "changed with load()"),
    (LanguageByName(), "test_languages_and_parts", "ISO 639 codes such as 'en', found 'English'"),
    (UnknownPart(), "test_languages_and_parts", "parts: expected a frozenset of text, image"),
    (Thawed(), "test_options", "not frozen"),
    (AnythingGoes(), "test_options", "one that does not exist is accepted"),
    (NotJson(), "test_options", "cannot be written as JSON"),
    (NotTheSameAgain(), "test_options", "read back from JSON they are not the same"),
    (LoadFails(), "test_load_twice", "load() raised OSError in test_testing.py"),
    (LoadAddsUp(), "test_load_twice", "after a second call the score of 'toxic' goes from"),
    (FingerprintOfTheMoment(), "test_fingerprint", "differs between two instances"),
    (LongFingerprint(), "test_fingerprint", "expected 12 hexadecimal digits, found 'version 1'"),
    (Raises(), "test_signals", "raised ZeroDivisionError in test_testing.py"),
    (NotANumber(), "test_signals", "expected a score from 0 to 1 for 'toxic', found nan"),
    (TooHigh(), "test_signals", "expected a score from 0 to 1 for 'toxic', found"),
    (Undeclared(), "test_signals", "'rude', which categories() does not declare"),
    (EmptySpan(), "test_signals", "the span of 'toxic' is empty"),
    (SpanOfACopy(), "test_signals", "is not in a text of 15 characters"),
    (FloatSpan(), "test_signals", "expected a span of two integers"),
    (ReasonIsNoText(), "test_signals", "expected a reason that is a str"),
    (Tuples(), "test_signals", "reported a tuple; expected Signals and Parts"),
    (ReturnsNothing(), "test_signals", "raised TypeError"),
    (TooFew(), "test_neighbours", "returned 1 lists of findings; expected"),
    (WrongPart(), "test_signals", "for part 1 of a content of 1"),
    (FirstPartOnly(), "test_several_parts", "the number of Signals of 'toxic' goes from"),
    (PartOutOfNowhere(), "test_signals", "whose source is no part"),
    (LooksAtNeighbours(), "test_neighbours", "in a batch, the score of 'toxic' goes from 0.1 to"),
    (LooksAtOrder(), "test_neighbours", "in a batch,"),
    (Remembers(), "test_same_answer_twice", "asked twice, the score of 'toxic' goes from 0.1"),
    (SharesStateBetweenThreads(), "test_threads", "with 4 threads, the score of 'toxic' goes from"),
    (WritesMetadata(), "test_contents_unchanged", "changed the content of TEXTS['one letter']"),
    (SortsTheBatch(), "test_contents_unchanged", "changed the list that it was given"),
    (NameOfABuiltIn(), "test_in_a_policy", "two plugins claim the filter 'classifier'"),
]


def results(contract: type[FilterContract]) -> dict[str, str]:
    """What each test of the class says, as pytest would run them; empty where it passes."""
    said = {}
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract(), name)()
            except AssertionError as error:
                said[name] = str(error)
            else:
                said[name] = ""
    return said


@pytest.mark.parametrize(("bad", "test", "told"), BAD, ids=lambda one: type(one).__name__)
def test_a_bad_filter_is_caught(bad: Filter, test: str, told: str) -> None:
    class Contract(FilterContract):
        filter = type(bad)()
        texts = ("TURNIP",)

    assert told in results(Contract)[test]
    assert any(told in fault for fault in check_filter(type(bad)(), texts=Contract.texts))


def test_faults_name_the_text_by_its_place_and_never_quote_it() -> None:
    faults = check_filter(TooHigh(), texts=["something private"])
    assert faults
    assert not any("private" in fault for fault in faults)


def test_many_faults_of_a_kind_are_cut_short() -> None:
    faults = check_filter(NotANumber())
    assert f"(signals: {len(TEXTS) - 5} more like these)" in faults
    assert len(faults) < 15


class Captions(Filter):
    """Reads images and says what they show; an image here is a str."""

    name = "captions"
    parts: ClassVar[frozenset[str]] = frozenset({"image"})

    def categories(self) -> Iterable[str]:
        return []

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [
            [
                Part("caption", f"a {part.image}", source=index)
                for index, part in enumerate(content.parts)
            ]
            for content in contents
        ]


class NumpyScores(Base):
    """Scores as a model returns them, which the engine takes."""

    def check(self, text: str) -> Iterable[Signal]:
        import numpy as np

        yield Signal("toxic", np.float32(0.25))  # type: ignore[arg-type]


class TestBase(FilterContract):
    filter = Base()
    texts = ("what an idiot",)
    expected = {"idiot": {"toxic"}, "friend": set()}  # noqa: RUF012


class TestStatic(FilterContract):
    filter = StaticFilter(scores={"turnip": {"toxic": 0.9, "veg": 0.4}})
    expected = {"a turnip": {"toxic"}, "a swede": set()}  # noqa: RUF012


class TestNumpyScores(FilterContract):
    filter = NumpyScores()


class TestCaptions(FilterContract):
    filter = Captions()
    contents = (
        Content((Part("image", image="cat"),)),
        Content((Part("image", image="dog"), Part("image", image="cow"))),
    )


@pytest.mark.parametrize("good", [Base(), StaticFilter(), NumpyScores(), Captions()])
def test_a_good_filter_has_no_faults(good: Filter) -> None:
    assert check_filter(good) == []


def test_expected_is_compared_with_what_reaches_one_half() -> None:
    assert check_filter(Base(), expected={"idiot": {"toxic"}}) == []
    [missing] = check_filter(Base(), expected={"friend": {"toxic"}})
    assert missing == "expected[0]: expected toxic from 0.5 on, found nothing"
    [surplus] = check_filter(Base(), expected={"friend": set(), "idiot": set()})
    assert surplus == "expected[1]: expected nothing from 0.5 on, found toxic"
    [string] = check_filter(Base(), expected={"idiot": "toxic"})
    assert "found a str" in string


def test_a_contract_without_a_filter_says_what_to_write() -> None:
    class NoFilter(FilterContract):
        pass

    class ClassInstead(FilterContract):
        filter = Base  # type: ignore[assignment]

    for contract in (NoFilter, ClassInstead):
        assert all(
            "expected an instance of a Filter" in said for said in results(contract).values()
        )


def test_a_contract_of_an_image_filter_needs_contents() -> None:
    class NoContents(FilterContract):
        filter = Captions()

    assert all("give contents" in said for said in results(NoContents).values())


def test_loads_once_for_all_tests_of_a_class() -> None:
    built = []

    class Counts(Base):
        def check(self, text: str) -> Iterable[Signal]:
            built.append(id(self))
            return super().check(text)

    class Contract(FilterContract):
        filter = Counts()

    assert not any(results(Contract).values())
    assert id(Contract.filter) == built[0]


class TestStaticFilter:
    def test_scores_every_place_of_a_key(self) -> None:
        static = StaticFilter(scores={"ab": {"toxic": 0.9}})
        assert list(static.check("ab-ab")) == [
            Signal("toxic", 0.0),
            Signal("toxic", 0.9, (0, 2)),
            Signal("toxic", 0.9, (3, 5)),
        ]

    def test_without_spans_it_says_so_once(self) -> None:
        static = StaticFilter(scores={"ab": {"toxic": 0.9}}, spans=False, default={})
        assert list(static.check("ab-ab")) == [Signal("toxic", 0.9)]

    def test_exact(self) -> None:
        static = StaticFilter(scores={"ab": {"toxic": 0.9}}, exact=True, default={})
        assert list(static.check("ab-ab")) == []
        assert list(static.check("ab")) == [Signal("toxic", 0.9, (0, 2))]

    def test_keys_are_plain_text(self) -> None:
        static = StaticFilter(scores={"a.c": {"toxic": 0.9}}, default={})
        assert list(static.check("abc")) == []

    def test_categories_in_the_order_of_the_options(self) -> None:
        static = StaticFilter(default={"b": 0.1}, scores={"x": {"c": 0.5, "b": 0.2}})
        assert static.categories() == ["b", "c"]

    @pytest.mark.parametrize(
        "options",
        [
            {"scores": {"": {"toxic": 0.5}}},
            {"scores": {"x": {"toxic": 1.5}}},
            {"default": {"toxic": math.nan}},
            {"default": {}},
            {"fault": "explode"},
            {"seconds": -1},
        ],
    )
    def test_unusable_options(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValidationError):
            StaticFilter(**options)

    @pytest.mark.parametrize(
        ("options", "trace", "faults"),
        [
            ("fault: raise", "raised RuntimeError", 0),
            ("fault: nan", "not a number", 0),
            ("fault: sleep, seconds: 2", "no answer within 0.05 s", 0),
            ("fault: load", "cannot be loaded", 1),
        ],
    )
    def test_faults_reach_a_policy(self, options: str, trace: str, faults: int) -> None:
        policy = Policy.parse(
            "name: p\nplugins: [testing]\n"
            f"steps: [{{name: s, filter: static, timeout: 0.05, options: {{{options}}}}}]\n"
            "thresholds: {toxic: {review: 0.5}}"
        )
        moderator = Moderator(policy)
        verdict = moderator.moderate("hello")
        assert verdict.degraded
        assert verdict.flagged
        assert trace in verdict.trace[0].reason
        assert len(moderator.faults()) == faults

    def test_only_marked_texts_go_wrong(self) -> None:
        policy = Policy.parse(
            "name: p\nplugins: [testing]\n"
            "steps: [{name: s, filter: static, options: {fault: raise, fault_on: boom}}]\n"
            "thresholds: {toxic: {review: 0.5}}"
        )
        verdicts = Moderator(policy).moderate_batch(["fine", "boom", "fine"])
        assert [verdict.degraded for verdict in verdicts] == [False, True, False]
