"""`moderation models` and `moderation models fetch`, against a Hub of our own over real HTTP."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from moderation import hub
from moderation.cli import main
from moderation.errors import ArtifactError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "acme/guard"
CARD = b"---\nlicense: apache-2.0\ntags: [x]\n---\n# A guard\n"
WEIGHTS = bytes(range(256)) * 2000
FILES = {
    "README.md": CARD,
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": WEIGHTS,
    "pytorch_model.bin": b"pickled",
    "original/consolidated.00.pth": b"pickled",
    "original/model.safetensors": b"a second copy",
}


class Hub(ThreadingHTTPServer):
    """The part of the Hugging Face Hub that a download asks for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.files = dict(FILES)
        self.status = 200
        self.breaks = 0
        """How often the weights' transfer breaks in the middle."""
        self.asked: list[tuple[str, str, str]] = []
        """Method, path, and range of every request."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no fault here."""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *args: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = urlsplit(self.path).path
        self.server.asked.append((self.command, path, self.headers.get("range", "")))
        if self.server.status != 200:
            codes = {401: "RepoNotFound", 403: "GatedRepo", 404: "RepoNotFound"}
            error = codes.get(self.server.status, "")
            self.send(self.server.status, b"{}", **({"X-Error-Code": error} if error else {}))
        elif path.startswith(f"/api/models/{NAME}/tree/"):
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": oid(data)}
                for name, data in self.server.files.items()
            ]
            self.send(200, json.dumps(tree).encode())
        elif path.startswith(f"/api/models/{NAME}"):
            siblings = [{"rfilename": name} for name in self.server.files]
            about = {"id": NAME, "sha": COMMIT, "siblings": siblings, "private": False}
            self.send(200, json.dumps(about).encode())
        elif path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
            self.file(path.partition(f"{COMMIT}/")[2])
        else:
            self.send(404, b"{}", **{"X-Error-Code": "EntryNotFound"})

    def file(self, name: str) -> None:
        data = self.server.files[name]
        headers = {"ETag": f'"{oid(data)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        begin = 0
        if asked := re.match(r"bytes=(\d+)-", self.headers.get("range", "")):
            begin = int(asked[1])
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        if self.command == "GET" and name == "model.safetensors" and self.server.breaks:
            self.server.breaks -= 1
            self.send(206 if begin else 200, data[begin:], cut=(len(data) - begin) // 2, **headers)
            self.close_connection = True
        else:
            self.send(206 if begin else 200, data[begin:], **headers)

    def send(self, status: int, data: bytes, cut: int | None = None, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(data[:cut])


def oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()  # noqa: S324  # git's, not a secret


@pytest.fixture
def server() -> Iterator[Hub]:
    running = Hub()
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(
        f"""
name: guarded
steps:
  - name: lstm
    filter: classifier
    options: {{model: toxicity-lstm}}
  - name: guard
    filter: llama_guard
    options: {{model: {NAME}}}
    fallback:
      name: remote
      filter: llama_guard
      options: {{backend: openai, url: "http://127.0.0.1:9/v1"}}
  - name: local
    filter: llama_guard
    options: {{model: ./guards/own}}
  - {{name: gated, filter: llama_guard}}
thresholds:
  unsafe: {{review: 0.5}}
""",
        encoding="utf-8",
    )
    return str(path)


class Command:
    """The command in a process of its own, with a cache of its own and a Hub to ask."""

    def __init__(self, home: Path, endpoint: str) -> None:
        self.home = home
        own = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        self.environment = {**own, "HF_HOME": str(home), "HF_ENDPOINT": endpoint}

    def __call__(self, *args: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "moderation", "models", *args],
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def snapshot(self) -> Path:
        return self.home / "hub" / "models--acme--guard" / "snapshots" / COMMIT


@pytest.fixture
def models(tmp_path: Path, server: Hub) -> Command:
    return Command(tmp_path / "home", server.url)


def test_every_model_of_a_policy_is_listed_with_its_state(models: Command, policy: str) -> None:
    done = models("--policy", policy)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    told = {
        line.split()[1]: (line, where) for line, where in zip(lines[::2], lines[1::2], strict=True)
    }
    line, where = told["toxicity-lstm"]
    assert line.startswith("there")
    assert re.search(r"\d+\.\d MB  Apache-2.0", line)
    assert "step lstm" in where
    line, where = told[NAME]
    assert line.startswith("MISSING")
    assert "size not known  licence not stated" in line
    assert str(models.home) in where
    line, where = told[str(Path(policy).parent / "guards" / "own")]
    assert line.startswith("MISSING")
    assert "no such folder" in where
    remote = next(line for line in lines if line.startswith("served"))
    assert "meta-llama/Llama-Guard-3-1B" in remote
    assert "http://127.0.0.1:9/v1" in done.stdout
    gated = next(line for line in lines if "gated" in line and line.startswith("MISSING"))
    assert "3.0 GB  Llama 3.2 Community License, gated" in gated


def test_the_list_as_json(models: Command, policy: str) -> None:
    done = models("--policy", policy, "--json")
    rows = {tuple(row["steps"]): row for row in map(json.loads, done.stdout.splitlines())}
    assert rows[("guard",)]["model"] == NAME
    assert rows[("guard",)]["there"] is False
    assert rows[("lstm",)]["there"] is True
    assert rows[("lstm",)]["size"] > 1_000_000


def test_listing_asks_nobody(models: Command, policy: str, server: Hub) -> None:
    models("--policy", policy)
    assert server.asked == []


def test_fetch_brings_what_is_needed_and_nothing_else(models: Command, server: Hub) -> None:
    done = models("fetch", NAME)
    assert done.returncode == 0, done.stderr
    brought = {
        str(path.relative_to(models.snapshot))
        for path in models.snapshot.rglob("*")
        if path.is_file()
    }
    assert brought == {"README.md", "config.json", "tokenizer.json", "model.safetensors"}
    assert (models.snapshot / "model.safetensors").read_bytes() == WEIGHTS
    assert "%" in done.stderr, "a progress bar"
    # Once more: it is there, and the weights are not asked for again.
    server.asked.clear()
    again = models("fetch", NAME)
    assert again.returncode == 0
    assert not [path for _, path, _ in server.asked if path.endswith("safetensors")]


def test_what_was_fetched_is_found_with_size_and_licence(
    models: Command, server: Hub, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        f"name: g\nsteps:\n  - {{name: guard, filter: llama_guard, options: {{model: {NAME}}}}}\n"
        "thresholds: {unsafe: {review: 0.5}}\n",
        encoding="utf-8",
    )
    assert models("fetch", "--policy", str(policy)).returncode == 0
    told = models("--policy", str(policy)).stdout
    assert told.startswith(f"there    {NAME}  512.1 kB  apache-2.0\n")


def test_a_broken_transfer_goes_on_where_it_broke(models: Command, server: Hub) -> None:
    weights = WEIGHTS * 60  # the Hub's client keeps what it has in pieces of 10 MB
    server.files["model.safetensors"] = weights
    server.breaks = 1
    done = models("fetch", NAME)
    assert done.returncode == 0, done.stderr
    assert (models.snapshot / "model.safetensors").read_bytes() == weights
    [asked] = [begin for _, path, begin in server.asked if path.endswith("safetensors") and begin]
    assert int(re.findall(r"\d+", asked)[0]) >= 10_000_000


def test_a_shard_that_is_missing_makes_it_incomplete(models: Command, server: Hub) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    del server.files["model.safetensors"]
    server.files["model.safetensors.index.json"] = json.dumps(index).encode()
    server.files["model-1.safetensors"] = b"one"
    done = models("fetch", NAME)
    assert done.returncode == 1
    assert "holds no model-2.safetensors" in done.stderr
    # The second shard appears: only what is missing is fetched.
    server.files["model-2.safetensors"] = b"two"
    for tree in (models.home / "hub").rglob("*.json"):
        if "trees" in tree.parts or "tree" in str(tree):
            tree.unlink()
    server.asked.clear()
    assert models("fetch", NAME).returncode == 0
    fetched = {Path(path).name for method, path, _ in server.asked if method == "GET"}
    assert "model-2.safetensors" in fetched
    assert "model-1.safetensors" not in fetched


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (403, "is gated: accept its licence at"),
        (401, "no such model"),
        (404, "no such model"),
        (500, "cannot be reached|answered with status 500"),
    ],
)
def test_a_hub_that_refuses(models: Command, server: Hub, status: int, told: str) -> None:
    server.status = status
    done = models("fetch", NAME)
    assert done.returncode == 1
    assert re.search(told, done.stderr)
    assert "Traceback" not in done.stderr
    if status == 403:
        assert "HF_TOKEN" in done.stderr
        assert f"{server.url}/{NAME}" in done.stderr


def test_offline_nothing_is_asked(models: Command, server: Hub) -> None:
    done = models("fetch", NAME, HF_HUB_OFFLINE="1")
    assert done.returncode == 1
    assert "HF_HUB_OFFLINE is set" in done.stderr
    assert server.asked == []
    assert models("fetch", NAME).returncode == 0
    server.asked.clear()
    assert models("fetch", NAME, HF_HUB_OFFLINE="1").returncode == 0
    assert server.asked == []


def test_no_connection(tmp_path: Path) -> None:
    done = Command(tmp_path / "home", "http://127.0.0.1:9")("fetch", NAME)
    assert done.returncode == 1
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_repository_with_pickled_weights_only(models: Command, server: Hub) -> None:
    del server.files["model.safetensors"]
    done = models("fetch", NAME)
    assert done.returncode == 1
    assert "pickled" in done.stderr
    assert not list(models.home.rglob("*.bin"))


def test_fetching_a_policy_goes_on_after_a_failure(
    models: Command, policy: str, server: Hub
) -> None:
    done = models("fetch", "--policy", policy)
    assert done.returncode == 1
    assert f"there    {NAME}" in done.stdout
    assert "nothing to fetch" in done.stdout  # the server's
    assert "2 of 5 models could not be fetched" in done.stderr


def test_options_before_fetch_are_not_lost_in_silence() -> None:
    done = CliRunner().invoke(main, ["models", "--policy", "default", "fetch"])
    assert done.exit_code == 2
    assert "models fetch" in done.output


@pytest.mark.parametrize("name", ["a b", "", "/etc/../x y/z|"])
def test_a_name_that_is_none(name: str) -> None:
    done = CliRunner().invoke(main, ["models", "fetch", name])
    assert done.exit_code == 1
    assert "Traceback" not in done.output


def test_a_folder_is_looked_at_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    with pytest.raises(ArtifactError, match=r"incomplete: config\.json, \*\.safetensors"):
        hub.locate(hub.Model.of(folder))
    (folder / "config.json").write_text("{}", encoding="utf-8")
    (folder / "model.safetensors").write_bytes(b"x")
    assert hub.locate(hub.Model.of(folder)) == folder
    (folder / "README.md").write_text("---\nlicense: other\nlicense_name: llama3.2\n---\n")
    assert hub.look(hub.Model.of(folder)).licence == "llama3.2"
    (folder / "model.safetensors.index.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ArtifactError, match=r"a readable model\.safetensors\.index"):
        hub.locate(hub.Model.of(folder))
