"""Words and phrases from lists, found with Aho–Corasick, as a filter."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, model_validator

from moderation.content import Content, Part
from moderation.errors import ConfigError
from moderation.filter import Filter, Finding, ResourcePath
from moderation.policy import did_you_mean
from moderation.verdict import Signal

if TYPE_CHECKING:
    from ahocorasick_rs import AhoCorasick

LISTS = Path(__file__).parent / "lists"

MAX_LIST_BYTES = 5_000_000
MAX_PHRASE = 200
"""Characters of one entry."""
MAX_SIGNALS = 1000
"""Signals of one category in one part; beyond it the highest scores are kept."""

_CATEGORY = re.compile(r"[\w./-]+")
_SECTION = re.compile(rf"\[\s*({_CATEGORY.pattern})(?:\s+(\S+))?\s*\]")
_SPACES = re.compile(" {2,}")

# A space in a phrase stands for any run of these: a line break or a hyphen hides nothing.
_ALIKE = (
    dict.fromkeys("\t\n\v\f\r-_\x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000‐‑‒–—", " ")
    | dict.fromkeys(map(chr, range(0x2000, 0x200B)), " ")
    | dict.fromkeys("’‘ʼ`´", "'")
)
_UNLIKE = re.compile(f"[{re.escape(''.join(_ALIKE))}]")

Category = Annotated[str, Field(pattern=rf"^{_CATEGORY.pattern}$")]
Score = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]
_Span: TypeAlias = tuple[int, int]


class Rating(BaseModel):
    """What one inline entry reports; what is left out is the filter's default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    category: Category | None = None
    score: Score | None = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A word or phrase as somebody listed it; `category` is None for an allowed one."""

    phrase: str
    category: str | None
    score: float
    source: str
    line: int | None = None

    @property
    def key(self) -> str:
        """Equal for two entries that match the same texts."""
        stem = self.phrase.strip("*")
        left, right = self.phrase.startswith("*"), self.phrase.endswith("*")
        return f"{'*' * left}{_comparable(stem)}{'*' * right}"

    @property
    def rated(self) -> str:
        return "allowed" if self.category is None else f"{self.category} {self.score:g}"


class _Needle(NamedTuple):
    """An entry as the search wants it."""

    starts: bool
    """Whether it begins a word, as against `*stem`."""
    ends: bool
    left: bool
    """Whether the match reaches out to the beginning of the word."""
    right: bool
    category: str | None
    score: float
    reason: str


_Match: TypeAlias = tuple[_Span, _Needle]


def _shipped_or_path(value: object) -> object:
    # A bare name is one of the shipped lists; a separator or an ending makes it a path.
    if isinstance(value, str) and value and not re.search(r"[/\\.]", value):
        return LISTS / f"{value}.txt"
    return value


class WordlistFilter(Filter):
    """Reports every listed word or phrase, with its category, score and span.

    Entries are whole words, in any case; ``stem*`` takes any ending and ``*stem`` any beginning.
    Where folding undid a disguise, the text is read both as folded and as sent: folding adds
    matches and never hides a word that stands there plainly. A match that overlaps an allowed
    phrase is not reported.
    """

    name: ClassVar[str] = "wordlist"

    lists: tuple[Annotated[ResourcePath, BeforeValidator(_shipped_or_path)], ...] = ()
    """Shipped lists by bare name, such as `english`, or paths of list files."""
    words: dict[Category, tuple[str, ...]] = Field(default_factory=dict)
    """Entries by category, with the default score."""
    entries: dict[str, Rating] = Field(default_factory=dict)
    """Entries with a category and a score of their own."""
    allow: tuple[str, ...] = ()
    """Words and phrases that cancel every match that they overlap."""
    category: Category = "obscene"
    """Category of entries for which none is given."""
    score: Score = 1.0
    """Score of entries for which none is given."""

    _known: tuple[_Entry, ...] | None = PrivateAttr(default=None)
    _automaton: AhoCorasick | None = PrivateAttr(default=None)
    _needles: tuple[tuple[_Needle, ...], ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if not (self.lists or self.words or self.entries):
            raise ValueError("expected lists, words or entries, found none of them")
        self._inline()
        return self

    def categories(self) -> Iterable[str]:
        """The categories of its entries.

        Raises:
            ConfigError: a list is missing or cannot be used; names the file and the line.
        """
        return {entry.category for entry in self._entries() if entry.category is not None}

    def load(self) -> None:
        from ahocorasick_rs import AhoCorasick, MatchKind

        from moderation.normalize import fold

        needles: dict[str, list[_Needle]] = {}
        for entry in self._entries():
            literal = _comparable(entry.phrase.strip("*"))
            needles.setdefault(literal, []).append(_needle(entry, literal))
        # A disguised spelling that is listed (fck) is looked for in its folded form too, unless
        # an entry has that form: then that entry rates it.
        own = {entry.key for entry in self._entries()}
        for entry in self._entries():
            stem = entry.phrase.strip("*")
            folded = replace(entry, phrase=entry.phrase.replace(stem, fold(stem).text))
            if folded.key not in own and not _fault(folded.phrase):
                literal = _comparable(folded.phrase.strip("*"))
                needles.setdefault(literal, []).append(
                    _needle(folded, literal)._replace(reason=_reason(entry))
                )
        self._needles = tuple(map(tuple, needles.values()))
        self._automaton = AhoCorasick(list(needles), matchkind=MatchKind.Standard)

    def fingerprint(self) -> str:
        said = sorted(f"{entry.key}\t{entry.rated}" for entry in self._entries())
        return hashlib.sha256("\n".join([self.name, *said]).encode()).hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [
            [
                signal
                for index, part in enumerate(content.parts)
                for signal in self._check(part, index)
            ]
            for content in contents
        ]

    def _check(self, part: Part, index: int) -> list[Signal]:
        folded = part.folded
        found, allowed = self._search(folded.text)
        found = {(folded.span(*span), needle) for span, needle in found}
        allowed = {folded.span(*span) for span in allowed}
        if folded.changed:
            plain, plainly_allowed = self._search(part.text)
            # What only folding reads as allowed does not clear what stands there plainly.
            found = _without(found, allowed | plainly_allowed) | _without(plain, plainly_allowed)
        else:
            found = _without(found, allowed)
        return _signals(found, index) if found else []

    def _search(self, text: str) -> tuple[set[_Match], set[_Span]]:
        """Matches of listed phrases and spans of allowed ones, in characters of `text`."""
        automaton, needles = self._automaton, self._needles
        assert automaton is not None, "load() comes before check_batch()"
        wide = _same_length(text)
        hay = _SPACES.sub(" ", wide) if "  " in wide else wide
        hits = automaton.find_matches_as_indexes(hay, overlapping=True)
        found: set[_Match] = set()
        allowed: set[_Span] = set()
        offsets = _kept(wide) if hits and hay is not wide else None
        left = right = (0, 0)
        for which, begin, end in hits:
            before = begin > 0 and _in_word(hay[begin - 1])
            after = end < len(hay) and _in_word(hay[end])
            for needle in needles[which]:
                if (before and needle.starts) or (after and needle.ends):
                    continue
                first, last = begin, end
                if before and needle.left:
                    first, _ = left = _word_at(hay, begin - 1, left)
                if after and needle.right:
                    _, last = right = _word_at(hay, end, right)
                span = (first, last)
                if offsets is not None:
                    span = (offsets[first], offsets[last - 1] + 1)
                if needle.category is None:
                    allowed.add(span)
                else:
                    found.add((span, needle))
        return found, allowed

    def _entries(self) -> tuple[_Entry, ...]:
        if self._known is None:
            inline = self._inline()
            listed: dict[str, _Entry] = {}
            for path in self.lists:
                for key, entry in _read_list(path, self.category, self.score).items():
                    if key in inline:  # the policy itself outranks the lists that it names
                        continue
                    earlier = listed.setdefault(key, entry)
                    if earlier.rated != entry.rated:
                        raise ConfigError(
                            f"{entry.phrase!r} is {entry.rated} here and {earlier.rated} in list "
                            f"{earlier.source}, line {earlier.line}; settle it under entries or "
                            "allow, or name only one of the lists",
                            where=f"{path}, line {entry.line}",
                        )
            self._known = (*listed.values(), *inline.values())
        return self._known

    def _inline(self) -> dict[str, _Entry]:
        given = [
            *(
                (f"words.{category}", _Entry(phrase, category, self.score, "words"))
                for category, phrases in self.words.items()
                for phrase in phrases
            ),
            *(
                (
                    "entries",
                    _Entry(
                        phrase,
                        rating.category or self.category,
                        self.score if rating.score is None else rating.score,
                        "entries",
                    ),
                )
                for phrase, rating in self.entries.items()
            ),
            *(("allow", _Entry(phrase, None, 0.0, "allow")) for phrase in self.allow),
        ]
        entries: dict[str, _Entry] = {}
        places: dict[str, str] = {}
        for place, entry in given:
            if fault := _fault(entry.phrase):
                raise ValueError(f"{place}: {fault}")
            key = entry.key
            if key in entries:
                raise ValueError(
                    f"{place}: {entry.phrase!r} stands in {places[key]} already; keep one of them"
                )
            entries[key], places[key] = entry, place
        return entries


def _read_list(path: Path, category: str, score: float) -> dict[str, _Entry]:
    """The entries of a list file by key."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except FileNotFoundError:
        if path.parent == LISTS:
            shipped = sorted(file.stem for file in LISTS.glob("*.txt"))
            raise ConfigError(
                f"no word list named {path.stem!r} is shipped; "
                f"{did_you_mean(path.stem, shipped)}; a file's path needs a '/' or an ending"
            ) from None
        raise ConfigError("expected a word list, found no file there", where=str(path)) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > MAX_LIST_BYTES:
        raise ConfigError(f"expected at most {MAX_LIST_BYTES:,} bytes", where=str(path))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError("is not UTF-8; save it as UTF-8", where=f"{path}, line {line}") from None

    entries: dict[str, _Entry] = {}
    for entry in _parse(text, path, category, score):
        key = entry.key
        if key in entries:
            earlier = entries[key]
            raise ConfigError(
                f"{entry.phrase!r} stands in line {earlier.line} already, as {earlier.rated}; "
                "keep one of the two",
                where=f"{path}, line {entry.line}",
            )
        entries[key] = entry
    if not entries:
        raise ConfigError("expected words or phrases, found none", where=str(path))
    return entries


def _parse(text: str, path: Path, category: str, default: float) -> Iterator[_Entry]:
    """The lines of a list file: comments, sections, and one entry per line."""
    section: str | None = category
    section_score = default
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{path}, line {number}"
        if line.startswith("["):
            header = _SECTION.fullmatch(line)
            if header is None:
                raise ConfigError(
                    "expected a section such as [obscene], [obscene 0.9] or [allow]", where=where
                )
            section = None if header[1] == "allow" else header[1]
            if section is None and header[2] is not None:
                raise ConfigError("expected [allow] without a score", where=where)
            section_score = default if header[2] is None else _score(header[2], where)
            continue
        phrase, equals, own = (piece.strip() for piece in line.partition("="))
        if equals and section is None:
            raise ConfigError("an allowed phrase has no score", where=where)
        if fault := _fault(phrase):
            raise ConfigError(fault, where=where)
        yield _Entry(
            phrase, section, _score(own, where) if equals else section_score, path.stem, number
        )


def _score(text: str, where: str) -> float:
    try:
        score = float(text)
    except ValueError:
        score = 0.0
    if not 0 < score <= 1:
        raise ConfigError(
            f"expected a score above 0 and up to 1, found {text or 'nothing'!r}", where=where
        )
    return score


def _fault(phrase: str) -> str:
    """What is wrong with an entry, or an empty string."""
    stem = phrase.strip("*")
    if len(phrase) > MAX_PHRASE:
        return f"expected at most {MAX_PHRASE} characters, found {len(phrase)}"
    if not _comparable(stem):
        return f"expected a word or phrase, found {phrase!r}"
    if not phrase.isprintable():
        return f"{phrase!r} holds a control or invisible character; take it out"
    if "*" in stem or phrase.startswith("**") or phrase.endswith("**"):
        return f"{phrase!r}: a * stands once, at the beginning or the end; write variants out"
    if not any(char.isalnum() or char > "\x7f" for char in stem):
        return f"{phrase!r} holds no letter, digit or symbol that could be a word"
    if stem != phrase and stem.isascii() and len(stem) < 3:
        return f"{phrase!r}: expected at least three letters beside a *"
    if stem != phrase and stem != stem.strip():
        return f"{phrase!r}: the * stands right at a word"
    return ""


def _needle(entry: _Entry, literal: str) -> _Needle:
    left, right = entry.phrase.startswith("*"), entry.phrase.endswith("*")
    return _Needle(
        # Only a letter or digit can stand inside a word: an emoji entry needs no edge.
        starts=not left and _in_word(literal[0]),
        ends=not right and _in_word(literal[-1]),
        left=left,
        right=right,
        category=entry.category,
        score=entry.score,
        reason=_reason(entry),
    )


def _reason(entry: _Entry) -> str:
    return f"{entry.source}: {entry.phrase}"


def _same_length(text: str) -> str:
    """`text` in lower case, with what an entry treats alike made alike, character for character."""
    lowered = text.lower()
    if len(lowered) != len(text):  # such as the dotted capital I of Turkish
        lowered = "".join(low if len(low := char.lower()) == 1 else char for char in text)
    return _UNLIKE.sub(lambda found: _ALIKE[found[0]], lowered)


def _kept(wide: str) -> list[int]:
    """Where each character stood before runs of spaces became one space."""
    return [at for at, char in enumerate(wide) if char != " " or at == 0 or wide[at - 1] != " "]


def _comparable(text: str) -> str:
    return _SPACES.sub(" ", _same_length(text)).strip()


def _in_word(char: str) -> bool:
    # A combining mark makes another letter of the one before it.
    return char.isalnum() or (char > "\x7f" and unicodedata.category(char)[0] == "M")


def _word_at(hay: str, at: int, known: _Span) -> _Span:
    """The run of word characters around `at`; `known` is the last answer.

    Many matches inside one endless word would otherwise walk it once each.
    """
    begin, end = known
    if begin <= at < end:
        return known
    begin = end = at
    while begin > 0 and _in_word(hay[begin - 1]):
        begin -= 1
    while end < len(hay) and _in_word(hay[end]):
        end += 1
    return begin, end


def _without(found: set[_Match], allowed: set[_Span]) -> set[_Match]:
    """The matches that overlap no allowed span."""
    if not (found and allowed):
        return found
    begins: list[int] = []
    ends: list[int] = []
    for begin, end in sorted(allowed):
        if ends and begin < ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            begins.append(begin)
            ends.append(end)
    kept = set()
    for match in found:
        begin, end = match[0]
        last = bisect_left(begins, end) - 1  # of the allowed spans, the last to begin before `end`
        if last < 0 or ends[last] <= begin:
            kept.add(match)
    return kept


def _signals(found: set[_Match], index: int) -> list[Signal]:
    """One signal for each span and category, in order."""
    best: dict[tuple[_Span, str | None], _Needle] = {}
    for span, needle in found:
        held = best.setdefault((span, needle.category), needle)
        # Ties are broken by the reason, so that the order of entries does not matter.
        if (-needle.score, needle.reason) < (-held.score, held.reason):
            best[span, needle.category] = needle
    ranked = sorted(best.items(), key=lambda item: (-item[1].score, item[0]))
    count: dict[str, int] = {}
    signals = []
    for (span, category), needle in ranked:
        assert category is not None, "allowed phrases are not reported"
        count[category] = count.get(category, 0) + 1
        if count[category] <= MAX_SIGNALS:
            signals.append(Signal(category, needle.score, span, index, needle.reason))
    return sorted(signals, key=lambda signal: (signal.span, signal.category))
