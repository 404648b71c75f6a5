"""Disguises for training texts: the folding inverted.

``disguise`` writes words as people write them who want a reader to read them and a filter not to.
Listed words of the text come first (``moderation/lexicon.txt``), else any content word, so that a
model does not learn that only abuse is disguised.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import NamedTuple

from moderation.lexicon import lexicon
from moderation.lookalikes import lookalikes


@dataclass(frozen=True, slots=True)
class Disguised:
    """A text and its disguised form.

    ``words`` are the ranges of ``source`` that were disguised, in order.
    """

    source: str
    text: str
    words: tuple[tuple[int, int], ...]
    _places: tuple[int, ...]

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Carry a half-open range of ``source`` over to ``text``, both in characters.

        The ends of a disguised word are exact, places within it proportional. Raises ``ValueError``
        where ``0 <= begin <= end <= len(source)`` does not hold.
        """
        if not 0 <= begin <= end <= len(self.source):
            raise ValueError(
                f"expected 0 <= begin <= end <= {len(self.source)} (the length of the source), "
                f"found begin={begin}, end={end}"
            )
        return self._places[begin], self._places[end]


def disguise(text: str, rng: random.Random, *, strength: float = 0.5) -> str:
    """Return ``text`` with words disguised; see ``disguised``."""
    return disguised(text, rng, strength=strength).text


def disguised(
    text: str,
    rng: random.Random,
    *,
    strength: float = 0.5,
    kinds: Iterable[str] | None = None,
    anywhere: bool = False,
) -> Disguised:
    """Disguise some of the listed words of ``text``, or of its content words where it has none.

    ``anywhere`` it is the content words whether listed or not, as slips of the finger fall.
    ``strength`` is the share of those words that are disguised; at least one is where there is any.
    ``kinds`` are names of ``KINDS``; by default all, each as often as its weight says. One text is
    mostly disguised in one way, as one person writes.
    """
    words = lexicon()
    found = [match.span() for match in _WORD.finditer(text)]
    spans = [] if anywhere else [s for s in found if text[slice(*s)].lower() in words.listed]
    spans = spans or [(begin, end) for begin, end in found if end - begin > 3]
    chosen = [span for span in spans if rng.random() < strength]
    if not chosen and spans:
        chosen = [rng.choice(spans)]
    names = list(KINDS if kinds is None else kinds)
    weights = list(accumulate(KINDS[name].weight for name in names))
    habit = KINDS[rng.choices(names, cum_weights=weights)[0]]
    out: list[str] = []
    places = list(range(len(text) + 1))
    at = shift = 0
    for begin, end in chosen:
        kind = habit
        if rng.random() < 0.2:
            kind = KINDS[rng.choices(names, cum_weights=weights)[0]]
        new = kind.write(text[begin:end], rng)
        out += text[at:begin], new
        for place in range(begin, end):
            places[place] = begin + shift + (place - begin) * len(new) // (end - begin)
        at = end
        shift += len(new) - (end - begin)
        following = _GAP.match(text, end) if kind.joins else None
        if following:
            at = following.end()
            places[end:at] = [end + shift] * (at - end)
            shift -= at - end
        stop = next((first for first, _ in chosen if first >= at), len(text) + 1)
        places[at:stop] = range(at + shift, stop + shift)
    return Disguised(text, "".join((*out, text[at:])), tuple(chosen), tuple(places))


# A Latin word, without what belongs to an address.
_WORD = re.compile(r"(?<![\w@#/.:&])[A-Za-z]{2,}(?![\w@/]|://)")
_GAP = re.compile("[ \t]+(?=[A-Za-z])")

_LEET = {
    "a": "@4",
    "b": "8",
    "c": "(<",
    "e": "3",
    "g": "69",
    "i": "1!",
    "l": "1|",
    "o": "0",
    "s": "$5",
    "t": "7+",
    "u": "v",
}
_VOWELS = frozenset("aeiouy")
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad"
_OVERLAYS = "\u0336\u0335\u0337\u0338\u0332"
_STACKED = [
    chr(code) for code in (*range(0x300, 0x315), *range(0x316, 0x334), *range(0x339, 0x340))
]
_ACCENTS = {"a": "áàâäãå", "c": "çč", "e": "éèêë", "i": "íìîï", "n": "ñ", "o": "óòôöõ", "u": "úùûü"}
_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wertyuioiosdfghjkljxcvbnmn", strict=True))


_SHARES = (0.3, 0.6, 1.0)


def _some(
    word: str,
    rng: random.Random,
    able: Callable[[str], object],
    shares: tuple[float, ...] = _SHARES,
) -> set[int]:
    """Choose places of a word, at least one of those whose letter is able."""
    places = [i for i, letter in enumerate(word.lower()) if able(letter)]
    share = rng.choice(shares)
    return {i for i in places if rng.random() < share} or {rng.choice(places)} if places else set()


def _swapped(
    word: str, rng: random.Random, letters: dict[str, str], shares: tuple[float, ...] = _SHARES
) -> str:
    chosen = _some(word, rng, letters.get, shares)
    return "".join(
        rng.choice(letters[letter.lower()]) if i in chosen else letter
        for i, letter in enumerate(word)
    )


def _leet(word: str, rng: random.Random) -> str:
    return _swapped(word, rng, _LEET, shares=(0.0, 0.3, 0.6))  # more is read by nobody


def _mask(word: str, rng: random.Random) -> str:
    sign = rng.choice("******#-_%")
    inner = range(1, max(2, len(word) - 1))
    way = rng.random()
    if way < 0.5:
        vowels = [i for i in inner if word[i].lower() in _VOWELS]
        hidden = {rng.choice(vowels or inner)}
    elif way < 0.8 or len(word) > 6:
        first = rng.choice(inner)
        hidden = {first, min(first + 1, inner[-1])}
    else:
        hidden, sign = set(inner), "*"
    return "".join(sign if i in hidden else letter for i, letter in enumerate(word))


def _spelled(word: str, rng: random.Random) -> str:
    return rng.choice((" ", " ", " ", "  ")).join(word)


def _punctuated(word: str, rng: random.Random) -> str:
    return rng.choice((".", "-", "_", "*", "/", ". ", " . ", "|", "~")).join(word)


def _cut(word: str, rng: random.Random) -> str:
    at = rng.randrange(1, len(word))
    return word[:at] + rng.choice((" ", " ", ".", "-", "_", "/", "*")) + word[at:]


def _repeated(word: str, rng: random.Random) -> str:
    vowels = [i for i, letter in enumerate(word.lower()) if letter in _VOWELS]
    places = [*vowels, *vowels, len(word) - 1]
    held = {rng.choice(places) for _ in range(rng.choice((1, 1, 2)))}
    return "".join(
        letter * rng.randint(3, 7) if i in held else letter for i, letter in enumerate(word)
    )


def _hidden(word: str, rng: random.Random) -> str:
    sign = rng.choice(_INVISIBLE)
    chosen = _some(word[:-1], rng, str.isalpha)
    return "".join(letter + sign * (i in chosen) for i, letter in enumerate(word))


@cache
def _twins() -> dict[str, str]:
    found: dict[str, str] = {}
    letters = lookalikes()
    for twin in sorted(letters.twins):
        if twin.islower() and twin < "\u0600":  # Cyrillic, Greek and Armenian are at hand
            plain = letters.table[ord(twin)]
            found[plain] = found.get(plain, "") + twin
    return found


def _homoglyphs(word: str, rng: random.Random) -> str:
    return _swapped(word, rng, _twins())


def _styled(word: str, rng: random.Random) -> str:
    first = rng.choice((0xFF41, 0x1D41A, 0x1D44E, 0x1D4EA, 0x1D5EE, 0x1D622, 0x1D68A, 0x24D0))
    return "".join(
        # One letter of the mathematical alphabets has its place elsewhere: italic h.
        chr(first + ord(c) - ord("a")).replace("\U0001d455", "\u210e") if "a" <= c <= "z" else c
        for c in word.lower()
    )


def _accented(word: str, rng: random.Random) -> str:
    return _swapped(word, rng, _ACCENTS)


def _stacked(word: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        overlay = rng.choice(_OVERLAYS)
        return "".join(letter + overlay for letter in word)
    return "".join(letter + "".join(rng.choices(_STACKED, k=rng.randint(3, 6))) for letter in word)


def _mistyped(word: str, rng: random.Random) -> str:
    at = rng.randrange(len(word) - 1)
    two = word[at : at + 2]
    way = rng.randrange(4)
    if way == 0:
        two = two[::-1]
    elif way == 1:
        two = two[1:] if at else two[:1]
    elif way == 2:
        two = two[0] + two
    else:
        two = two[0] + _NEIGHBOURS.get(two[1].lower(), two[1])
    return word[:at] + two + word[at + 2 :]


def _mixed(word: str, rng: random.Random) -> str:
    return "".join(rng.choice((letter.lower(), letter.upper())) for letter in word)


def _kept(word: str, rng: random.Random) -> str:
    return word


class Kind(NamedTuple):
    """One way to disguise a word, and how often it is drawn beside the others."""

    write: Callable[[str, random.Random], str]
    weight: float
    undone: bool = True  # folding mostly undoes it
    joins: bool = False  # the white space behind the word goes


KINDS = {
    "leet": Kind(_leet, 4),
    "mask": Kind(_mask, 5),
    "spelled": Kind(_spelled, 2),
    "punctuated": Kind(_punctuated, 2),
    "cut": Kind(_cut, 1.5),
    "repeated": Kind(_repeated, 2),
    "hidden": Kind(_hidden, 1),
    "homoglyphs": Kind(_homoglyphs, 1),
    "styled": Kind(_styled, 1),
    "accented": Kind(_accented, 0.5, undone=False),
    "stacked": Kind(_stacked, 0.5),
    "mixed case": Kind(_mixed, 0.5),
    "mistyped": Kind(_mistyped, 3, undone=False),
    "joined": Kind(_kept, 1, undone=False, joins=True),
}
SLIPS = ("mistyped", "joined")
"""The kinds that fingers write without a mind to hide anything."""
