"""The Models tab, and what it tells a program."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from moderation.evaluation import plots
from moderation.ui import charts, models

WEIGHTS = Path(models.WEIGHTS)


def test_what_is_there_and_what_is_missing(page: Any) -> None:
    page.get_by_role("tab", name="Models").click()
    page.locator("#models-quality .panel").first.wait_for()
    cards = page.locator(".model:visible")
    told = {card.split("\n")[0]: card for card in cards.all_inner_texts()}
    assert "in the package" in told["toxicity-lstm"]
    guard = told["meta-llama/Llama-Guard-3-1B"]
    assert "not there" not in guard or "moderation models fetch" in guard
    card = json.loads((WEIGHTS / "toxicity-lstm" / "model.json").read_text())
    page.get_by_label("Trained model").click()
    page.get_by_role("option", name="toxicity-lstm").click()
    page.get_by_role("heading", name="toxicity-lstm", exact=True).wait_for()
    quality = page.locator("#models-quality").inner_text()
    assert f"{card['data']['rows']:,} texts" in quality
    assert f"{card['metrics']['test']['toxic']['AUC'][0]:.3f}" in quality
    page.get_by_role("button", name="The card as it lies").click()
    assert "toxicity-lstm" in page.locator("#models-card").inner_text()
    for name in ("wordlist", "classifier", "llama_guard", "blip", "ocr"):
        assert page.locator("#models-found code", has_text=name).first.is_visible()


def test_by_name(server: str) -> None:
    client = Client(server, verbose=False)
    found = client.predict(api_name="/models")
    assert any("toxicity-lstm" in name and told["there"] for name, told in found.items())
    assert found["meta-llama/Llama-Guard-3-1B"]["steps"] == ["full: guard"]
    card = client.predict("toxicity-lstm", api_name="/model")
    assert card["labels"][0] == "toxic"
    for name in ("no-such-model", "../../configs"):
        with pytest.raises(AppError, match="no such model folder"):
            client.predict(name, api_name="/model")


def test_a_folder_that_is_not_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "model.json").write_text("{")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    assert "not valid JSON" in models._quality("broken")
    assert str(tmp_path) not in models._quality("broken")


def test_curves_of_a_report() -> None:
    row = {
        "AUC": [0.8, 0.7, 0.9],
        "average precision": [0.5, 0.4, 0.6],
        "calibration error": 0.05,
        "threshold": 0.5,
        "confusion": [[90, 10], [5, 15]],
        "ROC": {"x": [0, 0.1, 1], "y": [0, 0.75, 1], "thresholds": [1, 0.5, 0]},
        "precision-recall": {"x": [1, 0.75, 0], "y": [0.2, 0.6, 1], "thresholds": [0, 0.5, 1]},
        "reliability": [
            {"score": 0.1, "rate": [0.05, 0.02, 0.1], "rows": 95},
            {"score": 0.9, "rate": [0.6, 0.4, 0.8], "rows": 25},
        ],
    }
    shown = models._curves({"labels": {"in<sult": row}, "overall": {}})
    assert "in<sult" not in shown
    assert "in&lt;sult" in shown
    assert "90 · 90%" in shown
    assert "15 · 75%" in shown
    assert shown.count('class="chart"') == 3


def test_points_of_a_report_stand_in_the_middle() -> None:
    embedding = {
        "source": "words",
        "rows": [1, 2, 3],
        "places": [[10, 0, 0], [14, 0, 0], [12, 3, -3]],
        "groups": ["none", "threat", "none"],
    }
    shown = models._points({"embedding": embedding})
    points = json.loads(re.findall(r'data-points="([^"]*)"', shown)[0])
    assert [point[:3] for point in points] == [[-1, -0.5, 0.5], [1, -0.5, 0.5], [0, 1, -1]]
    assert [point[3] for point in points] == [0, 1, 0]
    assert "threat" in shown


def test_a_report_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(WEIGHTS / "toxicity-lstm", tmp_path / "toxicity-lstm")
    monkeypatch.setattr(models, "WEIGHTS", tmp_path)
    for text in ("{", "[]", '{"labels": {"toxic": 3}, "overall": {}}'):
        (tmp_path / "toxicity-lstm" / models.REPORT).write_text(text)
        shown = models._quality("toxicity-lstm")
        assert "report.json beside this model cannot be drawn" in shown
        assert "texts held out of training" in shown


def test_a_point_stands_where_its_value_is() -> None:
    figure = plots.dots([("first", [0.5, 0.4, 0.6]), ("second", [1.0, 0.9, 1.0])], "AUC")
    drawn = charts.svg(figure, "two values")
    first, second = (float(circle.split('"')[1]) for circle in drawn.split("<circle cx=")[1:])
    # Drawn from the last to the first: the higher value is further right.
    assert first > second
