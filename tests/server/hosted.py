"""The service in this process, on a port of its own: what clients that only know HTTP talk to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from moderation.server.access import Protocol
from moderation.server.app import Settings, create_app

WAIT = 60.0
"""Seconds that anything may take on a machine that is busy."""


@contextmanager
def hosted(settings: Settings, **options: Any) -> Iterator[str]:
    """Its address while it runs, once every policy is loaded; `options` are uvicorn's."""
    app = create_app(settings)
    server = uvicorn.Server(
        uvicorn.Config(app, http=Protocol, loop="asyncio", ws="none", log_config=None, **options)
    )
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        end = time.monotonic() + WAIT
        while not server.started or app.state.service.not_ready():
            assert thread.is_alive(), "the service did not start"
            assert time.monotonic() < end, "the service did not get ready"
            time.sleep(0.02)
        scheme = "https" if options.get("ssl_certfile") else "http"
        yield f"{scheme}://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        thread.join(WAIT)


def logged(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that the service has logged of a request; the line comes after the answer."""
    end = time.monotonic() + WAIT
    while not caplog.records:
        assert time.monotonic() < end, "the service logs every request"
        time.sleep(0.01)
    return "\n".join(str(vars(record)) for record in caplog.records)
