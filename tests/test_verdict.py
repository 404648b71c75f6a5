"""What comes out: masks, spans, and the JSON that the schema describes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import Action, Part, Signal, StepTrace, Verdict, verdict_schema
from moderation.content import Box
from moderation.errors import ContentError


def verdict(text: str, *signals: Signal, parts: tuple[Part, ...] = ()) -> Verdict:
    return Verdict(
        action=Action.REVIEW,
        scores={"toxic": 0.9},
        signals=signals,
        parts=(Part("text", text), *parts),
        trace=(StepTrace("words", "wordlist", "ran", "", 0.25, {"toxic": 0.9}),),
        reasons=("toxic 0.9 reaches review at 0.5",),
        degraded=False,
        policy="test@0123456789ab",
        models={"words": "ba9876543210"},
    )


def word(text: str, piece: str, score: float = 0.9, category: str = "toxic") -> Signal:
    begin = text.index(piece)
    return Signal(category, score, (begin, begin + len(piece)))


def test_actions_are_ordered_by_severity() -> None:
    assert Action.ALLOW < Action.REVIEW < Action.BLOCK
    assert max(Action.REVIEW, Action.BLOCK, Action.ALLOW) is Action.BLOCK
    assert [f"{action}" for action in Action] == ["allow", "review", "block"]


# Masks


@pytest.mark.parametrize(
    ("text", "pieces", "masked"),
    [
        ("what the fuck is this", ["fuck"], "what the f*** is this"),
        ("k i l l them", ["k i l l"], "k * * * them"),
        ("f.u.c.k that", ["f.u.c.k"], "f****** that"),
        ("go kill yourself now", ["kill yourself"], "go k*** y******* now"),
        ("kill\n\tyourself", ["kill\n\tyourself"], "k***\n\ty*******"),
        ("you are a pig", ["you are a pig"], "y** a** * p**"),
        ("one bad day and worse", ["bad", "worse"], "one b** day and w****"),
        # Spans that overlap, touch or lie in one another are one word.
        ("motherfucker", ["motherfuck", "fucker"], "m***********"),
        ("motherfucker", ["mother", "fucker"], "m***********"),
        ("motherfucker", ["motherfucker", "fuck"], "m***********"),
        ("an ass", ["ass", "ass"], "an a**"),
        # Characters, not UTF-16 units or bytes.
        ("\U0001f600\U0001f600 fuck \U0001f600", ["fuck"], "\U0001f600\U0001f600 f*** \U0001f600"),
        (
            "\U0001d41f\U0001d42e\U0001d41c\U0001d424!",
            ["\U0001d41f\U0001d42e\U0001d41c\U0001d424"],
            "\U0001d41f***!",
        ),
        ("ta\u0301cky e\u0301", ["ta\u0301cky"], "t***** e\u0301"),
        # What is a whole word in itself is not left to be seen.
        ("\U0001f595\U0001f3fd you", ["\U0001f595\U0001f3fd"], "** you"),
        ("x", ["x"], "*"),
        ("nothing here", [], "nothing here"),
    ],
)
def test_masked(text: str, pieces: list[str], masked: str) -> None:
    assert verdict(text, *(word(text, piece) for piece in pieces)).masked() == masked


def test_the_caller_may_bring_the_text() -> None:
    told = verdict("a half \ufffd fuck", word("a half \ufffd fuck", "fuck"))
    assert told.masked("a half \ud800 fuck") == "a half \ud800 f***"
    with pytest.raises(ContentError, match="of 13 characters, found 5") as info:
        told.masked("zebra")
    assert "zebra" not in str(info.value)


@pytest.mark.parametrize("part", [-1, 1, 99])
def test_there_is_no_such_part_to_mask(part: int) -> None:
    with pytest.raises(ContentError, match=f"parts 0 to 0, not {part}"):
        verdict("text").masked(part=part)


def test_what_is_masked_can_be_chosen() -> None:
    text = "damn you idiot"
    told = verdict(
        text, word(text, "damn", 0.4, "obscene"), word(text, "idiot", 0.8), Signal("toxic", 1.0)
    )
    assert told.masked() == "damn you i****"
    assert told.masked(at_least=0.4) == "d*** you i****"
    assert told.masked(at_least=0.81) == text
    assert told.masked(at_least=0, categories=["obscene"]) == "d*** you idiot"


def test_each_part_is_masked_by_its_own_signals() -> None:
    told = verdict(
        "fuck fuck",
        Signal("toxic", 1.0, (0, 4), part=0),
        Signal("toxic", 1.0, (5, 9), part=1),
        parts=(Part("ocr", "here fuck", source=None), Part("image", image=object())),
    )
    assert told.masked() == "f*** fuck"
    assert told.masked(part=1) == "here f***"
    assert told.masked(part=2) == ""


@given(st.data())
def test_a_mask_keeps_length_space_and_everything_outside(data: st.DataObject) -> None:
    text = data.draw(st.text(min_size=1, max_size=40))
    ends = st.integers(0, len(text))
    spans = data.draw(st.lists(st.tuples(ends, ends).filter(lambda span: span[0] < span[1])))
    masked = verdict(text, *(Signal("toxic", 1.0, span) for span in spans)).masked()
    text = Part("text", text).text
    assert len(masked) == len(text)
    covered = {place for begin, end in spans for place in range(begin, end)}
    for place, (sent, shown) in enumerate(zip(text, masked, strict=True)):
        if sent.isspace() or place not in covered:
            assert shown == sent
        else:
            assert shown in (sent, "*")


def test_spans_are_merged_in_order() -> None:
    told = verdict(
        "x" * 30,
        *(Signal("toxic", 1.0, span) for span in [(20, 25), (3, 5), (5, 7), (4, 6), (10, 12)]),
        Signal("toxic", 1.0),
    )
    assert told.spans() == [(3, 7), (10, 12), (20, 25)]
    assert told.spans(1) == []


# JSON

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCORES = st.dictionaries(NAMES, st.floats(0, 1), max_size=3)
TEXTS = st.text(max_size=10)
SPANS = st.none() | st.tuples(st.integers(0, 9), st.integers(0, 9))
COORDINATES = st.floats(-1e4, 1e4)
VERDICTS = st.builds(
    Verdict,
    action=st.sampled_from(Action),
    scores=SCORES,
    signals=st.lists(
        st.builds(Signal, NAMES, st.floats(0, 1), SPANS, st.integers(0, 9), TEXTS, NAMES),
        max_size=3,
    ).map(tuple),
    parts=st.lists(
        st.builds(Part, st.sampled_from(["text", "caption"]), TEXTS)
        | st.builds(Part, st.just("image"), image=st.just(b"\x00"))
        | st.builds(
            Part,
            st.just("ocr"),
            TEXTS,
            source=st.integers(0, 9),
            boxes=st.lists(
                st.builds(Box, st.integers(0, 9), st.integers(0, 9), *[COORDINATES] * 4),
                max_size=2,
            ).map(tuple),
        ),
        min_size=1,
        max_size=3,
    ).map(tuple),
    trace=st.lists(
        st.builds(
            StepTrace,
            NAMES,
            NAMES,
            st.sampled_from(["ran", "skipped", "failed"]),
            TEXTS,
            st.floats(0, 1e6),
            SCORES,
        ),
        max_size=3,
    ).map(tuple),
    reasons=st.lists(TEXTS, max_size=2).map(tuple),
    degraded=st.booleans(),
    policy=st.just("some.policy@0123456789ab"),
    models=st.dictionaries(NAMES, st.just("0123456789ab"), max_size=2),
)


@given(told=VERDICTS, include_text=st.booleans())
def test_every_verdict_fits_the_schema(
    as_json: Callable[..., dict[str, Any]], told: Verdict, include_text: bool
) -> None:
    found = as_json(told, include_text=include_text)
    assert found["flagged"] is (found["action"] != "allow")
    assert found["action"] == told.action.name.lower()
    assert set(found["scores"]) == set(told.scores)
    texts = [part["text"] for part in found["parts"] if "text" in part]
    assert texts == ([part.text for part in told.parts if part.kind != "image"] * include_text)


def test_to_dict_against_a_hand_written_one(as_json: Callable[..., dict[str, Any]]) -> None:
    text = "you idiot"
    box = Box(0, 4, np.float32(1.5), 2.0, 30.0, 40.5)  # type: ignore[arg-type]
    told = verdict(
        text,
        word(text, "idiot", 0.1234567)._replace(step="words", reason="in the list"),
        parts=(Part("image", image=object()), Part("ocr", "oops", source=1, boxes=(box,))),
    )
    assert as_json(told) == {
        "schema": 1,
        "action": "review",
        "flagged": True,
        "degraded": False,
        "reasons": ["toxic 0.9 reaches review at 0.5"],
        "scores": {"toxic": 0.9},
        "signals": [
            {
                "category": "toxic",
                "score": 0.123457,
                "span": [4, 9],
                "part": 0,
                "reason": "in the list",
                "step": "words",
            }
        ],
        "parts": [
            {"kind": "text", "source": None},
            {"kind": "image", "source": None},
            {"kind": "ocr", "source": 1, "boxes": [[0, 4, 1.5, 2.0, 30.0, 40.5]]},
        ],
        "trace": [
            {
                "step": "words",
                "filter": "wordlist",
                "status": "ran",
                "reason": "",
                "ms": 0.25,
                "scores": {"toxic": 0.9},
            }
        ],
        "policy": "test@0123456789ab",
        "models": {"words": "ba9876543210"},
    }
    assert [part.get("text") for part in as_json(told, include_text=True)["parts"]] == [
        text,
        None,
        "oops",
    ]


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    *way, last = path.split(".")

    def change(told: dict[str, Any]) -> None:
        place: Any = told
        for key in way:
            place = place[int(key) if key.isdigit() else key]
        place[last] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("extra", 1),
        _set("signals.0.extra", 1),
        _set("parts.0.extra", 1),
        _set("trace.0.extra", 1),
        _set("schema", 2),
        _set("action", "delete"),
        _set("scores.toxic", 1.01),
        _set("signals.0.score", -0.1),
        _set("signals.0.span", [4]),
        _set("signals.0.span", [4, 9.5]),
        _set("parts", []),
        _set("parts.0.kind", "video"),
        _set("trace.0.status", "late"),
        _set("policy", "test"),
        *(lambda told, key=key: told.pop(key) for key in verdict_schema()["required"]),
    ],
)
def test_the_schema_is_strict(
    as_json: Callable[..., dict[str, Any]], change: Callable[[dict[str, Any]], None]
) -> None:
    told = as_json(verdict("you idiot", word("you idiot", "idiot")._replace(step="words")))
    changed = copy.deepcopy(told)
    change(changed)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(verdict_schema()).validate(changed)


def test_the_schema_describes_every_key() -> None:
    assert set(verdict_schema()["required"]) == set(verdict_schema()["properties"])
    assert set(verdict("x").to_dict()) == set(verdict_schema()["properties"])


def test_a_mask_keeps_no_invisible_letter() -> None:
    text = "\u202ekcuf\u202c you"
    masked = verdict(text, word(text, "\u202ekcuf\u202c")).masked()
    assert masked == "****** you"
