"""The paths of the Perspective API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from moderation.content import Part
from moderation.server.document import json_of, operation
from moderation.server.face import Face, Problem, read
from moderation.server.perspective import comment, faults
from moderation.server.perspective.analysis import analysis, plan
from moderation.server.perspective.discovery import discovery
from moderation.server.perspective.messages import (
    AnalyzeCommentRequest,
    AnalyzeCommentResponse,
    SuggestCommentScoreRequest,
    SuggestCommentScoreResponse,
)
from moderation.server.perspective.suggestions import Suggestions, suggested
from moderation.server.service import Service
from moderation.verdict import Verdict

SHORT = 1_000
"""Characters of a plain comment that is prepared on the event loop: it takes microseconds …"""
FEW = 10
"""… and so does putting together the scores of so many spans."""


def router(
    service: Service, *, policy: str | None = None, suggestions: Path | None = None
) -> APIRouter:
    """The routes of this face, judged by `policy`.

    Raises ConfigError where `suggestions` cannot be written to.
    """
    name = policy or service.default
    kept = Suggestions(suggestions) if suggestions is not None else None
    routes = APIRouter(tags=["Perspective"])

    @routes.post(
        "/v1alpha1/comments:analyze",
        **_operation(AnalyzeCommentRequest, AnalyzeCommentResponse),
    )
    async def analyze(request: Request) -> JSONResponse:
        """Scores of the requested attributes."""
        asked = read(AnalyzeCommentRequest, await request.body())
        moderator = service.policies[name]
        plain = asked.comment.type != "HTML" and not asked.span_annotations
        if plain and len(asked.comment.text) <= SHORT:
            planned = plan(asked, moderator)
        else:
            planned = await service.run(plan, asked, moderator)
        verdicts: list[Verdict] = []
        if planned.contents:
            verdicts = await service.judge(planned.contents, policy=name, exhaustive=True)
        if len(verdicts) > FEW:
            return JSONResponse(await service.run(analysis, planned, verdicts, moderator))
        return JSONResponse(analysis(planned, verdicts, moderator))

    @routes.post(
        "/v1alpha1/comments:suggestscore",
        **_operation(SuggestCommentScoreRequest, SuggestCommentScoreResponse),
    )
    async def suggestscore(request: Request) -> JSONResponse:
        """Take the scores that a comment should have had, as labels for the next training."""
        asked = read(SuggestCommentScoreRequest, await request.body())
        rows, detected = await service.run(_suggested, asked)
        if kept is not None and not asked.do_not_store:
            await service.run(kept.append, rows)
        response = {
            "clientToken": asked.client_token,
            "detectedLanguages": detected,
            "requestedLanguages": list(asked.languages),
        }
        return JSONResponse({key: value for key, value in response.items() if value})

    @routes.get(
        "/$discovery/rest",
        openapi_extra={
            "parameters": [{"name": "version", "in": "query", "schema": {"const": "v1alpha1"}}]
        },
        responses={
            200: {"description": "A discovery document.", **json_of({"type": "object"})},
            404: faults.RESPONSES[404],
            429: faults.RESPONSES[429],
        },
    )
    async def discover(request: Request) -> JSONResponse:
        """What Google's clients are built from."""
        if any(version != "v1alpha1" for version in request.query_params.getlist("version")):
            raise Problem(404, "not_found", "There is no such version; expected v1alpha1")
        return JSONResponse(discovery(str(request.base_url)))

    return routes


def _suggested(request: SuggestCommentScoreRequest) -> tuple[list[dict[str, Any]], list[str]]:
    return suggested(request), comment.detected(Part("text", comment.seen(request.comment).text))


def _operation(request: type[BaseModel], response: type[BaseModel]) -> dict[str, Any]:
    # Other names than in requests, which may hold more: null, or a number in a string.
    answer = response.model_json_schema(mode="serialization", ref_template="#/$defs/{model}-Output")
    answer["$defs"] = {f"{name}-Output": part for name, part in answer.get("$defs", {}).items()}
    return operation(
        request.model_json_schema(),
        answer,
        {status: told for status, told in faults.RESPONSES.items() if status != 404},
        told="Done.",
    )


FACE = Face(
    name="perspective",
    paths=("/v1alpha1/", "/$discovery/"),
    error=faults.error,
    keys="google",
    open_paths=frozenset({"/$discovery/rest"}),
)
