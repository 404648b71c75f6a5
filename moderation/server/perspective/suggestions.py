"""What a suggested score teaches, and the file that keeps it."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moderation.errors import ConfigError
from moderation.server.face import Problem
from moderation.server.perspective import comment
from moderation.server.perspective.faults import Refusal, unknown
from moderation.server.perspective.messages import SuggestCommentScoreRequest, TextEntry
from moderation.taxonomy import PERSPECTIVE, TWIN, categories_of

# Named by the API reference, with or without something behind them here.
_OTHER_ATTRIBUTES = frozenset(
    "FLIRTATION ATTACK_ON_AUTHOR ATTACK_ON_COMMENTER INCOHERENT INFLAMMATORY LIKELY_TO_REJECT "
    "OBSCENE SPAM UNSUBSTANTIAL AFFINITY COMPASSION CURIOSITY NUANCE PERSONAL_STORY REASONING "
    "RESPECT".split()
)
# What Coral suggests instead of attributes, with a score of 1: a moderator's decision.
_DECISIONS = {"APPROVED": 0.0, "HIGHLIGHTED": 0.0, "DELETED": 1.0}
_DECISION = "rejected"


def suggested(request: SuggestCommentScoreRequest) -> list[dict[str, Any]]:
    """What a suggestion teaches: a row for the comment, and one for each span that it scores.

    A row is what a recipe of `moderation train` reads: ``text``, and a column for each label, from
    0 to 1; beside them what tells it from others.

    Raises:
        Problem: the suggestion cannot be understood; the errors of the API, in its words.
    """
    text = comment.text(request.comment)
    if not comment.seen(request.comment).text.strip():
        raise comment.empty()
    if not request.attribute_scores:
        raise Refusal("INVALID_REQUEST", "Missing attribute_scores")
    rows: dict[tuple[int, int], dict[str, float]] = {}
    edges = comment.utf16(text, [(0, len(text))])[0]
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
        "language": comment.codes(request.languages)[0] if request.languages else "",
        "community": request.community_id,
        "client_token": request.client_token,
        "received": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    found = []
    for (begin, end), labels in rows.items():
        piece = units[2 * begin : 2 * end].decode("utf-16-le", errors="replace")
        piece = comment.seen(TextEntry(text=piece, type=request.comment.type)).text.strip()
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


def _label(name: str, value: float) -> tuple[str, float]:
    """The column that a suggested score goes to, and what goes there."""
    if name in _DECISIONS:
        return _DECISION, value if _DECISIONS[name] else 1 - value
    base = name.removesuffix(TWIN)
    if base in PERSPECTIVE:
        return categories_of("perspective", base)[0], value
    if base in _OTHER_ATTRIBUTES:
        return base.lower(), value
    raise unknown(name)
