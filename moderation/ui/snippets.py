"""The same check from a program: code for the very input that is on the screen."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pprint import pformat

from moderation.ui import look

LONG = 2_000
"""Characters of a text beyond which the code reads it from a file."""

SERVICE = "http://localhost:8000"


def code(text: str, policy: str, image: str = "") -> str:
    """HTML with one way to choose from; `image` is the name of the file on the visitor's disk."""
    ways = list(_ways(text, policy, image))
    choices = "".join(
        f'<input type="radio" name="way" id="way-{key}"{" checked" if place == 0 else ""}>'
        f'<label for="way-{key}">{name}</label>'
        for place, (key, name, _, _) in enumerate(ways)
    )
    bodies = "".join(
        f'<div class="way {key}"><pre tabindex="0"><code>{look.text(body)}</code></pre>'
        '<button type="button" class="quiet" data-does="copy">Copy</button>'
        f'<p class="soft small">{look.text(told)}</p></div>'
        for key, _, body, told in ways
    )
    return (
        '<section class="panel code"><h2>The same from a program</h2>'
        f'<div class="ways" role="radiogroup" aria-label="Way to call">{choices}</div>{bodies}'
        "</section>"
    )


def _ways(text: str, policy: str, image: str) -> Iterator[tuple[str, str, str, str]]:
    long = len(text) > LONG
    yield "python", "Python", _python(text, policy, image, long), "pip install moderation"
    options = "" if policy == "default" else f" --policy {shlex.quote(policy)}"
    if image:
        options += f" --image {shlex.quote(image)}"
    if long:
        command = f"moderation check{options} --explain --whole --file text.txt"
    else:
        given = f" -- {shlex.quote(text)}" if text else ""
        command = f"moderation check{options} --explain{given}"
    yield "cli", "Command line", command, "The exit status is 0, 3 or 4: allow, review, block."
    content: object = _or_file(text, long)
    if image:
        parts = [{"type": "text", "text": _or_file(text, long)}] if text else []
        content = [*parts, {"type": "image", "url": "data:image/png;base64,…"}]
    body = {"content": content, "policy": policy}
    yield "http", "HTTP", _curl("/v1/moderate", body), _serve(policy)
    yield (
        "openai",
        "OpenAI",
        _openai(text, image, long),
        f"{_serve(policy)}; the client is OpenAI's own, only the address differs.",
    )
    yield (
        "perspective",
        "Perspective",
        _curl(
            "/v1alpha1/comments:analyze",
            {
                "comment": {"text": _or_file(text, long)},
                "requestedAttributes": {"TOXICITY": {}, "THREAT": {}, "INSULT": {}},
                "languages": ["en"],
                "doNotStore": True,
            },
        ),
        f"{_serve(policy)}; the host is all that changes for a client of the Perspective API.",
    )
    yield "client", "This page", _client(text, policy, image, long), "pip install gradio_client"


def _serve(policy: str) -> str:
    return "moderation serve" + ("" if policy == "default" else f" --policy {policy}")


def _or_file(text: str, long: bool) -> str:
    return "<the text>" if long else text


def _read(text: str, long: bool) -> str:
    return 'Path("text.txt").read_text(encoding="utf-8")' if long else repr(text)


def _python(text: str, policy: str, image: str, long: bool) -> str:
    lines = [
        "from moderation import Moderator, Part" if image else "from moderation import Moderator"
    ]
    if long or image:
        lines.insert(0, "from pathlib import Path\n")
    name = "" if policy == "default" else repr(policy)
    lines += ["", f"moderator = Moderator({name})"]
    read = _read(text, long)
    if image:
        parts = [f'Part("text", {read})'] if text else []
        parts.append(f"moderator.image(Path({image!r}))")
        lines.append(f"verdict = moderator.moderate([{', '.join(parts)}])")
    else:
        lines.append(f"verdict = moderator.moderate({read})")
    lines += ["", "print(verdict.action, verdict.reasons)", "print(verdict.masked())"]
    return "\n".join(lines)


def _curl(path: str, body: object) -> str:
    data = json.dumps(body, ensure_ascii=False, indent=2)
    return (
        f"curl {SERVICE}{path} \\\n  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(data)}"
    )


def _openai(text: str, image: str, long: bool) -> str:
    given: object = text
    if image:
        parts: list[dict[str, object]] = [{"type": "text", "text": text}] if text else []
        given = [*parts, {"type": "image_url", "image_url": {"url": "data:image/png;base64,…"}}]
    told = _read(text, long) if long and not image else pformat(given, width=88, sort_dicts=False)
    more = "from pathlib import Path\n\n" if long and not image else ""
    return (
        f"{more}from openai import OpenAI\n\n"
        f'client = OpenAI(base_url="{SERVICE}/v1", api_key="none")\n'
        f"answer = client.moderations.create(input={told})\n\n"
        "print(answer.results[0].flagged, answer.results[0].category_scores)"
    )


def _client(text: str, policy: str, image: str, long: bool) -> str:
    more = "from pathlib import Path\n\n" if long else ""
    name = "Client, handle_file" if image else "Client"
    picture = f"    image=handle_file({image!r}),\n" if image else ""
    return (
        f"{more}from gradio_client import {name}\n\n"
        'client = Client("http://127.0.0.1:7860")\n'
        f"verdict = client.predict(\n    text={_read(text, long)},\n"
        f"    policy={policy!r},\n{picture}"
        '    api_name="/check",\n)\n\nprint(verdict["action"], verdict["reasons"])'
    )
