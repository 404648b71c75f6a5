"""The Batch tab: a file through a policy, and two policies side by side."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
from gradio.context import Context

from moderation.errors import ContentError, ModerationError
from moderation.ui import look
from moderation.ui.desk import VISIT, Desk
from moderation.ui.run import PAGE, Pace, Run
from moderation.ui.table import Table, named, read, write
from moderation.verdict import Action

AT_ONCE = 2
"""Runs at the same time, of all visitors; further ones wait."""

EXCERPT = 240
"""Characters of a text that the table shows."""

SHELF = 16
"""Visits whose files and runs are kept at the same time; the oldest makes room for the next."""

FORMATS = {"CSV": "csv", "JSON lines": "jsonl", "Parquet": "parquet"}

ONLY = (
    ("All rows", "all"),
    ("Flagged", "flagged"),
    ("Allow", "allow"),
    ("Review", "review"),
    ("Block", "block"),
    ("Degraded", "degraded"),
)
ORDER = (("As in the file", "file"), ("Most severe", "severe"))

CSS = Path(__file__).with_name("batch.css").read_text(encoding="utf-8")

EMPTY = look.empty(
    "No file yet",
    "Drop a file of up to 100 MB and 200,000 rows, choose the column of texts, and run it. It is "
    "judged on this machine, and nothing of it is kept when you leave.",
)


GONE = look.notice(
    "The file is no longer here",
    "The connection was lost, the visit was a long one, or others needed the room.",
    todo="Upload it again.",
    kind="warning",
)


@dataclass
class Held:
    """What a visit holds: the table that was uploaded last, and the last run."""

    table: Table | None = None
    name: str = ""
    run: Run | None = None
    gone: bool = False

    def let_go(self) -> None:
        if self.run is not None:
            self.run.stop = True
        self.table = self.run = None
        self.gone = True


class Shelf:
    """What all visits hold, so that it has a bound and goes when a visit ends."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Held] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, held: Held, request: gr.Request) -> None:
        """What this visit holds now, instead of what it held before."""
        visit = str(request.session_hash)
        with self._lock:
            self._held[visit] = held
            self._held.move_to_end(visit)
            while len(self._held) > SHELF:
                self._held.popitem(last=False)[1].let_go()

    def clear(self, request: gr.Request) -> None:
        """The visit has ended."""
        with self._lock:
            held = self._held.pop(str(request.session_hash), None)
        if held is not None:
            held.let_go()


_held: WeakKeyDictionary[Desk, gr.State] = WeakKeyDictionary()


def held(desk: Desk) -> gr.State:
    """The state with the `Held` of a visit, for this tab and the next."""
    if desk not in _held:
        _held[desk] = gr.State(Held(), time_to_live=VISIT)
    return _held[desk]


def tab(desk: Desk) -> None:
    """Lay out the tab inside of the Blocks that are open."""
    state = held(desk)
    shelf = Shelf()
    assert Context.root_block is not None, "a tab is laid out inside of Blocks"
    Context.root_block.unload(shelf.clear)
    look.html(f"<style>{CSS}</style>", visible="hidden")
    with gr.Row(equal_height=False, elem_id="batch-tab"):
        with gr.Column(scale=4, min_width=300):
            file = gr.File(
                label="CSV, JSON lines or Parquet", height=150, buttons=[], elem_id="batch-file"
            )
            column = gr.Dropdown(
                [],
                label="Column with the texts",
                allow_custom_value=True,
                interactive=True,
                elem_id="batch-column",
            )
            with gr.Row():
                policy = desk.dropdown(min_width=130, elem_id="batch-policy")
                other = gr.Dropdown(
                    choices=[("None", ""), *((name, name) for name in desk.names)],
                    value="",
                    label="Compare with",
                    filterable=False,
                    min_width=130,
                    elem_id="batch-other",
                )
            with gr.Row():
                go = gr.Button("Run", variant="primary", min_width=110, elem_id="batch-run")
                cancel = gr.Button(
                    "Cancel", interactive=False, min_width=110, elem_id="batch-cancel"
                )
        with gr.Column(scale=7, min_width=320):
            status = look.html(EMPTY, elem_id="batch-status")
            charts = look.html(elem_id="batch-charts")
    with gr.Column(visible=False) as results:
        with gr.Row(elem_id="batch-download"):
            form = gr.Radio(list(FORMATS), value="CSV", label="Download as", min_width=220)
            download = gr.DownloadButton(
                "Download the verdicts", min_width=180, elem_id="batch-save"
            )
        with gr.Row(elem_id="batch-filter"):
            only = gr.Dropdown(
                list(ONLY), value="all", label="Show", filterable=False, min_width=120
            )
            order = gr.Dropdown(
                list(ORDER), value="file", label="Sort by", filterable=False, min_width=140
            )
            search = gr.Textbox(
                label="Search in the texts",
                placeholder="A word or a phrase",
                min_width=180,
                html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
            )
        rows = look.html(elem_id="batch-rows")
        with gr.Row(elem_id="batch-pages"):
            before = gr.Button("Previous", size="sm", min_width=90)
            page = gr.Number(1, label="Page", precision=0, minimum=1, min_width=80)
            after = gr.Button("Next", size="sm", min_width=90)

    def opened(path: str | None, now: Held, request: gr.Request) -> tuple[Any, ...]:
        """Reads a file; says its columns and what was noticed."""
        now.let_go()
        now.gone = False
        now = Held()
        shelf.put(now, request)
        blank = (now, gr.Dropdown(choices=[], value=None), "", gr.Column(visible=False))
        if path is None:
            return *blank, EMPTY
        try:
            now.table = read(Path(path))
        except ModerationError as error:
            return *blank, look.notice("The file cannot be used", str(error))
        finally:
            # It is in memory now, and need not lie on a disk.
            Path(path).unlink(missing_ok=True)
        now.name = Path(path).name
        names = list(now.table.columns)
        told = f"{len(now.table):,} rows with the columns {named(now.table.columns)}."
        html = look.notice(now.name, told, todo="Choose the column, then run.", kind="info")
        html += "".join(look.notice("Note", note, kind="warning") for note in now.table.notes)
        choice = gr.Dropdown(choices=names, value=now.table.guess())
        return now, choice, "", gr.Column(visible=False), html

    def started(
        column: str | None, policy: str, other: str | None, now: Held, request: gr.Request
    ) -> tuple[Any, ...]:
        """Makes the run, so that it can be cancelled while it waits."""
        if now.run is not None:
            now.run.stop = True
        now.run = None
        if now.gone:
            return now, GONE, gr.Button(interactive=True), gr.Button(interactive=False)
        shelf.put(now, request)
        try:
            now.run = _run(desk, now.table, column, policy, other)
        except ModerationError as error:
            told = look.notice("It cannot be run", str(error))
            return now, told, gr.Button(interactive=True), gr.Button(interactive=False)
        told = _progress(now.run, Pace(0, len(now.run), 0.0, 0.0))
        return now, told, gr.Button(interactive=False), gr.Button(interactive=True)

    def judged(
        form: str, now: Held, request: gr.Request
    ) -> Iterator[tuple[Any, ...] | dict[Any, Any]]:
        """Judges the rows; what it says at the end is all there is to show."""
        run = now.run
        if run is None:
            yield {go: gr.Button(interactive=True)}
            return
        trouble = ""
        try:
            for pace in run.judge():
                yield {status: _progress(run, pace)}
        except ModerationError as error:
            run.stop = True
            trouble = look.notice("The run ended early", str(error))
        except GeneratorExit:
            # The page was left: nobody is there to look at the rest.
            run.stop = True
            raise
        if now.run is not run:
            # Another file has been opened since, or this one had to make room.
            ready: dict[Any, Any] = {
                go: gr.Button(interactive=True),
                cancel: gr.Button(interactive=False),
            }
            yield {**ready, status: GONE} if now.gone else ready
            return
        shown: dict[Any, Any] = {
            go: gr.Button(interactive=True),
            cancel: gr.Button(interactive=False),
            status: trouble + _ended(run),
            charts: _charts(run) if run.done else "",
            results: gr.Column(visible=bool(run.done)),
        }
        if run.done:
            two = len(run.sides) == 2
            scores = [(name.replace("_", " "), name) for name in run.found[0].categories]
            more = (("Disagreement", "disagree"),) if two else ()
            by = "disagree" if two else "file"
            try:
                shown[download] = offered(run, form, request)
            except ModerationError as error:
                shown[status] += look.notice("There is no download", str(error))
            shown |= {
                only: gr.Dropdown(
                    choices=[*ONLY, *((("Policies disagree", "disagree"),) if two else ())],
                    value="all",
                ),
                order: gr.Dropdown(choices=[*ORDER, *more, *scores], value=by),
                search: "",
                page: 1,
                rows: _rows(run, "all", by, "", 1),
            }
        yield shown

    def cancelled(now: Held) -> str:
        """Asks the run to end after the rows that it is at."""
        if now.run is None:
            return look.notice("Nothing is running", kind="info")
        now.run.stop = True
        return look.notice("Stopping", "The rows that are being judged are finished.", kind="info")

    def listed(only: str, order: str, search: str, page: float, now: Held) -> str:
        """The rows of one page as HTML."""
        if now.run is None or not now.run.done:
            return GONE if now.gone else EMPTY
        try:
            return _rows(now.run, only, order, search, int(page or 1))
        except ModerationError as error:
            return look.notice("The rows cannot be shown", str(error))

    def first(only: str, order: str, search: str, now: Held) -> tuple[str, int]:
        return listed(only, order, search, 1, now), 1

    def turned(step: int) -> Any:
        def turn(only: str, order: str, search: str, page: float, now: Held) -> tuple[str, int]:
            at = max(1, int(page or 1) + step)
            if now.run is not None and now.run.done:
                with suppress(ModerationError):
                    total = len(now.run.rows(only=only, order=order, search=search))
                    at = min(at, max(1, ceil(total / PAGE)))
            return listed(only, order, search, at, now), at

        return turn

    def offered(run: Run, form: str, request: gr.Request) -> gr.DownloadButton:
        label = f"Download {run.done:,} rows as {form}"
        return gr.DownloadButton(label, value=_saved(desk, run, form, request))

    def turned_into(form: str, now: Held, request: gr.Request) -> Any:
        if now.run is None or not now.run.done:
            return gr.skip()
        try:
            return offered(now.run, form, request)
        except ModerationError as error:
            raise gr.Error(str(error), print_exception=False) from None

    def saved(form: str, now: Held, request: gr.Request) -> str:
        """The last run's file with the verdicts beside it."""
        if now.run is None or not now.run.done:
            raise gr.Error("there is no run; start one first", print_exception=False)
        try:
            return _saved(desk, now.run, form, request)
        except ModerationError as error:
            raise gr.Error(str(error), print_exception=False) from None

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    opening: dict[str, Any] = {"show_progress": "minimal", "api_name": "batch_open"}
    fresh = [state, column, charts, results, status]
    file.upload(opened, [file, state], fresh, **opening)
    file.clear(opened, [file, state], fresh, api_visibility="private")
    go.click(
        started,
        [column, policy, other, state],
        [state, status, go, cancel],
        api_name="batch_start",
        **quick,
    ).then(
        judged,
        [form, state],
        [go, cancel, status, charts, results, only, order, search, page, rows, download],
        api_name="batch_run",
        show_progress="hidden",
        concurrency_limit=AT_ONCE,
    )
    cancel.click(cancelled, [state], [status], api_name="batch_cancel", **quick)
    chosen: list[Any] = [only, order, search]
    for event in (only.input, order.input, search.submit, search.blur):
        event(first, [*chosen, state], [rows, page], api_visibility="private", **quick)
    page.submit(listed, [*chosen, page, state], [rows], api_name="batch_rows", **quick)
    for button, step in ((before, -1), (after, 1)):
        button.click(
            turned(step),
            [*chosen, page, state],
            [rows, page],
            api_visibility="private",
            **quick,
        )
    form.input(turned_into, [form, state], [download], api_visibility="private")

    def batch(
        file: str, column: str, policy: str, other: str, form: str, request: gr.Request
    ) -> tuple[dict[str, Any], str]:
        """A file with the verdicts beside each row, and how many rows each action has."""
        if file is None:
            raise gr.Error("expected a file, found none", print_exception=False)
        try:
            run = _run(desk, read(Path(file)), column, policy, other)
            for _ in run.judge():
                pass
            told = {
                "rows": run.done,
                "seconds": round(run.seconds, 3),
                "notes": [*run.table.notes, *run.notes],
                "actions": {
                    side.name: {str(a): n for a, n in side.counts(run.done).items()}
                    for side in run.sides
                },
            }
            return told, _saved(desk, run, form, request)
        except ModerationError as error:
            raise gr.Error(str(error), print_exception=False) from None
        finally:
            Path(file).unlink(missing_ok=True)

    answer, made = gr.JSON(visible=False), gr.File(visible=False)
    gr.Button(visible=False).click(saved, [form, state], [made], api_name="batch_download")
    gr.Button(visible=False).click(
        batch,
        [file, column, policy, other, form],
        [answer, made],
        api_name="batch",
        concurrency_limit=AT_ONCE,
    )


def _run(
    desk: Desk, table: Table | None, column: str | None, policy: str, other: str | None
) -> Run:
    if table is None:
        raise ContentError("there is no file; upload one first")
    names = dict.fromkeys(name for name in (policy, other) if name)
    return Run(table, column or table.guess(), {name: desk.moderator(name) for name in names})


def _saved(desk: Desk, run: Run, form: str, request: gr.Request) -> str:
    """The path of the written file, which nobody can guess and which goes when the visit ends."""
    folder = Path(gr.utils.get_upload_folder()) / secrets.token_hex(20)
    folder.mkdir(parents=True)
    path = folder / f"verdicts.{FORMATS[form]}"
    desk.keep(path, request)
    try:
        write(run.columns(), path)
    except OSError as error:
        raise ContentError(
            f"the file cannot be written ({error.strerror or type(error).__name__}); try again "
            "later, or take fewer rows"
        ) from None
    return str(path)


def _progress(run: Run, pace: Pace) -> str:
    told = f"{pace.done:,} of {pace.total:,} rows"
    more = f"{pace.rate:,.0f} rows/s · {_time(pace.left)} left" if pace.done else "Starting"
    return (
        f'<section class="panel batch-going"><p class="line"><b class="num">{told}</b>'
        f'<span class="soft num">{more}</span></p>'
        f'<progress max="{pace.total}" value="{pace.done}" aria-label="Rows judged">'
        f"</progress>{_counts(run)}</section>"
    )


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{ceil(seconds)} s"
    if seconds < 3600:
        return f"{ceil(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def _counts(run: Run) -> str:
    lines = []
    for side in run.sides:
        name = f'<span class="soft">{look.text(side.name)}</span> ' if len(run.sides) > 1 else ""
        told = " ".join(
            f"{look.badge(action)} <span class=num>{count:,}</span>"
            for action, count in side.counts(run.done).items()
        )
        lines.append(f'<p class="counts">{name}{told}</p>')
    return "".join(lines)


def _ended(run: Run) -> str:
    took = f"{_time(run.seconds)}, {run.rate:,.0f} rows a second"
    if run.done == len(run):
        told = look.notice(f"{run.done:,} rows judged", took, kind="info")
    else:
        told = look.notice(
            f"Stopped after {run.done:,} of {len(run):,} rows",
            took,
            todo="What was judged is below, and can be downloaded." if run.done else "",
            kind="warning",
        )
    degraded = {side.name: int(side.degraded[: run.done].sum()) for side in run.sides}
    notes = [
        *run.notes,
        *(
            f"{name}: {rows:,} rows are marked degraded: a step failed on them, does not read "
            "their language, or has no model (see the Models tab)"
            for name, rows in degraded.items()
            if rows
        ),
    ]
    return told + "".join(look.notice("Note", note, kind="warning") for note in notes)


def _bar(label: str, parts: list[tuple[str, int]], total: int, widest: int) -> str:
    """A bar in pieces, as wide as its share of `widest`, with its share of `total` in words."""
    told = ", ".join(f"{count:,} {tone}" for tone, count in parts)
    count = sum(count for _, count in parts)
    pieces = "".join(
        f'<i class="is-{tone}" style="width:{100 * share / widest:.3f}%"></i>'
        for tone, share in parts
        if share
    )
    return (
        f'<div class="name">{label}</div><div class="stack" role="img" aria-label="{told}">'
        f'{pieces}</div><div class="score">{count:,} <span class="soft">'
        f"{count / total:.1%}</span></div>"
    )


def _charts(run: Run) -> str:
    html = []
    for place, side in enumerate(run.sides):
        name = f" by {look.text(side.name)}" if len(run.sides) > 1 else ""
        actions = "".join(
            _bar(look.badge(action), [(str(action), count)], run.done, run.done)
            for action, count in side.counts(run.done).items()
        )
        found = {name: pair for name, pair in run.by_category(place).items() if sum(pair)}
        widest = max((sum(pair) for pair in found.values()), default=1)
        bars = "".join(
            _bar(look.words(name), [("block", block), ("review", review)], run.done, widest)
            for name, (review, block) in found.items()
        )
        bars = (
            f'<div class="bars batch-bars">{bars}</div>'
            '<p class="legend"><span class="is-review"><i></i>reaches review</span>'
            '<span class="is-block"><i></i>reaches block</span></p>'
            if found
            else '<p class="soft">No category reaches a threshold.</p>'
        )
        html.append(
            f'<section class="panel"><h3>Actions{name}</h3><div class="bars batch-bars">{actions}'
            f"</div></section>"
            f'<section class="panel"><h3>Rows by category{name}</h3>{bars}</section>'
        )
    if len(run.sides) == 2:
        html.insert(0, _crossed(run))
    return "".join(html)


def _crossed(run: Run) -> str:
    one, two = run.sides
    counts = run.crossed()
    apart = int(counts.sum() - counts.trace())
    head = "".join(f'<th scope="col" class="r">{look.WORDS[action]}</th>' for action in Action)
    body = "".join(
        f'<tr><th scope="row">{look.badge(row)}</th>'
        + "".join(
            f'<td class="r{"" if row == column else " apart" * bool(counts[row, column])}">'
            f"{counts[row, column]:,}</td>"
            for column in Action
        )
        + "</tr>"
        for row in Action
    )
    return (
        f'<section class="panel"><h3>Where {look.text(one.name)} and {look.text(two.name)} '
        f"disagree</h3><p><b>{apart:,}</b> of {run.done:,} rows "
        f"({apart / max(1, run.done):.1%}) get another action. The rows below are sorted by how "
        f'far the two are apart.</p><div class="scroll" tabindex="0"><table class="crossed">'
        f"<caption>Rows: {look.text(one.name)}; columns: {look.text(two.name)}</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div></section>"
    )


def _rows(run: Run, only: str, order: str, search: str, page: int) -> str:
    rows = run.rows(only=only, order=order, search=search)
    pages = max(1, ceil(len(rows) / PAGE))
    page = min(max(1, page), pages)
    begin = (page - 1) * PAGE
    shown = rows[begin : begin + PAGE].tolist()
    if not shown:
        return look.empty("No rows", "None is like this. Show all rows, or search for less.")
    two = len(run.sides) == 2
    head = ["Row", *(side.name if two else "Action" for side in run.sides), "Leading score", "Text"]
    body = []
    for row in shown:
        category, score = run.leading(row)
        if category:
            led = f'{look.words(category)} <span class="num">{score:.2f}</span>'
        else:
            led = look.text("; ".join(run.sides[0].reasons.get(row, ("–",))))
        text = run.texts[row]
        cut = text[:EXCERPT].rstrip() + ("…" if len(text) > EXCERPT else "")
        body.append(
            [
                f'<span class="num">{row + 1:,}</span>',
                *(look.badge(Action(side.actions[row])) for side in run.sides),
                led,
                f'<span class="text-cell" dir="auto">{look.text(cut)}</span>',
            ]
        )
    caption = f"Rows {begin + 1:,} to {begin + len(shown):,} of {len(rows):,}"
    caption += f", page {page:,} of {pages:,}"
    return f'<section class="panel">{look.table(head, body, caption=caption)}</section>'
