"""Folding of disguised text, with offsets back to the text as it was sent.

``fold`` undoes what people do to a word so that a reader still reads it and a filter does not:
look-alike letters, zero-width characters, stacked marks, leetspeak, masks (f*ck), spelled-out and
split words, repeated letters, missing spaces. It is computed once per text and shared: the word
list, the patterns and the models read the same folded text.

A false fold costs more than a missed one, so every reading that is not forced by Unicode alone
must end in a word of the lexicon, and most of them in a listed one (``lexicon.txt``). Text in other
scripts, prices, code, addresses and abbreviations pass through.

References: Unicode Standard Annex 15 (normalisation forms) and Technical Standard 39 (confusables);
the tables here hold only what poses as a Latin letter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache, lru_cache
from itertools import pairwise
from typing import NamedTuple

from moderation.lexicon import lexicon, read, segment

__all__ = ["Folded", "fold"]


@dataclass(frozen=True, slots=True)
class Folded:
    """A text and its folded form.

    ``text`` is lower case. ``changed`` is true where folding did more than change case, compose
    accents and drop invisible characters from the edges of words: what a model should read anew.
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
    counts: bool = True  # a disguise, as against mere tidying
    whole: bool = False  # every character of the replacement stands for the whole range


_INVISIBLE = (
    "\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_MARKS = "\u0300-\u036f\u0483-\u0489\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20f0\ufe20-\ufe2f"
# Strokes and lines through, under or over a letter: no orthography writes them as marks.
_OVERLAYS = frozenset(
    "\u0305\u0332\u0333\u0334\u0335\u0336\u0337\u0338\u033f\u0489\u20d2\u20d3\u20e5"
)
# Scripts in which invisible characters do honest work, or whose marks are letters.
_OTHER_SCRIPTS = (
    "\u0590-\u139f\u1680-\u1cff\u2d30-\u2dff\u2e80-\ua4cf\ua500-\ua63f\ua6a0-\ua6ff\ua800-\uab2f"
    "\uabc0-\ud7ff\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufefe\uff66-\uffdc"
    "\U00010000-\U0001bfff\U00020000-\U0003ffff"
)
_RIGHT_TO_LEFT = re.compile("[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefe]")
_NOISE = re.compile(f"[{_INVISIBLE}{_MARKS}]+|[\u0130\ufb00-\ufb06]")
_MARK = re.compile(f"[{_MARKS}]")
_OTHER_SCRIPT = re.compile(f"[{_OTHER_SCRIPTS}]")
_REVERSED = re.compile("\u202e([^\u202c\n]+)\u202c?")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff](?:[\\s\u200b]{0,2}[\U0001f1e6-\U0001f1ff]){2,}")
_LIGATURES = dict(
    zip("\ufb00\ufb01\ufb02\ufb03\ufb04\ufb05\ufb06", "ff fi fl ffi ffl st st".split())
)

_LATIN_LOOKALIKES = (
    "øoØoɵoıiɩiłlŁlđdĐdɖdħhŧtɑaɡgƒfɪiɴnʀrʏyʙbɢgʜhʟlᴀaᴄcᴅdᴇeꜰfᴊjᴋkᴍmᴏoᴘpǫqꜱsᴛtᴜuᴠvᴡwᴢz"
)
# Letters of other scripts that are drawn as the Latin one, and those that only recall it.
_TWINS = (
    "аaеeоoрpсcуyхxіiѕsјjһhԁdԛqԝwѵvӏlүyғfАaВbЕeКkМmНhОoРpСcТtУyХxІiЅsЈjҺhԀdԚqԜwѴvӀlҮyҒfԌg"
    "αaοoρpνvιiκkχxυuϲcϳjΑaΒbΕeΖzΗhΙiΚkΜmΝnΟoΡpΤtΥyΧx"
    "օoսuոnհhցgյjզqՏsԼlՍuՕo"
    "ᎪaᏴbᏟcᎠdᎬeᏀgᎻhᎥiᎫjᏦkᏞlᎷmᏢpᏒrᏚsᎢtᏙvᎳwᎽyᏃzꭺaꮯcꭰdꭼeꮐgꮋhꭵiꭻjꮶkꮮlꮇmꮲpꮪsꭲtꮩvꮃwꮓz"
    "ꓐbꓑpꓓdꓔtꓖgꓗkꓙjꓚcꓜzꓝfꓟmꓠnꓡlꓢsꓣrꓦvꓧhꓪwꓫxꓬyꓮaꓰeꓲiꓳoꓴu"
    "ⲁaⲃbⲉeⲓiⲕkⲙmⲛnⲟoⲣpⲥcⲧtⲩyⲭx"
    "ᗩaᗷbᑕcᗪdᖴfᕼhᒍjᒪlᗰmᑎnᑭpᑫqᖇrᔕsᑌuᐯvᗯw᙭xᘔz"
)
_COUSINS = (
    "вbкkмmнhтtгrпnиuйuцuяrлnьbэeшwщwёeїiєeґrћhђhџuґrдdзzбb"
    "τtεeηnωwβbμuµuπnθoσoδdγyάaέeήnίiόoύuώwΣeΛa"
)


def _pairs(table: str) -> dict[str, str]:
    return dict(zip(table[::2], table[1::2], strict=True))


class _Letters(NamedTuple):
    accented: frozenset[str]
    styled: frozenset[str]
    twins: frozenset[str]
    scripts: frozenset[str]  # twins and cousins
    table: dict[int, str]  # for str.translate; one character to one


@cache
def _letters() -> _Letters:
    accented, styled = {}, _pairs(_LATIN_LOOKALIKES)
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        base = unicodedata.normalize("NFD", chr(code))[0].lower()
        if base.isascii() and base != chr(code):
            accented[chr(code)] = base
    for low in ("øØ", "łŁ", "đĐ", "ħ", "ŧ", "ı"):
        for letter in low:
            accented[letter] = styled.pop(letter)
    # Fullwidth forms, letterlike symbols, modifier letters, enclosed and mathematical letters.
    blocks = ((0x17F, 0x180), (0x2B0, 0x2C0), (0x1D2C, 0x1D9C), (0x2071, 0x2095), (0x2100, 0x2140),
              (0x249C, 0x24EA), (0x2C7C, 0x2C7D), (0xFF01, 0xFF5F), (0x1D400, 0x1D800),
              (0x1F110, 0x1F14A))  # fmt: skip
    for begin, end in blocks:
        for code in range(begin, end):
            plain = unicodedata.normalize("NFKC", chr(code)).lower().strip("()〔〕")
            if len(plain) == 1 and plain.isascii() and plain.isprintable():
                styled[chr(code)] = plain
    for first in (0x1F150, 0x1F170):  # white letters on black: no compatibility form
        styled.update((chr(first + i), chr(97 + i)) for i in range(26))
    twins, cousins = _pairs(_TWINS), _pairs(_COUSINS)
    table = cousins | twins | styled | accented
    return _Letters(
        frozenset(accented),
        frozenset(styled),
        frozenset(twins),
        frozenset(twins | cousins),
        {ord(letter): plain for letter, plain in table.items()},
    )


def _reversals(text: str) -> Iterator[_Edit]:
    """Undo right-to-left overrides around Latin text: the reader sees it mirrored."""
    for match in _REVERSED.finditer(text) if "\u202e" in text else ():
        if not _RIGHT_TO_LEFT.search(match[1]):
            yield _Edit(match.start(), match.end(), match[1][::-1], whole=True)


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
        before, after = text[begin - 1 : begin], text[end : end + 1]
        marks = "".join(_MARK.findall(run))
        hidden = len(marks) < len(run)
        if hidden and _is_orthographic(run, before, after, right_to_left):
            continue
        kept = _kept_marks(before, marks, after) if marks else ""
        glued = hidden and before.isalnum() and after.isalnum()
        if kept and before.isalpha():
            composed = unicodedata.normalize("NFC", before + kept)
            if len(composed) == 1:
                yield _Edit(begin - 1, end, composed, counts=kept != marks or glued)
                continue
        if kept != run:
            yield _Edit(
                begin,
                end,
                kept,
                counts=glued or len(kept) < len(marks) - ("i\u0307" == before + marks),
            )
    for match in _REGIONAL.finditer(text):
        word = "".join(chr(ord(c) - 0x1F1E6 + 97) for c in match[0] if ord(c) > 0x1F000)
        if word in lexicon().listed:
            yield _Edit(match.start(), match.end(), word)


def _is_orthographic(run: str, before: str, after: str, right_to_left: bool) -> bool:
    if before.isascii() and before.isalnum() and after.isascii() and after.isalnum():
        return False
    if len(run) > 8:  # longer than any emoji's tag sequence
        return False
    if _OTHER_SCRIPT.match(before) or _OTHER_SCRIPT.match(after):
        return True
    if right_to_left and _BIDI.fullmatch(run):
        return True
    if "\u20e3" in run and before in "0123456789#*":
        return True
    symbol = before > "\u00a0" and not before.isalnum() and not before.isspace()
    if run in ("\ufe0e", "\ufe0f"):  # presentation selectors belong to the symbol before them
        return (symbol or before in _EMOJI_LETTERS) and not (after.isascii() and after.isalpha())
    return symbol and not run.strip("\u200d\ufe0e\ufe0f\u20e3\U000e0020-\U000e007f")


_TURNS = 4
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f]")
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+")
_EMOJI_LETTERS = frozenset("©®™ℹⓂ🅰🅱🅾🅿㊗㊙")


def _kept_marks(before: str, marks: str, after: str) -> str:
    """Return the marks that writing accounts for, of those found behind one character."""
    if len(marks) > 2:
        return ""
    if not before.isalpha():
        return marks
    kept = "".join(mark for mark in marks if mark not in _OVERLAYS)
    if before in "iI" and kept == "\u0307":
        return ""
    # A mark that does not compose with a plain letter inside a word is noise; alone (a mean, an
    # estimate: x\u0304) it is notation.
    inside = after.isalpha()
    if before.isascii() and inside and len(unicodedata.normalize("NFC", before + kept)) > 1:
        return ""
    return kept


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
_SYMBOLS = "\u2022\u00b7\u2026\u2013\u2014\u203c-\u2bff\U0001f000-\U0001faff"
_SPELLED = re.compile(
    r"(?<![a-z0-9@$!])(?<![a-z]['\u2019])[a-z0-9@$!]"
    r"(?:(?:\s{1,4}|\s?[.\-_*~/\\,:;+^=|" + _SYMBOLS + r"]{1,3}\s?)[a-z0-9@$!]){2,}(?![a-z0-9@$])"
)
_SPELLED_AS = (str.maketrans("0134578@$!", "oieastbasi"), str.maketrans("0134578@$!", "oleastbasl"))
_DOTTED = frozenset("ass fag cum sex kys tit".split())
_SPLIT = re.compile(r" |[.\-_*'`~^+|/\\:;,\u2019" + _SYMBOLS + r"\ufe0f]{1,2}")
_PART = re.compile(r"[a-z0-9@$*!+|#<({\[%&?^~\u00a2\u00a9\u20ac\u00a7\u00b5" + _SYMBOLS + "]+")
_EDGES = re.compile(r"[a-z0-9@$*].*[a-z0-9@$*+!|]|[a-z0-9]", re.DOTALL)
_FORMULA = re.compile(r"[a-z]\*+[a-z]?")


def _words(text: str) -> list[_Edit]:
    """Find the disguised words of a text that is free of noise."""
    shown = text.lower()
    plain = shown if text.isascii() else _as_latin(text, shown)
    left = plain
    if "@" in left or "://" in left or "www." in left:
        left = _ADDRESS.sub(lambda match: "\0" * len(match[0]), left)
    edits: list[_Edit] = []
    for find in (_spelled, _disguised, _split):
        for edit in find(left):
            alike = shown[edit.begin : edit.end] == plain[edit.begin : edit.end]
            if alike or not lexicon().listed.keys().isdisjoint(edit.text.split()):
                edits.append(edit)
        left = _without(left, edits)
    if plain is not shown:
        edits += _lookalikes(text, shown, left)
    return edits


def _without(text: str, edits: list[_Edit]) -> str:
    if not edits:
        return text
    kept, at = [], 0
    for edit in sorted(edits):
        kept += text[at : edit.begin], "\0" * (edit.end - edit.begin)
        at = edit.end
    return "".join((*kept, text[at:]))


def _spelled(text: str) -> Iterator[_Edit]:
    """Join letters written one by one: f.u.c.k, k i l l  y o u."""
    for match in _SPELLED.finditer(text):
        run = match[0]
        at = [i for i, c in enumerate(run) if c.isalnum() and c.isascii() or c in "@$!"]
        gaps = [run[a + 1 : b] for a, b in pairwise(at)]
        narrow = min((len(gap) for gap in gaps if gap.isspace()), default=0)
        dotted = not all(gap.isspace() or gap in "-_" for gap in gaps)
        mixed = not all(gap.isspace() for gap in gaps)
        cuts = [
            i + 1 for i, gap in enumerate(gaps) if gap.isspace() and (mixed or len(gap) > narrow)
        ]
        found = False
        for first, last in pairwise((0, *cuts, len(at))):
            for edit in _joined(run, at[first:last], dotted):
                found = True
                yield edit._replace(begin=match.start() + edit.begin, end=match.start() + edit.end)
        if not found and cuts:
            for edit in _joined(run, at, True):
                yield edit._replace(begin=match.start() + edit.begin, end=match.start() + edit.end)


def _joined(run: str, at: list[int], dotted: bool) -> Iterator[_Edit]:
    words = lexicon()
    letters = "".join(run[i] for i in at)
    if (
        len(letters) < 3
        or 2 * sum(map(str.isalpha, letters)) < len(letters)
        or len(set(letters)) < 2
    ):
        return
    for table in _SPELLED_AS:
        spelled = letters.translate(table)
        pieces = segment(spelled)
        if _is_message(pieces, dotted):
            break
        if len(letters) <= 24 and (word := read(spelled)) in words.strong:
            yield _Edit(at[0], at[-1] + 1, word)
            return
        if spelled == letters:
            return
    else:
        return
    first = 0
    for piece in pieces:
        last = first + len(piece)
        if first:
            gap = run[at[first - 1] + 1 : at[first]]
            if not gap.isspace():
                yield _Edit(at[first] - len(gap), at[first], " ")
        if len(piece) > 1:
            yield _Edit(at[first], at[last - 1] + 1, piece)
        first = last


def _is_message(pieces: list[str], dotted: bool) -> bool:
    """Say whether spelled-out letters make words, rather than initials."""
    words = lexicon()
    if any(len(piece) > 3 and piece in words.listed for piece in pieces):
        return True
    plain = all(piece in "aiurm" or words.rank.get(piece, 99999) < 12000 for piece in pieces)
    if any(len(piece) == 3 and piece in words.listed for piece in pieces):
        alone = len(pieces) == 1 and (not dotted or pieces[0] in _DOTTED)
        return alone or (plain and not dotted)
    length = sum(map(len, pieces))
    return plain and not dotted and length >= 5 and length >= 3 * len(pieces)


def _disguised(text: str) -> Iterator[_Edit]:
    """Read the words that hide by themselves: sh1t, f*ck, fuuuck, fuckyou."""
    known = lexicon().known
    prose = None
    for match in _CHUNK.finditer(text):
        chunk = match[0]
        if chunk in known:
            continue
        for begin, end, word in _resolve(chunk) if len(chunk) < 64 else _resolve.__wrapped__(chunk):
            if len(word) == 3 and _FORMULA.fullmatch(chunk[begin:end]):
                if prose is None:
                    prose = _is_prose(text)
                if not prose:
                    continue
            yield _Edit(match.start() + begin, match.start() + end, word)


def _is_prose(text: str) -> bool:
    known = lexicon().known
    return not re.search(r"[={}<>]|\d\s*\*|\*\s*\d", text) and 1 < sum(
        len(word) > 2 and word in known for word in _LETTERS.findall(text)
    )


@lru_cache(maxsize=1 << 14)
def _resolve(chunk: str) -> tuple[tuple[int, int, str], ...]:
    edges = _EDGES.search(chunk)
    if edges is None:
        return ()
    core, at = edges[0], edges.start()
    if not core.isalpha():
        for begin, end in _trimmed(core):
            if word := read(core[begin:end]):
                return ((at + begin, at + end, word),)
    found = []
    for part in _PART.finditer(core):
        for begin, end in _trimmed(part[0]):
            if word := read(part[0][begin:end]):
                found.append((at + part.start() + begin, at + part.start() + end, word))
                break
    return tuple(found)


def _trimmed(word: str) -> list[tuple[int, int]]:
    """Return the ranges of a word with more and more of its edges taken for punctuation."""
    ranges = [(0, len(word))]
    for left, right in (
        ("", "!"),
        ("", "!?%&#"),
        ("*", "*"),
        ("", "!*+|?#%&(<{["),
        ("*!?#", "!*+|?#%&(<{["),
    ):
        end = len(word.rstrip(right))
        begin = len(word) - len(word.lstrip(left)) if left else 0
        if begin < end and (begin, end) not in ranges:
            ranges.append((begin, end))
    return ranges


def _split(text: str) -> Iterator[_Edit]:
    """Join the pieces of a strong word that was cut: fu ck, b-itch, n.igger."""
    words = lexicon()
    pieces = [(match.start(), match.end(), match[0]) for match in _LETTERS.finditer(text)]
    done = 0
    for i, (begin, end, joined) in enumerate(pieces):
        if joined not in words.prefixes or i < done:
            continue
        for j in range(i + 1, min(i + 5, len(pieces))):
            if not _SPLIT.fullmatch(text, end, pieces[j][0]):
                break
            joined += pieces[j][2]
            end = pieces[j][1]
            if joined not in words.prefixes:
                break
            if words.is_split(joined, tuple(piece[2] for piece in pieces[i : j + 1])):
                yield _Edit(begin, end, joined)
                done = j + 1
                break


def _as_latin(text: str, shown: str) -> str:
    """Return the lower-case text with look-alikes replaced where the text around is Latin."""
    letters = _letters()
    plain = text.translate(letters.table).lower()
    if letters.scripts.isdisjoint(text):
        return plain
    foreign, twins, others = False, [], []
    for match in _CHUNK.finditer(text):
        piece = match[0]
        if piece.isascii():
            continue
        found = letters.scripts.intersection(piece)
        if found and any(c.isascii() and c.isalpha() or c in letters.styled for c in piece):
            continue  # scripts mixed within a word
        other = any(c.isalpha() and not c.isascii() and ord(c) not in letters.table for c in piece)
        if found and found <= letters.twins and not other:
            twins.append(match.span())
        elif found or other:
            foreign = True
            others.append(match.span())
    # A word of nothing but look-alikes is what it seems to be among words of its own script.
    kept, at = [], 0
    for begin, end in sorted(others + twins) if foreign else ():
        kept += plain[at:begin], shown[begin:end]
        at = end
    return "".join((*kept, plain[at:]))


def _lookalikes(text: str, shown: str, plain: str) -> Iterator[_Edit]:
    """Accept look-alike letters word by word, where a Latin word is what the reader sees."""
    words, letters = lexicon(), _letters()
    found = [m.span() for m in _WORD.finditer(plain) if m[0] != shown[m.start() : m.end()]]
    if not found:
        return
    english = None
    latin = re.search("[a-z]{3}", shown) is not None
    ideographs = _IDEOGRAPH.search(shown) is not None
    fancy = any(
        sum(c in letters.styled and c.isalpha() for c in text[begin:end]) > 2
        for begin, end in found
    )
    for begin, end in found:
        word, drawn = plain[begin:end], text[begin:end]
        listed = word in words.listed
        script = letters.scripts.intersection(drawn)
        if script:
            own = sum(c.isascii() and c.isalpha() for c in drawn)
            twins = script <= letters.twins
            if own:
                accept = (
                    listed
                    or twins
                    and len(word) > 2
                    and (word in words.rank or own * 2 > len(word) > 3)
                )
            else:
                accept = twins and len(word) > 2 and (listed or (latin and word in words.rank))
        elif not letters.styled.isdisjoint(drawn):
            accept = listed or (fancy and not ideographs)
        else:
            if english is None:
                english = _is_english(shown)
            accept = listed and english and drawn.lower() not in _ACCENTED
        if accept:
            yield _Edit(begin, end, word)


_IDEOGRAPH = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_ACCENTED = frozenset("râpé rapé râpe dié hôte".split())


def _is_english(text: str) -> bool:
    words = re.findall(r"[^\W\d_]+", text)
    known = sum(word in lexicon().known for word in words)
    return known * 2 >= len(words) - 1


# The glance that most texts end with.
_TOKEN = re.compile('[^\\s.,:;"!?()\\[\\]{}/\u2013\u2014\u2026\u201c\u201d\\-]+')
_LINK = re.compile(r"(?:https?://|www\.)\S+")
_UNKNOWN = re.compile("([a-z]+)(?:'[a-z]{1,2})?")
_TRIPLE = re.compile(r"([a-z])\1\1")
_NUMBER = re.compile(
    r"[$#~+<>]?\d+(?:st|nd|rd|th|am|pm|k|m|bn|s|mm|cm|km|kg|mph|x|hrs?|mins?|yrs?|d|p)?[%+$]?"
)
_HANDLE = re.compile(r"@(?!(?:ss|sses|sshole|ssholes|nal|nus|rse)\b)\w+")
# Noise, but for the joiners and selectors of an emoji.
_NOISE_HERE = re.compile(
    f"(?<![\u203c-\u3299\U0001f000-\U0001faff\ufe0f])[\u200d\ufe0e\ufe0f]"
    f"|(?![\u200d\ufe0e\ufe0f])[{_INVISIBLE}{_MARKS}\u0130\ufb00-\ufb06]"
)
_SYMBOL_INSIDE = re.compile(f"[a-z][{_SYMBOLS}\ufe0f*@$!]+[a-z]")
_JOINT = re.compile(r"[a-z0-9][_*~\\+^=|'`&%#<>]+[a-z0-9]")


def _is_suspicious(text: str) -> bool:
    """Say whether folding might find anything in a lower-case text. Most texts end here."""
    if "://" in text or "www." in text:
        text = _LINK.sub(" ", text)
    if "\u2019" in text:
        text = text.replace("\u2019", "'")
    foreign = lookalike = False
    for token in set(_TOKEN.findall(text)).difference(lexicon().clean):
        kind = _kind(token) if len(token) < 32 else _kind.__wrapped__(token)
        if kind == "plain":
            continue
        if kind == "letter":
            if _SPELLED.search(text):
                return True
        elif kind == "foreign":
            foreign = True
        elif kind == "lookalike":
            lookalike = True
        else:
            return True
    return lookalike and not foreign


@lru_cache(maxsize=1 << 15)
def _kind(token: str) -> str:
    """Sort a token that is not a known word into what the glance needs to know of it."""
    if not token.isascii():
        return _foreign_kind(token)
    if match := _UNKNOWN.fullmatch(token):
        word = match[1]
        if len(word) == 1:
            return "letter"
        return "disguise" if word in lexicon().fragments or read(word) else "plain"
    if _NUMBER.fullmatch(token) or _HANDLE.fullmatch(token):
        return "plain"
    if token[0] == "#" and token[1:].isalnum():
        return "disguise" if _resolve(token) or token[1:] in lexicon().fragments else "plain"
    if _CONTROL.search(token) or _JOINT.search(token) or _resolve(token):
        return "disguise"
    return (
        "disguise"
        if len(token) < 4 and not lexicon().fragments.isdisjoint(_LETTERS.findall(token))
        else "plain"
    )


def _foreign_kind(token: str) -> str:
    letters = _letters()
    if _NOISE_HERE.search(token) or not letters.styled.isdisjoint(token):
        return "disguise"
    scripts = letters.scripts.intersection(token)
    latin = any(c.isascii() and c.isalpha() for c in token)
    if scripts and latin:
        return "disguise"
    if scripts:
        return (
            "lookalike"
            if scripts.issuperset(filter(str.isalpha, token)) and scripts <= letters.twins
            else "foreign"
        )
    if latin or not letters.accented.isdisjoint(token):
        plain = token.translate(letters.table)
        if _SYMBOL_INSIDE.search(plain):
            return "disguise"
        pieces = _LETTERS.findall(plain)
        if any(
            piece in lexicon().listed or piece in lexicon().fragments or read(piece)
            for piece in pieces
        ):
            return "disguise"
        return "plain"
    return "foreign" if any(map(str.isalpha, token)) else "plain"


def fold(text: str) -> Folded:
    """Fold the disguises of a text, in time linear in its length. Total: any ``str`` will do."""
    folded = text.lower()
    if len(folded) == len(text) and not _is_suspicious(folded):
        return Folded(text, folded, False)
    if not text.isascii():
        folded = text  # capitals look like other letters than their small forms
    changed, offsets = False, None
    for _ in range(_TURNS):
        before = folded
        for find in (_reversals, _noise, _words):
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
    """Apply sorted edits; return the new text and, for each character, its range in the raw text."""
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
        if edit.whole:
            begins += [edit.begin] * len(edit.text)
            ends += [edit.end] * len(edit.text)
            continue
        old, new = text[edit.begin : edit.end].lower(), edit.text
        most = min(len(old), len(new))
        head = next((i for i in range(most) if old[i] != new[i]), most)
        tail = next((i for i in range(most - head) if old[-1 - i] != new[-1 - i]), most - head)
        first, last = edit.begin + head, edit.end - tail
        begins += range(edit.begin, first)
        ends += range(edit.begin + 1, first + 1)
        middle = len(new) - head - tail
        if middle == last - first:
            begins += range(first, last)
            ends += range(first + 1, last + 1)
        elif middle:
            begins += [first] * middle
            ends += [last] * middle
        elif head:
            ends[-1] = last  # letters left out belong to the one before them
        begins += range(last, edit.end)
        ends += range(last + 1, edit.end + 1)
    if earlier is not None:
        old_begins, old_ends = earlier
        # An inserted space has an empty range of its own.
        placed = [
            (old_begins[b], old_ends[e - 1])
            if b < e
            else (min(old_begins[b], old_ends[b - 1]), old_ends[b - 1])
            for b, e in zip(begins, ends, strict=True)
        ]
        begins, ends = [b for b, _ in placed], [e for _, e in placed]
    return "".join(out), (begins, ends)
