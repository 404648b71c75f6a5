"""What an image costs with no downloaded model: reading, known-image list, OCR, text chain.

    pip install '.[images]' && python benchmarks/images.py

Memes, a chat, a page of text and pictures without words, 1,024 × 768 each, as JPEG bytes to
verdict. Every image is judged once: nothing comes out of a cache. The bar is a median under
400 ms on two cores, over the memes; the other kinds are shown beside it. CPU is the time of all
cores together, which other work on the machine changes less than it changes the median.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from time import perf_counter, process_time

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "filters"))

from drawings import font, meme
from PIL import Image, ImageDraw, ImageFilter
from rich.console import Console
from rich.table import Table
from texts import sample

from moderation import Moderator, Policy
from moderation.filters.imagehash import entry
from moderation.image import read

SIZE = (1024, 768)


def pictures(kind: str, count: int) -> list[bytes]:
    """JPEG files, each with words of its own."""
    texts = sample(count * 40).texts
    made = []
    for number in range(count):
        words = [" ".join(text.split()) for text in texts[number * 40 : number * 40 + 40]]
        if kind == "meme":
            image = meme(words[0][:32].upper(), words[1][:36], size=SIZE, height=44)
        elif kind == "no words":
            noise = Image.effect_noise((64, 48), 90 + number).resize(SIZE, Image.Resampling.BICUBIC)
            image = Image.merge("RGB", (noise, noise.rotate(180), noise.filter(ImageFilter.BLUR)))
        else:
            image = Image.new("RGB", SIZE, "white")
            draw = ImageDraw.Draw(image)
            lines, height = (9, 26) if kind == "chat" else (28, 18)
            for line in range(lines):
                place = (40 + 200 * (line % 2) * (kind == "chat"), 12 + line * (750 // lines))
                text = words[line][: 40 if kind == "chat" else 90]
                draw.text(place, text, font=font("DejaVuSans.ttf", height), fill="black")
        stream = BytesIO()
        image.convert("RGB").save(stream, "JPEG", quality=85)
        made.append(stream.getvalue())
    return made


def chain(folder: Path, threads: int) -> Moderator:
    """`images.yaml` with a list of 10,000 known images before it, and without BLIP."""
    own = read(pictures("meme", 1)[0])
    lines = [f"{number * 0x9E3779B97F4A7C15**4 % 2**256:064x} spam" for number in range(1, 10_000)]
    (folder / "known.txt").write_text("\n".join([entry(own, "spam"), *lines]), encoding="utf-8")
    data = Policy.load("images").model_dump(mode="json", exclude_defaults=True)
    known = {"name": "known", "filter": "imagehash", "options": {"lists": ["known.txt"]}}
    data["steps"] = [known, *(step for step in data["steps"] if step["filter"] != "blip")]
    for step in data["steps"]:
        if step["filter"] == "ocr":
            step["options"] = {"threads": threads}
    policy = Policy.parse(Policy.model_validate(data).to_yaml(), folder=folder)
    moderator = Moderator(policy)
    moderator.load()
    if moderator.faults():
        raise SystemExit(f"cannot run: {moderator.faults()}")
    return moderator


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--images", type=int, default=30, help="of each kind")
    parser.add_argument("--threads", type=int, default=2, help="that OCR uses for one image")
    args = parser.parse_args()
    count = args.images
    table = Table(
        title=f"ms per image, {SIZE[0]} × {SIZE[1]}, {os.cpu_count()} cores, OCR on {args.threads}"
    )
    for column in (
        "kind",
        "median",
        "90th",
        "CPU",
        "reading",
        "hash",
        "OCR",
        "text",
        "OCR's share",
    ):
        table.add_column(column, justify="left" if column == "kind" else "right")
    with tempfile.TemporaryDirectory() as folder:
        moderator = chain(Path(folder), args.threads)
        for data in pictures("chat", count + 3)[count:]:  # others than are timed: none is cached
            moderator.moderate(moderator.image(data))
        for kind in ("meme", "chat", "page", "no words"):
            rows = []
            for data in pictures(kind, count):
                began, worked = perf_counter(), process_time()
                part = moderator.image(data)
                opened = perf_counter()
                verdict = moderator.moderate(part)
                total, cpu = (perf_counter() - began) * 1e3, (process_time() - worked) * 1e3
                steps = {trace.step: trace.ms for trace in verdict.trace}
                hash_, ocr = steps.pop("known"), steps.pop("ocr")
                rows.append((total, cpu, (opened - began) * 1e3, hash_, ocr, sum(steps.values())))
            total, *others = (statistics.median(column) for column in zip(*rows, strict=True))
            late = statistics.quantiles([row[0] for row in rows], n=10)[-1]
            share = statistics.median(row[4] / row[0] for row in rows)
            told = [f"{value:.1f}" for value in (total, late, *others)]
            table.add_row(kind, *told, f"{share:.0%}")
    Console().print(table)


if __name__ == "__main__":
    main()
