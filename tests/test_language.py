"""Which language a text is in: certain, or None."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.language import detect


@pytest.mark.parametrize(
    ("code", "text"),
    [
        ("en", "Could you tell me whether the library is open on Sunday afternoon?"),
        ("en", "you and the others"),
        ("en", "Nobody could say it better: “a summer’s morning”, warm and quiet."),
        ("de", "Morgen fahren wir mit dem Zug nach Hamburg und besuchen unsere Freunde."),
        ("fr", "Demain nous prenons le train pour rendre visite à nos amis de Lyon."),
        ("es", "Mañana tomamos el tren para visitar a nuestros amigos en la ciudad."),
        ("it", "Domani prendiamo il treno per andare a trovare i nostri amici in centro."),
        ("nl", "Morgen gaan we met de trein naar onze vrienden in de stad, of is het niet zo?"),
        ("pl", "Jutro jedziemy do naszych znajomych, a to jest dla mnie bardzo dobre."),
        ("da", "Det er godt for os at have tid til at tage toget til byen sammen."),
        ("no", "Dette er for deg og for meg, og vi skal ta toget til byen sammen."),
        ("tr", "Yarın trenle şehre gidip arkadaşlarımızı ziyaret edeceğiz."),
        ("ru", "Завтра мы поедем на поезде в город к нашим друзьям."),
        ("uk", "Завтра ми поїдемо потягом до міста, щоб відвідати наших друзів."),
        ("el", "Αύριο θα πάρουμε το τρένο για να επισκεφτούμε τους φίλους μας."),
        ("he", "מחר ניסע ברכבת לעיר כדי לבקר את החברים שלנו."),
        ("ar", "غدا سنسافر بالقطار إلى المدينة لزيارة أصدقائنا."),
        ("hi", "कल हम अपने दोस्तों से मिलने ट्रेन से शहर जाएंगे।"),
        ("th", "พรุ่งนี้เราจะนั่งรถไฟไปเยี่ยมเพื่อนในเมือง"),
        ("zh", "明天我们坐火车去城里看望我们的朋友。"),
        ("ja", "明日は電車で町へ行って、友達に会います。"),
        ("ko", "내일 우리는 기차를 타고 도시에 있는 친구들을 만나러 갑니다."),
    ],
)
def test_sentences(code: str, text: str) -> None:
    assert detect(text) == code


@pytest.mark.parametrize(
    ("code", "text"),
    [("ru", "привет"), ("ar", "مرحبا"), ("he", "שלום"), ("ko", "안녕"), ("hi", "नमस्ते")],
)
def test_a_word_in_another_script_is_told_by_its_script(code: str, text: str) -> None:
    assert detect(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \n",
        "hi",
        "idiot",
        "du bist doof",
        "1234 5678 !!! ???",
        "\U0001f600\U0001f4a9",
        "https://example.org/der/die/das/und/nicht",
        "¯\\_(ツ)_/¯",
        "\U0001d4f2\U0001d4ed\U0001d4f2\U0001d4f8\U0001d4fd",
        "ｉｄｉｏｔ",
        "yоu аrе sо rudе",  # with Cyrillic letters
        "ѕһіт",  # of Cyrillic letters only, which Russian does not have
        "\0\0\0",
        "\u202e\u202c",
    ],
)
def test_what_cannot_be_told_is_left_open(text: str) -> None:
    assert detect(text) is None


@given(st.text(max_size=200))
def test_any_text_gets_an_answer(text: str) -> None:
    code = detect(text)
    assert code is None or (code.islower() and 2 <= len(code) <= 3)


def test_a_long_text_is_told_by_its_beginning() -> None:
    assert detect("Morgen fahren wir mit dem Zug nach Hamburg. " * 25_000) == "de"
    assert detect("e" + "\u0301" * 100_000) is None


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("hello 你是个白痴去死吧", "zh"),
        ("死ね", "ja"),
        ("hello привет как дела", "ru"),
        ("ok אתה טיפש גמור", "he"),
        ("I love sushi 寿司", None),
        ("the word 你好 means hello", None),
        ("уоu аrе а реst", None),  # Latin letters and Cyrillic ones drawn like them
    ],
)
def test_another_script_is_told_beside_latin_letters(text: str, language: str | None) -> None:
    assert detect(text) == language
