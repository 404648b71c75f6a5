"""Named regular expressions, run by RE2 in linear time, as a filter."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    field_validator,
    model_validator,
)

from moderation.content import Content, Part
from moderation.filter import Filter, Finding
from moderation.verdict import Signal

MAX_PATTERNS = 64
MAX_REGEX = 2000
"""Characters of one expression."""
MAX_MEMORY = 4 << 20
"""Bytes that RE2 may take for one expression."""
MAX_MATCHES = 100
"""Matches of one pattern that are looked at in one part."""

_UNSUPPORTED = re.compile(r"\(\?(?:<?[=!]|>|\()|\\[1-9]|\(\?P=|[*+?}]\+")

Name = Annotated[str, Field(pattern=r"^[\w.-]+$")]


class Pattern(BaseModel):
    """One expression of a policy, in RE2's syntax.

    A group named ``match`` marks the part to report, where more than it has to be there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    regex: Annotated[str, Field(min_length=1, max_length=MAX_REGEX)]
    category: Annotated[str, Field(pattern=r"^[\w./-]+$")] | None = None
    """What its matches are reported as; its own name unless given."""
    score: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 1.0
    folded: bool = False
    """Whether to look at the folded text, which is in lower case, beside the text as sent."""

    @field_validator("regex")
    @classmethod
    def _runs(cls, regex: str) -> str:
        if re.search(r"\\C", regex.replace("\\\\", "")):
            raise ValueError(r"\C matches a part of a character; use . instead")
        compiled = _compile(regex)
        if _matches_nothing(compiled):
            raise ValueError("it matches the empty string; ask for at least one character")
        return regex


class _Searcher(NamedTuple):
    name: str
    regex: Any
    group: int
    category: str
    score: float
    folded: bool
    ours: bool


def _short_form(value: object) -> object:
    return {"regex": value} if isinstance(value, str) else value


class PatternsFilter(Filter):
    """Reports every match of named regular expressions.

    RE2 runs them in time linear in the text, whatever the expression; look-around and
    back-references, which no linear engine can offer, are refused when the policy is read.
    """

    name: ClassVar[str] = "patterns"

    use: tuple[Literal["links", "invites", "emails", "phones"], ...] = ()
    """Ready-made patterns; they report `link`, `invite`, `email` and `phone` with score 1."""
    patterns: Annotated[
        dict[Name, Annotated[Pattern, BeforeValidator(_short_form)]],
        Field(max_length=MAX_PATTERNS),
    ] = Field(default_factory=dict)
    """Own patterns by name: `{regex, category, score, folded}`, or the expression alone."""

    _searchers: tuple[_Searcher, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not (self.use or self.patterns):
            raise ValueError("expected use or patterns, found neither")
        return self

    def categories(self) -> Iterable[str]:
        ready = {_READY[name][0] for name in self.use}
        return ready | {pattern.category or name for name, pattern in self.patterns.items()}

    def load(self) -> None:
        searchers = []
        for ready in dict.fromkeys(self.use):
            category, expressions = _READY[ready]
            searchers += [_searcher(ready, regex, category, ours=True) for regex in expressions]
        for name, own in self.patterns.items():
            category = own.category or name
            searchers.append(_searcher(name, own.regex, category, own.score, own.folded))
        self._searchers = tuple(searchers)

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        return [
            [
                signal
                for index, part in enumerate(content.parts)
                for signal in self._check(part, index)
            ]
            for content in contents
        ]

    def _check(self, part: Part, index: int) -> Iterator[Signal]:
        sent = part.text.encode()
        for searcher in self._searchers:
            spans = _characters(sent, _search(searcher, sent))
            if searcher.folded and part.folded.text != part.text:
                folded = part.folded.text.encode()
                found = _characters(folded, _search(searcher, folded))
                spans = sorted({*spans, *(part.folded.span(*span) for span in found)})
                spans = spans[:MAX_MATCHES]
            for span in spans:
                yield Signal(
                    searcher.category, searcher.score, span, index, f"pattern {searcher.name}"
                )


def _searcher(
    name: str,
    regex: str,
    category: str,
    score: float = 1.0,
    folded: bool = False,
    *,
    ours: bool = False,
) -> _Searcher:
    compiled = _compile(regex)
    return _Searcher(
        name, compiled, compiled.groupindex.get("match", 0), category, score, folded, ours
    )


def _search(searcher: _Searcher, data: bytes) -> list[tuple[int, int]]:
    """Byte spans of the first `MAX_MATCHES` matches.

    A match of ours may lack its group: it steps over what only looks like one. Such steps are
    bounded in number for other people's expressions, since each may cost a pass over the text.
    """
    spans: list[tuple[int, int]] = []
    seen = position = 0
    while len(spans) < MAX_MATCHES and (searcher.ours or seen < MAX_MATCHES):
        match = searcher.regex.search(data, position)
        if match is None:
            break
        seen += 1
        begin, end = match.span(searcher.group)
        if begin < end:
            spans.append((begin, end))
            position = end  # not the end of the match: its context may begin the next one
        else:
            position = match.end()
    return spans


def _characters(data: bytes, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Byte spans, in order and apart, as spans of characters."""
    if not spans or data.isascii():
        return spans
    found = []
    byte = char = 0
    for begin, end in spans:
        first = char + len(data[byte:begin].decode())
        byte, char = end, first + len(data[begin:end].decode())
        found.append((first, char))
    return found


@cache
def _compile(regex: str) -> Any:
    import re2

    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    # Groups cost time; only one of them means anything here.
    options.never_capture = "<match>" not in regex
    try:
        return re2.compile(regex, options)
    except re2.error as error:
        said = error.args[0]
        said = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        hint = ""
        if _UNSUPPORTED.search(regex):
            hint = (
                "; look-around, back-references and possessive repeats are not supported, because "
                "they cannot be matched in linear time; a group (?P<match>…) marks the part to "
                "report where you need context around it"
            )
        elif "too large" in said:
            hint = "; write it with fewer or smaller repetitions"
        raise ValueError(f"RE2 does not take this expression: {said}{hint}") from None


def _matches_nothing(compiled: Any) -> bool:
    """Whether it can match the empty string anywhere.

    An empty match depends on nothing but the kinds of character on its two sides: none, a line
    break, a word character, any other. The sample holds every pair of them.
    """
    samples = ("", "a", " ", "\n", "aa a\n  \n\na")
    return any(
        compiled.fullmatch(sample, at, at) is not None
        for sample in samples
        for at in range(len(sample) + 1)
    )


# Letters and digits that run together with a Latin, Greek or Cyrillic word; Chinese and Japanese,
# written without spaces, end where an address begins.
_WORD = r"\p{Latin}\p{Cyrillic}\p{Greek}\p{N}_"
_ALNUM = r"\p{Latin}\p{Cyrillic}\p{Greek}0-9"
_LABEL = rf"[{_ALNUM}]+(?:-+[{_ALNUM}]+)*"
_MAILBOX = rf"[a-z0-9_][a-z0-9_.+%'-]*@(?:{_LABEL}\.)+(?:[a-z]{{2,24}}|xn--[a-z0-9-]+|рф)"

# Endings that make a bare name an address, and those that are words or file endings too, which
# need a path behind them. After the IANA root zone, https://data.iana.org/TLD/tlds-alpha-by-domain.txt
_ENDINGS = (
    "com|net|org|edu|gov|mil|int|info|biz|name|io|ai|co|dev|xyz|icu|gg|tv|cc|ws|eu|uk|us|ca|au|nz|"
    "ie|de|at|ch|fr|es|pt|nl|lu|dk|se|fi|ee|lv|lt|pl|cz|sk|hu|ro|bg|gr|tr|ua|ru|su|by|kz|ge|il|ir|"
    "sa|ae|eg|ng|ke|za|jp|cn|hk|tw|kr|vn|th|sg|ph|br|ar|cl|pe|mx|ve|onion|xn--[a-z0-9-]+|рф"
)
_WORDLIKE = (
    "app|me|it|is|to|ly|be|in|so|my|no|as|am|fm|la|li|gl|gd|id|sh|st|md|rs|py|pm|ps|pw|tk|ml|ga|"
    "cf|gq|site|online|shop|store|club|top|live|link|page|click|blog|wiki|cloud|pro|vip|fun|space|"
    "website|tech|news|social|chat|world|life|today|email|group|team|games|media|video"
)
_TAIL_CHAR = r"[^\s\p{Z}<>\"“”«»()\[\]{}，。！？、）」】]"
_TAIL_LAST = r"[^\s\p{Z}<>\"“”«»()\[\]{}，。！？、）」】.,;:!?'’*~|…]"
_TAIL = rf"(?:{_TAIL_CHAR}|\({_TAIL_CHAR}*\))*(?:{_TAIL_LAST}|\({_TAIL_CHAR}*\))"
_REST = rf"(?:[/?#]{_TAIL}|/)"


_ADDRESS = rf"\b(?:https?|hxxps?|ftp)://{_TAIL}"
_WWW = rf"www\.(?:{_LABEL}\.)+(?:[a-z]{{2,24}}|xn--[a-z0-9-]+|рф){_REST}?"
# What stands in an expression before the group is stepped over: an e-mail address is no link.
_NO_LINK = rf"(?i)(?:^|[^{_WORD}.+%-]){_MAILBOX}"

_LINKS = (
    rf"{_NO_LINK}|(?P<match>{_ADDRESS}|\b{_WWW})",
    rf"{_NO_LINK}|{_ADDRESS}|\b{_WWW}"
    rf"|(?:^|[^{_WORD}@./\\:-])(?P<match>(?:{_LABEL}\.)+(?:(?:{_ENDINGS})(?::\d{{1,5}})?{_REST}?"
    rf"|(?:{_WORDLIKE})/{_TAIL}))(?:$|[^{_WORD}@=(\[.-]|\.(?:$|[^{_WORD}]))",
)

_CODE = r"[\w-]{2,}"
_INVITES = (
    rf"(?i)(?:^|[^\w.-])(?P<match>tg://(?:join\?invite|resolve\?domain)=[\w-]+"
    rf"|(?:https?://)?(?:www\.)?(?:"
    rf"discord\.gg/{_CODE}|discord(?:app)?\.com/invite/{_CODE}|dsc\.gg/{_CODE}"
    rf"|(?:t|telegram)\.(?:me|dog)/(?:joinchat/|\+)?{_CODE}"
    rf"|chat\.whatsapp\.com/(?:invite/)?{_CODE}|whatsapp\.com/channel/{_CODE}|wa\.me/{_CODE}"
    rf"|signal\.(?:group|me)/#{_CODE}|invite\.viber\.com/\?g2?={_CODE}|join\.skype\.com/{_CODE}"
    rf"|line\.me/(?:r/)?ti/[gp]2?/{_CODE}|join\.slack\.com/t/{_CODE}|guilded\.gg/i/{_CODE}"
    rf"|groupme\.com/join_group/{_CODE}|matrix\.to/#/[#@!]{_CODE})(?:[\w/=?&%.~:+-]*[\w/=])?)",
)

_EMAILS = (
    # A file name such as icon@2x.png is stepped over.
    rf"(?i)(?:^|[^{_WORD}.+%-])(?:[\w.-]+@[1-9]x\.(?:png|jpe?g|gif|svg|webp)\b"
    rf"|(?P<match>{_MAILBOX}))",
)

_GAP = r"[ \x{a0}.\-/()]{0,3}"
_PHONES = (
    rf"(?:^|[^\w.,\-/+$€£¥#@:=&])(?P<match>"
    rf"\+[1-9](?:{_GAP}\d){{8,14}}"  # +49 171 1234567, nine to fifteen digits (ITU-T E.164)
    rf"|00[1-9]\d{{0,2}}[ .\-/](?:{_GAP}\d){{7,12}}"  # 0044 20 7946 0958
    rf"|(?:1[ .-])?\([2-9]\d\d\) ?\d{{3}}[ .-]\d{{4}}"  # (212) 555-0123
    rf"|(?:1-)?[2-9]\d\d-\d{{3}}-\d{{4}}|(?:1\.)?[2-9]\d\d\.\d{{3}}\.\d{{4}}"
    rf"|(?:1 )?[2-9]\d\d \d{{3}} \d{{4}}"
    rf"|0\d(?: \d\d){{4}}|0\d(?:\.\d\d){{4}}|0\d(?:-\d\d){{4}}"  # 01 23 45 67 89
    rf"|\(0\d{{1,4}}\) ?\d{{3,4}}[ -]?\d{{3,4}}"  # (020) 7946 0958
    rf"|0\d{{1,4}}[ -]\d{{3,4}}[ -]\d{{3,4}}|0\d{{3,4}}[ /-]\d{{5,8}}|0[67]\d{{8,9}}"
    rf"|030[ /-]\d{{6,8}}"
    rf"|8[ -]?\(?\d{{3}}\)?[ -]?\d{{3}}[ -]\d\d[ -]\d\d"  # 8 (495) 123-45-67
    rf"|1[3-9]\d[ -]\d{{4}}[ -]\d{{4}}"  # 138 0013 8000
    rf"|\(\d\d\) ?9?\d{{4}}-\d{{4}}"  # (11) 91234-5678
    rf")(?:$|[^\w.,\-/:%+=]|[.,\-/:](?:$|\D))",
    r"(?i)\btel:(?P<match>\+?[\d.()-]{5,20}\d)",
)

# Category and expressions of what `use` names.
_READY = {
    "links": ("link", _LINKS),
    "invites": ("invite", _INVITES),
    "emails": ("email", _EMAILS),
    "phones": ("phone", _PHONES),
}
