"""The tables of letters that pose as Latin ones, against the Unicode names of those letters."""

import string
import unicodedata

from moderation.lookalikes import lookalikes


def test_one_character_stands_for_one_ascii_character() -> None:
    letters = lookalikes()
    for code, plain in letters.table.items():
        assert code > 0x7F
        assert len(plain) == 1
        assert plain.isascii()
        assert plain == plain.lower()
    assert all(len(letter) == 1 for group in letters[:4] for letter in group)


def test_sets_part_the_letters() -> None:
    letters = lookalikes()
    assert letters.twins < letters.scripts
    assert letters.accented.isdisjoint(letters.styled)
    assert letters.scripts.isdisjoint(letters.styled | letters.accented)


def test_other_scripts_are_not_latin() -> None:
    scripts = {unicodedata.name(letter).split()[0] for letter in lookalikes().scripts}
    assert "LATIN" not in scripts
    assert {"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"} <= scripts


def test_accented_letters_are_named_after_the_plain_one() -> None:
    letters = lookalikes()
    for letter in letters.accented - set("ı"):
        name = unicodedata.name(letter)
        assert name.startswith("LATIN ")
        assert f"LETTER {letters.table[ord(letter)].upper()} WITH" in name


def test_whole_alphabets_are_styled() -> None:
    letters = lookalikes()
    for first in (0xFF21, 0xFF41, 0x1D400, 0x1D4D0, 0x1D5D4, 0x1D670, 0x24B6, 0x24D0, 0x1F170):
        drawn = "".join(chr(first + i) for i in range(26))
        assert drawn.translate(letters.table) == string.ascii_lowercase
