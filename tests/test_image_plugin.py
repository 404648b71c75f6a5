"""The image classifier in `plugins/`: any model of the Hub, its labels mapped in the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PIL", reason="needs moderation[images]")
pytest.importorskip("transformers", reason="needs moderation[images]")

import torch
from PIL import Image
from transformers import ViTConfig, ViTForImageClassification

from moderation import Action, Content, Moderator, Part, Policy
from moderation.plugins import Registry

PLUGIN = Path(__file__).parent.parent / "plugins" / "image_classifier.py"

POLICY = """
name: nsfw
plugins: [%s]
steps:
  - name: shown
    filter: image_classifier
    options: {model: %s, labels: {nsfw: sexual}}
    on_error: %s
thresholds:
  sexual: {review: 0.5, block: 0.9}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vision transformer with the labels of the example, trained to tell red from blue."""
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=16,
        id2label={0: "normal", 1: "nsfw"},
        label2id={"normal": 0, "nsfw": 1},
    )
    model = ViTForImageClassification(config)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(60):
        labels = torch.randint(2, (16,))
        pixels = torch.rand(16, 3, 32, 32) * 0.4 - 1
        pixels[torch.arange(16), 2 - 2 * labels] += 1.6  # red is nsfw, blue is not
        loss = model(pixel_values=pixels, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = tmp_path_factory.mktemp("vit")
    model.eval().save_pretrained(folder)
    settings = {
        "image_processor_type": "ViTImageProcessor",
        "do_resize": True,
        "do_normalize": True,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"height": 32, "width": 32},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


def image(colour: str) -> Part:
    return Part.from_image(Image.new("RGB", (60, 40), colour))


@pytest.fixture(scope="module")
def classifier(folder: Path) -> Any:
    cls = Registry([PLUGIN]).filters["image_classifier"]
    filter_ = cls(model=folder, labels={"nsfw": "sexual"})  # type: ignore[call-arg]
    filter_.load()
    return filter_


def test_in_a_policy(folder: Path) -> None:
    moderator = Moderator(Policy.parse(POLICY % (PLUGIN, folder, "raise")))
    bad, good = moderator.moderate_batch([[Part("text", "look"), image("red")], image("blue")])
    assert bad.action is Action.BLOCK
    assert [(signal.part, signal.category, signal.span) for signal in bad.signals] == [
        (1, "sexual", None)
    ]
    assert bad.signals[0].reason == "label nsfw"
    assert good.action is Action.ALLOW
    assert good.scores["sexual"] < 0.5


def test_scores_are_those_of_the_model(classifier: Any, folder: Path) -> None:
    model = ViTForImageClassification.from_pretrained(folder)
    for colour in ("red", "blue", "purple"):
        pixels = torch.tensor(Image.new("RGB", (32, 32), colour).getpixel((0, 0))) / 255 * 2 - 1
        with torch.no_grad():
            logits = model(pixels[None, :, None, None].expand(1, 3, 32, 32)).logits
        [[signal]] = classifier.check_batch([Content.of(image(colour))])
        assert signal.score == pytest.approx(logits.softmax(-1)[0, 1].item(), abs=1e-5)


def test_the_worst_frame_counts_and_neighbours_do_not(classifier: Any) -> None:
    from io import BytesIO

    stream = BytesIO()
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("blue", "red", "blue")]
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    contents = [Content.of(part) for part in (Part.from_image(stream.getvalue()), image("blue"))]
    [[moving], [still]] = classifier.check_batch(contents)
    [[red]] = classifier.check_batch([Content.of(image("red"))])
    assert moving.score == pytest.approx(red.score, abs=1e-3)
    assert still.score < 0.5
    [[again]] = classifier.check_batch(contents[1:])
    assert again.score == still.score


def test_a_label_that_the_model_does_not_have_is_named(folder: Path) -> None:
    text = (POLICY % (PLUGIN, folder, "review")).replace("nsfw: sexual", "porn: sexual")
    moderator = Moderator(Policy.parse(text))
    moderator.load()
    assert "the model has no 'porn'; it has normal, nsfw" in moderator.faults()["shown"]


@pytest.mark.parametrize(
    ("on_error", "action"), [("skip", Action.ALLOW), ("review", Action.REVIEW)]
)
def test_without_the_weights_the_policy_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_error: str, action: Action
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    moderator = Moderator(
        Policy.parse(POLICY % (PLUGIN, "Falconsai/nsfw_image_detection", on_error))
    )
    verdict = moderator.moderate(image("red"))
    assert verdict.action is action
    assert verdict.degraded
    assert "moderation models fetch Falconsai/nsfw_image_detection" in verdict.trace[0].reason
