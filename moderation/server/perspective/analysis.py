"""A request is made into contents by `plan`, and verdicts into a response by `analysis`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from moderation.content import Content, Message, Part
from moderation.engine import Moderator
from moderation.server.face import Problem, judged
from moderation.server.perspective import comment
from moderation.server.perspective.faults import Refusal, unknown
from moderation.server.perspective.messages import (
    AnalyzeCommentRequest,
    AttributeParameters,
    Context,
)
from moderation.taxonomy import TWIN, categories_of, standing, translate
from moderation.verdict import Verdict

CONTEXT_CHARACTERS = 20_000
"""What is read of the conversation before the comment: its end."""


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
    text = comment.text(request.comment)
    attributes = _attributes(request, moderator)
    seen = comment.seen(request.comment)
    if not seen.text.strip():
        raise comment.empty()
    part = Part("text", seen.text)
    codes = comment.codes(request.languages)
    detected = comment.detected(part)

    spoken = {name: _spoken(moderator, name) for name in attributes}
    used = [code.replace("_", "-").split("-", 1)[0].lower() for code in codes] or list(detected)
    known = [languages for languages in spoken.values() if languages is not None]
    if not used and known:
        if comment.foreign(part):
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
        for begin, end in comment.sentences(seen.text):
            alone = Part("text", seen.text[begin:end])
            # By itself: a long conversation read again for every sentence would be a long wait.
            contents.append(whole if alone == part else replace(whole, parts=(alone,), context=()))
            places.append((seen.begins[begin], seen.ends[end - 1]))
    return Plan(
        contents if attributes else [],
        comment.utf16(text, places),
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
    found = [
        translate("perspective", verdict.scores, judged(verdict, moderator).keys())
        for verdict in verdicts
    ]
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
            raise unknown(name)
    return found


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


def _context(context: Context) -> tuple[Message, ...]:
    entries = list(context.entries)
    if context.article_and_parent_comment is not None:
        both = context.article_and_parent_comment
        entries = [both.article, both.parent_comment]
    messages: list[Message] = []
    left = CONTEXT_CHARACTERS
    for entry in reversed(entries):
        # Cut first: the markup of a whole article would take its time.
        text = comment.seen(entry.model_copy(update={"text": entry.text[-4 * left :]})).text.strip()
        text = text[-left:]
        left -= len(text)
        if text:
            messages.append(Message("user", text))
        if left <= 0:
            break
    return tuple(reversed(messages))


def _score(value: float) -> dict[str, Any]:
    return {"value": value, "type": "PROBABILITY"}
