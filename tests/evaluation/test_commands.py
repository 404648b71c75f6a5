from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("plotly")

from moderation.cli import main

Table = Callable[..., Path]


def run(*args: object) -> Result:
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def comments(table: Table) -> Path:
    kinds = [("awful {}", 1), ("mild {}", 1), ("mild so {}", 0), ("fine {}", 0)]
    return table(
        body=[text.format(n) for n in range(12) for text, _ in kinds],
        bad=[label for _ in range(12) for _, label in kinds],
        split=["test" if n % 2 else "train" for n in range(12) for _ in kinds],
    )


def test_evaluate_writes_a_page_and_numbers(policy: Path, comments: Path, tmp_path: Path) -> None:
    page, numbers = tmp_path / "report.html", tmp_path / "report.json"
    result = run(
        *("evaluate", policy, comments, "--text", "body", "--labels", "rude=bad"),
        *("--split", "split", "--slice", "length", "--report", page, "--json", numbers),
        *("--draws", 20),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].startswith("rude     24        12")
    assert f"wrote {page}" in result.stderr
    assert page.stat().st_size > 1_000_000
    found = json.loads(numbers.read_text(encoding="utf-8"))
    assert found["labels"]["rude"]["confusion"] == [[6, 6], [0, 12]]
    assert found["baseline"]["how"] == "fitted on 24 rows of data.csv"


def test_evaluate_a_model_of_classes(topics: Path, table: Table) -> None:
    file = table(text=["goal", "bank"] * 12, label=["sport", "money"] * 12)
    result = run("evaluate", topics, file, "--no-baseline", "--threads", 1, "--draws", 20)
    assert result.exit_code == 0, result.output
    assert "1.000 (1.000–1.000)" in result.stdout


def test_thresholds_can_be_pasted(policy: Path, comments: Path) -> None:
    common = ("thresholds", policy, comments, "--text", "body", "--labels", "rude=bad")
    result = run(*common, "--precision", 0.9)
    assert result.exit_code == 0, result.output
    # Of awful and mild only awful is right nine times of ten.
    found = yaml.safe_load(result.stdout)["thresholds"]["rude"]["block"]
    assert 0.6 < found <= 0.95
    assert "precision 1.000" in result.stdout
    result = run(*common, "--recall", 0.95, "--action", "block")
    assert 0.05 < yaml.safe_load(result.stdout)["thresholds"]["rude"]["block"] <= 0.6
    result = run(*common, "--flag-rate", 0.25)
    assert 0.6 < yaml.safe_load(result.stdout)["thresholds"]["rude"]["review"] <= 0.95


def test_thresholds_want_one_goal(policy: Path, comments: Path) -> None:
    for goals in ((), ("--recall", 0.9, "--precision", 0.9)):
        result = run("thresholds", policy, comments, *goals)
        assert result.exit_code == 2
        assert "give one of" in result.stderr


def test_predict_shows_models_side_by_side(toxicity: Path, topics: Path) -> None:
    result = run("predict", toxicity, topics, "the idiot is a kill")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines[0] == ["tiny-toxicity", "tiny-topics"]
    by_label = {line[0]: line[1:] for line in lines[1:5]}
    # 2 * 4 - 2 = 6 for both labels; for two classes the same score is a half each.
    assert by_label["insult"][-2:] == ["0.998", "–"]
    assert by_label["sport"][-1] == by_label["money"][-1] == "0.500"
    assert "tiny-toxicity points at: idiot (0.73)" in result.stdout
    result = run("predict", "--json", toxicity, "the idiot")
    row = json.loads(result.stdout)
    assert row["scores"] == {"insult": 0.997527, "threat": 0.119203}
    assert row["words"] == [{"begin": 4, "end": 9, "score": 0.731059}]


def test_predict_shows_no_controls(toxicity: Path) -> None:
    result = run("predict", toxicity, "idiot\x1b[31m idiot")
    assert "\x1b" not in result.output


def test_data_report(table: Table, tmp_path: Path) -> None:
    file = table(text=["one two", "One two!", "three"], rude=[0, 1, 0], split=["a", "b", "b"])
    page, numbers = tmp_path / "data.html", tmp_path / "data.json"
    result = run("data", "report", file, "--report", page, "--json", numbers)
    assert result.exit_code == 0, result.output
    assert "conflicts          1 groups; the largest: rows 1, 2" in result.stdout
    assert "a and b: 1 groups" in result.stdout
    assert json.loads(numbers.read_text())["labels"]["rude"]["positives"] == 1
    assert page.exists()


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["evaluate", "POLICY", "nosuch.csv"], "nosuch.csv: expected a data file"),
        (["evaluate", "nosuch", "DATA"], "no such model or policy is shipped"),
        (["evaluate", "POLICY", "DATA"], "at least one of rude, advert; found body, bad, split"),
        (["evaluate", "POLICY", "DATA", "--labels", "rude=bad"], "no column text; the file has"),
        (
            ["evaluate", "POLICY", "DATA", "--text", "body", "--labels", "rud"],
            "did you mean 'rude'",
        ),
        (["evaluate", "POLICY", "DATA", "--labels", ","], "--labels: expected NAME"),
        (["evaluate", "POLICY", "DATA", "--where", "split"], "expected COLUMN=VALUE"),
        (["evaluate", "POLICY", "DATA", "--run", "nosuch"], "found no state.json"),
        (["evaluate", "POLICY", "DATA", "--report", "no/x.html"], "there is no folder no"),
        (["predict", "nosuch", "text"], "no folder there"),
        (["data", "report", "nosuch.csv"], "expected a data file"),
    ],
)
def test_errors_are_one_line(policy: Path, comments: Path, args: list[str], told: str) -> None:
    places = {"POLICY": str(policy), "DATA": str(comments)}
    if "--run" in args or "--report" in args:
        args = [*args, "--text", "body", "--labels", "rude=bad"]
    result = run(*(places.get(arg, arg) for arg in args))
    assert result.exit_code == 1
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_page_that_cannot_be_written(policy: Path, comments: Path, tmp_path: Path) -> None:
    result = run(
        *("evaluate", policy, comments, "--text", "body", "--labels", "rude=bad", "--no-baseline"),
        *("--report", tmp_path, "--draws", 20),
    )
    assert result.exit_code == 1
    assert "cannot be written: Is a directory" in result.stderr
