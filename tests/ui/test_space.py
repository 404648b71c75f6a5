"""What a Space would run, as far as it can be told without installing anything."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from moderation.errors import ModerationError
from moderation.ui import space

ROOT = Path(__file__).parents[2]
FRONT = "---\ntitle: Moderation\nsdk: gradio\nsdk_version: 6.31.0\napp_file: gradio_app.py\n---\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in (space.START, "requirements.txt", "README.md"):
        (tmp_path / name).write_text(FRONT if name == "README.md" else "")
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
    return tmp_path


def said(folder: Path) -> list[tuple[str, str]]:
    return [tuple(each) for each in space.read(folder, space.tracked(folder))]


def test_nothing_to_say_about_a_folder_as_it_should_be(checkout: Path) -> None:
    assert said(checkout) == []


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (FRONT, "# Moderation\n", "no front matter"),
        ("sdk: gradio", "sdk: docker", "expected sdk: gradio, found 'docker'"),
        ("gradio_app.py", "app.py", "expected app_file: gradio_app.py, found 'app.py'"),
        ("sdk_version: 6.31.0\n", "", "expected sdk_version"),
        ("title: Moderation", "title: [", "not YAML"),
    ],
)
def test_front_matter_that_a_space_would_not_take(
    checkout: Path, old: str, new: str, told: str
) -> None:
    readme = checkout / "README.md"
    readme.write_text(readme.read_text().replace(old, new))
    assert [word for word, _ in said(checkout)] == ["FAULT"]
    assert told in said(checkout)[0][1]


def test_a_file_that_a_plain_push_would_not_take(checkout: Path) -> None:
    (checkout / "model.onnx").write_bytes(bytes(space.LARGE + 1))
    subprocess.run(["git", "add", "."], cwd=checkout, check=True)
    assert [word for word, _ in said(checkout)] == ["note"]
    assert "model.onnx has 10.5 MB" in said(checkout)[0][1]


def test_what_git_does_not_track_is_not_uploaded(checkout: Path) -> None:
    (checkout / "README.md").unlink()
    (checkout / "private.txt").write_text("")
    assert {str(file) for file in space.tracked(checkout)} == {space.START, "requirements.txt"}
    assert "README.md is not among" in said(checkout)[0][1]


def test_a_folder_that_is_no_checkout(tmp_path: Path) -> None:
    with pytest.raises(ModerationError, match="expected a git checkout"):
        space.tracked(tmp_path)


def test_a_space_installs_what_the_package_needs() -> None:
    told = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*told["dependencies"], *told["optional-dependencies"]["ui"]}
    given = {
        line.partition("#")[0].strip()
        for line in (ROOT / "requirements.txt").read_text().splitlines()
    }
    assert wanted - given == set()


def test_it_runs_where_it_was_uploaded_without_being_installed(tmp_path: Path) -> None:
    app = tmp_path / "app"
    for name in ("moderation", "configs"):
        shutil.copytree(ROOT / name, app / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / space.START, app)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    # Beside the working folder, an interpreter has nothing of this checkout on its path.
    code = (
        "import sys; sys.path[:] = [p for p in sys.path if p != sys.argv[1]];"
        "import gradio_app, moderation; print(moderation.__file__);"
        "from moderation import Moderator; print(Moderator().moderate('kys').flagged);"
        "print(len(gradio_app.build().fns) > 5)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)],
        cwd=app,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    where, flagged, built = found.stdout.split()
    assert re.match(str(app), where)
    assert (flagged, built) == ("True", "True")
