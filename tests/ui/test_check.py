"""The Check tab, used as a person would, and called by name."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

THREAT = "I know where you live and I will kill you tonight."


@pytest.fixture(scope="module")
def page(browser: Any, server: str) -> Any:
    """One visitor for all that follows: whatever happened before, the page goes on working."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(server)
    page.locator("#check-button").wait_for()
    yield page
    context.close()


def check(page: Any, text: str) -> Any:
    """Types a text, presses the button, and returns what the result says then."""
    page.evaluate(
        "document.querySelectorAll('#check-result section, #check-result .notice')"
        ".forEach(old => old.dataset.old = 'old')"
    )
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Check", exact=True).click()
    page.locator("[data-old]").first.wait_for(state="detached")
    return page.locator("#check-result")


def test_a_threat_is_blocked_and_its_words_are_marked(page: Any) -> None:
    result = check(page, THREAT)
    assert result.locator(".verdict .word").inner_text() == "Block"
    assert "threat" in result.locator(".verdict .why").inner_text()
    assert "kill" in " ".join(result.locator("mark").all_inner_texts())
    assert "k***" in result.locator("dl.read").first.inner_text()
    assert result.get_by_role("img", name=re.compile(r"^threat 0\.\d+, review from")).count() == 1
    steps = result.locator(".chain li")
    assert [step.split("\n")[0] for step in steps.all_inner_texts()][:2] == ["words", "lstm"]


def test_a_disguise_is_undone(page: Any) -> None:
    result = check(page, "you are so s.t.u.p.i.d, go k!ll y0urself")
    assert "stupid" in result.locator("dl.read").inner_text()


def test_an_example_is_checked_with_one_click(page: Any) -> None:
    page.get_by_role("button", name="Everyday").click()
    page.locator(".verdict .word", has_text="Allow").wait_for()
    assert "recipe" in page.get_by_label("Text", exact=True).input_value()


def test_markup_and_templates_in_a_text_are_only_text(page: Any) -> None:
    nasty = "<img src=x onerror=alert(1)> ${1+1} {{value}} </script> you idiot \u202e &amp;"
    page.on("dialog", lambda dialog: pytest.fail("a text was run as a script"))
    result = check(page, nasty)
    shown = result.locator("p.text").inner_text()
    assert "<img src=x onerror=alert(1)> ${1+1} {{value}} </script>" in shown
    assert "&amp;" in shown
    assert result.locator("p.text img").count() == 0
    page.locator("#check-code pre").first.wait_for()
    assert "{{value}}" in page.locator("#check-code .way.python code").inner_text()


def test_four_models_say_something_or_how_to_get_them(page: Any) -> None:
    check(page, THREAT)
    cards = page.locator("#check-models .model")
    # The cards come after the verdict; until then those of the text before stand there.
    cards.first.get_by_text("threat").wait_for()
    titles = [card.split("\n")[0] for card in cards.all_inner_texts()]
    assert titles == ["LSTM", "DistilBERT", "Llama Guard", "BLIP"]
    for card in cards.all():
        configured = "not configured" not in card.inner_text()
        assert configured or card.locator("pre").inner_text().strip()


def test_code_for_the_input_on_the_screen(page: Any) -> None:
    check(page, 'it\'s "quoted" & $HOME')
    page.locator("#check-code pre").first.wait_for()
    for way, piece in (
        ("Python", "verdict = moderator.moderate("),
        ("HTTP", "/v1/moderate"),
        ("OpenAI", "client.moderations.create("),
        ("Perspective", "comments:analyze"),
        ("This page", 'api_name="/check"'),
    ):
        page.locator("#check-code").get_by_text(way, exact=True).click()
        shown = page.locator("#check-code code:visible")
        assert shown.count() == 1
        assert piece in shown.inner_text()


def test_an_empty_text_is_explained_and_survived(page: Any) -> None:
    result = check(page, "   ")
    assert result.get_by_role("alert").inner_text().startswith("There is nothing to check")
    assert check(page, THREAT).locator(".verdict .word").inner_text() == "Block"


def test_an_enormous_text_is_explained_and_survived(page: Any) -> None:
    result = check(page, "a nice day " * 30_000)
    assert "330,000" in result.get_by_role("alert").inner_text()
    assert check(page, "have a nice day").locator(".verdict .word").inner_text() == "Allow"


def test_a_long_text_is_shown_in_excerpts(page: Any) -> None:
    result = check(page, "It was a very nice day in the garden. " * 400 + "Kys, you fucker.")
    assert "fucker" in " ".join(result.locator("mark").all_inner_texts())
    assert "15,216 characters in all" in result.inner_text()


def test_the_keyboard_is_enough(page: Any) -> None:
    page.get_by_label("Text", exact=True).fill("")
    page.keyboard.type(THREAT)
    page.keyboard.press("Shift+Enter")
    page.locator(".verdict .word", has_text="Block").wait_for()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "check-button":
            break
    assert page.evaluate("document.activeElement.id") == "check-button"
    page.get_by_label("Text", exact=True).fill("have a nice day")
    page.locator("#check-button").focus()
    page.keyboard.press("Enter")
    page.locator(".verdict .word", has_text="Allow").wait_for()


def test_two_visitors_do_not_see_each_others_texts(visit: Callable[..., Any]) -> None:
    one, other = visit(), visit()
    check(one, "the first visitor wrote about elderflowers")
    check(other, "the second visitor wrote about locomotives")
    one.reload()
    one.locator("#check-button").wait_for()
    assert "No verdict yet" in one.locator("#check-result").inner_text()
    for page, word in ((one, "locomotives"), (other, "elderflowers")):
        assert word not in page.content()


def test_a_phone_shows_everything_without_scrolling_sideways(browser: Any, server: str) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme="dark")
    page = context.new_page()
    page.goto(server)
    page.get_by_role("button", name="Threat").click()
    page.locator("#check-models .model").first.wait_for()
    width = page.evaluate("document.documentElement.scrollWidth")
    context.close()
    assert width <= 390


def test_nothing_is_loaded_from_outside(browser: Any, server: str) -> None:
    context = browser.new_context()
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(server)
    page.get_by_role("button", name="Threat").click()
    page.locator("#check-models .model").first.wait_for()
    context.close()
    assert [url for url in asked if not url.startswith((server, "data:", "blob:"))] == []


@pytest.fixture(scope="module")
def sign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture that says something nasty."""
    image = pytest.importorskip("PIL.Image")
    draw = pytest.importorskip("PIL.ImageDraw")
    font = pytest.importorskip("PIL.ImageFont")
    picture = image.new("RGB", (640, 200), "white")
    draw.Draw(picture).text(
        (30, 60), "I will kill you tonight", fill="black", font=font.load_default(48)
    )
    path = tmp_path_factory.mktemp("pictures") / "sign.png"
    picture.save(path)
    return Path(path)


def drop(page: Any, path: Path) -> None:
    page.locator("#check-image input[type=file]").set_input_files(path)
    page.locator("#check-image img").wait_for()


def test_words_in_a_dropped_picture_are_found(
    visit: Callable[..., Any], sign: Path, server_files: Path
) -> None:
    pytest.importorskip("rapidocr", reason="the extra images is not installed")
    page = visit()
    drop(page, sign)
    page.get_by_role("button", name="Check", exact=True).click()
    page.locator(".verdict").wait_for()
    assert page.locator(".verdict .word").inner_text() == "Block"
    assert page.locator(".picture rect.hit").count() >= 1
    assert "kill" in page.locator("#check-result dl.read").inner_text()
    assert "policy images" in page.locator(".verdict").inner_text()

    def kept() -> list[Path]:
        return list((server_files / "cache").rglob("sign.png"))

    assert kept()
    page.close()
    deadline = time.monotonic() + 20
    while kept() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not kept(), "a picture is still on the disk after the visit"


def test_a_document_that_is_named_like_a_picture(page: Any, tmp_path: Path) -> None:
    path = tmp_path / "document.png"
    path.write_bytes(b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n%%EOF\n")
    page.locator("#check-image input[type=file]").set_input_files(path)
    page.get_by_role("button", name="Remove").or_(page.locator("#check-image img")).first.wait_for()
    page.get_by_role("button", name="Check", exact=True).click()
    page.get_by_role("alert").wait_for()
    assert "cannot be read" in page.get_by_role("alert").inner_text()
    page.get_by_role("button", name="Everyday").click()
    page.locator(".verdict").wait_for()


def test_by_name(server: str, sign: Path) -> None:
    client = Client(server, verbose=False)
    verdict = client.predict(text=THREAT, api_name="/check")
    assert verdict["action"] == "block"
    assert verdict["scores"]["threat"] > 0.8
    assert "text" not in verdict["parts"][0]
    with pytest.raises(AppError, match="nothing to check"):
        client.predict(text="", api_name="/check")
    with pytest.raises(AppError, match="defalt is not in the list of choices"):
        client.predict(text=THREAT, policy="defalt", api_name="/check")
    pytest.importorskip("rapidocr", reason="the extra images is not installed")
    found = client.predict(text="", image=handle_file(sign), policy="images", api_name="/check")
    assert found["action"] == "block"


def test_a_picture_of_too_many_pixels(server: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = tmp_path / "huge.png"
    image.new("1", (20_000, 10_000)).save(path)
    client = Client(server, verbose=False)
    with pytest.raises(AppError, match="pixels"):
        client.predict(text="", image=handle_file(path), policy="images", api_name="/check")


def test_no_text_is_logged(server: str, server_files: Path) -> None:
    client = Client(server, verbose=False)
    client.predict(text="zanzibar you idiot", api_name="/check")
    assert "zanzibar" not in (server_files / "log").read_text()
