"""The words that a disguise may hide, and the reading of one disguised word.

``lexicon.txt`` is loaded on the first text that needs it. Everything here works on lower-case
Latin text; ``normalize`` finds the places and keeps the offsets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import groupby, product
from math import log
from pathlib import Path

# Two letters make a word of ordinary prose only here; the vocabulary's own are mostly debris.
SHORT_WORDS = frozenset(
    "ad ah ai al am an as at be by da de do ed eh el et eu ex go ha he hi hm id if im in is it jo "
    "la le lo me mr ms my no of oh ok on or pc pm re so to tv uh uk um un up ur us vs we xd ya ye "
    "yo".split()
)
# What people write alone: words, initials of words, and what is left of a contraction.
_LONE_LETTERS = frozenset("abcdikmnorstuwxy")
# Pieces that run-on abuse is made of; names (Penistone, Dickson) are not.
_RUN_ON = frozenset(
    "a all and are at be before boy die dont every fat for get girl give go going had hang hate "
    "have he her him his how i in is it its just kill like little love man me mother my now of off "
    "old on one ones out people please really self sexy shoot should so stop stupid suck sucks "
    "that the them then these they this those to today together too u ugly up ur us want we white "
    "black jew jews muslims gays what who will with women wont you your youre yourself yourselves "
    "yours off over head big small dirty little dick mouth face trump biden him them himself "
    "herself themselves".split()
)
_RUN_ON_STEM = re.compile("fuck|shit|bitch|nigg|cunt|fagg|kill|whore|slut|suck|hate|rape|die")

# Characters that stand for a letter inside a listed word. The first table decides which words
# come into question (each letter and what stands for it share a class), the second what is
# allowed for each letter.
_CLASSES = str.maketrans(
    "i1!|¡l"
    + "0°"
    + "3€"
    + "4@"
    + "5$§z"
    + "7+†"
    + "8"
    + "69q"
    + "(<{[¢©"
    + "vµ"
    + "#"
    + "×"
    + "¥",
    "111111"
    + "oo"
    + "ee"
    + "aa"
    + "ssss"
    + "ttt"
    + "b"
    + "ggg"
    + "cccccc"
    + "uu"
    + "h"
    + "x"
    + "y",
)
_STANDS_FOR = {
    "a": "a4@",
    "b": "b8",
    "c": "c(<{\\[¢©",
    "e": "e3€",
    "g": "g69q",
    "h": "h#",
    "i": "i1!|¡l",
    "l": "l1!|¡i",
    "o": "o0°",
    "s": "s5$§z",
    "t": "t7+†",
    "u": "uvµ",
    "x": "x×",
    "y": "y¥",
    "z": "z2",
}
# In an ordinary word only the plainest substitutions are read, and only between letters.
_PLAIN_DIGITS = {
    "0": "o",
    "1": "il",
    "3": "e",
    "4": "a",
    "5": "s",
    "7": "t",
    "@": "a",
    "$": "s",
    "!": "i",
}
_ALL_SYMBOLS = {"@$$": "ass", "@$$hole": "asshole", "5h17": "shit", "5hit": "shit"}
# One visible letter, and stars for the rest, as newspapers print them.
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
    "a******": "asshole",
    "a*******": "assholes",
}
_MASK = re.compile("[*#%&?^~_.+=\u2026\u2022\u203c-\u2bff\U0001f000-\U0001faff-]")
_LONGEST = 40


class Lexicon:
    """Known words by rank (0 is the most frequent) and listed words by priority."""

    def __init__(self, source: str) -> None:
        sections = dict(re.findall(r"^\[(\w+)\]\n([^\[]*)", source, re.MULTILINE))
        strong = list(_inflected(sections["strong"]))
        self.listed = {w: i for i, w in enumerate((*strong, *_inflected(sections["listed"])))}
        self.strong = frozenset(strong)
        self.aliases = {
            alias: word
            for line in sections["aliases"].splitlines()
            for word, _, aliases in [line.partition(" = ")]
            for alias in aliases.split()
        }
        ranked = sections["ranked"].split()
        self.rank = dict.fromkeys(self.listed, 5000)
        self.rank |= dict.fromkeys(sections["chat"].split(), 3000)
        self.rank |= dict.fromkeys(SHORT_WORDS, 50)
        self.rank |= {w: i for i, w in enumerate(ranked)}
        self.harmless = frozenset(sections["harmless"].split())
        self.known = self.harmless.union(self.rank)
        self.by_class: dict[str, list[str]] = {}
        self.by_shape: dict[tuple[int, str], list[str]] = {}
        for word in self.listed:
            self.by_class.setdefault(_class_of(word), []).append(word)
            self.by_shape.setdefault((len(word), word[0]), []).append(word)
            self.by_shape.setdefault((len(word), ""), []).append(word)
        # Halves of strong words that are no words themselves: the only trace of a split word.
        self.fragments = frozenset(
            half
            for word in strong
            if len(word) > 3
            for cut in range(1, len(word))
            for half in (word[:cut], word[cut:])
            if self.is_split(word, (word[:cut], word[cut:])) and not self.is_ordinary(half)
        )
        self.prefixes = frozenset(word[:cut] for word in strong for cut in range(1, len(word) + 1))
        # The words that no rule has to look at.
        contractions = (
            f"{word}'{end}" for word in _CONTRACTED for end in _CONTRACTED[word].split()
        )
        self.clean = (self.known | {"a", "i", "u", *contractions}) - self.fragments

    def is_ordinary(self, word: str) -> bool:
        """Say whether prose uses ``word`` by itself, so that its neighbours prove nothing."""
        if len(word) < 3:
            return word in SHORT_WORDS or word in _LONE_LETTERS
        return word in self.listed or self.rank.get(word, 9999) < 6000

    def is_split(self, word: str, parts: tuple[str, ...]) -> bool:
        """Say whether ``parts`` are pieces of a strong word rather than words side by side."""
        if word not in self.strong or len(word) < 4 or not self.listed.keys().isdisjoint(parts):
            return False
        ordinary = sum(map(self.is_ordinary, parts))
        if any(len(part) == 1 for part in parts) and len(parts) == 2:
            return not self.is_ordinary(max(parts, key=len))
        return ordinary == 0 or (ordinary < len(parts) and (len(word) > 4 or word in _CORE))


_CONTRACTED = {
    "i": "m ve d ll",
    "you": "re ve d ll",
    "he": "s d ll",
    "she": "s d ll",
    "it": "s d ll",
    "we": "re ve d ll",
    "they": "re ve d ll",
    "that": "s ll d",
    "there": "s",
    "what": "s",
    "who": "s",
    "how": "s",
    "let": "s",
    "here": "s",
    "where": "s",
} | dict.fromkeys(
    "don doesn didn isn aren wasn weren hasn haven hadn couldn shouldn wouldn won can ain".split(),
    "t",
)
_CORE = frozenset("fuck shit cunt dick cock porn slut".split())


def _inflected(section: str) -> Iterator[str]:
    for line in section.splitlines():
        word, *endings = line.split() or [""]
        if word:
            yield word
        for ending in endings:
            yield word + ending.removeprefix("-")


@cache
def lexicon() -> Lexicon:
    return Lexicon(Path(__file__).with_name("lexicon.txt").read_text("utf-8"))


def _class_of(word: str) -> str:
    return "".join(letter for letter, _ in groupby(word.translate(_CLASSES)))


@cache
def _spellings(word: str) -> re.Pattern[str]:
    """Match the spellings of a listed word: each letter as itself or a stand-in, once or more."""
    return re.compile("".join(f"[{_STANDS_FOR.get(c, c)}]+" for c in word))


def read(word: str) -> str | None:
    """Return what a disguised word says, or None where it is no disguise that can be read."""
    words = lexicon()
    if word in words.known:
        return None
    if word.isascii() and word.isalpha():
        return _read_letters(word)
    return _ALL_SYMBOLS.get(word) or _read_leet(word) or _read_mask(word) or _read_digits(word)


def _shortened(word: str, most: int = 3) -> str:
    return re.sub(r"(.)\1{%d,}" % most, lambda m: m[1] * most, word)


def _read_letters(word: str) -> str | None:
    words = lexicon()
    if word in words.aliases:
        return words.aliases[word]
    if len(word) < 4:
        return None
    elongated = _shortened(word)
    if len(elongated) > _LONGEST:
        return None
    if (found := _listed_spelling(elongated)) in words.strong:
        return found
    if re.search(r"(.)\1\1", elongated):
        return _read_elongated(elongated)
    return _read_run_on(elongated)


def _listed_spelling(word: str) -> str | None:
    """Return the listed word of which ``word`` is a spelling, letter for letter."""
    words = lexicon()
    for candidate in words.by_class.get(_class_of(word), ()):
        if _spellings(candidate).fullmatch(word):
            return candidate
    return None


def _read_elongated(word: str) -> str | None:
    words = lexicon()
    runs = ["".join(run) for _, run in groupby(word)]
    if len(runs) < 2:
        return None  # aaa, xxx, www, iii
    long = sum(len(run) > 1 for run in runs)
    doubled = _shortened(word, 2)
    if long > 6:
        return doubled
    best, lowest = None, 0.0
    for choice in product(*((run,) if len(run) == 1 else (run[0] * 2, run[0]) for run in runs)):
        candidate = "".join(choice)
        if candidate in words.rank:
            # A letter held for long was often double to begin with: goood is good, not god.
            held = sum(
                len(run) > 2 and len(kept) == 1 for run, kept in zip(runs, choice, strict=True)
            )
            cost = (words.rank[candidate] + 5) * 20.0**held
            if best is None or cost < lowest:
                best, lowest = candidate, cost
    return best or _read_run_on(doubled) or _read_run_on(_shortened(word, 1)) or doubled


def _read_run_on(word: str) -> str | None:
    """Split words run together, where one is listed and the others are what abuse is made of."""
    words = lexicon()
    if not 6 <= len(word) <= _LONGEST or not _RUN_ON_STEM.search(word):
        return None
    best: list[tuple[int, tuple[str, ...]] | None] = [(0, ())] + [None] * len(word)
    for end in range(1, len(word) + 1):
        for begin in range(max(0, end - 15), end):
            before, piece = best[begin], word[begin:end]
            if before is None or not (piece in _RUN_ON or piece in words.strong):
                continue
            found = before[0] + 1, (*before[1], piece)
            if best[end] is None or found < best[end]:  # type: ignore[operator]
                best[end] = found
    if best[-1] is None or len(pieces := best[-1][1]) < 2:
        return None
    if not any(len(piece) > 3 and piece in words.listed for piece in pieces):
        return None
    return " ".join(pieces)


def _read_leet(word: str) -> str | None:
    words = lexicon()
    letters = sum(map(str.isalpha, word))
    if len(word) < 3 or letters * 3 < min(len(word), 9) or word[0] in "!+(<{[|#":
        return None
    found = _listed_spelling(_shortened(word)[:_LONGEST])
    if found is None:
        return None
    # "4 kills", "class 5": a digit or a stray sign at the edge of a whole word is no letter of it.
    if (word[0].isdigit() and word[1:] in words.known) or (
        word[-1] not in "$z" and not word[-1].isalpha() and word[:-1] in words.known
    ):
        return None
    if len(found) == 3 and not re.search(r"[@$!]|[a-z]\d[a-z]", word):
        return None
    return found


def _read_mask(word: str) -> str | None:
    words = lexicon()
    if word in _INITIALS:
        return _INITIALS[word]
    stars = word.count("*")
    visible = [(i, c) for i, c in enumerate(word) if c.isalnum() or c in "@$!"]
    if not 2 <= len(visible) < len(word) <= 16 or sum(c.isalpha() for _, c in visible) < 2:
        return None
    if len(_MASK.findall(word)) < len(word) - len(visible):
        return None
    first, last = visible[0][0], visible[-1][0]
    if first > 1 or (first and word[first:] in words.known):
        return None  # *hits*
    if last < len(word) - 1 and (word[: last + 1] in words.known or len(visible) < 2):
        return None  # the footnote's mark
    if len(word) - len(visible) > 1 + len(visible) or len(word) == 3 and not stars:
        return None
    for candidate in words.by_shape.get((len(word), "" if first else word[0]), ()):
        if all(c in _STANDS_FOR.get(candidate[i], candidate[i]) for i, c in visible):
            return candidate
    gap = re.fullmatch(r"([a-z]+)\*([a-z]+)", word)
    if gap and len(word) > 2:
        for length in (len(word) + 1,):
            for candidate in words.by_shape.get((length, word[0]), ()):
                if candidate.startswith(gap[1]) and candidate.endswith(gap[2]):
                    return candidate if candidate in words.strong else None
    return None


def _read_digits(word: str) -> str | None:
    """Read an ordinary word with digits between its letters: h3llo, y0u."""
    words = lexicon()
    if not 3 <= len(word) <= 20 or not (word[0].isalpha() and word[-1].isalpha()):
        return None
    options = [_PLAIN_DIGITS.get(c, "") if not c.isalpha() else c for c in word]
    hidden = sum(not c.isalpha() for c in word)
    if "" in options or hidden * 2 >= len(word) or re.search(r"\d\d", word):
        return None
    limit = 150 if len(word) == 3 else 2500 if len(word) == 4 else 12000
    ranked = [(words.rank[w], w) for w in map("".join, product(*options)) if w in words.rank]
    return min(ranked)[1] if ranked and min(ranked)[0] < limit else None


def segment(letters: str) -> list[str]:
    """Cut spelled-out letters into the cheapest words; a letter that fits nowhere stays alone."""
    words = lexicon()
    costs, cuts = [0.0], [0]
    for end in range(1, len(letters) + 1):
        best, cut = 1e9, end - 1
        for begin in range(max(0, end - 16), end):
            piece = letters[begin:end]
            if len(piece) == 1:
                cost = 4.0 if piece in "ai" else 7.0 if piece in "ur" else 14.0
            elif piece in words.rank:
                cost = log(words.rank[piece] + 10) + 2
            else:
                continue
            if costs[begin] + cost < best:
                best, cut = costs[begin] + cost, begin
        costs.append(best)
        cuts.append(cut)
    pieces, end = [], len(letters)
    while end:
        pieces.append(letters[cuts[end] : end])
        end = cuts[end]
    return pieces[::-1]
