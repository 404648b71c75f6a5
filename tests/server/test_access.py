"""What stands before the faces: keys, sizes, slow and vanishing clients, ids, logs, browsers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from running import WAIT, Running, answer_of, raw

from moderation import ConfigError
from moderation.server import access
from moderation.server.access import Keys

FIRST, SECOND, THIRD = "first-key-12345", "second-key-12345", "third-key-12345"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service with two keys in a file and one in the environment."""
    folder = tmp_path_factory.mktemp("locked")
    (folder / "keys").write_text(f"# ours\n{FIRST}\n\n  {SECOND}\n")
    running = Running(
        folder / "log",
        *("--keys", str(folder / "keys"), "--cors", "https://page.example"),
        env={**os.environ, "MODERATION_KEYS": f"{THIRD},"},
    )
    yield running.until_ready()
    running.stop()


def received(connection: socket.socket) -> bytes:
    """Everything until the other side closes."""
    pieces = []
    while piece := connection.recv(65536):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("key", [FIRST, SECOND, THIRD])
def test_every_key_opens(locked: Running, key: str) -> None:
    answer = locked.post(
        "/v1/moderate", {"content": "hello"}, headers={"Authorization": f"Bearer {key}"}
    )
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "missing_key"),
        ({"Authorization": FIRST}, "missing_key"),
        ({"Authorization": f"Basic {FIRST}"}, "missing_key"),
        ({"x-goog-api-key": FIRST}, "missing_key"),
        ({"Authorization": f"Bearer {FIRST}x"}, "invalid_key"),
        ({"Authorization": f"Bearer {FIRST[:-1]}"}, "invalid_key"),
        ({"Authorization": f"Bearer {FIRST},{SECOND}"}, "invalid_key"),
        ({"Authorization": "Bearer \u00e9\u00e9\u00e9".encode("latin-1")}, "invalid_key"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/moderate", "/v1/moderate/batch", "/v1/nothing"])
def test_nothing_else_opens(locked: Running, path: str, headers: dict[str, str], code: str) -> None:
    answer = locked.post(f"{path}?key={FIRST}", {"content": "hello"}, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, code)
    assert answer.headers["www-authenticate"] == "Bearer"


def test_faces_have_their_own_places_for_keys(locked: Running) -> None:
    comment = {"comment": {"text": "hello"}, "requestedAttributes": {"TOXICITY": {}}}
    analyze = "/v1alpha1/comments:analyze"
    assert locked.post(f"{analyze}?key={THIRD}", comment).status_code == 200
    assert locked.post(analyze, comment, headers={"x-goog-api-key": FIRST}).status_code == 200
    for answer in (locked.post(analyze, comment), locked.post(f"{analyze}?key=no", comment)):
        assert answer.status_code in (400, 401, 403)
        assert answer.json()["error"]["status"]
    bearer = {"Authorization": f"Bearer {FIRST}"}
    assert locked.post("/v1/moderations", {"input": "hi"}, headers=bearer).status_code == 200
    refused = locked.post("/v1/moderations", {"input": "hi"})
    assert (refused.status_code, refused.json()["error"]["code"]) == (401, "invalid_api_key")


def test_probes_and_documents_need_no_key_and_metrics_do(locked: Running) -> None:
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert locked.get(path).status_code == 200, path
    for path in ("/metrics", "/v1/policies", "/v1/models"):
        assert locked.get(path).status_code == 401, path
        bearer = {"Authorization": f"Bearer {FIRST}"}
        assert locked.get(path, headers=bearer).status_code == 200, path


def test_other_pages_may_call_only_where_that_is_set(served: Running, locked: Running) -> None:
    asks = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    allowed = httpx.options(f"{locked.url}/v1/moderate", headers=asks)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == "https://page.example"
    other = httpx.options(
        f"{locked.url}/v1/moderate", headers={**asks, "Origin": "https://other.example"}
    )
    assert "access-control-allow-origin" not in other.headers
    off = served.get("/health", headers={"Origin": "https://page.example"})
    assert "access-control-allow-origin" not in off.headers


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "none"),
        ("# only a comment\n", "none"),
        ("short\n", "8 characters"),
    ],
)
def test_unusable_keys_are_refused_at_the_start(
    tmp_path: Path, content: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(access.KEYS_VARIABLE, raising=False)
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ConfigError, match=told) as error:
        Keys.read(tmp_path / "keys")
    assert "short" not in str(error.value).replace("shorter", "")
    with pytest.raises(ConfigError, match="fault"):
        Keys.read(tmp_path / "missing")


def test_keys_do_not_stay_in_memory() -> None:
    keys = Keys([FIRST])
    assert FIRST not in repr(vars(keys))
    assert keys.know(FIRST.encode())


def test_ten_megabytes_are_refused(served: Running) -> None:
    body = json.dumps({"content": "x" * 10_000_000}).encode()
    answer = httpx.post(f"{served.url}/v1/moderate", content=body, timeout=WAIT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")

    def chunks() -> Iterator[bytes]:
        for _ in range(100):
            yield b"x" * 100_000

    with httpx.Client(timeout=WAIT) as client:
        answer = client.post(f"{served.url}/v1/moderate", content=chunks())
        assert answer.status_code == 413
        again = client.post(f"{served.url}/v1/moderate", json={"content": "still here"})
        assert again.status_code == 200
    comment = {"comment": {"text": "x" * 10_000_000}, "requestedAttributes": {"TOXICITY": {}}}
    refused = served.post("/v1alpha1/comments:analyze", comment)
    assert refused.status_code in (400, 413)
    assert refused.json()["error"]["code"] == refused.status_code
    assert served.post("/v1/moderations", {"input": "x" * 10_000_000}).status_code == 413


def test_bodies_are_bounded_in_memory(tmp_path: Path) -> None:
    """Many that are slow to arrive would fill it, each within its own limit."""
    script = tmp_path / "small.py"
    script.write_text(
        "from moderation.server import access\n"
        "access.BODIES = 1\n"
        "from moderation.cli import main\n"
        "main()\n"
    )
    running = Running(
        tmp_path / "log", "--max-body", "100000", command=(sys.executable, str(script))
    )
    running.until_ready()
    head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"
    waiting = [raw(running, head + b" " * 99_000) for _ in range(2)]
    held = 0
    while held < 3:  # of those whose bodies are being read, this one included
        held = int(float(metric(running, "moderation_requests_in_flight")))
    answer = httpx.post(f"{running.url}/v1/moderate", content=b" " * 99_000, timeout=WAIT)
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "overloaded")
    assert answer.headers["retry-after"] == "1"
    for connection in waiting:
        connection.close()
    _until(lambda: float(metric(running, "moderation_requests_in_flight")) == 1)
    assert running.post("/v1/moderate", {"content": "x" * 90_000}).status_code == 200
    running.stop()


def test_declared_length_is_refused_before_anything_is_sent(served: Running) -> None:
    head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    with raw(served, head) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.fixture(scope="module")
def hasty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A service whose patience is half a second instead of ten, run by a script of our own."""
    folder = tmp_path_factory.mktemp("hasty")
    script = folder / "hasty.py"
    script.write_text(
        "import sys\n"
        "from moderation.server import access\n"
        "access.PATIENCE = 0.5\n"
        "from moderation.cli import main\n"
        "main()\n"
    )
    running = Running(folder / "log", command=(sys.executable, str(script)))
    yield running.until_ready()
    running.stop()


def test_slow_sender_is_told_so(hasty: Running) -> None:
    head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with raw(hasty, head + b'{"content"') as connection:
        answer = received(connection)  # until it is closed
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == "request_timeout"


def test_byte_by_byte_is_slow_too(hasty: Running) -> None:
    head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n"
    with raw(hasty, head) as connection:
        connection.settimeout(0.05)
        answer = b""
        for _ in range(400):
            try:
                answer = connection.recv(65536)
                break
            except TimeoutError:
                connection.sendall(b" ")
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("data", [b"POST /v1/mod", b"POST /v1/moderate HTTP/1.1\r\nHost:"])
def test_head_that_never_ends_is_cut_off(hasty: Running, data: bytes) -> None:
    with raw(hasty, data) as connection:
        assert received(connection) == b""


def test_rest_of_a_refused_body_is_not_waited_for(hasty: Running) -> None:
    head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n"
    with raw(hasty, head) as connection:
        assert received(connection).startswith(b"HTTP/1.1 413 ")  # and then it is closed


def test_slow_but_alive_connection_is_answered_in_between(hasty: Running) -> None:
    body = b'{"content": "hello"}'
    request = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    with raw(hasty, request + body) as connection:
        assert answer_of(connection)[0].startswith(b"HTTP/1.1 200 ")
        time.sleep(1)  # longer than a head may take: a kept connection may be silent
        connection.sendall(request + body)
        assert answer_of(connection)[0].startswith(b"HTTP/1.1 200 ")


SLOW = """
name: slow
plugins: [testing]
steps:
  - name: static
    filter: static
    options: {scores: {bad: {toxic: 0.9}}, fault: sleep, fault_on: slow, seconds: 0.5}
thresholds: {toxic: {review: 0.5}}
"""


def test_queued_work_of_who_hangs_up_is_dropped(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "slow.yaml").write_text(SLOW)
    running = serve("-p", str(tmp_path / "slow.yaml"), "--max-wait", "60").until_ready()
    connections = []
    for number in range(20):
        body = json.dumps({"content": f"slow {number}"}).encode()
        head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        connections.append(raw(running, head + body))
    gauge = 'moderation_queue_contents{policy="slow"}'
    _until(lambda: float(metric(running, gauge)) >= 10)
    for connection in connections:
        connection.close()
    _until(lambda: float(metric(running, gauge)) == 0)
    judged = metric(
        running, 'moderation_step_contents_total{policy="slow",status="ran",step="static"}'
    )
    assert float(judged) < 10
    assert running.post("/v1/moderate", {"content": "bad"}).json()["verdict"]["flagged"]
    running.stop()
    hung_up = [line for line in running.logged() if line.get("status") == "hung up"]
    assert len(hung_up) >= 10
    assert not [line for line in running.logged() if line["level"] == "error"]


def metric(running: Running, name: str) -> str:
    """The value of one line of /metrics; 0 where there is none."""
    found = [line for line in running.get("/metrics").text.splitlines() if line.startswith(name)]
    return found[0].rpartition(" ")[2] if found else "0"


def _until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_request_ids_come_back_where_they_are_plain(served: Running) -> None:
    known = served.get("/health", headers={"X-Request-ID": "a-request.1:2_3"})
    assert known.headers["x-request-id"] == "a-request.1:2_3"
    for bad in ("", "x" * 65, "two words", "new\tline", '"}{"'):
        made = served.get("/health", headers={"X-Request-ID": bad}).headers["x-request-id"]
        assert made != bad
        assert len(made) == 32
    refused = served.post("/v1/moderate", {}, headers={"X-Request-ID": "refused"})
    assert refused.headers["x-request-id"] == "refused"


def test_log_holds_neither_texts_nor_keys(serve: Callable[..., Running]) -> None:
    running = serve().until_ready()
    for body in ({"content": "peculiar"}, {"peculiar": 1}, {"content": 5, "mask": "peculiar"}):
        running.post("/v1/moderate?peculiar=peculiar", body)
    running.post("/peculiar/peculiar", {"content": "peculiar"})
    running.post("/v1/moderate/batch", {"items": [{"content": "peculiar idiot"}]})
    running.post(
        "/v1alpha1/comments:analyze?key=peculiar",
        {"comment": {"text": "peculiar"}, "requestedAttributes": {"TOXICITY": {}}},
    )
    running.post("/v1/moderations", {"input": "peculiar"}, headers={"X-Request-ID": "mine"})
    running.stop()
    assert "peculiar" not in running.log.read_text()
    requests = [line for line in running.logged() if line["event"] == "request"]
    assert [line["status"] for line in requests[-7:]] == [200, 422, 422, 404, 200, 200, 200]
    assert requests[-1]["id"] == "mine"
    assert requests[-1]["route"] == "/v1/moderations"
    assert requests[-1]["ms"] > 0


def test_key_in_a_logged_address_is_redacted() -> None:
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "import logging, sys\n"
            "from moderation.server.access import log_to\n"
            "log_to(sys.stderr, 'info')\n"
            "logging.getLogger('moderation.server').info('GET /x?alt=json&key=SECRET&b=c')\n"
            "try:\n    raise ValueError('SECRET text')\n"
            "except ValueError:\n    logging.getLogger('uvicorn.error').exception('failed')\n",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stderr
    assert "SECRET" not in told
    first, second = map(json.loads, told.splitlines())
    assert first["event"] == "GET /x?alt=json&key=REDACTED&b=c"
    assert second["error"].startswith("ValueError in ")
