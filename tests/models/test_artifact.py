from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from moderation.errors import ArtifactError
from moderation.models import Classifier, read_card
from moderation.models.artifact import FORMAT, new_folder, sha256


@pytest.fixture
def copy(artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(artifact, tmp_path / "model"))


def change(folder: Path, **fields: Any) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **fields}))


def refused(folder: Path, *parts: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        Classifier.load(folder)
    for part in parts:
        assert part in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json"])
class TestDamagedFile:
    def test_truncated(self, copy: Path, name: str) -> None:
        file = copy / name
        file.write_bytes(file.read_bytes()[:-20])
        refused(copy, str(file), "damaged", "copy the model folder again")

    def test_one_bit_flipped(self, copy: Path, name: str) -> None:
        file = copy / name
        content = bytearray(file.read_bytes())
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
        refused(copy, str(file), "damaged")

    def test_missing(self, copy: Path, name: str) -> None:
        (copy / name).unlink()
        refused(copy, str(copy / name), "missing")

    def test_a_folder_in_its_place(self, copy: Path, name: str) -> None:
        (copy / name).unlink()
        (copy / name).mkdir()
        refused(copy, str(copy / name), "cannot be read")

    def test_wrong_content_with_the_right_hash(self, copy: Path, name: str) -> None:
        (copy / name).write_bytes(b"{}")
        files = json.loads((copy / "model.json").read_text())["files"]
        change(copy, files={**files, name: sha256(copy / name)})
        refused(copy, str(copy / name), "upgrade")


def test_no_folder(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere", "no such model folder")


def test_a_folder_without_a_card(tmp_path: Path) -> None:
    refused(tmp_path, "model.json", "missing")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"format": 1}'])
def test_a_card_that_is_none(copy: Path, content: str) -> None:
    (copy / "model.json").write_text(content)
    refused(copy, "model.json", "again")


def test_a_newer_format_says_to_upgrade(copy: Path) -> None:
    change(copy, format=FORMAT + 1, new_field="whatever")
    refused(copy, "model.json", "newer version", "upgrade")


def test_labels_that_the_graph_does_not_have(copy: Path) -> None:
    calibration = {"scale": [1, 1], "offset": [0, 0], "base_rate": [0.5, 0.5], "fitted_on": "-"}
    change(copy, labels=["toxic", "insult"], calibration=calibration)
    refused(copy, "model.onnx", "3 outputs", "2 labels")


def test_calibration_for_another_number_of_labels(copy: Path) -> None:
    change(copy, labels=["toxic", "insult"])
    refused(copy, "model.json", "2 labels, but calibration for 3")


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd"])
def test_files_outside_the_folder_are_not_read(copy: Path, name: str) -> None:
    files = json.loads((copy / "model.json").read_text())["files"]
    change(copy, files={**files, name: "0" * 64})
    refused(copy, "plain file name")


def test_unlisted_files_do_not_matter(copy: Path) -> None:
    (copy / "README.md").write_text("for people")
    assert read_card(copy).name == "tiny"


def test_fingerprint_follows_the_content(artifact: Path, copy: Path) -> None:
    assert Classifier.load(copy).fingerprint == Classifier.load(artifact).fingerprint
    change(copy, span_threshold=0.25)
    assert Classifier.load(copy).fingerprint != Classifier.load(artifact).fingerprint


def test_a_failed_export_leaves_the_old_model_in_place(copy: Path) -> None:
    def export() -> None:
        with new_folder(copy) as scratch:
            (scratch / "model.json").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export()

    assert read_card(copy).name == "tiny"
    assert [entry.name for entry in copy.parent.iterdir()] == [copy.name]


def test_a_finished_export_replaces_the_old_model(copy: Path) -> None:
    with new_folder(copy) as scratch:
        (scratch / "new").write_text("new")

    assert [entry.name for entry in copy.iterdir()] == ["new"]
    assert [entry.name for entry in copy.parent.iterdir()] == [copy.name]
