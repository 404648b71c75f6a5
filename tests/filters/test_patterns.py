"""Patterns: what the ready-made ones know, own ones, and that none can hang."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.content import Content
from moderation.engine import Moderator
from moderation.errors import ConfigError
from moderation.filters.patterns import MAX_MATCHES, MAX_PATTERNS, PatternsFilter
from moderation.policy import Policy
from moderation.testing import FilterContract
from moderation.verdict import Signal


def loaded(**options: Any) -> PatternsFilter:
    made = PatternsFilter.model_validate(options)
    made.load()
    return made


def signals(made: PatternsFilter, text: str) -> list[Signal]:
    [found] = made.check_batch([Content.of(text)])
    assert all(isinstance(one, Signal) for one in found)
    return found  # type: ignore[return-value]


def found(made: PatternsFilter, text: str) -> list[str]:
    return [text[slice(*signal.span)] for signal in signals(made, text) if signal.span]


def policy_with(**options: Any) -> Policy:
    step = {"name": "patterns", "filter": "patterns", "options": options}
    return Policy.model_validate({"name": "test", "steps": [step], "thresholds": {}})


class TestReadyMadeContract(FilterContract):
    filter = PatternsFilter(use=("links", "invites", "emails", "phones"))


class TestOwnContract(FilterContract):
    filter = PatternsFilter.model_validate(
        {"patterns": {"word": r"\pL+", "idiot": {"regex": "idiot", "folded": True}}}
    )


# Ready-made ones


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://example.com/a?b=c#d.", ["https://example.com/a?b=c#d"]),
        ("(http://example.com/a_(b)) ok", ["http://example.com/a_(b)"]),
        ("HTTPS://EXAMPLE.COM", ["HTTPS://EXAMPLE.COM"]),
        ("hxxp://evil.test/x, go", ["hxxp://evil.test/x"]),
        ("go to www.example.museum!", ["www.example.museum"]),
        ("example.com, foo.co.uk/x and sub.example.org:8080/y", None),
        ("xn--e1afmkfd.xn--p1ai", ["xn--e1afmkfd.xn--p1ai"]),
        ("смотри пример.рф.", ["пример.рф"]),
        ("bücher.de", ["bücher.de"]),
        ("请看example.com吧", ["example.com"]),
        ("youtu.be/abc and bit.ly/xyz", ["youtu.be/abc", "bit.ly/xyz"]),
        ("\N{GRINNING FACE} مرحبا example.com", ["example.com"]),
        ("http://[::1]/", []),
    ],
)
def test_links(text: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["example.com", "foo.co.uk/x", "sub.example.org:8080/y"]
    assert found(loaded(use=["links"]), text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Great.It was good.So we left.In time.",
        "e.g. this, i.e. that, etc. and a.m./p.m.",
        "node.js, main.py, lib.rs, README.md, setup.sh, archive.tar.gz",
        "console.info(x); self.app = 1; user.id; obj.name(); a.b.c",
        "version 1.2.3, 3.14, 10.0.0.1, $5.00",
        "john.doe@example.com and jane.co@example.org",
        "and/or his/her 24/7",
        "U.S.A. and Ph.D.",
        "C++ and C#",
        "...",
    ],
)
def test_what_is_no_link(text: str) -> None:
    assert found(loaded(use=["links"]), text) == []


@pytest.mark.parametrize(
    "invite",
    [
        "discord.gg/abcDEF",
        "https://discord.com/invite/abcDEF",
        "discordapp.com/invite/abc",
        "t.me/somechannel",
        "https://t.me/+AbC-dEf",
        "https://telegram.me/joinchat/AAAA",
        "tg://join?invite=AAAA",
        "https://chat.whatsapp.com/AbCdEf",
        "wa.me/15550100",
        "https://signal.group/#CjQK",
        "join.slack.com/t/team/shared_invite/zt-1",
    ],
)
def test_invites(invite: str) -> None:
    text = f"join us: {invite}, now"
    made = signals(loaded(use=["invites"]), text)
    assert [(s.category, s.score, text[slice(*s.span or ())]) for s in made] == [
        ("invite", 1.0, invite)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "discord.gg is down",
        "I use t.me a lot",
        "https://example.com/t.me",
        "start.me/abc",
        "not.me/",
    ],
)
def test_what_is_no_invite(text: str) -> None:
    assert found(loaded(use=["invites"]), text) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("write to a.b+c@example.co.uk.", ["a.b+c@example.co.uk"]),
        ("<mailto:x_y@example.org>", ["x_y@example.org"]),
        ("A@B.DE,c@d.fr", ["A@B.DE", "c@d.fr"]),
        ("post@bücher.de", ["post@bücher.de"]),
        ("@handle and @other.handle", []),
        ("icon@2x.png lodash@4.17.21 user@host", []),
        ("me @ work.com", []),
    ],
)
def test_emails(text: str, expected: list[str]) -> None:
    assert found(loaded(use=["emails"]), text) == expected


@pytest.mark.parametrize(
    "number",
    [
        "+49 171 1234567",
        "+442079460958",
        "+44 (0)20 7946 0958",
        "+1-800-555-0199",
        "+91 98765 43210",
        "0044 20 7946 0958",
        "(212) 555-0123",
        "212-555-0123",
        "212.555.0123",
        "1-800-555-0199",
        "212 555 0123",
        "020 7946 0958",
        "(020) 7946 0958",
        "07700 900123",
        "07700900123",
        "01 23 45 67 89",
        "06.12.34.56.78",
        "0171/1234567",
        "030 12345678",
        "8 (495) 123-45-67",
        "138 0013 8000",
        "(11) 91234-5678",
    ],
)
def test_phones(number: str) -> None:
    made = loaded(use=["phones"])
    for text in (number, f"call {number}.", f"\N{BLACK TELEPHONE} {number}, ok?", f"({number})"):
        assert found(made, text) == [number]


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-12, 12.05.2024, 05/12/2024, 01.02.2024 10:30, 2023/2024, 12:30:45",
        "2024-05-12T10:30:00+02:00 and 20240512103000",
        "$1,234,567.89, 1 000 000, €2.500,00, +10 000 000, 1.234.567.890",
        "version 2.10.3, 10.0.0.1, 192.168.100.100, 0.123456789",
        "order 5551234567, id 1715347200, 978-3-16-148410-0, 123-45-6789",
        "1234 5678 9012 3456 and 4111-1111-1111-1111",
        "550e8400-e29b-41d4-a716-446655440000",
        "C++11 and 1+1=2, 100-200, 50%, 3-2-1",
    ],
)
def test_what_is_no_phone_number(text: str) -> None:
    assert found(loaded(use=["phones"]), text) == []


def test_what_is_stepped_over_does_not_use_up_the_matches() -> None:
    text = "a@b.com " * 5000 + "example.com"
    assert found(loaded(use=["links"]), text) == ["example.com"]


# Own ones


def test_category_score_span_and_reason() -> None:
    made = loaded(
        patterns={
            "ticket": r"T-\d+",
            "shout": {"regex": "[A-Z]{4,}", "category": "c", "score": 0.5},
        }
    )
    assert signals(made, "T-12 and LOUD T-3") == [
        Signal("ticket", 1.0, (0, 4), 0, "pattern ticket"),
        Signal("ticket", 1.0, (14, 17), 0, "pattern ticket"),
        Signal("c", 0.5, (9, 13), 0, "pattern shout"),
    ]
    assert set(made.categories()) == {"ticket", "c"}


def test_the_group_named_match_is_what_is_reported() -> None:
    made = loaded(patterns={"pin": r"(?i)\bpin(?: is|:) *(?P<match>\d{4})\b"})
    text = "My PIN is 1234, not 5678; pin: 4321"
    assert [s.span for s in signals(made, text)] == [(10, 14), (31, 35)]


def test_one_match_may_be_the_context_of_the_next() -> None:
    assert found(loaded(patterns={"n": r",(?P<match>\d),"}), ",1,2,3,") == ["1", "2", "3"]


def test_folded_text_is_looked_at_on_request() -> None:
    plain = loaded(patterns={"x": "kill"})
    both = loaded(patterns={"x": {"regex": "(?i)kill", "folded": True}})
    text = "\N{GRINNING FACE} k i l l and KILL"
    assert [s.span for s in signals(plain, text)] == []
    assert [s.span for s in signals(both, text)] == [(2, 9), (14, 18)]


@given(st.text("ab1 \n🙂é中\N{COMBINING ACUTE ACCENT}ا", max_size=60))
def test_spans_are_those_of_an_independent_engine(text: str) -> None:
    for regex in (r"[ab]+", r"é|中b?", r"\d[^\d]", r"(?m)^a", r"[^a]{2}"):
        expected = [match.span() for match in re.finditer(regex, text)]
        made = loaded(patterns={"x": regex})
        assert [signal.span for signal in signals(made, text)] == expected[:MAX_MATCHES]


def test_the_number_of_matches_is_bounded() -> None:
    made = loaded(patterns={"x": "a", "none": r"(?P<match>b)|a"})
    assert len(signals(made, "a" * 1000)) == MAX_MATCHES
    assert len(signals(made, "a" * 1000 + "b")) == MAX_MATCHES


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "regex",
    [r"(a+)+$", r"(a|aa)+$", r"(?:a*)*b", r"(?:.*a){12}$", r"[ab]*c|a", r"(?:a?){200}a{200}"],
)
def test_no_pattern_can_hang(regex: str) -> None:
    made = loaded(patterns={"x": regex})
    assert len(signals(made, "a" * 1_000_000 + "!")) <= MAX_MATCHES


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a.",
        "1 ",
        "a@",
        "a.com",
        "a.com ",
        "a@b.de ",
        "https://",
        "https://a(",
        "(",
        "555-",
        "é",
        "+1",
        "2024-05-12 ",
        "t.me/",
        "a-",
    ],
)
def test_no_text_can_hang_the_ready_made_ones(unit: str) -> None:
    made = loaded(use=["links", "invites", "emails", "phones"])
    text = unit * (1_000_000 // len(unit))
    for signal in signals(made, text):
        assert signal.span is not None
        assert signal.span[1] <= len(text)


# What is refused

BAD: list[tuple[dict[str, Any], str]] = [
    ({}, "expected use or patterns, found neither"),
    ({"use": ["link"]}, "options.use[0]"),
    ({"patterns": {"x": "("}}, "options.patterns.x.regex: RE2 does not take this"),
    ({"patterns": {"x": "["}}, "missing ]"),
    ({"patterns": {"x": "(?=a)b"}}, "look-around, back-references"),
    ({"patterns": {"x": "(?<!a)b"}}, "look-around, back-references"),
    ({"patterns": {"x": r"(a)\1"}}, "look-around, back-references"),
    ({"patterns": {"x": r"\pL{900}"}}, "write it with fewer or smaller repetitions"),
    ({"patterns": {"x": "a{2000}"}}, "invalid repetition size"),
    ({"patterns": {"x": r"a\C"}}, r"\C matches a part of a character"),
    ({"patterns": {"x": "a" * 2001}}, "options.patterns.x.regex"),
    ({"patterns": {"x": ""}}, "options.patterns.x.regex"),
    ({"patterns": {"x y": "a"}}, "options.patterns.x y"),
    ({"patterns": {"x": {"regex": "a", "scor": 1}}}, "x.scor: there is no such option"),
    ({"patterns": {"x": {"regex": "a", "score": 2}}}, "x.score"),
    ({"patterns": {"x": {"regex": "a", "category": "a b"}}}, "x.category"),
    ({"patterns": {f"x{i}": "a" for i in range(MAX_PATTERNS + 1)}}, f"at most {MAX_PATTERNS}"),
]


@pytest.mark.parametrize(("options", "said"), BAD, ids=[said for _, said in BAD])
def test_bad_options_are_errors_that_name_the_place(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Moderator(policy_with(**options))
    assert "steps[0].options" in str(error.value)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "regex", ["a*", "a|", r"\b", "^", "$", "(?m)^", r"\B", r"\ba*", r"\b(?:[^,]+|)", r"a?\z", "()"]
)
def test_what_can_match_nothing_is_refused(regex: str) -> None:
    with pytest.raises(ConfigError, match="it matches the empty string"):
        Moderator(policy_with(patterns={"x": regex}))


PIECES = ["a", "a*", r"\b", r"\B", "^", "$", "(?m:^)", "|", "b?", "."]


@given(st.lists(st.sampled_from(PIECES), max_size=5), st.text("ab \n.é", max_size=12))
def test_what_is_not_refused_matches_something(pieces: list[str], text: str) -> None:
    try:
        made = loaded(patterns={"x": "".join(pieces) or "a"})
    except ValueError:  # refused
        return
    for signal in signals(made, text):
        assert signal.span is not None
        assert signal.span[0] < signal.span[1]
