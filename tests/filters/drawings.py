"""Pictures for tests: memes with given words, and drawings of a dozen things."""

from __future__ import annotations

import random
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FONTS = ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSerif-Bold.ttf", "DejaVuSansMono.ttf")


@cache
def font(name: str, size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font of the system, of matplotlib, or Pillow's own where neither has it."""
    places = [Path("/usr/share/fonts/truetype/dejavu")]
    try:
        import matplotlib as mpl
    except ImportError:
        pass
    else:
        places.append(Path(mpl.get_data_path()) / "fonts" / "ttf")
    for place in places:
        if (place / name).is_file():
            return ImageFont.truetype(str(place / name), size)
    return ImageFont.load_default(size)


def meme(
    *lines: str,
    size: tuple[int, int] = (640, 480),
    name: str = "DejaVuSans-Bold.ttf",
    height: int = 36,
    outline: bool = True,
    angle: float = 0.0,
    noise: float = 0.0,
) -> Image.Image:
    """Lines of text over a colour gradient: the first at the top, the others at the bottom."""
    width, depth = size
    down, across = np.mgrid[:depth, :width]
    ground = np.stack([down * 200 // depth, across * 200 // width, 0 * down + 90], axis=2)
    image = Image.fromarray(ground.astype(np.uint8))
    layer = Image.new("RGBA", size)
    draw = ImageDraw.Draw(layer)
    face = font(name, height)
    for number, line in enumerate(lines):
        place = 0.12 if number == 0 else 0.9 - (len(lines) - number) * 1.4 * height / depth
        draw.text(
            ((width - draw.textlength(line, font=face)) / 2, place * depth),
            line,
            font=face,
            fill="white",
            stroke_width=2 if outline else 0,
            stroke_fill="black",
        )
    if angle:
        layer = layer.rotate(angle, resample=Image.Resampling.BICUBIC)
    image.paste(layer, mask=layer)
    if noise:
        grain = np.random.default_rng(0).normal(0, noise, (depth, width, 3))
        image = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
    return image


def turned(image: Image.Image, degrees: int) -> Image.Image:
    """Counter-clockwise, the whole picture."""
    return image.rotate(degrees, expand=True)


DRAWINGS = {
    "gun": "a drawing of a black gun",
    "knife": "a drawing of a knife with blood on it",
    "water gun": "a drawing of a green water gun",
    "flower": "a drawing of a red flower",
    "house": "a drawing of a house",
    "tree": "a drawing of a tree",
    "sun": "a drawing of the sun",
    "car": "a drawing of a blue car",
    "fish": "a drawing of a fish",
    "boat": "a drawing of a boat",
    "cup": "a drawing of a cup",
    "face": "a drawing of a smiling face",
}
"""What each thing that `drawing` draws is called in a caption."""


def drawing(thing: str, seed: int = 0, size: int = 96) -> Image.Image:
    """A simple drawing of one of `DRAWINGS`; the seed moves it about and changes its shade."""
    rng = random.Random(f"{thing} {seed}")
    paper = rng.randint(225, 255)
    image = Image.new("RGB", (size, size), (paper, paper, paper - rng.randint(0, 20)))
    draw = ImageDraw.Draw(image)
    left, top = rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06)
    scale = rng.uniform(0.85, 1.1)

    def at(*points: float) -> list[float]:
        return [
            (0.5 + (value - 0.5) * scale + (left, top)[place % 2]) * size
            for place, value in enumerate(points)
        ]

    def shade(red: int, green: int, blue: int) -> tuple[int, int, int]:
        return tuple(min(255, max(0, part + rng.randint(-25, 25))) for part in (red, green, blue))  # type: ignore[return-value]

    if thing in ("gun", "water gun"):
        colour = shade(40, 40, 40) if thing == "gun" else shade(60, 210, 90)
        draw.rectangle(at(0.15, 0.3, 0.85, 0.45), fill=colour)
        draw.polygon(at(0.6, 0.45, 0.8, 0.45, 0.88, 0.8, 0.7, 0.8), fill=colour)
        draw.arc(at(0.45, 0.42, 0.63, 0.58), 0, 180, fill=colour, width=3)
    elif thing == "knife":
        draw.polygon(at(0.1, 0.5, 0.6, 0.38, 0.6, 0.52), fill=shade(170, 175, 185))
        draw.rectangle(at(0.6, 0.4, 0.9, 0.52), fill=shade(90, 60, 30))
        draw.ellipse(at(0.15, 0.55, 0.4, 0.75), fill=shade(190, 15, 15))
    elif thing == "flower":
        for x, y in ((0.5, 0.2), (0.35, 0.32), (0.65, 0.32), (0.4, 0.48), (0.6, 0.48)):
            draw.ellipse(at(x - 0.11, y - 0.11, x + 0.11, y + 0.11), fill=shade(220, 40, 70))
        draw.ellipse(at(0.42, 0.28, 0.58, 0.44), fill=shade(250, 210, 40))
        draw.line(at(0.5, 0.55, 0.5, 0.95), fill=shade(30, 140, 40), width=4)
    elif thing == "house":
        draw.rectangle(at(0.25, 0.45, 0.75, 0.9), fill=shade(210, 170, 120))
        draw.polygon(at(0.15, 0.45, 0.5, 0.12, 0.85, 0.45), fill=shade(160, 50, 40))
        draw.rectangle(at(0.43, 0.65, 0.57, 0.9), fill=shade(90, 60, 30))
    elif thing == "tree":
        draw.rectangle(at(0.44, 0.55, 0.56, 0.95), fill=shade(110, 75, 40))
        draw.ellipse(at(0.2, 0.08, 0.8, 0.62), fill=shade(40, 150, 50))
    elif thing == "sun":
        draw.ellipse(at(0.3, 0.3, 0.7, 0.7), fill=shade(250, 200, 30))
        for x, y in ((0.5, 0.05), (0.5, 0.95), (0.05, 0.5), (0.95, 0.5), (0.2, 0.2), (0.8, 0.8)):
            draw.line(at(0.5, 0.5, x, y), fill=shade(250, 190, 30), width=3)
    elif thing == "car":
        draw.rectangle(at(0.1, 0.5, 0.9, 0.7), fill=shade(40, 70, 210))
        draw.polygon(at(0.25, 0.5, 0.35, 0.32, 0.65, 0.32, 0.75, 0.5), fill=shade(60, 90, 220))
        for x in (0.28, 0.72):
            draw.ellipse(at(x - 0.09, 0.61, x + 0.09, 0.79), fill=shade(30, 30, 30))
    elif thing == "fish":
        draw.ellipse(at(0.2, 0.35, 0.7, 0.65), fill=shade(240, 140, 50))
        draw.polygon(at(0.66, 0.5, 0.9, 0.32, 0.9, 0.68), fill=shade(240, 140, 50))
    elif thing == "boat":
        draw.polygon(at(0.1, 0.65, 0.9, 0.65, 0.75, 0.85, 0.25, 0.85), fill=shade(120, 70, 40))
        draw.polygon(at(0.5, 0.12, 0.5, 0.6, 0.82, 0.6), fill=shade(120, 190, 230))
    elif thing == "cup":
        draw.rectangle(at(0.3, 0.3, 0.65, 0.8), fill=shade(140, 60, 170))
        draw.arc(at(0.55, 0.4, 0.85, 0.7), 270, 90, fill=shade(140, 60, 170), width=5)
    else:
        draw.ellipse(at(0.15, 0.15, 0.85, 0.85), fill=shade(250, 220, 150), outline="black")
        for x in (0.38, 0.62):
            draw.ellipse(at(x - 0.05, 0.35, x + 0.05, 0.45), fill="black")
        draw.arc(at(0.32, 0.45, 0.68, 0.72), 10, 170, fill="black", width=3)
    return image
