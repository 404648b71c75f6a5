"""The band of a cascade: what is worked out is what the engine does."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("plotly")

from sklearn.metrics import roc_auc_score

from moderation import Moderator, Policy, Signal, TextFilter, hookimpl
from moderation.cli import main
from moderation.errors import ArtifactError, ConfigError
from moderation.evaluation import Cascade, Goals, choose_band
from moderation.evaluation.band import Area
from moderation.evaluation.labelled import Labelled

Table = Callable[..., Path]
CATEGORIES = ("toxic", "threat", "spam")
ACTIONS = ("allow", "review", "block")


class Told(TextFilter):
    """Says of a text what the text tells `key` to say: ``fast:toxic=0.5 slow:raise``."""

    name: ClassVar[str] = "told"
    key: str
    knows: tuple[str, ...] = CATEGORIES

    def categories(self) -> Iterable[str]:
        return self.knows

    def check(self, text: str) -> Iterator[Signal]:
        for word in text.split():
            key, _, order = word.partition(":")
            if key != self.key:
                continue
            if order == "raise":
                raise ValueError("told to")
            category, _, score = order.partition("=")
            yield Signal(category, float(score))


class Plugin:
    @hookimpl
    def moderation_filters(self) -> list[type[TextFilter]]:
        return [Told]


def step(name: str, knows: Iterable[str] = CATEGORIES, **rest: Any) -> dict[str, Any]:
    return {"name": name, "filter": "told", "options": {"key": name, "knows": list(knows)}, **rest}


def policy(*steps: dict[str, Any], **rest: Any) -> Policy:
    thresholds = {"toxic": {"review": 0.5, "block": 0.8}, "spam": {"block": 0.6}}
    return Policy.model_validate({"name": "test", "steps": steps, "thresholds": thresholds} | rest)


# Few values, so that ends of bands and thresholds are met.
SCORE = st.sampled_from([0.0, 0.05, 0.2, 0.35, 0.5, 0.6, 0.65, 0.8, 0.95, 1.0])


@st.composite
def text(draw: st.DrawFn, knows: dict[str, list[str]]) -> str:
    words = []
    for name, categories in knows.items():
        if draw(st.integers(0, 9)) == 0:
            words.append(f"{name}:raise")
            continue
        for category in categories:
            # A category may be said twice, or not at all.
            words += [f"{name}:{category}={draw(SCORE)}" for _ in range(draw(st.integers(0, 2)))]
    return " ".join(draw(st.permutations(words))) or "nothing"


@st.composite
def cascades(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[str]]:
    some = st.lists(st.sampled_from(CATEGORIES), min_size=1, unique=True)
    knows = {name: draw(some) for name in ("words", "fast", "spare", "slow", "stand-in", "after")}
    if not set(knows["fast"]) & set(knows["slow"]):
        knows["slow"] = [*knows["slow"], knows["fast"][0]]
    fast, slow = step("fast", knows["fast"]), step("slow", knows["slow"], refines="fast")
    if draw(st.booleans()):
        fast["fallback"] = step("spare", knows["spare"])
    if draw(st.booleans()):
        slow["fallback"] = step("stand-in", knows["stand-in"])
    chain = [fast, slow]
    if draw(st.booleans()):
        chain.insert(draw(st.integers(0, 1)), step("words", knows["words"]))
    if draw(st.booleans()):
        chain.append(step("after", knows["after"]))
    return chain, draw(st.lists(text(knows), min_size=1, max_size=12))


ENDS = st.tuples(SCORE, SCORE).map(sorted)


@settings(max_examples=80, deadline=None)
@given(cascades(), ENDS, st.dictionaries(st.sampled_from(CATEGORIES), ENDS))
def test_what_is_worked_out_is_what_the_engine_does(
    case: tuple[list[dict[str, Any]], list[str]],
    ends: list[float],
    own: dict[str, list[float]],
) -> None:
    steps, texts = case
    reported = [set(each["options"]["knows"]) for each in steps if each["name"] in ("fast", "slow")]
    own = {name: band for name, band in own.items() if name in reported[0] & reported[1]}
    # A threshold for a category that nobody reports would be an error.
    known = {name for each in steps for name in each["options"]["knows"]}
    known |= {
        n
        for each in steps
        for n in each.get("fallback", {"options": {"knows": ()}})["options"]["knows"]
    }
    limits = {
        name: limit
        for name, limit in {"toxic": {"review": 0.5, "block": 0.8}, "spam": {"block": 0.6}}.items()
        if name in known
    }
    cascade = Cascade(policy(*steps, thresholds=limits), [Plugin()])
    places = {cascade.labels.index(name): (low, high) for name, (low, high) in own.items()}
    seen, scores = cascade.read(texts).at((ends[0], ends[1]), places)

    bands = {"between": ends, "bands": own}
    banded = [each | (bands if "refines" in each else {}) for each in steps]
    moderator = Moderator(policy(*banded, thresholds=limits), plugins=[Plugin()])
    verdicts = moderator.moderate_batch(texts, exhaustive=True)
    for row, verdict in enumerate(verdicts):
        ran = {trace.step for trace in verdict.trace if trace.status != "skipped"}
        assert seen[row] == ("slow" in ran)
        found = {
            label: score
            for label, score in zip(cascade.labels, scores[row], strict=True)
            if not np.isnan(score)
        }
        assert found == verdict.scores


def rows(targets: Any, labels: tuple[str, ...] = ("toxic",)) -> Labelled:
    targets = np.asarray(targets, np.float32).reshape(-1, len(labels))
    size = len(targets)
    texts = [f"text {row}" for row in range(size)]
    return Labelled(
        "data.csv", "multi_label", labels, texts, targets, np.arange(1, size + 1), {}, [None] * size
    )


def labelled(texts: list[str], toxic: list[int]) -> Labelled:
    found = rows(toxic)
    return Labelled(**(vars(found) | {"texts": texts}))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), SCORE, SCORE), min_size=4, max_size=40).filter(
        lambda found: {truth for truth, _, _ in found} == {True, False}
    )
)
def test_areas_are_those_of_scikit_learn(found: list[tuple[bool, float, float]]) -> None:
    truth, one, two = (np.asarray(column) for column in zip(*found, strict=True))
    areas = Area.of(truth, one), Area.of(truth, two)
    for area, scores in zip(areas, (one, two), strict=True):
        assert area.value == pytest.approx(roc_auc_score(truth, scores))
        assert area.negatives.mean() == pytest.approx(area.value)
    if 1 < truth.sum() < len(truth) - 1:
        assert areas[0].loss(areas[1]).value == pytest.approx(areas[0].value - areas[1].value)


def test_the_interval_of_a_loss_is_that_of_the_bootstrap() -> None:
    rng = np.random.default_rng(3)
    truth = np.repeat([True, False], [150, 350])
    one, two = (truth * 1.2 + rng.normal(size=500) for _ in range(2))
    found = Area.of(truth, one).loss(Area.of(truth, two))
    drawn = []
    for _ in range(600):
        rows = rng.integers(0, 500, 500)
        drawn.append(roc_auc_score(truth[rows], one[rows]) - roc_auc_score(truth[rows], two[rows]))
    low, high = np.percentile(drawn, [2.5, 97.5])
    assert found.low == pytest.approx(low, abs=0.008)
    assert found.high == pytest.approx(high, abs=0.008)


# A cascade whose best band can be worked out by hand. The fast step is sure of 300 harmless texts
# (.01) and of 40 harmful ones (.97), and does not know of 60 of either (.3); the slow one knows.
SURE = [("fast:toxic=0.01 slow:toxic=0.02", 0)] * 300 + [("fast:toxic=0.97 slow:toxic=0.9", 1)] * 40
DOUBTED = [("fast:toxic=0.3 slow:toxic=0.03", 0), ("fast:toxic=0.3 slow:toxic=0.85", 1)] * 60
TWO = (step("fast", ["toxic"]), step("slow", ["toxic"], refines="fast"))
ONLY = {"thresholds": {"toxic": {"review": 0.5, "block": 0.8}}}


def hand_worked(**options: Any) -> Any:
    texts, truth = zip(*SURE, *DOUBTED, strict=True)
    cascade = Cascade(policy(*TWO, **ONLY), [Plugin()])
    return choose_band(cascade, labelled(list(texts), list(truth)), **options)


def test_the_cheapest_band_that_reaches_the_goals() -> None:
    choice = hand_worked(goals=Goals(loss=0.003, share=0.3))
    best = choice.chosen
    assert best["between"][0] <= 0.3 <= best["between"][1] < 0.97
    assert best["between"][0] > 0.01
    assert best["read"] == pytest.approx(120 / 460)
    assert (best["blocked less"], best["worst loss"], best["same action"]) == (0, 0.0, 1.0)
    label = best["labels"]["toxic"]
    assert label["AUC"] == 1.0
    assert (label["block"]["hits"], label["block"]["of always"]) == (100, 100)
    assert label["block"]["recall"][0] == label["block"]["precision"][0] == 1.0
    never = choice.numbers["never"]
    assert never["read"] == 0
    # Of 100 * 360 pairs 60 * 60 are tied.
    assert never["labels"]["toxic"]["AUC"] == pytest.approx(1 - 60 * 60 / 2 / (100 * 360))
    assert never["blocked less"] == 60
    assert choice.numbers["always"]["read"] == 1
    assert yaml.safe_load(choice.as_yaml()) == {"refines": "fast", "between": best["between"]}


def test_the_band_is_narrower_for_what_does_not_need_it() -> None:
    """Of `toxic` .3 is a doubt, which the slow step ends; of `spam` both say the same."""
    texts, toxic = zip(*SURE, *DOUBTED, strict=True)
    low = [f"{text} fast:spam=0.32 slow:spam=0.32" for text in texts[:200]]
    high = [f"{text} fast:spam=0.38 slow:spam=0.38" for text in texts[200:]]
    targets = np.stack([np.asarray(toxic), np.repeat([0, 1], [200, 260])], axis=1)
    found = rows(targets, ("toxic", "spam"))
    found = Labelled(**(vars(found) | {"texts": low + high}))
    both = ["toxic", "spam"]
    chain = (step("fast", both), step("slow", both, refines="fast", bands={"spam": [0.0, 0.0]}))
    cascade = Cascade(policy(*chain), [Plugin()])

    choice = choose_band(cascade, found, goals=Goals(share=1.0))

    best = choice.chosen
    assert best["between"][0] <= 0.3
    assert best["bands"]["spam"][0] > 0.38
    assert best["read"] == pytest.approx(120 / 460)
    assert best["worst loss"] == 0
    assert best["read"] < next(row for row in choice.numbers["bands"] if row["within"])["read"]
    assert choice.numbers["now"]["bands"] == {"spam": [0.0, 0.0]}
    told = yaml.safe_load(choice.as_yaml())
    assert told == {key: best[key] for key in ("between", "bands")} | {"refines": "fast"}


def test_the_same_action_may_be_a_goal() -> None:
    # Ten harmless texts that the fast step would let pass and the slow one would have reviewed.
    texts = [text for text, _ in (*SURE, *DOUBTED)] + ["fast:toxic=0.15 slow:toxic=0.6"] * 10
    truth = [label for _, label in (*SURE, *DOUBTED)] + [0] * 10
    cascade = Cascade(policy(*TWO, **ONLY), [Plugin()])
    for same, reached in ((0.0, 460 / 470), (1.0, 1.0)):
        goals = Goals(loss=0.01, share=0.4, same=same)
        best = choose_band(cascade, labelled(texts, truth), goals=goals).chosen
        assert best["same action"] == pytest.approx(reached)
        assert (best["between"][0] <= 0.15) is bool(same)
    none = choose_band(cascade, labelled(texts, truth), goals=Goals(share=0.0, same=1.0))
    assert none.chosen is None
    assert "gives 1 the same action and blocks as many" in none.as_yaml()


def test_where_no_band_reaches_the_goals_the_closest_is_told() -> None:
    choice = hand_worked(goals=Goals(share=0.2))
    assert choice.chosen is None
    assert choice.nearest["read"] == 0
    assert choice.nearest["blocked less"] == 60
    told = choice.as_yaml()
    assert told.startswith("# no band reads at most 0.2 of the traffic")
    assert yaml.safe_load(told)["between"] == choice.nearest["between"]


def test_the_cost_is_that_of_the_traffic() -> None:
    calm, doubted = "fast:toxic=0.01", "fast:toxic=0.3"
    choice = hand_worked(traffic=[calm] * 9 + [doubted], goals=Goals(share=0.2))
    assert choice.chosen["read"] == 0.1
    assert choice.chosen["read of the data"] == pytest.approx(120 / 460)
    # 100 of 460 rows are positive, of which 60 are doubted; of the other 360 also 60.
    weighted = hand_worked(positives=0.05, goals=Goals(share=0.2)).chosen
    assert weighted["read"] == pytest.approx(0.05 * 60 / 100 + 0.95 * 60 / 360)


def test_rare_labels_are_told_and_do_not_decide() -> None:
    texts, truth = zip(*SURE, *DOUBTED, strict=True)
    rare = np.zeros(460)
    rare[:12] = 1  # the slow step gives them a lower score than the fast one
    both = np.stack([np.asarray(truth), rare], axis=1)
    found = Labelled(**(vars(rows(both, ("toxic", "spam"))) | {"texts": list(texts)}))
    spam = [
        f"{words} fast:spam=0.{7 if row < 12 else 1} slow:spam=0.3"
        for row, words in enumerate(texts)
    ]
    found = Labelled(**(vars(found) | {"texts": spam}))
    chain = (step("fast", ["toxic", "spam"]), step("slow", ["toxic", "spam"], refines="fast"))
    choice = choose_band(Cascade(policy(*chain), [Plugin()]), found, goals=Goals(share=1.0))
    about = choice.numbers["labels"]["spam"]
    assert (about["positives"], about["binding"]) == (12, False)
    assert choice.numbers["never"]["labels"]["spam"]["loss"][0] < 0
    assert {row["worst label"] for row in choice.numbers["bands"]} == {"toxic"}


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((step("fast"),), "expected one step that refines another, found none"),
        (
            (step("a"), step("b", refines="a"), step("c", refines="b")),
            "expected one step that refines another, found b, c",
        ),
    ],
)
def test_a_policy_has_one_cascade(steps: tuple[dict[str, Any], ...], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Cascade(policy(*steps), [Plugin()])


def test_both_steps_have_to_be_there() -> None:
    missing = {"name": "slow", "filter": "classifier", "options": {"model": "no-such-model"}}
    with pytest.raises(ArtifactError, match=r"step slow cannot be loaded: .*no-such-model"):
        Cascade(policy(step("fast"), missing | {"refines": "fast"}), [Plugin()])


def test_too_few_positives_to_choose_by() -> None:
    cascade = Cascade(policy(*TWO, **ONLY), [Plugin()])
    few = labelled(["fast:toxic=0.5"] * 100, [1] * 49 + [0] * 51)
    with pytest.raises(ConfigError, match="no label has 50 positives and 50 negatives"):
        choose_band(cascade, few)
    for goals, name in ((Goals(loss=-1), "loss"), (Goals(share=1.5), "share")):
        with pytest.raises(ConfigError, match=f"{name}: expected a number from 0 to 1"):
            choose_band(cascade, few, goals=goals)


# On the command line

POLICY = """
name: cascade
plugins: [testing]
steps:
  - name: fast
    filter: static
    options: {scores: {awful: {rude: 0.97}, odd: {rude: 0.3}}, default: {rude: 0.01}, spans: false}
  - name: slow
    filter: static
    options: {scores: {awful: {rude: 0.95}, odd one: {rude: 0.9}}, default: {rude: 0.02}}
    refines: fast
    between: [0.01, 0.5]
thresholds:
  rude: {review: 0.5, block: 0.8}
"""


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def comments(table: Table) -> Path:
    kinds = [("awful {}", 1, 60), ("odd one {}", 1, 30), ("odd {}", 0, 30), ("fine {}", 0, 480)]
    return table(
        body=[text.format(n) for text, _, count in kinds for n in range(count)],
        rude=[label for _, label, count in kinds for _ in range(count)],
    )


def test_the_command_prints_what_belongs_into_the_policy(
    comments: Path, table: Table, tmp_path: Path
) -> None:
    file, page, numbers = (tmp_path / name for name in ("p.yaml", "band.html", "band.json"))
    file.write_text(POLICY, encoding="utf-8")
    result = run(
        *("band", file, comments, "--text", "body", "--report", page, "--json", numbers),
        *("--traffic", table("traffic.csv", body=["fine"] * 19 + ["odd", " "])),
    )
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    found = yaml.safe_load("\n".join(lines[-2:]))
    assert found["refines"] == "fast"
    low, high = found["between"]
    assert 0.01 < low <= 0.3 <= high < 0.97
    assert "reads 5.0%" in lines[-1]
    assert lines[1].startswith("none ")
    assert lines[1].rstrip().endswith("never refined")
    assert "the policy's own" in result.stdout
    told = json.loads(numbers.read_text(encoding="utf-8"))
    assert told["traffic"] == {"file": "traffic.csv", "rows": 20}
    assert told["now"]["between"] == [0.01, 0.5]
    shown = page.read_text(encoding="utf-8")
    assert shown.count('class="plot"') == 2
    assert "awful 1" not in shown

    # What it prints does what it says.
    changed = POLICY.replace("between: [0.01, 0.5]", f"between: {found['between']}")
    moderator = Moderator(Policy.parse(changed))
    verdicts = moderator.moderate_batch(["fine"] * 19 + ["odd one"])
    assert [verdict.trace[1].status for verdict in verdicts].count("ran") == 1
    assert [ACTIONS[verdict.action] for verdict in verdicts[-2:]] == ["allow", "block"]


def test_goals_out_of_reach_are_said(comments: Path, tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(POLICY, encoding="utf-8")
    result = run("band", file, comments, "--text", "body", "--share", 0.05)
    assert result.exit_code == 0, result.output
    assert "# no band reads at most 0.05 of the traffic" in result.stdout
    assert "the closest" in result.stdout


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (["--positives", 0.1, "--traffic", "DATA"], 2, "both say what comes in"),
        (["--traffic", "nosuch.csv"], 1, "nosuch.csv: expected a data file"),
        (["--positives", 2], 1, "positives: expected a number from 0 to 1, found 2"),
        (["--report", "no/x.html"], 1, "there is no folder no"),
    ],
)
def test_errors_are_one_line(
    comments: Path, tmp_path: Path, args: list[object], status: int, told: str
) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(POLICY, encoding="utf-8")
    args = [comments if arg == "DATA" else arg for arg in args]
    result = run("band", file, comments, "--text", "body", *args)
    assert result.exit_code == status
    assert told in result.stderr
