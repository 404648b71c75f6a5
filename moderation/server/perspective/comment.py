"""A comment as it is read: what its reader sees, its sentences, languages and offsets."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from itertools import accumulate

from sentencex import get_sentence_boundaries

from moderation.content import Part
from moderation.server.html import Shown, shown
from moderation.server.perspective.faults import Refusal
from moderation.server.perspective.messages import TextEntry

MAX_BYTES = 20_480
"""Of a comment's text in UTF-8."""
MAX_SPANS = 100
"""Spans of one comment; where it has more sentences, neighbours share a span."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8}){0,4}", re.ASCII)
_LATIN_TOP = 0x24F
_SCRIPT_ONLY = "xx"
"""What the identifier calls a script that it knows and of which it knows no language."""


def text(comment: TextEntry) -> str:
    """The text as it was sent, markup and all.

    Raises:
        Refusal: there is none, or more than `MAX_BYTES`.
    """
    if not comment.text:
        raise empty()
    size = len(comment.text.encode())
    if size > MAX_BYTES:
        raise Refusal(
            "COMMENT_TOO_LONG",
            f"Comment text was too many bytes. Value ({size}) exceeded limit ({MAX_BYTES}).",
        )
    return comment.text


def empty() -> Refusal:
    """For a comment of which nothing is to be seen, too."""
    return Refusal("COMMENT_EMPTY", "Comment must be non-empty.")


def seen(entry: TextEntry) -> Shown:
    """What a reader sees, each character with where it stands in the text as it was sent."""
    if entry.type == "HTML":
        return shown(entry.text)
    size = len(entry.text)
    return Shown(entry.text, range(size), range(1, size + 1))


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


def utf16(text: str, places: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Offsets in characters as offsets in UTF-16 code units."""
    if text.isascii():
        return list(places)
    pairs = list(accumulate((ord(char) > 0xFFFF for char in text), initial=0))
    return [(begin + pairs[begin], end + pairs[end]) for begin, end in places]


def codes(languages: Collection[str]) -> list[str]:
    """The languages that a request names, once they look like some; raises Refusal otherwise."""
    if len(languages) > 10 or not all(map(_LANGUAGE.fullmatch, languages)):
        raise Refusal("INVALID_REQUEST", "Invalid languages: expected ISO 639-1 or BCP-47 codes")
    return list(languages)


def detected(part: Part) -> list[str]:
    """The language that the text is in, if it could be told."""
    return [part.language] if part.language and part.language != _SCRIPT_ONLY else []


def foreign(part: Part) -> bool:
    """Whether most letters are of a script of which the language could not be told.

    Of the folded text: English disguised by letters from all over Unicode is not foreign.
    """
    letters = [char for char in part.folded.text if char.isalpha()]
    return 2 * sum(ord(char) > _LATIN_TOP for char in letters) > len(letters)
