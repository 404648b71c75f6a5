"""What a wire format ("face") is: the paths it owns, its errors, and where its keys stand.

A face is a module with two public names:

    FACE = Face(...)                                    # below
    def router(service: Service, ...) -> APIRouter      # its routes, with full paths

Its routes read JSON with `Service.read`, ask `Service.judge`, and raise `Problem` for what the
client did wrong. Everything else is done for them:

- A `Problem`, from a route or from the gate before it (body too large, no key, no such path, …),
  is answered by the `error` of the face that owns the path.
- `Overloaded`, `ContentError`, `FilterError` and anything unforeseen that leaves a route become a
  `Problem` first (see `problem_of`), so that a route catches only what it words in its own way.
- A face that answers with other statuses than `Problem` has says so in `error`, which returns the
  status beside the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from moderation.engine import Moderator
from moderation.errors import ContentError, FilterError, MissingExtraError, ModerationError
from moderation.verdict import Verdict

Code = Literal[
    "invalid_utf8",  # 400
    "invalid_json",  # 400
    "invalid_content",  # 400: an image that cannot be read, say
    "missing_key",  # 401
    "invalid_key",  # 401
    "not_found",  # 404
    "method_not_allowed",  # 405
    "request_timeout",  # 408: the body did not arrive in time
    "body_too_large",  # 413
    "invalid_request",  # 422: JSON, but not of the shape that is expected
    "overloaded",  # 429, with Retry-After
    "internal_error",  # 500
    "step_failed",  # 503: a step failed and the policy says `on_error: raise`
    "no_answer",  # 503: a step without a timeout hangs
]

_M = TypeVar("_M", bound=BaseModel)
_SURROGATE = re.compile("[\ud800-\udfff]")


class Problem(Exception):  # noqa: N818  # RFC 9457 calls it so
    """Why a request is not answered with what it asked for.

    `code` is for programs, `message` for people; neither ever holds anything that a user wrote.
    `param` is where in the request the fault lies, such as ``content[1].url``. A face may use codes
    of its own beside those of `Code`.
    """

    def __init__(
        self,
        status: int,
        code: Code | str,
        message: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.param = param
        self.headers = dict(headers or {})


class Overloaded(ModerationError):  # noqa: N818  # it says what happened
    """The queue is full, or what was asked could not begin in time; nothing was judged."""

    def __init__(self, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"overloaded: nothing was judged; try again in {retry_after} s")


class NoAnswer(ModerationError):  # noqa: N818  # it says what happened
    """A step that has no `timeout` in its policy has not answered for too long."""


@dataclass(frozen=True)
class Face:
    """One wire format.

    `paths`: prefixes of the paths that it owns, the longest match wins: ``/v1alpha1/``.
    `error`: status and JSON-ready body for a problem.
    `keys`: ``bearer`` reads ``Authorization: Bearer K``; ``google`` reads ``?key=K`` or the header
    ``x-goog-api-key``; ``basic`` has a browser ask for K as a password.
    `open_paths`: exact paths that need no key.
    `streams`: its routes read bodies of any size themselves, and answer for as long as they like.
    """

    name: str
    paths: tuple[str, ...]
    error: Callable[[Problem], tuple[int, Mapping[str, Any]]]
    keys: Literal["bearer", "google", "basic"] = "bearer"
    open_paths: frozenset[str] = frozenset()
    streams: bool = False


def problem_of(error: BaseException) -> Problem:
    """What an exception that leaves a route means to the client."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Overloaded):
        return Problem(
            429, "overloaded", str(error), headers={"Retry-After": str(error.retry_after)}
        )
    if isinstance(error, (ContentError, MissingExtraError)):
        return Problem(400, "invalid_content", str(error))
    if isinstance(error, FilterError):
        return Problem(503, "step_failed", "a step failed, and the policy gives no verdict then")
    if isinstance(error, NoAnswer):
        return Problem(503, "no_answer", str(error))
    return Problem(500, "internal_error", "an internal error; the log names it by the request id")


def judged(verdict: Verdict, moderator: Moderator) -> dict[str, set[str]]:
    """The categories that some step of `moderator` has really judged: it ran and did not fail.

    Each with the kinds of parts that it was looked for in, of those that the content has.
    """
    ran = {trace.step for trace in verdict.trace if trace.status == "ran"}
    present = {part.kind for part in verdict.parts if part.kind == "image" or part.text.strip()}
    kinds: dict[str, set[str]] = {}
    for step in moderator.steps:
        for each in step.line():
            if each.spec.name in ran:
                for category in each.categories:
                    kinds.setdefault(category, set()).update(present & each.kinds)
    return kinds


def read(model: type[_M], body: bytes) -> _M:
    """The body of a request as `model`, without quoting any of it where it is wrong.

    Half a surrogate pair, which is what is left of an emoji that a client has cut in two, is read
    as U+FFFD as everywhere else: refusing it would be a way around moderation.

    Raises:
        Problem: 400 for what is not UTF-8 or not JSON, 422 for another shape; `param` says where.
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)
    if first[0]["type"] != "json_invalid":
        raise _misshapen(model, first[0])
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Problem(
            400, "invalid_utf8", f"expected UTF-8, found another byte at offset {error.start}"
        ) from None
    try:
        whole = json.dumps(json.loads(text), ensure_ascii=False)
        if not _SURROGATE.search(whole):
            raise ValueError
    except (ValueError, RecursionError):
        raise Problem(
            400, "invalid_json", first[0]["msg"].replace("Invalid JSON", "expected JSON")
        ) from None
    return read(model, _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", whole).encode())


def _misshapen(model: type[BaseModel], error: Any) -> Problem:
    """One of pydantic's findings; names of fields are told only where they are ours."""
    ours = _names(model)
    place = ""
    for key in error["loc"]:
        if isinstance(key, int):
            place += f"[{key}]"
        elif key in ours:
            place += f".{key}" if place else key
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = "there is a field that is not known here"
    elif error["type"] == "union_tag_invalid":  # pydantic quotes what it found
        message = "the field that names the type holds none of the known types"
    told = f"{place}: {message}" if place else message
    return Problem(422, "invalid_request", told, param=place or None)


@cache
def _names(model: type[BaseModel]) -> set[str]:
    """Names of fields anywhere in `model`, as JSON has them."""
    schema = model.model_json_schema()
    return {
        name
        for each in (schema, *schema.get("$defs", {}).values())
        for name in each.get("properties", ())
    }
