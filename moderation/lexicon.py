"""The words that a disguise may hide, and the reading of one disguised word.

``lexicon.txt`` is loaded on the first text. Everything here works on lower-case Latin text;
``normalize`` finds the places and keeps the offsets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, cached_property
from itertools import groupby, pairwise, product
from math import inf, log
from pathlib import Path

# Stems that are abuse or profanity in any spelling, the plainest of them, and what else can be
# wished on somebody in words run together.
_CORE = re.compile("fuck|shit|bitch|nigg|cunt|fagg|whore|slut|dick|asshole|puss")
_PLAINEST = re.compile("fuck|shit|bitch|nigg|cunt|fagg")
# Read with a letter doubled; elsewhere other languages have words for it (dykke, slutt, rappe).
_DOUBLED = re.compile(_PLAINEST.pattern + "|dick|asshole|pussy")
_DEED = re.compile(_CORE.pattern + "|kill|hate|rape|stab|shoot|hang|murder")
_WHOM = frozenset(("you", "yourself", "urself", "yourselves", "him", "her", "them", "themselves"))
# Words of four letters that are read even where one half of them is a word of prose (sh it).
_HALVED = frozenset(("fuck", "shit", "cunt", "dick", "cock", "porn", "slut"))
# What people write alone: words, initials of words, and what is left of a contraction.
_LONE_LETTERS = frozenset("abcdikmnorstuwxy")

# What stands for a letter inside a listed word, and the few letters that stand for others.
_STANDS_FOR = {
    "a": "4@",
    "b": "8",
    "c": "(<{[¢©",
    "e": "3€",
    "g": "69q",
    "h": "#",
    "i": "1!|¡l",
    "l": "1!|¡i",
    "o": "0°",
    "s": "5$§z",
    "t": "7+†",
    "u": "vµ",
    "x": "×",
    "y": "¥",
}
_SWAPS = {"i": "l", "l": "i", "u": "v", "g": "q", "s": "z"}
# Spellings that share a class may be the same word; "i" and "l" are told apart later.
_CLASSES = str.maketrans(
    {sign: letter.replace("l", "i") for letter, signs in _STANDS_FOR.items() for sign in signs}
)
# The keys to the left and to the right of a letter's.
_KEYS = {
    b: a + c
    for row in ("qwertyuiop", "asdfghjkl", "zxcvbnm")
    for a, b, c in zip(" " + row, row, row[1:] + " ", strict=False)
}
# In an ordinary word only the plainest signs are read, and only between letters.
_PLAIN_SIGNS = {"0": "o", "1": "il", "3": "e", "4": "a", "5": "s", "7": "t"}
_PLAIN_SIGNS |= {"@": "a", "$": "s", "!": "i"}
_ALL_SIGNS = {"@$$": "ass", "@$$hole": "asshole", "5h17": "shit", "5hit": "shit"}
# One visible letter and stars for the rest, as newspapers print it.
_INITIALS = {
    "f***": "fuck",
    "f****": "fucks",
    "f*****": "fucked",
    "f******": "fucking",
    "s***": "shit",
    "b****": "bitch",
    "b******": "bastard",
    "c***": "cunt",
    "d***": "dick",
    "n****": "nigga",
    "n*****": "nigger",
    "n******": "niggers",
    "p****": "pussy",
    "a**": "ass",
    "a******": "asshole",
}
_PRINTED = frozenset(("kill", "damn", "hell", "crap", "piss", "rape", "cock", "porn", "arse"))
_SIGN = "*#%&?^~_.+=\u2026\u2022\u203c-\u2bff\U0001f000-\U0001faff-"
_MASKED = re.compile(rf"(\*?)([a-z0-9@$][a-z0-9@$!{_SIGN}]*[a-z0-9@$]|[a-z0-9@$])(\**)")
_GAP = re.compile(f"([a-z]+)[{_SIGN}]+([a-z]+)")
_NUMERAL = re.compile("^[ivxlcm]+$|[^i]iii$")
_TRIPLE = re.compile(r"(.)\1\1")
RARE = 25000  # the rank of listed words that the vocabulary lacks
_LONGEST = 40  # no longer word is read; keeps every reading cheap


class Lexicon:
    """Known words by rank (0 is the most frequent), and the listed ones, which disguises hide.

    ``strong`` words are never ordinary prose. ``clean`` are the words that no rule looks at.
    """

    def __init__(self, source: str) -> None:
        sections = {
            name: body.splitlines()
            for name, body in re.findall(r"^\[(\w+)\]\n([^\[]*)", source, re.MULTILINE)
        }
        words = {name: " ".join(lines).split() for name, lines in sections.items()}
        strong = list(_inflected(sections["strong"]))
        self.strong = frozenset(strong)
        # Earlier words win where a mask fits several.
        self.listed = dict.fromkeys((*strong, *_inflected(sections["listed"])))
        self.aliases = {
            alias: line.split(" = ")[0]
            for line in sections["aliases"]
            for alias in line.partition(" = ")[2].split()
        }
        # What a slip of the finger in it, or a lost space beside it, may hide.
        self.told = frozenset((*self.listed, *_inflected(sections["told"])))
        self.short = frozenset(words["short"])
        self.joined = frozenset(words["joined"])
        self.rank = dict.fromkeys((*self.listed, *self.told), RARE)
        self.rank |= dict.fromkeys(words["chat"], 3000)
        self.rank |= dict.fromkeys(words["joined"], 3000)
        self.rank |= dict.fromkeys(words["short"], 50)
        self.rank |= {word: rank for rank, word in enumerate(words["ranked"])}
        self.known = frozenset(words["harmless"]).union(self.rank)
        self.by_class: dict[str, list[str]] = {}
        self.by_shape: dict[tuple[int, str], list[str]] = {}
        for word in self.listed:
            self.by_class.setdefault(class_of(word), []).append(word)
            for first in (word[0], ""):
                self.by_shape.setdefault((len(word), first), []).append(word)
        # Halves of strong words that are no words of prose: the one trace that a split leaves.
        halves = {
            (word, (word[:cut], word[cut:]))
            for word in strong
            for cut in range(1, len(word))
            if len(word) > 3
        }
        self.fragments = frozenset(
            half
            for word, parts in halves
            if self.is_split(word, parts)
            for half in parts
            if not self.is_ordinary(half)
        )
        self.prefixes = frozenset(first for _, (first, _) in halves).union(strong)
        self.clean = self.known.union(words["contracted"], "aiu") - self.fragments

    def is_ordinary(self, word: str) -> bool:
        """Say whether prose uses ``word`` by itself, so that its neighbours prove nothing."""
        if len(word) < 3:
            return word in self.short or word in _LONE_LETTERS
        return word in self.listed or self.rank.get(word, 99999) < 6000

    def is_split(self, word: str, parts: tuple[str, ...], spaced: bool = False) -> bool:
        """Say whether ``parts`` are pieces of a strong word rather than words side by side."""
        if word not in self.strong or len(word) < 4:
            return False
        if parts[0] in ("s", "t"):  # left over from "it's" and "don't"
            return False
        # Names and compounds: "wan king", "rim job", "fuck wit".
        seen = self.listed if _CORE.search(word) else self.rank
        if spaced and not seen.keys().isdisjoint(parts):
            return False
        if len(parts) == 2 and min(map(len, parts)) == 1:
            return not self.is_ordinary(max(parts, key=len))
        prose = sum(
            self.is_ordinary(part) or (len(part) > 3 and part in self.rank) for part in parts
        )
        return prose == 0 or (prose < len(parts) and (len(word) > 4 or word in _HALVED))

    def is_core(self, word: str) -> bool:
        """Say whether ``word`` is abuse or profanity in any spelling."""
        return word in self.strong and _CORE.search(word) is not None

    @cached_property
    def slips(self) -> frozenset[str]:
        """Unknown words that a slip of the finger in a told word leaves.

        The plainest words have rules of their own: too many names are near them.
        """
        told = (
            word
            for word in self.told
            if not self.is_core(word) and (len(word) > 4 or word not in self.strong)
        )
        slips = (slip for word in told for slip in _slips(word, keys=word not in self.strong))
        return frozenset(slips) - self.known

    @cached_property
    def _doubled(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for word in self.rank:
            if len(single := "".join(letter for letter, _ in groupby(word))) < len(word):
                found.setdefault(single, []).append(word)
        return found

    def elongated(self, single: str) -> list[str]:
        """Return the known words that read ``single`` with every letter written once."""
        doubled = self._doubled.get(single, [])
        return [single, *doubled] if single in self.rank else doubled

    @cached_property
    def price(self) -> dict[str, float]:
        """What ``segment`` pays for a word: the rarer the dearer, and least for listed ones."""
        return {
            word: log((min(rank, 300) if word in self.listed else rank) + 10) + 2
            for word, rank in self.rank.items()
        }

    @cached_property
    def heads(self) -> frozenset[str]:
        """The first three and the first five letters of every known word."""
        return frozenset(word[:size] for word in self.rank for size in (3, 5))

    def joins(self, piece: str, first: bool, plain: bool) -> bool:
        """Say whether ``piece`` may be one of several words run together."""
        if len(piece) == 1:
            return piece == "u" or (first and piece == "i")
        common = self.rank.get(piece, 99999) < 10000 or piece in self.listed
        return (plain and len(piece) > 3 and common) or piece in self.joined or self.is_core(piece)


def _inflected(lines: list[str]) -> Iterator[str]:
    for line in filter(None, lines):
        word, *endings = line.split()
        yield word
        for ending in endings:
            yield word + ending.removeprefix("-")


@cache
def lexicon() -> Lexicon:
    return Lexicon(Path(__file__).with_name("lexicon.txt").read_text("utf-8"))


def _slips(word: str, keys: bool) -> Iterator[str]:
    """Two letters swapped; in longer words one left out or doubled, or the key beside one hit.

    The first letter always stands, and the last is never what is missing: that is a stem.
    """
    for at in range(1, len(word)):
        before, letter, after = word[:at], word[at], word[at + 1 :]
        if len(word) > 3 and after:
            yield before + after[0] + letter + after[1:]
        if len(word) > 4:
            if after:
                yield before + after
            yield before + 2 * letter + after
        if keys and len(word) > 5:
            for key in _KEYS.get(letter, "").strip():
                yield before + key + after


def class_of(word: str) -> str:
    """Return the skeleton that all spellings of a word share: classes of letters, runs as one."""
    return "".join(letter for letter, _ in groupby(word.translate(_CLASSES)))


@cache
def _spellings(word: str) -> re.Pattern[str]:
    """Match the spellings of a listed word: each letter or a stand-in for it, once or more."""
    return re.compile("".join(f"[{c}{re.escape(_STANDS_FOR.get(c, ''))}]+" for c in word))


@cache
def _letter_spellings(word: str) -> re.Pattern[str]:
    """The same with letters alone, of which few stand for others, and in few words."""
    swaps = _SWAPS if _PLAINEST.search(word) else {}
    return re.compile("".join(f"(?:{c}+|{swaps.get(c, c)}+)" for c in word))


def _shortened(word: str, most: int = 3) -> str:
    return re.sub(rf"(.)\1{{{most},}}", lambda run: run[0][:most], word)


def read(word: str, tag: bool = False) -> str | None:
    """Return what a disguised word says, or None where there is no disguise that can be read.

    Several words run together come back with spaces. In a ``tag`` everybody runs words together:
    there only abuse is read.
    """
    words = lexicon()
    if word in words.known:
        return None
    if word.isascii() and word.isalpha():
        return (
            words.aliases.get(word)
            or _read_letters(_shortened(word))
            or _read_slip(word)
            or _read_misspelt(word)
            or (None if tag else _read_joined(word))
        )
    return _ALL_SIGNS.get(word) or _read_leet(word) or _read_mask(word) or _read_digits(word)


def _read_letters(word: str) -> str | None:
    words = lexicon()
    if not 4 <= len(word) <= _LONGEST:
        return None
    elongated = _TRIPLE.search(word) is not None
    fits = [
        candidate
        for candidate in words.by_class.get(class_of(word), ())
        if candidate in words.strong
        and (elongated or _DOUBLED.search(candidate))
        and _letter_spellings(candidate).fullmatch(word)
    ]
    if fits:
        return _nearest(word, fits)
    return _read_elongated(word) if elongated else _read_run_on(word)


def _nearest(word: str, candidates: list[str]) -> str:
    """Return the candidate that leaves the fewest letters and signs of ``word`` unsaid."""
    return min(candidates, key=lambda candidate: len(set(word).difference(candidate)))


def _read_slip(word: str) -> str | None:
    """Read what fingers do to the plainest words, by accident or not: fcuk, btch, fuxk, stvpid."""
    words = lexicon()
    if not 4 <= len(word) <= 14:
        return None
    if "v" in word and (upright := word.replace("v", "u")) in words.listed:
        return upright
    for length in (len(word), len(word) + 1):
        for candidate in words.by_shape.get((length, word[0]), ()):
            if words.is_core(candidate) and _is_slip(word, candidate):
                return candidate
    return None


def _is_slip(word: str, candidate: str) -> bool:
    """Two letters swapped, one left out, or the key beside one hit; the first always stands."""
    at = next(i for i in range(1, len(candidate)) if word[i : i + 1] != candidate[i])
    if len(word) < len(candidate):
        # Short words without a consonant are other words: bich, fagot, niger.
        dropped = candidate[at] in "aeiouy" or len(word) > 5
        return dropped and len(word) > 3 and word[at:] == candidate[at + 1 :] != ""
    if word[at + 1 :] == candidate[at + 1 :] != "":
        beside = _KEYS.get(candidate[at], "")
        return word[at] in beside and _PLAINEST.search(candidate) is not None
    swapped = candidate[at + 1 : at + 2] + candidate[at]
    return word[at : at + 2] == swapped and word[at + 2 :] == candidate[at + 2 :]


def _read_misspelt(word: str) -> str | None:
    """Read a slip of the finger in a told word: htae, musilms, immgrants."""
    words = lexicon()
    if word not in words.slips:
        return None
    # Somebody may as well have meant another word: the most frequent one counts.
    meant = (other for other in _meant(word) if other in words.rank)
    found = min(meant, key=words.rank.__getitem__)
    return found if found in words.told and not words.is_core(found) else None


def _meant(word: str) -> Iterator[str]:
    """What may have become ``word`` by a slip of the finger."""
    for at in range(1, len(word) + 1):
        before, after = word[:at], word[at:]
        for letter in "abcdefghijklmnopqrstuvwxyz":
            yield before + letter + after
        if after:
            if after[0] == before[-1]:
                yield before + after[1:]
            if after[1:]:
                yield before + after[1] + after[0] + after[2:]
            for key in _KEYS.get(after[0], "").strip():
                yield before + key + after[1:]


def _read_joined(word: str) -> str | None:
    """Split words that lost their spaces, where what is told is among them: ihateimmigrants."""
    words = lexicon()
    if not 8 <= len(word) <= _LONGEST or not any(
        word[begin:end] in words.told
        for begin in range(len(word) - 3)
        for end in range(begin + 4, min(begin + 14, len(word)) + 1)
    ):
        return None
    pieces = segment(word)
    if not 2 <= len(pieces) <= len(word) / 3:
        return None
    if not all(_is_prose_piece(piece) for piece in pieces):
        return None
    if "i" in pieces[1:] or pieces[-1] == "a":  # endings: sexual-i-ties, immigrant-i-on
        return None
    told = sum(piece in words.told and len(piece) > 3 for piece in pieces)
    # Two words make a name or a compound: Whitehead, killjoy. Not so a deed and whom it is done to.
    if told < (1 if len(pieces) > 2 else 2) or (len(pieces) == 2 and not _DEED.search(pieces[0])):
        return None
    return " ".join(pieces)


def _is_prose_piece(piece: str) -> bool:
    words = lexicon()
    if len(piece) < 4:
        return piece in words.joined or piece in words.listed
    return piece in words.told or words.rank.get(piece, RARE) < 6000


def _read_elongated(word: str) -> str | None:
    words = lexicon()
    runs = _runs(word)
    if len(runs) < 2 or _NUMERAL.search(word):
        return None  # aaa, xxx, xviii, wwiii
    best, lowest = None, 0.0
    for candidate in words.elongated("".join(run[0] for run in runs)):
        kept = _runs(candidate)
        if all(len(a) <= len(b) for a, b in zip(kept, runs, strict=True)):
            # A letter held for long was often double to begin with: goood is good, not god.
            single = sum(len(b) > 2 and len(a) == 1 for a, b in zip(kept, runs, strict=True))
            cost = (words.rank[candidate] + 5) * 20.0**single
            if candidate in words.listed and not single:
                cost /= 20
            if best is None or cost < lowest:
                best, lowest = candidate, cost
    return best or _read_run_on(_shortened(word, 2)) or _read_run_on(_shortened(word, 1))


def _runs(word: str) -> list[str]:
    return ["".join(run) for _, run in groupby(word)]


def _read_run_on(word: str) -> str | None:
    """Split words run together, where one is listed and the others are what goes with it."""
    words = lexicon()
    if not 6 <= len(word) <= _LONGEST or not _DEED.search(word):
        return None
    plain = _PLAINEST.search(word) is not None
    best: dict[int, tuple[int, int, tuple[str, ...]]] = {0: (0, 0, ())}
    for end in range(1, len(word) + 1):
        for begin in range(max(0, end - 15), end):
            piece = word[begin:end]
            if begin in best and words.joins(piece, begin == 0, plain):
                count, rank, pieces = best[begin]
                found = count + 1, rank + words.rank.get(piece, 5000), (*pieces, piece)
                best[end] = min(found, best.get(end, found))
    pieces = best.get(len(word), best[0])[2]
    if len(pieces) < 2:
        return None
    if plain:
        return " ".join(pieces) if any(map(words.is_core, pieces)) else None
    if words.is_core(pieces[-1]):  # "dirtywhore"; Scandinavian words begin with "slut"
        return " ".join(pieces) if len(pieces) > 2 or min(map(len, pieces)) > 2 else None
    # "overkill" says nothing; "killyourself" names a deed and whom it is done to.
    deed = any(
        a in words.listed and (b in _WHOM or (b == "all" and len(pieces) > 2))
        for a, b in pairwise(pieces)
    )
    return " ".join(pieces) if deed else None


def _read_leet(word: str) -> str | None:
    words = lexicon()
    letters = sum(map(str.isalpha, word))
    if len(word) < 3 or letters * 3 < min(len(word), 9) or word[0] in "!+(<{[|#":
        return None
    short = _shortened(word)
    if len(short) > _LONGEST:
        return None
    fits = [
        candidate
        for candidate in words.by_class.get(class_of(short), ())
        if _spellings(candidate).fullmatch(short)
    ]
    if not fits:
        return None
    found = _nearest(short, fits)
    # "4 kills", "class 5": a digit or a stray sign at the edge of a whole word is no letter of it.
    if word[0].isdigit() and word[1:] in words.known:
        return None
    body = word.rstrip("!|+@0123456789")
    rare = words.is_core(found) and words.rank.get(body, 0) > 6000  # shi7
    if body != word and (
        (body in words.known and not rare)
        or (body.isalpha() and word.endswith("!") and not words.is_core(found))
    ):
        return None
    if len(found) == 3 and not re.search(r"[@$!]|[a-z]\d[a-z]", word):
        return None
    return found


def _read_mask(word: str) -> str | None:
    """Fill masked letters, one for each sign if that makes a listed word."""
    words = lexicon()
    if word in _INITIALS:
        return _INITIALS[word]
    shape = _MASKED.fullmatch(word) if len(word) <= 16 else None
    if shape is None:
        return None
    lead, body, trail = shape.groups()
    visible = [(i, c) for i, c in enumerate(word) if c.isalnum() or c in "@$!"]
    letters = sum(map(str.isalpha, word))
    if letters < 2 or len(word) > 2 * letters + 2:
        return None
    if len(visible) == len(word):  # no mask, unless a sign stands for no letter at all: f@ck
        hidden = re.sub("[@$!]", "*", word) if letters == len(word) - 1 else word
        found = _read_mask(hidden) if hidden != word else None
        return found if found and words.is_core(found) else None
    if any(part in words.strong for part in re.findall("[a-z]{4,}", word)):
        return None  # nothing is hidden: fuck?i
    if lead and (trail or letters < 3 or body in words.known):
        return None  # *hits*
    if trail and (letters + len(trail) < 4 or body in words.known):
        return None  # the mark of a footnote
    # Full stops and hyphens have other uses: only the plainest words hide behind those.
    stars = not re.search(r"[.\-_~+=]", word)
    if len(word) == 3 and "*" not in word:
        return None
    fits = [
        candidate
        for candidate in words.by_shape.get((len(word), "" if lead else word[0]), ())
        if all(c == candidate[i] or c in _STANDS_FOR.get(candidate[i], "") for i, c in visible)
    ]
    for found in fits:
        if words.is_core(found) or (stars and letters > 2 and found in words.strong):
            return found
    gap = _GAP.fullmatch(word) if stars or "_" in word else None
    if gap:  # a sign too many or too few: s***t, f*k
        for length in (len(word) - 1, len(word) + 1, len(word) + 2):
            for found in words.by_shape.get((length, word[0]), ()):
                if not words.is_core(found) or (letters == 2 and length > 4):
                    continue
                if found.startswith(gap[1]) and found.endswith(gap[2]):
                    return found
    mild = [found for found in fits if letters > 2 or len(word) == 3 or found in _PRINTED]
    return mild[0] if mild and stars else None


def _read_digits(word: str) -> str | None:
    """Read an ordinary word with signs between its letters: h3llo, y0u."""
    words = lexicon()
    if not 3 <= len(word) <= 20 or not (word[0].isalpha() and word[-1].isalpha()):
        return None
    signs = sum(not c.isalpha() for c in word)
    if signs * 2 >= len(word) or re.search(r"\d\d|\dd$", word):  # a11y, direct3d
        return None
    options = [c if c.isalpha() else _PLAIN_SIGNS.get(c, "") for c in word]
    found = min(
        ((words.rank[w], w) for w in map("".join, product(*options)) if w in words.rank),
        default=(99999, ""),
    )
    return found[1] if found[0] < (150 if len(word) == 3 else 2500 * (len(word) - 3)) else None


def segment(letters: str) -> list[str]:
    """Cut spelled-out letters into the cheapest words; a letter that fits nowhere stays alone."""
    price, heads, size = lexicon().price, lexicon().heads, len(letters)
    costs, cuts = [0.0, *([inf] * size)], [0] * (size + 1)
    for begin, letter in enumerate(letters):
        cost = costs[begin] + (4.0 if letter in "ai" else 7.0 if letter in "ur" else 14.0)
        if cost < costs[begin + 1]:
            costs[begin + 1], cuts[begin + 1] = cost, begin
        longest = 16 if letters[begin : begin + 5] in heads else 4
        if longest == 4 and letters[begin : begin + 3] not in heads:
            longest = 2
        for end in range(begin + 2, min(begin + longest, size) + 1):
            cost = costs[begin] + price.get(letters[begin:end], inf)
            if cost < costs[end]:
                costs[end], cuts[end] = cost, begin
    pieces, end = [], size
    while end:
        pieces.append(letters[cuts[end] : end])
        end = cuts[end]
    return pieces[::-1]
