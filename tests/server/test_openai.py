"""OpenAI's moderation endpoint: the rule behind the names, inputs, faults, real clients."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")

import httpx
from hosted import WAIT, hosted, logged
from hypothesis import given
from hypothesis import strategies as st

from moderation import Content, Moderator, Part, Policy
from moderation.engine import MAX_PARTS
from moderation.server.app import Settings
from moderation.server.face import Problem
from moderation.server.openai import FACE, MAX_INPUTS, Address, ModerationRequest, inputs, result
from moderation.taxonomy import OPENAI

PATH = "/v1/moderations"


def policy(*steps: dict[str, Any], **more: Any) -> Moderator:
    moderator = Moderator(
        Policy.model_validate(
            {
                "name": "static",
                "plugins": ["testing"],
                "steps": [
                    {"name": f"s{place}", "filter": "static", **step}
                    for place, step in enumerate(steps)
                ],
                "thresholds": {},
                **more,
            }
        )
    )
    moderator.load()
    return moderator


def told(moderator: Moderator, content: Any) -> dict[str, Any]:
    return result(moderator.moderate(content, exhaustive=True), moderator)


def true(found: dict[str, bool]) -> set[str]:
    return {name for name, value in found.items() if value}


class TestRule:
    @pytest.fixture
    def all_of_jigsaw(self) -> Moderator:
        default = {"insult": 0.25, "threat": 0.5, "identity_attack": 0.75, "toxic": 0.125}
        return policy(
            {"options": {"default": default}},
            thresholds={
                "toxic": {"review": 0.9},
                "threat": {"review": 0.5, "block": 0.9},
                "identity_attack": {"block": 0.7},
                "insult": {"review": 0.3},
            },
        )

    def test_scores_and_categories_by_hand(self, all_of_jigsaw: Moderator) -> None:
        found = told(all_of_jigsaw, "anything")
        assert list(found["categories"]) == list(OPENAI)
        assert found["flagged"] is True
        scores = dict.fromkeys(OPENAI, 0.0) | {
            "harassment": 0.5,  # the higher of insult and threat
            "harassment/threatening": 0.5,
            "hate": 0.75,
            "hate/threatening": 0.5,  # the lower of identity_attack and threat
        }
        assert found["category_scores"] == scores
        # insult .25 is below its threshold, threat .5 reaches its own: harassment holds by it.
        held = {"harassment", "harassment/threatening", "hate", "hate/threatening"}
        assert true(found["categories"]) == held
        types = found["category_applied_input_types"]
        assert types == {name: ["text"] if name in held else [] for name in OPENAI}

    def test_both_have_to_hold_for_a_name_of_both(self) -> None:
        moderator = policy(
            {"options": {"default": {"threat": 0.4, "identity_attack": 0.9}}},
            thresholds={"threat": {"review": 0.5}, "identity_attack": {"review": 0.5}},
        )
        assert true(told(moderator, "x")["categories"]) == {"hate"}

    def test_flagged_is_what_the_policy_says(self, all_of_jigsaw: Moderator) -> None:
        toxic_only = policy(
            {"options": {"default": {"toxic": 0.95}}}, thresholds={"toxic": {"review": 0.9}}
        )
        found = told(toxic_only, "x")
        assert found["flagged"] is True
        assert not true(found["categories"])
        no_threshold = policy({"options": {"default": {"insult": 0.95}}})
        found = told(no_threshold, "x")
        assert (found["flagged"], found["category_scores"]["harassment"]) == (False, 0.95)
        assert not true(found["categories"])

    def test_what_failed_stands_behind_nothing(self) -> None:
        options = {"default": {"insult": 0.9}, "fault": "raise"}
        found = told(policy({"options": options}, {"options": {"default": {"sexual": 0.25}}}), "x")
        assert found["flagged"] is True  # the policy sends to review what a step failed on
        assert found["category_applied_input_types"]["harassment"] == []
        assert found["category_scores"]["harassment"] == 0.0
        assert found["category_applied_input_types"]["sexual"] == ["text"]

    def test_a_blank_text_is_judged_by_nobody(self, all_of_jigsaw: Moderator) -> None:
        found = told(all_of_jigsaw, " \n")
        assert found["flagged"] is False
        assert set(found["category_scores"].values()) == {0.0}
        assert not any(found["category_applied_input_types"].values())

    def test_words_in_a_picture_are_text_and_what_it_shows_is_image(self) -> None:
        step = {"default": {"violence": 0.5}}
        for kind, types in (("ocr", ["text"]), ("caption", ["image"])):
            moderator = policy({"options": step, "parts": [kind]})
            picture = Part("image", image=object())
            content = Content((picture, Part(kind, "a gun", source=0)))  # type: ignore[arg-type]
            assert told(moderator, content)["category_applied_input_types"]["violence"] == types

    def test_shipped_policies_report_what_the_table_says(self) -> None:
        moderator = Moderator("default")
        found = told(moderator, "the weather is lovely, and that is what they would say")
        types = found["category_applied_input_types"]
        served = {name for name, kinds in types.items() if kinds}
        assert {"harassment", "hate", "self-harm", "sexual", "violence"} <= served
        assert types["sexual/minors"] == types["illicit"] == []
        assert found["flagged"] is False


class TestInputs:
    def parts(self, given: Any) -> list[list[Part | Address]]:
        return inputs(ModerationRequest.model_validate({"input": given}))

    def test_shapes(self) -> None:
        assert self.parts("a") == [[Part("text", "a")]]
        assert self.parts(["a", "b"]) == [[Part("text", "a")], [Part("text", "b")]]
        image = {"type": "image_url", "image_url": {"url": "data:,", "detail": "low"}}
        text = {"type": "text", "text": "a"}
        assert self.parts([text, image, text]) == [
            [Part("text", "a"), Address("data:,", "input[1].image_url.url"), Part("text", "a")]
        ]

    @pytest.mark.parametrize(
        ("given_", "message", "code", "param"),
        [
            (None, "Missing required parameter: 'input'.", "missing_required_parameter", "input"),
            (
                {"text": "secret"},
                "Invalid type for 'input': expected a string, an array of strings or an array of "
                "objects, but got an object instead.",
                "invalid_type",
                "input",
            ),
            (True, None, "invalid_type", "input"),
            (1.5, None, "invalid_type", "input"),
            ([], None, "empty_array", "input"),
            ([[1, 2]], None, "invalid_type", "input[0]"),
            (["a", None], None, "invalid_type", "input[1]"),
            ([{"type": "text", "text": "a"}, "secret"], None, "invalid_type", "input[1]"),
            ([{"text": "secret"}], None, "missing_required_parameter", "input[0].type"),
            ([{"type": "text"}], None, "missing_required_parameter", "input[0].text"),
            ([{"type": "text", "text": 1}], None, "invalid_type", "input[0].text"),
            ([{"type": "secret"}], None, "invalid_value", "input[0].type"),
            ([{"type": ["secret"]}], None, "invalid_value", "input[0].type"),
            (
                [{"type": "image_url"}],
                None,
                "missing_required_parameter",
                "input[0].image_url",
            ),
            (
                [{"type": "image_url", "image_url": "secret"}],
                None,
                "invalid_type",
                "input[0].image_url",
            ),
            (
                [{"type": "image_url", "image_url": {}}],
                None,
                "missing_required_parameter",
                "input[0].image_url.url",
            ),
            (
                [{"type": "image_url", "image_url": {"url": "data:,"}}] * 2,
                "Number of images (2) exceeds maximum of 1",
                "too_many_images",
                "input",
            ),
            (["a"] * (MAX_INPUTS + 1), None, "array_above_max_length", "input"),
            (
                [{"type": "text", "text": "a"}] * (MAX_PARTS + 1),
                None,
                "array_above_max_length",
                "input",
            ),
        ],
    )
    def test_faults(self, given_: Any, message: str | None, code: str, param: str) -> None:
        with pytest.raises(Problem) as raised:
            self.parts(given_)
        status, body = FACE.error(raised.value)
        assert status == 400
        error = body["error"]
        assert (error["type"], error["code"], error["param"]) == (
            "invalid_request_error",
            code,
            param,
        )
        assert "secret" not in error["message"]
        if message is not None:
            assert error["message"] == message

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["type", "text", "image_url", "url"]), inner)
            ),
            max_leaves=6,
        )
    )
    def test_anything_is_contents_or_a_problem(self, given_: Any) -> None:
        try:
            found = self.parts(given_)
        except Problem as problem:
            found, status = [], problem.status
        else:
            status = 200
        assert all(parts for parts in found)
        assert status == (200 if found else 400)


EYE = '''
"""Sees violence in every image; says nothing of texts."""
from moderation import Filter, Signal, hookimpl


class Eye(Filter):
    name = "eye"
    parts = frozenset({"image"})

    def categories(self):
        return ["violence"]

    def check_batch(self, contents):
        return [[Signal("violence", 0.75, None, place)
                 for place in range(len(content.parts))] for content in contents]


@hookimpl
def moderation_filters():
    return [Eye]
'''
SEEING = """
name: seeing
plugins: [eye.py]
steps:
  - {name: eye, filter: eye}
  - {name: lstm, filter: classifier, options: {model: toxicity-lstm}}
thresholds:
  violence: {review: 0.5}
  insult: {review: 0.6}
"""


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The default policy, and one that looks at images."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "eye.py").write_text(EYE)
    (folder / "seeing.yaml").write_text(SEEING)
    with hosted(Settings(policies=("default", str(folder / "seeing.yaml")))) as address:
        yield address


@pytest.fixture(scope="module")
def picture() -> str:
    image = pytest.importorskip("PIL.Image", reason="the extra `images` is not installed")
    stream = io.BytesIO()
    image.new("RGB", (32, 32), "red").save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def post(url: str, body: Any) -> httpx.Response:
    return httpx.post(f"{url}{PATH}", json=body, timeout=WAIT)


class TestOverHttp:
    def test_the_whole_response(self, url: str) -> None:
        body = post(url, {"input": "you are an idiot"}).json()
        assert list(body) == ["id", "model", "results"]
        assert body["id"].startswith("modr-")
        assert body["model"] == "omni-moderation-latest"
        [only] = body["results"]
        assert list(only) == [
            "flagged",
            "categories",
            "category_scores",
            "category_applied_input_types",
        ]
        assert all(list(each) == list(OPENAI) for each in list(only.values())[1:])
        assert only["flagged"] is True

    @pytest.mark.parametrize("model", ["text-moderation-stable", "seeing"])
    def test_the_model_is_mirrored_and_may_be_a_policy(self, url: str, model: str) -> None:
        assert post(url, {"model": model, "input": "hello"}).json()["model"] == model

    def test_no_such_model(self, url: str) -> None:
        response = post(url, {"model": "gpt-4o", "input": "hello"})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (404, "model_not_found")
        assert "omni-moderation-latest" in error["message"]
        assert "secret" not in post(url, {"model": "se cret secret", "input": "x"}).text

    def test_an_image_by_data_url(self, url: str, picture: str) -> None:
        parts = [
            {"type": "text", "text": "have a nice day"},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        [found] = post(url, {"model": "seeing", "input": parts}).json()["results"]
        assert true(found["categories"]) == {"violence"}
        assert found["category_applied_input_types"]["violence"] == ["text", "image"]
        assert found["category_applied_input_types"]["harassment"] == ["text"]
        [found] = post(url, {"model": "seeing", "input": parts[1:]}).json()["results"]
        assert found["category_applied_input_types"]["violence"] == ["image"]
        assert found["category_applied_input_types"]["harassment"] == []
        assert found["category_scores"]["violence"] == 0.75

    @pytest.mark.parametrize(
        ("address", "word"),
        [
            ("data:image/png;base64,secret!!", "Invalid image"),
            ("data:image/png;base64,c2VjcmV0", "Invalid image"),
            ("http://secret.example/a.png", "urls"),
            ("https://secret.example/a.png", "urls"),  # the policy fetches nothing
            ("secret", "Invalid image"),
            ("/etc/passwd", "Invalid image"),
        ],
    )
    def test_an_image_that_cannot_be_used(self, url: str, address: str, word: str) -> None:
        pytest.importorskip("PIL", reason="the extra `images` is not installed")
        parts = [{"type": "image_url", "image_url": {"url": address}}]
        response = post(url, {"model": "seeing", "input": parts})
        error = response.json()["error"]
        assert (response.status_code, error["code"]) == (400, "invalid_image_url")
        assert error["param"] == "input[0].image_url.url"
        assert word in error["message"]
        assert "secret" not in error["message"]

    def test_a_policy_for_texts_takes_no_image(self, url: str, picture: str) -> None:
        parts = [{"type": "image_url", "image_url": {"url": picture}}]
        error = post(url, {"input": parts}).json()["error"]
        assert error["code"] == "unsupported_image"

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b"", 400),
            (b"{", 400),
            (b'"secret"', 400),
            (b"[]", 400),
            (b"{}", 400),
            (b'{"input": "secret \xff"}', 400),
            (b'{"input": "x", "secret": 1}', 400),
            (b'{"input": "x", "model": {"secret": 1}}', 400),
            (b'{"input": ' * 20_000, 400),
            (b'{"input": "' + b"secret " * 20_000 + b'"}', 400),
        ],
    )
    def test_what_is_no_request(
        self, url: str, caplog: pytest.LogCaptureFixture, body: bytes, status: int
    ) -> None:
        with caplog.at_level(logging.DEBUG, "moderation"):
            response = httpx.post(f"{url}{PATH}", content=body, timeout=WAIT)
            assert "secret" not in logged(caplog)
        assert response.status_code == status
        error = response.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == "invalid_request_error"
        assert "secret" not in response.text.replace("supplied: secret", "")

    def test_half_an_emoji(self, url: str) -> None:
        body = json.dumps({"input": "cut here \ud83d"}).encode()
        assert httpx.post(f"{url}{PATH}", content=body, timeout=WAIT).status_code == 200

    def test_a_language_that_nobody_reads_is_flagged(self, url: str) -> None:
        text = "Ich habe wirklich keine Ahnung, warum er gestern nicht gekommen ist."
        [found] = post(url, {"input": text}).json()["results"]
        assert found["flagged"] is True
        assert not true(found["categories"])


class TestClients:
    """As people use them: nothing is patched, only the address is another."""

    def test_openai(self, url: str, picture: str) -> None:
        openai = pytest.importorskip("openai")
        with openai.OpenAI(base_url=f"{url}/v1", api_key="any", timeout=WAIT) as client:
            found = client.moderations.create(input="I will kill you, you idiot")
            assert found.results[0].flagged
            assert found.results[0].categories.harassment is True
            assert found.results[0].category_scores.harassment_threatening > 0.3
            assert found.results[0].category_applied_input_types.sexual_minors == []
            several = client.moderations.create(
                model="omni-moderation-latest", input=["have a nice day", "you idiot"]
            )
            assert [each.flagged for each in several.results] == [False, True]
            parts = [
                {"type": "text", "text": "hello"},
                {"type": "image_url", "image_url": {"url": picture}},
            ]
            shown = client.moderations.create(model="seeing", input=parts)
            assert shown.results[0].category_applied_input_types.violence == ["text", "image"]
            with pytest.raises(openai.BadRequestError) as raised:
                client.moderations.create(model="seeing", input=[parts[1]] * 2)
            assert raised.value.code == "too_many_images"
            assert raised.value.param == "input"
            with pytest.raises(openai.NotFoundError):
                client.moderations.create(model="gpt-4o", input="hello")

    def test_openai_by_environment(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        openai = pytest.importorskip("openai")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        monkeypatch.setenv("OPENAI_API_KEY", "any")

        async def ask() -> Any:
            async with openai.AsyncOpenAI(timeout=WAIT) as client:
                calls = (client.moderations.create(input=f"hello {place}") for place in range(8))
                return await asyncio.gather(*calls)

        found = asyncio.run(ask())
        assert [each.results[0].flagged for each in found] == [False] * 8
        assert len({each.id for each in found}) == 8

    def test_openai_with_keys(self, tmp_path: Path) -> None:
        openai = pytest.importorskip("openai")
        keys = tmp_path / "keys"
        keys.write_text("a-long-enough-key\n")
        with hosted(Settings(policies=("default",), keys=keys)) as address:
            base = f"{address}/v1"
            with openai.OpenAI(base_url=base, api_key="wrong", timeout=WAIT) as client:
                with pytest.raises(openai.AuthenticationError) as raised:
                    client.moderations.create(input="hello")
                assert raised.value.code == "invalid_api_key"
            with openai.OpenAI(base_url=base, api_key="a-long-enough-key", timeout=WAIT) as client:
                assert client.moderations.create(input="hello").results[0].flagged is False

    def test_langchain(self, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        moderation = pytest.importorskip("langchain_classic.chains.moderation")
        monkeypatch.setenv("OPENAI_BASE_URL", f"{url}/v1")
        chain = moderation.OpenAIModerationChain(openai_api_key="any", error=True)
        assert chain.invoke("have a nice day")["output"] == "have a nice day"
        with pytest.raises(ValueError, match="violates"):
            chain.invoke("I will kill you, you idiot")
        chain.client.close()


def test_faults_of_the_service_as_openai_words_them() -> None:
    for problem, status, kind, code in (
        (Problem(401, "missing_key", "…"), 401, "invalid_request_error", "invalid_api_key"),
        (Problem(401, "invalid_key", "…"), 401, "invalid_request_error", "invalid_api_key"),
        (Problem(429, "overloaded", "…"), 429, "requests", "rate_limit_exceeded"),
        (Problem(503, "step_failed", "…"), 503, "server_error", "step_failed"),
        (Problem(400, "invalid_json", "…"), 400, "invalid_request_error", None),
        (Problem(422, "invalid_request", "…"), 400, "invalid_request_error", "invalid_request"),
    ):
        found, body = FACE.error(problem)
        assert (found, body["error"]["type"], body["error"]["code"]) == (status, kind, code)
