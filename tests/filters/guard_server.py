"""A small server that speaks the OpenAI chat protocol over real HTTP, with a model behind it.

It is an implementation of its own: it computes every prompt as a whole, decodes from the first
token, and gives log-probabilities at every position, as vLLM does.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


class GuardServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, folder: Path | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.faults: list[str] = []
        """What goes wrong, for one request each, before it answers."""
        self.logprobs = True
        self.takes_template_options = True
        self.blocks = True
        self.slow = 0.0
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.prompts: list[str] = []
        self.connections = 0
        self.busy = self.busiest = 0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        if folder is not None:
            self.tokenizer = AutoTokenizer.from_pretrained(folder)
            self.model = AutoModelForCausalLM.from_pretrained(folder)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is no fault here."""

    def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        messages = body["messages"]
        if self.blocks:
            messages = [
                {**one, "content": [{"type": "text", "text": one["content"]}]} for one in messages
            ]
        options = body.get("chat_template_kwargs", {}) if self.takes_template_options else {}
        prompt = self.tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **options
        )
        ids = self.tokenizer(prompt, add_special_tokens=False)["input_ids"]
        with self.lock, torch.inference_mode():
            self.prompts.append(prompt)
            written, content = list(ids), []
            while len(written) < len(ids) + body["max_tokens"]:
                logits = self.model(torch.tensor([written])).logits[0, -1].float()
                likely = logits.log_softmax(-1).topk(body.get("top_logprobs", 1))
                token = int(logits.argmax())
                written.append(token)
                if token == self.tokenizer.eos_token_id:
                    break
                top = [
                    {"token": self.tokenizer.decode([index]), "logprob": value}
                    for index, value in zip(
                        likely.indices.tolist(), likely.values.tolist(), strict=True
                    )
                ]
                content.append({**top[0], "top_logprobs": top})
        text = self.tokenizer.decode(written[len(ids) :], skip_special_tokens=True)
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        if self.logprobs and body.get("logprobs"):
            choice["logprobs"] = {"content": content}
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(written) - len(ids)}
        return {"object": "chat.completion", "choices": [choice], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: GuardServer

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with server.lock:
            server.requests.append(body)
            server.headers.append(dict(self.headers))
            fault = server.faults.pop(0) if server.faults else ""
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            time.sleep(server.slow)
            if self.path != "/v1/chat/completions":
                self._send(404, b"{}")
            elif fault:
                self._fail(fault)
            else:
                self._send(200, json.dumps(server.complete(body)).encode())
        finally:
            with server.lock:
                server.busy -= 1

    def _send(self, status: int, data: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def _fail(self, fault: str) -> None:
        if fault.isdigit():
            self._send(int(fault), b'{"error": "as told"}', Retry_After="0")
        elif fault == "later":
            self._send(429, b"{}", Retry_After="3600")
        elif fault == "close":
            self.close_connection = True
        elif fault == "half":
            self.send_response(200)
            self.send_header("Content-Length", "1000")
            self.end_headers()
            self.wfile.write(b'{"choices": [')
            self.close_connection = True
        elif fault == "trickle":
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            while not self.server.stopping.wait(0.02):
                self.wfile.write(b" ")
                self.wfile.flush()
        elif fault == "hang":
            self.server.stopping.wait(30)
            self.close_connection = True
        elif fault == "huge":
            self._send(200, b" " * 1_100_000)
        else:  # the body itself
            self._send(200, fault.encode())


@contextmanager
def serving(folder: Path | None = None) -> Any:
    server = GuardServer(folder)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        server.shutdown()
        server.server_close()
        thread.join()


def said(text: object, **choice: Any) -> str:
    """The body of a chat completion that says `text`."""
    return json.dumps({"choices": [{"message": {"content": text}, **choice}]})
