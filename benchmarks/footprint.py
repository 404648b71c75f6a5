"""What the core costs to have: import, cold start, memory, disk.

    python benchmarks/footprint.py            # import, cold start and memory, of this environment
    python benchmarks/footprint.py --install  # also the size of a fresh install of the core

Every figure is of whole processes: medians over `--rounds`, ratios within a round.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from time import perf_counter

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
_TIMED = "from time import perf_counter as t; a = t(); import {0}; print(t() - a)"
_MEMORY = """
import resource, moderation
moderator = moderation.Moderator()
moderator.moderate("have a nice day")
one = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
moderator.moderate_batch(["have a nice day, all of you who read this comment"] * 5000)
print(one, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, cwd="/").stdout


def import_seconds(module: str) -> float:
    return float(run(sys.executable, "-c", _TIMED.format(module)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--install", action="store_true")
    args = parser.parse_args()

    ours, peers, cold = [], [], []
    for _ in range(args.rounds):
        ours.append(import_seconds("moderation"))
        peers.append(import_seconds("pydantic"))
        began = perf_counter()
        subprocess.run(
            [sys.executable, "-m", "moderation", "check", "have a nice day"],
            check=True,
            capture_output=True,
        )
        cold.append(perf_counter() - began)
    ratio = statistics.median(a / b for a, b in zip(ours, peers, strict=True))
    one, many = (int(kib) / 1024 for kib in run(sys.executable, "-c", _MEMORY).split())

    table = Table(show_header=False, title="What the core costs", title_justify="left")
    table.add_row("import moderation", f"{statistics.median(ours) * 1e3:.0f} ms")
    table.add_row("import pydantic", f"{statistics.median(peers) * 1e3:.0f} ms")
    table.add_row("ratio of the two", f"{ratio:.2f}")
    table.add_row("moderation check, cold start", f"{statistics.median(cold):.2f} s")
    table.add_row("peak memory, one text", f"{one:.0f} MB")
    table.add_row("peak memory, 5,000 texts", f"{many:.0f} MB")
    if args.install:
        table.add_row("core install on disk", f"{install_megabytes():.0f} MB")
    Console().print(table)


def install_megabytes() -> float:
    """Everything that `pip install .` puts beside a bare virtual environment."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        site = next(Path(folder).glob("lib/python*/site-packages"))
        before = _bytes(site)
        pip = [str(Path(folder) / "bin" / "python"), "-m", "pip", "install", "-q", str(ROOT)]
        subprocess.run(pip, check=True, capture_output=True)
        return (_bytes(site) - before) / 1e6


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    main()
