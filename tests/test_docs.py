"""What the docs show runs, and shows what really comes out."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from moderation import Policy
from moderation.cli import main
from moderation.engine import Moderator

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
EXTRAS = {"images.md": [("rapidocr", "images")], "evaluation.md": [("sklearn", "train")]}
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: Path, language: str) -> list[str]:
    """Fenced blocks of one language; `skip` after the language leaves one out."""
    found = BLOCK.findall(page.read_text(encoding="utf-8"))
    return [code for name, flags, code in found if name == language and "skip" not in flags]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_examples_run(page: Path, tmp_path: Path) -> None:
    """The blocks of a page run in order, as one script, in an empty folder."""
    code = blocks(page, "python")
    if not code:
        pytest.skip(f"{page.name} has no Python example")
    for package, extra in EXTRAS.get(page.name, ()):
        pytest.importorskip(package, reason=f"the page needs moderation[{extra}]")
    script = tmp_path / "example.py"
    script.write_text("\n".join(code), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        cwd=tmp_path,
        env=os.environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_policies_in_the_docs_are_usable(page: Path) -> None:
    found = [code for code in blocks(page, "yaml") if "steps:" in code and "thresholds:" in code]
    if not found:
        pytest.skip(f"{page.name} has no whole policy")
    for code in found:
        assert yaml.safe_load(code)
        policy = Policy.parse(code, where=page.name)
        if not policy.plugins:
            Moderator(policy)


def test_command_line_page_is_what_help_says() -> None:
    """docs/cli.md holds every command's --help; to renew it: python docs/make_cli.py."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_cli.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")


def test_readme_maps_every_package_of_the_field_to_an_extra() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    field = ("transformers", "peft", "torch", "gradio", "pillow", "accelerate", "pluggy")
    for package in (*field, "scikit-learn", "nltk"):
        row = re.search(rf"^\| `{package}` \|(.*)\|$", readme, re.MULTILINE)
        assert row, f"the README does not say which extra brings {package}"
        bringing = [
            name
            for name, needs in extras.items()
            if any(re.match(rf"{package}\b", need) for need in needs)
        ]
        core = any(re.match(rf"{package}\b", need) for need in project["dependencies"])
        assert bringing or core
        for name in bringing:
            assert f"`{name}`" in row[1], f"{package}: the README does not name {name}"


def test_ci_runs_the_readme_test_command() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    command = "pip install -e '.[test]' && python -m pytest"
    assert command in readme
    assert command.replace("install -e", "install -q -e") in (ROOT / ".ci" / "run").read_text(
        encoding="utf-8"
    )


def test_shipped_policies_are_listed_and_usable() -> None:
    listed = CliRunner().invoke(main, ["policy", "show"])
    assert listed.exit_code == 0
    names = [line.split()[0] for line in listed.output.splitlines()]
    assert "default" in names
    for name in names:
        moderator = Moderator(name)
        moderator.load()
        # What needs an extra or weights from elsewhere may be missing; the policy then says so.
        missing = [step for step in moderator.steps if step.filter.name in ("blip", "llama_guard")]
        missing += [step for step in moderator.steps if step.filter.name == "ocr"]
        lines = [step for step in moderator.steps if all(each.fault for each in step.line())]
        assert not [step.spec.name for step in lines if step not in missing], moderator.faults()
        checked = CliRunner().invoke(main, ["policy", "check", name])
        assert checked.exit_code == (1 if moderator.faults() else 0), checked.output


def test_walkthrough_is_what_the_chain_says_but_for_its_numbers() -> None:
    """Structure and words; to renew the page: python docs/make_walkthrough.py."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "docs" / "make_walkthrough.py"), "--print"],
        capture_output=True,
        text=True,
        check=True,
    )
    written = (ROOT / "docs" / "walkthrough.md").read_text(encoding="utf-8")

    def headings(page: str) -> list[str]:
        return [line for line in page.splitlines() if line.startswith(("## ", "`"))]

    assert headings(done.stdout) == headings(written)
    assert "nobody wants you here, you fucking idiot" in done.stdout
