"""Decisions made again out of what was kept are those of a Moderator that really runs."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("gradio")

from moderation import Action, Moderator, Policy, hookimpl
from moderation.content import Content, Part
from moderation.errors import ConfigError
from moderation.filter import Filter
from moderation.policy import Thresholds
from moderation.testing import StaticFilter
from moderation.ui.replay import Kept, edited

ALLOW, REVIEW, BLOCK = Action


def step(name: str, scores: dict[str, dict[str, float]], **more: Any) -> dict[str, Any]:
    """A step that says what a text holds the keys of; `options` go to the filter."""
    options = {"scores": scores, "default": {}, "spans": False, **more.pop("options", {})}
    return {"name": name, "filter": "static", "options": options, **more}


def policy(*steps: dict[str, Any], thresholds: dict[str, Any], **more: Any) -> Policy:
    said = {"name": "tried", "plugins": ["testing"], "steps": steps, "thresholds": thresholds}
    return Policy.model_validate({**said, **more})


CASCADE = policy(
    step("fast", {"foul": {"toxic": 0.7, "insult": 0.2}, "joke": {"toxic": 0.6}}),
    step("slow", {"foul": {"toxic": 0.9}, "joke": {"toxic": 0.1}}, refines="fast"),
    thresholds={"toxic": {"review": 0.5, "block": 0.8}},
)


def kept(moderator: Moderator, texts: list[str], *, exhaustive: bool = True) -> Kept:
    found = Kept(moderator, len(texts))
    for verdict in moderator.moderate_iter(texts, exhaustive=exhaustive):
        found.add(verdict)
    return found


def test_what_a_refining_step_replaced_counts_again_without_it() -> None:
    moderator = Moderator(CASCADE)
    found = kept(moderator, ["foul", "joke", "fine"])

    assert found.replay(CASCADE).actions.tolist() == [BLOCK, ALLOW, ALLOW]
    assert found.replay(CASCADE).of(1) == {"toxic": 0.1}

    alone = edited(moderator, steps=["fast"])
    assert found.replay(alone).actions.tolist() == [REVIEW, REVIEW, ALLOW]
    assert found.replay(alone).of(0) == {"toxic": 0.7, "insult": 0.2}


def test_a_threshold_is_reached_by_a_score_that_equals_it() -> None:
    moderator = Moderator(CASCADE)
    found = kept(moderator, ["foul"])

    for limit, action in ((0.9, BLOCK), (0.91, REVIEW)):
        moved = edited(moderator, thresholds={"toxic": Thresholds(review=0.5, block=limit)})
        assert found.replay(moved).actions.tolist() == [action]


def test_what_a_stopped_chain_never_asked_is_said_to_be_unknown() -> None:
    base = policy(
        step("words", {"foul": {"toxic": 0.9}}),
        step("model", {"foul": {"toxic": 0.95, "threat": 0.9}}),
        thresholds={"toxic": {"block": 0.9}, "threat": {"review": 0.5}},
        stop_on="block",
    )
    moderator = Moderator(base)
    cut = kept(moderator, ["foul", "fine"], exhaustive=False)
    whole = kept(moderator, ["foul", "fine"])
    same, moved = base, edited(moderator, thresholds={"threat": Thresholds(review=0.5)})

    assert cut.replay(same).actions.tolist() == [BLOCK, ALLOW]
    assert cut.replay(same).known.tolist() == [True, True]
    assert cut.replay(moved).known.tolist() == [False, True]
    assert whole.replay(moved).actions.tolist() == [REVIEW, ALLOW]
    assert whole.replay(moved).known.tolist() == [True, True]


def test_a_score_that_is_going_to_be_replaced_does_not_end_the_chain() -> None:
    base = policy(
        step("fast", {"joke": {"toxic": 0.9}}),
        step("slow", {"joke": {"toxic": 0.1}}, refines="fast"),
        thresholds={"toxic": {"block": 0.8}},
        stop_on="block",
    )
    found = kept(Moderator(base), ["joke"])

    assert found.replay(base).actions.tolist() == [ALLOW]
    assert found.replay(base).of(0) == {"toxic": 0.1}


def test_switching_a_step_off_switches_off_what_refines_it_and_its_thresholds() -> None:
    base = policy(
        step("fast", {"foul": {"toxic": 0.7}}),
        step("slow", {"foul": {"toxic": 0.9}}, refines="fast"),
        step("other", {"foul": {"spam": 0.9}}),
        thresholds={"toxic": {"review": 0.5}, "spam": {"review": 0.5}},
    )
    moderator = Moderator(base)
    left = edited(moderator, steps=["slow", "other"])

    assert [step.name for step in left.steps] == ["other"]
    assert list(left.thresholds) == ["spam"]
    Moderator(left)
    assert Policy.parse(left.to_yaml()) == left

    with pytest.raises(ConfigError, match="switch on at least one"):
        edited(moderator, steps=["slow"])
    with pytest.raises(ConfigError, match="known: fast, other, slow"):
        edited(moderator, steps=["fats"])
    with pytest.raises(ConfigError, match="did you mean 'toxic'"):
        edited(moderator, thresholds={"toxci": Thresholds(review=0.1)})


def test_a_text_that_no_step_is_left_to_read_goes_to_review() -> None:
    base = policy(
        step("pictures", {"foul": {"toxic": 0.9}}, parts=["ocr"]),
        step("words", {"foul": {"toxic": 0.9}}),
        thresholds={"toxic": {"block": 0.5}},
    )
    moderator = Moderator(base)
    blind = edited(moderator, steps=["pictures"])

    replayed = kept(moderator, ["foul", "fine", " "]).replay(blind)
    assert replayed.actions.tolist() == [REVIEW, REVIEW, ALLOW]
    assert [v.action for v in Moderator(blind).moderate_batch(["foul", "fine", " "])] == [
        REVIEW,
        REVIEW,
        ALLOW,
    ]


def test_a_content_of_several_parts_follows_the_thresholds_and_no_more() -> None:
    base = policy(
        step("words", {"foul": {"toxic": 0.9}}),
        step("more", {"foul": {"toxic": 0.7}}),
        thresholds={"toxic": {"block": 0.8}},
    )
    moderator = Moderator(base)
    found = Kept(moderator)
    found.add(moderator.moderate(Content((Part("text", "foul"), Part("ocr", "foul")))))

    assert found.replay(base).actions.tolist() == [BLOCK]
    moved = found.replay(edited(moderator, thresholds={"toxic": Thresholds(review=0.9)}))
    assert (moved.actions.tolist(), moved.known.tolist()) == ([REVIEW], [True])
    assert found.replay(edited(moderator, steps=["more"])).known.tolist() == [False]


def test_steps_that_were_changed_since_are_refused() -> None:
    moderator = Moderator(CASCADE)
    other = CASCADE.model_copy(
        update={
            "steps": (
                CASCADE.steps[0],
                CASCADE.steps[1].model_copy(update={"between": (0.1, 0.2)}),
            )
        }
    )
    with pytest.raises(ConfigError, match="slow: it is not as it was"):
        kept(moderator, ["foul"]).replay(other)


class EnglishOnly(StaticFilter):
    """As `static`, and reads no other language."""

    name: ClassVar[str] = "english-only"

    def languages(self) -> list[str]:
        return ["en"]


class Plugin:
    @hookimpl
    def moderation_filters(self) -> list[type[Filter]]:
        return [EnglishOnly]


WORDS = ["ape", "bee", "cow", "dog", "elk"]
CATEGORIES = ["toxic", "insult", "threat"]
SCORES = st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.7, 0.95, 1.0])
TEXTS = [
    "",
    "ape",
    "bee cow",
    "ape dog elk",
    "cow",
    "elk bee ape",
    "Der Affe und die Biene sitzen im Garten und reden über das Wetter: bee",
]
said = st.dictionaries(
    st.sampled_from(WORDS), st.dictionaries(st.sampled_from(CATEGORIES), SCORES), max_size=4
)
default = st.dictionaries(st.sampled_from(CATEGORIES), SCORES, min_size=1, max_size=2)
on_errors = st.sampled_from([None, "review", "skip", "block"])


@st.composite
def limits(draw: st.DrawFn) -> dict[str, float]:
    low, high = sorted((draw(SCORES), draw(SCORES)))
    return draw(st.sampled_from([{"review": low}, {"block": high}, {"review": low, "block": high}]))


@st.composite
def places(draw: st.DrawFn, name: str, earlier: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {"default": draw(default)}
    if draw(st.integers(0, 3)) == 0:
        options["fault"] = draw(st.sampled_from(["raise", "nan", "load"]))
        options["fault_on"] = draw(st.sampled_from([*WORDS, ""]))
    place = step(name, draw(said), options=options)
    if draw(st.integers(0, 3)) == 0:
        place["filter"] = "english-only"
    if draw(st.booleans()):
        place["on_error"] = draw(on_errors)
    if draw(st.integers(0, 4)) == 0:
        place["parts"] = draw(st.sampled_from([["ocr"], ["text", "caption"]]))
    if earlier and draw(st.booleans()):
        place["refines"] = draw(st.sampled_from(earlier))
        place["between"] = sorted((draw(SCORES), draw(SCORES)))
        if draw(st.booleans()):
            own = sorted((draw(SCORES), draw(SCORES)))
            place["bands"] = {draw(st.sampled_from(CATEGORIES)): own}
    if draw(st.integers(0, 3)) == 0:
        fallback = {"default": draw(default)}
        if draw(st.booleans()):
            fallback |= {"fault": "raise", "fault_on": draw(st.sampled_from(WORDS))}
        place["fallback"] = step(f"{name}-else", draw(said), options=fallback)
    return place


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    steps: list[dict[str, Any]] = []
    for name in ["one", "two", "three", "four"][: draw(st.integers(1, 4))]:
        steps.append(draw(places(name, [each["name"] for each in steps])))
    return policy(
        *steps,
        thresholds=draw(st.dictionaries(st.sampled_from(CATEGORIES), limits(), min_size=1)),
        stop_on=draw(st.sampled_from([None, "review", "block"])),
        unsupported_language=draw(st.sampled_from(["review", "allow"])),
    )


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_replayed_actions_are_those_of_the_engine(data: st.DataObject) -> None:
    base = data.draw(policies())
    try:
        moderator = Moderator(base, plugins=[Plugin()])
    except ConfigError:  # a threshold that nobody reports, a refinement of nothing in common
        return
    names = [step.name for step in base.steps]
    exhaustive = data.draw(st.booleans())
    found = kept(moderator, TEXTS, exhaustive=exhaustive)
    on = data.draw(st.sets(st.sampled_from(names), min_size=1))
    known = sorted({c for s in moderator.steps for each in s.line() for c in each.categories})
    moved = data.draw(st.dictionaries(st.sampled_from(known), limits()))
    thresholds = {name: Thresholds(**limit) for name, limit in moved.items()}
    try:
        changed = edited(moderator, steps=on, thresholds=thresholds)
    except ConfigError:
        left: set[str] = set()
        for step in base.steps:
            if step.name in on and (step.refines is None or step.refines in left):
                left.add(step.name)
        assert not left
        return
    verdicts = Moderator(changed, plugins=[Plugin()]).moderate_batch(TEXTS)

    replayed = found.replay(changed)

    if exhaustive or base.stop_on is None:
        assert replayed.known.all()
    for row, verdict in enumerate(verdicts):
        if replayed.known[row]:
            assert replayed.actions[row] == verdict.action, (row, verdict.trace)
            assert replayed.of(row) == dict(verdict.scores)
    assert Policy.parse(changed.to_yaml()) == changed
