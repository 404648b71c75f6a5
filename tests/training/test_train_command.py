"""`moderation train`: what the command prints, writes and refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

pytest.importorskip("torch")
pytest.importorskip("pandas")

from moderation.cli import main
from moderation.models import Classifier
from moderation.training import trainer as trainer_module


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MODERATION_DATA", raising=False)
    monkeypatch.delenv("MODERATION_MODELS", raising=False)


@pytest.fixture
def classes_file(recipe_file: Path, rows: list[dict[str, Any]]) -> Path:
    """A recipe for classes, named by their column, of a file without splits."""
    with (recipe_file.parent / "classes.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            kind = ("rude" if row["insult"] else "kind") + (" & loud" if "!" in row["text"] else "")
            file.write(json.dumps({"text": row["text"], "kind": kind}) + "\n")
    content = yaml.safe_load(recipe_file.read_text())
    del content["labels"]
    content |= {"task": "multi_class", "preparation": {"clean": ["urls", "case"]}}
    content["data"] = [{"kind": "table", "path": "classes.jsonl", "target": "kind"}]
    content["model"]["spans"] = False
    recipe_file.write_text(yaml.safe_dump(content))
    return recipe_file


def train(recipe: Path, *options: str) -> Result:
    folder = recipe.parent
    return CliRunner().invoke(
        main,
        ["train", str(recipe), "--runs", str(folder / "runs"), *options],
        env={"HF_HUB_OFFLINE": "1"},
    )


def changed(recipe: Path, **sections: dict[str, Any]) -> Path:
    content = yaml.safe_load(recipe.read_text())
    for name, fields in sections.items():
        content.setdefault(name, {}).update(fields)
    recipe.write_text(yaml.safe_dump(content))
    return recipe


def left_behind(folder: Path) -> list[str]:
    return [
        str(path) for path in folder.rglob("*") if path.name.startswith(".") or ".part" in path.name
    ]


def test_classes_from_a_file_without_splits(classes_file: Path) -> None:
    result = train(classes_file, "--output", str(classes_file.parent / "model"))
    assert result.exit_code == 0, result.output

    assert result.stdout.strip() == str(classes_file.parent / "model")
    assert "TF-IDF baseline" in result.stderr
    model = Classifier.load(classes_file.parent / "model")
    assert model.labels == ("kind", "kind & loud", "rude", "rude & loud")
    texts = ["you are such a FOOL .", "my friend is here !"]
    assert [model.labels[place] for place in model.predict_proba(texts).argmax(axis=1)] == [
        "rude",
        "kind & loud",
    ]
    # Cleaning is kept with the model.
    one, two = model.predict_proba(
        ["a fool http://a.example !", "a fool https://other.example/b !"]
    )
    assert one.tolist() == two.tolist()
    row = model.card.metrics["baseline"]
    assert row["accuracy"]["model"][0] == pytest.approx(model.card.metrics["accuracy"], abs=1e-4)
    card = (classes_file.parent / "model" / "README.md").read_text(encoding="utf-8")
    assert "Beside a baseline (TF-IDF" in card
    assert not left_behind(classes_file.parent)


def test_labels_are_measured_beside_the_baseline(recipe_file: Path) -> None:
    changed(recipe_file, optimisation={"epochs": 1})
    result = train(recipe_file)
    assert result.exit_code == 0, result.output
    model = Classifier.load(recipe_file.parent / "runs" / "tiny" / "model")
    assert model.card.metrics["baseline"]["mean AUC"].keys() == {"model", "baseline", "gap"}


def test_an_interrupted_run_says_so_and_is_resumed(
    classes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = trainer_module.Run.save

    def interrupt(self: Any, progressed: Any, *rest: Any) -> None:
        save(self, progressed, *rest)
        if progressed.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Run, "save", interrupt)
        stopped = train(classes_file)
    assert stopped.exit_code == 1
    assert "interrupted; the same command with --resume goes on" in stopped.stderr
    assert not (classes_file.parent / "runs" / "tiny" / "model").exists()

    resumed = train(classes_file, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "epoch 1:" not in resumed.stderr
    assert "epoch 3:" in resumed.stderr


def test_a_run_that_was_killed_is_resumed(classes_file: Path) -> None:
    changed(classes_file, optimisation={"epochs": 8, "patience": 8})
    runs = classes_file.parent / "runs"
    state = runs / "tiny" / "state.json"
    command = ["-m", "moderation", "train", str(classes_file), "--runs", str(runs)]
    with subprocess.Popen(
        [sys.executable, *command],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    ) as running:
        until = time.monotonic() + 120
        while not state.exists() and time.monotonic() < until:
            time.sleep(0.01)
        running.kill()
    assert running.returncode == -signal.SIGKILL
    assert not (runs / "tiny" / "model").exists()

    resumed = train(classes_file, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "epoch 1:" not in resumed.stderr
    assert Classifier.load(runs / "tiny" / "model").card.task == "multi_class"


def test_tuning_then_training_with_the_best(classes_file: Path) -> None:
    changed(
        classes_file,
        tuning={"space": {"optimisation.learning_rate": [1e-5, 0.02]}},
        optimisation={"epochs": 2},
    )
    result = train(classes_file, "--tune", "4")
    assert result.exit_code == 0, result.output

    folder = classes_file.parent / "runs" / "tiny"
    report = json.loads((folder / "tune.json").read_text())
    assert report["trials"] == 4
    assert report["best settings"] == {"optimisation.learning_rate": 0.02}
    card = Classifier.load(folder / "model").card
    assert card.metrics["tuned to"] == {"optimisation.learning_rate": 0.02}
    assert card.command == "moderation train recipe.yaml --tune 4"
    again = train(classes_file, "--tune", "4", "--resume")
    assert again.exit_code == 0, again.output
    assert "4 of 4 trials are done" in again.stderr
    assert "epoch" not in again.stderr


def test_scarce_classes_are_augmented_on_the_training_part_only(
    classes_file: Path, wordnet_folder: Path
) -> None:
    pytest.importorskip("nltk")
    table = (classes_file.parent / "classes.jsonl").read_text().splitlines()
    few = [line for line in table if '"rude"' in line][:20]
    rest = [line for line in table if '"rude"' not in line]
    (classes_file.parent / "classes.jsonl").write_text("\n".join(few + rest))
    changed(
        classes_file,
        easy_data={"wordnet": str(wordnet_folder), "fill": 1.0, "most": 2},
        optimisation={"epochs": 1},
    )
    result = train(classes_file)
    assert result.exit_code == 0, result.output
    # 16 of 20 rows are trained on.
    assert "rows added by easy data augmentation" in result.stderr
    card = Classifier.load(classes_file.parent / "runs" / "tiny" / "model").card
    assert f"{card.data.rows:,} rows to train on" in result.stderr


def test_a_folder_that_is_no_model_is_not_replaced(classes_file: Path) -> None:
    result = train(classes_file, "--output", str(classes_file.parent))
    assert result.exit_code == 1
    assert "is there and is no model folder" in result.stderr
    assert classes_file.exists()


@pytest.mark.parametrize("option", ["--output", "--runs"])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_trained(
    classes_file: Path, option: str
) -> None:
    result = train(classes_file, option, str(classes_file / "below"))
    assert result.exit_code == 1
    assert f"{classes_file} is no folder that may be written to" in result.stderr
    assert "rows to train on" not in result.stderr


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no model.safetensors; weights in other files are not read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", "is damaged"),
    ],
)
def test_a_base_without_its_weights(
    classes_file: Path, base: Path, content: bytes | None, expected: str
) -> None:
    folder = classes_file.parent / "half-a-base"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes((base / "tokenizer.json").read_bytes())
    if content is not None:
        (folder / "model.safetensors").write_bytes(content)
    changed(classes_file, model={"base": folder.name})
    result = train(classes_file)
    assert result.exit_code == 1
    assert expected in result.stderr
    assert str(folder) in result.stderr


def test_a_model_is_replaced_by_the_next(classes_file: Path) -> None:
    changed(classes_file, optimisation={"epochs": 1})
    assert train(classes_file).exit_code == 0
    model = classes_file.parent / "runs" / "tiny" / "model"
    first = Classifier.load(model).fingerprint
    changed(classes_file, optimisation={"learning_rate": 0.01})
    assert train(classes_file).exit_code == 0
    assert Classifier.load(model).fingerprint != first
    assert not left_behind(classes_file.parent)


def test_a_full_disk(classes_file: Path) -> None:
    """Files may grow to a few kilobytes only, so that writing the first checkpoint fails."""
    pytest.importorskip("resource")
    result = _limited(classes_file, 4_000)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("moderation: ")
    assert "the checkpoint cannot be written" in result.stderr
    assert "--resume" in result.stderr
    assert "Traceback" not in result.stderr
    assert not left_behind(classes_file.parent)
    assert not (classes_file.parent / "runs" / "tiny" / "model").exists()


def test_a_disk_that_fills_up_while_the_model_is_written(
    classes_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = Path.write_text

    def full(self: Path, *args: Any, **options: Any) -> int:
        if self.name == "tokenizer.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self))
        return write(self, *args, **options)

    changed(classes_file, optimisation={"epochs": 1})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        result = train(classes_file)
    assert result.exit_code == 1
    assert "No space left on device; make room or give another place" in result.stderr
    assert not (classes_file.parent / "runs" / "tiny" / "model").exists()
    assert not left_behind(classes_file.parent)

    # Nothing is trained twice.
    resumed = train(classes_file, "--resume")
    assert resumed.exit_code == 0, resumed.output
    assert "epoch 1:" not in resumed.stderr


def _limited(recipe: Path, limit: int) -> subprocess.CompletedProcess[str]:
    code = (
        "import resource, sys\n"
        "from moderation.training import train\n"
        "import moderation.training.run\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "from moderation.cli import main\n"
        "main()\n"
    )
    command = ["train", str(recipe), "--runs", str(recipe.parent / "runs")]
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        timeout=200,
    )


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({"data": {"target": "sort"}}, "no column sort; the file has text, kind"),
        ({"data": {"path": "none.csv"}}, "no such file; set data_root"),
        ({"data": {"text": ["body"]}}, "no column body"),
        ({"model": {"base": "nobody/nothing"}}, "no folder with a tokenizer.json at"),
        ({"model": {"embedding": 99}}, "99 is above the 32 of the base's embeddings"),
        ({"optimisation": {"learning_rate": 1e30, "clip": 1e30}}, "the loss is nan"),
        ({"preparation": {"validation": 0.002}}, "a validation part of 1 rows cannot hold 4"),
        ({"easy_data": {"wordnet": "nowhere"}}, "install Debian's wordnet-base"),
        ({"optimisation": {"label_weights": {"calm": 2}}}, "calm: not among labels"),
        ({"optimisation": {"epoch": 2}}, "optimisation.epoch"),
        ({"model": {"stride": 30}}, "model.stride: 30 is too much of a window of 32"),
    ],
)
def test_what_cannot_be_trained_is_one_line_and_no_model(
    classes_file: Path, sections: dict[str, Any], expected: str
) -> None:
    content = yaml.safe_load(classes_file.read_text())
    for name, fields in sections.items():
        place = content["data"][0] if name == "data" else content.setdefault(name, {})
        place.update(fields)
    classes_file.write_text(yaml.safe_dump(content))
    result = train(classes_file)

    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("moderation: ")]
    assert expected in line
    assert not (classes_file.parent / "runs" / "tiny" / "model").exists()
    assert not left_behind(classes_file.parent)


def test_no_recipe(tmp_path: Path) -> None:
    result = train(tmp_path / "none.yaml")
    assert result.exit_code == 1
    assert "no such recipe" in result.stderr


def test_recipes_that_are_shipped_can_be_read() -> None:
    from moderation.training import read_recipe

    folder = Path(__file__).parents[2] / "configs" / "training"
    recipes = {file.stem: read_recipe(file) for file in sorted(folder.glob("*.yaml"))}
    for name in ("ag-news", "twitter-sentiment", "hate-tweets"):
        kinds = {recipes[f"{name}-{kind}"].model.kind for kind in ("lstm", "distilbert")}
        assert kinds == {"lstm", "distilbert"}
        assert recipes[f"{name}-lstm"].data == recipes[f"{name}-distilbert"].data


def test_the_recipe_in_the_docs_trains(tmp_path: Path, base: Path, wordnet_folder: Path) -> None:
    """With every section that the page shows."""
    pytest.importorskip("nltk")
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = [yaml.safe_load(code) for code in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    content = blocks[0]
    for block in blocks[1:]:
        if (
            block.get("model", {}).get("kind") != "distilbert"
        ):  # another model, on a page of its own
            content |= block
    content["model"]["base"] = str(base)
    content["model"]["embedding"] = 16
    content["optimisation"]["epochs"] = 1
    content["easy_data"]["wordnet"] = str(wordnet_folder)
    recipe = tmp_path / "tickets.yaml"
    recipe.write_text(yaml.safe_dump(content))
    lines = ["subject,body,queue"]
    for number in range(300):
        queue = ("printer", "mail", "lights" if number % 30 == 2 else "mail")[number % 3]
        lines.append(f"{queue} {number},the {queue} does nothing,{queue}")
    (tmp_path / "tickets.csv").write_text("\n".join(lines))

    result = train(recipe)
    assert result.exit_code == 0, result.output
    model = Classifier.load(tmp_path / "runs" / "tickets" / "model")
    assert model.labels == ("mail", "printer", "other")


def test_one_yes_or_no_label(recipe_file: Path) -> None:
    content = yaml.safe_load(recipe_file.read_text())
    content |= {"labels": ["insult"], "data": content["data"][:1]}
    content["optimisation"]["epochs"] = 2
    recipe_file.write_text(yaml.safe_dump(content))
    result = train(recipe_file)
    assert result.exit_code == 0, result.output
    model = Classifier.load(recipe_file.parent / "runs" / "tiny" / "model")
    assert model.labels == ("insult",)
    assert model.predict_proba(["a fool", "a friend"]).shape == (2, 1)
