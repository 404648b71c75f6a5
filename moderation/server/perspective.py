"""The face of the Perspective API, v1alpha1: ``comments:analyze`` and ``comments:suggestscore``.

A request is made into contents by `plan`, and verdicts into a response by `analysis`; both are
plain functions. Names, limits and messages are those of the public API reference
(https://developers.perspectiveapi.com/s/about-the-api-methods) and of its discovery document.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel
from sentencex import get_sentence_boundaries

from moderation.content import Content, Message, Part
from moderation.engine import Moderator
from moderation.errors import ConfigError
from moderation.server.face import Face, Problem, read
from moderation.server.html import Shown, shown
from moderation.server.service import Service
from moderation.taxonomy import PERSPECTIVE, TWIN, categories_of, standing, translate
from moderation.verdict import Verdict

MAX_BYTES = 20_480
"""Of a comment's text in UTF-8."""
MAX_SPANS = 100
"""Spans of one comment; where it has more sentences, neighbours share a span."""
MAX_ATTRIBUTES = 100
CONTEXT_CHARACTERS = 20_000
"""What is read of the conversation before the comment: its end."""
SHORT = 1_000
"""Characters of a plain comment that is prepared on the event loop: it takes microseconds …"""
FEW = 10
"""… and so does putting together the scores of so many spans."""

# Named by the API reference, with or without something behind them here.
_OTHER_ATTRIBUTES = frozenset(
    "FLIRTATION ATTACK_ON_AUTHOR ATTACK_ON_COMMENTER INCOHERENT INFLAMMATORY LIKELY_TO_REJECT "
    "OBSCENE SPAM UNSUBSTANTIAL AFFINITY COMPASSION CURIOSITY NUANCE PERSONAL_STORY REASONING "
    "RESPECT".split()
)
# What Coral suggests instead of attributes, with a score of 1: a moderator's decision.
_DECISIONS = {"APPROVED": 0.0, "HIGHLIGHTED": 0.0, "DELETED": 1.0}
_DECISION = "rejected"

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_LATIN_TOP = 0x24F
_SCRIPT_ONLY = "xx"
"""What the identifier calls a script that it knows and of which it knows no language."""


class _Message(BaseModel):
    """As protocol buffers read JSON: names in either spelling, null for what is not set."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    @model_validator(mode="before")
    @classmethod
    def _set(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data


def _repeated(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Languages = Annotated[tuple[str, ...], BeforeValidator(_repeated)]
ScoreType = Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY", "STD_DEV_SCORE", "PERCENTILE", "RAW"]
Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class TextEntry(_Message):
    text: str = ""
    type: Literal["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"] = "PLAIN_TEXT"


class ArticleAndParentComment(_Message):
    article: TextEntry = TextEntry()
    parent_comment: TextEntry = TextEntry()


class Context(_Message):
    entries: tuple[TextEntry, ...] = ()
    article_and_parent_comment: ArticleAndParentComment | None = None

    @model_validator(mode="after")
    def _one(self) -> Context:
        if self.entries and self.article_and_parent_comment is not None:
            raise ValueError("expected entries or articleAndParentComment, found both")
        return self


class AttributeParameters(_Message):
    score_type: ScoreType = "PROBABILITY"
    score_threshold: float = Field(default=0.0, allow_inf_nan=False)


class AnalyzeCommentRequest(_Message):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "comment": {"text": "What a foolish idea. Thank you for asking!"},
                "requestedAttributes": {"TOXICITY": {}, "INSULT": {"scoreThreshold": 0.1}},
                "languages": ["en"],
                "spanAnnotations": True,
                "doNotStore": True,
            }
        }
    )

    comment: TextEntry = TextEntry()
    context: Context = Context()
    requested_attributes: dict[str, AttributeParameters | None] = Field(
        default={}, max_length=MAX_ATTRIBUTES
    )
    languages: Languages = ()
    span_annotations: bool = False
    do_not_store: bool = False
    drop_unsupported_attributes: bool = False
    client_token: str = ""
    session_id: str = ""
    community_id: str = ""


class Score(_Message):
    value: Probability = 0.0
    type: Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY"] = "PROBABILITY"


class SpanScore(_Message):
    begin: int
    end: int
    score: Score


class AttributeScores(_Message):
    summary_score: Score | None = None
    span_scores: tuple[SpanScore, ...] = ()


class SuggestCommentScoreRequest(_Message):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "comment": {"text": "What a foolish idea."},
                "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
                "communityId": "forum/films",
                "clientToken": "comment-53922",
            }
        }
    )

    comment: TextEntry = TextEntry()
    context: Context = Context()
    attribute_scores: dict[str, AttributeScores] = Field(default={}, max_length=MAX_ATTRIBUTES)
    languages: Languages = ()
    do_not_store: bool = False
    client_token: str = ""
    session_id: str = ""
    community_id: str = ""


class AnalyzeCommentResponse(_Message):
    """Fields that are empty are left out."""

    attribute_scores: dict[str, AttributeScores] = {}
    languages: tuple[str, ...] = ()
    detected_languages: tuple[str, ...] = ()
    client_token: str = ""


class SuggestCommentScoreResponse(_Message):
    """Fields that are empty are left out."""

    client_token: str = ""
    detected_languages: tuple[str, ...] = ()
    requested_languages: tuple[str, ...] = ()


class Refusal(Problem):
    """A 400 with one of the API's own error types, and what goes with it."""

    def __init__(self, kind: str, message: str, **more: Any) -> None:
        super().__init__(400, kind, message)
        self.more = more


@dataclass(frozen=True)
class Plan:
    """What is to be judged to answer a request: the comment and, behind it, its spans.

    `places` are the spans in UTF-16 code units of the comment as it was sent; the first is the
    whole. `attributes` maps the names to be answered to their thresholds.
    """

    contents: list[Content]
    places: list[tuple[int, int]]
    attributes: dict[str, float]
    spans: bool
    languages: list[str]
    detected: list[str]
    client_token: str


def plan(request: AnalyzeCommentRequest, moderator: Moderator) -> Plan:
    """What `moderator` has to judge to answer `request`.

    Raises:
        Problem: the request cannot be answered; the errors of the API, in its words.
    """
    text = _text(request.comment)
    attributes = _attributes(request, moderator)
    seen = _seen(request.comment)
    if not seen.text.strip():
        raise _empty()
    part = Part("text", seen.text)
    codes = _codes(request.languages)
    detected = _detected(part)

    spoken = {name: _spoken(moderator, name) for name in attributes}
    used = [code.replace("_", "-").split("-", 1)[0].lower() for code in codes] or list(detected)
    known = [languages for languages in spoken.values() if languages is not None]
    if not used and known:
        if _foreign(part):
            raise Refusal("LANGUAGE_DETECTION_FAILED", "Unable to detect language")
        # A few words that could be of any language: read by whoever reads, as everywhere else.
        first = frozenset.intersection(*known) or known[0]
        used = ["en" if "en" in first else min(first)]
    for name, languages in spoken.items():
        if languages is None or languages.issuperset(used):
            continue
        if request.drop_unsupported_attributes:
            del attributes[name]
            continue
        raise Refusal(
            "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
            f"Attribute {name} does not support request languages: {','.join(codes or used)}",
            languageNotSupportedByAttributeError={
                "detectedLanguages": detected or used,
                "attribute": name,
            },
        )

    context = _context(request.context)
    language = used[0] if used else None
    # Only where somebody is told: a content with metadata is judged anew each time.
    wish = {"doNotStore": True} if request.do_not_store and moderator.registry.observed else {}
    whole = Content((part,), context, language, wish)
    contents, places = [whole], [(0, len(text))]
    if request.span_annotations and attributes:
        for begin, end in sentences(seen.text):
            alone = Part("text", seen.text[begin:end])
            # By itself: a long conversation read again for every sentence would be a long wait.
            contents.append(whole if alone == part else replace(whole, parts=(alone,), context=()))
            places.append((seen.begins[begin], seen.ends[end - 1]))
    return Plan(
        contents if attributes else [],
        _utf16(text, places),
        attributes,
        request.span_annotations,
        list(codes) or used,
        detected,
        request.client_token,
    )


def analysis(planned: Plan, verdicts: Sequence[Verdict], moderator: Moderator) -> dict[str, Any]:
    """The response, out of one verdict for each content of the plan.

    Raises:
        Problem: 503, a step that stands behind an attribute could not judge.
    """
    found = [_scores(verdict, moderator) for verdict in verdicts]
    scores: dict[str, Any] = {}
    for name, threshold in planned.attributes.items():
        base = name.removesuffix(TWIN)
        if any(base not in each for each in found):
            raise Problem(503, "step_failed", f"what stands behind {name} could not judge just now")
        summary, *spans = (round(each[base], 8) for each in found)
        if summary < threshold:
            continue
        places = planned.places[1:] if planned.spans else planned.places
        scores[name] = {
            "spanScores": [
                {"begin": begin, "end": end, "score": _score(value)}
                for (begin, end), value in zip(
                    places, spans if planned.spans else [summary], strict=True
                )
            ],
            "summaryScore": _score(summary),
        }
    response = {
        "attributeScores": scores,
        "languages": planned.languages,
        "detectedLanguages": planned.detected,
        "clientToken": planned.client_token,
    }
    return {key: value for key, value in response.items() if value}


def suggested(request: SuggestCommentScoreRequest) -> list[dict[str, Any]]:
    """What a suggestion teaches: a row for the comment, and one for each span that it scores.

    A row is what a recipe of `moderation train` reads: ``text``, and a column for each label, from
    0 to 1; beside them what tells it from others.

    Raises:
        Problem: the suggestion cannot be understood; the errors of the API, in its words.
    """
    text = _text(request.comment)
    if not _seen(request.comment).text.strip():
        raise _empty()
    if not request.attribute_scores:
        raise Refusal("INVALID_REQUEST", "Missing attribute_scores")
    rows: dict[tuple[int, int], dict[str, float]] = {}
    edges = _utf16(text, [(0, len(text))])[0]
    for name, scores in request.attribute_scores.items():
        if scores.summary_score is None and not scores.span_scores:
            raise Refusal("INVALID_REQUEST", "Missing summary_score and span_scores")
        given = [(*edges, scores.summary_score)] if scores.summary_score is not None else []
        given += [(span.begin, span.end, span.score) for span in scores.span_scores]
        for begin, end, score in given:
            if not 0 <= begin < end <= edges[1]:
                raise Refusal("INVALID_REQUEST", "Invalid span: it lies outside of the comment")
            label, value = _label(name, score.value)
            rows.setdefault((begin, end), {})[label] = value
    units = text.encode("utf-16-le")
    about = {
        "language": _codes(request.languages)[0] if request.languages else "",
        "community": request.community_id,
        "client_token": request.client_token,
        "received": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found = []
    for (begin, end), labels in rows.items():
        piece = units[2 * begin : 2 * end].decode("utf-16-le", errors="replace")
        piece = _seen(TextEntry(text=piece, type=request.comment.type)).text.strip()
        if piece:
            found.append({"text": piece, **labels, **about})
    return found


class Suggestions:
    """A JSON-lines file that rows are appended to, several processes at a time included."""

    def __init__(self, path: Path) -> None:
        """Raises ConfigError where the file cannot be appended to."""
        self.path = path
        self._lock = threading.Lock()
        try:
            self._append(b"")
        except OSError as error:
            raise ConfigError(
                f"expected a file that suggested scores can be appended to: {error.strerror}",
                where=str(path),
            ) from None

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Raises Problem (503) where the disk is full, say: nothing half is left behind."""
        data = b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)
        try:
            with self._lock:
                self._append(data)
        except OSError:
            raise Problem(503, "not_stored", "The suggestion could not be stored") from None

    def _append(self, data: bytes) -> None:
        # In one write, which the system appends as a whole; readable by the owner only.
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if os.write(file, data) != len(data):
                raise OSError
        finally:
            os.close(file)


def sentences(text: str) -> list[tuple[int, int]]:
    """Where the sentences of `text` stand, without the white space around them.

    At most `MAX_SPANS`: where there are more, neighbours are put together, so that every character
    but white space lies in one.
    """
    found = []
    for boundary in get_sentence_boundaries("en", text):
        begin, end = boundary["start_index"], boundary["end_index"]
        piece = text[begin:end]
        begin, end = begin + len(piece) - len(piece.lstrip()), begin + len(piece.rstrip())
        if begin < end:
            found.append((begin, end))
    share = -(-len(found) // MAX_SPANS)
    if share > 1:
        found = [
            (found[first][0], found[min(first + share, len(found)) - 1][1])
            for first in range(0, len(found), share)
        ]
    return found


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
        **_docs(AnalyzeCommentRequest, AnalyzeCommentResponse),
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
        **_docs(SuggestCommentScoreRequest, SuggestCommentScoreResponse),
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
            200: {"description": "A discovery document.", **_json({"type": "object"})},
            404: {"description": _FAULTS[404], **_json(_ERROR)},
            429: {"description": _FAULTS[429], **_json(_ERROR)},
        },
    )
    async def discover(request: Request) -> JSONResponse:
        """What Google's clients are built from."""
        if request.query_params.get("version", "v1alpha1") != "v1alpha1":
            raise Problem(404, "not_found", "There is no such version; expected v1alpha1")
        return JSONResponse(discovery(str(request.base_url)))

    return routes


def _error(problem: Problem) -> tuple[int, Mapping[str, Any]]:
    """A problem in the form of Google's APIs."""
    status, word = problem.status, _STATUS.get(problem.status, "UNKNOWN")
    detail: dict[str, Any]
    if problem.code == "missing_key":
        status, word = 403, "PERMISSION_DENIED"
        detail = _info("API_KEY_MISSING")
    elif problem.code == "invalid_key":
        status, word = 400, "INVALID_ARGUMENT"
        detail = _info("API_KEY_INVALID")
    elif status == 429:
        detail = _info("RATE_LIMIT_EXCEEDED")
    else:
        if status == 422:
            status, word = 400, "INVALID_ARGUMENT"
        own = isinstance(problem, Refusal)
        kind = problem.code if own else "INVALID_REQUEST" if status < 500 else "UNKNOWN"
        detail = {
            "@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error",
            "errorType": kind,
            **(problem.more if isinstance(problem, Refusal) else {}),
        }
    message = _MESSAGES.get(problem.code, problem.message)
    return status, {
        "error": {"code": status, "message": message, "status": word, "details": [detail]}
    }


_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    405: "UNIMPLEMENTED",
    408: "DEADLINE_EXCEEDED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_MESSAGES = {
    "missing_key": "Method doesn't allow unregistered callers. Please use API Key.",
    "invalid_key": "API key not valid. Please pass a valid API key.",
}


def _info(reason: str) -> dict[str, Any]:
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": "googleapis.com",
        "metadata": {"service": "commentanalyzer.googleapis.com"},
    }


_ERROR: dict[str, Any] = {
    "type": "object",
    "title": "GoogleError",
    "additionalProperties": False,
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "additionalProperties": False,
            "required": ["code", "message", "status", "details"],
            "properties": {
                "code": {"type": "integer", "description": "The HTTP status."},
                "message": {"type": "string"},
                "status": {"type": "string", "examples": ["INVALID_ARGUMENT"]},
                "details": {"type": "array", "items": {"type": "object"}},
            },
        }
    },
}
_FAULTS = {
    400: "The request cannot be answered; `details[0].errorType` says why.",
    403: "No key, where the service asks for one.",
    404: "There is no such version.",
    408: "The body came too slowly.",
    413: "The body is too long.",
    429: "Overloaded: nothing was judged. Try again after the seconds in Retry-After.",
    503: "A step failed or hangs, and there is no score then.",
}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _docs(request: type[BaseModel], response: type[BaseModel]) -> dict[str, Any]:
    """What a route that reads and writes JSON by itself tells OpenAPI about it."""
    faults = {
        status: {"description": told, **_json(_ERROR)}
        for status, told in _FAULTS.items()
        if status != 404
    }
    answer = response.model_json_schema(mode="serialization")
    return {
        "openapi_extra": {"requestBody": {"required": True, **_json(request.model_json_schema())}},
        "responses": {200: {"description": "Done.", **_json(answer)}, **faults},
    }


FACE = Face(
    name="perspective",
    paths=("/v1alpha1/", "/$discovery/"),
    error=_error,
    keys="google",
    open_paths=frozenset({"/$discovery/rest"}),
)


def _text(comment: TextEntry) -> str:
    if not comment.text:
        raise _empty()
    size = len(comment.text.encode())
    if size > MAX_BYTES:
        raise Refusal(
            "COMMENT_TOO_LONG",
            f"Comment text was too many bytes. Value ({size}) exceeded limit ({MAX_BYTES}).",
        )
    return comment.text


def _empty() -> Refusal:
    return Refusal("COMMENT_EMPTY", "Comment must be non-empty.")


def _seen(entry: TextEntry) -> Shown:
    if entry.type == "HTML":
        return shown(entry.text)
    size = len(entry.text)
    return Shown(entry.text, range(size), range(1, size + 1))


def _attributes(request: AnalyzeCommentRequest, moderator: Moderator) -> dict[str, float]:
    if not request.requested_attributes:
        raise Refusal("NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes")
    served = standing("perspective", _reported(moderator))
    found = {}
    for name, parameters in request.requested_attributes.items():
        parameters = parameters or AttributeParameters()
        if parameters.score_type not in ("PROBABILITY", "SCORE_TYPE_UNSPECIFIED"):
            raise Refusal("INVALID_REQUEST", "Unsupported score type; expected PROBABILITY")
        if name.removesuffix(TWIN) in served:
            found[name] = parameters.score_threshold
        elif not request.drop_unsupported_attributes:
            raise _unknown(name)
    return found


def _unknown(name: str) -> Refusal:
    # A name of the API's own form is told; anything else may be what somebody wrote.
    told = f": {name}" if _NAME.fullmatch(name) else ""
    return Refusal("INVALID_REQUEST", f"Unknown requested attribute{told}")


def _label(name: str, value: float) -> tuple[str, float]:
    """The column that a suggested score goes to, and what goes there."""
    if name in _DECISIONS:
        return _DECISION, value if _DECISIONS[name] else 1 - value
    base = name.removesuffix(TWIN)
    if base in PERSPECTIVE:
        return categories_of("perspective", base)[0], value
    if base in _OTHER_ATTRIBUTES:
        return base.lower(), value
    raise _unknown(name)


def _codes(languages: Collection[str]) -> list[str]:
    if len(languages) > 10 or not all(map(_LANGUAGE.fullmatch, languages)):
        raise Refusal("INVALID_REQUEST", "Invalid languages: expected ISO 639-1 or BCP-47 codes")
    return list(languages)


def _reported(moderator: Moderator) -> set[str]:
    return {
        category for step in moderator.steps for each in step.line() for category in each.categories
    }


def _spoken(moderator: Moderator, name: str) -> frozenset[str] | None:
    """Languages in which an attribute is scored; None for any."""
    wanted = set(categories_of("perspective", name.removesuffix(TWIN)))
    found: frozenset[str] = frozenset()
    for step in moderator.steps:
        for each in step.line():
            if wanted & each.categories:
                if each.languages is None:
                    return None
                found |= each.languages
    return found


def _foreign(part: Part) -> bool:
    """Whether most letters are of a script of which the language could not be told.

    Of the folded text: English disguised by letters from all over Unicode is not foreign.
    """
    letters = [char for char in part.folded.text if char.isalpha()]
    return 2 * sum(ord(char) > _LATIN_TOP for char in letters) > len(letters)


def _context(context: Context) -> tuple[Message, ...]:
    entries = list(context.entries)
    if context.article_and_parent_comment is not None:
        both = context.article_and_parent_comment
        entries = [both.article, both.parent_comment]
    messages: list[Message] = []
    left = CONTEXT_CHARACTERS
    for entry in reversed(entries):
        # Cut first: the markup of a whole article would take its time.
        text = _seen(entry.model_copy(update={"text": entry.text[-4 * left :]})).text.strip()
        text = text[-left:]
        left -= len(text)
        if text:
            messages.append(Message("user", text))
        if left <= 0:
            break
    return tuple(reversed(messages))


def _utf16(text: str, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Offsets in characters as offsets in UTF-16 code units."""
    if text.isascii():
        return list(places)
    pairs = list(accumulate((ord(char) > 0xFFFF for char in text), initial=0))
    return [(begin + pairs[begin], end + pairs[end]) for begin, end in places]


def _scores(verdict: Verdict, moderator: Moderator) -> dict[str, float]:
    """Scores of the attributes that some step has really judged."""
    ran = {trace.step for trace in verdict.trace if trace.status == "ran"}
    judged = {
        category
        for step in moderator.steps
        for each in step.line()
        if each.spec.name in ran
        for category in each.categories
    }
    return translate("perspective", verdict.scores, judged)


def _score(value: float) -> dict[str, Any]:
    return {"value": value, "type": "PROBABILITY"}


def _suggested(request: SuggestCommentScoreRequest) -> tuple[list[dict[str, Any]], list[str]]:
    return suggested(request), _detected(Part("text", _seen(request.comment).text))


def _detected(part: Part) -> list[str]:
    return [part.language] if part.language and part.language != _SCRIPT_ONLY else []


def discovery(root: str) -> dict[str, Any]:
    """The discovery document (https://developers.google.com/discovery), of a service at `root`."""
    root = root.rstrip("/") + "/"

    def method(name: str, kind: str, told: str) -> dict[str, Any]:
        return {
            "id": f"commentanalyzer.comments.{name}",
            "path": f"v1alpha1/comments:{name}",
            "flatPath": f"v1alpha1/comments:{name}",
            "httpMethod": "POST",
            "description": told,
            "parameters": {},
            "parameterOrder": [],
            "request": {"$ref": f"{kind}Request"},
            "response": {"$ref": f"{kind}Response"},
        }

    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "commentanalyzer:v1alpha1",
        "name": "commentanalyzer",
        "canonicalName": "Comment Analyzer",
        "version": "v1alpha1",
        "revision": "0",
        "title": "Perspective Comment Analyzer API",
        "description": "Scores of what a comment may do to a conversation.",
        "protocol": "rest",
        "rootUrl": root,
        "baseUrl": root,
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": {
            name: {"type": kind, "location": "query", "description": told}
            for name, kind, told in (
                ("key", "string", "API key."),
                ("alt", "string", "Data format for the response: json."),
                ("fields", "string", "Accepted and not looked at."),
                ("prettyPrint", "boolean", "Accepted and not looked at."),
                ("quotaUser", "string", "Accepted and not looked at."),
            )
        },
        "schemas": _DISCOVERED,
        "resources": {
            "comments": {
                "methods": {
                    "analyze": method(
                        "analyze",
                        "AnalyzeComment",
                        "Analyzes the provided text and returns scores for requested attributes.",
                    ),
                    "suggestscore": method(
                        "suggestscore",
                        "SuggestCommentScore",
                        "Suggest comment scores as training data.",
                    ),
                }
            }
        },
    }


_Property = dict[str, Any]


def _string(**more: Any) -> _Property:
    return {"type": "string", **more}


def _list(items: _Property) -> _Property:
    return {"type": "array", "items": items}


def _map(items: _Property) -> _Property:
    return {"type": "object", "additionalProperties": items}


_BOOLEAN: _Property = {"type": "boolean"}
_FLOAT: _Property = {"type": "number", "format": "float"}
_INTEGER: _Property = {"type": "integer", "format": "int32"}
_STRINGS = _list(_string())
_SHARED: _Property = {
    "comment": {"$ref": "TextEntry"},
    "context": {"$ref": "Context"},
    "languages": _STRINGS,
    "clientToken": _string(),
    "sessionId": _string(),
    "communityId": _string(),
}
_DISCOVERED: dict[str, Any] = {
    name: {"id": name, "type": "object", "properties": properties}
    for name, properties in {
        "TextEntry": {
            "text": _string(),
            "type": _string(enum=["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"]),
        },
        "ArticleAndParentComment": {
            "article": {"$ref": "TextEntry"},
            "parentComment": {"$ref": "TextEntry"},
        },
        "Context": {
            "entries": _list({"$ref": "TextEntry"}),
            "articleAndParentComment": {"$ref": "ArticleAndParentComment"},
        },
        "AttributeParameters": {"scoreType": _string(), "scoreThreshold": _FLOAT},
        "Score": {"value": _FLOAT, "type": _string()},
        "SpanScore": {"begin": _INTEGER, "end": _INTEGER, "score": {"$ref": "Score"}},
        "AttributeScores": {
            "summaryScore": {"$ref": "Score"},
            "spanScores": _list({"$ref": "SpanScore"}),
        },
        "AnalyzeCommentRequest": {
            **_SHARED,
            "requestedAttributes": _map({"$ref": "AttributeParameters"}),
            "spanAnnotations": _BOOLEAN,
            "doNotStore": _BOOLEAN,
            "dropUnsupportedAttributes": _BOOLEAN,
        },
        "AnalyzeCommentResponse": {
            "attributeScores": _map({"$ref": "AttributeScores"}),
            "languages": _STRINGS,
            "detectedLanguages": _STRINGS,
            "clientToken": _string(),
        },
        "SuggestCommentScoreRequest": {
            **_SHARED,
            "attributeScores": _map({"$ref": "AttributeScores"}),
        },
        "SuggestCommentScoreResponse": {
            "clientToken": _string(),
            "detectedLanguages": _STRINGS,
            "requestedLanguages": _STRINGS,
        },
    }.items()
}
