"""Four models on one input: what each says, or how to get it."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from moderation import Moderator
from moderation.ui.lineup import GUARD_KEY, GUARD_URL, Lineup, guarded_policy

THREAT = "I know where you live and I will kill you tonight."


@pytest.fixture
def guard_url() -> Iterator[str]:
    """A server that speaks the OpenAI chat protocol and finds everything unsafe."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            assert self.headers["Authorization"] == "Bearer let-me-in"
            message = {"role": "assistant", "content": "\n\nunsafe\nS1"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            data = json.dumps({"model": "guard", "choices": [choice]}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()
    thread.join()


def cards(shown: str) -> dict[str, str]:
    found = re.findall(r"<article.*?<h4>(.*?)<span>(.*?)</article>", shown, re.S)
    return dict(found)


def test_what_is_not_there_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.delenv(GUARD_URL, raising=False)
    shown = cards(Lineup().html(Moderator().moderate(THREAT)))
    assert list(shown) == ["LSTM", "DistilBERT", "Llama Guard", "BLIP"]
    assert "threat" in shown["LSTM"]
    assert "not configured" in shown["Llama Guard"]
    assert GUARD_URL in shown["Llama Guard"]
    assert "moderation models fetch Salesforce/" in shown["BLIP"]
    assert not caplog.records, "what is not configured is no fault"


def test_a_guard_behind_a_server_answers(guard_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GUARD_URL, guard_url)
    monkeypatch.setenv(GUARD_KEY, "let-me-in")
    shown = cards(Lineup().html(Moderator().moderate(THREAT)))
    assert "unsafe" in shown["Llama Guard"]
    assert "not configured" not in shown["Llama Guard"]
    verdict = Moderator(guarded_policy()).moderate("have a nice day")
    assert verdict.trace[-1].status == "ran"
    assert verdict.scores["unsafe"] == 1.0


def test_a_guard_that_does_not_answer_is_told_and_survived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(GUARD_URL, "http://127.0.0.1:9/v1")
    shown = cards(Lineup().html(Moderator().moderate("have a nice day")))
    assert "failed" in shown["Llama Guard"]
    assert "toxic" in shown["LSTM"]


def test_without_a_text_only_blip_has_something_to_look_at() -> None:
    image = pytest.importorskip("PIL.Image")
    moderator = Moderator()
    verdict = moderator.moderate(moderator.image(image.new("RGB", (40, 40))))
    shown = cards(Lineup().html(verdict))
    assert "There is no text to look at" in shown["LSTM"]
