"""A run over a file by policies whose scores are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the extra ui is not installed")

from moderation import Action, Moderator, Policy
from moderation.errors import ConfigError, ContentError, FilterError
from moderation.ui.batch import SHELF, Held, Shelf
from moderation.ui.run import Run
from moderation.ui.table import Table

ALLOW, REVIEW, BLOCK = Action

TEXTS = ["fine", "a joke", "foul", "foul JOKE", ""]


def moderator(scores: dict[str, dict[str, float]], **options: Any) -> Moderator:
    said = {"scores": scores, "default": {"toxic": 0.0}, **options}
    spam = any("spam" in found for found in scores.values())
    more = {"spam": {"review": 0.5}} if spam else {}
    return Moderator(
        Policy.model_validate(
            {
                "name": "tried",
                "plugins": ["testing"],
                "steps": [{"name": "words", "filter": "static", "options": said}],
                "thresholds": {"toxic": {"review": 0.5, "block": 0.9}, **more},
            }
        )
    )


STRICT = {"foul": {"toxic": 0.95}, "joke": {"toxic": 0.6, "spam": 0.7}}
MILD = {"foul": {"toxic": 0.6}, "joke": {"toxic": 0.1, "spam": 0.0}}


def run(**sides: dict[str, dict[str, float]]) -> Run:
    table = Table({"text": TEXTS, "toxic": ["0", "0", "1", "", "0"]})
    found = Run(table, "text", {name: moderator(scores) for name, scores in sides.items()})
    assert [pace.done for pace in found.judge()][-1] == 5
    return found


def test_actions_are_those_of_the_engine() -> None:
    found = run(strict=STRICT)
    verdicts = moderator(STRICT).moderate_batch(TEXTS)
    assert found.sides[0].actions.tolist() == [verdict.action for verdict in verdicts]
    assert found.sides[0].actions.tolist() == [ALLOW, REVIEW, BLOCK, BLOCK, ALLOW]
    assert [found.found[0].of(row) for row in range(5)] == [dict(v.scores) for v in verdicts]
    assert found.sides[0].counts(5) == {ALLOW: 2, REVIEW: 1, BLOCK: 2}
    assert found.by_category() == {"toxic": (1, 2), "spam": (1, 0)}


def test_rows_are_filtered_sorted_and_searched() -> None:
    found = run(strict=STRICT)
    assert found.rows().tolist() == [0, 1, 2, 3, 4]
    assert found.rows(only="flagged").tolist() == [1, 2, 3]
    assert found.rows(only="block", search="joke").tolist() == [3]
    assert found.rows(search="JOKE ").tolist() == [1, 3]
    assert found.rows(order="severe").tolist()[:3] == [2, 3, 1]
    assert found.rows(order="spam").tolist()[:1] == [1]
    assert found.rows(only="degraded").tolist() == []
    for bad in ({"only": "all of it"}, {"order": "colour"}):
        with pytest.raises(ConfigError, match="expected one of"):
            found.rows(**bad)


def test_what_leads_to_an_action_is_not_a_score_that_never_acts() -> None:
    scores = {"foul": {"toxic": 0.6, "obscene": 0.99}, "fine": {"obscene": 0.3}}
    found = run(loud=scores)
    assert found.sides[0].actions.tolist() == [ALLOW, ALLOW, REVIEW, REVIEW, ALLOW]
    assert found.leading(2) == ("toxic", 0.6)
    assert found.leading(0) == ("obscene", 0.3)
    assert found.leading(4) == ("", 0.0)


def test_two_policies_are_compared() -> None:
    found = run(strict=STRICT, mild=MILD)
    # strict: allow review block block allow; mild: allow allow review review allow
    assert found.crossed().tolist() == [[2, 0, 0], [1, 0, 0], [0, 2, 0]]
    assert found.disagreement.round(2).tolist() == [0.0, 1.7, 1.35, 1.35, 0.0]
    assert found.rows(only="disagree", order="disagree").tolist() == [1, 2, 3]


def test_what_is_downloaded() -> None:
    columns = run(strict=STRICT).columns()
    assert list(columns) == [
        "text",
        "toxic",
        "strict.action",
        "strict.degraded",
        "strict.reasons",
        "strict.spam",
        "strict.toxic",
    ]
    assert columns["strict.action"] == ["allow", "review", "block", "block", "allow"]
    assert columns["strict.reasons"][2] == "toxic 0.95 reaches block at 0.9"
    assert columns["strict.toxic"] == [0.0, 0.6, 0.95, 0.95, None]
    assert columns["strict.spam"] == [None, 0.7, None, None, None]


def test_a_stopped_run_keeps_what_was_judged() -> None:
    table = Table({"text": ["foul"] * 100, "strict.action": ["mine"] * 100})
    found = Run(table, "text", {"strict": moderator(STRICT)})
    for pace in found.judge():
        found.stop = True
        assert pace.total == 100
    assert 0 < found.done < 100
    columns = found.columns()
    assert columns["strict.action"] == ["mine"] * found.done
    assert columns["strict.action_"] == ["block"] * found.done
    assert found.rows(only="block").tolist() == list(range(found.done))


def test_a_step_that_must_not_fail_ends_the_run() -> None:
    base = moderator(STRICT, fault="raise", fault_on="boom").policy
    steps = (base.steps[0].model_copy(update={"on_error": "raise"}),)
    failing = Moderator(base.model_copy(update={"steps": steps}))
    found = Run(Table({"text": ["foul"] * 40 + ["boom"] * 40}), "text", {"strict": failing})
    with pytest.raises(FilterError, match="step words: raised RuntimeError"):
        list(found.judge())
    assert found.done == 32
    assert found.columns()["strict.action"] == ["block"] * 32


def test_labels_are_kept_by_category() -> None:
    labels = run(strict=STRICT).labels
    assert list(labels) == ["toxic"]
    np.testing.assert_array_equal(labels["toxic"], [0, 0, 1, np.nan, 0])


def test_a_column_that_is_not_there() -> None:
    with pytest.raises(ContentError, match="it has text"):
        Run(Table({"text": ["a"]}), "comment", {"strict": moderator(STRICT)})


def test_what_visits_hold_has_a_bound_and_goes_when_they_end() -> None:
    import gradio as gr

    shelf, runs = Shelf(), [run(strict=STRICT) for _ in range(SHELF + 1)]
    visits = [gr.Request(session_hash=str(number)) for number in range(SHELF + 1)]
    everything = [Held(each.table, "a.csv", each) for each in runs]
    for held, visit in zip(everything, visits, strict=True):
        shelf.put(held, visit)
    assert [held.gone for held in everything] == [True] + [False] * SHELF
    assert everything[0].table is None
    assert runs[0].stop

    shelf.clear(visits[1])
    assert everything[1] == Held(None, "a.csv", None, gone=True)
    shelf.clear(visits[1])
