"""The service under load: latency, throughput beside a plain BERT route, overload, start.

    apt install wrk
    pip install '.[server,train]' && python benchmarks/server.py

The load comes from wrk (https://github.com/wg/wrk): client and server share the cores, and of the
kept generators it needs the least of them. A small script has it send another text each time, tell
200 from 429, and, for the overload, send at random moments of a given rate instead of waiting for
answers. Every request carries metadata, so that none is answered from the cache.

The peer is a plain FastAPI route that calls a BERT-base classifier in torch (random weights: speed
does not depend on them) once per request, with as many torch threads as there are cores and with
one, whichever is faster. Rounds alternate, so that a change of the machine's speed meets both.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from rich.console import Console
from rich.table import Table
from texts import natural

BOUND = 0.8
"""Seconds within which the default policy answers 99 of 100 accepted requests, as the docs say."""

CLIENTS = 768
"""Connections of the overload."""

SCRIPT = """
local ffi = require("ffi")
ffi.cdef[[
  typedef struct { long s; long ns; } moment;
  int clock_gettime(int clock, moment *now);
]]
local moment = ffi.new("moment")
local function now()
  ffi.C.clock_gettime(1, moment)
  return tonumber(moment.s) + tonumber(moment.ns) / 1e9
end

local bodies, sent, mean = {}, 0, 0
-- Globals: read when all is done.
statuses, accepted = {}, {}

function init(args)
  for line in io.lines(args[1]) do bodies[#bodies + 1] = line end
  mean = tonumber(args[2]) * 1000
  math.randomseed(7)
  if mean == 0 then delay = nil end
end

function delay()
  return math.floor(-math.log(1 - math.random()) * mean)
end

function request()
  sent = sent + 1
  -- The service sends a request's id back: the time at which it was sent.
  return wrk.format("POST", nil, {
    ["Content-Type"] = "application/json", ["X-Request-ID"] = string.format("%.6f", now())
  }, bodies[(sent - 1) % #bodies + 1])
end

function response(status, headers)
  statuses[status] = (statuses[status] or 0) + 1
  local began = headers["x-request-id"]
  if status == 200 and began then accepted[#accepted + 1] = now() - tonumber(began) end
end

local threads = {}
function setup(thread) threads[#threads + 1] = thread end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    '\\n{"requests": %d, "seconds": %f, "median": %f, "p99": %f, "errors": %d, "statuses": {',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6,
    latency:percentile(99) / 1e6,
    errors.connect + errors.read + errors.write + errors.timeout))
  local first = true
  for status, count in pairs(threads[1]:get("statuses")) do
    io.write(string.format('%s"%s": %d', first and "" or ", ", status, count))
    first = false
  end
  io.write('}, "accepted": [')
  for index, seconds in ipairs(threads[1]:get("accepted")) do
    io.write(string.format("%s%.5f", index > 1 and "," or "", seconds))
  end
  io.write("]}\\n")
end
"""

PEER = """
import sys
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from tokenizers import Tokenizer
from transformers import BertConfig, BertForSequenceClassification

torch.set_num_threads(int(sys.argv[1]))
tokenizer = Tokenizer.from_file(sys.argv[2])
tokenizer.enable_truncation(512)
model = BertForSequenceClassification(BertConfig(num_labels=6)).eval()
app = FastAPI()

class Item(BaseModel):
    content: str

@app.get("/ready")
def ready() -> str:
    return "yes"

@app.post("/")
def classify(item: Item) -> list[float]:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([tokenizer.encode(item.content).ids])).logits
    return torch.sigmoid(logits)[0].tolist()

uvicorn.run(app, port=int(sys.argv[3]), access_log=False, log_level="warning")
"""


@contextmanager
def running(command: Sequence[str], port: int) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A server that answers /ready with 200, and the seconds that this took."""
    began = time.perf_counter()
    process = subprocess.Popen(command)
    try:
        while True:
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with status {process.returncode}")
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/ready")
                if connection.getresponse().status == 200:
                    break
            except OSError:
                pass
            time.sleep(0.005)
        yield process, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait()


class Load:
    """What wrk sends: a file of bodies, one a line, and the script."""

    def __init__(self, folder: Path, texts: Sequence[str]) -> None:
        self._script = folder / "load.lua"
        self._script.write_text(SCRIPT, encoding="utf-8")
        self._bodies = folder / "bodies"
        bodies = [json.dumps({"content": text, "metadata": {"n": 1}}) for text in texts]
        self._bodies.write_text("\n".join(bodies) + "\n", encoding="utf-8")

    def __call__(self, url: str, clients: int, seconds: float, pause: float = 0) -> dict[str, Any]:
        """Send for `seconds` from `clients` connections that each pause so long on average."""
        done = subprocess.run(
            [
                *("wrk", "--threads", "1", "--connections", str(clients), "--timeout", "30s"),
                *("--duration", f"{seconds:g}s", "--script", str(self._script), url),
                *("--", str(self._bodies), f"{pause:g}"),
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return told


def resident(pid: int) -> float:
    """Resident memory, MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1e3


def engine_ms(port: int, texts: Sequence[str]) -> float:
    """Median time in the chain's own steps, from the verdicts, one request at a time."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    spent = []
    for text in texts:
        body = json.dumps({"content": text, "metadata": {"n": 1}})
        connection.request("POST", "/v1/moderate", body)
        trace = json.loads(connection.getresponse().read())["verdict"]["trace"]
        spent.append(sum(step["ms"] for step in trace))
    return statistics.median(spent)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", default="default")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each round")
    parser.add_argument("--overload", type=float, default=60, help="seconds of twice the load")
    parser.add_argument("--port", type=int, default=8765)
    args = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt install wrk, or brew install wrk")

    console = Console()
    drawn = natural(4096)
    console.print(f"{drawn.told}, {os.cpu_count()} cores, policy {args.policy}")
    serve = [sys.executable, "-m", "moderation", "serve", "--policy", args.policy]
    serve += ["--port", str(args.port), "--log-level", "warning"]
    tokenizer = (
        Path(__file__).parent.parent / "moderation" / "weights" / "toxicity-lstm" / "tokenizer.json"
    )
    url = f"http://127.0.0.1:{args.port}/v1/moderate"

    starts = []
    for _ in range(args.rounds):
        with running(serve, args.port) as (_, took):
            starts.append(took)
    console.print(f"start to ready: median {statistics.median(starts):.2f} s")

    with tempfile.TemporaryDirectory() as folder:
        load = Load(Path(folder), drawn.texts)
        script = Path(folder) / "peer.py"
        script.write_text(PEER)
        threads = sorted({1, os.cpu_count() or 1})
        rates: dict[str, list[float]] = {"moderation serve": []}
        with running(serve, args.port) as (process, _):
            load(url, 32, 3)  # warm
            alone = load(url, 1, args.seconds)
            engine = engine_ms(args.port, drawn.texts[:500])
            console.print(
                f"one request at a time: median {alone['median'] * 1e3:.2f} ms end to end, "
                f"99th percentile {alone['p99'] * 1e3:.2f} ms; "
                f"the engine's own part: median {engine:.2f} ms"
            )
            for _ in range(args.rounds):
                told = load(url, 32, args.seconds)
                rates["moderation serve"].append(told["statuses"]["200"] / told["seconds"])
                for count in threads:
                    name = f"BERT-base route, torch threads: {count}"
                    command = [sys.executable, str(script), str(count), str(tokenizer)]
                    time.sleep(1)  # nothing is in progress any more
                    process.send_signal(19)  # SIGSTOP: it has no part in the peer's round
                    try:
                        with running([*command, str(args.port + 1)], args.port + 1):
                            peer = f"http://127.0.0.1:{args.port + 1}/"
                            told = load(peer, 32, args.seconds)
                    finally:
                        process.send_signal(18)  # SIGCONT
                    answered = max(told["requests"], 1)  # on a busy machine not even one
                    rates.setdefault(name, []).append(answered / told["seconds"])
            _print_rates(console, rates)

            capacity = statistics.median(rates["moderation serve"])
            # A client that waits for its answer sends less: how much longer its turn takes is
            # found out first. The memory of that many connections is no growth either.
            turn = CLIENTS / (2 * capacity)
            told = load(url, CLIENTS, args.seconds, pause=turn)
            waits = CLIENTS * told["seconds"] / told["requests"] - turn
            before = resident(process.pid)
            told = load(url, CLIENTS, args.overload, pause=max(0, turn - waits))
            after = resident(process.pid)
            _print_overload(console, told, capacity, before, after)


def _print_rates(console: Console, rates: dict[str, list[float]]) -> None:
    table = Table(title="Thirty-two clients", title_justify="left")
    for column in ("", "requests a second", "ours are more by"):
        table.add_column(column, justify="left" if not column else "right")
    ours = rates["moderation serve"]
    for name, found in rates.items():
        ratio = statistics.median(a / b for a, b in zip(ours, found, strict=True))
        told = "" if found is ours else f"{ratio:,.0f} times"
        table.add_row(name, f"{statistics.median(found):,.1f}", told)
    console.print(table)


def _print_overload(
    console: Console, told: dict[str, Any], capacity: float, before: float, after: float
) -> None:
    accepted = sorted(told["accepted"])
    cuts = statistics.quantiles(accepted, n=100)
    rate = told["requests"] / told["seconds"]
    statuses = ", ".join(f"{count:,} × {status}" for status, count in told["statuses"].items())
    console.print(
        f"twice the load, {told['seconds']:.0f} s: {rate:,.0f} requests a second sent "
        f"({rate / capacity:.1f} times what it carries): {statuses}; "
        f"{told['errors']} without an answer"
    )
    met = "within" if cuts[98] <= BOUND else "BEYOND"
    console.print(
        f"accepted: median {statistics.median(accepted) * 1e3:.0f} ms, 99th percentile "
        f"{cuts[98] * 1e3:.0f} ms, {met} the bound of {BOUND * 1e3:.0f} ms"
    )
    console.print(
        f"resident memory: {before:.0f} MB before, {after:.0f} MB after ({after / before - 1:+.0%})"
    )


if __name__ == "__main__":
    main()
