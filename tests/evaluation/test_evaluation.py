"""Systems of known scores, measured; and the page that shows it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
pytest.importorskip("pandas")
pytest.importorskip("plotly")
pytest.importorskip("onnx")

from moderation.errors import ArtifactError, ConfigError, MissingExtraError
from moderation.evaluation import (
    evaluate,
    open_system,
    read_labelled,
    report_run,
    write_report,
)
from moderation.evaluation.baseline import Baseline
from moderation.evaluation.embedding import coordinates, hidden_states
from moderation.evaluation.evaluation import read_history

Table = Callable[..., Path]

# 12 rows a kind; rude scores .95, .6 and .05, advert .8 and .1.
RUDE = [("awful {}", 1), ("mild {}", 1), ("mild again {}", 0), ("fine {}", 0), ("fine so {}", 1)]


@pytest.fixture
def comments(table: Table) -> Path:
    rows = [(text.format(n), label) for n in range(12) for text, label in RUDE]
    return table(
        text=[text for text, _ in rows],
        rude=[label for _, label in rows],
        advert=[None if n % 2 else 0 for n in range(len(rows))],
        source=["forum" if n < 30 else "<b>mail</b>" for n in range(len(rows))],
    )


def measured(policy: Path, comments: Path, **options: Any) -> Any:
    system = open_system(policy)
    rows = read_labelled(
        comments, known=system.labels, task=system.task, slices=("source", "length")
    )
    return evaluate(system, rows, draws=50, **options)


def test_a_policy_is_measured_as_worked_out_by_hand(policy: Path, comments: Path) -> None:
    numbers = measured(policy, comments).numbers
    rude = numbers["labels"]["rude"]
    assert (rude["rows"], rude["positives"], rude["threshold"]) == (60, 36, 0.5)
    # 24 of the positives and 12 of the negatives score at least .5.
    assert rude["confusion"] == [[12, 12], [12, 24]]
    assert rude["precision"][0] == rude["recall"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert rude["at"]["block"]["confusion"] == [[24, 0], [24, 12]]
    # Pairs: awful beats all; mild beats fine, ties with half; fine ties with half of the fine.
    assert rude["AUC"][0] == pytest.approx((1 + 0.75 + 0.25) / 3, abs=1e-4)
    assert [each["rows"] for each in rude["reliability"]] == [24, 24, 12]
    # Harmless everywhere, and never flagged: nothing to rank, but something to say.
    advert = numbers["labels"]["advert"]
    assert (advert["rows"], advert["positives"]) == (30, 0)
    assert advert["flagged"][0] == 0
    assert "AUC" not in advert
    assert advert["macro F1"] is None


def test_slices_are_measured_apart(policy: Path, comments: Path) -> None:
    slices = measured(policy, comments).numbers["slices"]
    rude = {(row["column"], row["value"]): row for row in slices if row["label"] == "rude"}
    assert set(rude) == {("source", "forum"), ("source", "<b>mail</b>"), ("length", "1 to 5 words")}
    assert rude["source", "forum"]["rows"] == 30
    assert rude["source", "forum"]["recall"][0] == pytest.approx(2 / 3, abs=1e-4)
    assert rude["source", "forum"]["false-positive rate"][0] == 0.5


def test_a_model_of_labels_and_one_of_classes(table: Table, toxicity: Path, topics: Path) -> None:
    # Logits: twice the meaning less two: 6 and -2.
    texts = ["idiot", "kill", "sun", "idiot kill"] * 3
    file = table(text=texts, insult=[1, 0, 0, 1] * 3, threat=[0, 1, 0, 1] * 3)
    system = open_system(toxicity)
    rows = read_labelled(file, known=system.labels, task=system.task)
    scores = system.score(rows.texts).scores
    high, low = 1 / (1 + np.exp(-6)), 1 / (1 + np.exp(2))
    expected = [[high, low], [low, high], [low, low], [high, high]]
    np.testing.assert_allclose(scores[:4], expected, atol=1e-6)

    texts = [
        ("goal", "bank", "sun goal .", "the bank")[n % 4] + " the" * (n // 4) for n in range(40)
    ]
    file = table(
        "topics.csv", text=texts, label=[("sport", "money")[n % 2] for n in range(39)] + ["sport"]
    )
    system = open_system(topics)
    rows = read_labelled(file, known=system.labels, task=system.task)
    numbers = evaluate(
        system, rows, draws=50, baseline=Baseline(stem=True, stop_words=True)
    ).numbers
    assert numbers["overall"]["accuracy"][0] == pytest.approx(39 / 40)
    assert numbers["overall"]["confusion"] == [[20, 1], [0, 19]]
    [error] = numbers["errors"]
    assert (error["row"], error["label"], error["said"]) == (40, "sport", "money")
    assert numbers["overall"]["baseline"]["accuracy"][0] > 0.9
    assert numbers["overall"]["classification report"]["money"]["recall"] == 1


def test_the_baseline_learns_from_its_rows_alone(policy: Path, comments: Path) -> None:
    system = open_system(policy)
    rows = read_labelled(comments, known=system.labels, task=system.task)
    fitted = Baseline().scores(rows, ["awful thing", "fine thing"])
    assert fitted[0, 0] > 0.6 > fitted[1, 0]
    assert fitted[0, 1] == 0  # no advert among the rows: the base rate
    tuned = Baseline(tune=True, stop_words=True, stem=True)
    assert "C from" in tuned.told()
    assert tuned.scores(rows, ["awful thing"])[0, 0] > 0.6
    # Porter takes "awful" and "awfully" for one word.
    stemmed = Baseline(stem=True).scores(rows, ["awfully", "awful"])
    assert stemmed[0, 0] == pytest.approx(stemmed[1, 0])
    numbers = measured(policy, comments, baseline=Baseline()).numbers
    assert "cross-validated" in numbers["baseline"]["how"]
    assert numbers["labels"]["rude"]["baseline"]["AUC"][0] > 0.5


def test_hidden_states_are_what_the_last_layer_reads(toxicity: Path) -> None:
    states = hidden_states(toxicity, ["idiot kill kill", "sun", "kill . the sun is rain"])
    assert states is not None
    np.testing.assert_allclose(states, [[4, 8], [0, 0], [0, 4]], atol=1e-6)


def test_embeddings_without_a_model_say_so() -> None:
    texts = [f"word{number % 5} and word{number % 3} again" for number in range(30)]
    places, source = coordinates(texts, None)
    assert places.shape == (30, 3)
    assert np.isfinite(places).all()
    assert source.startswith("TF-IDF")


def test_steps_that_fail_are_counted(tmp_path: Path, comments: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(
        "name: broken\nplugins: [testing]\nthresholds: {rude: {review: 0.5}}\nsteps:\n"
        "  - name: static\n    filter: static\n"
        "    options: {default: {rude: 0.1}, fault: raise, fault_on: awful}\n",
        encoding="utf-8",
    )
    numbers = measured(file, comments, picture=False).numbers
    [(gap, count)] = numbers["gaps"].items()
    assert count == 12
    assert gap.startswith("step static failed")


def test_history_of_a_run(tmp_path: Path) -> None:
    record = {"epoch": 1, "loss": 0.5, "score": 0.9, "natural.toxic": 0.91}
    (tmp_path / "state.json").write_text(json.dumps({"history": [record]}), encoding="utf-8")
    assert read_history(tmp_path) == [record]
    with pytest.raises(ConfigError, match=r"no state\.json"):
        read_history(tmp_path / "none")
    (tmp_path / "state.json").write_text("[]", encoding="utf-8")
    with pytest.raises(ConfigError, match="the state of a training run"):
        read_history(tmp_path)


def test_systems_that_are_none() -> None:
    with pytest.raises(ArtifactError, match="no such model or policy is shipped"):
        open_system("nosuch")
    with pytest.raises(ConfigError, match="no file there"):
        open_system("./nosuch.yaml")


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.sections: list[str] = []
        self.fetched: list[str] = []
        self.figures: list[str] = []
        self.styles: list[str] = []
        self.scripts = 0
        self._in: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "section":
            self.sections.append(str(found["id"]))
        for name in ("src", "href", "action", "data", "srcset"):
            if name in found and not str(found[name]).startswith("#"):
                self.fetched.append(str(found[name]))
        if tag in ("link", "iframe", "base", "meta") and "http-equiv" in found:
            self.fetched.append(tag)
        self.styles.append(str(found.get("style", "")))
        self._in = tag
        self.scripts += tag == "script"
        if tag == "script" and found.get("type") == "application/json":
            self._in = "figure"
            self.figures.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "figure":
            self.figures[-1] += data
        if self._in == "style":
            self.styles.append(data)


def test_the_report_has_every_section_and_fetches_nothing(
    policy: Path, comments: Path, table: Table, tmp_path: Path
) -> None:
    history = [{"epoch": n, "loss": 1 / n, "score": 0.9, "natural.rude": 0.8} for n in (1, 2)]
    evaluation = measured(policy, comments, history=history, baseline=Baseline())
    write_report(evaluation, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Reader()
    page.feed(text)
    assert page.sections == [
        *("glance", "training", "curves", "calibration", "decisions", "slices", "errors"),
        *("embedding", "how"),
    ]
    assert page.fetched == []
    assert not any("url(" in style or "@import" in style for style in page.styles)
    assert text.count("plotly.js v") == 1
    kinds = {
        trace.get("type", "scatter")
        for figure in page.figures
        for trace in json.loads(figure)["data"]
    }
    assert {"scatter", "bar", "heatmap", "scatter3d"} <= kinds
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text
    # What came out of the file is text, wherever it is shown.
    assert "<b>mail</b>" not in text
    assert "&lt;b&gt;mail&lt;/b&gt;" in text


def test_texts_cannot_break_out_of_the_page(policy: Path, table: Table, tmp_path: Path) -> None:
    hostile = "awful </script><script>alert(1)</script><img src=http://x.example> <a href='//y'>"
    texts = [f"{hostile} {n}" for n in range(12)] + [f"fine <!-- {n}" for n in range(12)]
    file = table(text=texts, rude=[0] * 12 + [1] * 12)
    evaluation = measured_plain(policy, file)
    write_report(evaluation, tmp_path / "report.html", title="<i>title</i>")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    page = Reader()
    page.feed(text)
    assert page.fetched == []
    # The figures, plotly.js and our own: nothing that the texts brought.
    assert page.scripts == len(page.figures) + 2
    assert "alert(1)" in text
    assert re.search(r"<script>\s*alert", text) is None
    assert "<i>title" not in text


def measured_plain(policy: Path, file: Path) -> Any:
    system = open_system(policy)
    rows = read_labelled(file, known=system.labels, task=system.task)
    return evaluate(system, rows, draws=50)


def test_the_numbers_are_json_without_texts(policy: Path, comments: Path, tmp_path: Path) -> None:
    measured(policy, comments).write_json(tmp_path / "numbers.json")
    text = (tmp_path / "numbers.json").read_text(encoding="utf-8")
    numbers = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {"labels", "slices", "errors", "embedding", "overall", "data"} <= set(numbers)
    assert "mild again" not in text
    assert numbers["errors"][0]["row"] > 0


def test_marked_words_are_measured(table: Table, toxicity: Path) -> None:
    file = table(
        "spans.jsonl",
        text=["the idiot", "sun", "idiot idiot", "the sun"] * 4,
        insult=[1, 0, 1, 0] * 4,
        spans=[[[4, 9]], [], [[0, 5]], None] * 4,
    )
    system = open_system(toxicity)
    rows = read_labelled(file, known=system.labels, task=system.task, spans="spans")
    numbers = evaluate(system, rows, draws=50, picture=False).numbers
    # Right, right, and 5 of 11 characters found of "idiot idiot": 2 * 5 / (5 + 11).
    assert numbers["spans"]["rows"] == 12
    assert numbers["spans"]["character F1"][0] == pytest.approx((1 + 1 + 10 / 16) / 3, abs=1e-4)


def test_a_run_is_reported_beside_it(toxicity: Path, tmp_path: Path) -> None:
    from moderation.training.data import Rows

    size = 40
    rows = Rows(
        ["idiot", "kill", "sun", "idiot kill"] * 10,
        np.asarray([[1, 0], [0, 1], [0, 0], [1, np.nan]] * 10, np.float32),
        np.asarray(["forum", "mail"] * 20),
        np.full(size, "test"),
        np.ones(size, np.float32),
        [((0, 5),), None, (), None] * 10,
        np.full(size, ""),
    )
    history = [{"epoch": 1, "loss": 0.5, "score": 0.9}]
    (tmp_path / "state.json").write_text(json.dumps({"history": history}), encoding="utf-8")
    page = report_run(toxicity, rows, rows, tmp_path)
    assert 'id="training"' in page.read_text(encoding="utf-8")
    numbers = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert numbers["history"] == history
    assert numbers["labels"]["threat"]["rows"] == 30
    assert {row["value"] for row in numbers["slices"]} == {"forum", "mail"}
    assert numbers["spans"]["character F1"][0] == 1


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    import moderation.evaluation as package

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "plotly" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"moderation\[train\]"):
        package.evaluate  # noqa: B018
