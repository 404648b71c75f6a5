"""The package as it is installed: light to import, whole in the wheel."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import moderation

ROOT = Path(__file__).parent.parent
HEAVY = {"torch", "transformers", "gradio", "fastapi", "starlette", "numpy", "onnxruntime"}


def test_import_brings_in_nothing_heavy() -> None:
    code = "import json, sys, moderation; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)}
    assert not loaded & (HEAVY | {"pydantic", "rich", "click"})


def test_a_verdict_needs_no_training_package() -> None:
    code = (
        "import sys, moderation\n"
        "moderation.Moderator().moderate('have a nice day')\n"
        "print(*{m.partition('.')[0] for m in sys.modules} & "
        "{'torch', 'transformers', 'sklearn', 'pandas', 'nltk', 'moderation.training'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_public_name_is_there() -> None:
    for name in moderation.__all__:
        assert getattr(moderation, name) is not None
    assert set(moderation.__all__) <= set(dir(moderation))
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = moderation.nosuch  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_wheel_works_elsewhere(tmp_path: Path) -> None:
    """Built, installed into a bare environment, run from another folder."""
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(tmp_path), str(ROOT)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for needed in (
        "moderation/configs/default.yaml",
        "moderation/verdict.schema.json",
        "moderation/py.typed",
        "moderation/weights/toxicity-lstm/model.onnx",
        "moderation/weights/toxicity-lstm/README.md",
        "moderation/filters/lists/english.txt",
    ):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "runs"))]

    environment = tmp_path / "venv"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "install", "-q", str(wheel)],
        check=True,
        capture_output=True,
        timeout=300,
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [environment / "bin" / "moderation", "check", "--json", "what a lovely day this is"],
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    verdict = json.loads(done.stdout)
    assert verdict["action"] == "allow"
    assert verdict["degraded"] is False
    assert "toxic" in verdict["scores"]
    installed = subprocess.run(
        [python, "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True
    )
    present = {package["name"].lower() for package in json.loads(installed.stdout)}
    assert not present & {"torch", "transformers", "gradio", "scikit-learn", "nltk", "pandas"}
