"""The Models tab: what is there, where it came from, how good it is, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
from gradio.events import api

from moderation import hub
from moderation.errors import ModerationError
from moderation.evaluation import plots
from moderation.evaluation.page import SERIES
from moderation.filters.classifier import WEIGHTS
from moderation.models.artifact import CARD_FILE, ModelCard, read_card
from moderation.plugins import Registry, available
from moderation.ui import charts, look
from moderation.ui.desk import Desk

REPORT = "report.json"
"""Numbers of `moderation evaluate --json`, beside a model: with them its curves are drawn."""

PAGE = "report.html"
"""The page of `moderation evaluate --report`, beside a model; with the turning t-SNE."""


class Used(NamedTuple):
    """A model, and the policies and steps that use it."""

    found: hub.Found
    steps: list[str]
    server: bool
    folder: Path | None


def tab(desk: Desk, here: gr.Tab) -> None:
    """Lay out the tab `here` inside of the Blocks that are open."""
    overview = look.html(look.empty("Looking …", "What is there is being looked up."))
    names = _cards()
    chosen = gr.Dropdown(
        choices=names,
        value=names[0] if names else None,
        label="Trained model",
        filterable=False,
        elem_id="models-model",
    )
    quality = look.html(elem_id="models-quality")
    button = gr.Button("Show its full report", visible=False, size="sm")
    report = look.html(elem_id="models-report")
    with gr.Accordion("The card as it lies beside the model", open=False):
        card = gr.Markdown(elem_id="models-card", sanitize_html=True)
    found = look.html(elem_id="models-found")

    def show(name: str | None) -> tuple[Any, ...]:
        page = bool(name) and (_folder(name or "") / PAGE).is_file()
        return _quality(name), _readme(name), gr.update(visible=page), ""

    def looked(name: str | None) -> tuple[Any, ...]:
        return _overview(desk), _found(desk), *show(name)

    quiet: dict[str, Any] = {
        "queue": False,
        "show_progress": "hidden",
        "api_visibility": "private",
    }
    shown = [quality, card, button, report]
    here.select(looked, [chosen], [overview, found, *shown], **quiet)
    chosen.change(show, [chosen], shown, **quiet)
    button.click(_page, [chosen], [report], **quiet)

    def models() -> dict[str, Any]:
        """Models that the page's policies need: where each is looked for, and what is missing."""
        return {
            name: {**used.found._asdict(), "steps": used.steps, "there": not used.found.missing}
            for name, used in _used(desk)[0].items()
        }

    def model(name: str) -> dict[str, Any]:
        """The card of a trained model: what it is, what it was trained on, how good it is."""
        try:
            return read_card(_folder(name)).model_dump(mode="json")
        except ModerationError as error:
            raise gr.Error(str(error), print_exception=False) from None

    api(models, api_name="models", queue=False)
    api(model, api_name="model", queue=False)


def _cards() -> list[str]:
    """Names of the trained models in the package."""
    if not WEIGHTS.is_dir():
        return []
    return sorted(folder.name for folder in WEIGHTS.iterdir() if (folder / CARD_FILE).is_file())


def _folder(name: str) -> Path:
    # Whatever is asked for by name, only what lies in the package is read.
    return WEIGHTS / Path(name).name


def _used(desk: Desk) -> tuple[dict[str, Used], dict[str, str]]:
    """Every model that a policy of the page needs, and the policies that cannot be used."""
    found: dict[str, Used] = {}
    faults: dict[str, str] = {}
    for policy in desk.names:
        try:
            needed = hub.needed(desk.unloaded(policy))
        except ModerationError as error:
            faults[policy] = str(error)
            continue
        for model, steps in needed.items():
            place = f"{policy}: {', '.join(steps)}"
            if model.name in found:
                found[model.name].steps.append(place)
            else:
                found[model.name] = Used(hub.look(model), [place], bool(model.server), model.folder)
    return found, faults


def _overview(desk: Desk) -> str:
    used, faults = _used(desk)
    registry = Registry(desk.plugins)
    missing = sum(bool(each.found.missing) for each in used.values())
    tiles = "".join(
        f'<div class="tile"><b>{number}</b><span>{told}</span></div>'
        for number, told in (
            (len(used) - missing, "models there"),
            (missing, "models not there"),
            (len(registry.filters), "filters"),
            (len(available()), "plugins installed"),
        )
    )
    notices = "".join(
        look.notice(f"The policy {policy} cannot be used", fault)
        for policy, fault in faults.items()
    )
    return (
        f'<div class="tiles">{tiles}</div>{notices}'
        '<section class="panel"><h2>Models that the policies use</h2>'
        f'<div class="cards">{"".join(_model(name, each) for name, each in used.items())}</div>'
        "</section>"
    )


def _found(desk: Desk) -> str:
    registry = Registry(desk.plugins)
    filters = look.table(
        ("Filter", "What it does", "From"),
        [
            (
                f"<code>{look.text(name)}</code>",
                look.text(" ".join((cls.__doc__ or "").partition("\n\n")[0].split())),
                look.text(_short(registry.origin(name))),
            )
            for name, cls in sorted(registry.filters.items())
        ],
    )
    plugins = look.table(
        ("Plugin", "From"),
        [
            (f"<code>{look.text(each.name)}</code>", look.text(_short(each.origin)))
            for each in available()
        ],
    )
    return (
        f'<section class="panel"><h2>Filters and plugins found</h2>{filters}<br>{plugins}'
        '<p class="soft small">A plugin brings filters of its own: an installed package with an '
        "entry point in <code>moderation.plugins</code>, or a file that a policy names.</p>"
        "</section>"
    )


def _model(name: str, used: Used) -> str:
    found = used.found
    shipped = used.folder is not None and used.folder.parent == WEIGHTS
    title = used.folder.name if used.folder else name
    word = "served" if used.server else "not there" if found.missing else "there"
    size = hub.told_size(found.size) if found.size else ""
    lines = [
        f'<h4>{look.text(title)}<span>{word}</span></h4><p class="what">'
        + " · ".join(look.text(each) for each in (size, found.licence) if each)
        + "</p>"
    ]
    there = found.where.replace(str(Path.home()), "~")
    where = "" if found.missing else "in the package" if shipped else there
    if where:
        lines.append(f"<p>From: {look.text(where)}</p>")
    if found.missing:
        todo = (
            f"moderation models fetch {name}"
            if used.folder is None
            else "not in this copy of the package; the next step in the policy stands in"
        )
        if hub.is_gated(name):
            todo = (
                f"# accept its licence at https://huggingface.co/{name}\nexport HF_TOKEN=…\n{todo}"
            )
        lines.append(
            f'<pre tabindex="0"><code>{look.text(todo)}</code></pre>'
            if used.folder is None
            else f'<p class="soft">{look.text(todo)}</p>'
        )
    steps = "".join(f"<li>{look.text(each)}</li>" for each in used.steps)
    lines.append(f"<details><summary>Used by</summary><ul>{steps}</ul></details>")
    return f'<article class="model{" absent" if found.missing else ""}">{"".join(lines)}</article>'


def _short(origin: str) -> str:
    """Where something comes from, without the folders of this machine."""
    return Path(origin).name if origin.startswith("/") else origin


def _quality(name: str | None) -> str:
    if not name:
        return look.empty("No trained model in the package", "Train one: moderation train --help")
    folder = _folder(name)
    try:
        card = read_card(folder)
    except ModerationError as error:
        return look.notice("This model cannot be used", _without_folder(str(error), folder))
    return "".join(_sections(card, folder))


def _without_folder(told: str, folder: Path) -> str:
    return told.replace(str(folder), folder.name)


def _sections(card: ModelCard, folder: Path) -> Iterator[str]:
    base = f"{card.base.name} ({card.base.licence})" if card.base else "none"
    facts = (
        ("Kind", f"{card.kind}, {card.task.replace('_', ' ')}"),
        ("Languages", ", ".join(card.languages)),
        ("Trained on", f"{card.data.rows:,} texts from {len(card.data.sources)} sources"),
        ("Started from", base),
        ("Window", f"{card.max_length} tokens, {card.stride} shared by two neighbours"),
        ("Calibrated on", card.calibration.fitted_on),
        ("Made by", card.command),
        ("Size", hub.told_size(sum((folder / file).stat().st_size for file in card.files))),
    )
    rows = "".join(f"<dt>{told}</dt><dd>{look.text(value)}</dd>" for told, value in facts)
    yield (
        f'<section class="panel"><h2>{look.text(card.name)}</h2>'
        f'<dl class="read facts">{rows}</dl></section>'
    )
    test = card.metrics.get("test")
    if isinstance(test, Mapping) and test:
        yield _measured(card, test)
    report = _report(folder)
    if report is not None:
        # Whatever lies there: a file that is no report is no reason to show nothing at all.
        try:
            yield _curves(report) + _points(report)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError):
            told = f"Expected what `moderation evaluate --json {REPORT}` writes."
            yield look.notice(f"{REPORT} beside this model cannot be drawn", told)
    else:
        yield (
            '<p class="hint">Curves, calibration, confusion and the turning t-SNE are drawn from '
            f"<code>{REPORT}</code> beside the model: <code>moderation evaluate MODEL texts.csv "
            f"--json {REPORT} --report {PAGE}</code></p>"
        )


def _measured(card: ModelCard, test: Mapping[str, Any]) -> str:
    ranked = [(label, row["AUC"]) for label, row in test.items() if "AUC" in row]
    head = ("Label", "Texts", "Positive", "AUC", "Macro F1", "Calibration error")
    rows = [
        (
            look.words(label),
            f"{row['rows']:,}",
            f"{row['positives']:,}",
            _interval(row.get("AUC")),
            _interval(row.get("macro F1")),
            f"{row['calibration error']:.3f}" if "calibration error" in row else "",
        )
        for label, row in test.items()
    ]
    told = ""
    spans = card.metrics.get("spans")
    if spans:
        told += f"<p>Words it points at: character F1 {_interval(spans['character F1'])} "
        told += f"on {spans['rows']:,} marked texts.</p>"
    baseline = card.metrics.get("baseline")
    if baseline:
        told += f"<p>Against {look.text(baseline['is'])}, on the same texts: "
        told += "; ".join(
            f"{look.text(name)} {values['model'][0]:.3f} against {values['baseline'][0]:.3f}"
            for name, values in baseline.items()
            if isinstance(values, Mapping)
        )
        told += ".</p>"
    chart = charts.svg(plots.dots(ranked, "AUC"), "Area under the ROC curve, 95 % intervals")
    return (
        '<section class="panel"><h2>Measured on texts held out of training</h2>'
        f'<div class="pair measured"><div>{chart}</div>'
        f"<div>{look.table(head, rows)}{told}</div></div>"
        "</section>"
    )


def _interval(values: Any) -> str:
    if not values:
        return ""
    value, low, high = values
    return f'{value:.3f} <span class="soft small">{low:.3f}–{high:.3f}</span>'


def _report(folder: Path) -> Mapping[str, Any] | None:
    try:
        numbers: Mapping[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError:
        return {}
    return numbers


def _curves(report: Mapping[str, Any]) -> str:
    labels = report["labels"]
    first, second = plots.curves(labels)
    drawn = any("ROC" in row for row in labels.values())
    parts = [charts.svg(first, "ROC"), charts.svg(second, "Precision and recall")] if drawn else []
    body = f'<div class="pair">{"".join(f"<div>{part}</div>" for part in parts)}</div>'
    overall = report["overall"]
    if "confusion" in overall:
        names = list(labels)
        body += charts.svg(plots.confusion(overall["confusion"], names), "What was said of what")
    for place, (label, row) in enumerate(labels.items()):
        pair = []
        if "reliability" in row:
            title = f"Calibration error {row['calibration error']:.3f}"
            pair.append(charts.svg(plots.reliability(row["reliability"]), title))
        if "threshold" in row:
            names = [f"not {label}", label]
            title = f"From {row['threshold']:g} on. A row adds up to 100 %."
            pair.append(charts.svg(plots.confusion(row["confusion"], names), title))
        if pair:
            body += (
                f"<details{' open' if place == 0 else ''}><summary>{look.words(label)}: "
                'calibration and confusion</summary><div class="pair">'
                + "".join(f"<div>{part}</div>" for part in pair)
                + "</div></details>"
            )
    return f'<section class="panel"><h2>Curves, calibration and confusion</h2>{body}</section>'


def _points(report: Mapping[str, Any]) -> str:
    """The texts of the report as points that turn; the browser draws them."""
    embedding = report.get("embedding")
    if not embedding:
        return ""
    places, groups = embedding["places"], embedding["groups"]
    names = list(dict.fromkeys(groups))
    middle = [sum(place[axis] for place in places) / len(places) for axis in range(3)]
    moved = [[place[axis] - middle[axis] for axis in range(3)] for place in places]
    most = max(abs(value) for place in moved for value in place) or 1.0
    points = [
        [*(round(value / most, 3) for value in place), names.index(group)]
        for place, group in zip(moved, groups, strict=True)
    ]
    colours = [SERIES[place % len(SERIES)] for place in range(len(names))]
    keys = "".join(
        f'<span><i class="dot" style="background:var({colour})"></i>{look.words(name)}</span>'
        for name, colour in zip(names, colours, strict=True)
    )
    title = f"{len(points):,} texts as points, near where the model finds them alike"
    return (
        f'<section class="panel"><h2>Texts as points (t-SNE of {look.text(embedding["source"])})'
        f'</h2><canvas class="cloud" tabindex="0" role="img" aria-label="{title}" '
        f'data-colours="{" ".join(colours)}" data-points="{json.dumps(points)}"></canvas>'
        f'<div class="legend">{keys}</div><p class="soft small">Drag to turn it, or use the arrow '
        "keys; the space bar stops it. The colour is the rarest label of a text.</p></section>"
    )


def _page(name: str) -> str:
    """The report in a frame of its own: its scripts run there, and nowhere else."""
    try:
        page = (_folder(name) / PAGE).read_text(encoding="utf-8")
    except OSError:
        return look.notice("There is no report", f"{PAGE} does not lie beside this model.")
    return (
        f'<iframe class="report" sandbox="allow-scripts" title="Report of {look.text(name)}" '
        f'srcdoc="{escape(page)}"></iframe>'
    )


def _readme(name: str | None) -> str:
    if not name:
        return ""
    try:
        text = (_folder(name) / "README.md").read_text(encoding="utf-8")
    except OSError:
        return "There is no README.md beside this model."
    return text.partition("\n---\n")[2] if text.startswith("---\n") else text
