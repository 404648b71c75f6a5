"""The application: the service behind its faces."""

from __future__ import annotations

import signal
import sys
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from importlib.util import find_spec
from math import ceil
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse

from moderation import __version__
from moderation.engine import Moderator
from moderation.errors import MissingExtraError
from moderation.server import native, openai, perspective
from moderation.server.access import Gate, Keys, Protocol, log_to
from moderation.server.document import hoist_schemas
from moderation.server.face import Face, Problem
from moderation.server.metrics import Metrics
from moderation.server.service import Limits, Service

TEXT_BODY = 1_000_000
"""Bytes of a request, unless a served policy reads images."""
UI_PATH = "/ui"
GRACE = 5
"""Seconds beside `Limits.answer` that requests in progress are given when the service is told to
stop. Only a browser with the page open takes them all."""


class Settings(BaseModel):
    """What `moderation serve` is told.

    `policies`: names or files; the first is the default. `perspective_policy` and `openai_policy`
    are served too, and are what those faces judge by; the default where they are None.
    `keys`: a file of API keys; those in the environment variable MODERATION_KEYS count as well.
    `max_body`: bytes; room for the largest image where a policy reads images, else `TEXT_BODY`.
    `cors`: origins whose pages may call; none unless given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: tuple[str, ...] = Field(default=("default",), min_length=1)
    plugins: tuple[str, ...] = ()
    perspective_policy: str | None = "perspective"
    openai_policy: str | None = None
    suggestions: Path | None = None
    keys: Path | None = None
    max_body: int | None = Field(default=None, ge=1)
    cors: tuple[str, ...] = ()
    ui: bool = False
    limits: Limits = Limits()


def create_app(settings: Settings) -> FastAPI:
    """The application that serves `settings`; models are loaded when it starts.

    Raises:
        ConfigError: a policy, a plugin or the file of keys cannot be used.
        MissingExtraError: the page is asked for and gradio is not installed.
    """
    named = (*settings.policies, settings.perspective_policy, settings.openai_policy)
    moderators = {
        name: Moderator(name, plugins=settings.plugins)
        for name in dict.fromkeys(named)
        if name is not None
    }
    service = Service(list(moderators.values()), limits=settings.limits, metrics=Metrics())

    def of(policy: str | None) -> str | None:
        return None if policy is None else moderators[policy].policy.name

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        service.stop()

    app = FastAPI(
        title="moderation",
        version=__version__,
        summary="Content through an ordered chain of filters to one verdict.",
        lifespan=lifespan,
        redoc_url=None,
    )
    app.state.service = service
    faces: list[Face] = [native.FACE, openai.FACE, perspective.FACE]
    app.include_router(native.router(service))
    app.include_router(openai.router(service, policy=of(settings.openai_policy)))
    app.include_router(
        perspective.router(
            service, policy=of(settings.perspective_policy), suggestions=settings.suggestions
        )
    )
    if settings.ui:
        faces.append(_mount_page(app, settings))
    _raise_problems(app)
    hoist_schemas(app)
    app.add_middleware(
        Gate,
        faces=faces,
        keys=Keys.read(settings.keys),
        max_body=settings.max_body or _room(moderators.values()),
        metrics=service.metrics,
    )
    if settings.cors:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-goog-api-key", "x-request-id"],
            expose_headers=["retry-after", "x-request-id"],
        )
    return app


def serve(settings: Settings, *, host: str, port: int, log_level: str = "info") -> None:
    """Answer requests until SIGTERM or SIGINT; what has been accepted by then is finished.

    Raises:
        ConfigError: as `create_app`.
    """
    app = create_app(settings)
    log_to(sys.stderr, log_level)
    # uvicorn sends itself the signal again when all is done: being told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(0))
    uvicorn.run(
        app,
        host=host,
        port=port,
        http=Protocol,
        loop="uvloop" if find_spec("uvloop") else "asyncio",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=ceil(settings.limits.answer + GRACE),
    )


def _room(moderators: Iterable[Moderator]) -> int:
    """Bytes for the largest body that the policies can use."""
    images = [
        moderator.policy.images.max_bytes for moderator in moderators if "image" in moderator.kinds
    ]
    return TEXT_BODY + max(images, default=0) * 4 // 3  # base64


def _mount_page(app: FastAPI, settings: Settings) -> Face:
    """The Gradio page beside the API; a browser asks for a key where the service does."""
    try:
        from moderation.ui import build, mount
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "gradio", extra="ui", needed_for="--ui") from None

    mount(app, UI_PATH, page=build(settings.policies, plugins=settings.plugins))

    @app.get("/", include_in_schema=False)
    async def front() -> RedirectResponse:
        return RedirectResponse(f"{UI_PATH}/")

    return Face("page", (UI_PATH,), native.FACE.error, keys="basic", streams=True)


def _raise_problems(app: FastAPI) -> None:
    """Leave every error to the gate, which lets the face that owns the path word it."""

    async def on_http_error(_: Request, error: Exception) -> None:
        assert isinstance(error, HTTPException)
        if error.status_code == 404:
            raise Problem(404, "not_found", "there is no such path; see /docs") from None
        if error.status_code == 405:
            raise Problem(
                405,
                "method_not_allowed",
                "the path does not take this method; see /docs",
                headers=error.headers,
            ) from None
        raise Problem(error.status_code, "invalid_request", "the request cannot be used")

    async def on_invalid(_: Request, error: Exception) -> None:
        # FastAPI would send back what it was sent.
        raise Problem(422, "invalid_request", "the request is not of the expected shape") from None

    app.add_exception_handler(HTTPException, on_http_error)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid)  # type: ignore[arg-type]
