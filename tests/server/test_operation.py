"""Running the service: probes, metrics, overload, steps that die or hang, being told to stop."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from prometheus_client.parser import text_string_to_metric_families
from running import WAIT, Running, answer_of, raw

POLICY = """
name: test
plugins: [testing]
steps:
  - name: static
    filter: static
    options: {{scores: {{bad: {{toxic: 0.9}}}}, {options}}}
    {step}
thresholds: {{toxic: {{review: 0.5}}}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., str]:
    """Writes a policy of one predictable step, and says where."""

    def write(options: str, step: str = "") -> str:
        path = tmp_path / "test.yaml"
        path.write_text(POLICY.format(options=options, step=step))
        return str(path)

    return write


def samples(running: Running) -> dict[tuple[str, ...], float]:
    """Everything in /metrics: name and label values to value."""
    found: dict[tuple[str, ...], float] = defaultdict(float)
    for family in text_string_to_metric_families(running.get("/metrics").text):
        for sample in family.samples:
            labels = (value for _, value in sorted(sample.labels.items()))
            found[sample.name, *labels] = sample.value
    return found


def test_health_and_ready(served: Running) -> None:
    assert served.get("/health").json() == {"status": "ok"}
    assert served.get("/ready").json() == {"ready": True, "policies": {}}


def test_not_ready_where_a_step_cannot_be_loaded(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    running = serve("-p", policy("fault: load"))
    answer = running.get("/ready")
    while "loading" in answer.text:
        time.sleep(0.05)
        answer = running.get("/ready")
    assert answer.status_code == 503
    assert answer.json()["policies"] == {"test": ["step static cannot be loaded"]}
    assert running.get("/health").status_code == 200
    verdict = running.post("/v1/moderate", {"content": "x"}).json()["verdict"]
    assert (verdict["action"], verdict["degraded"]) == ("review", True)


def test_not_ready_while_a_step_goes_on_failing(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    running = serve("-p", policy("fault: raise, fault_on: die")).until_ready()
    for number in range(5):
        verdict = running.post("/v1/moderate", {"content": f"die {number}"}).json()["verdict"]
        assert (verdict["action"], verdict["degraded"]) == ("review", True)
    answer = running.get("/ready")
    assert (answer.status_code, answer.json()["policies"]) == (503, {"test": ["step static fails"]})
    assert running.post("/v1/moderate", {"content": "works"}).json()["verdict"]["action"] == "allow"
    assert running.get("/ready").status_code == 200


def test_step_that_hangs_is_bounded_by_its_timeout(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    running = serve("-p", policy("fault: sleep, fault_on: hang, seconds: 3600", "timeout: 0.3"))
    running.until_ready()
    verdict = running.post("/v1/moderate", {"content": "hang"}).json()["verdict"]
    assert (verdict["action"], verdict["degraded"]) == ("review", True)
    assert verdict["trace"][0]["reason"] == "no answer within 0.3 s"
    assert running.post("/v1/moderate", {"content": "bad"}).json()["verdict"]["action"] == "review"
    assert running.stop() == 0  # and the thread that hangs keeps nobody from stopping


def test_step_that_hangs_without_a_timeout_is_503_and_the_rest_goes_on(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    file = policy("fault: sleep, fault_on: hang, seconds: 3600")
    running = serve("-p", file, "--timeout", "1", "--max-wait", "30").until_ready()
    answer = running.post("/v1/moderate", {"content": "hang"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_answer")
    assert running.get("/ready").json()["policies"] == {"test": ["1 calls hang"]}
    assert running.post("/v1/moderate", {"content": "bad"}).json()["verdict"]["flagged"]
    assert running.stop() == 0


def test_guard_server_that_stops_answering_costs_its_deadline(
    serve: Callable[..., Running], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, says nothing
        (tmp_path / "guarded.yaml").write_text(
            "name: guarded\n"
            "plugins: [testing]\n"
            "steps:\n"
            "  - {name: static, filter: static, options: {scores: {bad: {toxic: 0.9}}}}\n"
            "  - name: guard\n"
            "    filter: llama_guard\n"
            "    options:\n"
            "      backend: openai\n"
            f"      url: http://127.0.0.1:{silent.getsockname()[1]}/v1\n"
            "      deadline: 0.3\n"
            "      retries: 0\n"
            "thresholds: {toxic: {block: 0.8}, unsafe: {review: 0.5}}\n"
        )
        running = serve("-p", str(tmp_path / "guarded.yaml"), "--max-wait", "30").until_ready()
        for number in range(5):
            told = running.post("/v1/moderate", {"content": f"calm {number}"}).json()["verdict"]
            assert (told["action"], told["degraded"]) == ("review", True)
            assert [step["status"] for step in told["trace"]] == ["ran", "failed"]
        answer = running.get("/ready")
        assert answer.status_code == 503
        assert answer.json()["policies"] == {"guarded": ["step guard fails"]}
        told = running.post("/v1/moderate", {"content": "bad"}).json()["verdict"]
        assert told["action"] == "block"  # what the other steps know still counts
        metrics = samples(running)
        assert metrics["moderation_degraded_total", "guarded"] == 6
        assert metrics["moderation_step_contents_total", "guarded", "failed", "guard"] == 6


def test_failing_step_of_a_policy_that_says_raise_is_503(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    running = serve("-p", policy("fault: raise, fault_on: die", "on_error: raise")).until_ready()
    answer = running.post("/v1/moderate", {"content": "die"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "step_failed")
    answer = running.post("/v1/moderations", {"input": "die", "model": "test"})
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "server_error")
    assert running.post("/v1/moderate", {"content": "bad"}).status_code == 200


def test_metrics_count_what_happened(serve: Callable[..., Running]) -> None:
    running = serve().until_ready()
    for text in ("you idiot", "you idiot", "have a nice day"):
        assert running.post("/v1/moderate", {"content": text}).status_code == 200
    running.post("/v1/moderate", {})
    verdict = running.post("/v1/moderate", {"content": "Das ist ein deutscher Satz."}).json()
    assert verdict["verdict"]["degraded"]
    found = samples(running)
    assert found["moderation_requests_total", "POST", "/v1/moderate", "200"] == 4
    assert found["moderation_requests_total", "POST", "/v1/moderate", "422"] == 1
    assert found["moderation_request_seconds_count", "/v1/moderate"] == 5
    assert found["moderation_verdicts_total", "allow", "default"] == 1
    assert sum(v for k, v in found.items() if k[0] == "moderation_verdicts_total") == 4
    flagged = [k for k in found if k[0] == "moderation_categories_total" and "toxic" in k]
    assert [found[key] for key in flagged] == [2]
    assert found["moderation_degraded_total", "default"] == 1
    assert found["moderation_cache_total", "hit", "default"] == 1
    assert found["moderation_cache_total", "miss", "default"] == 3
    assert found["moderation_batch_contents_count", "default"] == 3
    assert found["moderation_queue_contents", "default"] == 0
    assert found["moderation_step_contents_total", "default", "ran", "lstm"] == 2
    assert found["moderation_step_contents_total", "default", "skipped", "lstm"] == 1
    assert found["moderation_step_seconds_sum", "default", "lstm"] > 0
    assert found["moderation_requests_in_flight",] == 1  # this one


def test_overload_is_shed_with_429_and_the_rest_is_answered_in_time(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    file = policy("fault: sleep, fault_on: slow, seconds: 0.2")
    running = serve("-p", file, "--queue", "4", "--max-wait", "1").until_ready()

    def ask(number: int) -> tuple[float, httpx.Response]:
        began = time.monotonic()
        answer = running.post("/v1/moderate", {"content": f"slow {number}"})
        return time.monotonic() - began, answer

    with ThreadPoolExecutor(24) as pool:
        answers = list(pool.map(ask, range(48)))
    statuses = [answer.status_code for _, answer in answers]
    assert set(statuses) == {200, 429}
    assert statuses.count(200) >= 4
    for _, answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert answer.json()["error"]["code"] == "overloaded"
        else:
            assert not answer.json()["verdict"]["degraded"]
    refused = running.post
    with ThreadPoolExecutor(12) as pool:
        openai = list(
            pool.map(
                lambda n: refused("/v1/moderations", {"input": f"slow {n}", "model": "test"}),
                range(100, 124),
            )
        )
    shed = [answer for answer in openai if answer.status_code == 429]
    assert shed
    assert shed[0].json()["error"]["code"] == "rate_limit_exceeded"
    assert int(shed[0].headers["retry-after"]) >= 1
    assert running.post("/v1/moderate", {"content": "bad"}).status_code == 200


def test_sigterm_under_load_finishes_what_was_accepted(
    serve: Callable[..., Running], policy: Callable[..., str]
) -> None:
    file = policy("fault: sleep, fault_on: slow, seconds: 0.2")
    running = serve("-p", file, "--max-wait", "60").until_ready()
    connections = []
    for number in range(20):
        body = json.dumps({"content": f"slow bad {number}"}).encode()
        head = b"POST /v1/moderate HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        connections.append(raw(running, head + body))
    end = time.monotonic() + WAIT
    while samples(running)["moderation_requests_total", "POST", "/v1/moderate", "200"] < 2:
        assert time.monotonic() < end
    running.terminate()
    for number, connection in enumerate(connections):
        head, body = answer_of(connection)
        assert head.startswith(b"HTTP/1.1 200 "), number
        assert json.loads(body)["verdict"]["flagged"]
        connection.close()
    assert running.process.wait(WAIT) == 0
    with pytest.raises(httpx.ConnectError):
        running.get("/health")


def test_policy_that_cannot_be_used_is_one_line_at_the_start(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from moderation.cli import main

    same = tmp_path / "same.yaml"
    same.write_text(POLICY.format(options="exact: true", step="").replace("test", "perspective", 1))
    for options, told in (
        (["--policy", "no-such"], "no policy named 'no-such' is shipped"),
        (["--policy", "default", "--policy", "./default.yaml"], "no file there"),
        (["--keys", str(tmp_path / "none")], "expected a file of API keys"),
        (["--policy", str(same)], "two of the served policies are named 'perspective'"),
    ):
        done = CliRunner().invoke(main, ["serve", *options])
        assert done.exit_code == 1
        assert told in done.output
        assert done.output.count("\n") == 1


def test_port_that_is_taken_is_said(served: Running, tmp_path: Path) -> None:
    port = served.url.rpartition(":")[2]
    with pytest.raises(AssertionError, match="address already in use"):
        Running(tmp_path / "log", "--port", port)


@pytest.mark.parametrize(
    ("package", "options", "extra"), [("fastapi", [], "server"), ("gradio", ["--ui"], "ui")]
)
def test_missing_extra_is_named(package: str, options: list[str], extra: str) -> None:
    script = f"import sys; sys.modules[{package!r}] = None; from moderation.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", script, "serve", "--port", "0", *options],
        capture_output=True,
        text=True,
        timeout=WAIT,
    )
    assert done.returncode == 1
    assert f"'{package}'" in done.stderr
    assert f"pip install 'moderation[{extra}]'" in done.stderr
    assert done.stderr.count("\n") == 1
