"""Words in pictures: read whatever the font, and judged like any other text."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from difflib import SequenceMatcher
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="needs moderation[images]")
pytest.importorskip("rapidocr", reason="needs moderation[images]")

import drawings
from drawings import FONTS, font, meme, turned
from PIL import Image, ImageDraw

from moderation import Action, Content, Moderator, Part, Policy
from moderation.content import Box
from moderation.filters import ocr as ocr_module
from moderation.filters.classifier import WEIGHTS
from moderation.filters.ocr import OcrFilter

HARMFUL = ("YOU ARE A STUPID IDIOT", "and everybody hates you")
KIND = ("YOU ARE A LOVELY FRIEND", "and everybody likes you")

POLICY = """
name: memes
steps:
  - {name: ocr, filter: ocr, options: {threads: 1}, on_error: raise}
  - name: words
    filter: wordlist
    options: {words: {insult: [stupid idiot, everybody hates you]}}
thresholds:
  insult: {block: 0.9}
"""


@pytest.fixture(scope="module")
def ocr() -> OcrFilter:
    filter_ = OcrFilter(threads=1)
    filter_.load()
    return filter_


@pytest.fixture(scope="module")
def moderator() -> Moderator:
    moderator = Moderator(Policy.parse(POLICY))
    moderator.load()
    return moderator


def read(ocr: OcrFilter, image: Any) -> Part:
    [[part]] = ocr.check_batch([Content.of(Part.from_image(image))])
    assert isinstance(part, Part)
    assert (part.kind, part.source) == ("ocr", 0)
    return part


def letters(text: str) -> str:
    """What is compared where an O may be read as a 0 and a space be lost."""
    return "".join(text.lower().replace("0", "o").split())


def word_box(part: Part, word: str) -> Box:
    begin = part.text.index(word)
    [box] = [box for box in part.boxes if box.begin == begin]
    assert part.text[box.begin : box.end] == word
    return box


def middle(box: Box) -> tuple[float, float]:
    return (box.left + box.right) / 2, (box.top + box.bottom) / 2


@pytest.mark.parametrize(
    "how",
    [
        {},
        *({"name": name, "outline": False} for name in FONTS),
        {"height": 18},
        {"size": (320, 240), "height": 17},
        {"size": (1920, 1080), "height": 28, "outline": False},
        {"noise": 30.0},
        {"angle": 4.0},
        {"angle": -12.0},
        {"angle": 35.0, "size": (900, 900), "height": 28},
    ],
    ids=str,
)
def test_memes_are_read(ocr: OcrFilter, how: dict[str, Any]) -> None:
    part = read(ocr, meme(*HARMFUL, **how))
    assert letters(part.text) == letters("".join(HARMFUL))


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_turned_pictures_are_read_in_order(ocr: OcrFilter, degrees: int) -> None:
    part = read(ocr, turned(meme(*HARMFUL), degrees))
    assert part.text == "\n".join(HARMFUL)
    # 'STUPID' stands right of the middle at the top of the upright picture, 640 by 480.
    x, y = middle(word_box(read(ocr, meme(*HARMFUL)), "STUPID"))
    wanted = {90: (y, 640 - x), 180: (640 - x, 480 - y), 270: (480 - y, x)}[degrees]
    found = middle(word_box(part, "STUPID"))
    assert found == pytest.approx(wanted, abs=12)


def test_small_print_is_read_the_right_way_round(ocr: OcrFilter) -> None:
    """The engine's own model for it turns many such lines upside down."""
    lines = [
        "Outline what steps you would take to clean a window.",
        "Why does it have to be a test, and who would take it?",
        "It would have been nicer to be told a little earlier",
        "at our house the kettle is on from six in the morning",
        "we can point out how odd it is for someone to return",
        "Men, like women, need a holiday by the sea at times",
    ]
    for height, name in ((13, FONTS[0]), (16, FONTS[2])):
        image = Image.new("RGB", (640, 300), "white")
        for number, line in enumerate(lines):
            place = (20, 15 + number * 2.4 * height)
            ImageDraw.Draw(image).text(place, line, font=font(name, height), fill="black")
        part = read(ocr, image)
        likeness = SequenceMatcher(None, part.text, "\n".join(lines), autojunk=False).ratio()
        assert likeness > 0.95
        assert letters(read(ocr, turned(image, 180)).text) == letters(part.text)


def test_a_line_that_stands_on_its_head_is_read_among_others(ocr: OcrFilter) -> None:
    image = meme("HAVE A LOVELY DAY", "with all your friends")
    head = meme("you stupid idiot").crop((0, 30, 640, 120)).rotate(180)
    image.paste(head, (0, 180))
    assert read(ocr, image).text == "HAVE A LOVELY DAY\nyou stupid idiot\nwith all your friends"


@pytest.mark.parametrize(
    ("harmful", "how"),
    [(True, {}), (False, {}), (True, {"angle": 7.0, "noise": 20.0}), (False, {"angle": 7.0})],
)
def test_what_stands_in_an_image_is_judged(
    moderator: Moderator, harmful: bool, how: dict[str, Any]
) -> None:
    image = meme(*(HARMFUL if harmful else KIND), **how)
    verdict = moderator.moderate(Part.from_image(image))
    assert verdict.action is (Action.BLOCK if harmful else Action.ALLOW)
    assert [part.kind for part in verdict.parts] == ["image", "ocr"]
    assert {signal.part for signal in verdict.signals} == ({1} if harmful else set())
    for signal in verdict.signals:
        assert signal.span is not None
        assert letters(verdict.parts[1].text[slice(*signal.span)]) in letters("".join(HARMFUL))


@pytest.mark.skipif(
    not (WEIGHTS / "toxicity-lstm" / "model.onnx").is_file(), reason="toxicity-lstm is not built"
)
def test_the_shipped_policy_blocks_the_harmful_meme_and_allows_the_kind_one() -> None:
    moderator = Moderator("images")
    moderator.load()
    assert set(moderator.faults()) <= {"caption"}
    text = Part("text", "look at this")
    harmful, kind = moderator.moderate_batch(
        [[text, Part.from_image(meme(*words))] for words in (HARMFUL, KIND)]
    )
    assert harmful.action is Action.BLOCK
    assert kind.action is Action.ALLOW
    assert {signal.part for signal in harmful.signals if signal.score > 0.5} == {2}
    assert harmful.degraded is kind.degraded is ("caption" in moderator.faults())


def test_boxes_cover_the_words(ocr: OcrFilter) -> None:
    image = Image.new("RGB", (500, 200), "white")
    draw = ImageDraw.Draw(image)
    face = font("DejaVuSans.ttf", 30)
    places = {"please": (30, 20), "wait": (300, 20), "outside": (30, 120)}
    for word, place in places.items():
        draw.text(place, word, font=face, fill="black")
    part = read(ocr, image)
    assert part.text == "please wait\noutside"
    for word, place in places.items():
        box = word_box(part, word)
        left, top, right, bottom = draw.textbbox(place, word, font=face)
        assert box.left == pytest.approx(left, abs=14)
        assert box.right == pytest.approx(right, abs=14)
        assert box.top == pytest.approx(top, abs=14)
        assert box.bottom == pytest.approx(bottom, abs=14)


def test_boxes_go_into_the_verdict(moderator: Moderator, as_json: Any) -> None:
    verdict = moderator.moderate(Part.from_image(meme(*HARMFUL)))
    boxes = as_json(verdict)["parts"][1]["boxes"]
    text = verdict.parts[1].text
    assert [text[begin:end] for begin, end, *_ in boxes] == text.split()
    assert all(
        0 <= left < right <= 640 and 0 <= top < bottom <= 480
        for _, _, left, top, right, bottom in boxes
    )


def test_a_long_screenshot_is_read_to_the_end(ocr: OcrFilter) -> None:
    image = Image.new("RGB", (400, 2400), "white")
    draw = ImageDraw.Draw(image)
    lines = [f"message {number} of the chat" for number in range(30)]
    for number, line in enumerate(lines):
        draw.text((20, 15 + number * 79), line, font=font("DejaVuSans.ttf", 20), fill="black")
    part = read(ocr, image)
    assert part.text.split("\n") == lines
    for number in (0, 11, 29):
        box = word_box(part, f"{number}") if number > 1 else word_box(part, "message")
        assert middle(box)[1] == pytest.approx(15 + number * 79 + 12, abs=12)


def test_a_banner_is_read_across(ocr: OcrFilter) -> None:
    image = Image.new("RGB", (3000, 160), "white")
    line = " ".join(f"step{number} then" for number in range(12))
    ImageDraw.Draw(image).text((20, 60), line, font=font("DejaVuSans.ttf", 32), fill="black")
    assert read(ocr, image).text == line


def test_frames_are_read_and_repeated_words_said_once(ocr: OcrFilter) -> None:
    frames = [meme("HELLO THERE"), meme("HELLO THERE", "you fool"), meme("HELLO THERE")]
    stream = BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    part = read(ocr, stream.getvalue())
    assert part.text == "HELLO THERE\nyou fool"


def test_words_that_show_on_black_only_are_read(ocr: OcrFilter) -> None:
    image = Image.new("RGBA", (400, 120), (255, 255, 255, 0))
    ImageDraw.Draw(image).text(
        (20, 40), "hidden words", font=font("DejaVuSans.ttf", 36), fill="white"
    )
    assert read(ocr, image).text == "hidden words"


@pytest.mark.parametrize(
    "size",
    [(1, 1), (3, 3), (2000, 1), (1, 2000), (31, 900)],
    ids=lambda size: "x".join(map(str, size)),
)
def test_images_without_words_add_nothing(ocr: OcrFilter, size: tuple[int, int]) -> None:
    assert ocr.check_batch([Content.of(Part.from_image(Image.new("RGB", size, "white")))]) == [[]]


def test_parts_keep_their_places(ocr: OcrFilter) -> None:
    one, two = Part.from_image(meme("FIRST")), Part.from_image(meme("SECOND"))
    blank = Part.from_image(Image.new("RGB", (50, 50)))
    rows = ocr.check_batch([Content.of([one, blank, two]), Content.of(blank), Content.of(two)])
    told = [[(part.text, part.source) for part in row if isinstance(part, Part)] for row in rows]
    assert told == [[("FIRST", 0), ("SECOND", 2)], [], [("SECOND", 0)]]


def test_equal_images_are_read_once(ocr: OcrFilter, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = OcrFilter(threads=1)
    fresh.load()
    read_, asked = OcrFilter._read, []

    def count(self: OcrFilter, picture: Any) -> Any:
        asked.append(picture.digest)
        return read_(self, picture)

    monkeypatch.setattr(OcrFilter, "_read", count)
    image = meme("ONCE")
    rows = fresh.check_batch([Content.of(Part.from_image(image)) for _ in range(3)])
    rows += fresh.check_batch([Content.of(Part.from_image(image.copy()))])
    assert len(asked) == 1
    assert rows == [rows[0]] * 4


def test_what_is_no_image_is_a_failure_that_the_policy_rules_on(moderator: Moderator) -> None:
    policy = Policy.parse(POLICY.replace("on_error: raise", "on_error: block"))
    verdict = Moderator(policy).moderate(Part("image", image=b"zebra"))
    assert verdict.action is Action.BLOCK
    assert verdict.degraded
    assert "expected an image" in verdict.trace[0].reason
    assert "zebra" not in str(verdict.trace)


def test_a_damaged_installation_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ocr_module, "_DETECTOR", "nothing.onnx")
    moderator = Moderator(Policy.parse(POLICY.replace(", on_error: raise", "")))
    moderator.load()
    assert "nothing.onnx" in moderator.faults()["ocr"]
    assert "install" in moderator.faults()["ocr"]


def test_without_the_extra_the_step_says_which_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    moderator = Moderator(Policy.parse(POLICY.replace(", on_error: raise", "")))
    moderator.load()
    assert "moderation[images]" in moderator.faults()["ocr"]


def test_it_works_without_a_network() -> None:
    """In a process that may open no connection at all."""
    code = f"""
import socket, sys
sys.path.insert(0, {str(Path(drawings.__file__).parent)!r})
def refuse(*_, **__):
    raise AssertionError("a connection was tried")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
from drawings import meme
from moderation import Content, Part
from moderation.filters.ocr import OcrFilter
ocr = OcrFilter(threads=1)
ocr.load()
print(ocr.check_batch([Content.of(Part.from_image(meme("OFFLINE")))])[0][0].text)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "OFFLINE"
    assert done.stderr == ""


def test_the_fingerprint_is_of_what_is_read_with(tmp_path: Path) -> None:
    wanted = OcrFilter().fingerprint()
    assert OcrFilter(threads=2, cache=1).fingerprint() == wanted
    own = tmp_path / "own.onnx"
    own.write_bytes(b"1")
    others = [OcrFilter(side=640), OcrFilter(min_score=0.7), OcrFilter(recognizer=own)]
    assert len({wanted, *(other.fingerprint() for other in others)}) == 4


def test_threads_share_one_filter(ocr: OcrFilter) -> None:
    fresh = OcrFilter(cache=0)
    fresh.load()
    images = [meme(word) for word in ("FIRST", "SECOND", "THIRD", "FOURTH")]
    images[1] = turned(images[1], 180)
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda image: read(fresh, image), images * 2))
    assert [part.text for part in parts] == ["FIRST", "SECOND", "THIRD", "FOURTH"] * 2
    assert parts[:4] == [read(ocr, image) for image in images]
