"""The face of OpenAI's moderation endpoint: ``POST /v1/moderations``.

A request is made into contents by `inputs`, and a verdict into a result by `result`; both are plain
functions. What the endpoint answers with is described in its API reference
(https://platform.openai.com/docs/api-reference/moderations) and guide.

The rule for a name of OpenAI's stands in `moderation.taxonomy`. On top of it:

- a score is the highest over the rows that name it; without a step behind any row it is 0.0, the
  category false, and the list of applied input types empty;
- a category is true where a row holds: every category of the row reaches a threshold of the policy;
- a result is flagged where the policy says review or block, for whatever reason: what no name of
  OpenAI's covers (``toxic``), or a language that nobody reads, flags without any category;
- ``text`` is listed where a step behind the name has read words, those in a picture included, and
  ``image`` where one has looked at a picture itself.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from moderation.content import Content, Part
from moderation.engine import MAX_PARTS, Moderator
from moderation.errors import ContentError
from moderation.policy import Policy
from moderation.server.document import FAULTS, operation, record, refusals
from moderation.server.face import Face, Problem, judged
from moderation.server.service import Service
from moderation.taxonomy import OPENAI, TABLE, translate
from moderation.verdict import Action, Verdict

MODELS = (
    "omni-moderation-latest",
    "omni-moderation-2024-09-26",
    "text-moderation-latest",
    "text-moderation-stable",
    "text-moderation-007",
)
"""Names of OpenAI's models; all of them are judged by the same policy here."""
MAX_INPUTS = 256
MAX_IMAGES = 1

_NAME = re.compile(r"[\w.:/-]{1,64}", re.ASCII)
_KINDS = {"text": "text", "ocr": "text", "image": "image", "caption": "image"}


class ModerationRequest(BaseModel):
    """What arrives, before `inputs` looks at it: faults are worded there as OpenAI words them."""

    model_config = ConfigDict(extra="allow")

    model: Any = None
    input: Any = None


@dataclass(frozen=True)
class Address:
    """An image that is still to be read, and where in the request it stands."""

    url: str
    param: str


def inputs(asked: ModerationRequest) -> list[list[Part | Address]]:
    """The parts of each content that gets a result of its own.

    Raises:
        Problem: 400, in OpenAI's words; nothing of the input is quoted.
    """
    if asked.model_extra:
        [name, *_] = asked.model_extra
        told = f": {name}" if re.fullmatch(r"[a-z_]{1,40}", name) else ""
        raise _fault(f"Unrecognized request argument supplied{told}", param=None)
    given = asked.input
    if given is None:
        raise _fault("Missing required parameter: 'input'.", "missing_required_parameter")
    if isinstance(given, str):
        return [[Part("text", given)]]
    if not isinstance(given, list):
        raise _wrong_type("input", "a string, an array of strings or an array of objects", given)
    if not given:
        raise _fault(
            "Invalid 'input': empty array. Expected an array with minimum length 1, but got an "
            "empty array instead.",
            "empty_array",
        )
    if isinstance(given[0], str):
        _check_length(given, MAX_INPUTS)
        for index, each in enumerate(given):
            if not isinstance(each, str):
                raise _wrong_type(f"input[{index}]", "a string", each)
        return [[Part("text", each)] for each in given]
    _check_length(given, MAX_PARTS)
    parts = [_part(each, f"input[{index}]") for index, each in enumerate(given)]
    images = sum(isinstance(part, Address) for part in parts)
    if images > MAX_IMAGES:
        raise _fault(
            f"Number of images ({images}) exceeds maximum of {MAX_IMAGES}", "too_many_images"
        )
    return [parts]


def result(verdict: Verdict, moderator: Moderator) -> dict[str, Any]:
    """One verdict as OpenAI would tell it; the rule stands at the top of this module."""
    kinds = judged(verdict, moderator)
    scores = translate("openai", verdict.scores, kinds)
    holds: dict[str, bool] = dict.fromkeys(OPENAI, False)
    applied: dict[str, set[str]] = {name: set() for name in OPENAI}
    for row in TABLE:
        if not row.openai or not set(row.categories) <= kinds.keys():
            continue
        reached = all(
            _reached(moderator.policy, category, verdict.scores) for category in row.categories
        )
        seen = set.intersection(*(kinds[category] for category in row.categories))
        for name in row.openai:
            holds[name] = holds[name] or reached
            applied[name].update(_KINDS[kind] for kind in seen)
    return {
        "flagged": verdict.flagged,
        "categories": holds,
        "category_scores": {name: scores.get(name, 0.0) for name in OPENAI},
        "category_applied_input_types": {
            name: sorted(applied[name], reverse=True) for name in OPENAI
        },
    }


def router(service: Service, *, policy: str | None = None) -> APIRouter:
    """The route of this face, judged by `policy` unless a request's model names another."""
    own = policy or service.default
    routes = APIRouter(tags=["OpenAI"])

    @routes.post("/v1/moderations", **_operation())
    async def moderations(request: Request) -> JSONResponse:
        """Whether texts, or a text with an image, are harmful, in OpenAI's thirteen categories."""
        asked = await service.read(ModerationRequest, await request.body())
        model = asked.model if asked.model is not None else MODELS[0]
        name = _policy_of(model, service, own)
        moderator = service.policies[name]
        contents = [
            Content(tuple([await _read(part, service, name) for part in parts]))
            for parts in inputs(asked)
        ]
        verdicts = await service.judge(contents, policy=name, exhaustive=True)
        return JSONResponse(
            {
                "id": f"modr-{uuid.uuid4().hex}",
                "model": model,
                "results": [result(verdict, moderator) for verdict in verdicts],
            }
        )

    return routes


def _policy_of(model: Any, service: Service, own: str) -> str:
    """A name of OpenAI's means the policy of this face; a served policy goes by its own name."""
    if not isinstance(model, str):
        raise _wrong_type("model", "a string", model, param="model")
    if model in MODELS:
        return own
    if model in service.policies:
        return model
    told = f" `{model}`" if _NAME.fullmatch(model) else ""
    known = ", ".join((*service.policies, *MODELS))
    raise Problem(
        404, "model_not_found", f"The model{told} does not exist; there are: {known}", param="model"
    )


async def _read(part: Part | Address, service: Service, policy: str) -> Part:
    if isinstance(part, Part):
        return part
    if "image" not in service.policies[policy].kinds:
        raise _fault(
            "Image input is not supported by the policy that is served here.",
            "unsupported_image",
            param=part.param,
        )
    try:
        return await service.image(part.url, policy=policy)
    except ContentError as error:
        raise _fault(f"Invalid image: {error}.", "invalid_image_url", param=part.param) from None


def _part(given: Any, place: str) -> Part | Address:
    if not isinstance(given, dict):
        raise _wrong_type(place, "an object", given)
    kind = given.get("type")
    if kind == "text":
        text = given.get("text")
        if text is None:
            raise _missing(f"{place}.text")
        if not isinstance(text, str):
            raise _wrong_type(f"{place}.text", "a string", text)
        return Part("text", text)
    if kind == "image_url":
        image = given.get("image_url")
        if image is None:
            raise _missing(f"{place}.image_url")
        if not isinstance(image, dict):
            raise _wrong_type(f"{place}.image_url", "an object", image)
        url = image.get("url")
        if url is None:
            raise _missing(f"{place}.image_url.url")
        if not isinstance(url, str):
            raise _wrong_type(f"{place}.image_url.url", "a string", url)
        return Address(url, f"{place}.image_url.url")
    if kind is None:
        raise _missing(f"{place}.type")
    raise _fault(
        f"Invalid value for '{place}.type'. Supported values are: 'text' and 'image_url'.",
        "invalid_value",
        param=f"{place}.type",
    )


def _reached(policy: Policy, category: str, scores: Mapping[str, float]) -> bool:
    thresholds = policy.thresholds.get(category)
    return (
        thresholds is not None
        and category in scores
        and thresholds.action(scores[category]) > Action.ALLOW
    )


def _check_length(given: Sequence[Any], most: int) -> None:
    if len(given) > most:
        raise _fault(
            "Invalid 'input': array too long. Expected an array with maximum length "
            f"{most}, but got an array with length {len(given)} instead.",
            "array_above_max_length",
        )


def _fault(message: str, code: str | None = None, *, param: str | None = "input") -> Problem:
    return Problem(400, code or "", message, param=param)


def _missing(place: str) -> Problem:
    return _fault(
        f"Missing required parameter: '{place}'.", "missing_required_parameter", param=place
    )


def _wrong_type(place: str, expected: str, found: Any, *, param: str | None = None) -> Problem:
    names = {
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        str: "a string",
        list: "an array",
        dict: "an object",
        type(None): "null",
    }
    return _fault(
        f"Invalid type for '{place}': expected {expected}, but got {names[type(found)]} instead.",
        "invalid_type",
        param=param or place,
    )


def _error(problem: Problem) -> tuple[int, Mapping[str, Any]]:
    """A problem in OpenAI's form; its clients tell faults apart by the status and the code."""
    status, code, message = problem.status, problem.code or None, problem.message
    kind = "invalid_request_error"
    if status == 401:
        code = "invalid_api_key"
        message = (
            "You didn't provide an API key. Send it in an Authorization header, as in: "
            "Bearer YOUR_KEY"
            if problem.code == "missing_key"
            else "Incorrect API key provided."
        )
    elif status == 429:
        kind, code = "requests", "rate_limit_exceeded"
        message = f"Rate limit reached: {message}"
    elif status == 422:
        status = 400
    elif status >= 500:
        kind = "server_error"
    if problem.code in ("invalid_json", "invalid_utf8"):
        code = None
        message = f"We could not parse the JSON body of your request: {message}"
    error = {"message": message, "type": kind, "param": problem.param, "code": code}
    return status, {"error": error}


FACE = Face(name="openai", paths=("/v1/moderations",), error=_error)

_REFUSED = refusals(
    record(
        {
            "error": record(
                {
                    "message": {"type": "string"},
                    "type": {"type": "string"},
                    "param": {"type": ["string", "null"]},
                    "code": {"type": ["string", "null"]},
                }
            )
        },
        title="OpenAIError",
    ),
    {
        **FAULTS,
        400: "The request cannot be answered; `code` and `param` say why.",
        404: "There is no such model.",
    },
)


def _each(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An object with all thirteen names."""
    return record({name: dict(schema) for name in OPENAI})


def _operation() -> dict[str, Any]:
    text, url = {"type": "string"}, {"type": "string", "pattern": "^(data:|https://)"}
    parts = [
        {
            "type": "object",
            "required": ["type", "text"],
            "properties": {"type": {"const": "text"}, "text": text},
        },
        {
            "type": "object",
            "required": ["type", "image_url"],
            "properties": {
                "type": {"const": "image_url"},
                "image_url": {"type": "object", "required": ["url"], "properties": {"url": url}},
            },
        },
    ]
    asked = {
        "type": "object",
        "title": "ModerationRequest",
        "additionalProperties": False,
        "required": ["input"],
        "properties": {
            "input": {
                "anyOf": [
                    text,
                    {"type": "array", "minItems": 1, "maxItems": MAX_INPUTS, "items": text},
                    {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": MAX_PARTS,
                        "items": {"anyOf": parts},
                        "description": f"Judged together; at most {MAX_IMAGES} image.",
                    },
                ]
            },
            "model": {
                "type": ["string", "null"],
                "default": MODELS[0],
                "description": "A name of OpenAI's, or a served policy's.",
            },
        },
    }
    result = {
        "flagged": {"type": "boolean", "description": "The policy says review or block."},
        "categories": _each({"type": "boolean"}),
        "category_scores": _each({"type": "number", "minimum": 0, "maximum": 1}),
        "category_applied_input_types": _each(
            {"type": "array", "items": {"enum": ["text", "image"]}}
        ),
    }
    answer = record(
        {
            "id": {"type": "string"},
            "model": {"type": "string"},
            "results": {"type": "array", "items": record(result)},
        },
        title="ModerationResponse",
    )
    examples = {
        "a text": {"input": "have a nice day"},
        "several texts": {"input": ["have a nice day", "you idiot"]},
        "parts": {"input": [{"type": "text", "text": "have a nice day"}]},
    }
    return operation(asked, answer, _REFUSED, told="A result for each input.", examples=examples)
