"""The Dockerfile, read: there may be no Docker here to build it with."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from moderation.cli import main

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def stages() -> list[list[tuple[str, str]]]:
    """Instructions of each stage: name and arguments."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    found: list[list[tuple[str, str]]] = []
    for line in filter(None, lines):
        name, _, arguments = line.partition(" ")
        if name == "FROM":
            found.append([])
        found[-1].append((name, arguments))
    return found


def test_last_stage_has_no_rights_and_nothing_to_build_with(
    stages: list[list[tuple[str, str]]],
) -> None:
    [user] = [arguments for name, arguments in stages[-1] if name == "USER"]
    assert user.isdigit()  # Kubernetes can tell that a number is not root
    assert int(user) > 0
    after = [name for name, _ in stages[-1][stages[-1].index(("USER", user)) :]]
    assert "USER" not in after[1:]
    assert "RUN" not in after
    assert all("pip install" not in arguments for _, arguments in stages[-1])
    assert all(name != "ADD" for stage in stages for name, _ in stage)


def test_what_is_copied_is_there_and_not_ignored(stages: list[list[tuple[str, str]]]) -> None:
    kept = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    for name, arguments in stages[0]:
        if name == "COPY":
            for source in arguments.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in kept
    # What the build reads beside them.
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for file in ("README.md", "LICENSE", "NOTICE", "configs"):
        assert file in project
        assert file in kept


def test_command_is_one_that_the_package_has(stages: list[list[tuple[str, str]]]) -> None:
    [entry] = [json.loads(arguments) for name, arguments in stages[-1] if name == "ENTRYPOINT"]
    assert entry[:2] == ["moderation", "serve"]
    serve = main.commands["serve"]
    told = serve.make_context("serve", entry[2:]).params
    assert told["host"] == "0.0.0.0"  # noqa: S104  # of the container
    [port] = [arguments for name, arguments in stages[-1] if name == "EXPOSE"]
    assert told["port"] == int(port)
    [check] = [arguments for name, arguments in stages[-1] if name == "HEALTHCHECK"]
    command = json.loads(check[check.index("[") :])
    compile(command[2], "healthcheck", "exec")
    assert f":{port}/health" in command[2]


def test_extra_of_the_image_exists(stages: list[list[tuple[str, str]]]) -> None:
    import tomllib

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert ("ARG", "EXTRAS=server") in stages[0]
    assert {"server", "images", "ui"} <= extras.keys()
