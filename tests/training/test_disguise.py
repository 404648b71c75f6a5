"""Disguises for training: what they do to a text, and that folding undoes them."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.lexicon import lexicon
from moderation.normalize import fold
from moderation.training.disguise import KINDS, SLIPS, Disguised, disguise, disguised

_STRONG = sorted(word for word in lexicon().strong if len(word) > 3)


def _all(text: str, kind: str, tries: int = 300) -> set[str]:
    """The forms that a kind gives a text of one word."""
    rng = random.Random(0)
    return {disguised(text, rng, kinds=[kind]).text for _ in range(tries)}


def test_the_same_generator_gives_the_same_disguise() -> None:
    text = "you are such an asshole and a bitch, they said"
    first = [disguise(text, random.Random(seed)) for seed in range(20)]
    assert first == [disguise(text, random.Random(seed)) for seed in range(20)]
    assert len(set(first)) > 10


@pytest.mark.parametrize(
    ("kind", "word", "forms"),
    [
        ("leet", "kids", {"k1ds", "k!ds", "k1d5", "kid$", "k!d$"}),
        ("mask", "fuck", {"f*ck", "f**k", "f#ck", "f-ck", "f_ck", "f%ck"}),
        ("spelled", "fuck", {"f u c k", "f  u  c  k"}),
        ("punctuated", "fuck", {"f.u.c.k", "f-u-c-k", "f_u_c_k", "f*u*c*k", "f . u . c . k"}),
        ("cut", "fuck", {"f uck", "fu ck", "fuc k", "fu.ck", "fu-ck"}),
        ("repeated", "fuck", {"fuuuck", "fuckkk", "fuuuuuuuck"}),
        ("hidden", "jews", {"j\u200bews", "je\u00adws", "j\u200be\u200bw\u200bs"}),
        ("homoglyphs", "porn", {"pоrn", "рorn", "роrn", "pοrn"}),
        ("styled", "whip", {"ｗｈｉｐ", "𝔀𝓱𝓲𝓹", "ⓦⓗⓘⓟ", "𝑤\u210e𝑖𝑝"}),
        ("accented", "buts", {"búts", "büts"}),
        ("mixed case", "kiss", {"KiSs", "kISS", "kiss"}),
        ("mistyped", "fuck", {"fukc", "ufck", "fuk", "ffuck", "fuuck"}),
    ],
)
def test_a_kind_writes_the_word_so(kind: str, word: str, forms: set[str]) -> None:
    assert forms <= _all(word, kind)


def test_marks_are_stacked_on_every_letter() -> None:
    for form in _all("fuck", "stacked", tries=20):
        assert re.fullmatch("(?:[fuck][\u0300-\u036f]+){4}", form)


def test_joined_words_lose_the_space_between_them() -> None:
    assert _all("fuck you all", "joined") == {"fuckyou all"}
    assert _all("you fuck", "joined") == {"you fuck"}


def test_every_kind_is_drawn_and_no_other() -> None:
    rng = random.Random(1)
    assert {name for name in KINDS if _all("fucking", name, tries=5) == {"fucking"}} == {"joined"}
    with pytest.raises(KeyError):
        disguised("fuck", rng, kinds=["no such kind"])


def test_listed_words_are_disguised_before_others() -> None:
    text = "many ordinary people called somebody a faggot yesterday evening"
    at = text.index("faggot")
    for seed in range(50):
        assert disguised(text, random.Random(seed)).words == ((at, at + len("faggot")),)


def test_content_words_are_disguised_where_none_is_listed() -> None:
    text = "the people of this village are my friends"
    seen = set()
    for seed in range(200):
        found = disguised(text, random.Random(seed))
        assert found.words
        seen |= {text[begin:end] for begin, end in found.words}
    assert seen == {"people", "this", "village", "friends"}


def test_slips_fall_on_any_word() -> None:
    text = "many people called somebody a faggot"
    seen = set()
    for seed in range(200):
        found = disguised(text, random.Random(seed), anywhere=True, kinds=SLIPS)
        seen |= {text[begin:end] for begin, end in found.words}
    assert seen == {"many", "people", "called", "somebody", "faggot"}


@pytest.mark.parametrize(("strength", "least", "most"), [(0.0, 1, 1), (1.0, 4, 4)])
def test_strength_is_the_share_of_words(strength: float, least: int, most: int) -> None:
    text = "kill the bitch, you fucking nazi"
    for seed in range(50):
        found = disguised(text, random.Random(seed), strength=strength)
        assert least <= len(found.words) <= most


@pytest.mark.parametrize(
    "text", ["", " ", "123 !?", "see https://fuck.example/shit", "@fuck #shit a"]
)
def test_text_without_words_stays(text: str) -> None:
    assert disguised(text, random.Random(0)) == Disguised(
        text, text, (), tuple(range(len(text) + 1))
    )


def test_spans_are_carried_over() -> None:
    text = "ha you bitch and more"
    for seed in range(50):
        found = disguised(text, random.Random(seed), kinds=["spelled"])
        assert found.words == ((7, 12),)
        begin, end = found.span(7, 12)
        assert found.text[begin:end].split() == list("bitch")
        assert found.text[slice(*found.span(0, 6))] == "ha you"
        assert found.text[slice(*found.span(13, 21))] == "and more"
        assert found.text[slice(*found.span(3, 21))] == found.text[3:]


def test_spans_over_a_lost_space() -> None:
    found = disguised("so fuck you all", random.Random(0), kinds=["joined"])
    assert found.text == "so fuckyou all"
    assert found.span(3, 7) == (3, 7)
    assert found.span(8, 11) == (7, 10)
    assert found.span(3, 11) == (3, 10)
    assert found.span(12, 15) == (11, 14)


@pytest.mark.parametrize(("begin", "end"), [(-1, 2), (0, 5), (3, 2)])
def test_span_out_of_range_is_an_error(begin: int, end: int) -> None:
    found = disguised("fuck", random.Random(0))
    with pytest.raises(ValueError, match="expected 0 <= begin <= end <= 4") as error:
        found.span(begin, end)
    assert "fuck" not in str(error.value)


@given(
    st.text()
    | st.lists(st.sampled_from(["you", "fuck", "bitches", "İstanbul", "ok", "-"])).map(" ".join),
    st.integers(0, 1000),
    st.floats(0, 1),
)
@settings(max_examples=500, deadline=None)
def test_disguising_is_total_and_keeps_what_it_does_not_choose(
    text: str, seed: int, strength: float
) -> None:
    found = disguised(text, random.Random(seed), strength=strength)
    assert found.source == text
    places = [found.span(i, i)[0] for i in range(len(text) + 1)]
    assert places == sorted(places)
    assert places[0] == 0
    assert places[-1] == len(found.text)
    at = 0
    for begin, end in (*found.words, (len(text), len(text))):
        kept = found.text[slice(*found.span(at, begin))]
        assert text[at:begin].endswith(kept)
        assert text[at:begin].strip() == kept.strip()
        at = end


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.undone])
def test_folding_undoes_the_disguise_of_most_strong_words(kind: str) -> None:
    rng = random.Random(0)
    undone = tried = 0
    for word in _STRONG:
        text = f"they said you are {word} so there"
        at = text.index(word, len("they said you are "))
        found = disguised(text, rng, kinds=[kind])
        if (at, at + len(word)) not in found.words:
            continue
        tried += 1
        folded = fold(found.text)
        if word in folded.text.split():
            undone += 1
            back = folded.text.index(word, len("they said you are"))
            assert folded.span(back, back + len(word)) == found.span(at, at + len(word))
    assert tried > 200
    assert undone / tried > {"leet": 0.8, "mask": 0.7, "cut": 0.7}.get(kind, 0.97)
