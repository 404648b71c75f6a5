"""The shell: four tabs under one head, and the two ways to serve them."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from moderation.errors import ConfigError
from moderation.ui import batch, check, lineup, look, models, policy
from moderation.ui.desk import Desk

if TYPE_CHECKING:
    from fastapi import FastAPI

UPLOAD = "100mb"
"""The largest file that the page takes."""

KEPT = 3600
"""Seconds after which what a visitor uploaded is deleted, at the latest."""


def build(
    policies: Sequence[str | Path] = (), *, default: str = "", plugins: Sequence[Any] = ()
) -> gr.Blocks:
    """The page as Blocks; `launch` or `mount` serves it.

    Args:
        policies: shipped names and YAML files to choose from; all shipped ones unless given.
        default: the one that is chosen at first; the first of them unless given.
        plugins: further plugins, as `Moderator` takes them.

    Raises:
        ConfigError: `default` is none of them.
    """
    page = gr.Blocks(
        title="moderation", analytics_enabled=False, fill_width=True, delete_cache=(300, KEPT)
    )
    with page:
        desk = Desk(policies, default=default, plugins=plugins)
        look.html(look.masthead(), elem_id="masthead")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Check", id="check"):
                check.tab(desk)
            with gr.Tab("Batch", id="batch"):
                batch.tab(desk)
            with gr.Tab("Policy", id="policy"):
                policy.tab(desk)
            with gr.Tab("Models", id="models") as here:
                models.tab(desk, here)
        page.unload(desk.forget)
    desk.warm()
    return page


def launch(
    page: gr.Blocks, *, host: str | None = None, port: int | None = None, browse: bool = False
) -> None:
    """Serve the page until the process is stopped.

    `host` and `port` are GRADIO_SERVER_NAME and GRADIO_SERVER_PORT, or 127.0.0.1:7860, unless
    given.

    Raises:
        ConfigError: it cannot listen there.
    """
    if port is not None:
        # Gradio takes a minute to find out.
        try:
            socket.create_server((host or "127.0.0.1", port)).close()
        except OSError:
            raise ConfigError(
                f"cannot listen on {host or '127.0.0.1'}:{port}: another program does, or it is no "
                "address of this machine; choose another port"
            ) from None
    lineup.fetch_named()
    page.launch(
        server_name=host,
        server_port=port,
        inbrowser=browse,
        share=False,
        quiet=True,
        **_served(),
    )


def mount(app: FastAPI, path: str = "/", *, page: gr.Blocks | None = None) -> FastAPI:
    """Serve the page under `path` of another application, beside its own routes."""
    mounted: FastAPI = gr.mount_gradio_app(app, page or build(), path, **_served())
    return mounted


def _served() -> dict[str, Any]:
    """How Gradio serves the page, alone or mounted: as it looks, and without what it would add."""
    return {
        "show_error": True,
        "max_file_size": UPLOAD,
        "footer_links": ["api"],
        "run_history": False,
        "enable_monitoring": False,
        "ssr_mode": False,
        "theme": look.theme(),
        "css": look.CSS,
        "head": look.HEAD,
    }
