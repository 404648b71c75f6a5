"""The chain, against outcomes worked out by hand."""

from __future__ import annotations

import logging
import math
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from moderation import (
    Action,
    ConfigError,
    Content,
    Filter,
    FilterError,
    Moderator,
    Part,
    Policy,
    Signal,
    TextFilter,
    Verdict,
    hookimpl,
)
from moderation.engine import BATCH, CHUNK, MAX_ABANDONED, MAX_PARTS
from moderation.errors import ArtifactError, ContentError, FilterTimeout, PluginError
from moderation.filter import ResourcePath

ALLOW, REVIEW, BLOCK = Action.ALLOW, Action.REVIEW, Action.BLOCK
SECRET = "zebra4711"  # noqa: S105  # stands for what a user wrote
RELEASE = threading.Event()
"""Ends every hanging call; set when a test is over, so that its threads end with it."""


@pytest.fixture(autouse=True)
def _release() -> Iterator[None]:
    RELEASE.clear()
    yield
    RELEASE.set()


class Scripted(TextFilter):
    """Does what the text tells `key` to do: ``small:toxic=0.5 big:raise``."""

    name: ClassVar[str] = "scripted"
    key: str
    knows: tuple[str, ...] = ("toxic",)
    reads: tuple[str, ...] | None = None
    broken: bool = False

    def categories(self) -> Iterable[str]:
        return self.knows

    def languages(self) -> Iterable[str] | None:
        return self.reads

    def load(self) -> None:
        if self.broken:
            raise OSError("the weights are gone")

    def check(self, text: str) -> Iterator[Signal]:
        for word in text.split():
            key, _, order = word.partition(":")
            if key != self.key:
                continue
            if order == "raise":
                raise ValueError(f"cannot read {text}")
            if order == "hang":
                RELEASE.wait(60)
                continue
            category, _, score = order.partition("=")
            yield Signal(category, float(score))


class Offer:
    """A plugin that brings filters."""

    def __init__(self, *filters: type[Filter]) -> None:
        self.filters = filters

    @hookimpl
    def moderation_filters(self) -> list[type[Filter]]:
        return list(self.filters)


def step(name: str, **rest: Any) -> dict[str, Any]:
    """A step of the scripted filter that obeys its own name."""
    knows, reads, broken = (
        rest.pop("knows", ("toxic",)),
        rest.pop("reads", None),
        rest.pop("broken", False),
    )
    options = {"key": name, "knows": list(knows), "broken": broken}
    if reads is not None:
        options["reads"] = list(reads)
    return {"name": name, "filter": "scripted", "options": options, **rest}


def chain(
    *steps: dict[str, Any],
    filters: Sequence[type[Filter]] = (),
    plugins: Sequence[Any] = (),
    thresholds: dict[str, Any] | None = None,
    **policy: Any,
) -> Moderator:
    return Moderator(
        Policy.model_validate(
            {
                "name": "test",
                "steps": steps,
                "thresholds": thresholds or {"toxic": {"review": 0.5, "block": 0.9}},
                **policy,
            }
        ),
        plugins=[Offer(Scripted, *filters), *plugins],
    )


def statuses(verdict: Verdict) -> list[tuple[str, str]]:
    return [(trace.step, trace.status) for trace in verdict.trace]


def only(check: Callable[..., Any], **namespace: Any) -> Moderator:
    """A chain of one filter whose `check_batch` is `check`."""
    namespace = {"categories": lambda self: ["toxic"], **namespace}
    made = type(
        "Made",
        (Filter,),
        {
            "__module__": __name__,
            "name": "made",
            "check_batch": lambda self, contents: check(contents),
            **namespace,
        },
    )
    return chain({"name": "made", "filter": "made"}, filters=[made])


# The steps


def test_steps_run_in_the_order_of_the_policy() -> None:
    verdict = chain(step("c"), step("a"), step("b")).moderate("a:toxic=.1 b:toxic=.2 c:toxic=.3")
    assert statuses(verdict) == [("c", "ran"), ("a", "ran"), ("b", "ran")]
    assert [signal.step for signal in verdict.signals] == ["c", "a", "b"]
    assert [dict(trace.scores) for trace in verdict.trace] == [
        {"toxic": 0.3},
        {"toxic": 0.1},
        {"toxic": 0.2},
    ]
    assert verdict.scores == {"toxic": 0.3}
    assert all(trace.ms >= 0 for trace in verdict.trace)


@pytest.mark.parametrize(("first", "second"), [(".95", ".1"), (".1", ".95")])
def test_of_two_steps_of_one_filter_neither_overwrites_the_other(first: str, second: str) -> None:
    verdict = chain(step("a"), step("b")).moderate(f"a:toxic={first} b:toxic={second}")
    assert verdict.action is BLOCK
    assert verdict.scores == {"toxic": 0.95}
    assert [signal.score for signal in verdict.signals] == [float(first), float(second)]


def test_nothing_found_is_allowed() -> None:
    verdict = chain(step("a")).moderate("good day")
    assert (verdict.action, verdict.flagged, verdict.degraded) == (ALLOW, False, False)
    assert verdict.reasons == ()
    assert verdict.scores == {}


def test_the_verdict_names_policy_and_models() -> None:
    moderator = chain(step("a", fallback=step("b")), step("broken", broken=True, on_error="skip"))
    verdict = moderator.moderate("x")
    assert verdict.policy == f"test@{moderator.policy.fingerprint}"
    assert set(verdict.models) == {"a", "b"}
    assert verdict.models["a"] != verdict.models["b"]  # their options differ
    assert list(moderator.faults()) == ["broken"]


# Thresholds


@pytest.mark.parametrize(
    ("score", "action"),
    [(".49999", ALLOW), (".5", REVIEW), (".89999", REVIEW), (".9", BLOCK), ("1", BLOCK)],
)
def test_a_score_equal_to_a_threshold_reaches_it(score: str, action: Action) -> None:
    assert chain(step("a")).moderate(f"a:toxic={score}").action is action


def test_each_category_has_its_own_thresholds_and_the_most_severe_wins() -> None:
    moderator = chain(
        step("a", knows=["toxic", "threat", "obscene"]),
        thresholds={"toxic": {"review": 0.8}, "threat": {"block": 0.3}},
    )
    assert moderator.moderate("a:toxic=.7 a:threat=.2").action is ALLOW
    assert moderator.moderate("a:toxic=.99 a:threat=.2").action is REVIEW
    # A lower score may be the more severe one: scores are never compared across categories.
    verdict = moderator.moderate("a:toxic=.99 a:threat=.3")
    assert verdict.action is BLOCK
    assert verdict.reasons == ("threat 0.3 reaches block at 0.3",)
    # Without a threshold a category informs only.
    verdict = moderator.moderate("a:obscene=1")
    assert verdict.action is ALLOW
    assert verdict.scores == {"obscene": 1.0}


# The cascade


def cascade(**rest: Any) -> Moderator:
    both = ["toxic", "insult"]
    return chain(
        step("small", knows=["toxic", "insult", "spam"]),
        step("big", knows=both, refines="small", between=[0.2, 0.8], **rest),
    )


@pytest.mark.parametrize(
    ("score", "runs"), [(".19", False), (".2", True), (".5", True), (".8", True), (".81", False)]
)
def test_the_band_includes_its_ends(score: str, runs: bool) -> None:
    verdict = cascade().moderate(f"small:toxic={score} big:toxic=.3")
    assert verdict.trace[1].status == ("ran" if runs else "skipped")
    assert verdict.scores["toxic"] == (0.3 if runs else float(score))
    assert not verdict.degraded


@pytest.mark.parametrize(
    ("said", "runs"),
    [
        ("toxic=.15", False),
        ("toxic=.2", True),
        ("insult=.15", True),
        ("insult=.55", False),
        ("toxic=.1 insult=.1", True),
    ],
)
def test_a_category_may_have_a_band_of_its_own(said: str, runs: bool) -> None:
    words = " ".join(f"small:{word}" for word in said.split())
    verdict = cascade(bands={"insult": [0.1, 0.5]}).moderate(words)
    assert verdict.trace[1].status == ("ran" if runs else "skipped")
    if not runs:
        told = "sure: no score of small lies from 0.2 to 0.8, or in its category's own band"
        assert verdict.trace[1].reason == told


def test_a_band_of_what_only_one_of_the_two_reports_is_an_error() -> None:
    told = r"steps\[1\].bands.spam: not a category that big and small both report; .*insult"
    with pytest.raises(ConfigError, match=told):
        cascade(bands={"spam": [0.1, 0.5]})


def test_a_refiner_replaces_scores_both_ways() -> None:
    lowered = cascade().moderate("small:toxic=.7 big:toxic=.1")
    assert (lowered.action, lowered.scores) == (ALLOW, {"toxic": 0.1})
    assert [signal.step for signal in lowered.signals] == ["big"]
    raised = cascade().moderate("small:toxic=.3 big:toxic=.95")
    assert (raised.action, raised.scores) == (BLOCK, {"toxic": 0.95})
    # The trace still shows what the small one said.
    assert lowered.trace[0].scores == {"toxic": 0.7}


def test_a_refiner_touches_only_categories_that_it_reports() -> None:
    verdict = cascade().moderate("small:toxic=.5 small:insult=.6 small:spam=.9 big:toxic=.1")
    # big knows insult and found none: that replaces .6. It does not know spam.
    assert verdict.scores == {"toxic": 0.1, "spam": 0.9}


def test_a_score_that_the_refiner_does_not_report_does_not_call_it() -> None:
    verdict = cascade().moderate("small:spam=.5 small:toxic=.1 big:toxic=.9")
    assert statuses(verdict) == [("small", "ran"), ("big", "skipped")]
    assert "sure" in verdict.trace[1].reason
    assert verdict.scores == {"spam": 0.5, "toxic": 0.1}


def test_a_refiner_without_anything_to_refine_is_skipped() -> None:
    verdict = cascade().moderate("good day")
    assert verdict.trace[1].reason == "nothing to refine: small gave no score"
    assert not verdict.degraded


def test_a_step_that_is_not_refined_keeps_its_say() -> None:
    moderator = chain(step("words"), step("small"), step("big", refines="small"))
    verdict = moderator.moderate("words:toxic=.6 small:toxic=.7 big:toxic=.1")
    assert verdict.scores == {"toxic": 0.6}


def test_where_a_refiner_fails_the_earlier_scores_stand() -> None:
    verdict = cascade().moderate("small:toxic=.4 big:raise")
    assert (verdict.action, verdict.scores) == (ALLOW, {"toxic": 0.4})
    assert verdict.degraded
    assert statuses(verdict) == [("small", "ran"), ("big", "failed")]
    assert verdict.reasons == ()


def test_a_refiner_may_ask_for_more_when_it_fails() -> None:
    verdict = cascade(on_error="review").moderate("small:toxic=.4 big:raise")
    assert (verdict.action, verdict.scores) == (REVIEW, {"toxic": 0.4})
    assert verdict.reasons == ("step big failed: review",)


def test_a_refiner_of_a_refiner() -> None:
    moderator = chain(
        step("a"),
        step("b", refines="a", between=[0.2, 0.8]),
        step("c", refines="b", between=[0.4, 0.6]),
    )
    assert moderator.moderate("a:toxic=.5 b:toxic=.5 c:toxic=.95").scores == {"toxic": 0.95}
    # b is sure: c does not run.
    sure = moderator.moderate("a:toxic=.5 b:toxic=.7 c:toxic=.95")
    assert (sure.scores, sure.trace[2].status) == ({"toxic": 0.7}, "skipped")
    # a is sure: neither runs.
    sure = moderator.moderate("a:toxic=.1 b:toxic=.5 c:toxic=.95")
    assert sure.scores == {"toxic": 0.1}
    assert [trace.status for trace in sure.trace] == ["ran", "skipped", "skipped"]


def test_two_refiners_of_one_step_both_look_at_what_it_said() -> None:
    moderator = chain(step("a"), step("b", refines="a"), step("c", refines="a"))
    verdict = moderator.moderate("a:toxic=.5 b:toxic=.1 c:toxic=.3")
    # a's .5 called both; neither refines the other, so the higher of theirs counts.
    assert [trace.status for trace in verdict.trace] == ["ran", "ran", "ran"]
    assert verdict.scores == {"toxic": 0.3}


def test_a_refiner_replaces_only_the_parts_that_it_judged() -> None:
    moderator = chain(step("a"), step("b", refines="a", parts=["text"]))
    content = Content((Part("text", "a:toxic=.5 b:toxic=.1"), Part("ocr", "a:toxic=.6")))
    verdict = moderator.moderate(content)
    assert [(s.step, s.part, s.score) for s in verdict.signals] == [("a", 1, 0.6), ("b", 0, 0.1)]
    assert verdict.scores == {"toxic": 0.6}


# Fallbacks


@pytest.mark.parametrize(
    ("head", "text", "why"),
    [
        ({"broken": True}, "b:toxic=.6", "cannot be loaded"),
        ({}, "a:raise b:toxic=.6", "ValueError in test_engine.py, line "),
        ({"timeout": 0.05}, "a:hang b:toxic=.6", "no answer within 0.05 s"),
    ],
    ids=["load", "raise", "timeout"],
)
def test_a_fallback_runs_where_its_step_fails(head: dict[str, Any], text: str, why: str) -> None:
    verdict = chain(step("a", fallback=step("b"), **head)).moderate(text)
    assert statuses(verdict) == [("a", "failed"), ("b", "ran")]
    assert why in verdict.trace[0].reason
    assert (verdict.action, verdict.scores, verdict.degraded) == (REVIEW, {"toxic": 0.6}, True)
    assert verdict.reasons == ("toxic 0.6 reaches review at 0.5",)


def test_a_fallback_rests_where_its_step_works() -> None:
    verdict = chain(step("a", fallback=step("b"))).moderate("a:toxic=.1 b:toxic=.95")
    assert statuses(verdict) == [("a", "ran")]
    assert (verdict.action, verdict.degraded) == (ALLOW, False)


def test_a_chain_of_fallbacks_ends_with_the_first_that_works() -> None:
    moderator = chain(step("a", fallback=step("b", fallback=step("c"))))
    verdict = moderator.moderate("a:raise b:raise c:toxic=.1")
    assert statuses(verdict) == [("a", "failed"), ("b", "failed"), ("c", "ran")]
    assert (verdict.action, verdict.degraded) == (ALLOW, True)
    verdict = moderator.moderate("a:raise b:raise c:raise")
    assert verdict.action is REVIEW
    assert verdict.reasons == ("step c failed: review",)


def test_only_contents_that_failed_go_to_the_fallback() -> None:
    texts = ["a:toxic=.1 b:toxic=.9", "a:raise b:toxic=.9", "a:toxic=.2 b:toxic=.9"]
    verdicts = chain(step("a", fallback=step("b"))).moderate_batch(texts)
    assert [verdict.scores["toxic"] for verdict in verdicts] == [0.1, 0.9, 0.2]
    assert [verdict.degraded for verdict in verdicts] == [False, True, False]


@pytest.mark.parametrize(("rule", "action"), [("skip", ALLOW), ("block", BLOCK)])
def test_a_fallback_inherits_on_error(rule: str, action: Action) -> None:
    moderator = chain(step("a", on_error=rule, fallback=step("b")))
    assert moderator.moderate("a:raise b:raise").action is action


def test_a_fallback_may_have_its_own_on_error() -> None:
    moderator = chain(step("a", on_error="skip", fallback=step("b", on_error="block")))
    assert moderator.moderate("a:raise b:raise").action is BLOCK


def test_a_refiner_looks_at_what_the_fallback_said() -> None:
    moderator = chain(step("a", fallback=step("b")), step("big", refines="a", between=[0.2, 0.8]))
    verdict = moderator.moderate("a:raise b:toxic=.5 big:toxic=.1")
    assert statuses(verdict) == [("a", "failed"), ("b", "ran"), ("big", "ran")]
    assert (verdict.scores, verdict.degraded) == ({"toxic": 0.1}, True)


def test_a_fallback_of_a_refiner_replaces_too() -> None:
    moderator = chain(step("a"), step("b", refines="a", fallback=step("c")))
    verdict = moderator.moderate("a:toxic=.7 b:raise c:toxic=.2")
    assert (verdict.action, verdict.scores) == (ALLOW, {"toxic": 0.2})
    # Without an answer, the earlier scores stand: the default of its step holds for it too.
    verdict = moderator.moderate("a:toxic=.4 b:raise c:raise")
    assert (verdict.action, verdict.scores, verdict.degraded) == (ALLOW, {"toxic": 0.4}, True)


def test_a_fallback_that_does_not_read_the_content_is_no_answer() -> None:
    reads_german = step("b", reads=["de"])
    moderator = chain(step("a", fallback=reads_german), unsupported_language="allow")
    verdict = moderator.moderate(Content((Part("text", "a:raise b:toxic=.1"),), language="en"))
    assert statuses(verdict) == [("a", "failed"), ("b", "skipped")]
    assert verdict.action is REVIEW
    # The next one in line is asked instead.
    moderator = chain(step("a", fallback={**reads_german, "fallback": step("c")}))
    verdict = moderator.moderate(Content((Part("text", "a:raise c:toxic=.95"),), language="en"))
    assert (verdict.action, verdict.scores) == (BLOCK, {"toxic": 0.95})


def test_a_fallback_that_reads_only_some_of_the_parts_is_half_an_answer() -> None:
    moderator = chain(step("a", fallback=step("b", parts=["text"])))
    verdict = moderator.moderate([Part("text", "a:raise b:toxic=.1"), Part("ocr", "something")])
    assert statuses(verdict) == [("a", "failed"), ("b", "ran")]
    assert (verdict.action, verdict.scores) == (REVIEW, {"toxic": 0.1})


# Failures


@pytest.mark.parametrize(
    ("rule", "action", "reasons"),
    [
        (None, REVIEW, ("step a failed: review",)),
        ("review", REVIEW, ("step a failed: review",)),
        ("block", BLOCK, ("step a failed: block",)),
        ("skip", ALLOW, ()),
    ],
)
@pytest.mark.parametrize("broken", [False, True], ids=["raises", "not loaded"])
def test_on_error(rule: str | None, action: Action, reasons: tuple[str, ...], broken: bool) -> None:
    verdict = chain(step("a", on_error=rule, broken=broken)).moderate("a:raise")
    assert (verdict.action, verdict.reasons, verdict.degraded) == (action, reasons, True)
    assert statuses(verdict) == [("a", "failed")]


def test_a_failure_does_not_lower_what_the_scores_say() -> None:
    verdict = chain(step("a"), step("b")).moderate("a:raise b:toxic=.95")
    assert verdict.action is BLOCK
    assert verdict.reasons == ("toxic 0.95 reaches block at 0.9", "step a failed: review")


def test_on_error_raise_names_the_step_and_keeps_the_text_out_of_the_traceback() -> None:
    moderator = chain(step("a", on_error="raise"))
    with pytest.raises(FilterError, match=r"^step a: raised ValueError in test_engine\.py") as info:
        moderator.moderate(f"a:raise {SECRET}")
    assert SECRET not in "".join(traceback.format_exception(info.value))


def test_on_error_raise_tells_a_timeout_apart() -> None:
    with pytest.raises(FilterTimeout, match=r"^step a: no answer within 0\.05 s$"):
        chain(step("a", on_error="raise", timeout=0.05)).moderate("a:hang")


def test_on_error_raise_at_load() -> None:
    moderator = chain(step("a"), step("b", on_error="raise", broken=True))
    for _ in range(2):  # it does not come right by asking again
        with pytest.raises(FilterError, match=r"step b cannot be loaded: OSError.* are gone"):
            moderator.load()
    # A line of which one can be loaded is not broken.
    chain(step("a", on_error="raise", broken=True, fallback=step("b"))).load()
    chain(step("a", on_error="raise", fallback=step("b", broken=True))).load()


def test_load_is_called_once() -> None:
    loads = []

    class Counts(TextFilter):
        name = "counts"

        def categories(self) -> list[str]:
            return ["toxic"]

        def load(self) -> None:
            loads.append(self)

        def check(self, text: str) -> list[Signal]:
            return []

    counts = {"name": "counts", "filter": "counts"}
    moderator = chain(counts, filters=[Counts])
    assert loads == []
    moderator.load()
    moderator.moderate_batch(["a", "b"])
    assert len(loads) == 1
    moderator = chain(counts, step("b", on_error="raise", broken=True), filters=[Counts])
    for _ in range(2):
        with pytest.raises(FilterError):
            moderator.moderate("x")
    assert len(loads) == 2


def test_one_bad_row_of_a_chunk_costs_only_itself() -> None:
    texts = [f"a:toxic={number / 1000} good" for number in range(CHUNK)]
    texts[100] = "a:raise"
    verdicts = chain(step("a")).moderate_batch(texts)
    for number, verdict in enumerate(verdicts):
        if number == 100:
            assert (verdict.action, verdict.degraded) == (REVIEW, True)
        else:
            assert verdict.scores == {"toxic": number / 1000}
            assert not verdict.degraded


# Timeouts


def test_a_step_that_hangs_does_not_delay_the_verdict() -> None:
    began = time.monotonic()
    verdict = chain(step("a", timeout=0.1), step("b")).moderate("a:hang b:toxic=.95")
    assert time.monotonic() - began < 20  # it hangs for 60 s
    assert statuses(verdict) == [("a", "failed"), ("b", "ran")]
    assert (verdict.action, verdict.degraded) == (BLOCK, True)


def test_a_generator_that_hangs_is_timed_out_too() -> None:
    def rows(contents: Sequence[Content]) -> Iterator[list[Signal]]:
        RELEASE.wait(60)
        yield []

    made = only(rows).registry.filters["made"]
    moderator = chain({"name": "made", "filter": "made", "timeout": 0.1}, filters=[made])
    began = time.monotonic()
    assert moderator.moderate("x").trace[0].reason == "no answer within 0.1 s"
    assert time.monotonic() - began < 20


def test_abandoned_calls_are_capped_and_the_step_recovers() -> None:
    moderator = chain(step("a", timeout=0.05))
    for _ in range(MAX_ABANDONED):
        assert "no answer" in moderator.moderate("a:hang").trace[0].reason
    threads = threading.active_count()
    verdict = moderator.moderate("a:hang")
    assert "earlier calls still hang" in verdict.trace[0].reason
    assert (verdict.action, verdict.degraded) == (REVIEW, True)
    assert threading.active_count() == threads

    RELEASE.set()
    until = time.monotonic() + 30
    while moderator.moderate("a:toxic=.95").action is not BLOCK:
        assert time.monotonic() < until, "the step did not recover"
        time.sleep(0.02)
    while any(thread.name == "moderation-a" for thread in threading.enumerate()):
        assert time.monotonic() < until, "late threads did not end"
        time.sleep(0.02)


def test_a_call_in_time_is_as_good_as_one_without_a_timeout() -> None:
    verdict = chain(step("a", timeout=30)).moderate("a:toxic=.6")
    assert (verdict.scores, verdict.degraded) == ({"toxic": 0.6}, False)
    verdict = chain(step("a", timeout=30)).moderate("a:raise")
    assert verdict.trace[0].reason.startswith("raised ValueError in test_engine.py")


# Stopping early


def test_stop_on_ends_the_chain_for_that_content_only() -> None:
    moderator = chain(step("a"), step("b"), step("c"), stop_on="block")
    stopped, going = moderator.moderate_batch(["a:toxic=.9 b:toxic=1", "a:toxic=.89 b:toxic=.1"])
    assert statuses(stopped) == [("a", "ran"), ("b", "skipped"), ("c", "skipped")]
    assert {trace.reason for trace in stopped.trace[1:]} == {"stopped: block after a"}
    assert (stopped.action, stopped.scores, stopped.degraded) == (BLOCK, {"toxic": 0.9}, False)
    assert statuses(going) == [("a", "ran"), ("b", "ran"), ("c", "ran")]


def test_stop_on_review_stops_at_block_too() -> None:
    moderator = chain(step("a"), step("b"), stop_on="review")
    for score in (".5", ".95"):
        assert moderator.moderate(f"a:toxic={score}").trace[1].status == "skipped"
    assert moderator.moderate("a:toxic=.4").trace[1].status == "ran"


def test_a_failure_that_blocks_stops_too() -> None:
    verdict = chain(step("a", on_error="block"), step("b"), stop_on="block").moderate("a:raise")
    assert statuses(verdict) == [("a", "failed"), ("b", "skipped")]


def test_a_score_that_a_later_step_is_due_to_replace_stops_nothing() -> None:
    moderator = chain(
        step("a"),
        step("between"),
        step("big", refines="a", between=[0.05, 0.95]),
        step("last"),
        stop_on="block",
    )
    corrected = moderator.moderate("a:toxic=.92 big:toxic=.1")
    assert [trace.status for trace in corrected.trace] == ["ran", "ran", "ran", "ran"]
    assert corrected.action is ALLOW
    # Above the band nothing will replace it.
    certain = moderator.moderate("a:toxic=.96 big:toxic=.1")
    assert [trace.status for trace in certain.trace] == ["ran", "skipped", "skipped", "skipped"]
    # Once the refiner has failed, the earlier score stands and is certain.
    failed = moderator.moderate("a:toxic=.92 big:raise")
    assert [trace.status for trace in failed.trace] == ["ran", "ran", "failed", "skipped"]
    assert failed.action is BLOCK
    # A score of another step is certain whatever the refiner may find.
    other = moderator.moderate("a:toxic=.92 between:toxic=.9")
    assert [trace.status for trace in other.trace] == ["ran", "ran", "skipped", "skipped"]


def test_exhaustive_ignores_stop_on_and_not_the_band() -> None:
    moderator = chain(step("a"), step("b"), step("big", refines="a"), stop_on="review")
    verdict = moderator.moderate("a:toxic=.99 b:toxic=.1", exhaustive=True)
    assert statuses(verdict) == [("a", "ran"), ("b", "ran"), ("big", "skipped")]
    assert verdict.action is BLOCK


# Languages

GERMAN = "Das ist ein ganz gewöhnlicher Satz über das Wetter in der Stadt. "


@pytest.mark.parametrize(("rule", "action"), [("review", REVIEW), ("allow", ALLOW)])
def test_a_text_that_a_step_does_not_read_is_not_scored(rule: str, action: Action) -> None:
    moderator = chain(step("a", reads=["en"]), step("b"), unsupported_language=rule)
    verdict = moderator.moderate(GERMAN + "a:toxic=.95 b:toxic=.2")
    assert statuses(verdict) == [("a", "skipped"), ("b", "ran")]
    assert verdict.trace[0].reason == "language"
    assert (verdict.action, verdict.scores, verdict.degraded) == (action, {"toxic": 0.2}, True)


def test_the_callers_language_wins() -> None:
    moderator = chain(step("a", reads=["en"]))
    german = Part("text", GERMAN + "a:toxic=.95")
    assert moderator.moderate(Content((german,), language="en-GB")).action is BLOCK
    english = Part("text", "This is what you said about the weather. a:toxic=.95")
    assert moderator.moderate(Content((english,), language="de")).trace[0].reason == "language"
    assert moderator.moderate(Content((english,), language="und")).action is BLOCK


def test_short_latin_texts_are_read() -> None:
    assert chain(step("a", reads=["en"])).moderate("du a:toxic=.95").action is BLOCK


def test_a_model_may_declare_regional_codes() -> None:
    moderator = chain(step("a", reads=["en-US", "pt_BR"]))
    for language in ("en", "pt-PT"):
        content = Content((Part("text", "a:toxic=.95"),), language=language)
        assert moderator.moderate(content).action is BLOCK


def test_one_unread_part_does_not_keep_the_others_from_being_read() -> None:
    moderator = chain(step("a", reads=["en"]))
    verdict = moderator.moderate([Part("text", GERMAN), Part("text", "a:toxic=.95")])
    assert (verdict.action, verdict.degraded) == (BLOCK, True)
    assert verdict.signals[0].part == 1
    assert verdict.trace[0].reason == "not read, language: part 0"


# Parts


@pytest.mark.parametrize("text", ["", " ", "\n\t  \u3000", "\r\n"])
def test_blank_text_is_allowed_without_asking_anybody(text: str) -> None:
    verdict = chain(step("a")).moderate(text)
    assert (verdict.action, verdict.degraded) == (ALLOW, False)
    assert (verdict.trace[0].status, verdict.trace[0].reason) == ("skipped", "blank")


def test_an_image_that_no_step_reads_is_sent_to_review() -> None:
    verdict = chain(step("a")).moderate(Part("image", image=object()))
    assert (verdict.action, verdict.degraded) == (REVIEW, True)
    assert verdict.reasons == ("no step has read the image: review",)
    assert verdict.trace[0].reason == "no part of a kind it reads"
    both = chain(step("a")).moderate([Part("text", "a:toxic=.95"), Part("image", image=object())])
    assert (both.action, both.degraded) == (BLOCK, True)


def test_a_step_sees_only_the_kinds_of_part_that_the_policy_gives_it() -> None:
    parts = [
        Part("text", "a:toxic=.1 b:toxic=.2"),
        Part("text", "   "),
        Part("ocr", "a:toxic=.3 b:toxic=.4"),
        Part("text", "a:toxic=.5 b:toxic=.6"),
    ]
    verdict = chain(step("a", parts=["ocr"]), step("b", parts=["text"])).moderate(parts)
    # Indexes are those of the content as sent, though b never saw the parts 1 and 2.
    assert [(s.step, s.part, s.score) for s in verdict.signals] == [
        ("a", 2, 0.3),
        ("b", 0, 0.2),
        ("b", 3, 0.6),
    ]
    assert verdict.parts == tuple(parts)


def test_a_step_cannot_be_given_kinds_that_its_filter_does_not_read() -> None:
    with pytest.raises(ConfigError, match=r"steps\[0\]\.parts: scripted reads .*, not image"):
        chain(step("a", parts=["text", "image"]))


class Captions(Filter):
    """Adds the picture's own words as a caption."""

    name: ClassVar[str] = "captions"
    parts: ClassVar[frozenset[str]] = frozenset({"image"})

    def categories(self) -> list[str]:
        return []

    def check_batch(self, contents: Sequence[Content]) -> list[list[Signal | Part]]:
        return [
            [Part("caption", part.image, source=index) for index, part in enumerate(content.parts)]
            for content in contents
        ]


CAPTIONS = {"name": "captions", "filter": "captions"}


def test_later_steps_judge_the_parts_that_a_filter_adds() -> None:
    moderator = chain(CAPTIONS, step("a"), filters=[Captions])
    verdict = moderator.moderate([Part("text", "hello"), Part("image", image="a:toxic=.95")])
    assert verdict.action is BLOCK
    # The filter saw the image as its part 0; in the content it is part 1.
    assert verdict.parts[2] == Part("caption", "a:toxic=.95", source=1)
    assert [signal.part for signal in verdict.signals] == [2]
    assert not verdict.degraded


def test_an_added_part_that_nobody_judges_is_sent_to_review() -> None:
    moderator = chain(step("a"), CAPTIONS, filters=[Captions])
    verdict = moderator.moderate([Part("text", "hello"), Part("image", image="a:toxic=.95")])
    assert (verdict.action, verdict.degraded) == (REVIEW, True)
    assert verdict.reasons == ("no step has read the caption: review",)


def test_a_caption_is_not_in_the_callers_language() -> None:
    moderator = chain(CAPTIONS, step("a", reads=["en"]), filters=[Captions])
    image = Part("image", image="What you see is that they are with the dog. a:toxic=.95")
    assert moderator.moderate(Content((image,), language="de")).action is BLOCK


@pytest.mark.parametrize(("number", "fits"), [(MAX_PARTS - 1, True), (MAX_PARTS, False)])
def test_a_filter_may_not_add_parts_without_end(number: int, fits: bool) -> None:
    class Many(Captions):
        name = "many"

        def check_batch(self, contents: Sequence[Content]) -> list[list[Signal | Part]]:
            return [[Part("caption", "x", source=0)] * number for _ in contents]

    moderator = chain({"name": "many", "filter": "many"}, step("a"), filters=[Many])
    verdict = moderator.moderate(Part("image", image=object()))
    assert verdict.degraded is not fits
    assert len(verdict.parts) == (MAX_PARTS if fits else 1)


def test_the_limit_of_parts_is_for_all_steps_together() -> None:
    class Half(Captions):
        name = "half"

        def check_batch(self, contents: Sequence[Content]) -> list[list[Signal | Part]]:
            return [[Part("caption", "x", source=0)] * (MAX_PARTS // 2) for _ in contents]

    moderator = chain(
        {"name": "one", "filter": "half"},
        {"name": "two", "filter": "half"},
        step("a"),
        filters=[Half],
    )
    verdict = moderator.moderate(Part("image", image=object()))
    assert statuses(verdict)[:2] == [("one", "ran"), ("two", "failed")]
    assert len(verdict.parts) <= MAX_PARTS


def test_a_content_of_many_parts_is_judged() -> None:
    parts = [Part("text", f"part {number}") for number in range(MAX_PARTS * 2)]
    verdict = chain(step("a")).moderate([*parts, Part("text", "a:toxic=.95")])
    assert (verdict.action, verdict.degraded) == (BLOCK, False)


# Bad filters


def signals(*found: Any) -> Callable[[Sequence[Content]], list[list[Any]]]:
    return lambda contents: [list(found) for _ in contents]


@pytest.mark.parametrize(
    ("check", "told"),
    [
        (signals(Signal("toxic", math.nan)), "a score for toxic of not a number"),
        (signals(Signal("toxic", math.inf)), "a score for toxic of inf"),
        (signals(Signal("toxic", -0.1)), "a score for toxic of -0.1"),
        (signals(Signal("toxic", 1.01)), "a score for toxic of 1.01"),
        (signals(Signal("toxic", np.float32("nan"))), "not a number"),  # type: ignore[arg-type]
        (signals(Signal("toxic", "0.5")), "a score of type str"),  # type: ignore[arg-type]
        (signals(Signal("toxic", None)), "a score of type NoneType"),  # type: ignore[arg-type]
        (signals(Signal("other", 0.5)), "does not declare; known: toxic"),
        (signals(Signal(SECRET, 0.5)), "does not declare; known: toxic"),
        (signals(Signal(["toxic"], 0.5)), "does not declare"),  # type: ignore[arg-type]
        (signals(Signal("toxic", 0.5, (0, 99))), "a span from 0 to 99"),
        (signals(Signal("toxic", 0.5, (-2, 3))), "a span from -2 to 3"),
        (signals(Signal("toxic", 0.5, (3, 2))), "a span from 3 to 2"),
        (signals(Signal("toxic", 0.5, (2, 2))), "a span from 2 to 2"),
        (signals(Signal("toxic", 0.5, (0.0, 2.5))), "whole numbers"),  # type: ignore[arg-type]
        (signals(Signal("toxic", 0.5, (1,))), "whole numbers"),  # type: ignore[arg-type]
        (signals(Signal("toxic", 0.5, part=1)), "reported part 1 of a content of 1"),
        (signals(Signal("toxic", 0.5, part=-1)), "reported part -1"),
        (signals(Signal("toxic", 0.5, part=0.0)), "whole numbers"),  # type: ignore[arg-type]
        (signals(Signal("toxic", 0.5, reason=7)), "a reason of type int"),  # type: ignore[arg-type]
        (signals(0.5), "expected Signals and Parts, found float"),
        (signals({"toxic": 0.5}), "expected Signals and Parts, found dict"),
        (signals(Part("caption", "x")), "not derived from a part"),
        (signals(Part("caption", "x", source=1)), "not derived from a part"),
        (lambda contents: None, "expected a list of findings for each content, found NoneType"),
        (lambda contents: 3, "expected a list of findings for each content, found int"),
        (lambda contents: [None for _ in contents], "expected a list of findings, found NoneType"),
        (lambda contents: [], "expected findings for 1 contents, found 0"),
        (lambda contents: [[], *([] for _ in contents)], "for 1 contents, found 2"),
        (lambda contents: 1 / 0, "raised ZeroDivisionError in test_engine.py"),
        (lambda contents: contents[9], "raised IndexError"),
    ],
)
def test_a_filter_that_lies_fails_and_nothing_else_does(
    check: Callable[..., Any], told: str, as_json: Callable[..., dict[str, Any]]
) -> None:
    moderator = only(check)
    verdict = moderator.moderate(f"some {SECRET}")
    assert statuses(verdict) == [("made", "failed")]
    assert told in verdict.trace[0].reason
    assert (verdict.action, verdict.scores, verdict.degraded) == (REVIEW, {}, True)
    assert SECRET not in str(as_json(verdict))
    assert len(moderator.moderate_batch(["one", "two", "three"])) == 3


def test_a_panic_of_a_native_library_is_a_failure() -> None:
    class Panic(BaseException):
        """As pyo3 raises where Rust code panics: not an Exception."""

    def check(contents: Sequence[Content]) -> None:
        raise Panic(SECRET)

    verdict = only(check).moderate("x")
    assert verdict.trace[0].reason.startswith("raised Panic in test_engine.py")
    assert verdict.action is REVIEW


def test_an_interrupt_is_not_swallowed() -> None:
    def check(contents: Sequence[Content]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        only(check).moderate("x")


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "check returned NoneType; return a list of Signals"),
        ([("toxic", 0.5)], "check found tuple; it finds Signals only"),
    ],
)
def test_a_text_filter_that_returns_something_else(found: Any, told: str) -> None:
    class Lazy(TextFilter):
        name = "lazy"

        def categories(self) -> list[str]:
            return ["toxic"]

        def check(self, text: str) -> Any:
            return found

    verdict = chain({"name": "lazy", "filter": "lazy"}, filters=[Lazy]).moderate("x")
    assert told in verdict.trace[0].reason
    assert verdict.action is REVIEW


def test_generators_and_numbers_of_numpy_are_welcome(
    as_json: Callable[..., dict[str, Any]],
) -> None:
    def rows(contents: Sequence[Content]) -> Iterator[Iterator[Signal]]:
        for _ in contents:
            yield iter(
                [
                    Signal(
                        np.str_("toxic"),
                        np.float32(0.5),  # type: ignore[arg-type]
                        (np.int64(0), np.int32(2)),  # type: ignore[arg-type]
                        np.int64(0),  # type: ignore[arg-type]
                    ),
                    Signal("toxic", np.float64(0.25)),
                    Signal("toxic", 1),
                ]
            )

    verdict = only(rows).moderate("some")
    assert verdict.trace[0].status == "ran"
    told = as_json(verdict)
    assert [signal["score"] for signal in told["signals"]] == [0.5, 0.25, 1.0]
    assert told["signals"][0]["span"] == [0, 2]
    assert all(type(signal.score) is float for signal in verdict.signals)


def test_what_a_user_wrote_is_in_no_trace_reason_or_log(
    caplog: pytest.LogCaptureFixture, as_json: Callable[..., dict[str, Any]]
) -> None:
    caplog.set_level(logging.DEBUG, "moderation")
    moderator = chain(
        step("a"), step("b", timeout=30, fallback=step("c")), plugins=[BrokenObserver()]
    )
    verdict = moderator.moderate(f"a:raise b:raise c:raise {SECRET}")
    assert [trace.status for trace in verdict.trace] == ["failed"] * 3
    assert SECRET not in str(as_json(verdict))
    assert "BrokenObserver" in caplog.text
    assert SECRET not in caplog.text
    assert SECRET in str(as_json(verdict, include_text=True))


def test_a_step_that_cannot_be_loaded_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moderation")
    moderator = chain(step("a", broken=True))
    for _ in range(3):
        assert moderator.moderate("x").degraded
    assert [record.getMessage() for record in caplog.records] == [
        f"step a {moderator.faults()['a']}"
    ]
    assert "the weights are gone" in caplog.text


# What is wrong with a policy or a plugin is said before anything runs


@pytest.mark.parametrize(
    ("steps", "thresholds", "told"),
    [
        (
            [{"name": "a", "filter": "scriptd"}],
            {},
            r"^test: steps\[0\]\.filter: there is no filter 'scriptd'; did you mean 'scripted'\?",
        ),
        (
            [{"name": "a", "filter": "scripted", "options": {"key": "a", "colour": 1}}],
            {},
            r"steps\[0\]\.options\.colour: there is no such option; "
            r"the options of scripted are: key, knows, reads, broken",
        ),
        (
            [step("a"), {"name": "b", "filter": "scripted"}],
            {},
            r"steps\[1\]\.options\.key: Field required",
        ),
        (
            [step("a", fallback={"name": "b", "filter": "none"})],
            {},
            r"steps\[0\]\.fallback\.filter: there is no filter 'none'",
        ),
        (
            [step("a")],
            {"toxicc": {"block": 0.5}},
            r"thresholds\.toxicc: no step reports this category; did you mean 'toxic'\? known: tox",
        ),
        (
            [step("a"), step("b", knows=["spam"], refines="a")],
            {},
            r"steps\[1\]\.refines: b and a report no category in common",
        ),
    ],
)
def test_a_policy_that_cannot_work(steps: list[Any], thresholds: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        chain(*steps, thresholds=thresholds or {"toxic": {"block": 0.5}})


def test_a_category_of_a_fallback_may_have_a_threshold() -> None:
    moderator = chain(
        step("a", fallback=step("b", knows=["spam"])), thresholds={"spam": {"block": 0.5}}
    )
    assert moderator.moderate("a:raise b:spam=.5").action is BLOCK


def test_a_missing_model_does_not_make_the_thresholds_wrong() -> None:
    class Gone(Captions):
        name = "gone"
        parts = frozenset({"text"})

        def categories(self) -> list[str]:
            raise ArtifactError("there is no model here; train one")

    verdict = chain({"name": "gone", "filter": "gone"}, filters=[Gone]).moderate("x")
    assert verdict.trace[0].reason == "cannot be loaded: there is no model here; train one"
    assert verdict.action is REVIEW


@pytest.mark.parametrize(
    ("method", "value", "told"),
    [
        ("categories", "toxic", r"steps\[0\]: categories\(\) returns names, .* found str"),
        ("categories", None, r"categories\(\) returns names, .* found NoneType"),
        ("categories", ["toxic", 3], r"categories\(\) returns names"),
        ("languages", "en", r"languages\(\) returns names, .* found str"),
    ],
)
def test_a_filter_that_declares_nonsense(method: str, value: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        only(signals(), **{method: lambda self: value})


def test_a_filter_that_raises_when_it_is_asked_what_it_reports() -> None:
    def categories(self: Filter) -> list[str]:
        raise RuntimeError("no idea")

    with pytest.raises(PluginError, match=r"steps\[0\]: the filter 'made' raised RuntimeError: no"):
        only(signals(), categories=categories)


def test_plugins_of_a_policy_are_found_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from moderation import Signal, TextFilter, hookimpl\n"
        "class Mine(TextFilter):\n"
        "    name = 'mine'\n"
        "    def categories(self): return ['toxic']\n"
        "    def check(self, text): return [Signal('toxic', 0.95)]\n"
        "@hookimpl\n"
        "def moderation_filters(): return [Mine]\n"
    )
    for name in ("mine.py", "./mine.py", str(tmp_path / "mine.py")):
        (tmp_path / "policy.yaml").write_text(
            f"{{name: x, plugins: ['{name}'], steps: [{{name: a, filter: mine}}], "
            "thresholds: {toxic: {block: 0.9}}}"
        )
        assert Moderator(tmp_path / "policy.yaml").moderate("x").action is BLOCK


class Listed(TextFilter):
    name: ClassVar[str] = "listed"
    path: ResourcePath
    numbers: frozenset[int] = frozenset()

    def categories(self) -> list[str]:
        return ["toxic"]

    def check(self, text: str) -> list[Signal]:
        return [Signal("toxic", 0.95)] if text in self.path.read_text().split() else []


def test_a_path_in_options_starts_at_the_policy(tmp_path: Path) -> None:
    moderators = []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        (folder / "words.txt").write_text(folder.name)
        (folder / "policy.yaml").write_text(
            "{name: x, steps: [{name: a, filter: listed, options: {path: words.txt}}], "
            "thresholds: {toxic: {block: 0.9}}}"
        )
        moderators.append(Moderator(folder / "policy.yaml", plugins=[Offer(Listed)]))
    assert [moderator.moderate("two").action for moderator in moderators] == [ALLOW, BLOCK]
    # Where a file lies is not what it says.
    assert moderators[0].policy.fingerprint == moderators[1].policy.fingerprint


def test_the_order_of_a_set_does_not_change_a_fingerprint() -> None:
    one, other = (Listed(path=Path("x"), numbers=frozenset(each)) for each in ([0, 8], [8, 0]))
    assert list(one.numbers) != list(other.numbers)  # equal, and yet in another order
    assert one.fingerprint() == other.fingerprint()
    assert one.fingerprint() != Listed(path=Path("x"), numbers=frozenset([0])).fingerprint()


# Observers


class BrokenObserver:
    @hookimpl
    def moderation_verdict(self, content: Content, verdict: Verdict) -> None:
        raise ValueError(f"cannot store {content.text}")


class Recorder:
    def __init__(self) -> None:
        self.seen: list[tuple[str, Action]] = []

    @hookimpl
    def moderation_verdict(self, verdict: Verdict, content: Content) -> None:
        self.seen.append((content.metadata.get("id", content.text), verdict.action))


def test_observers_are_called_apart(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "moderation")
    first, last = Recorder(), Recorder()
    moderator = chain(step("a"), plugins=[first, BrokenObserver(), last])
    content = Content((Part("text", f"a:toxic=.5 {SECRET}"),), metadata={"id": "7"})
    assert moderator.moderate(content).action is REVIEW
    assert first.seen == last.seen == [("7", REVIEW)]
    assert "BrokenObserver" in caplog.text
    assert "ValueError" in caplog.text
    assert SECRET not in caplog.text


def test_every_verdict_is_observed_in_order() -> None:
    recorder = Recorder()
    chain(step("a"), plugins=[recorder]).moderate_batch(["one", "a:toxic=.5", ""])
    assert recorder.seen == [("one", ALLOW), ("a:toxic=.5", REVIEW), ("", ALLOW)]


# One path under three methods


def same(one: Verdict, other: Verdict) -> bool:
    def told(verdict: Verdict) -> dict[str, Any]:
        said = verdict.to_dict(include_text=True)
        for trace in said["trace"]:
            del trace["ms"]
        return said

    return told(one) == told(other)


def test_moderate_batch_and_iter_agree() -> None:
    moderator = chain(step("a"), step("b", refines="a"), step("c"), stop_on="block")
    texts = ["", "a:toxic=.5 b:toxic=.2", "a:raise", "a:toxic=.99", "c:toxic=.6", GERMAN]
    batch = moderator.moderate_batch(texts)
    for text, one, streamed in zip(texts, batch, moderator.moderate_iter(texts), strict=True):
        assert same(moderator.moderate(text), one)
        assert same(streamed, one)
        assert one.parts[0].text == text


def test_a_batch_keeps_its_order_across_chunks() -> None:
    wanted = [number / 10_000 for number in range(2 * BATCH + 3)]
    texts = [f"a:toxic={score}" for score in wanted]
    for moderator in (chain(step("a")), chain(step("a", timeout=30))):
        assert [verdict.scores["toxic"] for verdict in moderator.moderate_batch(texts)] == wanted


@pytest.mark.parametrize(("timeout", "most"), [(None, BATCH), (30, CHUNK)])
def test_the_most_contents_of_a_call(timeout: float | None, most: int) -> None:
    sizes: list[int] = []

    class Counts(TextFilter):
        name = "counts"

        def categories(self) -> list[str]:
            return ["toxic"]

        def check_batch(self, contents: Sequence[Content]) -> list[list[Any]]:
            sizes.append(len(contents))
            return super().check_batch(contents)

        def check(self, text: str) -> list[Signal]:
            return []

    limits = {} if timeout is None else {"timeout": timeout}
    counts = {"name": "counts", "filter": "counts", **limits}
    chain(counts, filters=[Counts]).moderate_batch(["a"] * (BATCH + 1))
    assert max(sizes) == most
    assert sum(sizes) == BATCH + 1


def test_an_empty_batch() -> None:
    assert chain(step("a")).moderate_batch([]) == []
    assert list(chain(step("a")).moderate_iter(iter(()))) == []


def test_streaming_reads_no_more_than_a_chunk_ahead() -> None:
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        while read < CHUNK + 10:
            read += 1
            yield "a:toxic=.1"
        raise OSError("the file ends in the middle")

    stream = chain(step("a")).moderate_iter(source())
    assert read == 0
    next(stream)
    assert read <= CHUNK
    assert sum(1 for _ in zip(range(CHUNK - 1), stream, strict=False)) == CHUNK - 1
    with pytest.raises(OSError, match="in the middle"):
        next(stream)


@pytest.mark.parametrize("contents", ["a:toxic=.5", Part("text", "a:toxic=.5")])
def test_a_single_content_is_not_taken_for_many(contents: Any) -> None:
    moderator = chain(step("a"))
    for verdicts in (moderator.moderate_batch(contents), list(moderator.moderate_iter(contents))):
        assert [verdict.action for verdict in verdicts] == [REVIEW]


@pytest.mark.parametrize("contents", [None, 3, b"text", {"text": SECRET}])
def test_what_is_no_batch_is_refused(contents: Any) -> None:
    with pytest.raises(ContentError, match=type(contents).__name__) as info:
        chain(step("a")).moderate_batch(contents)
    assert SECRET not in str(info.value)


@pytest.mark.parametrize("value", [None, 3, b"text", {"text": SECRET}, [SECRET], []])
def test_what_is_no_content_is_refused(value: Any) -> None:
    with pytest.raises(ContentError) as info:
        chain(step("a")).moderate(value)
    assert SECRET not in str(info.value)


def test_a_moderator_may_be_shared_between_threads() -> None:
    moderator = chain(step("a"), step("b", refines="a", fallback=step("c")), step("d", timeout=30))
    texts = [
        text
        for number in range(50)
        for text in (
            f"a:toxic=.{number:02} b:toxic=.3",
            f"a:toxic=.5 b:raise c:toxic=.{number:02}",
            f"d:toxic=.{number:02}",
        )
    ]
    alone = [moderator.moderate(text) for text in texts]
    moderator = chain(*(each.model_dump() for each in moderator.policy.steps))  # not yet loaded
    start = threading.Barrier(8)

    def work(_: int) -> list[Verdict]:
        start.wait(30)
        return [moderator.moderate(text) for text in texts[:75]] + moderator.moderate_batch(
            texts[75:]
        )

    with ThreadPoolExecutor(8) as pool:
        for verdicts in pool.map(work, range(8)):
            assert all(same(one, other) for one, other in zip(alone, verdicts, strict=True))


@pytest.mark.parametrize(
    "text",
    [
        "\ud800 half",
        "nul \0 inside",
        "\u202eright to left\u202c",
        "e" + "\u0301" * 10_000,
        "word " * 200_000,
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    ],
    ids=["surrogate", "nul", "override", "marks", "megabyte", "emoji"],
)
def test_odd_texts_get_a_verdict(text: str, as_json: Callable[..., dict[str, Any]]) -> None:
    class First(TextFilter):
        name = "first"

        def categories(self) -> list[str]:
            return ["toxic"]

        def languages(self) -> list[str]:
            return ["en"]

        def check(self, text: str) -> list[Signal]:
            text.encode()  # what every library below does
            return [Signal("toxic", 0.6, (0, len(text)))]

    verdict = chain({"name": "first", "filter": "first"}, filters=[First]).moderate(text)
    assert verdict.action is REVIEW
    assert verdict.trace[0].status == "ran"
    assert len(verdict.masked(text)) == len(text)
    as_json(verdict, include_text=True)


def test_a_verdict_can_be_pickled() -> None:
    verdict = chain(step("a")).moderate("a:toxic=.5")
    assert same(pickle.loads(pickle.dumps(verdict)), verdict)  # noqa: S301  # made right here


class Endless(Filter):
    """Never stops finding, and hands its findings over as they come."""

    name: ClassVar[str] = "endless"

    def categories(self) -> Iterable[str]:
        return ("toxic",)

    def check_batch(self, contents: Sequence[Content]) -> Any:
        return [repeat(Signal("toxic", 0.1)) for _ in contents]


def test_findings_without_an_end_fail_the_step() -> None:
    policy = Policy.parse(
        "name: endless\nsteps: [{name: one, filter: endless}]\nthresholds: {toxic: {review: 0.5}}\n"
    )
    verdict = Moderator(policy, plugins=[Offer(Endless)]).moderate("text")
    assert verdict.action is REVIEW
    assert verdict.degraded
    assert "more than 10,000 findings" in verdict.trace[0].reason
