"""How a verdict looks in a terminal: colour where there is one, whole lines in a pipe."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.text import Text

from moderation.policy import Policy
from moderation.verdict import Verdict, mask_words

_STYLES = {"allow": "bold green", "review": "bold yellow", "block": "bold red"}
_BAR = 24


def console() -> Console:
    """Standard output, with colour where it is a terminal."""
    # A pipe gets whole lines, however long: only a terminal has a width to respect.
    width = None if sys.stdout.isatty() else 10_000
    return Console(width=width, soft_wrap=True, emoji=False)


def print_verdict(
    console: Console, verdict: Verdict, policy: Policy, *, explain: bool, mask: bool
) -> None:
    """One verdict at length: what a person wants to see of a single text."""
    console.print(_headline(verdict))
    console.print()
    for index, part in enumerate(verdict.parts):
        if part.kind != "image":
            console.print(Text("  ") + _marked(verdict, index, mask=mask))
        elif explain:
            console.print(Text(f"  image: {' × '.join(map(str, part.image.size))}", style="dim"))
    console.print()

    width = max(map(len, verdict.scores), default=0)
    for category, score in sorted(verdict.scores.items(), key=lambda item: -item[1]):
        thresholds = policy.thresholds.get(category)
        limits = thresholds.model_dump(exclude_none=True) if thresholds else {}
        called = str(thresholds.action(score)) if thresholds else "allow"
        full = round(score * _BAR)
        line = Text(f"  {category:<{width}}  ")
        line.append("█" * full, style=_STYLES[called] if called != "allow" else "dim")
        line.append("░" * (_BAR - full), style="dim")
        line.append(f"  {score:.3f}")
        told = " · ".join(f"{name} ≥ {limit:g}" for name, limit in limits.items())
        line.append(f"  {told}" if told else "", style="dim")
        console.print(line)
    if verdict.scores:
        console.print()

    words = _words(verdict, at_least=0.0 if explain else 0.5, mask=mask)
    if words is not None:
        console.print(words)
    console.print(_chain(verdict))
    if explain:
        _print_explanation(console, verdict)


def _headline(verdict: Verdict) -> Text:
    action = str(verdict.action)
    line = Text(f"{action.upper()}", style=_STYLES[action])
    if verdict.degraded:
        line.append("  degraded: not every step could judge", style="yellow")
    if verdict.reasons:
        line.append("  " + "; ".join(verdict.reasons), style="")
    return line


def _shown(text: str) -> str:
    # Controls would act on the terminal instead of being shown.
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def _marked(verdict: Verdict, index: int, *, mask: bool) -> Text:
    part = verdict.parts[index]
    text = verdict.masked(part=index) if mask else part.text
    shown = _shown(text)
    line = Text(shown if part.kind == "text" else f"{part.kind}: {shown}")
    shift = 0 if part.kind == "text" else len(part.kind) + 2
    for begin, end in verdict.spans(index):
        line.stylize("bold red underline", begin + shift, end + shift)
    return line


def _words(verdict: Verdict, *, at_least: float, mask: bool) -> Text | None:
    found: dict[tuple[int, tuple[int, int]], list[str]] = {}
    for signal in verdict.signals:
        if signal.span and signal.score >= at_least:
            told = f"{signal.category} {signal.score:.2f} by {signal.step}"
            found.setdefault((signal.part, signal.span), []).append(told)
    if not found:
        return None
    line = Text("  words  ", style="bold")
    for place, ((part, (begin, end)), by) in enumerate(sorted(found.items())):
        piece = verdict.parts[part].text[begin:end]
        line.append(" · " if place else "", style="dim")
        line.append(_shown(mask_words(piece) if mask else piece), style="bold")
        kind = verdict.parts[part].kind
        where = "" if kind == "text" else f" of the {kind}"
        line.append(f" {begin}–{end}{where} ({', '.join(by)})", style="dim")
    return line


def _chain(verdict: Verdict) -> Text:
    line = Text("  chain  ", style="bold")
    for place, trace in enumerate(verdict.trace):
        line.append(" → " if place else "", style="dim")
        line.append(trace.step, style="red" if trace.status == "failed" else "")
        if trace.status == "ran":
            line.append(f" {trace.ms:.2f} ms", style="dim")
        else:
            line.append(f" {trace.status}: {trace.reason}", style="dim")
    return line


def _print_explanation(console: Console, verdict: Verdict) -> None:
    folded = [part.folded for part in verdict.parts if part.kind != "image"]
    for fold in folded:
        if fold.changed:
            console.print(Text("  read   ", style="bold") + Text(_shown(fold.text)))
    for signal in verdict.signals:
        if signal.reason:
            span = f" {signal.span[0]}–{signal.span[1]}" if signal.span else ""
            kind = verdict.parts[signal.part].kind
            where = "" if kind == "text" else f" in the {kind}"
            console.print(
                Text("  signal ", style="bold")
                + Text(f"{signal.step}: {signal.category} {signal.score:.3f}{span}{where}")
                + Text(f"  {signal.reason}", style="dim")
            )
    console.print(Text("  policy ", style="bold") + Text(verdict.policy))
    for step, fingerprint in verdict.models.items():
        console.print(Text("  model  ", style="bold") + Text(f"{step} {fingerprint}"))


def print_line(console: Console, number: int, verdict: Verdict, *, mask: bool) -> None:
    """One verdict on one line, for reading through many."""
    action = str(verdict.action)
    line = Text(f"{number:>6}  ", style="dim")
    line.append(f"{action:<7}", style=_STYLES[action])
    # What led to the action: the highest score may be of a category that never acts.
    why = verdict.reasons[0] if verdict.reasons else ""
    line.append(f" {why.partition(' reaches ')[0]}  " if why else "  ", style="dim")
    if verdict.degraded:
        line.append("(degraded)  ", style="yellow")
    console.print(line + _marked(verdict, 0, mask=mask), no_wrap=True)
