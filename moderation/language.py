"""Which language a text is in, where that can be told: script first, then CLD2."""

from __future__ import annotations

import re
from collections import Counter

MIN_LETTERS = 20
"""Below this many letters of Latin script no identifier is reliable, and none is asked."""

_LATIN_TOP = 0x24F
_URLS = re.compile(r"https?://\S+|[@#]\w+", re.ASCII)
# Frequent in English and nearly absent from other languages (unlike "is", "of", "for" or "to",
# which are Dutch, Danish or Polish too): two different ones settle it without an identifier.
_ENGLISH = frozenset(
    "the and you your that this they with what would because about from there which just who their "
    "been were people how when than these should know think why could other into it's don't i'm "
    "can't that's you're never some".split()
)

# Where the identifier is not sure: the language that most writes in a script, by the first and
# last code point. Styled and full-width Latin letters are in none of these.
_SCRIPTS = (
    (0x0370, 0x03FF, "el"),
    (0x0410, 0x0451, "ru"),  # without the letters that pass for Latin ones
    (0x0530, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x077F, "ar"),
    (0x0900, 0x097F, "hi"),
    (0x0980, 0x09FF, "bn"),
    (0x0A00, 0x0A7F, "pa"),
    (0x0A80, 0x0AFF, "gu"),
    (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"),
    (0x0D80, 0x0DFF, "si"),
    (0x0E00, 0x0E7F, "th"),
    (0x0E80, 0x0EFF, "lo"),
    (0x1000, 0x109F, "my"),
    (0x10A0, 0x10FF, "ka"),
    (0x1200, 0x139F, "am"),
    (0x1780, 0x17FF, "km"),
    (0x3040, 0x30FF, "ja"),
    (0x3400, 0x9FFF, "zh"),
    (0xAC00, 0xD7AF, "ko"),
)

_LOOKALIKE = frozenset(("el", "ru", "hy"))
# Letters of those scripts that are drawn like Latin ones.
_TWINS = frozenset("αικνορτυχΑΒΕΖΗΙΚΜΝΟΡΤΥΧаекорсухіѕјԁһАВЕЗКМНОРСТУХЬ")

# CLD2 speaks of Hebrew and Javanese by withdrawn codes; Scots is what slang is often taken for,
# and who reads English reads it.
_CODES = {"iw": "he", "jw": "jv", "sco": "en"}


def detect(text: str) -> str | None:
    """ISO 639 code of the language of `text`, or None where it is not certain.

    A text of a few words in Latin script is not certain: moderation reads it anyway, since a
    short insult taken for Norwegian would go unread. A text in another script is told by the
    script where the identifier is not sure, unless Latin letters are mixed in: that is how
    English is disguised.
    """
    if text.isascii() and len(_ENGLISH.intersection(text[:2_000].lower().split())) >= 2:
        return "en"
    text = _URLS.sub(" ", text[:10_000])
    latin = sum(map(str.isalpha, text))
    other = 0
    if not text.isascii():
        other = sum(char.isalpha() for char in text if ord(char) > _LATIN_TOP)
        latin -= other
    if latin + other == 0:
        return None
    script = _by_script(text) if other else None
    if other <= latin and latin < MIN_LETTERS:
        return script
    return _identify(text) or script


def _identify(text: str) -> str | None:
    import pycld2

    # CLD2 refuses control characters and takes no part of them as language.
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    try:
        reliable, _, found = pycld2.detect(text, bestEffort=False)
    except pycld2.error:
        return None
    _, code, percent, _ = found[0]
    if not reliable or code == "un" or percent < 70:
        return None
    code = str(code).split("-", 1)[0]
    return _CODES.get(code, code)


def _by_script(text: str) -> str | None:
    letters = [ord(char) for char in text if char.isalpha()]
    found = Counter(
        code for letter in letters for first, last, code in _SCRIPTS if first <= letter <= last
    )
    if "ja" in found:  # written with Chinese characters too
        found["ja"] += found.pop("zh", 0)
    for code, count in found.most_common(1):
        # Look-alike letters among Latin ones are how English is disguised; other scripts are what
        # they seem to be, and a Chinese character says as much as a few letters.
        share = 0.8 if code in _LOOKALIKE else 0.3
        # One letter may be a sign or an emoticon.
        if count >= 2 and count >= share * len(letters):
            return code
        if code in _LOOKALIKE and count >= 0.5 * len(letters):
            own = sum(chr(letter) not in _TWINS for letter in letters if letter > _LATIN_TOP)
            if own >= 4:
                return code
    return None
