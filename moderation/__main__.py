"""`python -m moderation`: the command line."""

from moderation.cli import main

main(prog_name="moderation")
