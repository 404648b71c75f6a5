"""The shell: built, mounted in another application, with policies of one's own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import gradio as gr
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from moderation.errors import ConfigError
from moderation.ui import Desk, build, mount
from moderation.ui.lineup import GUARD_MODEL, GUARD_URL, Lineup, guarded_policy
from moderation.ui.look import text

POLICY = """
name: strict
steps: [{name: words, filter: wordlist, options: {lists: [english]}}]
thresholds: {profanity: {block: 0.5}, obscene: {block: 0.5}}
"""


@pytest.fixture(autouse=True)
def _closed_loops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Gradio makes event loops for its locks and leaves them open, which pytest would report."""
    made: list[asyncio.AbstractEventLoop] = []
    make = asyncio.new_event_loop

    def new() -> asyncio.AbstractEventLoop:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(asyncio, "new_event_loop", new)
    yield
    asyncio.set_event_loop(None)
    for loop in made:
        loop.close()


def test_mounted_beside_other_routes(tmp_path: Path) -> None:
    file = tmp_path / "strict.yaml"
    file.write_text(POLICY.replace("profanity: {block: 0.5}, ", ""))
    app = FastAPI()

    @app.get("/hello")
    def hello() -> str:
        return "hello"

    page = build(["default", file])
    with TestClient(mount(app, "/ui", page=page)) as client:
        assert client.get("/hello").json() == "hello"
        assert 'content="moderation"' in client.get("/ui/").text
        config = client.get("/ui/config").json()
        assert config["analytics_enabled"] is False
        assert config["run_history"] is False
        named = {each["api_name"] for each in config["dependencies"]}
        assert {"check", "models", "model"} <= named
        told = client.post(
            "/ui/gradio_api/run/check", json={"data": ["holy shit", None, str(file)]}
        ).json()
        assert told["data"][0]["action"] == "block"
        # A file of this machine is not a picture that somebody sent.
        other = {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}
        told = client.post("/ui/gradio_api/run/check", json={"data": ["", other, "default"]}).json()
        assert "data" not in told


def test_a_default_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="did you mean 'default'"):
        build(default="defalt")


def test_a_policy_that_cannot_be_used_says_so_when_it_is_chosen(tmp_path: Path) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: broken\nsteps: [{name: a, filter: nothing}]\nthresholds: {}\n")
    with gr.Blocks():
        desk = Desk(["default", broken])
    assert desk.moderator("default").moderate("have a nice day").flagged is False
    with pytest.raises(ConfigError, match="there is no filter 'nothing'"):
        desk.moderator(str(broken))


def test_a_guard_of_the_environment_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD_URL, "http://127.0.0.1:9/v1")
    monkeypatch.setenv(GUARD_MODEL, "Qwen/Qwen3Guard-Gen-0.6B")
    with gr.Blocks():
        assert "guarded" in Desk().names
    last = guarded_policy().steps[-1]
    assert (last.filter, last.options["url"]) == ("llama_guard", "http://127.0.0.1:9/v1")
    guard = next(model for model in Lineup().models if model.key == "guard")
    assert guard.step.options["model"] == "Qwen/Qwen3Guard-Gen-0.6B"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<b>&", "&lt;b&gt;&amp;"),
        ("${a} {{b}}", "&#36;&#123;a} &#123;&#123;b}}"),
        ("a\x07b\u202ec\nd", "a\ufffdb\ufffdc\nd"),
        ("\U0001f468\u200d\U0001f469", "\U0001f468\u200d\U0001f469"),
    ],
)
def test_text_as_html(given: str, shown: str) -> None:
    assert text(given) == shown
