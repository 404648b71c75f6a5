"""Which language a text is in, where that can be told: script first, then CLD2."""

from __future__ import annotations

import re
from itertools import islice

MIN_LETTERS = 20
"""Below this many letters of Latin script no identifier is reliable, and none is asked."""

_LATIN_TOP = 0x24F
_URLS = re.compile(r"https?://\S+|[@#]\w+", re.ASCII)
# Frequent in English and nearly absent elsewhere: two of them settle it without an identifier.
_ENGLISH = re.compile(
    r"\b(?:the|and|you|your|that|this|they|with|what|have|are|not|of|is|it|to|my|be|for)\b",
    re.IGNORECASE | re.ASCII,
)


def detect(text: str) -> str | None:
    """ISO 639 code of the language of `text`, or None where it is not certain.

    A text of a few words in Latin script is not certain: moderation reads it anyway, since a
    short insult taken for Norwegian would go unread.
    """
    if text.isascii() and sum(1 for _ in islice(_ENGLISH.finditer(text, 0, 2_000), 2)) == 2:
        return "en"
    text = _URLS.sub(" ", text[:10_000])
    latin = other = 0
    for char in text:
        if char.isalpha():
            if ord(char) <= _LATIN_TOP:
                latin += 1
            else:
                other += 1
    if latin + other == 0:
        return None
    if other <= latin and latin < MIN_LETTERS:
        return None
    return _identify(text)


def _identify(text: str) -> str | None:
    import pycld2

    # CLD2 refuses control characters and takes no part of them as language.
    readable = "".join(char if char.isprintable() else " " for char in text)
    try:
        reliable, _, found = pycld2.detect(readable, bestEffort=False)
    except pycld2.error:
        return None
    _, code, percent, _ = found[0]
    if not reliable or code == "un" or percent < 70:
        return None
    return str(code).split("-", 1)[0]
