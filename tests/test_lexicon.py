"""The lexicon of the folding: its data, and the reading of single words."""

import pytest

from moderation.lexicon import class_of, lexicon, read, segment


def test_the_data_agree_with_themselves() -> None:
    words = lexicon()
    assert words.strong <= words.listed.keys() <= words.rank.keys()
    assert set(words.aliases.values()) <= words.listed.keys()
    assert words.aliases.keys().isdisjoint(words.known)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words.known)
    # A word that no rule looks at must be one that no rule would change.
    assert all(read(word) is None for word in words.clean)


def test_ordinary_words_are_ranked_by_frequency() -> None:
    rank = lexicon().rank
    assert rank["the"] < rank["house"] < rank["obscene"]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("fuck", None),
        ("house", None),
        ("xyzzy", None),
        ("sh1t", "shit"),
        ("f**k", "fuck"),
        ("fuuuck", "fuck"),
        ("fck", "fuck"),
        ("killyourself", "kill yourself"),
        ("h3llo", "hello"),
        ("4kills", None),
        ("class4", None),
        ("niger", None),
        ("nlgger", "nigger"),
        ("splc", None),
        ("aaa", None),
        ("xviii", None),
        ("a11y", None),
        ("direct3d", None),
        ("x" * 10_000, None),
        ("", None),
    ],
)
def test_read(word: str, said: str | None) -> None:
    assert read(word) == said


@pytest.mark.parametrize(
    ("letters", "words"),
    [
        ("", []),
        ("killyourself", ["kill", "yourself"]),
        ("ihopeyoudie", ["i", "hope", "you", "die"]),
        ("class", ["class"]),
        ("ashits", ["a", "shits"]),
        ("xq", ["x", "q"]),
    ],
)
def test_segment(letters: str, words: list[str]) -> None:
    assert segment(letters) == words


def test_spellings_of_a_word_share_a_class() -> None:
    assert class_of("fuck") == class_of("ffuuvck") == class_of("fu(k")
    assert class_of("kill") == class_of("k1ll") == class_of("k!!|")
    assert class_of("fuck") != class_of("duck")


def test_every_slip_is_read_as_a_frequent_word_or_left_alone() -> None:
    words = lexicon()
    found = {slip: read(slip) for slip in words.slips}
    assert found["musilms"] == "muslims"
    assert found["haet"] is None  # heat is what somebody more likely meant
    said = [word for word in found.values() if word is not None]
    assert set(" ".join(said).split()) <= words.known
    assert len(said) > len(found) / 2
