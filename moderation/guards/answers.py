"""How guards answer. A further guard is a further entry of `FORMS`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from moderation.taxonomy import LLAMA_GUARD, QWEN3_GUARD, System


class Form(NamedTuple):
    """The form in which one family of guards answers: a word, then categories."""

    system: System
    """Its column in the table of categories; the prefix of its own names in signals."""
    lead: str
    """What the model writes before the word, always the same."""
    words: Mapping[str, float]
    """Each word it may write there, with what it means for P(unsafe)."""
    keys: tuple[str, ...]
    """Its categories as it writes them."""
    titles: Mapping[str, str]
    """What a key stands for, where the key does not say so itself."""
    listed: Callable[[str], list[str]]
    """The categories in what the model writes after the word."""
    custom: bool
    """Whether its prompt has a place for categories of one's own."""
    whole_words: bool
    """Whether each word is one token; where not, the first token of each tells them apart."""

    def read(self, answer: str) -> tuple[str, str] | None:
        """The word of a written answer and what stands after it; None if it is of another form."""
        text = answer.strip()
        lead = self.lead.strip()
        if not text.startswith(lead):
            return None
        text = text.removeprefix(lead).lstrip()
        for word in sorted(self.words, key=len, reverse=True):
            rest = text.removeprefix(word.strip())
            if rest != text and not rest[:1].isalnum():
                return word, rest
        return None


def _llama_guard(rest: str) -> list[str]:
    lines = rest.strip().splitlines()
    return [key.strip() for key in lines[0].split(",") if key.strip()] if lines else []


def _qwen3_guard(rest: str) -> list[str]:
    line = re.search(r"^Categories:(.*)$", rest, re.MULTILINE)
    keys = [key.strip() for key in line[1].split(",")] if line else []
    return [key for key in keys if key and key != "None"]


FORMS: Mapping[str, Form] = {
    # unsafe
    # S1,S10
    "llama_guard": Form(
        system="llama_guard",
        lead="\n\n",
        words={"safe": 0.0, "unsafe": 1.0},
        keys=tuple(LLAMA_GUARD),
        titles=LLAMA_GUARD,
        listed=_llama_guard,
        custom=True,
        whole_words=True,
    ),
    # Safety: Unsafe
    # Categories: Violent, Unethical Acts
    "qwen3_guard": Form(
        system="qwen3_guard",
        lead="Safety:",
        words={" Safe": 0.0, " Controversial": 0.5, " Unsafe": 1.0},
        keys=QWEN3_GUARD,
        titles={},
        listed=_qwen3_guard,
        custom=False,
        whole_words=False,
    ),
}


def form_of(model: str) -> str:
    """The form that a model of this name answers in, as far as the name tells."""
    return "qwen3_guard" if "qwen3guard" in model.lower().replace("-", "") else "llama_guard"


class Judgement(NamedTuple):
    """What a guard said of the last message of one conversation."""

    score: float
    """P(unsafe)."""
    keys: tuple[str, ...] = ()
    """Categories that it listed, as it writes them; none where it was not asked."""
    note: str = ""
    """What a reader of the score should know."""


_MARKERS = (
    r"<\|",
    r"</?(?:BEGIN|END) (?:UNSAFE CONTENT CATEGORIES|CONVERSATION)>",
    r"</?think>",
)
_TURN = re.compile(r"^([ \t]*(?:user|agent|assistant))(?=[ \t]*:)", re.IGNORECASE | re.MULTILINE)


class Defuser:
    """Takes apart what has a meaning in a prompt: ``< |eot_id|>``, ``Agent :``.

    Otherwise a message could close the conversation and write a harmless last turn, or the
    guard's answer, itself.
    """

    def __init__(self, tokens: Iterable[str] = ()):
        """`tokens`: what the tokenizer reads as one token wherever it stands."""
        further = [re.escape(token) for token in tokens if not token.startswith("<|")]
        self._pattern = re.compile("|".join([*_MARKERS, *sorted(further, key=len, reverse=True)]))

    def __call__(self, text: str) -> str:
        apart = self._pattern.sub(lambda match: match[0][0] + " " + match[0][1:], text)
        return _TURN.sub(r"\1 ", apart)
