"""What a browser shows of HTML, and where in the source each character of it stands.

Tags, comments, scripts and style sheets are left out, after the tokenizer of the HTML standard
(https://html.spec.whatwg.org/multipage/parsing.html#tokenization). One thing differs on purpose:
what is opened and never closed is read as text instead of being swallowed with all that follows,
since more is read in that way than a browser shows, and never less.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import unescape
from typing import NamedTuple

_SPACE = r"[\t\n\f\r\x20]"
_TOKEN = re.compile(
    rf"""
    (?P<comment>
        <!--(?:-?>|.*?(?:--!?>|(?P<open>\Z)))
      | (?:<[!?]|</[^a-zA-Z>])[^>]*+(?:>|(?P<open_too>\Z))
      | </>
    )
  | (?P<tag>
        </?(?P<name>[a-zA-Z][^\t\n\f\r\x20/>]*+)
        (?: [\t\n\f\r\x20/]++
          | [^\t\n\f\r\x20/>][^\t\n\f\r\x20/>=]*+
            (?: {_SPACE}*+ = {_SPACE}*+
                (?: "[^"]*" | '[^']*' | [^\t\n\f\r\x20>"'][^\t\n\f\r\x20>]*+ | (?=>) )
              | (?!{_SPACE}*+=)
            )
        )*+
        (?P<closed>>)?
    )
  | (?P<entity> &(?:\#[0-9]+|\#[xX][0-9a-fA-F]+|[a-zA-Z][a-zA-Z0-9]{{0,31}});? )
    """,
    re.VERBOSE | re.DOTALL,
)
_BLOCKS = frozenset(
    "address article aside blockquote body br center dd details dialog dir div dl dt fieldset "
    "figcaption figure footer form h1 h2 h3 h4 h5 h6 head header hgroup hr html legend li main "
    "menu nav ol optgroup option p plaintext pre search section summary table tbody td tfoot th "
    "thead title tr ul xmp".split()
)
_HIDDEN = {
    name: re.compile(rf"</{name}(?=[\t\n\f\r\x20/>])", re.IGNORECASE)
    for name in ("script", "style")
}
_ZEROS = re.compile(r"&#([xX]?)0*([0-9a-fA-F]*);?")


class Shown(NamedTuple):
    """`text` as it is shown; its character i was written as ``html[begins[i]:ends[i]]``."""

    text: str
    begins: Sequence[int]
    ends: Sequence[int]


def shown(html: str) -> Shown:
    """The text of `html`, in time proportional to its length.

    A tag of a block, or a line break, is a line break; any other tag is nothing, so that a word
    with a tag in the middle of it is one word.
    """
    pieces: list[str] = []
    begins: list[int] = []
    ends: list[int] = []

    def show(text: str, begin: int, end: int) -> None:
        pieces.append(text)
        begins.extend([begin] * len(text))
        ends.extend([end] * len(text))

    def copy(begin: int, end: int) -> None:
        pieces.append(html[begin:end])
        begins.extend(range(begin, end))
        ends.extend(range(begin + 1, end + 1))

    at = 0
    while (token := _TOKEN.search(html, at)) is not None:
        begin, end = token.span()
        copy(at, begin)
        at = end
        if token["entity"]:
            show(_character(token["entity"]), begin, end)
        elif token["tag"]:
            if not token["closed"]:
                at = begin
                break
            name = token["name"].lower()
            if name in _BLOCKS:
                show("\n", begin, end)
            if name in _HIDDEN and html[begin + 1] != "/":
                close = _HIDDEN[name].search(html, end)
                if close is None:
                    break
                at = close.start()  # the tag that closes it is read as any other
        elif token["open"] is not None or token["open_too"] is not None:
            at = begin
            break
    copy(at, len(html))
    return Shown("".join(pieces), begins, ends)


def _character(reference: str) -> str:
    number = _ZEROS.fullmatch(reference)
    if number is None:
        return unescape(reference)
    # More digits than any character has: U+FFFD, as for a number that is too large.
    return unescape(f"&#{number[1]}{number[2][:8] or '0'};")
