"""The page for people beside the API, in one process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")
pytest.importorskip("gradio", reason="the page needs moderation[ui]")

from running import Running

KEY = "a-key-for-both"


@pytest.mark.slow
def test_page_and_api_are_one_process_and_ask_for_the_same_keys(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text(KEY)
    running = serve("--ui", "--keys", str(tmp_path / "keys")).until_ready()
    front = running.get("/")
    assert (front.status_code, front.headers["location"]) == (307, "/ui/")
    refused = running.get("/ui/")
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert running.get("/ui/config", auth=("anyone", "not-the-key")).status_code == 401
    page = running.get("/ui/", auth=("anyone", KEY))
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert running.get("/ui/config", auth=("anyone", KEY)).json()["components"]
    # A key of the page's kind opens nothing else, and the other way round.
    assert running.get("/v1/policies", auth=("anyone", KEY)).status_code == 401
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert running.get("/ui/", headers=bearer).status_code == 401
    answer = running.post("/v1/moderate", {"content": "you idiot"}, headers=bearer)
    assert answer.json()["verdict"]["flagged"]
