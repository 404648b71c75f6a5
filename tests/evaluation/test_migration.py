"""Moving from another service: thresholds that flag as many, by hand-worked values."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("plotly")

from moderation.cli import main
from moderation.errors import ConfigError
from moderation.evaluation import open_system
from moderation.evaluation.migration import (
    Move,
    Old,
    as_yaml,
    categories_behind,
    migrate,
    read_scores,
    same_count,
)
from moderation.policy import Thresholds

POLICY = """
name: test
plugins: [testing]
steps:
  - name: static
    filter: static
    options:
      scores:
        one: {toxic: 0.11}
        two: {toxic: 0.22, insult: 0.9}
        three: {toxic: 0.33, threat: 0.5}
        four: {toxic: 0.44}
        five: {toxic: 0.55}
      default: {toxic: 0.0, insult: 0.0, threat: 0.0}
thresholds:
  toxic: {review: 0.5}
"""
TEXTS = ["one", "two", "three", "four", "five"]


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("count", "threshold"),
    [
        (2, 0.44),
        (1, 0.55),
        (5, 0.11),
        (4, 0.22),
        (0, None),
    ],
)
def test_as_many_reach_it(count: int, threshold: float | None) -> None:
    assert same_count(np.asarray([0.11, 0.22, 0.33, 0.44, 0.55]), count) == threshold


def test_where_two_come_as_near_the_lower_one() -> None:
    # One reaches .9, three reach .5: for two wanted, rather three.
    assert same_count(np.asarray([0.5, 0.5, 0.9, 0.1]), 2) == 0.5


@given(
    st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=40), st.integers(1, 40)
)
def test_no_other_threshold_comes_nearer(values: list[float], count: int) -> None:
    scores = np.asarray(values)
    threshold = same_count(scores, count)
    assert threshold is not None
    off = abs((scores >= threshold).sum() - count)
    assert off == min(abs((scores >= other).sum() - count) for other in {*values})


def test_by_hand(policy: Path, table: Callable[..., Path]) -> None:
    # The old service flags "one" and "five" from .7 on, a tie included.
    file = table(text=TEXTS, TOXICITY=[0.7, 0.1, 0.2, 0.69, 0.9])
    scores = read_scores(file, {"TOXICITY": "TOXICITY"})
    [move], gaps = migrate(open_system(policy), scores, [Old("TOXICITY", 0.7, "block")])
    assert not gaps
    assert move.categories == ("toxic",)
    assert move.was.tolist() == [True, False, False, False, True]
    # As many are flagged here from .44 on: "four" and "five".
    assert move.threshold == 0.44
    assert move.now.tolist() == [False, False, False, True, True]
    assert [TEXTS[place] for place in move.changed(to=False)] == ["one"]
    assert [TEXTS[place] for place in move.changed(to=True)] == ["four"]
    # Ranks 4 1 2 3 5 against 1 2 3 4 5: 1 - 6 * (9 + 1 + 1 + 1 + 0) / (5 * 24)
    assert math.isclose(move.rank_correlation(), 0.4)
    assert as_yaml([move]) == (
        "thresholds:\n"
        "  # TOXICITY 0.7 flagged 2 of 5 (40.00%); 0.44 flags 2: 1 no more, 1 newly, too few to "
        "rely on\n"
        "  toxic: {block: 0.44}\n"
    )


def test_rows_without_an_old_score_or_a_text_are_left_out(
    policy: Path, table: Callable[..., Path]
) -> None:
    file = table(text=[*TEXTS, " "], old=[None, None, 0.9, 0.1, 0.8, 0.9])
    scores = read_scores(file, {"toxic": "old"})
    assert scores.blank == 1
    [move], _ = migrate(open_system(policy), scores, [Old("toxic", 0.5)])
    assert move.rows.tolist() == [2, 3, 4]
    assert move.threshold == 0.44


def test_a_name_of_several_categories_flags_where_any_of_them_does(
    policy: Path, table: Callable[..., Path]
) -> None:
    file = table(text=TEXTS, harassment=[0.1, 0.9, 0.8, 0.1, 0.1])
    scores = read_scores(file, {"harassment": "harassment"})
    [move], _ = migrate(open_system(policy), scores, [Old("harassment", 0.5)])
    assert move.categories == ("insult", "threat")
    assert move.after.tolist() == [0.0, 0.9, 0.5, 0.0, 0.0]
    assert move.threshold == 0.5
    limits = yaml.safe_load(as_yaml([move]))["thresholds"]
    assert limits == {"insult": {"review": 0.5}, "threat": {"review": 0.5}}


def test_two_actions_of_one_category_stay_in_order() -> None:
    def move(name: str, action: str, threshold: float) -> Move:
        ones = np.ones(1)
        old = Old(name, 0.5, action)  # type: ignore[arg-type]
        return Move(old, ("sexual",), threshold, np.zeros(1, np.int64), ones, ones)

    moves = [move("sexual", "review", 0.75), move("SEXUALLY_EXPLICIT", "block", 0.5)]
    [limits] = yaml.safe_load(as_yaml(moves))["thresholds"].values()
    assert Thresholds.model_validate(limits) == Thresholds(review=0.5, block=0.5)


def test_a_threshold_that_flagged_nothing_says_nothing(
    policy: Path, table: Callable[..., Path]
) -> None:
    file = table(text=TEXTS, TOXICITY=[0.1] * 5)
    scores = read_scores(file, {"TOXICITY": "TOXICITY"})
    [move], _ = migrate(open_system(policy), scores, [Old("TOXICITY", 0.8)])
    assert move.threshold is None
    assert not move.now.any()
    assert math.isnan(move.rank_correlation())
    assert yaml.safe_load(as_yaml([move])) == {"thresholds": None}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("TOXICITI", "did you mean 'TOXICITY'"),
        ("PROFANITY", "no step reports obscene"),
        ("hate/threatening", "identity_attack and threat hold together"),
    ],
)
def test_names_that_cannot_be_moved(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        categories_behind(name, ("toxic", "threat", "identity_attack"))


def test_names_and_what_stands_behind_them() -> None:
    known = ("toxic", "sexual", "sexual_minors", "spam")
    assert categories_behind("TOXICITY_EXPERIMENTAL", known) == ("toxic",)
    assert categories_behind("sexual", known) == ("sexual", "sexual_minors")
    assert categories_behind("spam", known) == ("spam",)


@pytest.mark.parametrize(
    "text", ["TOXICITY", "TOXICITY=", "=.5", "TOXICITY=0", "TOXICITY=80", "a=x"]
)
def test_old_thresholds_that_are_none(text: str) -> None:
    with pytest.raises(ConfigError, match="expected NAME=SCORE"):
        Old.read(text, "review")


def test_a_column_without_a_score(policy: Path, table: Callable[..., Path]) -> None:
    file = table(text=TEXTS, old=[None] * 5)
    scores = read_scores(file, {"TOXICITY": "old"})
    with pytest.raises(ConfigError, match="every score is empty"):
        migrate(open_system(policy), scores, [Old("TOXICITY", 0.5)])


class TestCommand:
    @pytest.mark.parametrize("name", ["log.csv", "log.jsonl", "log.parquet"])
    def test_everything_that_it_writes(
        self, name: str, policy: Path, table: Callable[..., Path], tmp_path: Path
    ) -> None:
        hostile = "one <script>alert(1)</script>"
        file = table(name, comment=[hostile, *TEXTS[1:]], TOXICITY=[0.7, 0.1, 0.2, 0.69, 0.9])
        page, changed, output = (tmp_path / each for each in ("p.html", "c.jsonl", "t.yaml"))
        done = CliRunner().invoke(
            main,
            [
                *("migrate-thresholds", str(policy), str(file), "--text", "comment"),
                *("--review", "TOXICITY=.65", "--block", "TOXICITY=.7"),
                *("--report", str(page), "--changed", str(changed), "--output", str(output)),
            ],
        )
        assert done.exit_code == 0, done.output
        # Three reached .65 and two .7: here .33 and .44.
        limits = yaml.safe_load(output.read_text())["thresholds"]
        assert limits == {"toxic": {"review": 0.33, "block": 0.44}}
        assert output.read_text() in done.stdout
        rows = [json.loads(line) for line in changed.read_text().splitlines()]
        blocked = {(row["text"], row["flagged"]) for row in rows if row["action"] == "block"}
        assert blocked == {(hostile, "before"), ("four", "now")}
        html = page.read_text()
        assert hostile not in html
        assert "one &lt;script&gt;" in html
        assert "Plotly" in html
        for found in re.findall("<table>.*?</table>", html, re.DOTALL):
            rows_ = found.split("<tr>")[1:]
            assert len({len(re.findall("<t[dh][ >]", row)) for row in rows_}) == 1

    @pytest.mark.parametrize(
        ("options", "status", "told"),
        [
            ([], 2, "give an old threshold"),
            (["--review", "TOXICITY"], 1, "expected NAME=SCORE"),
            (["--review", "TOXICITY=.5"], 1, "no column TOXICITY"),
            (["--review", "toxic=.5", "--scores", "TOXICITY=old"], 2, "give its old threshold"),
            (["--review", "toxic=.5", "--scores", "toxic=worse"], 1, "from 0 to 1"),
            (["--review", "toxic=.5", "--report", "nowhere/p.html"], 1, "no folder nowhere"),
        ],
    )
    def test_faults(
        self,
        options: list[str],
        status: int,
        told: str,
        policy: Path,
        table: Callable[..., Path],
    ) -> None:
        file = table(text=TEXTS, old=[0.5] * 5, worse=[1.5] * 5)
        done = CliRunner().invoke(main, ["migrate-thresholds", str(policy), str(file), *options])
        assert done.exit_code == status
        assert told in done.output
