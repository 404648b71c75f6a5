"""The errors of the API: its own types of what is wrong, in the form of Google's APIs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from moderation.server.document import FAULTS, record, refusals
from moderation.server.face import Problem

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}", re.ASCII)


class Refusal(Problem):
    """A 400 with one of the API's own error types, and what goes with it."""

    def __init__(self, kind: str, message: str, **more: Any) -> None:
        super().__init__(400, kind, message)
        self.more = more


def unknown(name: str) -> Refusal:
    """For an attribute that there is not."""
    # A name of the API's own form is told; anything else may be what somebody wrote.
    told = f": {name}" if _NAME.fullmatch(name) else ""
    return Refusal("INVALID_REQUEST", f"Unknown requested attribute{told}")


def error(problem: Problem) -> tuple[int, Mapping[str, Any]]:
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


RESPONSES = refusals(
    record(
        {
            "error": record(
                {
                    "code": {"type": "integer", "description": "The HTTP status."},
                    "message": {"type": "string"},
                    "status": {"type": "string", "examples": ["INVALID_ARGUMENT"]},
                    "details": {"type": "array", "items": {"type": "object"}},
                }
            )
        },
        title="GoogleError",
    ),
    {
        **{status: FAULTS[status] for status in (408, 413, 429)},
        400: "The request cannot be answered; `details[0].errorType` says why.",
        403: "No key, where the service asks for one.",
        404: "There is no such version.",
        503: "A step failed or hangs, and there is no score then.",
    },
)
"""What OpenAPI is told about these errors, by status."""
