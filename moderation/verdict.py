"""What comes out: signals, the trace of the chain, and the `Verdict` that they add up to."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any, Literal, NamedTuple
from unicodedata import category

from moderation.content import Part
from moderation.errors import ContentError

SCHEMA_VERSION = 1

_CHUNK = re.compile(r"\S+")


class Action(IntEnum):
    """What to do with the content; a greater value is more severe."""

    ALLOW = 0
    REVIEW = 1
    BLOCK = 2

    def __str__(self) -> str:
        return self.name.lower()


class Signal(NamedTuple):
    """One finding of one filter.

    `score` is a probability or a likeness to one, in [0, 1]. `span` is ``(begin, end)`` in
    characters of the part as the user sent it, end exclusive; None speaks of the whole part.
    The engine fills in `step`.
    """

    category: str
    score: float
    span: tuple[int, int] | None = None
    part: int = 0
    reason: str = ""
    step: str = ""


StepStatus = Literal["ran", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class StepTrace:
    """What one step did with one content.

    `ms` is the wall time of the step's call divided by the number of contents that shared it.
    `scores` is what the step itself said, whether or not a later step replaced it.
    """

    step: str
    filter: str
    status: StepStatus
    reason: str = ""
    ms: float = 0.0
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The one answer about one content.

    `scores` holds the highest score of each category that a step reported. `reasons` says in
    words what led to `action`. `degraded` is true where a step that should have judged could not:
    the verdict then stands on less than the policy asks for. `policy` is ``name@fingerprint`` and
    `models` maps each loaded step to the fingerprint of what it judged with.
    """

    action: Action
    scores: Mapping[str, float]
    signals: tuple[Signal, ...]
    parts: tuple[Part, ...]
    trace: tuple[StepTrace, ...]
    reasons: tuple[str, ...]
    degraded: bool
    policy: str
    models: Mapping[str, str]

    @property
    def flagged(self) -> bool:
        """Whether anything but ALLOW came out."""
        return self.action > Action.ALLOW

    def spans(
        self, part: int = 0, *, at_least: float = 0.5, categories: Collection[str] | None = None
    ) -> list[tuple[int, int]]:
        """Spans of signals that reach `at_least`, merged where they touch, in order."""
        found = sorted(
            signal.span
            for signal in self.signals
            if signal.span
            and signal.part == part
            and signal.score >= at_least
            and (categories is None or signal.category in categories)
        )
        merged: list[tuple[int, int]] = []
        for begin, end in found:
            if merged and begin <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
            else:
                merged.append((begin, end))
        return merged

    def masked(
        self,
        text: str | None = None,
        *,
        part: int = 0,
        at_least: float = 0.5,
        categories: Collection[str] | None = None,
    ) -> str:
        """The text with every signalled word cut to its first letter: ``f***``.

        `text` is the text of that part as it was sent, for callers who keep it themselves.

        Raises:
            ContentError: `text` is not as long as the text that the verdict is about, or there
                is no part `part`.
        """
        if not 0 <= part < len(self.parts):
            raise ContentError(f"the verdict has parts 0 to {len(self.parts) - 1}, not {part}")
        sent = self.parts[part].text
        if text is None:
            text = sent
        elif len(text) != len(sent):
            raise ContentError(
                f"the verdict is about a text of {len(sent)} characters, found {len(text)}; "
                "give the text as it was moderated"
            )
        pieces, last = [], 0
        for begin, end in self.spans(part, at_least=at_least, categories=categories):
            pieces += [text[last:begin], mask_words(text[begin:end])]
            last = end
        return "".join([*pieces, text[last:]])

    def to_dict(self, *, include_text: bool = False) -> dict[str, Any]:
        """JSON-ready form, as `verdict_schema` describes it.

        The texts themselves are left out unless `include_text` is set, so that a log of verdicts
        is not a log of what people wrote.
        """
        parts: list[dict[str, Any]] = []
        for part in self.parts:
            entry: dict[str, Any] = {"kind": part.kind, "source": part.source}
            if include_text and part.kind != "image":
                entry["text"] = part.text
            if part.boxes:
                entry["boxes"] = [
                    [int(box.begin), int(box.end)]
                    + [float(edge) for edge in (box.left, box.top, box.right, box.bottom)]
                    for box in part.boxes
                ]
            parts.append(entry)
        return {
            "schema": SCHEMA_VERSION,
            "action": str(self.action),
            "flagged": self.flagged,
            "degraded": self.degraded,
            "reasons": list(self.reasons),
            "scores": {name: _rounded(score) for name, score in self.scores.items()},
            "signals": [
                {
                    "category": signal.category,
                    "score": _rounded(signal.score),
                    "span": None if signal.span is None else list(signal.span),
                    "part": signal.part,
                    "reason": signal.reason,
                    "step": signal.step,
                }
                for signal in self.signals
            ],
            "parts": parts,
            "trace": [
                {
                    "step": trace.step,
                    "filter": trace.filter,
                    "status": trace.status,
                    "reason": trace.reason,
                    "ms": round(trace.ms, 3),
                    "scores": {name: _rounded(score) for name, score in trace.scores.items()},
                }
                for trace in self.trace
            ],
            "policy": self.policy,
            "models": dict(self.models),
        }


@cache
def verdict_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of `Verdict.to_dict`."""
    text = files("moderation").joinpath("verdict.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def mask_words(piece: str) -> str:
    """Every word cut to its first letter, a spaced-out word as one: ``k i l l`` to ``k * * *``.

    What would be all there is to see is not kept: an emoji, or a word of a single character.
    """
    first = True
    several = len(piece.strip()) > 1

    def star(chunk: re.Match[str]) -> str:
        # A later chunk of one character is a letter of a spaced-out word: k i l l -> k * * *
        nonlocal first
        keep = (several if first else len(chunk[0]) > 1) and category(chunk[0][0]) != "So"
        first = False
        # An invisible first character would still turn the text around, or hide in it.
        seen = chunk[0][:keep] if chunk[0][0].isprintable() else "*" * keep
        return seen + "*" * (len(chunk[0]) - keep)

    return _CHUNK.sub(star, piece)


def _rounded(score: float) -> float:
    return round(float(score), 6)
