"""The Policy tab: what its parts compute, and the page used as a person would."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from moderation import Action, Moderator, Policy
from moderation.errors import ConfigError
from moderation.policy import Thresholds
from moderation.ui.policy import NEVER, SCRIPT, _edited, _field, _form, _numbers
from moderation.ui.replay import Quality
from moderation.ui.run import Run
from moderation.ui.table import Table

INSULT = "you are a stupid idiot"
BASE = Policy.model_validate(
    {
        "name": "tried",
        "plugins": ["testing"],
        "steps": [
            {
                "name": "words",
                "filter": "static",
                "options": {
                    "scores": {"foul": {"toxic": 0.95}, "joke": {"toxic": 0.6}},
                    "default": {"toxic": 0.0},
                },
            },
            {"name": "more", "filter": "static", "options": {"default": {"spam": 0.3}}},
        ],
        "thresholds": {"toxic": {"review": 0.5, "block": 0.905}},
    }
)


def test_quality_by_hand() -> None:
    flagged = np.array([True, True, True, False, False, True])
    labels = np.array([1, 0, 0.5, 1, 0, np.nan])
    found = Quality.of(flagged, labels)
    assert found == Quality(hits=2, flagged=3, positives=3, rows=5)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(2 / 3)
    nothing = Quality.of(np.array([False]), np.array([0.0]))
    assert nothing.precision != nothing.precision
    assert nothing.recall != nothing.recall


def test_numbers_about_a_file_by_hand() -> None:
    table = Table(
        {"text": ["fine", "joke", "foul", "foul"], "toxic": ["0", "0", "1", "1"]},
    )
    moderator = Moderator(BASE)
    run = Run(table, "text", {"tried": moderator})
    list(run.judge())
    stricter = _edited(moderator, ["words", "more"], {"toxic": {"review": 0.7, "block": None}})
    assert _numbers(run, run.sides[0], stricter) == {
        "rows": 4,
        "changed": 3,
        "unknown": 0,
        "before": {
            "allow": 1,
            "review": 1,
            "block": 2,
            "labels": {"toxic": {"precision": 0.666667, "recall": 1.0}},
        },
        "after": {
            "allow": 2,
            "review": 2,
            "block": 0,
            "labels": {"toxic": {"precision": 1.0, "recall": 1.0}},
        },
    }


def test_sliders_become_a_policy() -> None:
    moderator = Moderator(BASE)
    assert _edited(moderator, None, None) == BASE
    same = {"toxic": {"review": 0.5, "block": 0.905}, "spam": {"review": None, "block": None}}
    assert _edited(moderator, ["words", "more"], same) == BASE
    found = _edited(moderator, ["more"], {"toxic": {"review": 0.1}, "spam": {"review": 0}})
    assert found.thresholds == {"spam": Thresholds(review=0.0)}


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ([0.5], "by category"),
        ({"toxic": 0.5}, "expected review and block"),
        ({"toxic": {"warn": 0.5}}, "expected review and block"),
        ({"toxic": {"review": "0.5"}}, r"thresholds.toxic.review: expected 0 to 1"),
        ({"toxic": {"review": True}}, "expected 0 to 1"),
        ({"toxic": {"block": 1.5}}, "expected 0 to 1"),
        ({"toxic": {"block": float("nan")}}, "expected 0 to 1"),
        ({"toxic": {"review": 0.9, "block": 0.5}}, "review not above block"),
        ({"toxix": {"review": 0.9}}, "did you mean 'toxic'"),
    ],
)
def test_thresholds_that_cannot_be_used(limits: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        _edited(Moderator(BASE), ["words", "more"], limits)


def test_a_threshold_between_two_places_of_a_slider_is_kept_until_it_is_moved() -> None:
    html = _field("toxic", BASE.thresholds["toxic"])
    assert 'value="50"' in html
    assert 'data-exact="0.905"' in html
    assert 'aria-label="toxic: block from" aria-valuetext="0.905"' in html
    assert f'value="{NEVER}"' in _field("toxic", None)


def test_every_category_has_sliders() -> None:
    html = _form(Moderator(BASE))
    assert html.count('data-category="toxic"') == 2
    assert html.count('data-category="spam"') == 2
    # Gradio builds a page's HTML as a template: what is in a script is not for it.
    assert "{{" not in SCRIPT


@pytest.fixture(scope="module")
def page(browser: Any, server: str) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 1400})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(server)
    page.locator("#check-button").wait_for()
    yield page
    context.close()


def enter(page: Any) -> None:
    page.get_by_role("tab", name="Policy").click()
    page.locator("#policy-form input[type=range]").first.wait_for()


def attempt(page: Any, text: str) -> Any:
    page.get_by_label("Text to try").fill(text)
    page.get_by_role("button", name="Try", exact=True).click()
    page.locator("#policy-one .moved").wait_for()
    return page.locator("#policy-one")


def drag(page: Any, label: str, to: float) -> None:
    """Takes the thumb of a slider with the mouse and drags it to `to`, from 0 to 1 of its way."""
    slider = page.get_by_label(label, exact=True)
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    value, most = int(slider.input_value()), NEVER
    thumb = 17  # pixels, as wide as the page draws it
    begin = box["x"] + thumb / 2 + (box["width"] - thumb) * value / most
    end = box["x"] + box["width"] * to
    y = box["y"] + box["height"] / 2
    page.mouse.move(begin, y)
    page.mouse.down()
    page.mouse.move((begin + end) / 2, y, steps=4)
    page.mouse.move(end, y, steps=4)
    page.mouse.up()


def settled(page: Any, *categories: str) -> None:
    """Waits until what the page shows is about the sliders as they stand now."""
    wanted = {}
    for category in categories:
        levels = {}
        for level in ("review", "block"):
            label = f"{category.replace('_', ' ')}: {level} from"
            value = int(page.get_by_label(label, exact=True).input_value())
            if value < NEVER:
                levels[level] = value / 100
        wanted[category] = levels
    deadline = time.monotonic() + 60
    while True:
        shown = yaml.safe_load(page.locator("#policy-yaml pre").text_content())["thresholds"]
        if all(shown.get(category, {}) == levels for category, levels in wanted.items()):
            return
        assert time.monotonic() < deadline, (wanted, shown)
        page.wait_for_timeout(100)


def downloaded(page: Any, folder: Path) -> Path:
    with page.expect_download() as started:
        page.get_by_role("link", name="Download YAML").click()
    path = folder / "mine.yaml"
    started.value.save_as(path)
    return path


def test_thresholds_are_dragged_until_a_text_is_allowed_and_the_engine_agrees(
    page: Any, tmp_path: Path
) -> None:
    enter(page)
    one = attempt(page, INSULT)
    assert Moderator("default").moderate(INSULT).flagged
    assert "Allow" not in one.locator(".moved").inner_text()

    acting = [
        category
        for category, limits in Policy.load("default").thresholds.items()
        if limits.action(Moderator("default").moderate(INSULT).scores.get(category, 0)) > 0
    ]
    for category in acting:
        # Review pushes block along, and both end where there is no threshold any more.
        drag(page, f"{category.replace('_', ' ')}: block from", 1.0)
        drag(page, f"{category.replace('_', ' ')}: review from", 1.0)
    one.locator(".moved .badge.is-allow").wait_for()
    settled(page, *acting)

    path = downloaded(page, tmp_path)
    policy = Policy.load(path)
    assert not set(acting) & set(policy.thresholds)
    assert Moderator(path).moderate(INSULT).action is Action.ALLOW
    assert Policy.parse(policy.to_yaml()).model_dump() == policy.model_dump()

    page.get_by_role("button", name="Back to the policy as it is").click()
    one.get_by_text("as before").wait_for()
    same = Policy.load(downloaded(page, tmp_path))
    assert same.model_dump() == Policy.load("default").model_dump()


def test_sliders_by_keyboard(page: Any) -> None:
    enter(page)
    attempt(page, INSULT)
    slider = page.get_by_label("toxic: review from", exact=True)
    before = int(slider.input_value())
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert int(slider.input_value()) == before + 1
    assert slider.get_attribute("aria-valuetext") == f"{(before + 1) / 100:.2f}"
    page.keyboard.press("End")
    assert slider.get_attribute("aria-valuetext") == "never"
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == "0.00"
    page.get_by_role("button", name="Back to the policy as it is").click()
    page.wait_for_function(
        "before => document.querySelector('#policy-form input[type=range]').value == before",
        arg=before,
    )


def test_a_step_is_switched_off(page: Any, tmp_path: Path) -> None:
    enter(page)
    one = attempt(page, INSULT)
    page.get_by_label("lstm", exact=False).first.uncheck()
    one.locator(".moved .badge.is-allow").wait_for()
    path = downloaded(page, tmp_path)
    assert [step.name for step in Policy.load(path).steps] == ["words"]
    assert Moderator(path).moderate(INSULT).action is Action.ALLOW

    page.get_by_label("words", exact=False).first.uncheck()
    one.get_by_text("switch on at least one").wait_for()
    page.get_by_role("button", name="Back to the policy as it is").click()
    one.get_by_text("as before").wait_for()


def test_the_text_of_the_check_tab_comes_along(page: Any) -> None:
    page.get_by_role("tab", name="Check").click()
    page.get_by_label("Text", exact=True).fill("I will kill you tonight")
    page.get_by_role("button", name="Check", exact=True).click()
    page.locator(".verdict .word", has_text="Block").wait_for()
    enter(page)
    page.wait_for_function(
        "document.querySelector('#policy-text textarea, #policy-text input').value"
        " === 'I will kill you tonight'"
    )
    page.locator("#policy-one .moved .badge.is-block").wait_for()


def test_what_would_change_in_the_file_is_what_changes(page: Any, tmp_path: Path) -> None:
    texts = [f"{piece} {n}" for n in range(40) for piece in (INSULT, "a nice day", "shut up, liar")]
    path = tmp_path / "rows.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "toxic"])
        writer.writerows([text, int("nice" not in text)] for text in texts)
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-tab input[type=file]").set_input_files(path)
    page.locator("#batch-status").get_by_text("120 rows with").wait_for()
    page.locator("#batch-run").click()
    page.locator("#batch-rows table").wait_for()

    enter(page)
    many = page.locator("#policy-many")
    many.get_by_text("120 rows, 0 would change").wait_for()
    drag(page, "insult: review from", 0.99)
    drag(page, "toxic: review from", 0.99)
    settled(page, "insult", "toxic")
    mine = downloaded(page, tmp_path)
    before, after = (
        [verdict.action for verdict in Moderator(policy).moderate_batch(texts)]
        for policy in ("default", mine)
    )
    changed = sum(old != new for old, new in zip(before, after, strict=True))
    assert f"120 rows, {changed} would change" in many.inner_text()
    assert changed > 0
    shares = many.locator("tbody").first.locator("tr").first.inner_text()
    assert f"{sum(map(bool, before)) / 120:.1%}" in shares
    assert f"{sum(map(bool, after)) / 120:.1%}" in shares
    assert "Precision" in many.inner_text()

    page.locator("#policy-name input").click()
    page.get_by_role("option", name="images").click()
    many.get_by_text("The file was run with another policy").wait_for()


def test_by_name_from_python(server: str, tmp_path: Path) -> None:
    client = Client(server, verbose=False, download_files=str(tmp_path))
    limits = {name: {"review": None, "block": 0.99} for name in Policy.load("default").thresholds}
    found = client.predict("default", ["words", "lstm"], limits, INSULT, api_name="/policy_change")
    assert found["text"]["before"] != "allow"
    assert found["file"] is None
    after = Moderator(Policy.parse(found["yaml"])).moderate(INSULT)
    assert found["text"]["after"] == str(after.action)

    path = tmp_path / "rows.csv"
    path.write_text(f"text\n{INSULT}\na nice day\n")
    client.predict(handle_file(path), api_name="/batch_open")
    client.predict("text", "default", "", api_name="/batch_start")
    client.predict("CSV", api_name="/batch_run")
    found = client.predict("default", ["words", "lstm"], limits, "", api_name="/policy_change")
    assert found["text"] is None
    assert found["file"]["rows"] == 2
    assert found["file"]["before"]["allow"] == 1

    with pytest.raises(AppError, match="switch on at least one"):
        client.predict("default", [], limits, "", api_name="/policy_change")
    with pytest.raises(AppError, match="expected 0 to 1"):
        client.predict("default", ["lstm"], {"toxic": {"review": 7}}, "", api_name="/policy_change")


def test_two_visitors_do_not_see_each_others_text(visit: Callable[..., Any]) -> None:
    one, two = visit(), visit()
    for page in (one, two):
        enter(page)
    attempt(one, "heliotrope-quixotic idiot")
    enter(two)
    two.locator("#policy-one .notice.empty").wait_for()
    assert "heliotrope" not in two.content()
