"""The Check tab: one text, one picture or both, and everything there is to say about them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import gradio as gr

from moderation.content import Content, Part
from moderation.errors import ContentError, ModerationError
from moderation.ui import display, look, snippets
from moderation.ui.desk import Desk
from moderation.ui.lineup import Lineup
from moderation.verdict import Verdict

MAX_TEXT = 200_000
"""Characters of one text: some seconds on two cores."""

PICTURES = 2
"""Pictures that are looked at at the same time; further ones wait."""

FOR_PICTURES = "images"
"""The policy that judges a picture where the chosen one reads none."""


class Example(NamedTuple):
    """Something to try: what it shows, and the text."""

    name: str
    text: str


EXAMPLES = (
    Example("Everyday", "Thanks for the recipe! The kids loved it, I'll make it again tomorrow."),
    Example("Insult", "You are a pathetic little liar and nobody here can stand you."),
    Example("Disguised", "what an 1d10t, you are so s.t.u.p.i.d it hurts"),
    Example("Threat", "I know where you park. Wait until I find you, I will break your legs."),
    Example("Only an idiom", "This traffic is killing me, I could murder a cup of tea."),
    Example(
        "Against hatred",
        'She told him that "people like you should go back home" is a cruel thing to say to a '
        "neighbour, and she was right.",
    ),
    Example("Group attacked", "Immigrants are vermin and should be thrown out of this country."),
    Example("Self-harm", "I can't do this anymore. I want to end it all tonight."),
    Example("Strong language", "Holy crap, this cake is damn good!"),
    Example("Another language", "Das war ein wirklich schöner Abend, vielen Dank euch allen!"),
)
"""Mild in wording, since the page is public; each shows one thing that chains get right or not."""


def _as_sent(payload: Any) -> str | None:
    """The file of a picture, unopened: what can go wrong with it is for the engine to say."""
    return payload.path if payload is not None else None


class Checked(NamedTuple):
    """A verdict, and what it took."""

    verdict: Verdict
    policy: str
    ms: float
    note: str


class _Trouble(Exception):  # noqa: N818  # never leaves this module
    """What happened and what to do, for people."""

    def __init__(self, title: str, told: str = "", todo: str = "") -> None:
        super().__init__(": ".join(each for each in (title, told, todo) if each))
        self.html = look.notice(title, told, todo=todo)


def tab(desk: Desk) -> None:
    """Lay out the tab inside of the Blocks that are open."""
    lineup = Lineup()
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=320, elem_id="check-input"):
            text = gr.Textbox(
                label="Text",
                lines=5,
                max_lines=14,
                placeholder="Write or paste what somebody wrote",
                elem_id="check-text",
                html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
            )
            image = gr.Image(
                label="Picture",
                type="filepath",
                image_mode=None,
                sources=["upload", "clipboard"],
                buttons=[],
                height=150,
                elem_id="check-image",
                placeholder="Drop a picture, or choose one",
            )
            # Not a subclass: for each of those Gradio writes a .pyi beside the module.
            image.preprocess = _as_sent  # type: ignore[method-assign]
            with gr.Row(equal_height=True, elem_id="check-go"):
                policy = desk.dropdown(elem_id="check-policy", min_width=140)
                button = gr.Button(
                    "Check", variant="primary", elem_id="check-button", min_width=140
                )
            look.html(
                '<p class="hint"><kbd>Shift</kbd> <kbd>Enter</kbd> checks as well. Texts and '
                "pictures stay in memory while the page is open, and are not kept.</p>"
            )
            look.html('<p class="hint" id="examples-label">Try one</p>')
            with gr.Row(elem_id="examples"):
                chips = [(gr.Button(example.name, size="sm"), example.text) for example in EXAMPLES]
        with gr.Column(scale=7, min_width=320):
            result = look.html(
                look.empty(
                    "No verdict yet",
                    "Write a text, drop a picture, or take an example. The verdict, its scores and "
                    "the way through the chain stand here.",
                ),
                elem_id="check-result",
            )
    models = look.html(elem_id="check-models")
    code = look.html(elem_id="check-code")

    def page(
        text: str, image: str | None, policy: str, request: gr.Request
    ) -> tuple[str, str, Verdict | None, str]:
        if image:
            desk.keep(image, request)
        try:
            found = _check(desk, text, image, policy)
        except _Trouble as trouble:
            return trouble.html, "", None, policy
        told = display.verdict(
            found.verdict, desk.moderator(found.policy).policy, ms=found.ms, note=found.note
        )
        name = Path(image).name if image else ""
        return told, snippets.code(text or "", found.policy, name), found.verdict, found.policy

    def trying(chosen: str) -> Callable[..., Any]:
        def example(policy: str, request: gr.Request) -> tuple[Any, ...]:
            return chosen, None, *page(chosen, None, policy, request)

        return example

    def compare(verdict: Verdict | None) -> str:
        """What the LSTM, DistilBERT, the guard and BLIP say of what was checked last, as HTML."""
        return lineup.html(verdict) if verdict is not None else ""

    outputs = [result, code, desk.checked, desk.name]
    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    # A picture may take a second: the old verdict then fades, which a text is too quick for.
    seen: dict[str, Any] = {
        "queue": False,
        "show_progress": "minimal",
        "show_progress_on": [result],
    }
    asked = [
        event(
            page,
            [text, image, policy],
            outputs,
            api_name="check_page",
            api_visibility="undocumented",
            **seen,
        )
        for event in (button.click, text.submit)
    ]
    asked += [
        chip.click(
            trying(told),
            [policy],
            [text, image, *outputs],
            api_visibility="private",
            **seen,
        )
        for chip, told in chips
    ]
    for done in asked:
        done.then(
            compare,
            [desk.checked],
            [models],
            api_visibility="private",
            queue=False,
            show_progress="minimal",
        )

    def check(text: str = "", image: str | None = None, policy: str = desk.default) -> Any:
        """The verdict about a text, a picture or both, as `Verdict.to_dict` gives it."""
        try:
            return _check(desk, text, image, policy).verdict.to_dict()
        except _Trouble as trouble:
            raise gr.Error(str(trouble), print_exception=False) from None

    answer = gr.JSON(visible=False)
    gr.Button(visible=False).click(
        check, [text, image, policy], [answer], api_name="check", **quick
    )


_pictures = threading.BoundedSemaphore(PICTURES)


def _check(desk: Desk, text: str | None, image: str | None, policy: str) -> Checked:
    """Judge, and turn everything that can be wrong with the input into a `_Trouble`."""
    text = text or ""
    if not text.strip() and not image:
        raise _Trouble(
            "There is nothing to check",
            "Neither a text nor a picture was given.",
            "Write a text, drop a picture, or take one of the examples.",
        )
    if len(text) > MAX_TEXT:
        raise _Trouble(
            "The text is too long for this page",
            f"It has {len(text):,} characters; the page takes {MAX_TEXT:,}.",
            "Cut it, or run it where you are: moderation check --whole --file text.txt",
        )
    try:
        moderator = desk.moderator(policy)
        note = ""
        if image and "image" not in moderator.kinds:
            if FOR_PICTURES in desk.names:
                note = f"The policy {policy} reads no pictures, so {FOR_PICTURES} has judged."
                policy = FOR_PICTURES
                moderator = desk.moderator(policy)
            else:
                raise _Trouble(
                    "This policy reads no pictures",
                    f"No step of {policy} looks at one.",
                    "Choose a policy that does, or take the picture out.",
                )
    except ModerationError as error:
        raise _Trouble(
            "The policy cannot be used", str(error), "Choose another policy above."
        ) from None
    began = perf_counter()
    try:
        if not image:
            verdict = moderator.moderate(text)
        else:
            with _pictures:
                parts = [Part("text", text)] if text.strip() else []
                verdict = moderator.moderate(Content((*parts, moderator.image(Path(image)))))
    except ContentError as error:
        raise _Trouble(
            "The picture cannot be read",
            _without_path(str(error), image),
            "Take another file: PNG, JPEG, GIF, WebP, AVIF, BMP or TIFF.",
        ) from None
    except ModerationError as error:
        raise _Trouble(
            "There is no verdict", _without_path(str(error), image), "Choose another policy above."
        ) from None
    return Checked(verdict, policy, (perf_counter() - began) * 1e3, note)


def _without_path(told: str, image: str | None) -> str:
    return told.replace(image, Path(image).name) if image else told
