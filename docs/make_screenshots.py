"""Draws docs/images/ui-*.png: the page in light, dark and on a phone. Run it after changing it.

    python docs/make_screenshots.py      # needs the extras ui and images, playwright and a chromium

The texts on them are mild, and written for this.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from time import sleep
from urllib.error import URLError
from urllib.request import urlopen

from PIL import Image, ImageDraw, ImageFont
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "docs" / "images"
MOST = 250_000
"""Bytes of one picture."""


def answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):  # noqa: S310
            return True
    except (URLError, OSError):
        return False


def checked(page: Page) -> None:
    page.locator("#check-result .verdict").wait_for()
    page.locator("#check-models .model").first.wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


def disguised(page: Page) -> None:
    page.get_by_role("button", name="Disguised").click()
    checked(page)


def threat(page: Page) -> None:
    page.get_by_role("button", name="Threat").click()
    checked(page)


def picture(page: Page) -> None:
    image = Image.new("RGB", (760, 300), "#e9e4d8")
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 220, 760, 300), fill="#9db17c")
    draw.rectangle((90, 50, 670, 200), fill="#fffdf7", outline="#5c4a32", width=6)
    draw.rectangle((365, 200, 395, 290), fill="#5c4a32")
    draw.text((130, 72), "NEIGHBOURHOOD NEWS", fill="#5c4a32", font=ImageFont.load_default(34))
    draw.text(
        (130, 128), "the mayor is a stupid liar", fill="#222222", font=ImageFont.load_default(38)
    )
    buffer = BytesIO()
    image.save(buffer, "PNG")
    page.locator("#check-image input[type=file]").set_input_files(
        {"name": "sign.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    )
    page.locator("#check-image img").wait_for()
    page.locator("#check-button").click()
    checked(page)


def models(page: Page) -> None:
    page.get_by_role("tab", name="Models").click()
    page.locator("#models-quality .panel").first.wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(500)


def comments(page: Page) -> None:
    kinds = (
        ("Thank you, that was a lovely evening.", 0),
        ("The train is late again, what a surprise.", 0),
        ("Holy crap, this cake is damn good!", 0),
        ("You are a pathetic little liar.", 1),
        ("what an 1d10t, go away", 1),
        ("I will find you and break your legs.", 1),
        ("Could somebody look at my bicycle?", 0),
        ("Nobody wants your kind in this street.", 1),
        ("Happy birthday to the best neighbour of all!", 0),
        ("This traffic is killing me.", 0),
        ("Shut up, you miserable idiot.", 1),
    )
    lines = ["id,comment,toxic"]
    for number in range(600):
        told, toxic = kinds[number * number * 7 % len(kinds)]
        lines.append(f'{number},"{told}",{toxic}')
    page.get_by_role("tab", name="Batch").click()
    page.locator("input[type=file]:not(#check-image *)").first.set_input_files(
        {
            "name": "comments.csv",
            "mimeType": "text/csv",
            "buffer": "\n".join(lines).encode(),
        }
    )
    page.locator("#batch-status", has_text="600").wait_for()
    page.locator("#batch-run").click()
    page.locator("#batch-rows tbody tr").first.wait_for(timeout=60_000)
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)


def thresholds(page: Page) -> None:
    comments(page)
    page.get_by_role("tab", name="Policy").click()
    page.locator("#policy-form input[type=range]").first.wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(1500)


def shoot(
    browser: Browser,
    address: str,
    name: str,
    act: Callable[[Page], None],
    *,
    width: int = 1280,
    height: int = 900,
    scheme: str = "light",
) -> None:
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,  # type: ignore[arg-type]
    )
    page = context.new_page()
    page.goto(address)
    page.locator("#check-button").wait_for()
    act(page)
    page.evaluate("window.scrollTo(0, 0)")
    page.wait_for_timeout(300)
    shot = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
    context.close()
    shot = shot.crop((0, 0, shot.width, min(shot.height, height if width < 500 else 1500)))
    target = TARGET / f"ui-{name}.png"
    # A page has few colours: a palette says all of them, in a third of the bytes.
    few = shot.quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(target, optimize=True)
    size = target.stat().st_size
    sys.stdout.write(f"{target.relative_to(ROOT)}: {shot.width} x {shot.height}, {size:,} bytes\n")
    if size > MOST:
        sys.exit(f"{target.name} has {size:,} bytes, expected at most {MOST:,}")


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryDirectory() as cache:
        server = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "moderation", "ui", "--port", str(port)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "GRADIO_TEMP_DIR": cache},
            stderr=subprocess.DEVNULL,
        )
        try:
            while not answers(address):
                if server.poll() is not None:
                    sys.exit("the server has ended")
                sleep(0.2)
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=os.environ.get("CHROMIUM") or shutil.which("chromium"),
                    args=["--no-sandbox"],
                )
                shoot(browser, address, "check-light", disguised)
                shoot(browser, address, "check-dark", threat, scheme="dark")
                shoot(browser, address, "check-phone", threat, width=390, height=1700)
                shoot(browser, address, "check-picture", picture)
                shoot(browser, address, "batch-light", comments)
                shoot(browser, address, "policy-dark", thresholds, scheme="dark")
                shoot(browser, address, "models-light", models)
                browser.close()
        finally:
            server.terminate()
            server.wait(20)


if __name__ == "__main__":
    main()
