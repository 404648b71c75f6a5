"""Folding of disguised text, with offsets back to the text as it was sent.

``fold`` undoes what people do to a word so that a reader still reads it and a filter does not:
look-alike letters, zero-width characters, stacked marks, leetspeak, masks (f*ck), spelled-out and
split words, repeated letters, missing spaces. It is computed once per text and shared: the word
list, the patterns and the models read the same folded text.

A false fold costs more than a missed one, so every reading that Unicode alone does not force ends
in a word of the lexicon, and most of them in a listed one (``lexicon.txt``). Text in other scripts,
prices, code, addresses and abbreviations pass through.

Reference: Unicode Standard Annex 15 for normalisation forms.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import NamedTuple

from moderation.lexicon import RARE, lexicon, read, segment
from moderation.lookalikes import lookalikes

__all__ = ["Folded", "fold"]


@dataclass(frozen=True, slots=True)
class Folded:
    """A text and its folded form.

    ``text`` is lower case. ``changed`` is true where folding undid a disguise: did more than change
    case, compose accents and drop invisible characters that stood beside words, not in them.
    """

    raw: str
    text: str
    changed: bool
    _offsets: tuple[list[int], list[int]] | None = field(default=None, repr=False, compare=False)

    def span(self, begin: int, end: int) -> tuple[int, int]:
        """Return the half-open range of ``raw`` behind ``text[begin:end]``, both in characters.

        Raises ``ValueError`` where ``0 <= begin <= end <= len(text)`` does not hold.
        """
        if not 0 <= begin <= end <= len(self.text):
            raise ValueError(
                f"expected 0 <= begin <= end <= {len(self.text)} (the length of the folded text), "
                f"found begin={begin}, end={end}"
            )
        if self._offsets is None:
            return begin, end
        begins, ends = self._offsets
        first = begins[begin] if begin < len(begins) else (ends[-1] if ends else 0)
        return first, (ends[end - 1] if end > begin else first)


class _Edit(NamedTuple):
    begin: int
    end: int
    text: str
    counts: bool = True  # a disguise undone, as against mere tidying
    whole: bool = False  # each character of the replacement stands for the whole range


def fold(text: str) -> Folded:
    """Fold the disguises of a text, in time linear in its length. Total: any ``str`` will do."""
    folded = text.lower()
    if len(folded) == len(text) and not _is_suspicious(folded):
        return Folded(text, folded, False)
    if not text.isascii():
        folded = text  # capitals look like other letters than their small forms do
    changed, offsets = False, None
    for _ in range(_TURNS):
        before = folded
        for find in _FINDERS:
            if edits := sorted(find(folded)):
                changed |= any(edit.counts for edit in edits)
                folded, offsets = _applied(folded, edits, offsets)
        folded = folded.lower()
        # What came out must fold to itself.
        if folded == before or not _is_suspicious(folded):
            break
    return Folded(text, folded, changed, offsets)


def _applied(
    text: str, edits: Iterable[_Edit], earlier: tuple[list[int], list[int]] | None
) -> tuple[str, tuple[list[int], list[int]]]:
    """Apply sorted edits; return the new text and each character's range in the raw text."""
    out: list[str] = []
    begins: list[int] = []
    ends: list[int] = []
    at = 0
    for edit in (*edits, _Edit(len(text), len(text), "")):
        if edit.begin < at:
            continue
        out += text[at : edit.begin], edit.text
        begins += range(at, edit.begin)
        ends += range(at + 1, edit.begin + 1)
        at = edit.end
        if not edit.text:
            continue
        if edit.end - edit.begin == len(edit.text) and not edit.whole:
            begins += range(edit.begin, at)
            ends += range(edit.begin + 1, at + 1)
            continue
        if edit.whole:
            begins += [edit.begin] * len(edit.text)
            ends += [edit.end] * len(edit.text)
            continue
        # What both ends have in common maps letter to letter, and the middle as a whole.
        old, new = text[edit.begin : edit.end].lower(), edit.text.lower()
        most = min(len(old), len(new))
        head = next((i for i in range(most) if old[i] != new[i]), most)
        most -= head
        tail = next((i for i in range(most) if old[-1 - i] != new[-1 - i]), most)
        first, last = edit.begin + head, edit.end - tail
        begins += range(edit.begin, first)
        ends += range(edit.begin + 1, first + 1)
        middle = len(new) - head - tail
        if middle:
            begins += [first] * middle
            ends += [last] * middle
        elif head:
            ends[-1] = last  # letters left out belong to the one before them
        begins += range(last, edit.end)
        ends += range(last + 1, edit.end + 1)
    if earlier is not None:
        old_begins, old_ends = earlier
        for i, (b, e) in enumerate(zip(begins, ends, strict=True)):
            # An inserted space has an empty range, between those of its neighbours.
            begins[i] = old_begins[b] if b < e else min(old_begins[b], old_ends[b - 1])
            ends[i] = old_ends[e - 1]
    return "".join(out), (begins, ends)


_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_MARKS = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
)
_SYMBOLS = "\u2022\u00b7\u2026\u2013\u2014\u203c-\u2bff\U0001f000-\U0001faff"
# Strokes and lines through, under and over a letter: no orthography writes them as marks.
_OVERLAYS = frozenset(
    "\u0305\u0332\u0333\u0334\u0335\u0336\u0337\u0338\u033f\u0488\u0489\u20d2\u20d3\u20e5"
)
_TIES = frozenset(map(chr, range(0x35C, 0x363)))  # of phonetic notation
_EMOJI_LETTERS = frozenset("©®™ℹⓂ🅰🅱🅾🅿㊗㊙")
_LIGATURES = {
    "\ufb00": "ff",
    "\ufb01": "fi",
    "\ufb02": "fl",
    "\ufb03": "ffi",
    "\ufb04": "ffl",
    "\ufb05": "st",
    "\ufb06": "st",
}
# Scripts in which invisible characters do honest work, or whose marks are letters.
_OTHER_SCRIPT = re.compile(
    "[\u0590-\u139f\u1680-\u1cff\u2d30-\u2dff\u2e80-\ua4cf\ua500-\ua63f\ua6a0-\ua6ff\ua800-\uab2f"
    "\uabc0-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufefe\uff66-\uffdc"
    "\U00010000-\U0001bfff\U00020000-\U0003ffff]"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_OF_EMOJI = re.compile("[\u200d\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f]+")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
_MARK = re.compile(f"[{_MARKS}]")
_NOISE = re.compile(f"[{_INVISIBLE}{_MARKS}]+|[\u0130\ufb00-\ufb06]")
_REVERSED = re.compile("\u202e([^\u202c\n]+)\u202c?")
_FLAGS = re.compile("[\U0001f1e6-\U0001f1ff](?:[\\s\u200b]{0,2}[\U0001f1e6-\U0001f1ff]){2,}")


def _reversals(text: str) -> Iterator[_Edit]:
    """Undo right-to-left overrides around Latin text, which the reader sees mirrored."""
    for match in _REVERSED.finditer(text) if "\u202e" in text else ():
        if not _RIGHT_TO_LEFT.search(match[1]):
            # What is nested in it is not worth its rules: it is noise to the reader too.
            shown = _BIDI.sub("", match[1])[::-1]
            yield _Edit(match.start(), match.end(), shown, whole=True)


def _noise(text: str) -> Iterator[_Edit]:
    """Drop invisible characters and marks that no orthography accounts for; compose the rest."""
    if text.isascii() and not _CONTROL.search(text):
        return
    right_to_left = _RIGHT_TO_LEFT.search(text) is not None
    for match in _NOISE.finditer(text):
        begin, end = match.span()
        run = match[0]
        if run in _LIGATURES:
            yield _Edit(begin, end, _LIGATURES[run])
            continue
        if run == "\u0130":
            yield _Edit(begin, end, "i", counts=False)
            continue
        before, after = text[begin - 1 : begin] if begin else "", text[end : end + 1]
        marks = "".join(_MARK.findall(run))
        hidden = len(marks) < len(run)
        behind = text[max(0, begin - 2) : max(0, begin - 1)].isalpha()
        if hidden and _is_orthographic(run, before, after, behind, right_to_left):
            continue
        glued = hidden and before.isalnum() and after.isalnum()
        if not marks:
            yield _Edit(begin, end, "", counts=glued)
            continue
        kept = _kept(marks, before, inside=behind or after.isalpha())
        stacked = kept != marks and before + marks not in ("i\u0307", "I\u0307")
        drawn = unicodedata.normalize("NFC", before + kept)
        if before + run != drawn:
            yield _Edit(begin - len(before), end, drawn, counts=glued or stacked)
    for match in _FLAGS.finditer(text):
        word = "".join(chr(ord(c) - 0x1F1E6 + 97) for c in match[0] if ord(c) > 0x1F000)
        if word in lexicon().listed:
            yield _Edit(match.start(), match.end(), word)


def _is_orthographic(run: str, before: str, after: str, inside: bool, right_to_left: bool) -> bool:
    """Say whether invisible characters belong where they are: in emoji and in other scripts."""
    if "\u20e3" in run and before in tuple("0123456789#*"):  # a keycap, or a letter of a word
        return not inside
    if before.isascii() and before.isalnum() and after.isascii() and after.isalnum():
        return False
    if len(run) > 8:  # longer than the tags of any flag
        return False
    if _OTHER_SCRIPT.match(before) or _OTHER_SCRIPT.match(after):
        return True
    if right_to_left and _BIDI.fullmatch(run):
        return True
    if before in _EMOJI_LETTERS and run == "\ufe0f":
        return not (after.isascii() and after.isalpha())
    symbol = before > "\u00a0" and not before.isalnum() and not before.isspace()
    return symbol and _OF_EMOJI.fullmatch(run) is not None


def _kept(marks: str, before: str, inside: bool) -> str:
    """Return those of the marks behind one character that writing accounts for."""
    if len(marks) > 2 or (inside and "\u20e3" in marks):
        return ""
    if unicodedata.category(before or " ") == "Sm":  # a negated sign
        return marks
    kept = "".join(mark for mark in marks if mark not in _OVERLAYS)
    if not before.isalpha():
        return kept
    if before in "iI" and kept == "\u0307":
        return ""
    # A mark that does not compose with a plain letter inside a word is noise; on a letter alone
    # (a mean, an estimate) it is notation.
    composed = len(unicodedata.normalize("NFC", before + kept)) == 1
    return kept if composed or not inside or not before.isascii() or kept in _TIES else ""


# What stands between white space, or between characters of scripts written without spaces.
_CHUNK = re.compile("[^\\s\0\u0e00-\u0eff\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff]+")
_WORD = re.compile("[a-z0-9]+")
_LETTERS = re.compile("[a-z]+")
# An address is not prose. Every repetition starts at a boundary or is bounded, so that no text
# makes the search quadratic.
_ADDRESS = re.compile(
    r"(?<![a-z0-9])(?:https?://|www\.)\S+"
    r"|(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|(?<![\w@#$*])@(?!(?:ss|sses|sshole|ssholes|nal|nus|rse)\b)\w+"
)
# Letters one by one. What separates them never matches a letter, so this is linear.
_SPELLED = re.compile(
    r"(?<![a-z0-9@$!])(?<![a-z]['\u2019])[a-z0-9@$!]"
    rf"(?:(?:\s{{1,4}}|\s?[.\-_*~/\\,:;+^=|{_SYMBOLS}]{{1,3}}\s?)[a-z0-9@$!]){{2,}}(?![a-z0-9@$])"
)
_SPELLED_AS = (str.maketrans("0134578@$!", "oieastbasi"), str.maketrans("0134578@$!", "oleastbasl"))
_DOTTED = frozenset(("ass", "fag", "cum", "sex", "kys", "tit"))  # few words look like initials
_EDGES = re.compile(r"[a-z0-9@$*].*[a-z0-9@$*+!|]|[a-z0-9]", re.DOTALL)
_PART = re.compile(rf"[a-z0-9@$*!+|#<({{\[%&?^~\u00a2\u00a9\u20ac\u00a7\u00b5{_SYMBOLS}]+")
_EDGE_SIGNS = (
    ("\0", "!?%&#~^|(<{[\u2026"),
    ("\0", "\0"),
    ("*!?#", "!?%&#~^|(<{[\u2026*+"),
)
_FORMULA = re.compile(r"[a-z]\*{1,2}[a-z]")
_WHOSE = re.compile(
    r"\b(?:my|your|ur|his|her|their|our|the|a|an|big|fat|dumb|lazy|sorry|whole|bad|punk) $"
)
_SPLIT = re.compile(rf" |[.\-_*`~^+|/\\:;,{_SYMBOLS}\ufe0f]{{1,2}}")
_INNER = frozenset("'\u2019@$&0123456789")
_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def _words(text: str) -> list[_Edit]:
    """Find the disguised words of a text that is free of noise."""
    shown = text.lower()
    plain = shown if text.isascii() else _as_latin(text, shown)
    left = plain
    if "@" in left or "://" in left or "www." in left:
        left = _ADDRESS.sub(lambda match: "\0" * len(match[0]), left)
    listed = lexicon().listed
    edits: list[_Edit] = []
    for find in (_spelled, _disguised, _split):
        found = [
            edit
            for edit in find(left)
            # Accents and other scripts are given up for a listed word only.
            if shown[edit.begin : edit.end] == plain[edit.begin : edit.end] or edit.text in listed
        ]
        if found:
            left = _without(left, found)
            edits += found
    if plain is not shown:
        edits += _unmasked(text, shown, left)
    return edits


def _without(text: str, edits: list[_Edit]) -> str:
    kept: list[str] = []
    at = 0
    for edit in edits:
        kept += text[at : edit.begin], "\0" * (edit.end - edit.begin)
        at = edit.end
    return "".join((*kept, text[at:]))


def _spelled(text: str) -> Iterator[_Edit]:
    """Join letters written one by one: f.u.c.k, k i l l  y o u."""
    for match in _SPELLED.finditer(text):
        run, begin = match[0], match.start()
        at = [i for i, c in enumerate(run) if (c.isalnum() and c.isascii()) or c in "@$!"]
        gaps = [run[a + 1 : b] for a, b in pairwise(at)]
        # White space among other signs, or wider or narrower than most, parts the words.
        spaced = all(map(str.isspace, gaps))
        usual = Counter(map(len, gaps)).most_common(1)[0][0]
        cuts = [
            i
            for i, gap in enumerate(gaps, 1)
            if gap.isspace() and (not spaced or len(gap) != usual)
        ]
        dotted = not all(gap.isspace() or gap.strip() in "-_" for gap in gaps)
        groups = [at[first:last] for first, last in pairwise((0, *cuts, len(at)))]
        found = [_message(run, group, dotted) for group in groups]
        if not any(found):
            if cuts:
                groups, found = [at], [_message(run, at, dotted=True)]
        else:  # "y o u" says nothing by itself
            found = [
                pieces or _message(run, group, dotted, among=True)
                for group, pieces in zip(groups, found, strict=True)
            ]
        for group, pieces in zip(groups, found, strict=True):
            last = group[0]
            for piece, places in pieces:
                gap = run[last + 1 : places[0]]
                if last < places[0] and not gap.isspace():
                    yield _Edit(begin + last + 1, begin + places[0], " ")
                if len(piece) > 1:
                    yield _Edit(begin + places[0], begin + places[-1] + 1, piece)
                last = places[-1]


def _message(
    run: str, at: list[int], dotted: bool, among: bool = False
) -> list[tuple[str, list[int]]]:
    """Return the words that the letters at the given places make, each with its places.

    ``among`` other words that were spelled out, any single word will do.
    """
    letters = "".join(run[i] for i in at)
    if 2 * sum(map(str.isalpha, letters)) < len(letters) or len(set(letters)) < 2:
        return []
    for spelled in dict.fromkeys(letters.translate(table) for table in _SPELLED_AS):
        pieces = segment(spelled)
        if (among and len(pieces) == 1) or (len(at) > 2 and _is_message(pieces, dotted)):
            ends = accumulate(map(len, pieces))
            return [
                (piece, at[end - len(piece) : end]) for piece, end in zip(pieces, ends, strict=True)
            ]
    # Repeated letters, behind an "a" perhaps that is a word of its own.
    for first in (0, 1) if 3 < len(at) <= 24 else ():
        word = read(letters[first:])
        if word and word in lexicon().strong:
            return [(word, at[first:])]
    return []


def _is_message(pieces: list[str], dotted: bool) -> bool:
    """Say whether spelled-out letters make words, rather than initials."""
    words = lexicon()
    listed = [piece for piece in pieces if piece in words.listed]
    if any(map(words.is_core, listed)):
        return True
    plain = all(
        piece in "aiurm" or piece in words.listed or words.rank.get(piece, 99999) < 12000
        for piece in pieces
    )
    if any(len(piece) > 3 and words.rank[piece] < RARE for piece in listed):
        return plain
    if listed:
        alone = len(pieces) == 1 and (not dotted or len(pieces[0]) > 3 or pieces[0] in _DOTTED)
        return alone or (plain and not dotted)
    length = sum(map(len, pieces))
    return plain and not dotted and length >= 6 and length >= 3 * len(pieces)


def _disguised(text: str) -> Iterator[_Edit]:
    """Read the words that hide by themselves: sh1t, f*ck, fuuuck, fuckyou."""
    known, strong = lexicon().known, lexicon().strong
    prose = None
    for match in _CHUNK.finditer(text):
        chunk = match[0]
        if chunk in known:
            continue
        for begin, end, word in (
            _resolve(chunk) if len(chunk) <= _LONGEST else _resolve.__wrapped__(chunk)
        ):
            at = match.start() + begin
            if word == "ass" and chunk[begin:end] == "a**":  # also a grade and a footnote's mark
                if not _WHOSE.search(text, max(0, at - 16), at):
                    continue
            elif _FORMULA.fullmatch(chunk, begin, end) and (
                chunk[begin + 2] != "*" or word not in strong
            ):
                prose = _is_prose(text) if prose is None else prose
                if not prose:
                    continue
            yield _Edit(at, match.start() + end, word)


def _is_prose(text: str) -> bool:
    known = lexicon().known
    ordinary = sum(len(word) > 2 and word in known for word in _LETTERS.findall(text))
    return ordinary > 1 and not re.search(r"[={}<>]|\d\s*\*|\*\s*\d", text)


@lru_cache(maxsize=1 << 14)
def _resolve(chunk: str) -> tuple[tuple[int, int, str], ...]:
    """Return the ranges of a chunk that are disguised words, and what they say."""
    edges = _EDGES.search(chunk)
    if edges is None:
        return ()
    core, at = edges[0], edges.start()
    tag = "#" in chunk
    if not core.isalpha():
        for begin, end in _trimmed(core):
            if word := read(core[begin:end], tag):
                return ((at + begin, at + end, word),)
    found = []
    for part in _PART.finditer(core):
        if part[0] == core and not core.isalpha():
            break  # read above
        for begin, end in _trimmed(part[0]):
            if word := read(part[0][begin:end], tag):
                found.append((at + part.start() + begin, at + part.start() + end, word))
                break
    return tuple(found)


def _trimmed(word: str) -> Iterator[tuple[int, int]]:
    """Yield the ranges of a word with this or that at its edges taken for punctuation."""
    seen = set()
    for left, right in _EDGE_SIGNS:
        begin, end = len(word) - len(word.lstrip(left)), len(word.rstrip(right))
        if begin < end and (begin, end) not in seen:
            seen.add((begin, end))
            yield begin, end


def _split(text: str) -> Iterator[_Edit]:
    """Join the pieces of a strong word that was cut: fu ck, b-itch, n.igger."""
    words = lexicon()
    pieces = [(match.start(), match.end(), match[0]) for match in _LETTERS.finditer(text)]
    done = 0
    for i, (begin, end, joined) in enumerate(pieces):
        if i < done or joined not in words.prefixes or text[max(0, begin - 1) : begin] in _INNER:
            continue
        for j in range(i + 1, min(i + 5, len(pieces))):
            if not _SPLIT.fullmatch(text, end, pieces[j][0]):
                break
            joined, end = joined + pieces[j][2], pieces[j][1]
            if joined not in words.prefixes:
                break
            parts = tuple(piece[2] for piece in pieces[i : j + 1])
            if words.is_split(joined, parts, " " in text[begin:end]):
                yield _Edit(begin, end, joined)
                done = j + 1
                break


def _as_latin(text: str, shown: str) -> str:
    """Return the lower-case text with look-alikes replaced where the text around is Latin."""
    letters = lookalikes()
    plain = text.translate(letters.table).lower()
    if letters.scripts.isdisjoint(text):
        return plain
    foreign, twins, others = False, [], []
    for match in _CHUNK.finditer(text):
        piece = match[0]
        if piece.isascii():
            continue
        found = letters.scripts.intersection(piece)
        if found and any((c.isascii() and c.isalpha()) or c in letters.styled for c in piece):
            continue  # scripts mixed within a word
        other = any(c.isalpha() and not c.isascii() and ord(c) not in letters.table for c in piece)
        if found and found <= letters.twins and not other:
            twins.append(match.span())
        elif found or other:
            foreign = True
            others.append(match.span())
    # A word of nothing but look-alikes is what it seems to be among words of its own script.
    kept: list[str] = []
    at = 0
    for begin, end in sorted(others + twins) if foreign else ():
        kept += plain[at:begin], shown[begin:end]
        at = end
    return "".join((*kept, plain[at:]))


def _unmasked(text: str, shown: str, plain: str) -> Iterator[_Edit]:
    """Accept look-alike letters word by word, where a Latin word is what the reader sees."""
    words, letters = lexicon(), lookalikes()
    found = [m.span() for m in _WORD.finditer(plain) if m[0] != shown[m.start() : m.end()]]
    if not found:
        return
    english = _is_english(shown)
    latin = re.search("[a-z]{3}", shown) is not None
    ideographs = _IDEOGRAPH.search(shown) is not None
    fancy = not ideographs and any(
        sum(c in letters.styled and letters.table[ord(c)].isalpha() for c in text[begin:end]) > 2
        for begin, end in found
    )
    for begin, end in found:
        if plain[max(0, begin - 1) : begin].isalpha() or plain[end : end + 1].isalpha():
            continue  # a letter of another script is left in it
        word, drawn = plain[begin:end], text[begin:end]
        listed, known = word in words.listed, len(word) > 2 and word in words.rank
        script = letters.scripts.intersection(drawn)
        own = sum(c.isascii() and c.isalpha() for c in drawn)
        if script and own:
            accept = listed or (script <= letters.twins and (known or own * 2 > len(word) > 3))
        elif script:
            accept = script <= letters.twins and known and (listed or latin)
        elif not letters.styled.isdisjoint(drawn):
            accept = listed or fancy or (known and drawn[-1].isascii())
        else:  # accents, which honest words of other languages have
            accept = words.is_core(word) or (listed and english)
        if accept:
            yield _Edit(begin, end, word)


def _is_english(text: str) -> bool:
    """Say whether a text is English but for accents, which then are a disguise."""
    words, letters = lexicon(), lookalikes()
    found = re.findall(r"[^\W\d_]+", text)
    odd = [word.translate(letters.table) for word in found if not word.isascii()]
    if any(word not in words.listed for word in odd):
        return False
    return sum(word in words.known for word in found) * 4 > len(found) * 3 > 6


_FINDERS: tuple[Callable[[str], Iterable[_Edit]], ...] = (_reversals, _noise, _words)
_TURNS = 4
_LONGEST = 64  # a longer token is not worth its place in a cache

_APART = str.maketrans(dict.fromkeys('.,:;"?()[]{}/\u2013\u2014\u2026\u201c\u201d-', " "))
_TOKEN = re.compile(
    '[^\\s.,:;"?()\\[\\]{}/\u2013\u2014\u2026\u201c\u201d\u3001\u3002\uff0c\uff1a\uff1b\uff1f\uff01\\-]+'
)
_BANG = re.compile("!(?![a-z0-9@$])")
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_UNKNOWN = re.compile("([a-z]+)(?:'[a-z]{1,2})?")
_NUMBER = re.compile(
    r"[$#~+<>]?\d+(?:st|nd|rd|th|am|pm|k|m|bn|s|mm|cm|km|kg|mph|x|hrs?|mins?|yrs?|d|p)?[%+$]?"
)
_HANDLE = re.compile(r"@(?!(?:ss|sses|sshole|ssholes|nal|nus|rse)\b)\w+")
_LONE = re.compile(_SPELLED.pattern + r"|(?<![a-z0-9])[a-z][\-./]{1,3}[a-z]+(?![a-z0-9])")
_JOINT = re.compile(r"[a-z0-9][_*~\\+^=|'`&%#<>]+[a-z0-9]")
_SIGN_INSIDE = re.compile(f"[a-z][{_SYMBOLS}\ufe0f*@$!]+[a-z]")
# Noise, but for the joiners and selectors of an emoji.
_TOKEN_NOISE = re.compile(
    f"(?<![\u203c-\u3299\U0001f000-\U0001faff\ufe0f])[\u200d\ufe0e\ufe0f]"
    f"|(?![\u200d\ufe0e\ufe0f])[{_INVISIBLE}{_MARKS}\u0130\ufb00-\ufb06]"
)


def _is_suspicious(text: str) -> bool:
    """Say whether folding might find anything in a lower-case text. Most texts end here."""
    if "://" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if "\u2019" in text:
        text = text.replace("\u2019", "'")
    if "!" in text:
        text = _BANG.sub(" ", text)
    # Translation is quick for ASCII alone.
    tokens = text.translate(_APART).split() if text.isascii() else _TOKEN.findall(text)
    foreign = lookalike = False
    for token in set(tokens).difference(lexicon().clean):
        kind = _kind(token) if len(token) <= _LONGEST else _kind.__wrapped__(token)
        if kind == "disguise" or (kind == "letter" and _LONE.search(text)):
            return True
        foreign |= kind == "foreign"
        lookalike |= kind == "lookalike"
    return lookalike and not foreign


@lru_cache(maxsize=1 << 15)
def _kind(token: str) -> str:
    """Sort a token that is not a known word into what the glance needs to know of it."""
    if not token.isascii():
        return _foreign_kind(token)
    fragments = lexicon().fragments
    if match := _UNKNOWN.fullmatch(token):
        word = match[1]
        if len(word) == 1:
            return "letter"
        return "disguise" if word in fragments or read(word) else "plain"
    if _NUMBER.fullmatch(token) or _HANDLE.fullmatch(token):
        return "plain"
    odd = _CONTROL.search(token) or _JOINT.search(token) or _resolve(token)
    return "plain" if not odd and fragments.isdisjoint(_LETTERS.findall(token)) else "disguise"


def _foreign_kind(token: str) -> str:
    letters = lookalikes()
    flags = sum(0x1F1E6 <= ord(c) < 0x1F200 for c in token)
    if flags % 2 or flags > 2 or not letters.styled.isdisjoint(token):
        return "disguise"
    if "*" in token or _TOKEN_NOISE.search(token):
        return "disguise"
    scripts = letters.scripts.intersection(token)
    latin = any(c.isascii() and c.isalpha() for c in token)
    if scripts and latin:
        return "disguise"
    if scripts:
        alike = letters.twins.issuperset(c for c in token if c.isalpha())
        return "lookalike" if alike else "foreign"
    if not latin and letters.accented.isdisjoint(token):
        return "foreign" if any(map(str.isalpha, token)) else "plain"
    words = lexicon()
    plain = token.translate(letters.table)
    if _SIGN_INSIDE.search(plain):
        return "disguise"
    pieces = _LETTERS.findall(plain)
    odd = any(p in words.listed or p in words.fragments or read(p) for p in pieces)
    return "disguise" if odd else "plain"
