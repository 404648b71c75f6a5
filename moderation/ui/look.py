"""How the page looks, and HTML that several tabs need.

Everything that comes from outside goes through `text` before it is put into a page; a function
here that takes text escapes it, one that takes HTML says so. Components for HTML are made by
`html`. Colours are CSS variables, so that one piece of HTML serves the light and the dark page:

    --allow --review --block     what an action looks like; `-soft` behind text, `-ink` for text
    --tone --tone-soft --tone-ink  the same inside of .is-allow, .is-review and .is-block
    --page --card --ink --soft --line --grid
    --series-1 … --series-8      categories, steps and lines of a chart
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import gradio as gr

from moderation.verdict import Action

ICONS = {
    Action.ALLOW: '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-7"/>',
    Action.REVIEW: '<path d="M12 2.5 22.5 21h-21z"/><path d="M12 9.5v5m0 3v.01"/>',
    Action.BLOCK: '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
}
"""A shape for each action, since a colour says nothing to everybody: circle, triangle, octagon."""

WORDS = {Action.ALLOW: "Allow", Action.REVIEW: "Review", Action.BLOCK: "Block"}

MEANING = {
    Action.ALLOW: "Nothing in it reaches a threshold.",
    Action.REVIEW: "A person should look at it first.",
    Action.BLOCK: "It should not be published.",
}

CSS = Path(__file__).with_name("look.css").read_text(encoding="utf-8")

HEAD = (
    '<meta name="referrer" content="no-referrer">'
    '<meta name="description" content="Content moderation: text and pictures to one verdict.">'
    f"<script>{Path(__file__).with_name('page.js').read_text(encoding='utf-8')}</script>"
)
"""In the head of the page: no address of it goes to other sites; what the browser does itself."""

_LOGO = (
    '<svg viewBox="0 0 32 32" aria-hidden="true" fill="none" stroke-width="2.4">'
    '<rect x="1.2" y="1.2" width="29.6" height="29.6" rx="8" fill="var(--accent)"/>'
    '<g stroke="var(--card)" stroke-linecap="round"><path d="M8 11h16M8 16h11M8 21h6"/>'
    '<circle cx="22.5" cy="21" r="2.6" fill="var(--card)"/></g></svg>'
)


def theme() -> gr.themes.Base:
    """Fonts of the system, so that nothing is loaded from outside; quiet colours."""
    look = gr.themes.Base(
        primary_hue="blue",
        neutral_hue="slate",
        radius_size="lg",
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    )
    both = {
        "body_background_fill": "var(--page)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--soft)",
        "background_fill_primary": "var(--card)",
        "background_fill_secondary": "var(--page)",
        "block_background_fill": "var(--card)",
        "block_border_color": "var(--line)",
        "block_label_background_fill": "var(--card)",
        "block_label_text_color": "var(--soft)",
        "block_title_text_color": "var(--soft)",
        "block_info_text_color": "var(--soft)",
        "border_color_primary": "var(--line)",
        "input_background_fill": "var(--card)",
        "input_border_color": "var(--line)",
        "input_placeholder_color": "var(--soft)",
        "button_primary_background_fill": "#2f56c9",
        "button_primary_background_fill_hover": "#2547ad",
        "button_primary_text_color": "#ffffff",
        "button_secondary_background_fill": "var(--card)",
        "button_secondary_background_fill_hover": "var(--accent-soft)",
        "button_secondary_border_color": "var(--line)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_border_color_hover": "var(--soft)",
    }
    return look.set(
        **both,
        **{f"{name}_dark": value for name, value in both.items()},
        block_title_text_weight="600",
        button_border_width="1px",
        button_border_width_dark="1px",
        block_shadow="none",
        block_shadow_dark="none",
        input_shadow="none",
        button_primary_shadow="none",
        button_secondary_shadow="none",
    )


def masthead() -> str:
    """The name above the tabs."""
    return (
        f'<header class="masthead">{_LOGO}<div><h1>moderation</h1>'
        "<p>Text and pictures through a chain of filters to one verdict. On a CPU, offline.</p>"
        '</div><div class="right"><button type="button" class="quiet" data-does="theme">'
        "Light / dark</button></div>"
        "</header>"
    )


def html(value: str = "", **more: Any) -> gr.HTML:
    """A component for HTML of ours: no style and no script but those of this page."""
    return gr.HTML(value, apply_default_css=False, js_on_load=None, **more)


def text(value: str) -> str:
    """Text of anybody's as HTML, for `html`: controls are shown, and nothing in it is a template.

    Gradio reads `${…}` and `{{…}}` in the HTML that it shows.
    """
    shown = "".join(
        char if char.isprintable() or char in "\n\t\u200d" else "\ufffd" for char in value
    )
    return escape(shown).replace("{", "&#123;").replace("$", "&#36;")


def words(category: str) -> str:
    """A category as people write it: ``severe toxic``; HTML."""
    return text(category.replace("_", " "))


def icon(action: Action) -> str:
    """HTML of the shape of `action`, in its colour; say the action in words beside it."""
    shape = f'viewBox="0 0 24 24" aria-hidden="true">{ICONS[action]}'
    return f'<svg class="icon is-{action}" {shape}</svg>'


def badge(action: Action) -> str:
    """HTML of `action` in a word, a shape and a colour."""
    return f'<span class="badge is-{action}">{icon(action)}{WORDS[action]}</span>'


def notice(title: str, told: str = "", *, todo: str = "", kind: str = "error") -> str:
    """HTML that says what happened and what to do; `kind` is error, warning, info or empty."""
    more = f"<p>{text(told)}</p>" if told else ""
    more += f'<p class="todo">{text(todo)}</p>' if todo else ""
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}"><b>{text(title)}</b>{more}</div>'


def empty(title: str, told: str) -> str:
    """HTML for a place that has nothing to show yet, and what would fill it."""
    return notice(title, told, kind="empty")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """HTML of a table; cells are HTML already."""
    top = "".join(f'<th scope="col">{text(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    told = f"<caption>{text(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{told}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
