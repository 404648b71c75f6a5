"""Writes the pictures of docs/images.md: what was found where.

    pip install '.[images]' && python docs/make_images.py

Everything in them comes out of the chain: the words and boxes of `images.yaml`, the captions of the
small BLIP that the tests train (some ten seconds), the distances of the perceptual hash.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "filters"))

import imagehash
import tiny_blip
from drawings import DRAWINGS, drawing, font, meme, turned
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from moderation import Moderator, Part, Policy, Verdict
from moderation.filters.imagehash import entry
from moderation.image import read

HERE = Path(__file__).parent
RED, GREY, GREEN = (230, 30, 40), (150, 150, 150), (20, 140, 60)


def caption(
    image: Image.Image, *lines: str, colour: tuple[int, int, int] = (0, 0, 0)
) -> Image.Image:
    """The image with lines of text below it."""
    face = font("DejaVuSans.ttf", 13)
    below = Image.new("RGB", (image.width, image.height + 20 * len(lines) + 6), "white")
    below.paste(image)
    for number, line in enumerate(lines):
        place = (2, image.height + 3 + 20 * number)
        ImageDraw.Draw(below).text(place, line, font=face, fill=colour)
    return below


def marked(image: Image.Image, verdict: Verdict) -> Image.Image:
    """The image with a box around every word: red where a signal points at it."""
    image = image.copy()
    draw = ImageDraw.Draw(image)
    for index, part in enumerate(verdict.parts):
        spans = verdict.spans(index, at_least=0.1)
        for box in part.boxes:
            hit = any(begin < box.end and box.begin < end for begin, end in spans)
            draw.rectangle(
                (box.left, box.top, box.right, box.bottom), outline=RED if hit else GREY, width=3
            )
    return image


def beside(*images: Image.Image, columns: int = 0) -> Image.Image:
    columns = columns or len(images)
    rows = [images[at : at + columns] for at in range(0, len(images), columns)]
    width = max(sum(image.width + 10 for image in row) for row in rows)
    sheet = Image.new("RGB", (width, sum(max(i.height for i in row) + 10 for row in rows)), "white")
    top = 0
    for row in rows:
        left = 0
        for image in row:
            sheet.paste(image, (left, top))
            left += image.width + 10
        top += max(image.height for image in row) + 10
    return sheet


def told(verdict: Verdict) -> tuple[str, tuple[int, int, int]]:
    line = str(verdict.action)
    if verdict.scores:
        category = max(verdict.scores, key=lambda name: verdict.scores[name])
        line += f": {category} {verdict.scores[category]:.2f}"
    return line, RED if verdict.flagged else GREEN


def words() -> Image.Image:
    """A harmful and a kind meme, and the harmful one turned."""
    moderator = Moderator("images")
    harmful = meme("YOU ARE A STUPID IDIOT", "and everybody hates you", size=(420, 300), height=26)
    kind = meme("YOU ARE A LOVELY FRIEND", "and everybody likes you", size=(420, 300), height=26)
    shown = []
    for image in (harmful, kind, turned(harmful, 90)):
        verdict = moderator.moderate(Part.from_image(image))
        line, colour = told(verdict)
        shown.append(caption(marked(image, verdict), line, colour=colour))
    return beside(*shown)


def captions(folder: Path) -> Image.Image:
    """Drawings with what the small BLIP says of them, and what the list says of that."""
    tiny_blip.make(folder)
    policy = Policy.parse(
        f"""
name: drawings
steps:
  - {{name: caption, filter: blip, options: {{model: {folder}}}}}
  - {{name: scenes, filter: wordlist, options: {{lists: [captions]}}, parts: [caption]}}
thresholds:
  weapons: {{review: 0.6}}
  violence_graphic: {{review: 0.6}}
"""
    )
    moderator = Moderator(policy)
    shown = []
    for thing in DRAWINGS:
        image = drawing(thing, 2000).resize((200, 200))
        verdict = moderator.moderate(Part.from_image(image))
        line, colour = told(verdict)
        said = verdict.parts[1].text.removeprefix("a drawing of ")
        shown.append(caption(image, said, line, colour=colour))
    return beside(*shown, columns=4)


def known() -> Image.Image:
    """One image, what became of it, and in how many bits its hash differs."""

    def jpeg(image: Image.Image) -> Image.Image:
        stream = BytesIO()
        image.save(stream, "JPEG", quality=12)
        return Image.open(stream).convert("RGB")

    def hashed(image: Image.Image) -> imagehash.ImageHash:
        return imagehash.hex_to_hash(entry(read(image), "x").split()[0])

    original = meme("WIN A FREE PHONE", "just click here", size=(190, 150), height=15)
    for number, thing in enumerate(("sun", "cup", "boat")):
        original.paste(drawing(thing).resize((54, 54)), (8 + 60 * number, 46))
    edits: dict[str, Callable[[Image.Image], Image.Image]] = {
        "listed": lambda image: image,
        "JPEG, quality 12": jpeg,
        "a third of the size": lambda image: image.resize((63, 50)),
        "duller": lambda image: ImageEnhance.Contrast(image).enhance(0.5),
        "grey": lambda image: image.convert("L").convert("RGB"),
        "stretched": lambda image: image.resize((190, 100)),
        "mirrored": ImageOps.mirror,
        "another image": lambda _: drawing("house").resize((150, 150)),
    }
    shown = []
    for name, edit in edits.items():
        image = edit(original)
        # The filter compares the mirror image too.
        bits = min(hashed(view) - hashed(original) for view in (image, ImageOps.mirror(image)))
        canvas = Image.new("RGB", (190, 150), "white")
        canvas.paste(image)
        shown.append(caption(canvas, name, f"{bits} bits", colour=RED if bits <= 48 else GREEN))
    return beside(*shown, columns=4)


def main() -> None:
    folder = HERE / "images"
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        pictures = {"words": words(), "captions": captions(Path(temporary)), "known": known()}
    for name, picture in pictures.items():
        picture.quantize(64, dither=Image.Dither.NONE).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
