"""Captions, from a BLIP that is small and really trained: what it sees is what is judged."""

from __future__ import annotations

import logging
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="needs moderation[images]")
pytest.importorskip("torch", reason="needs moderation[images]")
pytest.importorskip("transformers", reason="needs moderation[images]")

import tiny_blip
import torch
from drawings import DRAWINGS, drawing
from PIL import Image

from moderation import Action, Content, Moderator, Part, Policy
from moderation.errors import ArtifactError, ConfigError
from moderation.filters.blip import BlipFilter

UNSEEN = range(1000, 1003)
"""Seeds of drawings that it was not trained on."""

POLICY = """
name: drawings
steps:
  - {name: caption, filter: blip, options: {model: %s}}
  - {name: words, filter: wordlist, options: {lists: [english]}, parts: [text]}
  - {name: scenes, filter: wordlist, options: {lists: [captions]}, parts: [caption]}
thresholds:
  weapons: {review: 0.6}
  violence_graphic: {review: 0.6}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("blip")
    tiny_blip.make(folder)
    torch.set_num_threads(threads)
    return folder


@pytest.fixture(scope="module")
def blip(folder: Path) -> BlipFilter:
    filter_ = BlipFilter(model=folder, batch=5)
    filter_.load()
    return filter_


def captions(blip: BlipFilter, *images: Any) -> list[str]:
    rows = blip.check_batch([Content.of(Part.from_image(image)) for image in images])
    told = []
    for [part] in rows:
        assert isinstance(part, Part)
        assert (part.kind, part.source) == ("caption", 0)
        told.append(part.text)
    return told


def test_it_says_what_is_drawn(blip: BlipFilter) -> None:
    things = [thing for thing in DRAWINGS for _ in UNSEEN]
    told = captions(blip, *(drawing(thing, seed) for thing in DRAWINGS for seed in UNSEEN))
    right = sum(DRAWINGS[thing] == caption for thing, caption in zip(things, told, strict=True))
    assert right >= 0.9 * len(things)


def test_a_gun_is_flagged_through_its_caption_and_a_flower_is_not(folder: Path) -> None:
    moderator = Moderator(Policy.parse(POLICY % folder))
    moderator.load()
    assert not moderator.faults()
    shown = ("gun", "flower", "knife", "water gun", "fish")
    verdicts = dict(
        zip(
            shown,
            moderator.moderate_batch(
                [[Part("text", "look!"), Part.from_image(drawing(thing))] for thing in shown]
            ),
            strict=True,
        )
    )
    assert {thing for thing, verdict in verdicts.items() if verdict.flagged} == {"gun", "knife"}
    gun = verdicts["gun"]
    assert gun.action is Action.REVIEW
    assert not gun.degraded
    [signal] = gun.signals
    assert (signal.category, signal.step, signal.part) == ("weapons", "scenes", 2)
    assert (gun.parts[2].kind, gun.parts[2].source) == ("caption", 1)
    assert signal.span is not None
    assert gun.parts[2].text[slice(*signal.span)] == "gun"
    assert verdicts["knife"].scores["violence_graphic"] >= 0.6  # the blood on it
    assert verdicts["water gun"].scores == {}


def test_what_a_user_writes_never_meets_the_list_of_captions(folder: Path) -> None:
    moderator = Moderator(Policy.parse(POLICY % folder))
    text = Part("text", "a man holding a gun, a naked woman and a pile of cocaine")
    assert moderator.moderate([text, Part.from_image(drawing("tree"))]).scores == {}


def test_captions_do_not_depend_on_their_neighbours(blip: BlipFilter, folder: Path) -> None:
    images = [drawing(thing, 7) for thing in DRAWINGS]
    together = captions(blip, *images)
    alone = BlipFilter(model=folder, batch=1, cache=0)
    alone.load()
    assert [captions(alone, image)[0] for image in images] == together
    assert captions(alone, *images[::-1])[::-1] == together
    beams = BlipFilter(model=folder, beams=3)
    beams.load()
    assert captions(beams, *images) == together


def test_frames_are_captioned_each_and_equal_captions_said_once(blip: BlipFilter) -> None:
    stream = BytesIO()
    frames = [drawing("flower"), drawing("gun"), drawing("flower", 1)]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    [caption] = captions(blip, stream.getvalue())
    assert sorted(caption.split("\n")) == sorted({DRAWINGS["flower"], DRAWINGS["gun"]})


def test_equal_images_are_captioned_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = BlipFilter(model=folder)
    fresh.load()
    generate, asked = BlipFilter._generate, []

    def count(self: BlipFilter, frames: Any) -> list[str]:
        asked.append(len(frames))
        return generate(self, frames)

    monkeypatch.setattr(BlipFilter, "_generate", count)
    boat, car = drawing("boat"), drawing("car")
    first = captions(fresh, boat, boat.copy(), car)
    assert captions(fresh, car, boat) == [first[2], first[0]]
    assert asked == [2]
    assert first[0] == first[1]


def test_odd_images_are_captioned_too(blip: BlipFilter) -> None:
    for size in ((1, 1), (2000, 3), (3, 2000)):
        assert len(captions(blip, Image.new("L", size, 128))) == 1


def test_captions_are_no_longer_than_asked_for(folder: Path) -> None:
    short = BlipFilter(model=folder, max_tokens=3)
    short.load()
    [caption] = captions(short, drawing("gun"))
    assert DRAWINGS["gun"].startswith(caption)
    assert len(caption.split()) <= 3


def test_the_fingerprint_is_of_the_weights_and_of_what_changes_captions(
    blip: BlipFilter, folder: Path, tmp_path: Path
) -> None:
    again = BlipFilter(model=folder, cache=7, batch=2)
    again.load()
    assert again.fingerprint() == blip.fingerprint()
    other = BlipFilter(model=folder, beams=2)
    other.load()
    tiny_blip.make(tmp_path, steps=1, seeds=1)
    retrained = BlipFilter(model=tmp_path)
    retrained.load()
    assert len({blip.fingerprint(), other.fingerprint(), retrained.fingerprint()}) == 3


# Without the weights


@pytest.fixture
def empty_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path


def test_without_weights_the_error_says_what_to_do(empty_hub: Path) -> None:
    with pytest.raises(ArtifactError, match="moderation models fetch Salesforce/blip") as info:
        BlipFilter().load()
    assert "990.0 MB" in str(info.value)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        BlipFilter(model=empty_hub).load()


@pytest.mark.parametrize(
    ("on_error", "action"), [("skip", Action.ALLOW), ("review", Action.REVIEW)]
)
def test_without_weights_the_policy_rules(
    empty_hub: Path, on_error: str, action: Action, caplog: pytest.LogCaptureFixture
) -> None:
    text = POLICY.replace(", options: {model: %s}}", f", on_error: {on_error}}}")
    moderator = Moderator(Policy.parse(text))
    with caplog.at_level(logging.ERROR, "moderation"):
        verdicts = moderator.moderate_batch([Part.from_image(drawing("gun"))] * 3)
    assert [verdict.action for verdict in verdicts] == [action] * 3
    assert all(verdict.degraded for verdict in verdicts)
    assert verdicts[0].trace[0].status == "failed"
    assert len(caplog.records) == 1  # said once, not with every image
    assert "moderation models fetch" in caplog.text


def test_another_kind_of_model_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    config = (tmp_path / "config.json").read_text().replace('"blip"', '"bert"')
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ArtifactError, match="expected a BLIP model, found one of type 'bert'"):
        BlipFilter(model=tmp_path).load()


def test_damaged_weights_are_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ArtifactError, match="cannot be loaded as a BLIP model"):
        BlipFilter(model=tmp_path).load()


# The list of captions


@pytest.fixture(scope="module")
def images() -> Moderator:
    return Moderator("images")


@pytest.mark.parametrize(
    ("caption", "category"),
    [
        ("a man holding a gun in his hand", "weapons"),
        ("a soldier with a machine gun on his shoulder", "weapons"),
        ("two men with rifles standing in front of a car", "weapons"),
        ("a woman holding a large knife", "weapons"),
        ("a hand grenade on a table", "weapons"),
        ("a man lying on the ground covered in blood", "violence_graphic"),
        ("a woman with a bloody face", "violence_graphic"),
        ("a dead body lying in the street", "violence_graphic"),
        ("a naked woman lying on a bed", "sexual"),
        ("a nude man standing in a shower", "sexual"),
        ("a bag of cocaine on a table", "drugs"),
        ("a woman smoking a joint", "drugs"),
        ("a marijuana plant in a pot", "drugs"),
        ("a rope noose hanging from a tree", "self_harm"),
        ("a man holding a gun to his head", "self_harm"),
        ("a girl with cuts on her arm", "self_harm"),
    ],
)
def test_scenes_to_look_at_are_found(images: Moderator, caption: str, category: str) -> None:
    verdict = images.moderate(Part("caption", caption))
    assert verdict.scores[category] >= 0.6
    assert verdict.flagged


@pytest.mark.parametrize(
    "caption",
    [
        "a kitchen knife on a cutting board",
        "a plate of food with a knife and fork",
        "a chef cutting vegetables with a knife on a wooden cutting board",
        "a child playing with a water gun",
        "a little boy holding a toy gun",
        "a person using a hot glue gun",
        "a mechanic with a grease gun",
        "a blood orange cut in half",
        "a woman donating blood in a hospital",
        "a person holding a blood pressure monitor",
        "a red blood moon over a city",
        "a marble statue of a naked man",
        "a naked baby in a bath tub",
        "a pair of nude heels",
        "grilled chicken breasts on a plate",
        "a nurse holding a syringe",
        "a sign on a drug store",
        "a man with a weed whacker in a garden",
        "a bullet train at a station",
        "a bath bomb in a glass bowl",
        "a girl hanging from a rope swing",
        "a man cutting a woman's hair",
        "a dog lying on a bed",
        "a tank top on a hanger",
    ],
)
def test_their_harmless_neighbours_are_not(images: Moderator, caption: str) -> None:
    verdict = images.moderate(Part("caption", caption))
    assert not verdict.flagged


def test_options_are_checked() -> None:
    for options in ("{model: ''}", "{beams: 0}", "{batch: 1.5}", "{size: 3}", "{max_tokens: 900}"):
        with pytest.raises(ConfigError, match=r"steps\[0\]\.options"):
            Moderator(Policy.parse(POLICY.replace("{model: %s}", options)))
