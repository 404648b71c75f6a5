"""The service as people run it: a process, a free port, real clients."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

WAIT = 120.0
"""Seconds that anything may take on a machine that is busy."""


class Running:
    """A `moderation serve` of its own; what it logs goes to a file."""

    def __init__(
        self,
        log: Path,
        *options: str,
        env: dict[str, str] | None = None,
        command: Sequence[str] = (sys.executable, "-m", "moderation"),
    ) -> None:
        self.log = log
        with log.open("wb") as stream:
            self.process = subprocess.Popen(
                [*command, "serve", "--port", "0", *options],
                stderr=stream,
                env=env,
            )
        self.url = ""
        try:
            self._until(self._listens)
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"running on (http://[\d.:]+)", self.log.read_text())
        if found:
            self.url = found[1]
        return bool(found)

    def until_ready(self) -> Running:
        self._until(lambda: httpx.get(f"{self.url}/ready").status_code == 200)
        return self

    def _until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + WAIT
        while not condition():
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def post(self, path: str, body: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=body, timeout=WAIT, **options)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=WAIT, **options)

    def logged(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(WAIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


def raw(running: Running, data: bytes) -> socket.socket:
    """A connection on which `data` has been sent."""
    address = urlsplit(running.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=WAIT)
    connection.sendall(data)
    return connection


def answer_of(connection: socket.socket) -> tuple[bytes, bytes]:
    """One answer, head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head)
    assert found
    while len(body) < int(found[1]):
        body += connection.recv(65536)
    return head, body
