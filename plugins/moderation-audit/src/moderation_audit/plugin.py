"""What the entry point names: importing it opens the file, so that a wrong path is told at once."""

from moderation_audit import Audit

audit = Audit.from_environment()
