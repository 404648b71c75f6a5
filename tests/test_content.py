"""What can be moderated, and what is refused."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import Content, Message, Part
from moderation.errors import ContentError

PART = Part("text", "hello")
IMAGE = Part("image", image=object())


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("hello", (PART,)),
        ("", (Part("text", ""),)),
        (PART, (PART,)),
        ([PART, IMAGE], (PART, IMAGE)),
        ((part for part in [PART, IMAGE]), (PART, IMAGE)),
        (Content((PART,)), (PART,)),
    ],
)
def test_what_can_be_read_as_content(value: Any, parts: tuple[Part, ...]) -> None:
    assert Content.of(value).parts == parts


def test_a_content_is_handed_on_as_it_is() -> None:
    content = Content((PART,), metadata={"id": 1})
    assert Content.of(content) is content


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "NoneType"),
        (7, "int"),
        (b"zebra", "bytes"),
        (bytearray(b"zebra"), "bytearray"),
        ({"zebra": "zebra"}, "dict"),
        (["zebra"], "str"),
        ([b"zebra"], "bytes"),
    ],
)
def test_what_cannot_is_named_by_its_type_alone(value: Any, kind: str) -> None:
    with pytest.raises(ContentError, match=rf"\b{kind}\b") as info:
        Content.of(value)
    assert "zebra" not in str(info.value)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Part("video"), "one of text, image, caption, ocr"),
        (lambda: Part("text", None), "a str, not NoneType"),
        (lambda: Part("text", b"zebra"), "a str, not bytes"),
        (lambda: Part("image"), "needs its image"),
        (lambda: Part("text", "zebra", image=object()), "carries text, not an image"),
        (lambda: Part("caption", "zebra", source=-1), "index of a part"),
        (lambda: Part("caption", "zebra", source="0"), "index of a part"),
        (lambda: Content(()), "at least one part"),
        (lambda: Content(None), "Parts, not a NoneType"),
        (lambda: Content("zebra"), "Parts, not str"),
        (lambda: Content((PART,), context=["zebra"]), "Messages, not str"),
        (lambda: Content((PART,), context=3), "Messages, not a int"),
        (lambda: Content((PART,), language=""), "a code such as 'en'"),
        (lambda: Content((PART,), language=3), "a code such as 'en'"),
        (lambda: Message("system", "zebra"), "'user' or 'assistant'"),
        (lambda: Message("user", None), "a str, not NoneType"),
    ],
)
def test_what_is_wrong_is_said_without_the_text(make: Callable[[], Any], told: str) -> None:
    with pytest.raises(ContentError, match=told) as info:
        make()
    assert "zebra" not in str(info.value)


@pytest.mark.parametrize("make", [lambda text: Part("text", text), lambda t: Message("user", t)])
@given(text=st.text(st.characters(), max_size=30))
def test_every_text_can_be_encoded_and_keeps_its_length(
    make: Callable[[str], Part | Message], text: str
) -> None:
    kept = make(text).text
    kept.encode()
    assert len(kept) == len(text)
    for sent, found in zip(text, kept, strict=True):
        assert found == ("\ufffd" if "\ud800" <= sent <= "\udfff" else sent)


@pytest.mark.parametrize(
    "text", ["nul \0 inside", "\u202eabc\u202c", "e" + "\u0301" * 10_000, "x" * 1_000_000]
)
def test_odd_texts_are_kept_as_they_are(text: str) -> None:
    assert Content.of(text).text == text


def test_the_text_is_that_of_the_first_text_part() -> None:
    assert Content((IMAGE, Part("ocr", "seen"), PART, Part("text", "later"))).text == "hello"
    assert Content((IMAGE,)).text == ""


@pytest.mark.parametrize(
    ("said", "primary"),
    [("en", "en"), ("EN", "en"), ("pt-BR", "pt"), ("zh_Hant_TW", "zh"), (" de ", "de")],
)
def test_the_callers_language_counts_by_its_primary_subtag(said: str, primary: str) -> None:
    assert Content((PART,), language=said).language_of(PART) == primary


def test_without_the_caller_the_language_is_detected() -> None:
    german = Part("text", "Das ist ein ganz gewöhnlicher Satz über das Wetter in der Stadt.")
    assert Content((german,)).language_of(german) == "de"
    assert Content((german,), language="und").language_of(german) == "de"
    derived = Part("caption", german.text, source=0)
    assert Content((IMAGE, derived), language="en").language_of(derived) == "de"


def test_contents_can_be_copied_and_pickled() -> None:
    content = Content((PART,), context=(Message("user", "before"),), language="en")
    assert pickle.loads(pickle.dumps(content)) == content  # noqa: S301  # made right here
    assert copy.deepcopy(content) == content
