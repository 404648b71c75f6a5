"""Images as they come in: what is read, how it looks then, and what is refused."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest

from moderation import Content, Moderator, Part, Policy
from moderation.errors import ConfigError, ContentError
from moderation.policy import Images

pytest.importorskip("PIL", reason="needs moderation[images]")

from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from moderation.cli import main
from moderation.fetch import _is_public, fetch
from moderation.image import MAX_FRAMES, Cache, Picture, read

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def corners(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red at the top left, green at the top right, blue below."""
    image = Image.new("RGB", size, BLUE)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, size[0] // 2 - 1, size[1] // 2 - 1), fill=RED)
    draw.rectangle((size[0] // 2, 0, size[0], size[1] // 2 - 1), fill=GREEN)
    return image


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def near(found: Any, wanted: tuple[int, int, int], by: int = 12) -> bool:
    return all(abs(one - other) <= by for one, other in zip(found, wanted, strict=True))


def as_corners(picture: Picture, by: int = 12) -> bool:
    [frame] = picture.frames
    width, height = frame.size
    return (
        frame.mode == "RGB"
        and near(frame.getpixel((width // 4, height // 4)), RED, by)
        and near(frame.getpixel((3 * width // 4, height // 4)), GREEN, by)
        and near(frame.getpixel((width // 2, 3 * height // 4)), BLUE, by)
    )


# Where it comes from


def test_every_source_gives_the_same_picture(tmp_path: Path) -> None:
    data = saved(corners())
    path = tmp_path / "corners.png"
    path.write_bytes(data)
    address = "data:image/png;base64," + base64.b64encode(data).decode()
    percent = "data:image/png," + "".join(f"%{byte:02x}" for byte in data)
    sources = [path, data, bytearray(data), memoryview(data), corners(), address, percent]
    pictures = [read(source) for source in sources]
    assert len({picture.digest for picture in pictures}) == 1
    assert all(picture == pictures[0] and as_corners(picture) for picture in pictures)
    assert read(pictures[0]) is pictures[0]
    part = Part.from_image(path)
    assert part.kind == "image"
    assert part.image == pictures[0]
    assert Content.of(part).parts == (part,)


def test_the_digest_is_of_what_is_seen() -> None:
    lossless = {read(saved(corners(), kind)).digest for kind in ("PNG", "BMP", "TIFF", "GIF")}
    assert len(lossless) == 1
    assert read(corners((40, 22))).digest not in lossless
    # Of as many bytes, and of the same ones.
    wide, high = Image.new("RGB", (8, 2)), Image.new("RGB", (2, 8))
    assert read(wide).digest != read(high).digest


def test_a_str_is_never_the_path_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "private.png"
    path.write_bytes(saved(corners()))
    for text in (str(path), f"file://{path}", "private.png", ""):
        with pytest.raises(ContentError, match=r"pathlib\.Path") as info:
            read(text)
        assert "private" not in str(info.value)


@pytest.mark.parametrize("source", [None, 7, object(), ["a"], {"a": 1}])
def test_other_things_are_named_by_their_type(source: Any) -> None:
    with pytest.raises(ContentError, match=rf"found {type(source).__name__}$"):
        read(source)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="no file"):
        read(tmp_path)
    with pytest.raises(ContentError, match="No such file"):
        read(tmp_path / "missing.png")
    with pytest.raises(ContentError, match="none has"):
        read(Path("a\0b.png"))
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.png")  # reading it would wait for ever
        with pytest.raises(ContentError, match="no file"):
            read(tmp_path / "pipe.png")


@pytest.mark.parametrize(
    "address",
    [
        "data:",
        "data:image/png;base64",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,A",
        "data:image/png;base64,é",
        "data:image/png;base64,",
        "data:text/html;base64,PGI+",
        "data:image/svg+xml,<svg/>",
    ],
)
def test_damaged_data_addresses_are_refused(address: str) -> None:
    with pytest.raises(ContentError):
        read(address)


def test_data_addresses_are_read_leniently_where_nothing_is_lost() -> None:
    encoded = base64.b64encode(saved(corners())).decode()
    for address in (
        f"data:image/png;charset=utf-8;base64,{encoded}",
        f"DATA:image/png;BASE64,{encoded[:40]}\n {encoded[40:]}",
        f"data:;base64,{encoded.rstrip('=')}",
    ):
        assert as_corners(read(address))


# How it looks


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_turned_upright(orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = corners()
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read(saved(stored, "JPEG", quality=95, exif=exif))
    assert picture.size == (40, 20)
    assert as_corners(picture, by=30)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("PNG", "RGB", {}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("GIF", "P", {}),
        ("BMP", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TIFF", "CMYK", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("WEBP", "RGBA", {"quality": 95}),
        ("AVIF", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95}),
        ("JPEG", "RGB", {"quality": 95, "progressive": True}),
        ("JPEG", "CMYK", {"quality": 95}),
    ],
)
def test_kinds_and_modes_become_rgb(kind: str, mode: str, options: dict[str, Any]) -> None:
    if kind not in (Image.init(), Image.SAVE)[1]:
        pytest.skip(f"this Pillow writes no {kind}")
    data = saved(corners((64, 32)).convert(mode), kind, **options)
    assert as_corners(read(data), by=40)


def test_grey_of_more_than_eight_bits_is_scaled() -> None:
    import numpy as np

    ramp = np.linspace(0, 65535, 64).astype(np.uint16)[None].repeat(8, axis=0)
    for kind in ("PNG", "TIFF"):
        [frame] = read(saved(Image.fromarray(ramp), kind)).frames
        row = np.asarray(frame)[0, :, 0].astype(int)
        assert row[0] == 0
        assert row[-1] == 255
        assert abs(row - ramp[0] / 257).max() <= 1
    [frame] = read(Image.fromarray(np.linspace(-1, 3, 64, dtype=np.float32)[None])).frames
    assert [frame.getpixel((0, 0)), frame.getpixel((63, 0))] == [(0, 0, 0), (255, 255, 255)]


def test_grey_black_and_white_and_one_pixel() -> None:
    for mode in ("L", "1", "LA"):
        picture = read(saved(Image.new(mode, (1, 1), 255 if mode != "LA" else (255, 255))))
        assert picture.frames[0].getpixel((0, 0)) == (255, 255, 255)


@pytest.mark.parametrize("ink", ["white", "black"])
def test_what_shows_on_one_background_only_is_seen(ink: str) -> None:
    image = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((20, 20, 40, 40), fill=ink)
    picture = read(saved(image))
    assert len(picture.frames) == 2
    shown = [frame.getpixel((30, 30)) != frame.getpixel((5, 5)) for frame in picture.frames]
    assert any(shown)
    assert [frame.getpixel((5, 5)) for frame in picture.frames] == [(255,) * 3, (0,) * 3]


def test_transparency_that_hides_nothing_costs_nothing() -> None:
    image = corners((640, 640)).convert("RGBA")
    image.putpixel((0, 0), (255, 0, 0, 200))
    assert len(read(saved(image)).frames) == 1


def test_hidden_colours_of_invisible_pixels_are_not_seen() -> None:
    image = corners((60, 60)).convert("RGBA")
    image.putalpha(0)
    assert all(len(frame.getcolors()) == 1 for frame in read(saved(image)).frames)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_a_flash_in_an_animation_is_seen(kind: str) -> None:
    plain = [Image.new("RGB", (80, 60), (100 + number % 3, 100, 100)) for number in range(30)]
    plain[17] = corners((80, 60))
    data = saved(plain[0], kind, save_all=True, append_images=plain[1:], duration=40)
    picture = read(data)
    assert 2 <= len(picture.frames) <= 4
    assert sum(near(frame.getpixel((60, 10)), GREEN, 40) for frame in picture.frames) == 1
    [only] = read(data, Images(frames=1)).frames
    assert near(only.getpixel((60, 10)), (100, 100, 100))


def test_frames_are_as_many_as_asked_for_and_in_order() -> None:
    greys = [Image.new("L", (20, 20), value) for value in (0, 60, 120, 180, 240)]
    data = saved(greys[0], "GIF", save_all=True, append_images=greys[1:])
    for most, seen in ((1, [0]), (2, [0, 240]), (3, [0, 120, 240]), (9, [0, 60, 120, 180, 240])):
        frames = read(data, Images(frames=most)).frames
        assert [frame.getpixel((9, 9))[0] for frame in frames] == seen


def test_pages_of_different_size() -> None:
    pages = [corners((40, 20)), Image.new("RGB", (10, 90), "white")]
    data = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert [frame.size for frame in read(data).frames] == [(40, 20), (10, 90)]


def test_an_open_image_is_left_as_it_was() -> None:
    greys = [Image.new("L", (20, 20), value) for value in (0, 120, 240)]
    data = saved(greys[0], "GIF", save_all=True, append_images=greys[1:])
    with Image.open(BytesIO(data)) as image:
        image.seek(1)
        assert len(read(image).frames) == 3
        assert image.tell() == 1


# What is refused


def png_that_says(width: int, height: int, body: bytes = b"") -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_bombs_are_refused_before_they_are_decoded() -> None:
    # A real one: 64 megapixels of zeros in 200 kB.
    body = zlib.compress(bytes((8000 * 3 + 1) * 8000), 9)
    began = time.perf_counter()
    with pytest.raises(ContentError, match="50,000,000 pixels"):
        read(png_that_says(8000, 8000, body))
    for width, height in ((2**31 - 1, 2**31 - 1), (100_000, 100_000), (60_000, 1000)):
        with pytest.raises(ContentError, match="pixels"):
            read(png_that_says(width, height))
    assert time.perf_counter() - began < 1


def test_limits_are_inclusive() -> None:
    data = saved(corners())
    for images in (Images(max_bytes=len(data)), Images(max_pixels=800)):
        assert as_corners(read(data, images))
    with pytest.raises(ContentError, match=f"at most {len(data) - 1:,} bytes"):
        read(data, Images(max_bytes=len(data) - 1))
    with pytest.raises(ContentError, match="at most 799 pixels"):
        read(data, Images(max_pixels=799))
    with pytest.raises(ContentError, match="pixels"):
        read(corners(), Images(max_pixels=799))


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    with path.open("wb") as file:
        file.truncate(40_000_000_000)  # sparse
    with pytest.raises(ContentError, match="20,000,000 bytes"):
        read(path)
    with pytest.raises(ContentError, match="bytes"):
        read("data:image/png;base64," + "A" * 400, Images(max_bytes=20))


def test_animations_are_limited_in_all() -> None:
    greys = [Image.new("L", (100, 100), value) for value in range(0, 250, 10)]
    data = saved(greys[0], "GIF", save_all=True, append_images=greys[1:])
    assert read(data, Images(max_pixels=125_000))
    with pytest.raises(ContentError, match="240,000 pixels in all"):
        read(data, Images(max_pixels=120_000))
    dots = [Image.new("L", (1, 1), value % 256) for value in range(MAX_FRAMES + 1)]
    assert read(saved(dots[0], "GIF", save_all=True, append_images=dots[1:-1]))
    with pytest.raises(ContentError, match="2,000 frames"):
        read(saved(dots[0], "GIF", save_all=True, append_images=dots[1:]))


def test_a_jpeg_of_a_thousand_scans_is_refused() -> None:
    data = saved(corners((400, 400)), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    with pytest.raises(ContentError, match="100 scans"):
        read(data[:start] + b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x02\x00" * 1000 + data[start:])
    # What looks like scans in a thumbnail, or behind the end, is none.
    thumbnail = b"\xff\xda\x00\x02" * 1000
    segment = b"\xff\xe5" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    assert as_corners(read(data[:2] + segment + data[2:] + thumbnail), by=30)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.7, 0.9])
def test_files_cut_short_are_refused(kind: str, share: float) -> None:
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    data = saved(Image.fromarray(noise), kind)
    with pytest.raises(ContentError):
        read(data[: int(share * len(data))])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
@settings(max_examples=60, deadline=None)
@given(random=st.randoms(use_true_random=False))
def test_damaged_files_are_read_or_refused_and_nothing_else(kind: str, random: Any) -> None:
    data = bytearray(saved(corners((64, 48)), kind))
    for _ in range(random.randint(1, 8)):
        data[random.randrange(len(data))] = random.randrange(256)
    try:
        picture = read(bytes(data), Images(max_pixels=100_000))
    except ContentError:
        return
    assert all(frame.mode == "RGB" for frame in picture.frames)


def test_files_that_lie_about_their_kind_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "zebra.png"
    path.write_bytes(saved(corners(), "JPEG"))
    with pytest.raises(ContentError, match="says that it is PNG and is JPEG") as info:
        read(path)
    assert "zebra" not in str(info.value)
    encoded = base64.b64encode(saved(corners(), "GIF")).decode()
    with pytest.raises(ContentError, match="says that it is WEBP and is GIF"):
        read(f"data:image/webp;base64,{encoded}")
    # Without a claim there is no lie.
    assert as_corners(read(f"data:application/octet-stream;base64,{encoded}"))
    plain = tmp_path / "upload"
    plain.write_bytes(saved(corners()))
    assert as_corners(read(plain))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<html><img src=x></html>",
        b"%PDF-1.7\n" + b"\xff\xd8\xff\xe0",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"PK\x03\x04" + bytes(30),
        b"P6 2 2 255\n" + bytes(12),
        b"\x00\x00\x01\x00\x01\x00",
        b"8BPS\x00\x01" + bytes(40),
        b"GIF89a",
        b"\xff\xd8\xff",
        b"II*\x00\x08\x00\x00\x00",
    ],
)
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(ContentError) as info:
        read(data)
    assert "hello" not in str(info.value)


def test_polyglots_are_judged_as_the_image_that_shows() -> None:
    """What is hung on behind an image, or hidden in it, changes nothing about what is seen."""
    script = b"/*<script>alert(1)</script>*/PK\x03\x04" + saved(Image.new("RGB", (9, 9)))
    for kind in ("PNG", "JPEG", "GIF", "BMP"):
        data = saved(corners((64, 32)), kind)
        assert read(data + script) == read(data)
    jpeg = saved(corners((64, 32)), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", len(script) + 2) + script
    assert read(jpeg[:2] + comment + jpeg[2:]) == read(jpeg)
    # Something else in front is something else.
    with pytest.raises(ContentError):
        read(script + jpeg)


# In a policy


def test_the_policy_sets_the_limits() -> None:
    text = """
name: small
steps: [{name: words, filter: wordlist, options: {words: {spam: [offer]}}}]
thresholds: {spam: {review: 0.5}}
images: {max_pixels: 700}
"""
    moderator = Moderator(Policy.parse(text))
    assert moderator.image(saved(corners((30, 20)))).image.size == (30, 20)
    with pytest.raises(ContentError, match="700 pixels"):
        moderator.image(saved(corners()))
    with pytest.raises(ContentError, match=r"images\.urls"):
        moderator.image("https://example.org/zebra.png")
    for wrong in ("{urls: 1}", "{max_pixels: 0}", "{frames: 1.5}", "{timeout: 900}", "{size: 1}"):
        with pytest.raises(ConfigError, match=r"images"):
            Policy.parse(text.replace("{max_pixels: 700}", wrong))


def test_importing_the_package_does_not_import_pillow() -> None:
    code = "import sys, moderation; moderation.Moderator; print('PIL' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


# On the command line

STATIC = """
name: static
plugins: [testing]
steps: [{name: words, filter: static, options: {scores: {spam: {spam: 0.9}}}}]
thresholds: {spam: {block: 0.9}}
images: {max_bytes: 100000}
"""


def test_images_are_judged_with_the_text_beside_them(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(STATIC)
    names = [str(tmp_path / f"{number}.png") for number in range(2)]
    for name in names:
        Path(name).write_bytes(saved(corners()))
    command = ["check", "--policy", str(tmp_path / "policy.yaml"), "--image", names[0]]
    done = CliRunner().invoke(main, [*command, "--image", names[1], "--json", "buy spam"])
    assert done.exit_code == 4
    told = json.loads(done.output)
    assert [part["kind"] for part in told["parts"]] == ["text", "image", "image"]
    assert [signal["part"] for signal in told["signals"] if signal["score"] > 0.5] == [0]
    shown = CliRunner().invoke(main, [*command, "--explain"])
    assert shown.exit_code == 3  # nothing in this policy reads an image
    assert "no step has read the image: review" in shown.output
    assert "image: 40 × 20" in shown.output


def test_faults_of_images_are_said_with_the_name_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(STATIC)
    (tmp_path / "a.png").write_text("zebra")
    (tmp_path / "b.png").write_bytes(bytes(100_001))
    command = ["check", "--policy", str(tmp_path / "policy.yaml"), "--image"]
    for image, told in (
        (str(tmp_path / "a.png"), "a.png: expected an image"),
        (str(tmp_path / "b.png"), "b.png: expected an image of at most 100,000 bytes"),
        (str(tmp_path / "c.png"), "c.png: the image file cannot be read: No such file"),
        ("https://example.org/a.png", "a.png: addresses of images are not fetched here"),
    ):
        done = CliRunner().invoke(main, [*command, image])
        assert done.exit_code == 1
        assert told in done.output
        assert "zebra" not in done.output
    done = CliRunner().invoke(main, [*command, "a.png", "--file", "b.txt"])
    assert done.exit_code == 2


# The cache


def test_equal_images_are_worked_on_once_and_old_ones_forgotten() -> None:
    pictures = [read(Image.new("RGB", (4, 4), (value, 0, 0))) for value in range(4)]
    asked: list[int] = []

    def work(new: list[Picture]) -> Iterator[int]:
        for picture in new:
            asked.append(picture.frames[0].getpixel((0, 0))[0])
            yield asked[-1] * 10

    cache: Cache[int] = Cache(2)
    again = read(saved(Image.new("RGB", (4, 4), (1, 0, 0))))
    assert cache([pictures[0], pictures[1], again, pictures[0]], work) == [0, 10, 10, 0]
    assert asked == [0, 1]
    assert cache([pictures[1], pictures[2]], work) == [10, 20]
    assert asked == [0, 1, 2]
    assert cache([pictures[1], pictures[0]], work) == [10, 0]  # 0 was the oldest
    assert asked == [0, 1, 2, 0]
    nothing: Cache[int] = Cache(0)
    assert nothing(pictures, work) == [0, 10, 20, 30]
    assert nothing(pictures, work) == [0, 10, 20, 30]
    assert len(asked) == 12


# Addresses


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("127.8.9.10", False),
        ("10.0.0.1", False),
        ("172.16.5.4", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("0.0.0.0", False),  # noqa: S104
        ("192.0.2.1", False),
        ("198.18.0.1", False),
        ("224.0.0.1", False),
        ("240.0.0.1", False),
        ("255.255.255.255", False),
        ("::", False),
        ("::1", False),
        ("fe80::1", False),
        ("fc00::1", False),
        ("fec0::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("::ffff:10.1.2.3", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("64:ff9b::a9fe:a9fe", False),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b:1::1", False),
        ("2002:7f00:1::", False),
        ("2002:a00:1::1", False),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),
        ("2001:db8::1", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert _is_public(ip_address(address)) is public


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/zebra.png",
        "https://127.1/zebra.png",
        "https://2130706433/zebra.png",
        "https://0x7f.1/zebra.png",
        "https://0/zebra.png",
        "https://localhost/zebra.png",
        "https://LOCALHOST./zebra.png",
        "https://[::1]/zebra.png",
        "https://[::ffff:127.0.0.1]/zebra.png",
        "https://10.1.2.3:8443/zebra.png",
        "https://169.254.169.254/latest/meta-data/zebra",
        "https://192.168.0.1/zebra.png",
        "https://[fe80::1%25lo]/zebra.png",
    ],
)
def test_private_addresses_are_never_connected_to(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket, "create_connection", connect)
    with pytest.raises(ContentError, match=r"private network|cannot be found") as info:
        read(url, Images(urls=True))
    assert "zebra" not in str(info.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/zebra.png",
        "https://",
        "https:///zebra.png",
        "https://user@example.org/zebra.png",
        "https://user:zebra@example.org/",
        "https://example.org:99999/zebra.png",
        "https://[::1/zebra.png",
        "https://example.org/zebra picture.png",
        "https://example.org/zebra\r\nX-Header: 1",
        "https://example.org/zébra.png",
    ],
)
def test_odd_addresses_are_refused_unresolved(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def resolve(*_: Any, **__: Any) -> Any:
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    with pytest.raises(ContentError) as info:
        read(url, Images(urls=True))
    assert "zebra" not in str(info.value)


def test_a_name_with_one_private_address_among_public_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    infos = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443))
        for address in ("93.184.216.34", "10.0.0.1")
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: infos)
    with pytest.raises(ContentError, match="private network"):
        read("https://rebinding.example/", Images(urls=True))


def test_a_resolver_that_hangs_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [over.wait(20)][1:])
    began = time.monotonic()
    with pytest.raises(ContentError, match="in time"):
        fetch("https://slow.example/", max_bytes=100, timeout=0.3)
    over.set()
    assert time.monotonic() - began < 5


Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Of the server and of the client that trusts it."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs openssl, to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return server, ssl.create_default_context(cafile=str(certificate))


@pytest.fixture
def ask(
    context: tuple[ssl.SSLContext, ssl.SSLContext],
) -> Iterator[Callable[..., tuple[bytes, str]]]:
    """Fetches from a server on this machine, as if it were a public one, that says `answer`."""
    answers: list[Answer] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            answers.pop(0)(self)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        address_family = socket.AF_INET

        def handle_error(self, *_: Any) -> None:
            pass  # clients that hang up are what is tested

        def finish_request(self, request: Any, client: Any) -> None:
            with context[0].wrap_socket(request, server_side=True) as sock:
                super().finish_request(sock, client)

    server = Server(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()

    def fetch_(
        *given: Answer,
        path: str = "/a.png",
        host: str = "localhost",
        trusted: tuple[str, ...] = ("127.0.0.0/8", "::1/128"),
        **limits: Any,
    ) -> tuple[bytes, str]:
        answers[:] = given
        return fetch(
            f"https://{host}:{server.server_port}{path}",
            **{"max_bytes": 10_000, "timeout": 10.0, **limits},
            trusted=[ip_network(network) for network in trusted],
            context=context[1],
        )

    yield fetch_
    server.shutdown()
    server.server_close()


def says(body: bytes, status: int = 200, **headers: str) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value:
                handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def leads_to(location: str, status: int = 302) -> Answer:
    return says(b"", status, Location=location)


def test_an_image_is_fetched(ask: Callable[..., Any]) -> None:
    data = saved(corners())
    answer = says(data, Content_Type="image/PNG; charset=binary")
    assert ask(answer) == (data, "image/png")
    assert ask(says(data, Content_Length="")) == (data, "")  # until the line is closed
    assert ask(leads_to("/b.png?size=1"), leads_to("c.png", 308), answer) == (data, "image/png")


def test_a_media_type_that_lies_is_refused(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import moderation.fetch

    def read_answer(*given: Answer) -> Picture:
        answer = ask(*given)
        with monkeypatch.context() as patch:
            patch.setattr(moderation.fetch, "fetch", lambda *_, **__: answer)
            return read("https://example.org/", Images(urls=True))

    data = saved(corners())
    assert as_corners(read_answer(says(data, Content_Type="image/png")))
    assert as_corners(read_answer(says(data, Content_Type="application/octet-stream")))
    with pytest.raises(ContentError, match="says that it is JPEG and is PNG"):
        read_answer(says(data, Content_Type="image/jpeg"))
    with pytest.raises(ContentError, match="media type"):
        read_answer(says(data, Content_Type="text/html"))


@pytest.mark.parametrize(
    "location",
    [
        "https://10.0.0.1/zebra",
        "https://169.254.169.254/latest/meta-data/zebra",
        "https://[::1]:1/zebra",
        "//192.168.0.1/zebra",
        "http://localhost/zebra",
        "file:///etc/zebra",
        "data:image/png;base64,zebra",
        "https://user@localhost/zebra",
    ],
)
def test_every_redirect_is_checked(ask: Callable[..., Any], location: str) -> None:
    with pytest.raises(ContentError, match=r"private network|another scheme|user name") as info:
        ask(leads_to(location), trusted=("127.0.0.0/8",))
    assert "zebra" not in str(info.value)


def test_endless_redirects_end(ask: Callable[..., Any]) -> None:
    with pytest.raises(ContentError, match="more than 3 times"):
        ask(*[leads_to("/again")] * 9)
    with pytest.raises(ContentError, match="nowhere"):
        ask(says(b"", 302))


def test_a_name_that_changes_its_mind_is_not_followed(
    ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection goes to the address that was checked: the name is looked up once."""
    real, asked = socket.getaddrinfo, []

    def resolve(host: Any, *args: Any, **named: Any) -> Any:
        if isinstance(host, str) and host == "localhost":
            asked.append(host)
            if len(asked) > 1:
                raise AssertionError("looked up twice")
        return real(host, *args, **named)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert ask(says(b"image"))[0] == b"image"
    assert asked == ["localhost"]


def test_a_loopback_server_is_not_asked_unless_trusted(ask: Callable[..., Any]) -> None:
    for host in ("localhost", "127.0.0.1"):
        with pytest.raises(ContentError, match="private network"):
            ask(says(b"image"), host=host, trusted=())


def test_the_certificate_has_to_be_for_the_host(ask: Callable[..., Any]) -> None:
    with pytest.raises(ContentError, match="certificate"):
        ask(says(b"image"), host="127.0.0.1")


@pytest.mark.parametrize("status", [204, 206, 304, 400, 404, 500])
def test_other_answers_are_refused(ask: Callable[..., Any], status: int) -> None:
    with pytest.raises(ContentError, match=f"status {status}"):
        ask(says(b"", status))


def test_long_answers_are_cut_off(ask: Callable[..., Any]) -> None:
    assert len(ask(says(bytes(10_000)))[0]) == 10_000
    for length in ("10001", ""):
        with pytest.raises(ContentError, match="10,000 bytes"):
            ask(says(bytes(10_001), Content_Length=length))


def test_a_body_that_stops_early_is_refused(ask: Callable[..., Any]) -> None:
    with pytest.raises(ContentError, match=r"before the end|did not answer as it should"):
        ask(says(b"short", Content_Length="500"))


def test_compressed_bodies_are_refused(ask: Callable[..., Any]) -> None:
    with pytest.raises(ContentError, match="compressed"):
        ask(says(b"x", Content_Encoding="gzip"))


def drips(handler: BaseHTTPRequestHandler, head: bytes, drop: bytes) -> None:
    handler.wfile.write(head)
    for _ in range(200):
        handler.wfile.write(drop)
        handler.wfile.flush()
        time.sleep(0.05)


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: time.sleep(4),
        lambda handler: drips(handler, b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"[:1]),
        lambda handler: drips(handler, b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", b"x"),
        lambda handler: drips(handler, b"HTTP/1.1 200 OK\r\n\r\n", b"x"),
    ],
    ids=["silent", "header drips", "body drips", "body without length drips"],
)
def test_slow_answers_are_late(ask: Callable[..., Any], answer: Answer) -> None:
    began = time.monotonic()
    with pytest.raises(ContentError, match="in time"):
        ask(answer, timeout=0.8)
    assert time.monotonic() - began < 3.5


def test_nobody_there_and_no_tls(ask: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as idle:
        port = idle.getsockname()[1]
    with pytest.raises(ContentError, match="ConnectionRefusedError"):
        fetch(
            f"https://localhost:{port}/",
            max_bytes=10,
            timeout=5,
            trusted=[ip_network("127.0.0.0/8"), ip_network("::1/128")],
        )
    # It takes the connection and never says a word of TLS.
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ContentError, match="time"),
    ):
        fetch(
            f"https://127.0.0.1:{silent.getsockname()[1]}/",
            max_bytes=10,
            timeout=0.5,
            trusted=[ip_network("127.0.0.0/8")],
        )
