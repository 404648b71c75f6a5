"""What a Hugging Face Space would do with this folder, done here: `moderation space check`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple
from urllib.error import URLError
from urllib.request import urlopen

import yaml

from moderation import hub
from moderation.errors import ModerationError

START = "gradio_app.py"
LARGE = 10 * 2**20
"""Bytes from which the Hub takes a file only through its upload call, not in a plain commit."""
MAX_SECONDS = 20
MAX_MEMORY = 1_000_000_000
PATIENCE = 120
"""Seconds after which a page that does not answer is given up."""

_ASK = """
import json, sys
from gradio_client import Client, handle_file
from PIL import Image, ImageDraw, ImageFont
threat = "I will kill you tonight"
picture = Image.new("RGB", (640, 160), "white")
ImageDraw.Draw(picture).text((30, 50), threat, fill="black", font=ImageFont.load_default(48))
picture.save(sys.argv[2])
client = Client(sys.argv[1], verbose=False)
given = {"policy": "images", "image": handle_file(sys.argv[2])}
text = client.predict(text=threat, api_name="/check")
seen = client.predict(text="", **given, api_name="/check")
print(json.dumps([text, seen]))
"""


class Said(NamedTuple):
    """One thing that was found: `ok`, `note` or `FAULT`, and what."""

    word: str
    what: str


def check(folder: Path, port: int) -> Iterator[Said]:
    """Everything that a Space would do with `folder`, one finding at a time."""
    files = tracked(folder)
    yield from read(folder, files)
    with tempfile.TemporaryDirectory(prefix="space-") as scratch:
        app = Path(scratch, "app")
        for file in files:
            (app / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(folder / file, app / file)
        total = sum((app / file).stat().st_size for file in files)
        yield Said("ok", f"copied {len(files)} files, {hub.told_size(total)}")
        python = Path(scratch, "env", "bin", "python")
        began = monotonic()
        try:
            _install(app, python)
        except subprocess.CalledProcessError as error:
            yield Said("FAULT", f"requirements.txt does not install:\n{_tail(error.stderr)}")
            return
        yield Said("ok", f"installed requirements.txt in {monotonic() - began:.0f} s")
        yield from _run(app, python, port, Path(scratch))


def tracked(folder: Path) -> list[Path]:
    """Files of `folder` that git tracks, relative to it: what a push would bring.

    Raises:
        ModerationError: it is no checkout.
    """
    try:
        found = subprocess.run(
            ["git", "ls-files", "-z"],  # noqa: S607
            cwd=folder,
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise ModerationError(
            f"{folder}: expected a git checkout, since what git tracks is what is uploaded"
        ) from None
    files = [Path(name) for name in found.decode().split("\0") if name]
    return [file for file in files if (folder / file).is_file()]


def read(folder: Path, files: list[Path]) -> Iterator[Said]:
    """What can be said about the files without running them."""
    for name in (START, "requirements.txt", "README.md"):
        if Path(name) not in files:
            yield Said("FAULT", f"{name} is not among the tracked files")
    yield from _front_matter(folder / "README.md")
    for file in files:
        size = (folder / file).stat().st_size
        if size > LARGE:
            told = f"{file} has {hub.told_size(size)}: a plain git push is refused, hf upload works"
            yield Said("note", told)


def _front_matter(readme: Path) -> Iterator[Said]:
    try:
        text = readme.read_text(encoding="utf-8")
    except OSError:
        return
    told: Any = None
    if text.startswith("---\n"):
        try:
            told = yaml.safe_load(text[4:].partition("\n---\n")[0])
        except yaml.YAMLError:
            yield Said("FAULT", "README.md: what stands between the --- lines is not YAML")
            return
    if not isinstance(told, dict):
        yield Said("FAULT", "README.md has no front matter: copy the one in docs/space.md")
        return
    for key, expected in (("sdk", "gradio"), ("app_file", START)):
        if told.get(key) != expected:
            yield Said("FAULT", f"README.md: expected {key}: {expected}, found {told.get(key)!r}")
    if "sdk_version" not in told:
        yield Said("FAULT", "README.md: expected sdk_version, such as 6.31.0, found none")


def _install(app: Path, python: Path) -> None:
    venv.create(python.parents[1], with_pip=True)
    subprocess.run(  # noqa: S603
        [
            python,
            "-m",
            "pip",
            "install",
            "-q",
            "--disable-pip-version-check",
            "-r",
            app / "requirements.txt",
        ],
        capture_output=True,
        text=True,
        check=True,
    )


def _run(app: Path, python: Path, port: int, scratch: Path) -> Iterator[Said]:
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG")}
    environment = kept | {
        "HOME": str(scratch),
        "GRADIO_SERVER_NAME": "127.0.0.1",
        "GRADIO_SERVER_PORT": str(port),
        "GRADIO_TEMP_DIR": str(scratch / "cache"),
    }
    address = f"http://127.0.0.1:{port}/"
    with (scratch / "log").open("wb") as log:
        began = monotonic()
        process = subprocess.Popen(  # noqa: S603
            [python, START], cwd=app, env=environment, stdout=log, stderr=log
        )
        try:
            while not _answers(address):
                if process.poll() is not None or monotonic() - began > PATIENCE:
                    told = (scratch / "log").read_text(errors="replace")
                    yield Said("FAULT", f"{START} does not answer:\n{_tail(told)}")
                    return
                sleep(0.1)
            took = monotonic() - began
            word = "ok" if took < MAX_SECONDS else "FAULT"
            yield Said(word, f"answers after {took:.1f} s (expected under {MAX_SECONDS})")
            yield from _ask(address, python, environment, scratch)
            memory = _memory(process.pid)
            if memory is not None:
                word = "ok" if memory < MAX_MEMORY else "FAULT"
                limit = hub.told_size(MAX_MEMORY)
                yield Said(word, f"took {hub.told_size(memory)} of memory (expected under {limit})")
            told = (scratch / "log").read_text(errors="replace")
            if "Traceback" in told:
                yield Said("FAULT", f"it has logged an error:\n{_tail(told)}")
        finally:
            process.terminate()
            process.wait(20)


def _ask(address: str, python: Path, environment: dict[str, str], scratch: Path) -> Iterator[Said]:
    asked = subprocess.run(  # noqa: S603
        [python, "-c", _ASK, address, scratch / "threat.png"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    if asked.returncode != 0:
        yield Said("FAULT", f"it gives no verdict:\n{_tail(asked.stderr)}")
        return
    text, seen = json.loads(asked.stdout)
    if text["degraded"]:
        yield Said("FAULT", "the default policy is degraded: a step of it cannot run")
    for what, verdict in (("a text", text), ("a picture", seen)):
        if verdict["action"] == "block":
            yield Said("ok", f"blocks a threat in {what}")
        else:
            yield Said("FAULT", f"a threat in {what} is not blocked, but: {verdict['action']}")


def _answers(address: str) -> bool:
    try:
        with urlopen(address, timeout=5):  # noqa: S310  # an address of this machine
            return True
    except (URLError, OSError):
        return False


def _memory(process: int) -> int | None:
    """The most memory that it has had at one time, in bytes; None where that is not told."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def _tail(text: str, lines: int = 15) -> str:
    return "\n".join(f"      {line}" for line in text.strip().splitlines()[-lines:])
