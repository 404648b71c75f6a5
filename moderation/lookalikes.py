"""Letters that pose as Latin ones: of other scripts, in other styles, with accents.

Only what poses as a Latin letter is here; see Unicode Technical Standard 39 for confusables at
large. Styled and accented letters are derived from the Unicode data that Python carries, the rest
are literal pairs (a letter and what it is drawn as).
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import NamedTuple

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
_STYLED = "ᴀaʙbᴄcᴅdᴇeꜰfɢgʜhɪiᴊjᴋkʟlᴍmɴnᴏoᴘpʀrꜱsᴛtᴜuᴠvᴡwʏyᴢzɑaɡgɩiƒfɵoɖd"
_ACCENTED = "øoØołlŁlđdĐdħhŧtıi"
# Compatibility forms: long s, modifier letters, letterlike symbols, enclosed, fullwidth and
# mathematical letters.
_COMPATIBLE = (
    (0x17F, 0x180),
    (0x2B0, 0x2E5),
    (0x1D2C, 0x1DC0),
    (0x2071, 0x209D),
    (0x2100, 0x2140),
    (0x249C, 0x24EA),
    (0x2C7C, 0x2C7D),
    (0xFF01, 0xFF5F),
    (0x1D400, 0x1D800),
    (0x1F110, 0x1F14A),
)


class Lookalikes(NamedTuple):
    """Sets of single characters, and ``table`` for ``str.translate``: one character to one."""

    accented: frozenset[str]
    styled: frozenset[str]
    twins: frozenset[str]
    scripts: frozenset[str]  # twins and what only recalls a Latin letter
    table: dict[int, str]


@cache
def lookalikes() -> Lookalikes:
    accented, styled = _pairs(_ACCENTED), _pairs(_STYLED)
    for code in (*range(0xC0, 0x250), *range(0x1E00, 0x1F00)):
        plain = unicodedata.normalize("NFD", chr(code))[0].lower()
        if plain.isascii():
            accented[chr(code)] = plain
    for begin, end in _COMPATIBLE:
        for code in range(begin, end):
            plain = unicodedata.normalize("NFKC", chr(code)).lower().strip("()〔〕")
            if len(plain) == 1 and plain.isascii() and plain.isprintable():
                styled[chr(code)] = plain
    for first in (0x1F150, 0x1F170):  # white letters on black have no compatibility form
        styled |= {chr(first + i): chr(ord("a") + i) for i in range(26)}
    twins, cousins = _pairs(_TWINS), _pairs(_COUSINS)
    table = cousins | twins | styled | accented
    return Lookalikes(
        frozenset(accented),
        frozenset(letter for letter, plain in styled.items() if plain.isalnum()),
        frozenset(twins),
        frozenset(twins | cousins),
        {ord(letter): plain for letter, plain in table.items()},
    )


def _pairs(table: str) -> dict[str, str]:
    return dict(zip(table[::2], table[1::2], strict=True))
