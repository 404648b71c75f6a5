"""The application: the service behind its faces."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """What `moderation serve` is told.

    The faces are included like this, each with its own policy or the first one:

        perspective.router(service, policy=settings.perspective_policy,
                           suggestions=settings.suggestions)
        openai.router(service, policy=settings.openai_policy)
        native.router(service)
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    policies: tuple[str, ...] = ("default",)
    plugins: tuple[str, ...] = ()
    perspective_policy: str | None = None
    openai_policy: str | None = None
    suggestions: Path | None = None


def create_app(settings: Settings) -> FastAPI:
    """The application that serves `settings`."""
    raise NotImplementedError
