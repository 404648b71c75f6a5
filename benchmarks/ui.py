"""How quickly the page is there, and a verdict on the screen.

    python benchmarks/ui.py              # needs the extras ui and test, and a chromium

The server is `moderation ui` in a process of its own, the browser a headless Chromium on the same
machine: both share its cores. A click is timed in the browser, from the click to the first frame
after the verdict stands in the page; the engine's own part of it is printed beside it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter, sleep
from urllib.error import URLError
from urllib.request import urlopen

from playwright.sync_api import Page, sync_playwright
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
READY = 2.0
VERDICT = 0.150

_CLICK = """
() => new Promise(resolve => {
  const result = document.querySelector("#check-result");
  result.querySelectorAll("section").forEach(old => { old.dataset.old = "old"; });
  const watch = new MutationObserver(() => {
    if (result.querySelector("[data-old]") || !result.querySelector(".verdict")) return;
    watch.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - began)));
  });
  watch.observe(result, { childList: true, subtree: true });
  const began = performance.now();
  document.querySelector("#check-button").click();
})
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):  # noqa: S310
            return True
    except (URLError, OSError):
        return False


def click(page: Page, text: str) -> tuple[float, float]:
    """Seconds until the verdict about `text` is on the screen, and those of the engine."""
    page.get_by_label("Text", exact=True).fill(text)
    page.wait_for_timeout(150)  # the box tells the page what was written
    seconds = page.evaluate(_CLICK) / 1e3
    told = page.locator(".verdict .took").inner_text()
    found = re.match(r"([\d.]+) (m?s)", told)
    assert found is not None
    return seconds, float(found[1]) / (1e3 if found[2] == "ms" else 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clicks", type=int, default=40)
    parser.add_argument("--visits", type=int, default=5)
    args = parser.parse_args()

    port = free_port()
    address = f"http://127.0.0.1:{port}/"
    began = perf_counter()
    server = subprocess.Popen(
        [sys.executable, "-m", "moderation", "ui", "--port", str(port)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    try:
        with sync_playwright() as playwright:
            chromium = playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
                args=["--no-sandbox"],
            )
            while not answers(address):
                sleep(0.05)
            up = perf_counter() - began
            visits = []
            for _ in range(args.visits):  # each with an empty cache
                context = chromium.new_context(viewport={"width": 1280, "height": 900})
                page = context.new_page()
                began = perf_counter()
                page.goto(address, wait_until="commit")
                page.locator("#check-button").wait_for()
                page.get_by_label("Text", exact=True).fill("have a nice day")
                visits.append(perf_counter() - began)
            clicks = [
                click(page, f"I know where you live, number {number}, you idiot.")
                for number in range(args.clicks + 3)
            ][3:]
            chromium.close()
    finally:
        server.terminate()
        server.wait(20)

    console = Console()
    table = Table("what", "median", "slowest", "must be under")
    table.add_row("server up, from its start", f"{up:.1f} s", "", "20 s")
    table.add_row(
        f"page ready, first visit: {visits[0]:.2f} s",
        f"{statistics.median(visits):.2f} s",
        f"{max(visits):.2f} s",
        f"{READY:g} s",
    )
    seconds = [each for each, _ in clicks]
    table.add_row(
        f"verdict on the screen, of {len(clicks)} clicks",
        f"{statistics.median(seconds) * 1e3:.0f} ms",
        f"{max(seconds) * 1e3:.0f} ms",
        f"{VERDICT * 1e3:g} ms",
    )
    engine = statistics.median(each for _, each in clicks)
    table.add_row("  of which the engine", f"{engine * 1e3:.1f} ms", "", "")
    console.print(table)
    if statistics.median(visits) > READY or statistics.median(seconds) > VERDICT:
        console.print("[red]slower than it must be[/]")
        sys.exit(1)


if __name__ == "__main__":
    main()
