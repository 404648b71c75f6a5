"""How fast the Batch tab judges a file, beside the engine itself on the same texts.

    python benchmarks/ui_batch.py                 # 20,000 made-up texts, the default policy
    python benchmarks/ui_batch.py --rows 100000 --policy full

Serves the page in this process and goes the way of a browser: uploads the file, starts the run,
and reads every message that the page would get, over HTTP on this machine. Both sides are measured
in turn, several times, and the medians compared, since a shared machine is never equally busy;
seconds of the processor are told as well, which other programs disturb less.
"""

from __future__ import annotations

import argparse
import csv
import random
import statistics
import tempfile
import time
from pathlib import Path

from gradio_client import Client, handle_file

from moderation import Moderator
from moderation.ui import build, look

WORDS = (
    "the a of to and in is it you that was for on are with as they be at one have this from or had "
    "by not what all were we when your can said there use an each which she do how their if will "
    "idiot stupid garden recipe meeting kill friend hate lovely fucking train weather ticket"
).split()


def texts(count: int) -> list[str]:
    chance = random.Random(0)
    return [" ".join(chance.choices(WORDS, k=chance.randint(4, 40))) for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--policy", default="default")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()

    rows = texts(options.rows)
    moderator = Moderator(options.policy)
    moderator.moderate_batch(rows[:512])
    page = build()
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, theme=look.theme())
    client = Client(address, verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["text"])
            writer.writerows([text] for text in rows)
        engine, tab, engine_cpu, tab_cpu = [], [], [], []
        for _ in range(options.rounds):
            began, busy = time.perf_counter(), time.process_time()
            for _verdict in moderator.moderate_iter(rows):
                pass
            engine.append(len(rows) / (time.perf_counter() - began))
            engine_cpu.append(time.process_time() - busy)

            began = time.perf_counter()
            client.predict(handle_file(path), api_name="/batch_open")
            opened, busy = time.perf_counter(), time.process_time()
            client.predict("text", options.policy, "", api_name="/batch_start")
            job = client.submit("CSV", api_name="/batch_run")
            job.result()
            ended = time.perf_counter()
            tab.append(len(rows) / (ended - opened))
            tab_cpu.append(time.process_time() - busy)
            updates = len(job.outputs()) / (ended - opened)
            print(
                f"engine {engine[-1]:7,.0f} rows/s   tab {tab[-1]:7,.0f} rows/s   "
                f"file read in {opened - began:.2f} s   {updates:.1f} updates/s"
            )
    page.close()
    share = statistics.median(tab) / statistics.median(engine)
    print(
        f"{len(rows):,} rows, policy {options.policy}: engine {statistics.median(engine):,.0f} "
        f"rows/s, tab {statistics.median(tab):,.0f} rows/s, {share:.0%} of the engine "
        "(from the click to the finished page, the download written); processor "
        f"{statistics.median(engine_cpu):.2f} s and {statistics.median(tab_cpu):.2f} s"
    )


if __name__ == "__main__":
    main()
