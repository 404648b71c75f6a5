"""Reading requests: what is wrong is said, and nothing of it is repeated."""

from __future__ import annotations

import json
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from hypothesis import given, settings
from hypothesis import strategies as st

from moderation.errors import ContentError, FilterError, MissingExtraError
from moderation.server.face import NoAnswer, Overloaded, Problem, problem_of, read
from moderation.server.native import BatchRequest, ModerateRequest
from moderation.server.openai import ModerationRequest
from moderation.server.perspective.messages import AnalyzeCommentRequest

MARK = "peculiar"

texts = st.text(max_size=10).map(lambda text: text + MARK)
names = st.sampled_from(
    "content items context language metadata policy type text url role comment requestedAttributes "
    "languages input model mask image".split()
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts | names,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | texts, inner, max_size=5),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(
    model=st.sampled_from(
        [ModerateRequest, BatchRequest, ModerationRequest, AnalyzeCommentRequest]
    ),
    value=values,
    cut=st.integers(0, 3),
)
def test_nothing_that_was_sent_is_repeated(model: Any, value: Any, cut: int) -> None:
    body = json.dumps(value).encode()
    problem = Problem(400, "", "")
    try:
        read(model, body[: len(body) - cut])
    except Problem as error:
        problem = error
    assert problem.status in (400, 422)
    assert MARK not in f"{problem.message} {problem.param} {problem.code}"


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(codec=None, categories=None), max_size=20))
def test_every_text_that_json_can_carry_is_read(text: str) -> None:
    """Half a surrogate pair included, as U+FFFD: the engine reads it so too."""
    found = read(ModerateRequest, json.dumps({"content": text}).encode()).content
    paired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert found == paired


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_bytes_are_read_or_refused(body: bytes) -> None:
    with pytest.raises(Problem) as problem:
        read(ModerateRequest, body)
    assert problem.value.status in (400, 422)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Problem(418, "teapot", "short and stout"), 418, "teapot"),
        (Overloaded(3), 429, "overloaded"),
        (ContentError("not an image"), 400, "invalid_content"),
        (MissingExtraError("pillow", extra="images", needed_for="it"), 400, "invalid_content"),
        (FilterError(MARK), 503, "step_failed"),
        (NoAnswer("no answer"), 503, "no_answer"),
        (ValueError(MARK), 500, "internal_error"),
    ],
)
def test_errors_of_the_engine_become_problems(error: Exception, status: int, code: str) -> None:
    problem = problem_of(error)
    assert (problem.status, problem.code) == (status, code)
    assert MARK not in problem.message
    assert problem.headers == ({"Retry-After": "3"} if status == 429 else {})
