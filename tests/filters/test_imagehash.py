"""Known images: found again after what usually happens to pictures, and no others."""

from __future__ import annotations

import itertools
import random
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

pytest.importorskip("PIL", reason="needs moderation[images]")
pytest.importorskip("imagehash", reason="needs moderation[images]")

import imagehash
from drawings import font
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from moderation import Action, Content, Moderator, Part, Policy, Signal
from moderation.cli import main
from moderation.errors import ConfigError, ContentError
from moderation.filters.imagehash import BITS, ImageHashFilter, entry
from moderation.image import read


def scene(seed: int) -> Image.Image:
    """A photo, as far as a low-pass filter can tell: soft blobs of many colours."""
    rng = random.Random(seed)
    image = Image.new("RGB", (400, 300), tuple(rng.choices(range(256), k=3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, width, height = (rng.randrange(each) for each in (400, 300, 170, 170))
        box = (x - width // 2 - 5, y - height // 2 - 5, x + width // 2 + 5, y + height // 2 + 5)
        draw.ellipse(box, fill=tuple(rng.choices(range(256), k=3)))
    return image.filter(ImageFilter.GaussianBlur(2))


def jpeg(image: Image.Image, quality: int) -> bytes:
    stream = BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def captioned(image: Image.Image) -> Image.Image:
    image = image.copy()
    ImageDraw.Draw(image).text((20, 265), "when monday comes", font=font("DejaVuSans.ttf", 20))
    return image


def listed(path: Path, *images: Image.Image, category: str = "spam") -> Path:
    lines = [entry(read(image), category) for image in images]
    path.write_text("\n".join(["# ours", "", *lines]), encoding="utf-8")
    return path


def loaded(*lists: Path, **options: Any) -> ImageHashFilter:
    filter_ = ImageHashFilter(lists=lists, **options)
    filter_.load()
    return filter_


def signals(filter_: ImageHashFilter, image: Any) -> list[Signal]:
    [row] = filter_.check_batch([Content.of(Part.from_image(image))])
    return [finding for finding in row if isinstance(finding, Signal)]


EDITS: dict[str, Callable[[Image.Image], Any]] = {
    "nothing": lambda image: image,
    "JPEG": lambda image: jpeg(image, 25),
    "smaller": lambda image: image.resize((120, 90)),
    "larger": lambda image: image.resize((1600, 1200)),
    "stretched": lambda image: image.resize((400, 200)),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "duller": lambda image: ImageEnhance.Contrast(image).enhance(0.7),
    "grey": lambda image: image.convert("L"),
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(2)),
    "captioned": captioned,
    "mirrored": ImageOps.mirror,
    "cropped a little": lambda image: image.crop((4, 3, 396, 297)),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edited_images_are_known_again(tmp_path: Path, edit: str) -> None:
    originals = [scene(seed) for seed in range(12)]
    known = loaded(listed(tmp_path / "known.txt", *originals))
    for number, original in enumerate(originals):
        [signal] = signals(known, EDITS[edit](original))
        assert signal.category == "spam"
        assert signal.score >= 1 - 48 / BITS
        assert f"known, line {number + 3}:" in signal.reason
        if edit == "nothing":
            assert signal.score == 1


def test_other_images_are_not(tmp_path: Path) -> None:
    known = loaded(listed(tmp_path / "known.txt", *(scene(seed) for seed in range(40))))
    assert not any(signals(known, scene(seed)) for seed in range(1000, 1040))


def test_the_hash_is_that_of_the_library() -> None:
    """Over the same small picture, bit for bit; distances are those of the library too."""
    hashes = []
    for seed in range(6):
        small = scene(seed).convert("L").resize((128, 128), Image.Resampling.BOX)
        hashes.append(imagehash.phash(small, hash_size=16))
        assert entry(read(scene(seed)), "spam") == f"{hashes[-1]} spam"
        assert imagehash.hex_to_hash(entry(read(scene(seed)), "spam").split()[0]) == hashes[-1]
    assert min(one - other for one, other in itertools.combinations(hashes, 2)) > 48


def test_the_score_falls_with_the_distance(tmp_path: Path) -> None:
    path = listed(tmp_path / "known.txt", scene(0))
    hash_ = path.read_text().split()[-2]
    number = int(hash_, 16)
    for bits in (0, 7, 48, 49):
        flipped = number
        for bit in random.Random(bits).sample(range(BITS), bits):
            flipped ^= 1 << bit
        path.write_text(f"{flipped:064x} spam")
        found = signals(loaded(path), scene(0))
        if bits > 48:
            assert found == []
        else:
            assert [signal.score for signal in found] == [1 - bits / BITS]
            assert f"{bits} bits of 256 differ" in found[0].reason
    assert signals(loaded(path, max_distance=49), scene(0))


def test_blank_images_are_never_known(tmp_path: Path) -> None:
    with pytest.raises(ContentError, match="next to nothing"):
        entry(read(Image.new("RGB", (50, 50), "white")), "spam")
    everything = tmp_path / "known.txt"
    everything.write_text("\n".join(f"{'0f8'[number] * 64} spam" for number in range(3)))
    anything = loaded(everything, max_distance=80)
    for colour in ("white", "black", "red"):
        assert signals(anything, Image.new("RGB", (50, 50), colour)) == []


def test_each_category_is_reported_once_for_its_nearest_image(tmp_path: Path) -> None:
    one = listed(tmp_path / "one.txt", scene(0), captioned(scene(0)), scene(1))
    two = listed(tmp_path / "two.txt", EDITS["cropped a little"](scene(0)), category="gore")
    both = loaded(one, two)
    assert set(both.categories()) == {"spam", "gore"}
    found = signals(both, scene(0))
    assert [signal.category for signal in found] == ["gore", "spam"]
    assert found[1].score == 1
    assert "one, line 3" in found[1].reason


def test_any_frame_of_an_animation_counts(tmp_path: Path) -> None:
    known = loaded(listed(tmp_path / "known.txt", scene(3)))
    stream = BytesIO()
    frames = [scene(number) for number in (0, 3, 5)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert signals(known, stream.getvalue())


def test_in_a_policy_with_a_list_from_the_command_line(tmp_path: Path) -> None:
    for number in range(2):
        scene(number).save(tmp_path / f"scene {number}.png")
    made = CliRunner().invoke(
        main, ["hash", "-c", "spam", *(str(tmp_path / f"scene {n}.png") for n in range(2))]
    )
    assert made.exit_code == 0
    assert made.output.count("\n") == 2
    assert "# scene 1.png" in made.output
    (tmp_path / "known.txt").write_text(made.output, encoding="utf-8")
    (tmp_path / "policy.yaml").write_text(
        "name: known\n"
        "steps: [{name: known, filter: imagehash, options: {lists: [known.txt]}}]\n"
        "thresholds: {spam: {block: 0.9}}\n"
    )
    moderator = Moderator(tmp_path / "policy.yaml")
    seen, new = moderator.moderate_batch(
        [Part.from_image(jpeg(scene(1), 60)), Part.from_image(scene(9))]
    )
    assert (seen.action, new.action) == (Action.BLOCK, Action.ALLOW)
    assert (seen.signals[0].part, seen.signals[0].span) == (0, None)


def test_what_cannot_be_hashed_is_said_on_the_command_line(tmp_path: Path) -> None:
    Image.new("RGB", (9, 9)).save(tmp_path / "blank.png")
    (tmp_path / "words.png").write_text("hello")
    for name, told in (
        ("blank.png", "blank"),
        ("words.png", "expected an image"),
        ("no.png", "No"),
    ):
        done = CliRunner().invoke(main, ["hash", "-c", "spam", str(tmp_path / name)])
        assert done.exit_code == 1
        assert f"{name}: " in done.output
        assert told in done.output
    scene(0).save(tmp_path / "scene.png")
    done = CliRunner().invoke(main, ["hash", "-c", "two words", str(tmp_path / "scene.png")])
    assert done.exit_code == 1
    assert "category" in done.output


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "found none"),
        ("# nothing\n", "found none"),
        ("abc spam", "line 1: expected 64 hexadecimal"),
        ("0" * 64, "line 1: expected 64 hexadecimal"),
        ("\n" + "0" * 64 + " two words", "line 2: expected 64 hexadecimal"),
        (f"{'0' * 64} spam\n{'0' * 64} gore", "line 2: the hash is listed as gore"),
        ("\udcff", "line 1"),
    ],
)
def test_faults_of_a_list_are_named(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "known.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    policy = Policy.parse(
        f"""
name: known
steps: [{{name: known, filter: imagehash, options: {{lists: [{path}]}}}}]
thresholds: {{spam: {{block: 0.9}}}}
"""
    )
    with pytest.raises(ConfigError, match=told):
        Moderator(policy)
    path.unlink()
    with pytest.raises(ConfigError, match="moderation hash"):
        Moderator(policy)


def test_the_fingerprint_is_of_the_hashes(tmp_path: Path) -> None:
    one = listed(tmp_path / "one.txt", scene(0), scene(1))
    two = listed(tmp_path / "two.txt", scene(1), scene(0))
    three = listed(tmp_path / "three.txt", scene(0))
    assert loaded(one).fingerprint() == loaded(two, cache=3).fingerprint()
    others = {loaded(one).fingerprint(), loaded(three).fingerprint()}
    assert len(others | {loaded(one, max_distance=3).fingerprint()}) == 3


def test_without_the_extra_the_step_says_which_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = listed(tmp_path / "known.txt", scene(0))
    monkeypatch.setitem(sys.modules, "imagehash", None)
    with pytest.raises(Exception, match=r"moderation\[images\]"):
        loaded(path)
