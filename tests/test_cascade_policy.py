"""The cascade and the stand-in as they ship: what changes a score, and what a break does.

The policies are tried on the models themselves, whatever their exact scores are.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import moderation
from moderation import Action, Moderator, Policy, Verdict
from moderation.policy import shipped_policies

WEIGHTS = Path(moderation.__file__).parent / "weights"
FAST, SLOW = "toxicity-lstm", "toxicity-distilbert"
TEXTS = [
    "Shares fell on Monday after the bank cut its forecast for the year.",
    "thank you so much, this made my day",
    "you absolute walnut, what were you thinking",
    "go back to where you came from",
    "I will find you and I will kill you",
    "shut up, you stupid idiot",
    "what a load of rubbish this article is",
    "he said he would burn the house down",
    "I am a proud gay man and I love my church",
    "this is sick, in the best sense of the word",
    "nobody asked for your opinion, clown",
    "The recipe needs two eggs and a little patience.",
]
KEEN = 1e-6
"""How near to one another two readings of one text are: floating point, and no more."""

needs_fast = pytest.mark.skipif(
    not (WEIGHTS / FAST / "model.json").exists(), reason=f"no weights of {FAST} in this checkout"
)
needs_slow = pytest.mark.skipif(
    not (WEIGHTS / SLOW / "model.json").exists(), reason=f"no weights of {SLOW} in this checkout"
)


def classifier(name: str, model: str | Path, **rest: Any) -> dict[str, Any]:
    return {"name": name, "filter": "classifier", "options": {"model": str(model)}, **rest}


def policy(*steps: dict[str, Any], **rest: Any) -> Moderator:
    limits = {"toxic": {"review": 0.6, "block": 0.9}}
    content = {"name": "test", "steps": steps, "thresholds": limits, **rest}
    return Moderator(Policy.model_validate(content))


def shipped(name: str, **models: str | Path) -> Moderator:
    """A shipped policy, some of its steps with a model from elsewhere."""
    if name not in shipped_policies():
        pytest.skip(f"no policy {name} is shipped yet")
    found = Policy.load(name)

    def moved(step: dict[str, Any]) -> dict[str, Any]:
        if step["name"] in models:
            step = {**step, "options": {"model": str(models[step["name"]])}}
        return {**step, "fallback": moved(step["fallback"])} if step.get("fallback") else step

    steps = [moved(step) for step in found.model_dump(exclude_defaults=True)["steps"]]
    if not any(step.get("refines") or step.get("fallback") for step in steps):
        pytest.skip(f"the policy {name} has one model only as yet")
    return Moderator(Policy.model_validate(found.model_dump() | {"steps": steps}))


def near(found: dict[str, float], expected: dict[str, float]) -> None:
    assert found == pytest.approx(expected, abs=KEEN)


def statuses(verdict: Verdict) -> dict[str, str]:
    return {trace.step: trace.status for trace in verdict.trace}


@pytest.fixture(scope="module")
def fast() -> list[dict[str, float]]:
    return [verdict.scores for verdict in policy(classifier("lstm", FAST)).moderate_batch(TEXTS)]


@pytest.fixture(scope="module")
def slow() -> list[dict[str, float]]:
    moderator = policy(classifier("distilbert", SLOW))
    return [verdict.scores for verdict in moderator.moderate_batch(TEXTS)]


# A model is broken in every way that it can be.


def missing(tmp_path: Path, model: str) -> Path:
    return tmp_path / "nothing-here"


def cut_short(tmp_path: Path, model: str) -> Path:
    folder = tmp_path / model
    shutil.copytree(WEIGHTS / model, folder)
    graph = folder / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-1000])
    return folder


def without_tokenizer(tmp_path: Path, model: str) -> Path:
    folder = tmp_path / model
    shutil.copytree(WEIGHTS / model, folder)
    (folder / "tokenizer.json").unlink()
    return folder


BREAKS = pytest.mark.parametrize("broken", [missing, cut_short, without_tokenizer])


@needs_fast
@BREAKS
def test_a_refiner_that_cannot_be_loaded_leaves_the_earlier_scores_and_says_so(
    broken: Callable[[Path, str], Path], tmp_path: Path, fast: list[dict[str, float]]
) -> None:
    moderator = policy(
        classifier("lstm", FAST),
        classifier("again", broken(tmp_path, FAST), refines="lstm", between=[0.0, 0.5]),
    )
    doubted = 0
    for verdict, scores in zip(moderator.moderate_batch(TEXTS), fast, strict=True):
        near(verdict.scores, scores)
        inside = min(scores.values()) <= 0.5
        doubted += inside
        assert statuses(verdict)["again"] == ("failed" if inside else "skipped")
        assert verdict.degraded is inside
        # Failing open is what a refining step does: the earlier scores alone decide.
        assert verdict.action is moderator.policy.decide(scores)[0]
    assert doubted
    assert set(moderator.faults()) == {"again"}


@needs_fast
@needs_slow
def test_the_second_model_replaces_scores_inside_the_band_only(
    fast: list[dict[str, float]], slow: list[dict[str, float]]
) -> None:
    # A band that half of the texts lie in, whatever the models say of them.
    highest = sorted(scores["toxic"] for scores in fast)
    band = [highest[3], highest[8]]
    moderator = policy(
        classifier("lstm", FAST),
        classifier("distilbert", SLOW, refines="lstm", between=band),
        thresholds={"toxic": {"review": 0.6}},
    )
    refined = 0
    for verdict, first, second in zip(moderator.moderate_batch(TEXTS), fast, slow, strict=True):
        inside = any(band[0] <= score <= band[1] for score in first.values())
        refined += inside
        assert statuses(verdict) == {"lstm": "ran", "distilbert": "ran" if inside else "skipped"}
        near(verdict.scores, second if inside else first)
        near(dict(verdict.trace[0].scores), first)
        assert not verdict.degraded
        pointing = {signal.step for signal in verdict.signals}
        assert pointing == {"distilbert" if inside else "lstm"}
    assert refined >= 6


@needs_fast
@needs_slow
def test_default_is_a_cascade(fast: list[dict[str, float]], slow: list[dict[str, float]]) -> None:
    moderator = shipped("default")
    [again] = [step for step in moderator.policy.steps if step.refines]
    for verdict, first, second in zip(moderator.moderate_batch(TEXTS), fast, slow, strict=True):
        bands = {name: again.band(name) for name in first}
        inside = any(bands[name][0] <= score <= bands[name][1] for name, score in first.items())
        assert statuses(verdict)[again.name] == ("ran" if inside else "skipped")
        own = {trace.step: dict(trace.scores) for trace in verdict.trace}
        words = own.get("words", {})
        kept = second if inside else first
        expected = {
            name: max(kept.get(name, 0.0), words.get(name, 0.0)) for name in kept.keys() | words
        }
        near(verdict.scores, expected)
        assert not verdict.degraded
    # Plain news is nothing to look at twice.
    assert statuses(moderator.moderate(TEXTS[0]))[again.name] == "skipped"


@needs_fast
@needs_slow
@BREAKS
def test_default_goes_on_without_its_second_model(
    broken: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    whole, moderator = shipped("default"), shipped("default", distilbert=broken(tmp_path, SLOW))
    compared = zip(whole.moderate_batch(TEXTS), moderator.moderate_batch(TEXTS), strict=True)
    failed = 0
    for expected, verdict in compared:
        looked_again = statuses(expected)["distilbert"] == "ran"
        assert verdict.degraded is looked_again
        failed += looked_again
        if looked_again:
            assert statuses(verdict)["distilbert"] == "failed"
            earlier = {
                name: max(trace.scores.get(name, 0.0) for trace in verdict.trace)
                for name in verdict.scores
            }
            near(verdict.scores, earlier)
        else:
            near(verdict.scores, expected.scores)
    assert failed


@needs_fast
@needs_slow
def test_a_second_model_that_fails_at_work_leaves_the_earlier_scores(
    fast: list[dict[str, float]],
) -> None:
    moderator = policy(
        classifier("lstm", FAST),
        classifier("distilbert", SLOW, refines="lstm", between=[0.0, 1.0]),
    )
    break_at_work(moderator, "distilbert")
    for verdict, scores in zip(moderator.moderate_batch(TEXTS), fast, strict=True):
        near(verdict.scores, scores)
        assert verdict.degraded
        assert statuses(verdict) == {"lstm": "ran", "distilbert": "failed"}
        assert not any(text in trace.reason for trace in verdict.trace for text in TEXTS)


def break_at_work(moderator: Moderator, name: str, wait: float = 0.0) -> None:
    """The graph of a loaded step raises from now on, or answers late."""
    moderator.load()
    [step] = [each for head in moderator.steps for each in head.line() if each.spec.name == name]
    loaded: Any = step.filter
    session = loaded._classifier._session

    class Broken:
        def run(self, *args: Any) -> Any:
            if not wait:
                raise RuntimeError("out of memory")
            time.sleep(wait)
            return session.run(*args)

    loaded._classifier._session = Broken()


# The stand-in


def judged_by_the_lstm(moderator: Moderator, texts: list[str] = TEXTS) -> list[Verdict]:
    """Verdicts, each degraded, and with the scores of the LSTM beside those of the words."""
    lstm = policy(classifier("lstm", FAST)).moderate_batch(texts)
    verdicts = moderator.moderate_batch(texts)
    for verdict, alone in zip(verdicts, lstm, strict=True):
        told = statuses(verdict)
        assert (told["distilbert"], told["lstm"]) == ("failed", "ran")
        assert verdict.degraded
        words = dict(next(trace.scores for trace in verdict.trace if trace.step == "words"))
        expected = {
            name: max(alone.scores.get(name, 0.0), words.get(name, 0.0))
            for name in alone.scores.keys() | words
        }
        near(verdict.scores, expected)
        # The LSTM has judged: no failure speaks in the verdict.
        assert verdict.action is moderator.policy.decide(verdict.scores)[0]
    return verdicts


@needs_fast
@needs_slow
def test_accurate_reads_every_text_with_the_careful_model(slow: list[dict[str, float]]) -> None:
    for verdict, scores in zip(shipped("accurate").moderate_batch(TEXTS), slow, strict=True):
        assert statuses(verdict) == {"words": "ran", "distilbert": "ran"}
        assert not verdict.degraded
        assert all(verdict.scores[name] >= score - KEEN for name, score in scores.items())
    assert shipped("accurate").moderate(TEXTS[0]).action is Action.ALLOW


@needs_fast
@needs_slow
@BREAKS
def test_accurate_falls_back_where_the_model_cannot_be_loaded(
    broken: Callable[[Path, str], Path], tmp_path: Path
) -> None:
    moderator = shipped("accurate", distilbert=broken(tmp_path, SLOW))
    verdicts = judged_by_the_lstm(moderator)
    assert "cannot be loaded" in verdicts[0].trace[1].reason
    assert set(moderator.faults()) == {"distilbert"}


@needs_fast
@needs_slow
def test_accurate_falls_back_where_the_model_fails_at_work() -> None:
    moderator = shipped("accurate")
    break_at_work(moderator, "distilbert")
    verdicts = judged_by_the_lstm(moderator)
    assert all("RuntimeError" in verdict.trace[1].reason for verdict in verdicts)
    # Somebody else's message may quote a text: it is not repeated.
    assert not any("out of memory" in trace.reason for v in verdicts for trace in v.trace)


@needs_fast
@needs_slow
def test_accurate_falls_back_where_the_model_is_late() -> None:
    moderator = shipped("accurate")
    [step] = [each for each in moderator.steps if each.spec.name == "distilbert"]
    assert step.spec.timeout is not None
    late = step.spec.model_copy(update={"timeout": 0.05})
    steps = [late if each.name == "distilbert" else each for each in moderator.policy.steps]
    moderator = Moderator(moderator.policy.model_copy(update={"steps": tuple(steps)}))
    break_at_work(moderator, "distilbert", wait=0.5)
    verdicts = judged_by_the_lstm(moderator, TEXTS[:3])
    assert all("no answer within 0.05 s" in verdict.trace[1].reason for verdict in verdicts)
    time.sleep(1.0)  # the abandoned call ends before the models do
