"""The plugins in `plugins/` and in the guide work as they are shown."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from moderation import Action, Moderator, Policy, hookspecs
from moderation.cli import main
from moderation.plugins import Registry
from moderation.testing import check_filter

ROOT = Path(__file__).parent.parent
SHOUTING = ROOT / "plugins" / "shouting.py"
AUDIT = ROOT / "plugins" / "moderation-audit"
GUIDE = ROOT / "docs" / "plugins.md"

BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE = re.compile(r"# ([\w.-]+\.(?:py|yaml|toml|txt))\n")

POLICY = """
name: shouting
plugins: [./shouting.py]
steps:
  - {name: shouting, filter: shouting, options: {limit: 0.8}}
thresholds: {shouting: {review: 0.8, block: 0.99}}
"""


def run(command: list[str], folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1", **env},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_one_file_plugin_has_at_most_15_lines() -> None:
    lines = [line for line in SHOUTING.read_text(encoding="utf-8").splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("LEAVE ME ALONE", Action.BLOCK),
        ("LEAVE ME ALONe", Action.REVIEW),
        ("leave me alone", Action.ALLOW),
        ("OK", Action.ALLOW),
    ],
)
def test_the_one_file_plugin_works_through_a_policy(text: str, action: Action) -> None:
    policy = Policy.parse(POLICY, folder=SHOUTING.parent)
    assert Moderator(policy).moderate(text).action is action


def test_the_one_file_plugin_keeps_the_contract() -> None:
    cls = Registry([SHOUTING]).filters["shouting"]
    assert check_filter(cls(), expected={"LEAVE ME ALONE": {"shouting"}, "hello": ()}) == []


def test_the_plugins_folder_is_proved_from_the_command_line() -> None:
    done = CliRunner().invoke(main, ["plugins", "--check", "--folder", str(SHOUTING.parent)])
    assert str(SHOUTING) in done.output
    assert "ok    shouting: keeps the contract" in done.output


def test_every_hook_with_its_arguments_is_in_the_guide() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    hooks = {name: spec for name, spec in vars(hookspecs).items() if name.startswith("moderation_")}
    assert hooks
    for name, spec in hooks.items():
        arguments = ", ".join(inspect.signature(spec).parameters)
        assert f"`{name}({arguments})`" in guide


def test_the_guide_runs(tmp_path: Path) -> None:
    """Named blocks are files, bash blocks are run beside them, text blocks are their output."""
    ran, output = 0, ""
    for language, flags, code in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        named = FILE.match(code)
        if named:
            (tmp_path / named[1]).write_text(code, encoding="utf-8")
        if language == "text" and not named and output:
            for line in code.splitlines():
                assert line.strip() in output
        output = ""
        if language == "bash" and "skip" not in flags:
            done = run(["bash", "-e", "-c", code], tmp_path)
            assert done.returncode in ((0, 3, 4) if "moderation check" in code else (0,)), (
                f"{code}\n{done.stdout}\n{done.stderr}"
            )
            output, ran = done.stdout, ran + 1
        elif language == "python" and not (named and named[1].startswith("test_")):
            (tmp_path / "block.py").write_text(code, encoding="utf-8")
            done = run([sys.executable, "-W", "error", "block.py"], tmp_path)
            assert done.returncode == 0, f"{code}\n{done.stderr}"
            ran += 1
    assert ran >= 12
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["moderation.plugins"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the packaged plugin was built and installed into."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    if importlib.util.find_spec("hatchling"):
        command.append("--no-build-isolation")  # needs no package registry
    done = run([*command, str(AUDIT)], folder)
    if done.returncode and "No matching distribution found for hatchling" in done.stderr:
        pytest.skip("hatchling is neither installed nor to be had from a package registry")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_packaged_plugin_passes_its_own_tests(installed: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(AUDIT)]
    done = run(command, installed, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stdout
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE)
    assert "skipped" not in done.stdout


@pytest.mark.slow
def test_the_packaged_plugin_audits_the_command_line(installed: Path, tmp_path: Path) -> None:
    (tmp_path / "shouting.py").write_bytes(SHOUTING.read_bytes())
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    command = ["moderation", "check", "--policy", "policy.yaml", "--plugin", "audit", "LEAVE ME BE"]
    audit = tmp_path / "audit.jsonl"

    unset = run(command, tmp_path, PYTHONPATH=str(installed), MODERATION_AUDIT_FILE="")
    assert unset.returncode == 1
    assert "MODERATION_AUDIT_FILE is not set" in unset.stderr

    done = run(command, tmp_path, PYTHONPATH=str(installed), MODERATION_AUDIT_FILE=str(audit))
    assert done.returncode == 4, done.stderr
    [line] = audit.read_text(encoding="utf-8").splitlines()
    assert '"action":"block"' in line
    assert "LEAVE" not in line
