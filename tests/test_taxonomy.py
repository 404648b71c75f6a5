"""The table of categories: complete, consistent, and translated as the written rules say."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import taxonomy
from moderation.filters.classifier import WEIGHTS
from moderation.models import read_card

ROOT = Path(__file__).parent.parent
CATEGORIES = sorted({category for row in taxonomy.TABLE for category in row.categories})
SHIPPED = ["toxic", "severe_toxic", "obscene", "threat", "insult", "identity_attack", "sexual"]
SHIPPED += ["self_harm", "violence"]

scores = st.dictionaries(st.sampled_from(CATEGORIES), st.floats(0, 1))


def test_every_category_of_the_shipped_model_has_a_meaning() -> None:
    assert set(read_card(WEIGHTS / "toxicity-lstm").labels) <= set(CATEGORIES)


@pytest.mark.parametrize(
    ("system", "known"),
    [
        ("openai", taxonomy.OPENAI),
        ("perspective", taxonomy.PERSPECTIVE),
        ("llama_guard", taxonomy.LLAMA_GUARD),
    ],
)
def test_every_outer_name_has_a_row_and_every_row_a_known_name(
    system: taxonomy.System, known: tuple[str, ...]
) -> None:
    assert {name for row in taxonomy.TABLE for name in row.names(system)} == set(known)


def test_the_thirteen_names_of_openai() -> None:
    # As openai-python's types spell them.
    assert set(taxonomy.OPENAI) == {
        *("harassment", "harassment/threatening", "hate", "hate/threatening"),
        *("illicit", "illicit/violent"),
        *("self-harm", "self-harm/intent", "self-harm/instructions"),
        *("sexual", "sexual/minors", "violence", "violence/graphic"),
    }
    assert len(taxonomy.OPENAI) == 13
    assert set(taxonomy.OPENAI) > taxonomy.OPENAI_IMAGE
    assert "sexual/minors" not in taxonomy.OPENAI_IMAGE


def test_no_two_rows_are_about_the_same_categories() -> None:
    assert max(Counter(frozenset(row.categories) for row in taxonomy.TABLE).values()) == 1


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        # A threat to a group is both, so it can be no surer than the less sure of the two.
        ({"identity_attack": 0.9, "threat": 0.4}, {"hate/threatening": 0.4, "hate": 0.9}),
        ({"identity_attack": 0.2, "threat": 0.8}, {"hate/threatening": 0.2, "harassment": 0.8}),
        ({"insult": 0.7, "threat": 0.1}, {"harassment": 0.7, "harassment/threatening": 0.1}),
        ({"self_harm": 0.3}, {"self-harm": 0.3}),
        ({"toxic": 1.0, "obscene": 1.0}, {"harassment": 0.0, "hate": 0.0}),
    ],
)
def test_openai_scores_by_hand(said: dict[str, float], expected: dict[str, float]) -> None:
    found = taxonomy.translate("openai", said, SHIPPED)
    assert {name: found[name] for name in expected} == expected


def test_a_name_with_nothing_behind_it_has_no_score() -> None:
    found = taxonomy.translate("openai", {"violence": 0.5}, SHIPPED)
    nothing = {"illicit", "illicit/violent", "self-harm/intent", "self-harm/instructions"}
    nothing |= {"sexual/minors", "violence/graphic"}
    assert set(taxonomy.OPENAI) - set(found) == nothing
    assert set(found) == taxonomy.standing("openai", SHIPPED)
    # Half of a rule is not enough to stand on.
    assert "hate/threatening" not in taxonomy.standing("openai", ["threat"])


def test_perspective_is_served_by_the_shipped_categories() -> None:
    said = {"toxic": 0.9, "obscene": 0.2, "sexual": 0.1}
    found = taxonomy.translate("perspective", said, SHIPPED)
    assert set(found) == set(taxonomy.PERSPECTIVE)
    assert (found["TOXICITY"], found["PROFANITY"], found["THREAT"]) == (0.9, 0.2, 0.0)


def test_guards_inwards() -> None:
    assert taxonomy.categories_of("llama_guard", "S10") == ("identity_attack",)
    assert taxonomy.categories_of("llama_guard", "S1") == ("violence", "illicit_violent")
    assert taxonomy.categories_of("qwen3_guard", "Jailbreak") == ()
    # What "hate/threatening" says of identity and of threat is not known apart.
    assert taxonomy.categories_of("openai", "hate/threatening") == ()
    for name in taxonomy.LLAMA_GUARD:
        assert taxonomy.categories_of("llama_guard", name)
    rows = {name for row in taxonomy.TABLE for name in row.qwen3_guard}
    assert rows <= set(taxonomy.QWEN3_GUARD)


@given(scores, st.sets(st.sampled_from(CATEGORIES)))
def test_a_special_case_never_scores_above_its_general_one(
    said: dict[str, float], reported: set[str]
) -> None:
    reported |= set(said)
    found = taxonomy.translate("openai", said, reported)
    assert set(found) == taxonomy.standing("openai", reported)
    for name, score in found.items():
        general = name.partition("/")[0]
        assert score <= found[general]


@given(scores, st.sampled_from(CATEGORIES), st.floats(0, 1))
def test_a_higher_score_never_lowers_a_translated_one(
    said: dict[str, float], category: str, score: float
) -> None:
    more = {**said, category: max(score, said.get(category, 0.0))}
    before = taxonomy.translate("openai", said, CATEGORIES)
    after = taxonomy.translate("openai", more, CATEGORIES)
    assert all(after[name] >= before[name] for name in before)


def test_the_page_is_what_the_table_says() -> None:
    """docs/taxonomy.md; to renew it: python docs/make_taxonomy.py."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_taxonomy.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs" / "taxonomy.md").read_text(encoding="utf-8")
