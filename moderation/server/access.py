"""What every request passes before a face sees it: keys, limits, ids, and the line in the log."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
import logging
import os
import re
import uuid
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from moderation.errors import ConfigError
from moderation.server.face import Face, Overloaded, Problem, problem_of
from moderation.server.metrics import Metrics

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

KEYS_VARIABLE = "MODERATION_KEYS"

PATIENCE = 10.0
"""Seconds that a request's head may take, and its body beside what `RATE` gives it."""
RATE = 50_000
"""Bytes a second that a longer body has to come at."""
BODIES = 128_000_000
"""Bytes of bodies that are held at a time, beyond which requests are refused with 429."""
HANGUP_AFTER = 0.02
"""Seconds after which it is watched whether the client is still there: most are answered before."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")

log = logging.getLogger("moderation.server")


class Keys:
    """API keys, of which hashes are kept; comparing takes the same time whatever was sent."""

    def __init__(self, keys: Iterable[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys]

    @classmethod
    def read(cls, path: Path | None) -> Keys:
        """The keys in a file, one a line, and those in the environment, with commas between.

        Raises:
            ConfigError: the file cannot be read or holds no key, or a key is too short to be one.
        """
        keys = [key.strip() for key in os.environ.get(KEYS_VARIABLE, "").split(",")]
        if path is not None:
            try:
                lines = path.read_text(encoding="utf-8").splitlines()
            except OSError as error:
                raise ConfigError(
                    f"expected a file of API keys, found a fault: {error.strerror}", where=str(path)
                ) from None
            except UnicodeDecodeError:
                raise ConfigError("expected UTF-8, found another byte", where=str(path)) from None
            found = [line.strip() for line in lines if not line.lstrip().startswith("#")]
            if not any(found):
                raise ConfigError("expected API keys, one a line, found none", where=str(path))
            keys += found
        keys = [key for key in keys if key]
        if any(len(key) < 8 for key in keys):
            raise ConfigError("expected API keys of 8 characters or more, found a shorter one")
        return cls(keys)

    def __bool__(self) -> bool:
        return bool(self._digests)

    def know(self, key: bytes) -> bool:
        """Whether `key` is one of them."""
        digest = _digest(key)
        found = False
        for known in self._digests:  # all of them, so that the time does not tell which it was
            found |= hmac.compare_digest(digest, known)
        return found


class Gate:
    """ASGI middleware around the whole application.

    What leaves the application as an exception ends here: the face that owns the path words it, and
    nobody logs a traceback, which might quote what a user wrote.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        faces: Sequence[Face],
        keys: Keys,
        max_body: int,
        metrics: Metrics,
    ) -> None:
        """The first of `faces` answers for paths that none of them owns."""
        self._app = app
        self._keys = keys
        self._max_body = max_body
        self._metrics = metrics
        self._default = faces[0]
        self._held = 0
        owned = [(path, face) for face in faces for path in face.paths]
        self._owned = sorted(owned, key=lambda each: len(each[0]), reverse=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            else:  # no face speaks over a WebSocket
                await send({"type": "websocket.close"})
            return
        began = perf_counter()
        path = scope["path"]
        owners = (face for prefix, face in self._owned if path.startswith(prefix))
        face = next(owners, self._default)
        headers = dict(scope["headers"])
        sent = headers.get(b"x-request-id", b"")
        request_id = sent if _REQUEST_ID.fullmatch(sent) else uuid.uuid4().hex.encode()
        scope.setdefault("state", {})["request_id"] = request_id.decode()
        status = 0
        fault: dict[str, str] = {}
        pieces: list[bytes] = []

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        self._metrics.in_flight.inc()
        try:
            if self._keys and path not in face.open_paths:
                self._admit(face, headers, scope["query_string"])
            if face.streams:
                await self._app(scope, receive, reply)
            elif await self._read(headers, receive, pieces):
                pieces[:] = [b"".join(pieces)]
                await self._answer(scope, pieces[0], receive, reply)
        except Exception as error:  # noqa: BLE001  # it is answered, and logged without its message
            if status:  # half of an answer is out: nothing can be put right
                fault = {"error": _told(error)}
            else:
                problem = problem_of(error)
                if problem.status >= 500:
                    fault = {"error": _told(error)}
                await _send_problem(face, problem, reply)
        finally:
            seconds = perf_counter() - began
            route = getattr(scope.get("route"), "path", "") or "(none)"
            if face.streams:  # the page's many files are one
                route = face.paths[0]
            self._held -= sum(map(len, pieces))
            self._metrics.in_flight.dec()
            self._metrics.answered(scope["method"], route, status, seconds)
            log.log(
                logging.ERROR if fault else logging.INFO,
                "request",
                extra={
                    "id": request_id.decode(),
                    "method": scope["method"],
                    # Not the path and query that were asked for: they may hold anything.
                    "route": route,
                    "status": status or "hung up",
                    "ms": round(seconds * 1e3, 2),
                    **fault,
                },
            )

    def _admit(self, face: Face, headers: dict[bytes, bytes], query: bytes) -> None:
        headers_of = {
            "bearer": {"WWW-Authenticate": "Bearer"},
            "basic": {"WWW-Authenticate": 'Basic realm="moderation", charset="UTF-8"'},
        }
        key = _sent_key(face, headers, query)
        if not key:
            told = {
                "bearer": "expected a key as in: Authorization: Bearer KEY",
                "google": "expected a key as in: ?key=KEY, or in the header x-goog-api-key",
                "basic": "expected a key as the password",
            }
            raise Problem(401, "missing_key", told[face.keys], headers=headers_of.get(face.keys))
        if not self._keys.know(key):
            raise Problem(
                401,
                "invalid_key",
                "the key that was sent is not one of this service's",
                headers=headers_of.get(face.keys),
            )

    async def _read(
        self, headers: dict[bytes, bytes], receive: Receive, pieces: list[bytes]
    ) -> bool:
        """Read the body into `pieces`; false where the client has hung up."""
        declared = headers.get(b"content-length", b"")
        if declared.isdigit() and int(declared) > self._max_body:
            raise self._too_large()
        began = asyncio.get_running_loop().time()
        size = 0
        while True:
            try:
                async with asyncio.timeout_at(began + PATIENCE + size / RATE):
                    message = await receive()
            except TimeoutError:
                raise Problem(
                    408,
                    "request_timeout",
                    f"the body came too slowly: expected {RATE // 1000} kB a second",
                    headers={"Connection": "close"},
                ) from None
            if message["type"] == "http.disconnect":
                return False
            piece = message.get("body", b"")
            size += len(piece)
            if size > self._max_body:
                raise self._too_large()
            pieces.append(piece)
            self._held += len(piece)
            if self._held > max(BODIES, 2 * self._max_body):
                raise Overloaded(1)
            if not message.get("more_body"):
                return True

    def _too_large(self) -> Problem:
        return Problem(
            413, "body_too_large", f"expected a body of at most {self._max_body:,} bytes"
        )

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, reply: Send) -> None:
        """Run the application on a body that is there, for as long as the client is."""
        unread = True

        async def read() -> Message:
            nonlocal unread
            if unread:
                unread = False
                return {"type": "http.request", "body": body, "more_body": False}
            return await receive()

        task = asyncio.current_task()
        assert task is not None
        hung_up = False
        watcher: asyncio.Task[None] | None = None

        async def wait_for_hangup() -> None:
            nonlocal hung_up
            while (await receive())["type"] != "http.disconnect":
                pass
            hung_up = True
            task.cancel()

        def watch() -> None:
            nonlocal watcher
            watcher = loop.create_task(wait_for_hangup())

        loop = asyncio.get_running_loop()
        timer = loop.call_later(HANGUP_AFTER, watch)
        try:
            await self._app(scope, read, reply)
        except asyncio.CancelledError:
            if not hung_up:
                raise
            task.uncancel()
        finally:
            timer.cancel()
            if watcher is not None:
                watcher.cancel()


class Protocol(HttpToolsProtocol):
    """uvicorn's, but what is slow ends: a request's head, and the rest of a refused body.

    uvicorn itself bounds only the pause between two requests of a connection.
    """

    _patience: asyncio.TimerHandle | None = None
    _whole = True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait(self.timeout_keep_alive)  # the pause before the first request is one too

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._whole = False
        self._wait(PATIENCE)

    def on_headers_complete(self) -> None:
        self._stop_waiting()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._whole = True
        self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._whole:
            self._wait(PATIENCE)

    def _wait(self, seconds: float) -> None:
        self._stop_waiting()
        self._patience = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class JSONLines(logging.Formatter):
    """One JSON object a record: time, level, event, and what the record was given as `extra`.

    Of an exception only its type and place: its message may quote what a user wrote.
    """

    _PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "color_message"}

    def format(self, record: logging.LogRecord) -> str:
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": _redacted(record.getMessage()),
        }
        told |= {name: value for name, value in vars(record).items() if name not in self._PLAIN}
        if record.exc_info and record.exc_info[1] is not None:
            told["error"] = _told(record.exc_info[1])
        return json.dumps(told, ensure_ascii=False, default=str)


def log_to(stream: Any, level: str) -> None:
    """Send what this package and uvicorn log to `stream`, as JSON lines."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    for name in ("moderation", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    logging.getLogger("uvicorn.access").disabled = True  # it would log queries, and so keys


async def _send_problem(face: Face, problem: Problem, reply: Send) -> None:
    status, told = face.error(problem)
    body = json.dumps(told, ensure_ascii=False).encode()
    headers = {
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        **problem.headers,
    }
    raw = [
        (name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()
    ]
    await reply({"type": "http.response.start", "status": status, "headers": raw})
    await reply({"type": "http.response.body", "body": body})


def _sent_key(face: Face, headers: dict[bytes, bytes], query: bytes) -> bytes:
    if face.keys == "google":
        if b"x-goog-api-key" in headers:
            return headers[b"x-goog-api-key"].strip()
        return parse_qs(query).get(b"key", [b""])[0]
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != face.keys.encode():
        return b""
    if face.keys == "bearer":
        return value.strip()
    with suppress(binascii.Error, ValueError):
        return base64.b64decode(value.strip(), validate=True).partition(b":")[2]
    return b""


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _redacted(text: str) -> str:
    return re.sub(r"(\bkey=)[^&\s\"']+", r"\1REDACTED", text)


def _told(error: BaseException) -> str:
    place, trace = "", error.__traceback__
    while trace is not None:
        place = f" in {Path(trace.tb_frame.f_code.co_filename).name}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return type(error).__name__ + place
