"""Four models beside one another on one input: the LSTM, DistilBERT, a guard and BLIP.

Each runs alone, whatever the chosen policy asks, unless the policy has run it already. What is not
there says how to get it.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

from moderation import hub
from moderation.content import Content, Part
from moderation.engine import Moderator
from moderation.errors import ArtifactError, ModerationError
from moderation.policy import Policy, Step, Thresholds
from moderation.ui import display, look
from moderation.verdict import Verdict

GUARD_URL, GUARD_MODEL, GUARD_KEY = (
    "MODERATION_GUARD_URL",
    "MODERATION_GUARD_MODEL",
    "MODERATION_GUARD_KEY",
)
"""Environment variables (secrets of a Space) that name a server of a guard model."""

FETCH = "MODERATION_FETCH"
"""Environment variable with names on the Hub, in a row, that are brought at the start."""

_GUARD = "meta-llama/Llama-Guard-3-1B"
_SHOWN = 5

log = logging.getLogger("moderation")


def guard_options() -> dict[str, Any]:
    """Options of the filter `llama_guard`: the server that the environment names, else none."""
    url = os.environ.get(GUARD_URL, "")
    model = os.environ.get(GUARD_MODEL, _GUARD)
    if not url:
        return {"model": model}
    key = {"key_variable": GUARD_KEY} if os.environ.get(GUARD_KEY) else {}
    return {"backend": "openai", "url": url, "model": model, **key}


def guarded_policy() -> Policy:
    """The default policy with the guard behind it, which acts on `unsafe`."""
    default = Policy.load("default")
    guard = Step(name="guard", filter="llama_guard", options=guard_options(), on_error="skip")
    return default.model_copy(
        update={
            "name": "guarded",
            "description": "The default policy, and the guard that this page's environment names.",
            "steps": (*default.steps, guard),
            "thresholds": {**default.thresholds, "unsafe": Thresholds(review=0.5, block=0.9)},
        }
    )


def fetch_named() -> None:
    """Bring the models that the environment names, in a thread: the page starts without them."""
    names = os.environ.get(FETCH, "").split()

    def run() -> None:
        for name in names:
            try:
                hub.fetch(hub.Model.of(name))
            except ModerationError as error:
                log.error("%s: %s", FETCH, error)

    if names:
        threading.Thread(target=run, daemon=True).start()


@dataclass(frozen=True)
class Model:
    """One of the four."""

    key: str
    title: str
    what: str
    step: Step
    todo: str
    """How to get it, where it is not there; code."""

    @cached_property
    def moderator(self) -> Moderator:
        """With the model loaded.

        Raises:
            ModerationError: it cannot be loaded; says what to do.
        """
        moderator = Moderator(Policy(name=self.key, steps=(self.step,), thresholds={}))
        # Looked for first: that a model is not there is no fault that belongs into a log.
        for model in hub.needed(moderator):
            if not model.server:
                hub.locate(model)
        moderator.load()
        for fault in moderator.faults().values():
            raise ArtifactError(fault)
        return moderator


def _classifier(name: str) -> Step:
    return Step(
        name=name,
        filter="classifier",
        options={"model": f"toxicity-{name}"},
        parts=("text", "ocr"),
        on_error="skip",
    )


class Lineup:
    """The four, each loaded when it is first asked."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.models = (
            Model(
                "lstm",
                "LSTM",
                "Shipped. Nine categories, and the words that mattered.",
                _classifier("lstm"),
                "pip install --force-reinstall moderation",
            ),
            Model(
                "distilbert",
                "DistilBERT",
                "A transformer: larger and slower than the LSTM, with more of the context.",
                _classifier("distilbert"),
                "moderation train configs/training/toxicity-distilbert-lora.yaml",
            ),
            Model(
                "guard",
                "Llama Guard",
                "A guard model: hazards rather than rudeness.",
                Step(
                    name="guard",
                    filter="llama_guard",
                    options=guard_options(),
                    parts=("text", "ocr"),
                    on_error="skip",
                ),
                f"export {GUARD_URL}=http://…/v1\n# or, with a GPU:\n"
                f"pip install 'moderation[guard]'\nmoderation models fetch {_GUARD}",
            ),
            Model(
                "blip",
                "BLIP",
                "Says in a sentence what a picture shows.",
                Step(name="blip", filter="blip", on_error="skip"),
                "pip install 'moderation[images]'\n"
                "moderation models fetch Salesforce/blip-image-captioning-base",
            ),
        )

    def faults(self) -> Mapping[str, str]:
        """Key of each model that cannot run, and why."""
        return {model.key: fault for model in self.models if (fault := self._fault(model))}

    def _fault(self, model: Model) -> str:
        with self._lock:
            try:
                model.moderator  # noqa: B018  # loads it
            except ModerationError as error:
                return str(error)
            return ""

    def html(self, verdict: Verdict) -> str:
        """What each says about the content of `verdict`."""
        cards = "".join(self._card(model, verdict) for model in self.models)
        return (
            '<section class="panel"><h2>Four models on the same input</h2>'
            f'<div class="cards">{cards}</div></section>'
        )

    def _card(self, model: Model, verdict: Verdict) -> str:
        fault = self._fault(model)
        if fault:
            return absent(model, fault)
        reads = model.step.parts or ("image",)
        parts = tuple(
            Part("text", part.text) if part.kind == "ocr" else part
            for part in verdict.parts
            if part.kind in reads and (part.kind == "image" or part.text.strip())
        )
        if not parts:
            kind = "picture" if model.key == "blip" else "text"
            return _card(model, "", f'<p class="soft">There is no {kind} to look at.</p>')
        began = perf_counter()
        said = model.moderator.moderate(Content(parts))
        ms = (perf_counter() - began) * 1e3
        trace = said.trace[0]
        if trace.status != "ran":
            told = display.skipped_because(trace.reason)
            return _card(model, "", f'<p class="soft">{trace.status}: {look.text(told)}</p>')
        captions = [part.text for part in said.parts if part.kind == "caption"]
        body = "".join(f"<blockquote>{look.text(caption)}</blockquote>" for caption in captions)
        if said.scores:
            body += display.plain_bars(said.scores, _SHOWN)
        return _card(model, f"{ms:.1f} ms", body or '<p class="soft">It found nothing to say.</p>')


def absent(model: Model, fault: str) -> str:
    """The card of a model that is not configured: why, and what to do."""
    told = fault.replace(str(Path.home()), "~")
    return (
        f'<article class="model absent"><h4>{model.title}<span>not configured</span></h4>'
        f'<p class="what">{model.what}</p>'
        f'<pre tabindex="0"><code>{look.text(model.todo)}</code></pre>'
        f"<details><summary>Why</summary><p>{look.text(told)}</p></details></article>"
    )


def _card(model: Model, right: str, body: str) -> str:
    return (
        f'<article class="model"><h4>{model.title}<span>{right}</span></h4>'
        f'<p class="what">{model.what}</p>{body}</article>'
    )
