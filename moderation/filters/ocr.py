"""Words in pictures (memes, screenshots), read by RapidOCR, as a filter."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, TypeAlias

from pydantic import Field, PrivateAttr

from moderation.content import Box, Content, Part
from moderation.errors import ArtifactError, MissingExtraError
from moderation.filter import Filter, Finding, ResourcePath
from moderation.image import Cache, Picture, read

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray
    from rapidocr import RapidOCR

# Of PP-OCRv6, as they lie in RapidOCR's package: named, so that nothing is ever downloaded.
_DETECTOR = "PP-OCRv6_det_small.onnx"
_RECOGNIZER = "PP-OCRv6_rec_small.onnx"

_LONG = 2.5
"""Length of an image, in widths, from which it is read piece by piece instead of shrunk."""
_STEEP = 20.0
"""Degrees that a line may lean and still be read well."""
_DOUBTFUL = 0.9
"""Score below which a line is read upside down too."""
_RETRIES = 6
"""Lines of one image, the longest, that are."""
_THIN = 320
"""Pixels that a piece of a long image is wide at the least, for want of any words."""

_Rect: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True)
class _Word:
    """`begin` and `end` are in characters of the word's line; `rect` is in pixels."""

    begin: int
    end: int
    rect: _Rect


@dataclass(frozen=True)
class _Line:
    text: str
    score: float
    words: tuple[_Word, ...]

    @property
    def sure(self) -> float:
        """Characters that can be counted on."""
        return len(self.text) * self.score

    @property
    def rect(self) -> _Rect:
        lefts, tops, rights, bottoms = zip(*(word.rect for word in self.words), strict=True)
        return min(lefts), min(tops), max(rights), max(bottoms)


@dataclass(frozen=True)
class _Reading:
    text: str
    boxes: tuple[Box, ...]


class OcrFilter(Filter):
    """Reads the words in an image and adds them to the content, with the place of each word.

    PP-OCR models by PaddleOCR on ONNX Runtime, which come inside RapidOCR's package: nothing is
    downloaded. They read Latin, Greek, Chinese and Japanese letters. Turned and upside-down text is
    read too, and a long screenshot piece by piece.
    """

    name: ClassVar[str] = "ocr"
    parts: ClassVar[frozenset[str]] = frozenset({"image"})

    side: Annotated[int, Field(ge=320, le=4000, strict=True)] = 800
    """Pixels of the longer side at which words are looked for; words are read at full size."""
    min_score: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.6
    """Lines that are read with less certainty than this are left out."""
    recognizer: ResourcePath | None = None
    """Another PP-OCR recognition model, as ONNX with its characters inside, for other scripts."""
    threads: Annotated[int, Field(ge=1, strict=True)] = 1
    """Cores used for one image. Several wait for one another busily, which pays on an idle machine
    only; images of several callers are read at the same time anyway."""
    cache: Annotated[int, Field(ge=0, strict=True)] = 1024
    """Images whose words are remembered."""

    _engine: RapidOCR | None = PrivateAttr(default=None)
    _known: Cache[_Reading] = PrivateAttr(default_factory=lambda: Cache(0))

    def categories(self) -> Iterable[str]:
        return ()

    def load(self) -> None:
        try:
            import rapidocr
            from PIL import Image, ImageDraw, ImageFont
        except ImportError:
            raise MissingExtraError(
                "rapidocr", extra="images", needed_for="the filter ocr"
            ) from None
        folder = Path(rapidocr.__file__).parent / "models"
        models = {"Det": folder / _DETECTOR, "Rec": folder / _RECOGNIZER}
        if self.recognizer is not None:
            models["Rec"] = self.recognizer
        for path in models.values():
            if not path.is_file():
                raise ArtifactError(
                    f"{path.name}: expected a model for reading words, found no file there; "
                    f"rapidocr {version('rapidocr')} should have brought its own: install "
                    "'rapidocr>=3.9,<4' again"
                )
        self._known = Cache(self.cache)
        self._engine = rapidocr.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "Global.use_cls": False,
                "Global.return_word_box": True,
                "Det.limit_type": "max",
                "Det.limit_side_len": self.side,
                "EngineConfig.onnxruntime.intra_op_num_threads": self.threads,
                **{f"{task}.model_path": str(path) for task, path in models.items()},
            }
        )
        word = Image.new("RGB", (200, 60), "white")
        ImageDraw.Draw(word).text((20, 10), "word", "black", ImageFont.load_default(36))
        self._ask(word)  # so that it is now that the models are read, and not at the first image

    def fingerprint(self) -> str:
        options = self.model_dump(mode="json", exclude={"threads", "cache", "recognizer"})
        told = f"{self.name} {version('rapidocr')} {sorted(options.items())}"
        own = self.recognizer.read_bytes() if self.recognizer else b""
        return hashlib.sha256(told.encode() + own).hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        pictures = [[read(part.image) for part in content.parts] for content in contents]
        flat = [picture for row in pictures for picture in row]
        readings = iter(self._known(flat, lambda new: map(self._read, new)))
        return [
            [
                Part("ocr", reading.text, source=index, boxes=reading.boxes)
                for index, reading in enumerate([next(readings) for _ in row])
                if reading.text
            ]
            for row in pictures
        ]

    def _read(self, picture: Picture) -> _Reading:
        rows: list[list[_Line]] = []
        known: set[str] = set()
        for frame in picture.frames:
            for row in self._rows(frame):
                told = " ".join(line.text for line in row)
                if told not in known:  # what stands in several frames is said once
                    known.add(told)
                    rows.append(row)
        text, boxes = "", []
        for row in rows:
            for place, line in enumerate(row):
                if text:
                    text += " " if place else "\n"
                boxes += [
                    Box(len(text) + word.begin, len(text) + word.end, *word.rect)
                    for word in line.words
                ]
                text += line.text
        return _Reading(text, tuple(boxes))

    def _rows(self, frame: PIL.Image.Image) -> list[list[_Line]]:
        """Rows of one frame; a long one is read in pieces that overlap by a third.

        A word counts for the piece in whose middle it stands; one near the edge of two middles
        may be in both, and then counts once.
        """
        short, long = sorted(frame.size)
        if long <= _LONG * max(short, _THIN):
            return self._upright_rows(frame)[0]
        across = frame.width == long
        step = max(short, _THIN)
        size = round(1.5 * step)
        margin = (size - step) / 2
        slack = step / 20  # the engine places words only roughly
        known: list[tuple[str, _Word]] = []
        rows: list[list[_Line]] = []
        turned = False
        for number in range(count := math.ceil((long - size) / step) + 1):
            begin = min(number * step, long - size)
            first = number * step + margin - slack if number else 0.0
            last = (number + 1) * step + margin + slack if number < count - 1 else long + 1.0
            area = (begin, 0, begin + size, short) if across else (0, begin, short, begin + size)
            found, lean = self._upright_rows(frame.crop(area))
            turned |= lean != 0
            before = len(rows)
            for row in found:
                kept = []
                for each in row:
                    line = _moved(each, *area[:2])
                    words = [
                        word
                        for word in line.words
                        if first <= _middle(word)[not across] < last
                        and not any(
                            _same(line.text[word.begin : word.end], word, *one) for one in known
                        )
                    ]
                    if words:
                        kept.append(_cut(line, words))
                if kept:
                    rows.append(kept)
            known = [
                (line.text[word.begin : word.end], word)
                for row in rows[before:]
                for line in row
                for word in line.words
            ]
        # A row goes on in the next piece, unless it stands upright in the picture.
        return rows if turned else _rows([line for row in rows for line in row])

    def _upright_rows(self, frame: PIL.Image.Image) -> tuple[list[list[_Line]], float]:
        """Rows of a frame that is turned until its words are upright, and by how many degrees."""
        lines, lean = self._ask(frame)
        found, upright, degrees = lines, frame, 0.0
        if abs(lean) > _STEEP:
            found, upright, degrees = self._on_its_feet(frame, lean)
        if not degrees or _sure(found) < 0.7 * _sure(lines):
            found, upright, degrees = self._on_its_feet(frame, 0.0, lines)
        rows = _rows([line for line in found if line.score >= self.min_score])
        if not degrees:
            return rows, 0.0
        return [
            [_turned_back(line, degrees, frame.size, upright.size) for line in row] for row in rows
        ], degrees

    def _on_its_feet(
        self, frame: PIL.Image.Image, degrees: float, lines: list[_Line] | None = None
    ) -> tuple[list[_Line], PIL.Image.Image, float]:
        """Lines of a frame turned by some degrees, or by 180 more where that is the right way."""
        upright = _turned(frame, degrees) if degrees else frame
        lines, heads = self._off_their_heads(upright, lines or self._ask(upright)[0])
        if heads > 0.5 * _sure(lines):
            degrees += 180.0
            upright = _turned(frame, degrees)
            lines, _ = self._ask(upright)
        return lines, upright, degrees

    def _off_their_heads(
        self, frame: PIL.Image.Image, lines: list[_Line]
    ) -> tuple[list[_Line], float]:
        """Lines that read better upside down put right, and how much of the text they are.

        The engine's own model for this takes many an upright line of small print for one that
        stands on its head; how surely a line is read tells the two apart: .96 and more on upright
        print, .84 and less upside down.
        """
        doubtful = sorted(
            (one for one in lines if one.score < _DOUBTFUL), key=lambda one: -one.sure
        )
        heads = 0.0
        for line in doubtful[:_RETRIES]:
            left, top, right, bottom = line.rect
            margin = (bottom - top) / 4
            area = (
                max(0, math.floor(left - margin)),
                max(0, math.floor(top - margin)),
                min(frame.width, math.ceil(right + margin)),
                min(frame.height, math.ceil(bottom + margin)),
            )
            piece = frame.crop(area)
            found, _ = self._ask(piece.rotate(180))
            length = sum(len(one.text) for one in found)
            if length < 0.5 * len(line.text) or _sure(found) < (line.score + 0.05) * length:
                continue
            put_right = [
                _moved(_turned_back(one, 180.0, piece.size, piece.size), *area[:2]) for one in found
            ]
            lines = [one for one in lines if one is not line] + put_right
            heads += _sure(put_right)
        return lines, heads

    def _ask(self, frame: PIL.Image.Image) -> tuple[list[_Line], float]:
        """Lines as the engine reads them, and how many degrees the longest leans clockwise."""
        import numpy as np

        assert self._engine is not None, "load() comes before check_batch()"
        pixels = np.ascontiguousarray(np.asarray(frame)[:, :, ::-1])  # blue first, as OpenCV has it
        found: Any = self._engine(pixels)
        if not found.txts:
            return [], 0.0
        longest = max(found.boxes, key=lambda quad: max(_edges(quad)[1::2]))
        return list(_engine_lines(found)), _lean(longest)


def _engine_lines(found: Any) -> Iterator[_Line]:
    """RapidOCR's answer; it leaves out the words of a line that it could not place."""
    groups = [group for group in found.word_results if group and group[0]]
    for text, score, quad in zip(found.txts, found.scores, found.boxes, strict=True):
        words: list[_Word] = []
        plain = "".join(text.split())
        if groups and "".join("".join(word.split()) for word, _, _ in groups[0]) == plain:
            at = 0
            for word, _, box in groups.pop(0):
                begin = text.find(word, at)
                if begin < 0 or not word or box is None:
                    words = []
                    break
                at = begin + len(word)
                words.append(_Word(begin, at, _rect(box)))
        own = tuple(words) or (_Word(0, len(text), _rect(quad)),)
        yield _Line(text, float(score), own)


def _rect(quad: Any) -> _Rect:
    lefts, tops = zip(*quad, strict=True)
    return float(min(lefts)), float(min(tops)), float(max(lefts)), float(max(tops))


def _edges(
    quad: NDArray[np.float32],
) -> tuple[NDArray[np.float32], float, NDArray[np.float32], float]:
    """Two neighbouring sides of a box with their lengths."""
    one, other = quad[1] - quad[0], quad[2] - quad[1]
    return one, float(math.hypot(*one)), other, float(math.hypot(*other))


def _lean(quad: NDArray[np.float32]) -> float:
    """Degrees from -90 to 90 by which the longer side of a box points down to the right."""
    one, length, other, height = _edges(quad)
    x, y = one if length >= height else other
    angle = math.degrees(math.atan2(y, x))
    return (angle + 90) % 180 - 90


def _sure(lines: Iterable[_Line]) -> float:
    return sum(line.sure for line in lines)


def _rows(lines: list[_Line]) -> list[list[_Line]]:
    """Lines in reading order; those beside one another make a row."""
    rows: list[list[_Line]] = []
    for line in sorted(lines, key=lambda line: line.rect[1] + line.rect[3]):
        _, top, _, bottom = line.rect
        if rows:
            _, above, _, below = rows[-1][0].rect
            shared = min(bottom, below) - max(top, above)
            if shared > 0.5 * max(bottom - top, below - above):
                rows[-1].append(line)
                continue
        rows.append([line])
    return [sorted(row, key=lambda line: line.rect[0]) for row in rows]


def _moved(line: _Line, right: float, down: float) -> _Line:
    def move(rect: _Rect) -> _Rect:
        return rect[0] + right, rect[1] + down, rect[2] + right, rect[3] + down

    return replace(line, words=tuple(replace(word, rect=move(word.rect)) for word in line.words))


def _middle(word: _Word) -> tuple[float, float]:
    return (word.rect[0] + word.rect[2]) / 2, (word.rect[1] + word.rect[3]) / 2


def _same(text: str, word: _Word, other_text: str, other: _Word) -> bool:
    x, y = _middle(word)
    left, top, right, bottom = other.rect
    return text == other_text and left <= x <= right and top <= y <= bottom


def _cut(line: _Line, kept: Sequence[_Word]) -> _Line:
    """The line with some of its words, and what stands between them."""
    if len(kept) == len(line.words):
        return line
    begin, end = kept[0].begin, kept[-1].end
    words = tuple(replace(word, begin=word.begin - begin, end=word.end - begin) for word in kept)
    return replace(line, text=line.text[begin:end], words=words)


def _turned(frame: PIL.Image.Image, degrees: float) -> PIL.Image.Image:
    from PIL.Image import Resampling

    # Grey corners, in which nothing can be mistaken for letters.
    return frame.rotate(
        degrees, resample=Resampling.BICUBIC, expand=True, fillcolor=(128, 128, 128)
    )


def _turned_back(
    line: _Line, degrees: float, size: tuple[int, int], turned: tuple[int, int]
) -> _Line:
    """Where the words of a line stood before the image was turned counter-clockwise."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))

    def back(x: float, y: float) -> tuple[float, float]:
        x, y = x - turned[0] / 2, y - turned[1] / 2
        return (
            min(max(x * cosine - y * sine + size[0] / 2, 0.0), size[0]),
            min(max(x * sine + y * cosine + size[1] / 2, 0.0), size[1]),
        )

    return replace(
        line,
        words=tuple(
            replace(word, rect=_rect([back(x, y) for x in word.rect[::2] for y in word.rect[1::2]]))
            for word in line.words
        ),
    )
