"""One server for all tests of the page, and a headless Chromium in front of it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import pytest

pytest.importorskip("gradio", reason="the extra ui is not installed")

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the page, served by `moderation ui` with a cache folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("server")
    environment = os.environ | {"GRADIO_TEMP_DIR": str(folder / "cache"), "PYTHONPATH": str(ROOT)}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moderation", "ui", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
        address = f"http://127.0.0.1:{port}/"
        try:
            deadline = time.monotonic() + 90
            while True:
                try:
                    with urlopen(address, timeout=5):
                        break
                except (URLError, OSError):
                    told = (folder / "log").read_text()
                    assert process.poll() is None, f"the server ended:\n{told}"
                    assert time.monotonic() < deadline, f"the server does not answer:\n{told}"
                    time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(scope="session")
def server_files(server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the server's `log` and its `cache` of uploaded files."""
    return tmp_path_factory.getbasetemp() / "server0"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, Debian's own or the one that CHROMIUM names.

    Not for the session: until Playwright ends, its event loop counts as running in this thread, and
    `asyncio.run` fails in the tests that come after these.
    """
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium on the PATH; apt install chromium, or set CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser: Any, server: str) -> Iterator[Callable[..., Any]]:
    """Opens the page as another visitor; options are those of a browser's context."""
    contexts = []

    def open_page(**options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(server)
        page.get_by_role("tab", name="Check").wait_for()
        page.locator("#check-button").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(visit: Callable[..., Any]) -> Any:
    """The page, opened by somebody."""
    return visit()
