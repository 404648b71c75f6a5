"""The expander of the contrast sets, on small sets of its own and on the shipped ones."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from moderation.training.contrast import (
    LABELS,
    ContrastError,
    ContrastRow,
    contrast_rows,
    part,
    vary,
)

VOCABULARY = """
groups:
  - {axis: craft, plural: tinkers, singular: a tinker, adjective: tinkering, aliases: [tinkerers]}
  - {axis: craft, plural: oarsmen, singular: an oarsman, adjective: rowing, place: the lake}
  - {axis: taste, plural: tea drinkers, singular: a tea drinker, adjective: tea-drinking}
slurs:
  - {plural: tinkies, singular: a tinky, target: tinkers, reclaimed: false}
  - {plural: leafs, singular: a leaf, target: tea drinkers, reclaimed: true}
lists:
  colour: [red, umber, "{shade} green"]
  shade: [dark, light]
"""


def expand(
    folder: Path, sets: str, vocabulary: str = VOCABULARY, seed: int = 0
) -> list[ContrastRow]:
    (folder / "vocabulary.yaml").write_text(vocabulary, encoding="utf-8")
    (folder / "sets.yaml").write_text(sets, encoding="utf-8")
    return contrast_rows(seed, folder)


def plain(rows: list[ContrastRow]) -> set[str]:
    """The texts as far as surface variation leaves them: letters only, lower case."""
    return {"".join(c for c in row.text.casefold() if c.isalpha() or c == " ") for row in rows}


@pytest.fixture(scope="module")
def shipped() -> list[ContrastRow]:
    return contrast_rows()


def test_a_sentence_names_one_group_throughout(tmp_path: Path) -> None:
    rows = expand(
        tmp_path,
        """
- kind: a.b
  labels: {toxic: 0}
  draws: 40
  sentences: ["{group.singular} is {group.adjective} | {other.singular} is {other.adjective}"]
""",
    )
    adjectives = {"tinker": "tinkering", "oarsman": "rowing", "tea drinker": "tea-drinking"}
    assert len(rows) > 3
    for row in rows:
        pair = [half.lower() for half in row.text.split("|")]
        found = [
            noun
            for half in pair
            for noun in adjectives
            if f"{noun} is" in half.replace("@user ", "")
        ]
        assert len(found) == 2
        assert found[0] != found[1]
        for noun, half in zip(found, pair, strict=True):
            assert adjectives[noun] in half


def test_a_slur_brings_the_group_that_it_attacks(tmp_path: Path) -> None:
    rows = expand(
        tmp_path,
        """
- kind: a.b
  labels: {toxic: 1}
  draws: 30
  sentences: ["{slur.noun} means {group.noun}"]
""",
    )
    texts = plain(rows)
    assert any("tinky means tinker" in text for text in texts)
    assert any("leaf means tea drinker" in text for text in texts)
    assert not any("tinky means tea drinker" in text or "oarsman" in text for text in texts)


def test_axes_and_reclaimed_narrow_the_draw(tmp_path: Path) -> None:
    rows = expand(
        tmp_path,
        """
- kind: a.b
  labels: {toxic: 0}
  axes: [taste]
  draws: 20
  sentences: ["we are {group.plural}"]
- kind: a.c
  labels: {toxic: 0}
  reclaimed: true
  draws: 20
  sentences: ["hello {slur.noun}"]
- kind: a.d
  labels: {toxic: 0}
  draws: 20
  sentences: ["from {group.place} come {group.plural}"]
""",
    )
    by_kind = defaultdict(set)
    for row in rows:
        by_kind[row.kind] |= plain([row])
    assert all("tea drinkers" in text for text in by_kind["a.b"])
    assert all("leaf" in text for text in by_kind["a.c"])
    assert all("from the lake come oarsmen" in text for text in by_kind["a.d"])


def test_grammar_gives_the_count_of_distinct_texts_and_all_of_them_if_asked(tmp_path: Path) -> None:
    rows = expand(
        tmp_path,
        """
- rules:
    thing: [door, gate]
- kind: a.b
  labels: {toxic: 0}
  grammar: {start: ["the {thing} is {colour}"]}
  count: 8
""",
    )
    stems = {text.removeprefix("user ") for text in plain(rows)}
    assert len(rows) == 8
    for thing in ("door", "gate"):
        for colour in ("red", "umber", "dark green", "light green"):
            assert any(stem.startswith(f"the {thing} is {colour}") for stem in stems)


def test_local_rules_come_before_those_of_file_and_vocabulary(tmp_path: Path) -> None:
    rows = expand(
        tmp_path,
        """
- rules: {colour: [mauve]}
- kind: a.b
  labels: {toxic: 0}
  grammar: {start: ["one {colour}"], colour: [ochre]}
  count: 1
- kind: a.c
  labels: {toxic: 0}
  sentences: ["two {colour}"]
""",
    )
    assert ["ochre" in row.text.lower() for row in rows] == [True, False]
    assert "mauve" in rows[1].text.lower()


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("a umber door. a old one", "An umber door. An old one"),
        ("he is a European and a one-off", "He is a European and a one-off"),
        ("wait... what ?  yes", "Wait... what? Yes"),
        ("a unicorn, a uncle, a user", "A unicorn, an uncle, a user"),
        ('she said "a egg".', 'She said "an egg".'),
    ],
)
def test_articles_spaces_and_capitals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentence: str, expected: str
) -> None:
    monkeypatch.setattr("moderation.training.contrast.VARIED_SHARE", 0.0)
    sets = [{"kind": "a.b", "labels": {"toxic": 0}, "sentences": [sentence]}]
    rows = expand(tmp_path, yaml.safe_dump(sets))
    assert [row.text for row in rows] == [expected]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (
            "- {kind: a.b, labels: {toxic: 0}, sentences: ['{nothing} here']}",
            "unknown rule 'nothing'",
        ),
        ("- {kind: a.b, labels: {rude: 1}, sentences: ['x']}", "unknown label 'rude'"),
        ("- {kind: a.b, labels: {toxic: 2}, sentences: ['x']}", "from 0 to 1"),
        ("- {kind: a.b, labels: {toxic: yes}, sentences: ['x']}", "from 0 to 1"),
        ("- {kind: a.b, labels: {}, sentences: ['x']}", "`labels`"),
        ("- {kind: ab, labels: {toxic: 1}, sentences: ['x']}", "dotted name"),
        ("- {kind: a.b, labels: {toxic: 1}}", "neither"),
        ("- {kind: a.b, labels: {toxic: 1}, sentence: ['x']}", "unknown key 'sentence'"),
        ("- {kind: a.b, labels: {toxic: 1}, sentences: [1]}", "list of strings"),
        ("- {kind: a.b, labels: {toxic: 1}, axes: [moon], sentences: ['x']}", "craft, taste"),
        ("- {kind: a.b, labels: {toxic: 1}, sentences: ['{group.plural']}", "not closed"),
        ("- {kind: a.b, labels: {toxic: 1}, sentences: ['{group.hat}']}", "no group"),
        ("- {kind: a.b, labels: {toxic: 1}, sentences: ['{thing.plural}']}", "have fields"),
        ("- {kind: a.b, labels: {toxic: 1}, grammar: {start: ['x']}}", "`count`"),
        ("- {kind: a.b, labels: {toxic: 1}, sentences: ['x'], count: 3}", "`count`"),
        (
            "- {kind: a.b, labels: {toxic: 1}, grammar: {start: ['{colour}']}, count: 5}",
            "no more than 4 distinct",
        ),
        (
            "- {kind: a.b, labels: {toxic: 1}, grammar: {start: ['{a}'], a: ['{b}'], b: ['{a}']},"
            " count: 1}",
            "refers to itself",
        ),
        (
            "- {kind: a.b, labels: {toxic: 1}, grammar: {start: ['{a}'], a: [x, x]}, count: 2}",
            "no more than 1 distinct",
        ),
        (
            "- {kind: a.b, labels: {toxic: 1}, grammar: {start: ['{a} {a}'], a: [x, y], no: [z]},"
            " count: 1}",
            "rule name False",
        ),
        ("- just text", "expected a mapping"),
        ("kind: a.b", "expected a list"),
        ("- [", "not readable as YAML"),
    ],
)
def test_a_bad_set_is_an_error_that_names_file_and_fault(
    tmp_path: Path, sets: str, message: str
) -> None:
    with pytest.raises(ContrastError, match=message) as caught:
        expand(tmp_path, sets)
    assert "sets.yaml" in str(caught.value)


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        ("groups: []", "groups, slurs and lists"),
        ("{groups: [{axis: a, plural: b}], slurs: [], lists: {}}", "lacks singular"),
        (
            "{groups: [], slurs: [{plural: a, singular: b, target: c, reclaimed: no}], lists: {}}",
            "target 'c' is not a group",
        ),
    ],
)
def test_a_bad_vocabulary_is_an_error(tmp_path: Path, vocabulary: str, message: str) -> None:
    with pytest.raises(ContrastError, match=message):
        expand(tmp_path, "[]", vocabulary)


def test_a_folder_without_vocabulary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ContrastError, match="not found"):
        contrast_rows(0, tmp_path)


def test_a_seed_fixes_the_rows_and_another_seed_draws_others(tmp_path: Path) -> None:
    sets = """
- kind: a.b
  labels: {toxic: 0}
  grammar: {start: ["{x} {x} {x} {x} {x} {x}"], x: [one, two, three, four, five, six]}
  count: 200
"""
    first, again = expand(tmp_path, sets, seed=1), expand(tmp_path, sets, seed=1)
    assert first == again
    assert plain(first) != plain(expand(tmp_path, sets, seed=2))


@given(st.text(), st.integers())
def test_variation_adds_at_the_edges_and_never_empties(text: str, seed: int) -> None:
    words = f"You said it: {text}."
    varied = vary(words, random.Random(seed))
    assert varied == vary(words, random.Random(seed))
    assert "said it" in varied.lower()


def test_shipped_parts_share_no_template_and_about_an_eighth_is_validation(
    shipped: list[ContrastRow],
) -> None:
    parts = defaultdict(set)
    for row in shipped:
        parts[row.template].add(row.part)
        assert row.part == part(row.template)
    assert all(len(each) == 1 for each in parts.values())
    share = sum(each == {"validation"} for each in parts.values()) / len(parts)
    assert 0.09 < share < 0.15


def test_shipped_rows_are_distinct_and_complete(shipped: list[ContrastRow]) -> None:
    assert len({row.text for row in shipped}) > 0.999 * len(shipped)
    for row in shipped:
        assert row.text.strip() == row.text != ""
        assert not set("{}") & set(row.text)
        assert set(row.labels) <= set(LABELS)


def test_shipped_hate_and_its_twins_are_labelled_for_what_they_are(
    shipped: list[ContrastRow],
) -> None:
    hateful = [row for row in shipped if row.kind.startswith("hate.")]
    harmless = [row for row in shipped if row.kind.startswith("identity.")]
    assert all(row.labels["identity_attack"] == row.labels["toxic"] == 1 for row in hateful)
    assert all(row.labels["identity_attack"] == row.labels["toxic"] == 0 for row in harmless)
    assert all(
        row.labels["identity_attack"] == 0 for row in shipped if row.kind.startswith("target.")
    )
    assert len(hateful) > 10_000 < len(harmless)
    for rows in (hateful, harmless):
        sentences = {row.template for row in rows}
        assert len(sentences) > 500


def test_shipped_vocabulary_covers_the_protected_traits() -> None:
    import moderation.training.contrast as contrast

    path = Path(contrast.__file__).parent / "vocabulary.yaml"
    vocabulary = yaml.safe_load(path.read_text(encoding="utf-8"))
    axes = {group["axis"] for group in vocabulary["groups"]}
    assert len({group["plural"] for group in vocabulary["groups"]}) >= 80
    assert {
        "religion", "race", "ethnicity", "nationality", "gender", "orientation", "trans",
        "disability", "age", "migration", "caste", "class", "body", "indigenous", "region",
    } <= axes  # fmt: skip
