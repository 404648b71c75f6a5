"""The Batch tab, used as a person would, and called by name."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError

from moderation import Moderator

PIECES = [
    "have a nice day",
    "you are a stupid idiot",
    "I will kill you tonight",
    "what a lovely garden, thank you",
    "this is fucking amazing",
    "shut up you pathetic liar",
    "the meeting is at nine",
]
TELLTALE = "heliotrope-quixotic"


def rows(count: int) -> list[str]:
    size = len(PIECES)
    return [f"{PIECES[n % size]}, {PIECES[n // size % size]} {n}" for n in range(count)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def table(folder: Path, name: str, texts: list[str]) -> Path:
    path = folder / name
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "comment", "toxic"])
        writer.writerows([n, text, int("idiot" in text)] for n, text in enumerate(texts))
    return path


@pytest.fixture(scope="module")
def page(browser: Any, server: str) -> Iterator[Any]:
    """One visitor for all that follows: whatever happened before, the page goes on working."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(server)
    page.get_by_role("tab", name="Batch").click()
    page.locator("#batch-run").wait_for()
    yield page
    context.close()


def upload(page: Any, path: Path) -> Any:
    """Gives the page a file in place of the one that it has; returns what it says then."""
    clear = page.locator("#batch-tab").get_by_label("Clear")
    if clear.count():
        clear.click()
        page.locator("#batch-status .notice.empty").wait_for()
    page.locator("#batch-tab input[type=file]").set_input_files(path)
    status = page.locator("#batch-status")
    status.locator(".notice:not(.empty)").first.wait_for()
    return status


def judge(page: Any, path: Path) -> Any:
    upload(page, path)
    page.locator("#batch-run").click()
    page.locator("#batch-status").get_by_text("rows judged").wait_for()
    page.locator("#batch-rows table").wait_for()
    return page.locator("#batch-rows")


def test_a_file_of_2000_rows_is_run_and_downloaded(page: Any, folder: Path) -> None:
    texts = rows(2_000)
    listed = judge(page, table(folder, "two thousand.csv", texts))
    expected = Moderator("default").moderate_batch(texts)
    assert "Rows 1 to 25 of 2,000, page 1 of 80" in listed.inner_text()
    assert len(listed.locator("tbody tr").all()) == 25

    with page.expect_download() as started:
        page.locator("#batch-save").click()
    path = folder / "saved.csv"
    started.value.save_as(path)
    assert started.value.suggested_filename == "verdicts.csv"
    with path.open(newline="", encoding="utf-8") as file:
        found = list(csv.DictReader(file))
    assert [row["comment"] for row in found] == texts
    assert [row["default.action"] for row in found] == [str(v.action) for v in expected]
    for row, verdict in zip(found, expected, strict=True):
        assert float(row["default.toxic"]) == pytest.approx(verdict.scores["toxic"], abs=1e-4)

    counts = {
        action: sum(str(v.action) == action for v in expected) for action in ("allow", "block")
    }
    assert f"{counts['block']:,}" in page.locator("#batch-charts .panel").first.inner_text()


def test_the_download_in_other_formats(page: Any, folder: Path) -> None:
    judge(page, table(folder, "few.csv", rows(10)))
    page.get_by_label("JSON lines", exact=True).check()
    page.get_by_text("Download 10 rows as JSON lines").wait_for()
    with page.expect_download() as started:
        page.locator("#batch-save").click()
    lines = started.value.path().read_text(encoding="utf-8").splitlines()
    assert len(lines) == 10
    assert json.loads(lines[0])["default.action"] == "allow"
    page.get_by_label("CSV", exact=True).check()
    page.get_by_text("Download 10 rows as CSV").wait_for()


def test_rows_are_filtered_sorted_searched_and_turned(page: Any, folder: Path) -> None:
    texts = rows(200)
    listed = judge(page, table(folder, "some.csv", texts))
    allowed = sum(v.action == 0 for v in Moderator("default").moderate_batch(texts))

    page.get_by_label("Show").click()
    page.get_by_role("option", name="Allow").click()
    listed.get_by_text(f"of {allowed},").wait_for()
    assert set(listed.locator("tbody .badge").all_inner_texts()) == {"Allow"}

    page.get_by_label("Search in the texts").fill("GARDEN")
    page.get_by_label("Search in the texts").press("Enter")
    page.wait_for_function(
        "[...document.querySelectorAll('#batch-rows .text-cell')]"
        ".every(cell => cell.textContent.includes('garden'))"
    )
    page.get_by_label("Search in the texts").fill("")
    page.get_by_label("Search in the texts").press("Enter")
    listed.get_by_text(f"of {allowed},").wait_for()

    page.get_by_role("button", name="Next").click()
    listed.get_by_text("page 2 of").wait_for()
    page.get_by_role("button", name="Previous").click()
    listed.get_by_text("page 1 of").wait_for()


def test_a_run_is_cancelled_and_what_was_judged_is_there(page: Any, folder: Path) -> None:
    upload(page, table(folder, "long.csv", rows(60_000)))
    page.locator("#batch-run").click()
    progress = page.locator("#batch-status progress")
    page.wait_for_function("document.querySelector('#batch-status progress')?.value > 0")
    assert progress.get_attribute("aria-label") == "Rows judged"
    assert "left" in page.locator("#batch-status").inner_text()
    page.locator("#batch-cancel").click()
    page.locator("#batch-status").get_by_text("Stopped after").wait_for()
    told = page.locator("#batch-status").inner_text()
    done = int(re.search(r"Stopped after ([\d,]+) of 60,000", told)[1].replace(",", ""))  # type: ignore[index]
    assert 0 < done < 60_000
    with page.expect_download() as started:
        page.locator("#batch-save").click()
    with started.value.path().open(newline="", encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == done


def test_two_policies_are_compared(page: Any, folder: Path) -> None:
    upload(page, table(folder, "two.csv", rows(100)))
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="images").click()
    page.locator("#batch-run").click()
    page.locator("#batch-charts .crossed").wait_for()
    assert "Where default and images disagree" in page.locator("#batch-charts").inner_text()
    cells = page.locator("#batch-charts .crossed td.r").all_inner_texts()
    assert sum(map(int, cells)) == 100
    head = page.locator("#batch-rows th").all_inner_texts()
    assert head[1:3] == ["default", "images"]
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="None").click()


@pytest.mark.parametrize(
    ("name", "data", "told"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("quotes.csv", b'text\n"a"b\n', "line 2: a broken quote"),
        ("broken.jsonl", b'{"text": "a"}\n{"text"\n', "line 2"),
        ("workbook.csv", b"PK\x03\x04", "Excel workbook"),
        ("<b>evil</b> ..;$(x).exe", b"MZ", "expected a name that ends in .csv"),
    ],
)
def test_a_wrong_file_is_explained(
    page: Any, folder: Path, name: str, data: bytes, told: str
) -> None:
    path = folder / name.replace("/", "_")
    path.write_bytes(data)
    assert told in upload(page, path).get_by_role("alert").inner_text()


def test_the_page_goes_on_after_wrong_files(page: Any, folder: Path) -> None:
    judge(page, table(folder, "good.csv", rows(5)))


def test_another_encoding_is_read_and_said(page: Any, folder: Path) -> None:
    path = folder / "old.csv"
    path.write_bytes("text\nein schöner Tag im Café\n".encode("cp1252"))
    assert "Windows-1252" in upload(page, path).inner_text()
    page.locator("#batch-run").click()
    page.locator("#batch-rows table").wait_for()
    assert "schöner" in page.locator("#batch-rows").inner_text()


def test_a_column_that_is_not_there_is_explained(page: Any, folder: Path) -> None:
    upload(page, table(folder, "column.csv", rows(5)))
    column = page.get_by_label("Column with the texts")
    column.fill("commment")
    column.press("Enter")
    page.locator("#batch-run").click()
    told = page.locator("#batch-status").get_by_role("alert")
    told.wait_for()
    assert "it has id, comment, toxic" in told.inner_text()
    judge(page, table(folder, "column.csv", rows(5)))


def test_markup_in_texts_is_only_text(page: Any, folder: Path) -> None:
    nasty = "<img src=x onerror=alert(1)> ${1+1} {{value}}"
    page.on("dialog", lambda dialog: pytest.fail("a text was run as a script"))
    listed = judge(page, table(folder, "nasty.csv", [nasty, "fine"]))
    assert nasty in listed.inner_text()
    assert listed.locator("img").count() == 0


def test_a_lost_connection_is_survived(page: Any, folder: Path) -> None:
    upload(page, table(folder, "lost.csv", rows(30_000)))
    page.locator("#batch-run").click()
    page.wait_for_function("document.querySelector('#batch-status progress')?.value > 0")
    page.context.set_offline(True)
    time.sleep(1)
    page.context.set_offline(False)
    page.reload()
    page.get_by_role("tab", name="Batch").click()
    judge(page, table(folder, "after.csv", rows(5)))


def test_two_visitors_do_not_see_each_others_rows(visit: Callable[..., Any], folder: Path) -> None:
    one, two = visit(), visit()
    for page in (one, two):
        page.get_by_role("tab", name="Batch").click()
    judge(one, table(folder, "secret.csv", [TELLTALE]))
    judge(two, table(folder, "open.csv", ["a nice day"]))
    assert TELLTALE not in two.content()
    assert TELLTALE in one.content()


def test_no_text_is_logged_or_kept(
    visit: Callable[..., Any], folder: Path, server_files: Path
) -> None:
    page = visit()
    page.get_by_role("tab", name="Batch").click()
    judge(page, table(folder, "kept.csv", [f"{TELLTALE} {n}" for n in range(3)]))
    assert TELLTALE not in page.url
    page.context.close()
    cache = server_files / "cache"
    deadline = time.monotonic() + 60
    while left := [path for path in cache.rglob("*") if path.is_file() and _holds(path)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.5)
    assert TELLTALE not in (server_files / "log").read_text()


def _holds(path: Path) -> bool:
    try:
        return TELLTALE in path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return False


def test_by_name_from_python(server: str, folder: Path) -> None:
    client = Client(server, verbose=False, download_files=str(folder))
    texts = rows(50)
    path = table(folder, "api.csv", texts)
    told, saved = client.predict(
        handle_file(path), "comment", "default", "", "JSON lines", api_name="/batch"
    )
    assert told["rows"] == 50
    assert sum(told["actions"]["default"].values()) == 50
    found = [json.loads(line) for line in Path(saved).read_text(encoding="utf-8").splitlines()]
    expected = Moderator("default").moderate_batch(texts)
    assert [row["default.action"] for row in found] == [str(v.action) for v in expected]

    with pytest.raises(AppError, match="it has id, comment, toxic"):
        client.predict(handle_file(path), "text", "default", "", "CSV", api_name="/batch")
    client.predict(handle_file(path), api_name="/batch_open")
    client.predict("comment", "default", "", api_name="/batch_start")
    client.predict("CSV", api_name="/batch_run")
    assert "page 1 of" in client.predict("flagged", "severe", "", 1, api_name="/batch_rows")
    saved = client.predict("Parquet", api_name="/batch_download")
    assert Path(saved).suffix == ".parquet"
    assert "Stopping" in client.predict(api_name="/batch_cancel")
