from __future__ import annotations

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from moderation.errors import ConfigError
from moderation.evaluation.labelled import Labelled
from moderation.evaluation.thresholds import Goal, as_yaml, choose, shortest


def labelled(targets: list[list[float]]) -> Labelled:
    size = len(targets)
    return Labelled(
        "data.csv",
        "multi_label",
        tuple("abc"[: len(targets[0])]),
        [f"text {row}" for row in range(size)],
        np.asarray(targets, np.float32),
        np.arange(1, size + 1),
        {},
        [None] * size,
    )


@st.composite
def scored(draw: st.DrawFn) -> tuple[Labelled, np.ndarray]:
    size = draw(st.integers(2, 40))
    truth = draw(st.lists(st.sampled_from([0.0, 1.0, np.nan]), min_size=size, max_size=size))
    kind = draw(st.sampled_from(["coarse", "fine", "float32"]))
    number = st.integers(0, 10).map(lambda n: n / 10) if kind == "coarse" else st.floats(0, 1)
    scores = np.asarray(draw(st.lists(number, min_size=size, max_size=size)))
    if kind == "float32":
        scores = scores.astype(np.float32).astype(np.float64)
    return labelled([[0.0], [1.0], *([value] for value in truth[2:])]), scores[:, None]


@settings(max_examples=200, deadline=None)
@given(scored(), st.sampled_from(["precision", "recall", "flag rate"]), st.floats(0.01, 1))
def test_a_threshold_reaches_what_it_promises_and_none_does_better(
    data: tuple[Labelled, np.ndarray], measure: str, wanted: float
) -> None:
    rows, scores = data
    [choice] = choose(rows, scores, Goal(measure, wanted))
    known = ~np.isnan(rows.targets[:, 0])
    truth, found = rows.targets[known, 0] >= 0.5, scores[known, 0]

    def reached(threshold: float) -> tuple[float, float, float]:
        said = found >= threshold
        hits = (said & truth).sum()
        return (hits / said.sum() if said.any() else 0.0), hits / truth.sum(), said.mean()

    def good(threshold: float) -> bool:
        precision, recall, flagged = reached(threshold)
        if measure == "precision":
            return bool(precision >= wanted and recall > 0)
        return bool(recall >= wanted if measure == "recall" else 0 < flagged <= wanted)

    possible = [score for score in np.unique(found) if good(score)]
    if choice.threshold is None:
        assert not possible
        return
    assert good(choice.threshold)
    precision, recall, flagged = reached(choice.threshold)
    assert choice.precision.value == pytest.approx(precision)
    assert choice.recall.value == pytest.approx(recall)
    assert choice.flagged.value == pytest.approx(flagged)
    # The most found for a precision or a flag rate, the least flagged for a recall.
    if measure == "recall":
        assert flagged == pytest.approx(min(reached(score)[2] for score in possible))
    else:
        assert recall == pytest.approx(max(reached(score)[1] for score in possible))


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_shortest_decimal_decides_as_the_score_does(one: float, two: float) -> None:
    below, score = sorted((one, two))
    if below == score:
        return
    found = shortest(below, score)
    assert below < found <= score
    assert len(repr(found)) <= max(len(repr(score)), 4)


def test_short_where_there_is_room() -> None:
    assert shortest(0.31234567, 0.41234567) == 0.41
    assert shortest(0.40123, 0.40456) == 0.404


def test_lines_are_thresholds_of_a_policy() -> None:
    rows = labelled([[1, 0], [0, 1], [1, 0], [0, 0]])
    scores = np.array([[0.9, 0.9], [0.2, 0.5], [0.8, 0.7], [0.1, 0.1]])
    goal = Goal("precision", 0.9)
    text = as_yaml(choose(rows, scores, goal), goal, "block")
    assert yaml.safe_load(text) == {"thresholds": {"a": {"block": 0.8}}}
    assert "# b: no threshold reaches precision 0.9; precision 0.333" in text
    assert "recall 1.000 (0.342 to 1.000)" in text
    assert "2 positives of 4, too few to rely on" in text


def test_what_cannot_be_chosen_on() -> None:
    scores = np.array([[0.1], [0.2]])
    with pytest.raises(ConfigError, match="label a: all 2 known values are negative"):
        choose(labelled([[0], [0]]), scores, Goal("recall", 0.9))
    for value in (0, 1.5, -1, float("nan")):
        with pytest.raises(ConfigError, match="above 0 and up to 1"):
            choose(labelled([[0], [1]]), scores, Goal("recall", value))
