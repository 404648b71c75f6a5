"""Writes docs/taxonomy.md from `moderation/taxonomy.py`. Run it after changing the table."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from moderation import taxonomy

HEAD = """# Categories, and what others call them

`python docs/make_taxonomy.py` writes this page from `moderation/taxonomy.py`.

Categories are open: a word list, a plugin or a policy may report any name. The ones below are
those that this package gives a meaning to.
"""

RULES = """## The rules

- **Outwards**, to Perspective and OpenAI: the score of an outer name is the highest over the rows
  that name it. A row of several categories scores the lowest of them, since it holds only where all
  of them do.
- A row stands where every one of its categories is reported by some step of the policy. A name
  with no standing row has nothing behind it: Perspective's form of the API refuses or drops it;
  OpenAI's, which always lists all thirteen, gives 0.0, false, and an empty list of applied input
  types.
- **Inwards**, from a guard: its own category is reported under its own name, such as
  `llama_guard/S10`, and as every single category below whose row names it.
- Perspective's attributes each have a twin, `TOXICITY_EXPERIMENTAL` and so on, with the same score.
"""


def cell(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def page() -> str:
    lines = [
        HEAD,
        "| category | means | Jigsaw | Perspective | OpenAI | Llama Guard | Qwen3Guard |",
    ]
    lines.append("|---|---|---|---|---|---|---|")
    for row in taxonomy.TABLE:
        cells = [" and ".join(f"`{name}`" for name in row.categories), row.meaning]
        cells += [cell(row.names(system)) for system in taxonomy.SYSTEMS]
        lines.append("| " + " | ".join(cells) + " |")
    lines += ["", RULES, "## OpenAI, name by name", ""]
    lines += ["| name | the highest of | applies to |", "|---|---|---|"]
    for name in taxonomy.OPENAI:
        behind = [row.categories for row in taxonomy.TABLE if name in row.openai]
        told = [
            f"`{group[0]}`" if len(group) == 1 else f"the lowest of {cell(group)}"
            for group in behind
        ]
        kinds = "text, image" if name in taxonomy.OPENAI_IMAGE else "text"
        lines.append(f"| `{name}` | {', '.join(told)} | {kinds} |")
    lines += ["", "## Llama Guard, name by name", ""]
    lines += ["| name | its title | reported as |", "|---|---|---|"]
    for name, title in taxonomy.LLAMA_GUARD.items():
        ours = cell(taxonomy.categories_of("llama_guard", name))
        lines.append(f"| `{name}` | {title} | `llama_guard/{name}`, {ours} |")
    lines += ["", "## Qwen3Guard, name by name", "", "| name | reported as |", "|---|---|"]
    for name in taxonomy.QWEN3_GUARD:
        ours = [f"qwen3_guard/{name}", *taxonomy.categories_of("qwen3_guard", name)]
        lines.append(f"| {name} | {cell(ours)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("taxonomy.md").write_text(page(), encoding="utf-8")
