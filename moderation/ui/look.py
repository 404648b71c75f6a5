"""How the page looks, and HTML that several tabs need.

Everything that comes from outside goes through `html.escape` before it is put into a page; a
function here that takes text escapes it, one that takes HTML says so. Colours are CSS variables,
so that one piece of HTML serves the light and the dark page:

    --allow --review --block     what an action looks like; `-soft` behind text, `-ink` for text
    --page --card --ink --soft --line --grid
    --series-1 … --series-8      categories, steps and lines of a chart
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import gradio as gr

from moderation.verdict import Action

ICONS = {
    Action.ALLOW: '<circle cx="12" cy="12" r="10"/><path d="m7.5 12.5 3 3 6-7"/>',
    Action.REVIEW: '<path d="M12 2.5 22.5 21h-21z"/><path d="M12 9.5v5m0 3v.01"/>',
    Action.BLOCK: '<path d="M8 2h8l6 6v8l-6 6H8l-6-6V8z"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
}
"""A shape for each action, since a colour says nothing to everybody: circle, triangle, octagon."""

WORDS = {Action.ALLOW: "Allow", Action.REVIEW: "Review", Action.BLOCK: "Block"}

CSS = """
:root { --allow: #1a7f4b; --review: #9a6200; --block: #b42318; --soft: #5b6270; --line: #dfe1e5; }
.dark { --allow: #4cc38a; --review: #e5a532; --block: #ff8078; --soft: #a0a7b4; --line: #2d323b; }
"""

HEAD = '<meta name="referrer" content="no-referrer">'


def theme() -> gr.themes.Base:
    """Fonts of the system, so that nothing is loaded from outside; quiet colours."""
    return gr.themes.Base(
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    )


def head() -> str:
    """The name above the tabs."""
    return "<header><h1>moderation</h1></header>"


def icon(action: Action) -> str:
    """HTML of the shape of `action`, in its colour; say the action in words beside it."""
    return (
        f'<svg class="icon {action}" viewBox="0 0 24 24" aria-hidden="true">{ICONS[action]}</svg>'
    )


def badge(action: Action) -> str:
    """HTML of `action` in a word, a shape and a colour."""
    return f'<span class="badge {action}">{icon(action)}{WORDS[action]}</span>'


def notice(title: str, text: str = "", *, todo: str = "", kind: str = "error") -> str:
    """HTML that says what happened and what to do; `kind` is error, warning, info or empty."""
    told = f"<p>{escape(text)}</p>" if text else ""
    told += f'<p class="todo">{escape(todo)}</p>' if todo else ""
    role = "alert" if kind == "error" else "status"
    return f'<div class="notice {kind}" role="{role}"><b>{escape(title)}</b>{told}</div>'


def empty(title: str, text: str) -> str:
    """HTML for a place that has nothing to show yet, and what would fill it."""
    return notice(title, text, kind="empty")


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, caption: str = "") -> str:
    """HTML of a table; cells are HTML already."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    told = f"<caption>{escape(caption)}</caption>" if caption else ""
    return (
        f'<div class="scroll" tabindex="0"><table>{told}<thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )
