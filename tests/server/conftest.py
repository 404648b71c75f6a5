"""Services to talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import Running


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """The default policy, without keys; every test of the session shares it."""
    running = Running(tmp_path_factory.mktemp("served") / "log")
    yield running.until_ready()
    running.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts services with options of their own; they end with the test."""
    started: list[Running] = []

    def start(*options: str, env: dict[str, str] | None = None) -> Running:
        started.append(Running(tmp_path / f"log-{len(started)}", *options, env=env))
        return started[-1]

    yield start
    for running in started:
        running.stop()
