"""Writes docs/cli.md: the help of every command. Run it after changing one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from moderation.cli import main

HEAD = """# Command line

Everything here is printed by `--help`; `python docs/make_cli.py` writes this page.

## Exit status

| status | meaning |
|---|---|
| 0 | every text is allowed |
| 1 | an error in a policy, a plugin or a model; one line on standard error says which |
| 2 | the command itself is wrong |
| 3 | at least one text is for review, none is blocked |
| 4 | at least one text is blocked |
"""


def commands(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from commands(command.commands[name], (*path, name))


def page() -> str:
    sections = [HEAD]
    for path in commands(main, ()):
        command: click.Command = main
        context = click.Context(main, info_name="moderation", terminal_width=80)
        for name in path:
            assert isinstance(command, click.Group)
            command = command.commands[name]
            context = click.Context(command, info_name=name, parent=context, terminal_width=80)
        title = " ".join(("moderation", *path))
        sections.append(f"## `{title}`\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(sections)


if __name__ == "__main__":
    if "--print" in sys.argv:
        sys.stdout.write(page())
    else:
        Path(__file__).with_name("cli.md").write_text(page(), encoding="utf-8")
