"""How a verdict looks on the page, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from moderation.policy import Policy, Step
from moderation.ui import look
from moderation.verdict import Action, StepTrace, Verdict

if TYPE_CHECKING:
    from moderation.image import Picture

MARKED = 0.3
"""Score from which a word is marked; the stronger, the higher the score is."""

SHOWN = 4_000
"""Characters of a text that are shown; of a longer one its beginning and what was marked."""

AROUND = 80
"""Characters shown on either side of a marked word that stands beyond."""

PLACES = 20
"""Marked places beyond the beginning that are shown."""

WIDTH = 880
"""Pixels of a picture's longer side on the page."""

_ADDS = {"ocr": "ocr", "blip": "caption"}

SAID = 3
"""Scores that a step of the chain is shown with."""


def verdict(found: Verdict, policy: Policy, *, ms: float, note: str = "") -> str:
    """The verdict at length: the action, the scores, the words, the picture and the chain.

    `note` is said beside what led to the action.
    """
    return "".join(
        (
            headline(found, policy, ms=ms, note=note),
            _panel("What was read", _parts(found)),
            _panel("Scores against the thresholds of the policy", bars(found.scores, policy)),
            _panel("The chain as it ran", _chain(found, policy)),
        )
    )


def headline(found: Verdict, policy: Policy, *, ms: float, note: str = "") -> str:
    """The action in a word, a shape and a colour, and what led to it."""
    action = found.action
    reasons = [*map(_reason, found.reasons)]
    if found.degraded:
        reasons.append("Not every step could judge: see the chain below.")
    if note:
        reasons.append(note)
    why = "".join(f"<li>{look.text(reason)}</li>" for reason in reasons)
    return (
        f'<section class="verdict is-{action}" aria-label="Verdict">{look.icon(action)}'
        f'<div><p class="word">{look.WORDS[action]}</p>'
        f'<p class="meaning">{look.MEANING[action]}</p></div>'
        f'<div class="took num">{_ms(ms)}<br>policy {look.text(policy.name)}</div>'
        + (f'<ul class="why">{why}</ul>' if why else "")
        + "</section>"
    )


def bars(scores: Mapping[str, float], policy: Policy) -> str:
    """A bar for each score, with the policy's thresholds on it; the most pressing ones first."""
    if not scores:
        return '<p class="soft">No step gave a score.</p>'
    order = sorted(scores, key=lambda name: (-_called(policy, name, scores[name]), -scores[name]))
    acting = [name for name in order if name in policy.thresholds]
    others = [name for name in order if name not in policy.thresholds]
    told = _bars(acting, scores, policy) + (
        '<p class="legend"><span><u></u>from here to a person</span>'
        '<span><u class="at-block"></u>from here blocked</span></p>'
        if acting
        else ""
    )
    if others:
        told += (
            f"<details{'' if acting else ' open'}><summary>Without a threshold: {len(others)}"
            f"</summary>{_bars(others, scores, policy)}</details>"
        )
    return told


def plain_bars(scores: Mapping[str, float], count: int) -> str:
    """The highest scores, without thresholds."""
    order = sorted(scores, key=lambda name: -scores[name])[:count]
    return _bars(order, scores, None)


def _bars(names: Iterable[str], scores: Mapping[str, float], policy: Policy | None) -> str:
    rows = []
    for name in names:
        score = scores[name]
        called = _called(policy, name, score) if policy else Action.ALLOW
        limits = policy.thresholds.get(name) if policy else None
        ticks, told = "", f"{name} {score:.2f}"
        for action, limit in limits.model_dump(exclude_none=True).items() if limits else ():
            ticks += (
                f'<u class="at-{action}" style="left:{limit:.2%}" title="{action} from {limit:g}">'
                "</u>"
            )
            told += f", {action} from {limit:g}"
        acts = called > Action.ALLOW
        tone = f" is-{called}" if acts else ""
        rows.append(
            f'<span class="name{" acts" if acts else ""}">{look.words(name)}</span>'
            f'<span class="bar{tone}" role="img" aria-label="{look.text(told)}">'
            f'<i style="width:{score:.2%}"></i>{ticks}</span>'
            f'<span class="score{tone}">{look.icon(called) if acts else ""}'
            f"{score:.2f}</span>"
        )
    return f'<div class="bars">{"".join(rows)}</div>'


def _called(policy: Policy, name: str, score: float) -> Action:
    limits = policy.thresholds.get(name)
    return limits.action(score) if limits else Action.ALLOW


def _parts(found: Verdict) -> str:
    told = [
        _text(found, index) for index, part in enumerate(found.parts) if part.kind == "text"
    ] + [_picture(found, index) for index, part in enumerate(found.parts) if part.kind == "image"]
    return "<hr>".join(each for each in told if each)


def _text(found: Verdict, index: int) -> str:
    part = found.parts[index]
    if not part.text.strip():
        return ""
    lines = []
    if found.spans(index):
        lines.append(("Masked", look.text(_cut(found.masked(part=index)))))
    if part.folded.changed:
        lines.append(("Read as", look.text(_cut(part.folded.text))))
    told = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
    return f'<p class="text" dir="auto">{marked(found, index)}</p>' + (
        f'<dl class="read">{told}</dl>' if told else ""
    )


def marked(found: Verdict, index: int) -> str:
    """The text of a part with the words that mattered marked; a long one in excerpts."""
    text = found.parts[index].text
    signals = [
        signal
        for signal in found.signals
        if signal.part == index and signal.span and signal.score >= MARKED
    ]
    edges = sorted({edge for signal in signals for edge in signal.span or ()})
    pieces: list[tuple[int, int, float, str]] = []
    for begin, end in pairwise(edges):
        over = [s for s in signals if s.span and s.span[0] <= begin and end <= s.span[1]]
        if over:
            names = dict.fromkeys(
                f"{s.category.replace('_', ' ')} {s.score:.2f} ({s.step})"
                for s in sorted(over, key=lambda s: -s.score)
            )
            pieces.append((begin, end, max(s.score for s in over), ", ".join(names)))
    out, last = [], 0
    for low, high in _windows(len(text), pieces):
        out.append(" … " if low > last else "")
        last = low
        for begin, end, score, title in pieces:
            if begin < high and end > low:
                begin, end = max(begin, low), min(end, high)
                level = 3 if score >= 0.8 else 2 if score >= 0.5 else 1
                out.append(look.text(text[last:begin]))
                out.append(f'<mark class="m{level}" title="{look.text(title)}">')
                out.append(f"{look.text(text[begin:end])}</mark>")
                last = end
        out.append(look.text(text[last:high]))
        last = high
    if last < len(text):
        out.append(" … ")
    if len(text) > SHOWN:
        out.append(f'<span class="soft small">({len(text):,} characters in all)</span>')
    return "".join(out)


def _windows(length: int, pieces: Iterable[tuple[int, int, float, str]]) -> list[tuple[int, int]]:
    """Ranges of a text that are shown: its beginning, and around the marked words beyond."""
    windows = [(0, min(length, SHOWN))]
    for begin, end, _, _ in pieces:
        if end <= SHOWN or len(windows) > PLACES:
            continue
        low, high = max(0, begin - AROUND), min(length, end + AROUND)
        if low <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(high, windows[-1][1]))
        else:
            windows.append((low, high))
    return windows


def _picture(found: Verdict, index: int) -> str:
    part = found.parts[index]
    picture: Picture = part.image
    width, height = picture.size
    rects, read, captions = [], [], []
    for number, other in enumerate(found.parts):
        if other.source != index:
            continue
        if other.kind == "caption":
            captions.append(look.text(_cut(other.text)))
            continue
        hits = found.spans(number)
        for box in other.boxes:
            hit = any(begin < box.end and box.begin < end for begin, end in hits)
            rects.append(
                f'<rect class="{"hit" if hit else ""}" x="{box.left:.1f}" y="{box.top:.1f}" '
                f'width="{box.right - box.left:.1f}" height="{box.bottom - box.top:.1f}" rx="2"/>'
            )
        if other.text.strip():
            read.append(marked(found, number))
    lines = [("Words in it", f'<span class="text">{each}</span>') for each in read]
    lines += [("Caption", each) for each in captions]
    told = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in lines)
    alt = f"The picture, {width} by {height} pixels, {len(rects)} words found in it"
    return (
        f'<figure class="picture"><img alt="{alt}" src="{_data_url(picture)}">'
        f'<svg viewBox="0 0 {width} {height}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(rects)}</svg></figure>" + (f'<dl class="read">{told}</dl>' if told else "")
    )


def _data_url(picture: Picture) -> str:
    # Inside the page, so that no copy of it lies on the disk.
    small = picture.frames[0].copy()
    small.thumbnail((WIDTH, WIDTH))
    buffer = BytesIO()
    small.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _chain(found: Verdict, policy: Policy) -> str:
    stands_for = {
        each.name: step.name for step in policy.steps for each in step.line() if each is not step
    }
    by_name = {each.name: each for step in policy.steps for each in step.line()}
    items = "".join(
        _step(trace, by_name.get(trace.step), stands_for, _added(found, trace))
        for trace in found.trace
    )
    return f'<ol class="chain">{items}</ol>'


def _added(found: Verdict, trace: StepTrace) -> str:
    """What a step added to the content, in words; empty where that is not its business."""
    texts = [part.text for part in found.parts if part.kind == _ADDS.get(trace.filter)]
    if trace.filter == "ocr":
        words = sum(len(text.split()) for text in texts)
        return f"read {words:,} words" if words else "read no words"
    return " / ".join(texts)


def _step(trace: StepTrace, spec: Step | None, stands_for: Mapping[str, str], added: str) -> str:
    if trace.status == "ran":
        # A word list is sure of what it finds: only a model has low scores that say nothing.
        high = sorted(trace.scores.items(), key=lambda item: -item[1])
        said = [f"{look.words(name)} {score:.2f}" for name, score in high if score >= 0.1][:SAID]
        told = (
            ", ".join(said)
            or look.text(_cut(added))
            or ("nothing above 0.1" if trace.scores else "found nothing")
        )
        if trace.reason:
            told += f" · {look.text(trace.reason)}"
    else:
        told = _folded(f"{trace.status}: {skipped_because(trace.reason)}")
    shapes = {
        "ran": '<circle cx="12" cy="12" r="9" fill="currentColor" stroke="none"/>',
        "skipped": '<circle cx="12" cy="12" r="8" stroke-dasharray="3.5 3.5"/>',
        "failed": look.ICONS[Action.REVIEW],
    }
    tone = {"ran": "is-allow", "skipped": "", "failed": "is-block"}[trace.status]
    notes = [trace.filter]
    if spec is not None and spec.refines:
        notes.append(f"refines {spec.refines}")
    if trace.step in stands_for:
        notes.append(f"stands in for {stands_for[trace.step]}")
    took = f'<span class="ms">{_ms(trace.ms)}</span>' if trace.ms else ""
    return (
        f'<li class="{trace.status}"><div class="top"><svg class="icon {tone}" '
        f'viewBox="0 0 24 24" aria-hidden="true">{shapes[trace.status]}</svg>'
        f"{look.text(trace.step)}{took}</div>"
        f'<p class="state">{look.text(" · ".join(notes))}</p>'
        f'<div class="said">{told}</div></li>'
    )


def _folded(told: str) -> str:
    """A long reason behind its beginning."""
    told = told.replace(str(Path.home()), "~")
    if len(told) <= 90:
        return look.text(told)
    head = ":".join(told.split(":", 2)[:2])
    return f"<details><summary>{look.text(head[:90])}</summary>{look.text(told)}</details>"


def skipped_because(reason: str) -> str:
    """The engine's reason for a step that did not run, as a sentence reads on."""
    if reason == "language":
        return "it does not read this language"
    if reason == "blank":
        return "there is no text"
    if reason == "no part of a kind it reads":
        return "nothing here of a kind that it reads"
    return reason


def _reason(reason: str) -> str:
    """``threat 0.97 reaches block at 0.8`` as people write it."""
    category, _, rest = reason.partition(" ")
    return f"{category.replace('_', ' ')} {rest}" if " reaches " in rest else reason


def _panel(title: str, body: str) -> str:
    return f'<section class="panel"><h2>{title}</h2>{body}</section>' if body else ""


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text):,} characters in all)"


def _ms(ms: float) -> str:
    return f"{ms / 1e3:.1f} s" if ms >= 1000 else f"{ms:.1f} ms"
