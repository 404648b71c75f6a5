"""Writes docs/walkthrough.md: one sentence from input to verdict, with what really comes out."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from moderation import Content, Moderator
from moderation.normalize import fold

SENTENCE = "Nobody wants you here, you f.u.c.k.i.n.g id\u03b9\u03bft 😂"


def _block(*lines: str) -> str:
    return "\n".join(["```text", *lines, "```"])


def page() -> str:
    moderator = Moderator()
    content = Content.of(SENTENCE)
    part = content.parts[0]
    folded = fold(SENTENCE)
    verdict = moderator.moderate(content)
    begin = folded.text.index("fucking")
    there = folded.span(begin, begin + len("fucking"))

    steps: list[str] = []
    for step in moderator.steps:
        name = step.spec.name
        trace = next(trace for trace in verdict.trace if trace.step == name)
        rows = [
            f"{signal.category:<16}{signal.score:.3f}  "
            + (
                f"{signal.span[0]:>2} to {signal.span[1]:<2}  {part.text[slice(*signal.span)]!r}"
                if signal.span
                else "the whole text"
            )
            for signal in verdict.signals
            if signal.step == name
        ]
        if trace.status != "ran":
            rows = [f"{trace.status}: {trace.reason}"]
        steps.append(f"`{name}`, filter `{trace.filter}`, {trace.status}:\n\n" + _block(*rows))

    thresholds = [
        f"{category:<16}"
        + ", ".join(f"{a} from {x:g}" for a, x in t.model_dump(exclude_none=True).items())
        for category, t in moderator.policy.thresholds.items()
    ]
    summary = verdict.to_dict()
    summary["signals"] = f"{len(verdict.signals)} of them, as above"
    summary["trace"] = [
        {**trace, "scores": "…" if trace["scores"] else {}} for trace in summary["trace"]
    ]
    return f"""# One sentence, from input to verdict

`python docs/make_walkthrough.py` writes this page; every block is what the shipped policy and
weights really say.

## 1. The input

{_block(SENTENCE)}

Letters with dots between them, and an "idiot" two of whose letters are Greek.

## 2. Content

A `str` becomes a `Content` with one `Part` of kind `text`, {len(part.text)} characters long. A lone
surrogate would be read as U+FFFD here, so that every offset below counts the characters that were
sent.

## 3. Folding

The text is read once more with its disguises undone, and every filter shares the result:

{_block(folded.text)}

The folded text keeps a map back. "fucking" stands at {begin} to {begin + 7} of the folded text, and
at {there[0]} to {there[1]} of the text as sent: `{SENTENCE[slice(*there)]}`.

## 4. Language

Script first, then CLD2: `{part.language}`. Every step that declares its languages reads this one. A
text in another language would be skipped by that step, and the policy's `unsupported_language`
would decide.

## 5. The chain

Policy `{moderator.policy.name}`, step by step. A model reads the text as sent and, since folding
undid a disguise, the folded text as a second row; the higher score of each category counts.

{(chr(10) * 2).join(steps)}

## 6. The decision

Across the steps the highest score of a category counts. The policy's thresholds:

{_block(*thresholds)}

give **{verdict.action}**, because: {"; ".join(verdict.reasons) or "no threshold is reached"}.

## 7. The verdict

`verdict.masked()`:

{_block(verdict.masked())}

`verdict.to_dict()`, without the text, by the schema in `moderation/verdict.schema.json`:

```json
{json.dumps(summary, indent=2, ensure_ascii=False)}
```

## 8. Observers

Last, every plugin that implements `moderation_verdict` is handed the content and the verdict, each
apart, so that a broken one is logged and changes nothing.
"""


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("walkthrough.md").write_text(page(), encoding="utf-8")
