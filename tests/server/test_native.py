"""The whole verdict over HTTP: what is asked, what comes back, and what is refused how."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from running import Running

from moderation import Moderator, verdict_schema
from moderation.server.native import MAX_ITEMS


def untimed(verdict: dict[str, Any]) -> dict[str, Any]:
    """A verdict without how long it took."""
    trace = [{**step, "ms": 0} for step in verdict["trace"]]
    return {**verdict, "trace": trace}


@pytest.mark.parametrize(
    "text",
    [
        "have a nice day",
        "nobody wants you here, you fucking idiot",
        "",
        "y0u 1d1ot \U0001f469\u200d\U0001f4bb",
        "Das ist ein ganz normaler Satz auf Deutsch.",
    ],
)
def test_verdict_is_the_one_that_the_engine_gives(served: Running, text: str) -> None:
    answer = served.post("/v1/moderate", {"content": text})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    told = answer.json()
    assert list(told) == ["verdict"]
    jsonschema.Draft202012Validator(verdict_schema()).validate(told["verdict"])
    expected = json.loads(json.dumps(Moderator().moderate(text).to_dict()))
    for step in (*told["verdict"]["trace"], *expected["trace"]):
        step["scores"] = {name: pytest.approx(s, abs=1e-4) for name, s in step["scores"].items()}
    for verdict in (told["verdict"], expected):
        verdict["scores"] = {n: pytest.approx(s, abs=1e-4) for n, s in verdict["scores"].items()}
        for signal in verdict["signals"]:
            signal["score"] = pytest.approx(signal["score"], abs=1e-4)
    assert untimed(told["verdict"]).keys() == expected.keys()
    for name in ("action", "degraded", "parts", "policy", "models"):
        assert told["verdict"][name] == expected[name]
    for name in told["verdict"]["scores"]:
        assert told["verdict"]["scores"][name].expected == expected["scores"][name]
    assert [s["span"] for s in told["verdict"]["signals"]] == [
        s["span"] for s in expected["signals"]
    ]


def test_mask_and_explain_add_what_they_say(served: Running) -> None:
    told = served.post(
        "/v1/moderate", {"content": "you are an 1d1ot", "mask": True, "explain": True}
    ).json()
    assert told["masked"] == ["you are an 1****"]
    assert told["explanation"]["read"] == ["you are an idiot"]
    assert told["explanation"]["thresholds"]["toxic"] == {"review": 0.6, "block": 0.9}
    assert told["verdict"]["parts"][0]["text"] == "you are an 1d1ot"
    jsonschema.Draft202012Validator(verdict_schema()).validate(told["verdict"])


def test_without_explain_no_text_comes_back(served: Running) -> None:
    answer = served.post("/v1/moderate", {"content": "a rather peculiar sentence"})
    assert "peculiar" not in answer.text


def test_parts_are_judged_together_and_counted_from_zero(served: Running) -> None:
    parts = [{"type": "text", "text": "hello there"}, {"type": "text", "text": "you idiot"}]
    verdict = served.post("/v1/moderate", {"content": parts}).json()["verdict"]
    assert len(verdict["parts"]) == 2
    assert {s["part"] for s in verdict["signals"] if s["category"] == "insult"} == {0, 1}
    assert [s["part"] for s in verdict["signals"] if s["span"] == [4, 9]] == [1]


def test_language_that_the_caller_knows_is_believed(served: Running) -> None:
    verdict = served.post("/v1/moderate", {"content": "a nice day", "language": "om"}).json()[
        "verdict"
    ]
    assert verdict["degraded"]
    assert verdict["trace"][1]["reason"] == "language"


def test_batch_answers_in_order_each_on_its_own(served: Running) -> None:
    texts = ["you idiot", "have a nice day", "you idiot"] * 20
    answer = served.post("/v1/moderate/batch", {"items": [{"content": t} for t in texts]})
    results = answer.json()["results"]
    assert [result["verdict"]["flagged"] for result in results] == [t == "you idiot" for t in texts]


def test_lone_surrogate_is_judged(served: Running) -> None:
    """What is left of an emoji that a client has cut in two is no way around moderation."""
    for path, body in (
        ("/v1/moderate", b'{"content": "you idiot \\ud83d", "mask": true}'),
        ("/v1/moderate", b'{"content": "you idiot \\udc00", "mask": true}'),
    ):
        answer = httpx.post(f"{served.url}{path}", content=body, timeout=60)
        assert answer.status_code == 200
        assert answer.json()["masked"] == ["you i**** \ufffd"]


BAD: list[tuple[str, bytes, int, str, str | None]] = [
    ("/v1/moderate", b"", 400, "invalid_json", None),
    ("/v1/moderate", b"not json", 400, "invalid_json", None),
    ("/v1/moderate", b'{"content": "peculiar"', 400, "invalid_json", None),
    ("/v1/moderate", b'{"content": "peculiar \xff"}', 400, "invalid_utf8", None),
    ("/v1/moderate", b'{"content": "\\ud83d peculiar}', 400, "invalid_json", None),
    ("/v1/moderate", b"[" * 100_000, 400, "invalid_json", None),
    ("/v1/moderate", b'["peculiar"]', 422, "invalid_request", None),
    ("/v1/moderate", b"{}", 422, "invalid_request", "content"),
    ("/v1/moderate", b'{"content": 5}', 422, "invalid_request", "content"),
    ("/v1/moderate", b'{"content": null}', 422, "invalid_request", "content"),
    ("/v1/moderate", b'{"content": []}', 422, "invalid_request", "content"),
    ("/v1/moderate", b'{"content": "x", "mask": "yes"}', 422, "invalid_request", "mask"),
    ("/v1/moderate", b'{"content": "x", "peculiar": 1}', 422, "invalid_request", None),
    (
        "/v1/moderate",
        b'{"content": "x", "language": "peculiar!"}',
        422,
        "invalid_request",
        "language",
    ),
    ("/v1/moderate", b'{"content": "x", "policy": "peculiar"}', 404, "unknown_policy", "policy"),
    (
        "/v1/moderate",
        b'{"content": "x", "context": [{"role": "peculiar", "text": ""}]}',
        422,
        "invalid_request",
        "context[0].role",
    ),
    (
        "/v1/moderate",
        b'{"content": [{"type": "text", "text": "x"}, {"type": "peculiar"}]}',
        422,
        "invalid_request",
        "content[1].type",
    ),
    (
        "/v1/moderate",
        b'{"content": [{"type": "image", "url": "file:///peculiar"}]}',
        422,
        "invalid_request",
        "content[0].url",
    ),
    (
        "/v1/moderate",
        b'{"content": [{"type": "image", "url": "https://peculiar.example/a.png"}]}',
        400,
        "invalid_content",
        "content[0].url",
    ),
    (
        "/v1/moderate",
        b'{"content": [{"type": "image", "url": "data:image/png;base64,cGVjdWxpYXI="}]}',
        400,
        "invalid_content",
        "content[0].url",
    ),
    (
        "/v1/moderate/batch",
        b'{"items": [{"content": "x"}, {"content": "x", "mask": true}]}',
        422,
        "invalid_request",
        "items[1].mask",
    ),
    ("/v1/moderate/batch", b'{"items": []}', 422, "invalid_request", "items"),
    ("/v1/moderate", json.dumps({"content": "x" * 100_001}).encode(), 400, "invalid_content", None),
    ("/v1/nothing/peculiar", b"{}", 404, "not_found", None),
    ("/v1/policies", b"{}", 405, "method_not_allowed", None),
]


@pytest.mark.parametrize(("path", "body", "status", "code", "param"), BAD)
def test_fault_is_named_and_nothing_is_quoted(
    served: Running, path: str, body: bytes, status: int, code: str, param: str | None
) -> None:
    if code == "invalid_content" and param:
        pytest.importorskip("PIL", reason="images need moderation[images]")
    answer = httpx.post(f"{served.url}{path}", content=body, timeout=60)
    told = answer.json()["error"]
    assert (answer.status_code, told["code"], told["param"]) == (status, code, param)
    assert told["message"]
    assert "peculiar" not in answer.text
    if status == 405:
        assert answer.headers["allow"] == "GET"


def test_batch_has_a_limit(served: Running) -> None:
    items = [{"content": "x"}] * (MAX_ITEMS + 1)
    answer = served.post("/v1/moderate/batch", {"items": items})
    assert (answer.status_code, answer.json()["error"]["param"]) == (422, "items")


def test_examples_of_the_documentation_run(served: Running) -> None:
    """Every example of every request in the OpenAPI document is answered with 200."""
    pytest.importorskip("PIL", reason="one of them holds an image")
    ran = 0
    for path, methods in served.get("/openapi.json").json()["paths"].items():
        for operation in methods.values():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name, example in body.get("examples", {}).items():
                answer = served.post(path, example["value"])
                assert answer.status_code == 200, f"{path}: {name}: {answer.text}"
                ran += 1
    assert ran >= 4


def test_policies_and_models_are_listed(served: Running) -> None:
    policies = served.get("/v1/policies").json()["policies"]
    [default] = [policy for policy in policies if policy["default"]]
    assert default["name"] == "default"
    assert default["fingerprint"] == Moderator().policy.fingerprint
    assert [step["name"] for step in default["steps"]] == [
        step.name for step in Moderator().policy.steps
    ]
    models = served.get("/v1/models").json()
    [lstm] = [model for model in models["data"] if model["id"] == "toxicity-lstm"]
    assert lstm["available"]
    steps = {(step["policy"], step["step"]): step["fingerprint"] for step in lstm["steps"]}
    verdict = served.post("/v1/moderate", {"content": "x"}).json()["verdict"]
    assert steps["default", "lstm"] == verdict["models"]["lstm"]


PLUGIN = '''
from moderation import Filter, Signal, hookimpl

class Bright(Filter):
    """Says how bright an image is, and keeps what it was told about the content."""

    name = "bright"
    parts = frozenset({"image"})

    def categories(self):
        return ["bright"]

    def check_batch(self, contents):
        return [
            [
                Signal("bright", part.image.frames[0].getpixel((0, 0))[0] / 255, None, index)
                for index, part in enumerate(content.parts)
            ]
            for content in contents
        ]

@hookimpl
def moderation_filters():
    return [Bright]

@hookimpl
def moderation_verdict(content, verdict):
    with open(content.metadata["file"], "a") as file:
        told = [message.text for message in content.context]
        file.write(f"{content.metadata['user']} {told} {verdict.action}\\n")
'''


def test_images_context_and_metadata_reach_the_chain(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    image = pytest.importorskip("PIL.Image", reason="images need moderation[images]")
    (tmp_path / "bright.py").write_text(PLUGIN)
    (tmp_path / "bright.yaml").write_text(
        "name: bright\nplugins: [./bright.py]\n"
        "steps: [{name: bright, filter: bright}]\nthresholds: {bright: {block: 0.9}}\n"
    )
    running = serve("--policy", "default", "--policy", str(tmp_path / "bright.yaml")).until_ready()

    def address(colour: str) -> str:
        data = BytesIO()
        image.new("RGB", (4, 4), colour).save(data, "PNG")
        return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()

    seen = tmp_path / "seen"
    actions = []
    for colour in ("black", "white"):
        answer = running.post(
            "/v1/moderate",
            {
                "content": [{"type": "image", "url": address(colour)}],
                "context": [{"role": "user", "text": "before"}],
                "metadata": {"file": str(seen), "user": 7},
                "policy": "bright",
            },
        )
        actions.append(answer.json()["verdict"]["action"])
    assert actions == ["allow", "block"]
    assert seen.read_text() == "7 ['before'] allow\n7 ['before'] block\n"
