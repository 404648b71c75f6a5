"""The Policy tab: what other thresholds and steps would change."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio.context import Context
from numpy.typing import NDArray

from moderation.content import Content
from moderation.engine import Moderator
from moderation.errors import ConfigError, ModerationError
from moderation.policy import Policy, Thresholds
from moderation.ui import display, look
from moderation.ui.batch import Held, held
from moderation.ui.desk import VISIT, Desk
from moderation.ui.replay import Kept, Quality, Replayed, edited
from moderation.ui.run import Run, Side
from moderation.verdict import Action, Verdict

MAX_TEXT = 200_000
"""Characters of one text, as on the Check tab."""

CHANGED = 12
"""Changed rows of the file that are shown."""

NEVER = 101
"""Where a slider of hundredths stands for no threshold at all."""

CSS = Path(__file__).with_name("policy.css").read_text(encoding="utf-8")

# The sliders move by themselves; what they say is sent on at most about eight times a second.
SCRIPT = """
const shown = (value) => value > 100 ? "never" : (value / 100).toFixed(2);
const say = (slider) => {
  const exact = slider.dataset.exact;
  const told = exact && slider.value === slider.defaultValue ? exact : shown(+slider.value);
  slider.setAttribute("aria-valuetext", told);
  slider.style.setProperty("--at", `${100 * slider.value / slider.max}%`);
  slider.parentElement.querySelector("output").textContent = told;
};
const sliders = () => [...element.querySelectorAll("input[type=range]")];
const gather = () => {
  const limits = {};
  for (const slider of sliders()) {
    const { category, level, exact } = slider.dataset;
    const moved = slider.value !== slider.defaultValue;
    const value = !moved && exact ? +exact : +slider.value > 100 ? null : +slider.value / 100;
    (limits[category] = limits[category] || {})[level] = value;
  }
  return limits;
};
let due = null;
const send = () => { due = null; props.value = gather(); trigger("input"); };
element.addEventListener("input", (event) => {
  const slider = event.target;
  if (slider.type !== "range") return;
  const other = slider.closest("fieldset").querySelector(
    `input[data-level=${slider.dataset.level === "review" ? "block" : "review"}]`);
  // A review above its block makes no sense: one pushes the other along.
  const crossed = slider.dataset.level === "review"
    ? +slider.value > +other.value : +slider.value < +other.value;
  if (crossed && !(slider.dataset.level === "block" && +other.value > 100)
      && !(slider.dataset.level === "review" && +slider.value > 100)) {
    other.value = slider.value;
    say(other);
  }
  say(slider);
  if (due === null) due = setTimeout(send, 120);
});
watch("form", () => {
  for (const slider of sliders()) { slider.value = slider.getAttribute("value"); say(slider); }
});
"""


@dataclass
class Tried:
    """What the tab works on: one content, and what the steps of one policy said about it."""

    policy: str = ""
    content: Content | None = None
    verdict: Verdict | None = None
    kept: Kept | None = None
    checked: Verdict | None = None
    """The verdict of the Check tab that was taken over last."""


def tab(desk: Desk) -> None:
    """Lay out the tab inside of the Blocks that are open."""
    batch = held(desk)
    state = gr.State(Tried(), time_to_live=VISIT)
    look.html(f"<style>{CSS}</style>", visible="hidden")
    with gr.Row(equal_height=False, elem_id="policy-tab"):
        with gr.Column(scale=5, min_width=310):
            chosen = desk.dropdown(elem_id="policy-name")
            steps = gr.CheckboxGroup([], label="Steps", elem_id="policy-steps", interactive=True)
            form = gr.HTML(
                {},
                html_template="${form}",
                form="",
                js_on_load=SCRIPT,
                apply_default_css=False,
                elem_id="policy-form",
            )
            reset = gr.Button("Back to the policy as it is", size="sm", elem_id="policy-reset")
            code = look.html(elem_id="policy-yaml")
            # On a phone what changes stands far below the sliders: this stays in sight.
            brief = look.html(elem_id="policy-brief")
        with gr.Column(scale=6, min_width=320):
            with gr.Row(elem_id="policy-try"):
                text = gr.Textbox(
                    label="Text to try",
                    lines=1,
                    max_lines=4,
                    scale=4,
                    min_width=180,
                    placeholder="Type a text, or check one on the Check tab",
                    elem_id="policy-text",
                    html_attributes=gr.InputHTMLAttributes(autocomplete="off", spellcheck=False),
                )
                go = gr.Button("Try", variant="primary", scale=1, min_width=80)
            one = look.html(elem_id="policy-one")
            many = look.html(elem_id="policy-many")

    def shown(
        name: str, steps: Sequence[str] | None, limits: Any, now: Tried, run: Run | None
    ) -> tuple[str, str, str, str]:
        """The text, the file and the policy as HTML, under these steps and thresholds; in brief."""
        try:
            moderator = desk.moderator(name)
            changed = _edited(moderator, steps, limits)
        except ModerationError as error:
            told = look.notice("The policy cannot be used like this", str(error))
            return told, "", "", look.text(str(error))
        return (
            _one(now, moderator.policy, changed),
            _many(run, name, changed),
            _yaml(changed),
            _brief(now, name, changed, run),
        )

    def chose(
        name: str, text: str, now: Tried, checked: Verdict | None, there: Held
    ) -> tuple[Any, ...]:
        """Another policy, as it is: its steps, its thresholds, and what it says."""
        try:
            moderator = desk.moderator(name)
        except ModerationError as error:
            told = look.notice("The policy cannot be used", str(error), todo="Choose another.")
            none: Any = gr.CheckboxGroup(choices=[], value=[])
            return Tried(), none, gr.HTML(value={}, form=""), text, told, "", "", ""
        if checked is not None and checked is not now.checked:
            content = Content(tuple(part for part in checked.parts if part.source is None))
            now = Tried(content=content, checked=checked)
            text = content.text
        now.policy = name
        trouble = _judge(now, moderator)
        names = [step.spec.name for step in moderator.steps]
        choices = [(_step(moderator, name), name) for name in names]
        limits = {
            name: {"review": limit.review, "block": limit.block}
            for name, limit in moderator.policy.thresholds.items()
        }
        one, *others = shown(name, names, limits, now, there.run)
        return (
            now,
            gr.CheckboxGroup(choices=choices, value=names),
            gr.HTML(value=limits, form=_form(moderator)),
            text,
            trouble or one,
            *others,
        )

    def entered(
        name: str,
        steps: list[str],
        limits: Any,
        text: str,
        now: Tried,
        checked: Verdict | None,
        there: Held,
    ) -> tuple[Any, ...]:
        """The tab is looked at again: other tabs may have something new for it."""
        if now.policy != name or (checked is not None and checked is not now.checked):
            first = not now.policy
            found = chose(name, text, now, checked, there)
            if first:
                return found
            told = shown(name, steps, limits, found[0], there.run)
            return found[0], gr.skip(), gr.skip(), found[3], *told
        told = shown(name, steps, limits, now, there.run)
        return now, gr.skip(), gr.skip(), gr.skip(), *told

    def tried(
        name: str, steps: list[str], limits: Any, text: str, now: Tried, there: Held
    ) -> tuple[Any, ...]:
        """Judges a text once; from then on only the decision is made again."""
        if len(text) > MAX_TEXT:
            told = f"It has {len(text):,} characters; the page takes {MAX_TEXT:,}."
            trouble = look.notice("The text is too long for this page", told)
            return now, trouble, gr.skip(), gr.skip(), gr.skip()
        now = Tried(name, Content.of(text) if text.strip() else None, checked=now.checked)
        try:
            trouble = _judge(now, desk.moderator(name))
        except ModerationError as error:
            trouble = look.notice("The policy cannot be used", str(error))
        one, *others = shown(name, steps, limits, now, there.run)
        return now, trouble or one, *others

    def changed(
        name: str, steps: list[str], limits: Any, now: Tried, there: Held
    ) -> tuple[str, str, str, str]:
        return shown(name, steps, limits, now, there.run)

    quick: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    told = [one, many, code, brief]
    everything = [state, steps, form, text, *told]
    for event in (chosen.input, reset.click):
        event(
            chose,
            [chosen, text, state, desk.checked, batch],
            everything,
            api_visibility="private",
            **quick,
        )
    for moved in (form.input, steps.input):
        moved(
            changed,
            [chosen, steps, form, state, batch],
            told,
            api_visibility="private",
            trigger_mode="always_last",
            **quick,
        )
    for event in (go.click, text.submit):
        event(
            tried,
            [chosen, steps, form, text, state, batch],
            [state, *told],
            api_visibility="private",
            **quick,
        )
    # The tab that this stands in, if it stands in one.
    here = Context.block
    while here is not None and not isinstance(here, gr.Tab):
        here = here.parent
    enter = here.select if isinstance(here, gr.Tab) else Context.root_block.load  # type: ignore[union-attr]
    enter(
        entered,
        [chosen, steps, form, text, state, desk.checked, batch],
        everything,
        api_visibility="private",
        **quick,
    )

    def policy_change(
        policy: str, steps: list[str], thresholds: Any, text: str, there: Held
    ) -> dict[str, Any]:
        """What other steps and thresholds would change, and the policy as YAML.

        `thresholds` maps each category to {"review": score, "block": score}, either of them null
        for never; categories that are left out have no threshold. `steps` are those that are on.
        """
        try:
            moderator = desk.moderator(policy)
            changed = _edited(moderator, steps, thresholds)
            now = Tried(policy, Content.of(text) if text.strip() else None)
            if now.content is not None and len(text) <= MAX_TEXT:
                _judge(now, moderator)
            found: dict[str, Any] = {"yaml": changed.to_yaml(), "text": None, "file": None}
            if now.kept is not None:
                found["text"] = {
                    which: str(Action(now.kept.replay(each).actions[0]))
                    for which, each in (("before", moderator.policy), ("after", changed))
                }
            side = _side(there.run, policy)
            if there.run is not None and side is not None:
                found["file"] = _numbers(there.run, side, changed)
            return found
        except ModerationError as error:
            raise gr.Error(str(error), print_exception=False) from None

    given, answer = gr.JSON(visible=False), gr.JSON(visible=False)
    names = gr.JSON(visible=False)
    gr.Button(visible=False).click(
        policy_change, [chosen, names, given, text, batch], [answer], api_name="policy_change"
    )


def _judge(now: Tried, moderator: Moderator) -> str:
    """Run the chain on the content once; returns what went wrong, as HTML."""
    now.verdict = now.kept = None
    if now.content is None:
        return ""
    parts = now.content.parts
    plain = len(parts) == 1 and parts[0].kind == "text"
    try:
        now.verdict = moderator.moderate(now.content, exhaustive=plain)
    except ModerationError as error:
        return look.notice("There is no verdict", str(error))
    now.kept = Kept(moderator)
    now.kept.add(now.verdict)
    return ""


def _edited(moderator: Moderator, steps: Sequence[str] | None, limits: Any) -> Policy:
    """The policy under these steps, and thresholds as the sliders have them.

    Raises:
        ConfigError: they cannot be used; says which.
    """
    if limits is None:
        return edited(moderator, steps=steps)
    thresholds = {}
    if not isinstance(limits, Mapping):
        raise ConfigError("thresholds: expected a score for review and block by category")
    for category, levels in limits.items():
        if not isinstance(levels, Mapping) or not levels.keys() <= {"review", "block"}:
            raise ConfigError(f"thresholds.{category[:60]}: expected review and block")
        given = {level: score for level, score in levels.items() if score is not None}
        for level, score in given.items():
            if (
                isinstance(score, bool)
                or not isinstance(score, (int, float))
                or not 0 <= score <= 1
            ):
                raise ConfigError(f"thresholds.{category[:60]}.{level}: expected 0 to 1, or null")
        given = {level: float(score) for level, score in given.items()}
        if given.get("review", 0.0) > given.get("block", 1.0):
            raise ConfigError(f"thresholds.{category[:60]}: expected review not above block")
        if given:
            thresholds[category] = Thresholds(**given)
    return edited(moderator, steps=steps, thresholds=thresholds)


def _step(moderator: Moderator, name: str) -> str:
    step = next(step for step in moderator.steps if step.spec.name == name)
    told = f"{name} · {step.spec.filter}"
    if step.spec.refines:
        told += f" · refines {step.spec.refines}, and goes with it"
    if all(each.fault for each in step.line()):
        told += " · cannot be loaded"
    return told


def _form(moderator: Moderator) -> str:
    """The sliders of a policy, as HTML: those of its thresholds, then what it only informs of."""
    limits = moderator.policy.thresholds
    known = sorted({c for step in moderator.steps for each in step.line() for c in each.categories})
    fields = [_field(name, limits[name]) for name in limits]
    rest = [_field(name, None) for name in known if name not in limits]
    more = (
        f"<details><summary>Without a threshold: {len(rest)}</summary>{''.join(rest)}</details>"
        if rest
        else ""
    )
    return (
        # Never the same twice: the page puts its sliders back when this changes.
        f'<section class="panel sliders" data-made="{secrets.token_hex(4)}">'
        "<h3>Thresholds: the score from which a text is sent to review, or blocked</h3>"
        f"{''.join(fields)}{more}</section>"
    )


def _field(category: str, limits: Thresholds | None) -> str:
    sliders = []
    for level, word in (("review", "Review"), ("block", "Block")):
        limit = getattr(limits, level) if limits else None
        place = NEVER if limit is None else round(limit * 100)
        exact = "" if limit is None or limit * 100 == place else f' data-exact="{limit!r}"'
        told = "never" if limit is None else f"{limit!r}" if exact else f"{limit:.2f}"
        sliders.append(
            f'<label class="is-{level}"><span>{word}</span>'
            f'<input type="range" min="0" max="{NEVER}" step="1" value="{place}" '
            f'style="--at:{100 * place / NEVER:.2f}%" '
            f'data-category="{look.text(category)}" data-level="{level}"{exact} '
            f'aria-label="{look.words(category)}: {level} from" aria-valuetext="{told}">'
            f'<output class="num">{told}</output></label>'
        )
    return f"<fieldset><legend>{look.words(category)}</legend>{''.join(sliders)}</fieldset>"


def _one(now: Tried, before: Policy, after: Policy) -> str:
    if now.kept is None:
        return look.empty(
            "No text yet", "Type one above, or check one: what the sliders do to it stands here."
        )
    old, new = now.kept.replay(before), now.kept.replay(after)
    was, is_ = Action(old.actions[0]), Action(new.actions[0])
    if not new.known[0]:
        return look.notice(
            "This has to be judged again",
            "The picture's words and captions come from steps, and what the others would say "
            "without them, or after a chain that ended early, is not known.",
            todo="Download the policy and check the picture with it.",
            kind="warning",
        )
    scores = new.of(0)
    _, reasons = after.decide(scores)
    why = "; ".join(reasons) or ("" if is_ is Action.ALLOW else "a step could not judge it")
    moved = (
        f'{look.badge(was)}<span aria-hidden="true">→</span><span class="sr">changes to</span>'
        f"{look.badge(is_)}"
        if was is not is_
        else f'{look.badge(is_)}<span class="soft">as before</span>'
    )
    told = f'<p class="small soft">{look.text(why)}</p>' if why else ""
    picture = now.content is not None and any(part.kind == "image" for part in now.content.parts)
    what = "This picture" if picture else "This text"
    return (
        f'<section class="panel" role="status"><h3>{what}</h3><p class="moved">{moved}</p>'
        f"{told}{display.bars(scores, after)}</section>"
    )


def _brief(now: Tried, name: str, after: Policy, run: Run | None) -> str:
    told = []
    if now.kept is not None:
        found = now.kept.replay(after)
        if found.known[0]:
            told.append(f"Now {look.badge(Action(found.actions[0]))}")
    side = _side(run, name)
    if run is not None and side is not None:
        old, new = _compared(run, side, after)
        moved = int((old.actions != new.actions).sum())
        told.append(f'<span class="num">{moved:,} of {run.done:,} rows change</span>')
    return f'<p class="brief">{"".join(told)}</p>' if told else ""


def _side(run: Run | None, name: str) -> Side | None:
    if run is None or not run.done:
        return None
    return next((side for side in run.sides if side.name == name), None)


def _compared(run: Run, side: Side, policy: Policy) -> tuple[Replayed, Replayed]:
    old = run.found[run.sides.index(side)]
    return old, side.kept.replay(policy)


def _said(found: Replayed, policy: Policy, category: str) -> NDArray[np.bool_]:
    """Texts whose score of this category reaches a threshold of it."""
    limits = policy.thresholds.get(category)
    if limits is None or category not in found.categories:
        return np.zeros(len(found.actions), np.bool_)
    lowest = next(level for level in (limits.review, limits.block) if level is not None)
    reached: NDArray[np.bool_] = found.scores[:, found.categories.index(category)] >= lowest
    return reached


def _quality(
    run: Run, side: Side, old: Replayed, new: Replayed, policy: Policy
) -> dict[str, tuple[Quality, Quality]]:
    """By column of labels, and for all together: before and after."""
    labels = {name: values for name, values in run.labels.items() if name in side.kept.categories}
    if not labels:
        return {}
    found = {}
    if len(labels) > 1:
        stacked = np.stack(list(labels.values()))
        known = ~np.isnan(stacked)
        anything = np.where(known, stacked, 0).max(axis=0)
        anything[~known.any(axis=0)] = np.nan
        found["any of them"] = (
            Quality.of(old.actions > 0, anything),
            Quality.of(new.actions > 0, anything),
        )
    base = side.moderator.policy
    for name, values in labels.items():
        found[name] = (
            Quality.of(_said(old, base, name), values),
            Quality.of(_said(new, policy, name), values),
        )
    return found


def _numbers(run: Run, side: Side, policy: Policy) -> dict[str, Any]:
    old, new = _compared(run, side, policy)
    told: dict[str, Any] = {
        "rows": run.done,
        "changed": int((old.actions != new.actions).sum()),
        "unknown": int((~new.known).sum()),
    }
    for which, found in (("before", old), ("after", new)):
        counts = np.bincount(found.actions, minlength=3)
        told[which] = {str(action): int(counts[action]) for action in Action}
    for name, pair in _quality(run, side, old, new, policy).items():
        for which, quality in zip(("before", "after"), pair, strict=True):
            shares = {"precision": quality.precision, "recall": quality.recall}
            told[which].setdefault("labels", {})[name] = {
                key: round(value, 6) if value == value else None for key, value in shares.items()
            }
    return told


def _many(run: Run | None, name: str, policy: Policy) -> str:
    side = _side(run, name)
    if run is None or not run.done:
        return look.empty(
            "No file yet",
            "Run one on the Batch tab: how many of its rows would change stands here, and "
            "precision and recall where it has columns of labels.",
        )
    if side is None:
        names = " and ".join(side.name for side in run.sides)
        return look.notice(
            "The file was run with another policy",
            f"It was run with {names}; what {name} says about it is not known.",
            todo=f"Choose {names} above, or run the file with {name} on the Batch tab.",
            kind="info",
        )
    old, new = _compared(run, side, policy)
    unknown = int((~new.known).sum())
    changed = np.flatnonzero((old.actions != new.actions) & new.known)
    html = [f"<h3>The file: {run.done:,} rows, {len(changed):,} would change</h3>"]
    before = np.bincount(old.actions, minlength=3)
    after = np.bincount(new.actions, minlength=3)
    body = [
        [
            "<b>Flagged</b>",
            *(
                f'<span class="num">{1 - counts[0] / run.done:.1%}</span>'
                for counts in (before, after)
            ),
            _moved(int(before[0] - after[0])),
        ]
    ]
    body += [
        [
            look.badge(action),
            f'<span class="num">{before[action]:,}</span>',
            f'<span class="num">{after[action]:,}</span>',
            _moved(int(after[action] - before[action])),
        ]
        for action in Action
    ]
    html.append(look.table(["", "Now", "Changed", "Rows"], body))
    if quality := _quality(run, side, old, new, policy):
        rows = [
            [
                look.words(label),
                _share(was.precision, is_.precision, was.flagged, is_.flagged),
                _share(was.recall, is_.recall, was.positives, is_.positives),
            ]
            for label, (was, is_) in quality.items()
        ]
        html.append(
            look.table(
                ["Label", "Precision (of flagged)", "Recall (of positives)"],
                rows,
                caption="Against the labels in the file, from 0.5",
            )
        )
    if unknown:
        html.append(
            f'<p class="small"><b>{unknown:,} rows are not known:</b> the chain ended early on '
            "them, and what the steps behind would have said was never asked. They are counted "
            "by what did run.</p>"
        )
    if len(changed):
        order = np.argsort(-np.abs(new.actions[changed] - old.actions[changed]), kind="stable")
        examples = [
            [
                f'<span class="num">{row + 1:,}</span>',
                f'<span class="moved">{look.badge(Action(old.actions[row]))}'
                f'<span aria-hidden="true">→</span>{look.badge(Action(new.actions[row]))}</span>',
                f'<span class="text-cell" dir="auto">{look.text(_cut(run.texts[row]))}</span>',
            ]
            for row in changed[order][:CHANGED].tolist()
        ]
        html.append(
            f"<details open><summary>{min(CHANGED, len(changed))} of the rows that would change"
            f"</summary>{look.table(['Row', 'Change', 'Text'], examples)}</details>"
        )
    return f'<section class="panel">{"".join(html)}</section>'


def _moved(rows: int) -> str:
    return f'<span class="num">{rows:+,}</span>' if rows else '<span class="soft">–</span>'


def _share(was: float, is_: float, before: int, after: int) -> str:
    def told(value: float, count: int) -> str:
        share = f"{value:.3f}" if value == value else "–"
        return f'<span class="num">{share}</span> <span class="soft num">of {count:,}</span>'

    if (was, before) == (is_, after) or (was != was and is_ != is_):
        return told(is_, after)
    return f"{told(was, before)} → {told(is_, after)}"


def _cut(text: str) -> str:
    return text[:160].rstrip() + ("…" if len(text) > 160 else "")


def _yaml(policy: Policy) -> str:
    told = policy.to_yaml()
    data = base64.b64encode(told.encode()).decode()
    return (
        '<section class="panel"><p class="line"><b>The policy as YAML</b>'
        f'<a class="quiet" download="{look.text(policy.name)}.yaml" '
        f'href="data:application/yaml;base64,{data}">Download YAML</a></p>'
        f"<details><summary>Show it</summary><pre><code>{look.text(told)}</code></pre></details>"
        "</section>"
    )
