"""Appends every verdict to a file, one JSON object a line, without the texts."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from moderation import Content, ModerationError, Verdict, hookimpl

__all__ = ["VARIABLE", "Audit", "AuditError", "record"]

VARIABLE = "MODERATION_AUDIT_FILE"
"""The environment variable that holds the file's path."""


class AuditError(ModerationError):
    """The audit file cannot be written."""


class Audit:
    """An observer that appends to the file `path`. Threads and processes may share the file.

    Raises:
        AuditError: the file cannot be opened for appending.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        # Absolute, so that a later change of the working directory does not start a second file.
        self.path = Path(path).absolute()
        try:
            os.close(self._open())
        except OSError as error:
            raise AuditError(
                f"the audit file {self.path} cannot be opened for appending: {error.strerror}"
            ) from None

    @classmethod
    def from_environment(cls) -> Audit:
        """The observer whose path the environment variable `VARIABLE` holds.

        Raises:
            AuditError: it is not set, or the file cannot be opened for appending.
        """
        path = os.environ.get(VARIABLE)
        if not path:
            raise AuditError(
                f"the environment variable {VARIABLE} is not set; "
                "set it to the file that verdicts are appended to"
            )
        return cls(path)

    @hookimpl
    def moderation_verdict(self, content: Content, verdict: Verdict) -> None:
        line = json.dumps(record(content, verdict), ensure_ascii=False, separators=(",", ":"))
        data = line.encode() + b"\n"
        # One write to a file opened for appending: lines of several writers do not mix. Opened
        # anew each time, so that whoever moves the file away finds the next line in a new one.
        descriptor = self._open()
        try:
            written = os.write(descriptor, data)
        finally:
            os.close(descriptor)
        if written != len(data):
            raise AuditError(f"only a part of a line fitted into {self.path}")

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def record(content: Content, verdict: Verdict) -> dict[str, Any]:
    """One line of the file: the time, the caller's `id` for the content, and the verdict.

    `Verdict.to_dict` leaves the texts out. The words in which a filter explains a signal go too:
    a word list may name the word that it found.
    """
    told = verdict.to_dict()
    for signal in told["signals"]:
        del signal["reason"]
    name = content.metadata.get("id")
    return {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "id": name if isinstance(name, (str, int)) else None,
        **told,
    }
