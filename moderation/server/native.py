"""Our own wire format: whole verdicts about texts, images and both, one at a time or in batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag
from pydantic_core import to_json

from moderation.content import Content, Message, Part
from moderation.engine import MAX_PARTS, Moderator
from moderation.errors import ContentError
from moderation.policy import Thresholds
from moderation.server.document import FAULTS, operation, record, refusals
from moderation.server.face import Face, Problem
from moderation.server.metrics import CONTENT_TYPE
from moderation.server.service import Service
from moderation.verdict import Verdict, verdict_schema

MAX_ITEMS = 100
LONG = 4_000
"""Characters from which an answer is put together off the event loop."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class TextPart(_Strict):
    """A piece of text."""

    type: Literal["text"]
    text: str


class ImagePart(_Strict):
    """An image, as a data: address, or as an https: one where the policy's `images.urls` lets
    addresses be fetched."""

    type: Literal["image"]
    url: str = Field(pattern="^(data:|https://)")


class Turn(_Strict):
    """An earlier message of the conversation: read by guards, never judged itself."""

    role: Literal["user", "assistant"]
    text: str


def _kind_of_content(value: Any) -> str:
    return "(parts)" if isinstance(value, (list, tuple)) else "(text)"


def _kind_of_part(value: Any) -> str:
    kind = value.get("type") if isinstance(value, dict) else getattr(value, "type", None)
    return "(image)" if kind == "image" else "(text)"


# The tags stand in pydantic's paths; no field is called so, which is how `read` leaves them out.
AnyPart = Annotated[
    Annotated[TextPart, Tag("(text)")] | Annotated[ImagePart, Tag("(image)")],
    Discriminator(_kind_of_part),
]
AnyContent = Annotated[
    Annotated[str, Tag("(text)")]
    | Annotated[list[AnyPart], Field(min_length=1, max_length=MAX_PARTS), Tag("(parts)")],
    Discriminator(_kind_of_content),
]


class Item(_Strict):
    """What one verdict is about."""

    content: AnyContent = Field(description="A text, or parts that are judged together.")
    context: list[Turn] = Field(
        default=[], max_length=100, description="The conversation before it, oldest first."
    )
    language: str | None = Field(
        default=None,
        pattern="^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$",
        max_length=35,
        description="ISO 639 or BCP 47 code where it is known; detected otherwise.",
    )
    metadata: dict[str, JsonValue] = Field(
        default={}, description="Handed to plugins that observe verdicts; never logged."
    )


class Options(_Strict):
    """How to judge, and what to tell."""

    policy: str | None = Field(
        default=None, description="One of GET /v1/policies; the first of them unless given."
    )
    exhaustive: bool = Field(
        default=False, description="Run every step, whatever the earlier ones said."
    )
    explain: bool = Field(
        default=False,
        description="Add the texts of all parts, how each was read with its disguise undone, and "
        "the policy's thresholds.",
    )
    mask: bool = Field(default=False, description="Add the texts with signalled words masked.")


class ModerateRequest(Item, Options):
    """One content to judge."""


class BatchRequest(Options):
    """Several contents, each with a verdict of its own."""

    items: list[Item] = Field(min_length=1, max_length=MAX_ITEMS)


def _error(problem: Problem) -> tuple[int, Mapping[str, Any]]:
    told = {"code": problem.code, "message": problem.message, "param": problem.param}
    return problem.status, {"error": told}


FACE = Face(
    name="native",
    paths=(
        "/v1/moderate",
        "/v1/policies",
        "/v1/models",
        "/health",
        "/ready",
        "/metrics",
        "/docs",
        "/openapi.json",
    ),
    error=_error,
    open_paths=frozenset({"/", "/health", "/ready", "/docs", "/openapi.json"}),
)

_REFUSED = refusals(
    record(
        {
            "error": record(
                {
                    "code": {"type": "string", "description": "For programs."},
                    "message": {"type": "string", "description": "For people."},
                    "param": {
                        "type": ["string", "null"],
                        "description": "Where in the request the fault lies, such as "
                        "content[1].url.",
                    },
                }
            )
        },
        title="Error",
    ),
    {
        **FAULTS,
        400: "The body is not JSON, its texts are too long, or an image cannot be used.",
        404: "There is no policy of this name.",
        422: "The body is JSON of another shape; `param` says where.",
    },
)
_REFUSED_GET: dict[int | str, Any] = {status: _REFUSED[status] for status in (401, 429)}


def _result(*, several: bool) -> dict[str, Any]:
    """The schema of an answer, around the published one of a verdict."""
    verdict = dict(verdict_schema())
    defs = verdict.pop("$defs")
    verdict.pop("$schema")
    result = {
        "title": "Result",
        "type": "object",
        "additionalProperties": False,
        "required": ["verdict"],
        "properties": {
            "verdict": {"$ref": "#/$defs/Verdict"},
            "masked": {
                "type": "array",
                "items": {"type": ["string", "null"]},
                "description": "With `mask`: each part's text with signalled words as f***; null "
                "for an image.",
            },
            "explanation": record(
                {
                    "read": {
                        "type": "array",
                        "items": {"type": ["string", "null"]},
                        "description": "Each part's text with its disguise undone; null where "
                        "there was none.",
                    },
                    "thresholds": {
                        "type": "object",
                        "additionalProperties": Thresholds.model_json_schema(),
                    },
                }
            ),
        },
    }
    schema: dict[str, Any] = {"$ref": "#/$defs/Result"}
    if several:
        results = {"type": "array", "items": {"$ref": "#/$defs/Result"}}
        schema = record({"results": results}, title="Results")
    return {**schema, "$defs": {**defs, "Verdict": verdict, "Result": result}}


def _operation(
    request: type[BaseModel], examples: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    return operation(
        request.model_json_schema(), answer, _REFUSED, told="The verdict.", examples=examples
    )


# One pixel: what an image looks like in a request. No shipped policy for texts reads images.
_PIXEL = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4//8/AAX+Av4z"
    "EpUUAAAAAElFTkSuQmCC"
)
_EXAMPLES: dict[str, dict[str, Any]] = {
    "a text": {"content": "have a nice day"},
    "with everything that can be said": {
        "content": [{"type": "text", "text": "y0u 1d1ot"}],
        "context": [{"role": "user", "text": "Who wrote this?"}],
        "language": "en",
        "metadata": {"comment": 17},
        "explain": True,
        "exhaustive": True,
        "mask": True,
    },
    "a text with an image": {
        "content": [
            {"type": "text", "text": "look at this"},
            {"type": "image", "url": _PIXEL},
        ]
    },
}
_BATCH_EXAMPLES: dict[str, dict[str, Any]] = {
    "two texts": {
        "items": [{"content": "have a nice day"}, {"content": "you idiot", "language": "en"}],
        "mask": True,
    }
}


class PolicyStep(_Strict):
    """One step of a served policy."""

    name: str
    filter: str
    parts: list[str]
    categories: list[str]
    languages: list[str] | None = Field(description="null: any.")
    refines: str | None
    fallback: str | None = Field(description="The step that runs where this one fails.")


class ServedPolicy(_Strict):
    """A policy that requests may name."""

    name: str
    fingerprint: str
    default: bool
    description: str
    steps: list[PolicyStep]
    thresholds: dict[str, Thresholds]
    stop_on: str | None
    unsupported_language: str
    image_urls: bool = Field(description="Whether https: addresses of images are fetched.")


class Policies(_Strict):
    """The served policies, the default first."""

    policies: list[ServedPolicy]


class ServedStep(_Strict):
    """A step that a model judges in."""

    policy: str
    step: str
    fingerprint: str | None = Field(description="null where it could not be loaded.")


class ServedModel(_Strict):
    """A trained model; the first four fields are as OpenAI's clients read them."""

    id: str
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="Not known.")
    owned_by: str
    licence: str
    available: bool
    steps: list[ServedStep]


class Models(_Strict):
    """The trained models of the served policies."""

    object: Literal["list"] = "list"
    data: list[ServedModel]


class Readiness(_Strict):
    """Whether every step of every served policy can run."""

    ready: bool
    policies: dict[str, list[str]] = Field(description="What cannot, by policy.")


class Health(_Strict):
    """The process answers."""

    status: Literal["ok"] = "ok"


def router(service: Service) -> APIRouter:
    """The routes of our own format, and those for who operates the service."""
    routes = APIRouter()

    @routes.post(
        "/v1/moderate",
        tags=["moderation"],
        **_operation(ModerateRequest, _EXAMPLES, _result(several=False)),
    )
    async def moderate(request: Request) -> Response:
        """Judge a text, an image, or several of them together."""
        asked = await service.read(ModerateRequest, await request.body())
        _check_policy(service, asked.policy)
        content = await _content(service, asked, asked.policy, "")
        [verdict] = await service.judge([content], policy=asked.policy, exhaustive=asked.exhaustive)
        told = await _told(service, asked, [verdict])
        return Response(to_json(told[0]), media_type="application/json")

    @routes.post(
        "/v1/moderate/batch",
        tags=["moderation"],
        **_operation(BatchRequest, _BATCH_EXAMPLES, _result(several=True)),
    )
    async def moderate_batch(request: Request) -> Response:
        """Judge several contents, each on its own."""
        asked = await service.read(BatchRequest, await request.body())
        _check_policy(service, asked.policy)
        contents = [
            await _content(service, item, asked.policy, f"items[{index}].")
            for index, item in enumerate(asked.items)
        ]
        verdicts = await service.judge(contents, policy=asked.policy, exhaustive=asked.exhaustive)
        told = await _told(service, asked, verdicts)
        return Response(to_json({"results": told}), media_type="application/json")

    @routes.get("/v1/policies", tags=["about"], response_model=Policies, responses=_REFUSED_GET)
    async def policies() -> Response:
        """The policies that a request may name."""
        served = [
            _served(name, moderator, default=name == service.default)
            for name, moderator in service.policies.items()
        ]
        return Response(Policies(policies=served).model_dump_json(), media_type="application/json")

    @routes.get("/v1/models", tags=["about"], response_model=Models, responses=_REFUSED_GET)
    async def models() -> Response:
        """The trained models behind them, in the form of OpenAI's list of models."""
        data = await service.run(_models, service.policies)
        return Response(Models(data=data).model_dump_json(), media_type="application/json")

    @routes.get("/health", tags=["operation"], response_model=Health)
    async def health() -> Response:
        """The process is alive; restart it where this does not answer."""
        return Response(Health().model_dump_json(), media_type="application/json")

    @routes.get(
        "/ready",
        tags=["operation"],
        response_model=Readiness,
        responses={503: {"model": Readiness, "description": "Something cannot run."}},
    )
    async def ready() -> Response:
        """Every step of every served policy can run; send no requests here where it cannot."""
        faults = service.not_ready()
        return Response(
            Readiness(ready=not faults, policies=faults).model_dump_json(),
            status_code=503 if faults else 200,
            media_type="application/json",
        )

    @routes.get(
        "/metrics",
        tags=["operation"],
        responses={
            200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}},
            **_REFUSED_GET,
        },
        response_class=Response,
    )
    async def metrics() -> Response:
        """Counters, gauges and histograms for Prometheus."""
        return Response(service.metrics.text(), headers={"Content-Type": CONTENT_TYPE})

    return routes


def _check_policy(service: Service, name: str | None) -> None:
    if name is not None and name not in service.policies:
        known = ", ".join(service.policies)
        raise Problem(
            404, "unknown_policy", f"no such policy is served; there are: {known}", param="policy"
        )


async def _content(service: Service, item: Item, policy: str | None, place: str) -> Content:
    """What is to be judged; images are read off the event loop."""
    if isinstance(item.content, str):
        parts = [Part("text", item.content)]
    else:
        parts = []
        for index, part in enumerate(item.content):
            if isinstance(part, TextPart):
                parts.append(Part("text", part.text))
                continue
            try:
                parts.append(await service.image(part.url, policy=policy))
            except ContentError as error:
                where = f"{place}content[{index}].url"
                raise Problem(400, "invalid_content", f"{where}: {error}", param=where) from None
    context = tuple(Message(turn.role, turn.text) for turn in item.context)
    return Content(tuple(parts), context, item.language, item.metadata)


async def _told(
    service: Service, asked: Options, verdicts: Sequence[Verdict]
) -> list[dict[str, Any]]:
    thresholds = service.policies[asked.policy or service.default].policy.thresholds
    length = sum(len(part.text) for verdict in verdicts for part in verdict.parts)
    if length > LONG:
        return await service.run(_results, asked, verdicts, thresholds)
    return _results(asked, verdicts, thresholds)


def _results(
    asked: Options, verdicts: Sequence[Verdict], thresholds: Mapping[str, Thresholds]
) -> list[dict[str, Any]]:
    results: list[dict[str, Any]] = []
    for verdict in verdicts:
        result: dict[str, Any] = {"verdict": verdict.to_dict(include_text=asked.explain)}
        if asked.mask:
            result["masked"] = [
                None if part.kind == "image" else verdict.masked(part=index)
                for index, part in enumerate(verdict.parts)
            ]
        if asked.explain:
            folded = [None if part.kind == "image" else part.folded for part in verdict.parts]
            result["explanation"] = {
                "read": [fold.text if fold and fold.changed else None for fold in folded],
                "thresholds": {
                    category: limits.model_dump() for category, limits in thresholds.items()
                },
            }
        results.append(result)
    return results


def _served(name: str, moderator: Moderator, *, default: bool) -> ServedPolicy:
    policy = moderator.policy
    return ServedPolicy(
        name=name,
        fingerprint=policy.fingerprint,
        default=default,
        description=policy.description,
        steps=[
            PolicyStep(
                name=each.spec.name,
                filter=each.spec.filter,
                parts=sorted(each.kinds),
                categories=sorted(each.categories),
                languages=None if each.languages is None else sorted(each.languages),
                refines=each.spec.refines,
                fallback=each.spec.fallback.name if each.spec.fallback else None,
            )
            for step in moderator.steps
            for each in step.line()
        ],
        thresholds=policy.thresholds,
        stop_on=policy.stop_on,
        unsupported_language=policy.unsupported_language,
        image_urls=policy.images.urls,
    )


def _models(policies: Mapping[str, Moderator]) -> list[ServedModel]:
    from moderation import hub

    steps: dict[hub.Model, list[ServedStep]] = {}
    for name, moderator in policies.items():
        fingerprints = {
            each.spec.name: each.fingerprint for step in moderator.steps for each in step.line()
        }
        for model, names in hub.needed(moderator).items():
            steps.setdefault(model, []).extend(
                ServedStep(policy=name, step=step, fingerprint=fingerprints[step] or None)
                for step in names
            )
    served = []
    for model, used in steps.items():
        found = hub.look(model)
        owner, slash, _ = model.name.partition("/")
        served.append(
            ServedModel(
                id=model.name,
                owned_by=owner if slash else "local",
                licence=found.licence,
                available=not found.missing,
                steps=used,
            )
        )
    return served
