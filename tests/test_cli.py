"""The command line as a person and as a script use it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from moderation import verdict_schema
from moderation.cli import main

# Every content of a letter's score is worked out by hand from `scores`.
POLICY = """
name: test
plugins: [testing]
steps:
  - name: static
    filter: static
    options: {scores: {mild: {rude: 0.6}, awful: {rude: 0.95}}}
thresholds:
  rude: {review: 0.5, block: 0.9}
"""


@pytest.fixture
def policy(tmp_path: Path) -> str:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return str(path)


def run(*args: str, stdin: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, args, input=stdin)


@pytest.mark.parametrize(
    ("text", "status", "word"), [("fine", 0, "ALLOW"), ("mild", 3, "REVIEW"), ("awful", 4, "BLOCK")]
)
def test_exit_status_follows_the_action(policy: str, text: str, status: int, word: str) -> None:
    result = run("check", "--policy", policy, text)
    assert result.exit_code == status
    assert result.output.startswith(word)


def test_a_verdict_shows_action_scores_thresholds_and_chain(policy: str) -> None:
    output = run("check", "--policy", policy, "awful").output
    assert "rude 0.95 reaches block at 0.9" in output
    assert "review ≥ 0.5 · block ≥ 0.9" in output
    assert "chain  static" in output
    assert " ms" in output


def test_lines_of_standard_input_in_order(policy: str) -> None:
    result = run("check", "--policy", policy, stdin="fine\nmild\r\nawful\n")
    assert result.exit_code == 4
    actions = [line.split()[1] for line in result.stdout.splitlines()]
    assert actions == ["allow", "review", "block"]
    assert "3 texts: 1 allow, 1 review, 1 block" in result.stderr


def test_json_lines_follow_the_published_schema(policy: str) -> None:
    result = run("check", "--policy", policy, "--json", stdin="fine\nmild\n\nawful")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["action"] for row in rows] == ["allow", "review", "allow", "block"]
    for row in rows:
        jsonschema.validate(row, verdict_schema())
        assert "text" not in row["parts"][0]
    result = run("check", "--policy", policy, "--json", "--include-text", "mild")
    assert json.loads(result.stdout)["parts"][0]["text"] == "mild"


def test_a_file_and_a_whole_file(policy: str, tmp_path: Path) -> None:
    file = tmp_path / "texts.txt"
    file.write_bytes(b"\xef\xbb\xbffine\nmild\n")
    result = run("check", "--policy", policy, "--file", str(file))
    assert result.exit_code == 3
    assert len(result.stdout.splitlines()) == 2
    whole = run("check", "--policy", policy, "--file", str(file), "--whole", "--json")
    assert len(whole.stdout.splitlines()) == 1


def test_invalid_utf8_is_named_and_judged_all_the_same(policy: str) -> None:
    result = run("check", "--policy", policy, "--json", stdin=b"fine\nmild \xff\xfe\nfine\n")
    assert result.exit_code == 3
    assert "standard input, line 2: byte 6 is not UTF-8" in result.stderr
    assert [json.loads(x)["action"] for x in result.stdout.splitlines()] == [
        "allow",
        "review",
        "allow",
    ]


def test_controls_do_not_reach_the_terminal(policy: str) -> None:
    result = run("check", "--policy", policy, "a\x1b[31m\x00\u202eb")
    assert result.exit_code == 0
    assert not set("\x1b\x00\u202e") & set(result.output)


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        (["check", "--policy", "nosuch", "x"], 1, "known: "),
        (["check", "--policy", "./nosuch.yaml", "x"], 1, "no file there"),
        (["check", "--plugin", "nosuch", "x"], 1, "no installed package"),
        (["check", "--file", "./nosuch.txt"], 1, "cannot be read"),
        (["check", "x", "--file", "y"], 2, "not both"),
        (["check", "x", "--include-text"], 2, "--json"),
        (["policy", "show", "nosuch"], 1, "known: "),
        (["policy", "check", "nosuch"], 1, "known: "),
    ],
)
def test_errors_are_one_line_with_a_remedy(args: list[str], status: int, told: str) -> None:
    result = run(*args)
    assert result.exit_code == status
    assert told in result.stderr
    assert "Traceback" not in result.output
    assert isinstance(result.exception, SystemExit)


def test_no_text_and_no_pipe_explains_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _TERMINAL], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "give a text" in done.stderr


_TERMINAL = """
import sys
from moderation.cli import main
sys.stdin.isatty = lambda: True
main(["check"])
"""


def test_line_buffered_answers_before_the_input_ends(policy: str) -> None:
    command = [sys.executable, "-m", "moderation", "check", "--policy", policy, "--json"]
    with subprocess.Popen(
        [*command, "--line-buffered"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"awful\n")
        process.stdin.flush()
        first = json.loads(process.stdout.readline())
        assert first["action"] == "block"
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=30) == 4


def test_a_reader_that_goes_away_is_no_error(policy: str) -> None:
    command = f"yes fine | {sys.executable} -m moderation check -p {policy} --json | head -2"
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False
    )
    assert len(done.stdout.splitlines()) == 2
    assert "Traceback" not in done.stderr


def test_policy_show_is_a_policy_again(tmp_path: Path) -> None:
    shown = run("policy", "show", "default")
    assert shown.exit_code == 0
    copy = tmp_path / "copy.yaml"
    copy.write_text(shown.output, encoding="utf-8")
    again = run("policy", "show", str(copy))
    assert again.output == shown.output
    assert shown.output.startswith("# default@")


def test_policy_check_names_the_step_that_cannot_run(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "name: broken\n"
        "steps: [{name: model, filter: classifier, options: {model: ./nosuch}}]\n"
        "thresholds: {toxic: {block: 0.9}}\n",
        encoding="utf-8",
    )
    result = run("policy", "check", str(path))
    assert result.exit_code == 1
    assert "FAULT model (classifier): cannot be loaded" in result.stdout
    assert "nosuch" in result.stdout
    assert "1 of its steps cannot run" in result.stderr


def test_filters_lists_names_and_options() -> None:
    result = run("filters")
    for name in ("classifier", "patterns", "wordlist"):
        assert name in result.output
    assert "model (required)" in result.output


def test_plugins_lists_without_importing(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('imported')\n", encoding="utf-8")
    listed = run("plugins", "--folder", str(tmp_path))
    assert listed.exit_code == 0
    assert str(tmp_path / "broken.py") in listed.output
    proved = run("plugins", "--folder", str(tmp_path), "--check")
    assert proved.exit_code == 1
    assert "RuntimeError" in proved.output
    assert "line 1" in proved.output


def test_interrupting_says_nothing_terrible(policy: str) -> None:
    import signal

    command = [sys.executable, "-m", "moderation", "check", "--policy", policy, "--line-buffered"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A suite that runs in the background has its interrupts ignored, and would hand that down.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"fine\n")
        process.stdin.flush()
        process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()


def test_the_words_row_prints_no_controls(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(
        "name: words\n"
        "steps: [{name: words, filter: wordlist, options: {lists: [english]}}]\n"
        "thresholds: {obscene: {review: 0.5}}\n",
        encoding="utf-8",
    )
    result = run("check", "--policy", str(path), "you \u202ekcuf\u202c", "--explain")
    assert "words" in result.output
    assert not set("\u202e\u202c") & set(result.output)


def test_a_line_says_what_led_to_the_action(policy: str) -> None:
    result = run("check", "--policy", policy, stdin="mild\nfine\n")
    first, second = result.stdout.splitlines()
    assert "rude 0.6 " in first
    assert "rude" not in second
