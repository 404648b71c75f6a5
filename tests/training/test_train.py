"""From a recipe and a file to a model folder, in seconds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

pytest.importorskip("torch")

from safetensors.numpy import load_file

from moderation.errors import ConfigError
from moderation.models import Classifier
from moderation.training import train
from moderation.training import trainer as trainer_module
from moderation.training.trainer import TrainingError


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODERATION_DATA", raising=False)
    monkeypatch.delenv("MODERATION_MODELS", raising=False)


def changed(recipe_file: Path, section: str, **fields: Any) -> Path:
    content = yaml.safe_load(recipe_file.read_text())
    content.setdefault(section, {}).update(fields)
    recipe_file.write_text(yaml.safe_dump(content))
    return recipe_file


def test_a_recipe_becomes_a_model_that_has_learnt(recipe_file: Path, tmp_path: Path) -> None:
    folder = train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")

    model = Classifier.load(folder)
    assert model.labels == ("insult", "loud")
    predictions = model.predict(["you are such a fool .", "you are such a friend !"])
    bad, good = (prediction.probabilities for prediction in predictions)
    assert bad[0] > 0.8 > 0.2 > good[0]
    assert good[1] > 0.8 > 0.2 > bad[1]
    assert [(span.begin, span.end) for span in predictions[0].spans] == [(15, 19)]
    assert predictions[1].spans == []

    card = model.card
    assert card.data.rows == 480
    assert card.data.sources == {"data": 360, "spans": 120}
    assert card.seed == 7
    assert card.command == "moderation train recipe.yaml"
    assert card.metrics["test"]["insult"]["AUC"][0] > 0.95
    assert card.metrics["spans"]["character F1"][0] > 0.8
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert card.data.fingerprint in text
    assert "moderation train recipe.yaml" in text
    numbers = json.loads((tmp_path / "runs" / "tiny" / "report.json").read_text(encoding="utf-8"))
    assert numbers["history"][0]["epoch"] == 1
    measured = card.metrics["test"]["insult"]
    assert numbers["labels"]["insult"]["AUC"][0] == measured["AUC"][0]
    assert (tmp_path / "runs" / "tiny" / "report.html").exists()


def test_resumed_training_ends_with_the_same_weights(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe_file, output=tmp_path / "model one", runs=whole)

    save = trainer_module.Run.save
    saved: list[int] = []

    def interrupt(self: Any, progressed: Any, *rest: Any) -> None:
        save(self, progressed, *rest)
        saved.append(progressed.epoch)
        if progressed.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Run, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_file, output=tmp_path / "model two", runs=broken)
    assert saved == [1, 2]
    assert not (tmp_path / "model two").exists()
    train(recipe_file, output=tmp_path / "model two", runs=broken, resume=True)

    one = load_file(whole / "tiny" / "best.safetensors")
    two = load_file(broken / "tiny" / "best.safetensors")
    assert one.keys() == two.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], two[name])
    fingerprints = [Classifier.load(tmp_path / f"model {n}").fingerprint for n in ("one", "two")]
    assert fingerprints[0] == fingerprints[1]


def test_a_run_of_another_recipe_is_not_resumed(recipe_file: Path, tmp_path: Path) -> None:
    changed(recipe_file, "optimisation", epochs=1)
    train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    changed(recipe_file, "optimisation", epochs=2)

    with pytest.raises(ConfigError, match="another recipe or other data"):
        train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs", resume=True)


@pytest.mark.parametrize("name", ["state.json", "epoch-001.safetensors", "best.safetensors"])
def test_a_damaged_checkpoint_is_not_gone_on_from(
    recipe_file: Path, tmp_path: Path, name: str
) -> None:
    changed(recipe_file, "optimisation", epochs=1)
    train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    file = tmp_path / "runs" / "tiny" / name
    file.write_bytes(file.read_bytes()[:40])

    with pytest.raises(ConfigError, match=r"cannot be read .*; train without --resume"):
        train(recipe_file, output=tmp_path / "again", runs=tmp_path / "runs", resume=True)
    assert not (tmp_path / "again").exists()


def test_a_loss_that_is_no_number_ends_the_run(recipe_file: Path, tmp_path: Path) -> None:
    changed(recipe_file, "optimisation", learning_rate=1e30, clip=1e30)

    with pytest.raises(TrainingError, match="lower optimisation"):
        train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    assert not (tmp_path / "model").exists()


def test_classes_one_of_many(recipe_file: Path, tmp_path: Path, base: Path) -> None:
    content = yaml.safe_load(recipe_file.read_text())
    frame = (tmp_path / "data.csv").read_text().splitlines()
    lines = ["text,kind,split"]
    for line in frame[1:]:
        text, insult, _, split = line.rsplit(",", 3)
        lines.append(f"{text},{'rude' if insult == '1' else 'kind'},{split}")
    (tmp_path / "classes.csv").write_text("\n".join(lines))
    content |= {"task": "multi_class", "labels": ["rude", "kind"]}
    content["data"] = [{"kind": "table", "path": "classes.csv", "split": "split", "target": "kind"}]
    content["model"]["spans"] = False
    recipe_file.write_text(yaml.safe_dump(content))

    model = Classifier.load(train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs"))

    probabilities = model.predict_proba(["you are such a fool .", "a friend " * 50])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)
    assert probabilities[0, 0] > 0.7
    assert probabilities[1, 1] > 0.7
    assert model.card.metrics["accuracy"] > 0.9
    assert model.predict(["a fool"])[0].spans == []


def test_a_base_that_is_nowhere_says_where_it_looked(
    recipe_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("MODERATION_MODELS", str(tmp_path / "bases"))
    changed(recipe_file, "model", base="nobody/nothing-of-that-name")

    with pytest.raises(ConfigError, match="MODERATION_MODELS") as caught:
        train(recipe_file, output=tmp_path / "model", runs=tmp_path / "runs")
    assert str(tmp_path / "bases" / "nothing-of-that-name") in str(caught.value)
