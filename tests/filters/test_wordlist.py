"""The word list: what it finds, where, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.content import Content
from moderation.engine import Moderator
from moderation.errors import ConfigError
from moderation.filters.wordlist import LISTS, MAX_SIGNALS, WordlistFilter
from moderation.policy import Policy
from moderation.testing import FilterContract
from moderation.verdict import Signal


def loaded(**options: Any) -> WordlistFilter:
    made = WordlistFilter.model_validate(options)
    made.load()
    return made


def signals(made: WordlistFilter, text: str) -> list[Signal]:
    [found] = made.check_batch([Content.of(text)])
    assert all(isinstance(one, Signal) for one in found)
    return found  # type: ignore[return-value]


def found(made: WordlistFilter, text: str) -> list[str]:
    return [text[slice(*signal.span)] for signal in signals(made, text) if signal.span]


def policy_with(**options: Any) -> Policy:
    step = {"name": "words", "filter": "wordlist", "options": options}
    return Policy.model_validate({"name": "test", "steps": [step], "thresholds": {}})


@pytest.fixture(scope="module")
def english() -> WordlistFilter:
    return loaded(lists=["english"])


class TestContract(FilterContract):
    filter = WordlistFilter(lists=("english",))  # type: ignore[arg-type]


# Entries and spans


def test_category_score_span_and_reason_of_an_entry() -> None:
    made = loaded(words={"mild": ["darn"]}, entries={"heck": {"category": "odd", "score": 0.25}})
    assert made.check_batch([Content.of("Well, DARN the heck")]) == [
        [
            Signal("mild", 1.0, (6, 10), 0, "words: darn"),
            Signal("odd", 0.25, (15, 19), 0, "entries: heck"),
        ]
    ]


def test_defaults_apply_where_an_entry_says_nothing() -> None:
    made = loaded(entries={"darn": {}}, category="mild", score=0.3)
    assert signals(made, "darn") == [Signal("mild", 0.3, (0, 4), 0, "entries: darn")]


@pytest.mark.parametrize(
    ("entry", "text", "expected"),
    [
        ("cock", "a peacock, a cocktail and Hitchcock", []),
        ("cock", "cock-eyed (cock) cock's cock_ cock", ["cock"] * 5),
        ("cock", "cock2 2cock", []),
        ("dam*", "dams damage a dam; madam", ["dams", "damage", "dam"]),
        ("*dam", "madam, dam, damage", ["madam", "dam"]),
        ("*dam*", "madams tram", ["madams"]),
        ("go away", "go  away, go\n\taway, go-away, go away\N{NO-BREAK SPACE}", None),
        ("go-away", "go away", ["go away"]),
        ("don't", "don’t do what I don't", ["don’t", "don't"]),
        ("naïve", "NAÏVE but not naïves", ["NAÏVE"]),
        ("naïve", "nai\N{COMBINING DIAERESIS}ve", ["nai\N{COMBINING DIAERESIS}ve"]),
        ("\N{PILE OF POO}", "so\N{PILE OF POO}so", ["\N{PILE OF POO}"]),
        ("*操*", "我操你", ["我操你"]),
        ("дурак", "ты Дурак, дураки", ["Дурак"]),
    ],
)
def test_what_an_entry_matches(entry: str, text: str, expected: list[str] | None) -> None:
    if expected is None:
        expected = ["go  away", "go\n\taway", "go-away", "go away"]
    assert found(loaded(words={"x": [entry]}), text) == expected


def test_a_letter_that_grows_in_lower_case_moves_no_span() -> None:
    assert found(loaded(words={"x": ["darn"]}), "İİİ darn") == ["darn"]


def test_matches_may_overlap() -> None:
    made = loaded(words={"x": ["big bad", "bad wolf", "bad"]})
    assert found(made, "a big bad wolf") == ["big bad", "bad", "bad wolf"]


def test_two_entries_for_one_word_report_the_higher_score_once() -> None:
    made = loaded(entries={"dam*": {"score": 0.2}, "damage": {"score": 0.6}})
    assert [(s.score, s.span) for s in signals(made, "damage")] == [(0.6, (0, 6))]


def test_very_many_matches_are_bounded_and_the_highest_scores_stay() -> None:
    made = loaded(entries={"darn": {"score": 0.2}, "heck": {"score": 0.9}})
    scores = [signal.score for signal in signals(made, "darn " * 3000 + "heck")]
    assert len(scores) == MAX_SIGNALS
    assert scores[-1] == 0.9


# Disguise


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("oh f.u.c.k it", (3, 10)),
        ("oh fυck it", (3, 7)),
        ("f\N{ZERO WIDTH SPACE}u\N{ZERO WIDTH SPACE}ck", (0, 6)),
        ("\N{SMILING FACE WITH SUNGLASSES} f u c k", (2, 9)),
    ],
)
def test_a_disguised_word_is_found_where_it_was_sent(text: str, span: tuple[int, int]) -> None:
    made = loaded(words={"obscene": ["fuck"]})
    assert [signal.span for signal in signals(made, text)] == [span]


def test_folding_hides_no_word_that_stands_there_plainly() -> None:
    # Folding joins what is spelled out; the entry is the spelled-out form itself.
    made = loaded(words={"x": ["f.u.c.k"]})
    assert found(made, "so f.u.c.k you") == ["f.u.c.k"]


def test_a_listed_variant_is_rated_by_the_entry_that_it_disguises() -> None:
    made = loaded(entries={"fuck": {"score": 0.9}, "phuck": {"score": 0.2}})
    assert [s.score for s in signals(made, "fuck")] == [0.9]


# What is allowed


@pytest.mark.parametrize(
    ("allow", "text", "expected"),
    [
        ("spotted dick", "spotted dick, you dick", [(18, 22)]),
        ("spotted dick", "Spotted\n DICK", []),
        ("spotted dick", "unspotted dick", [(10, 14)]),
        ("dick van dyke", "my dick van dyke", []),
        ("dick*", "dick", []),
        ("so dick", "so dick dick", [(8, 12)]),
    ],
)
def test_an_allowed_phrase_cancels_what_it_overlaps(
    allow: str, text: str, expected: list[tuple[int, int]]
) -> None:
    made = loaded(words={"x": ["dick", "my dick"]}, allow=[allow])
    assert [signal.span for signal in signals(made, text)] == expected


def test_what_only_folding_reads_as_allowed_clears_nothing_plain() -> None:
    made = loaded(words={"x": ["dick"]}, allow=["moby dick"])
    assert found(made, "m.o.b.y dick") == ["dick"]
    assert found(made, "f.u.c.k moby dick") == []


def test_the_policy_outranks_the_lists_that_it_names() -> None:
    made = loaded(lists=["english"], entries={"damn": {"score": 0.05}}, allow=["shit"])
    assert [(s.score, s.reason) for s in signals(made, "damn shit")] == [(0.05, "entries: damn")]


# Properties

LETTERS = st.text("abc", min_size=1, max_size=3)
PHRASES = st.lists(LETTERS, min_size=1, max_size=2).map(" ".join)
TEXTS = st.text("abc .,-\n", max_size=40)


@given(st.sets(PHRASES, min_size=1, max_size=5), TEXTS)
def test_finds_what_a_naive_search_finds(phrases: set[str], text: str) -> None:
    made = loaded(words={"x": sorted(phrases)})
    if Content.of(text).parts[0].folded.changed:
        return
    expected = set()
    for begin in range(len(text)):
        for end in range(begin + 1, len(text) + 1):
            piece = text[begin:end]
            whole = not text[begin - 1 : begin].isalnum() and not text[end : end + 1].isalnum()
            bare = piece == piece.strip(" -\n")
            if whole and bare and " ".join(piece.replace("-", " ").split()) in phrases:
                expected.add((begin, end))
    assert {signal.span for signal in signals(made, text)} == expected


@given(st.sets(PHRASES, min_size=1, max_size=5), st.sets(PHRASES, max_size=3), TEXTS)
def test_an_allowed_phrase_never_adds_a_match(
    phrases: set[str], allow: set[str], text: str
) -> None:
    without = signals(loaded(words={"x": sorted(phrases)}), text)
    allowed = signals(loaded(words={"x": sorted(phrases)}, allow=sorted(allow - phrases)), text)
    assert set(allowed) <= set(without)


ENTRIES = ["a", "a b", "ab", "b c", "bbb*", "*ccc", "abc*", "*abc*"]


@given(st.permutations(ENTRIES), TEXTS)
def test_the_order_of_entries_does_not_matter(shuffled: list[str], text: str) -> None:
    made, other = loaded(words={"x": ENTRIES}), loaded(words={"x": shuffled})
    assert signals(made, text) == signals(other, text)
    assert made.fingerprint() == other.fingerprint()


@given(st.text(max_size=60))
def test_spans_lie_inside_any_text(text: str) -> None:
    made = loaded(words={"x": ["a", "i", "s", "aaa*"]})
    for signal in signals(made, text):
        assert signal.span is not None
        assert 0 <= signal.span[0] < signal.span[1] <= len(text)


# The shipped list


@pytest.mark.parametrize(
    "text",
    [
        "Scunthorpe, Penistone, Essex and Sussex; Arsenal; Lightwater",
        "a cocktail for the peacock and the cockatoo",
        "assassin assess class classic pass passion bass mass grass embarrass asset assume",
        "Charles Dickens wrote; Dick Van Dyke sang; Moby Dick swam; Philip K. Dick dreamt",
        "grape drape therapist scrape",
        "analysis analyst banal canal annals",
        "shitake mushrooms and a shih tzu; Matsushita",
        "a niggardly snigger; niggling",
        "spotted dick with custard",
        "a chink in the armour, a chink in his armor, chinks of light",
        "use the garden hoe; it is a tough row to hoe",
        "blue tits and a great tit at the feeder, tit for tat",
        "pussy willow and pussy riot; octopussy",
        "she graduated magna cum laude; document, circumstance, cucumber",
        "honky-tonk piano, spick and span, fag end",
        "a maine coon, a raccoon and a tycoon in a cocoon",
        "he'll, we'll, she'll and I'll be there; hello shell",
        "the title of this article, constitution, Titus",
        "heavy rape-seed oil? no: a rapeseed field, draped",
        "rugby hooker; John Lee Hooker",
        "please don't kill yourself, call somebody",
        "a scrap of paper, scrape, crape",
        "Hancock, Babcock, Woodcock, Alcock and Hitchcock",
        "button, butter, butte, rebuttal; sextant, sextet; unisex",
    ],
)
def test_innocent_words_pass(english: WordlistFilter, text: str) -> None:
    assert found(english, text) == []


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("this is fucking great", "obscene"),
        ("what a load of bullshit", "obscene"),
        ("you are an asshole", "obscene"),
        ("oh sh1t", "obscene"),
        ("they called me a faggot", "identity_attack"),
        ("just kys", "self_harm"),
        ("go kill yourself", "self_harm"),
        ("i'll kill you", "threat"),
        ("a blowjob", "sexual"),
    ],
)
def test_profanity_is_reported_as_what_it_is(
    english: WordlistFilter, text: str, category: str
) -> None:
    assert {signal.category for signal in signals(english, text)} == {category}


def test_the_shipped_list_speaks_of_words_only(english: WordlistFilter) -> None:
    categories = {"obscene", "sexual", "identity_attack", "self_harm", "threat"}
    assert set(english.categories()) == categories
    text = (LISTS / "english.txt").read_text(encoding="utf-8")
    slurs = "\n".join(
        line
        for line in text.split("[identity_attack 0.3]")[1].split("[self_harm")[0].splitlines()
        if line and not line.startswith("#")
    )
    made = signals(english, slurs)
    assert len(made) > 100
    # No slur by itself may reach a blocking threshold: it may be quoted, or reclaimed.
    assert max(s.score for s in made if s.category == "identity_attack") <= 0.3


def test_every_entry_of_the_shipped_list_finds_itself(english: WordlistFilter) -> None:
    section, missed = "", []
    for line in (LISTS / "english.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]").split()[0]
        elif line and not line.startswith("#") and section != "allow":
            phrase = line.partition("=")[0].strip()
            if phrase not in found(english, phrase):
                missed.append(phrase)
    assert missed == []


def test_the_shipped_list_says_where_it_comes_from() -> None:
    head = (LISTS / "english.txt").read_text(encoding="utf-8").split("\n[")[0]
    assert "Source:" in head
    assert "Licence: Apache-2.0" in head


# Files


def test_a_list_file(tmp_path: Path) -> None:
    text = (
        "\N{BYTE ORDER MARK}# ours\r\ndarn\r\n\n[mild 0.2]\nheck\nblast = 0.4\n\n[allow]\nby heck\n"
    )
    (tmp_path / "mine.txt").write_text(text, encoding="utf-8")
    made = loaded(lists=[str(tmp_path / "mine.txt")])
    assert [(s.category, s.score, s.reason) for s in signals(made, "darn heck blast by heck")] == [
        ("obscene", 1.0, "mine: darn"),
        ("mild", 0.2, "mine: heck"),
        ("mild", 0.4, "mine: blast"),
    ]


def test_a_path_starts_at_the_policy_file(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("darn\n")
    (tmp_path / "policy.yaml").write_text(
        "name: p\nsteps: [{name: w, filter: wordlist, options: {lists: [mine.txt]}}]\n"
        "thresholds: {obscene: {review: 0.5}}\n"
    )
    verdict = Moderator(tmp_path / "policy.yaml").moderate("oh darn")
    assert verdict.flagged
    assert verdict.masked() == "oh d***"


BAD: list[tuple[bytes, str]] = [
    (b"", "expected words or phrases, found none"),
    (b"# nothing\n\n[obscene]\n", "expected words or phrases, found none"),
    (b"darn\nhe\xffck\n", "line 2: is not UTF-8"),
    (b"darn\n\nDARN\n", "line 3: 'DARN' stands in line 1 already, as obscene 1"),
    (b"darn\n[mild 0.1]\ndarn\n", "line 3: 'darn' stands in line 1 already, as obscene 1"),
    (b"darn\n[allow]\ndarn\n", "line 3: 'darn' stands in line 1 already"),
    (b"go away\ngo-away", "line 2: 'go-away' stands in line 1"),
    (b"[obscene 2]\ndarn", "line 1: expected a score above 0 and up to 1, found '2'"),
    (b"[obscene nan]\ndarn", "line 1: expected a score above 0 and up to 1, found 'nan'"),
    (b"[obscene", "line 1: expected a section such as"),
    (b"[allow 0.5]\ndarn", "line 1: expected [allow] without a score"),
    (b"[allow]\ndarn = 0.5", "line 2: an allowed phrase has no score"),
    (b"darn =", "line 1: expected a score above 0 and up to 1, found 'nothing'"),
    (b"= 0.5", "line 1: expected a word or phrase"),
    (b"d*rn", "line 1: 'd*rn': a * stands once, at the beginning or the end"),
    (b"da*", "line 1: 'da*': expected at least three letters beside a *"),
    (b"***", "line 1: expected a word or phrase"),
    (b"?!", "line 1: '?!' holds no letter, digit or symbol"),
    (b"da\x00rn", "line 1: 'da\\x00rn' holds a control or invisible character"),
    (b"x" * 201, "line 1: expected at most 200 characters, found 201"),
]


@pytest.mark.parametrize(("data", "said"), BAD, ids=[said for _, said in BAD])
def test_a_bad_list_is_an_error_when_the_policy_is_checked(
    tmp_path: Path, data: bytes, said: str
) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as error:
        Moderator(policy_with(lists=[str(path)]))
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_a_missing_list_says_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no word list named 'englsh' .* did you mean 'english'"):
        Moderator(policy_with(lists=["englsh"]))
    with pytest.raises(ConfigError, match="expected a word list, found no file there"):
        Moderator(policy_with(lists=[str(tmp_path / "none.txt")]))


def test_lists_that_contradict_each_other(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("darn = 0.5\nheck\n")
    (tmp_path / "two.txt").write_text("heck\ndarn = 0.6\n")
    lists = [str(tmp_path / "one.txt"), str(tmp_path / "two.txt")]
    with pytest.raises(ConfigError, match=r"two\.txt, line 2: 'darn' is obscene 0.6 here and"):
        Moderator(policy_with(lists=lists))
    settled = loaded(lists=lists, entries={"darn": {"score": 0.1}})
    assert [signal.score for signal in signals(settled, "heck, darn")] == [1.0, 0.1]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "expected lists, words or entries"),
        ({"allow": ["x"]}, "expected lists, words or entries"),
        ({"words": {"x": ["a", "A"]}}, "words.x: 'A' stands in words.x already"),
        ({"words": {"x": ["a"], "y": ["a"]}}, "words.y: 'a' stands in words.x already"),
        ({"words": {"x": [" "]}}, "words.x: expected a word or phrase"),
        ({"words": {"two words": ["a"]}}, "two words"),
        ({"entries": {"a": {"score": 0}}}, "entries.a.score"),
        ({"entries": {"a": {"scores": 1}}}, "entries.a.scores: there is no such option"),
        ({"words": {"x": ["a"]}, "score": 1.5}, "score"),
    ],
)
def test_bad_options_are_errors_that_name_the_place(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        Moderator(policy_with(**options))
    assert "steps[0].options" in str(error.value)
    assert said in str(error.value)


def test_the_fingerprint_is_of_the_entries_and_not_of_the_file_name(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("darn\nheck\n")
    (tmp_path / "two.txt").write_text("# the same\nheck\ndarn\n")
    one, two = (loaded(lists=[str(tmp_path / name)]) for name in ("one.txt", "two.txt"))
    assert one.fingerprint() == two.fingerprint()
    (tmp_path / "two.txt").write_text("heck\ndarn = 0.5\n")
    assert loaded(lists=[str(tmp_path / "two.txt")]).fingerprint() != one.fingerprint()


def test_a_match_at_every_letter_of_an_endless_word_is_one_signal() -> None:
    text = "hahe" * 25_000
    made = loaded(words={"x": ["*hah*", "*hehah*"]})
    assert [signal.span for signal in signals(made, text)] == [(0, len(text))]
