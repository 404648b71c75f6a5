"""What the tabs share: the policies to choose from, and what this visit has looked at."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from moderation.engine import Moderator
from moderation.errors import ConfigError, ModerationError
from moderation.policy import Policy, did_you_mean, shipped_policies
from moderation.ui.lineup import GUARD_URL, guarded_policy

VISIT = 3600
"""Seconds that the state of a visit is kept without being used."""


class Desk:
    """Policies by name, read at first use and kept, and the state of one visit.

    To be made inside of Blocks: its states belong to them. A state holds something else for every
    visitor, and is gone when the visit ends.
    """

    checked: gr.State
    """The last `Verdict` of the Check tab, or None."""
    name: gr.State
    """Name of the policy that it came from."""

    def __init__(
        self, policies: Sequence[str | Path] = (), *, default: str = "", plugins: Sequence[Any] = ()
    ) -> None:
        chosen = policies or shipped_policies()
        self._sources: dict[str, str | Path | Policy] = {str(policy): policy for policy in chosen}
        if not policies and os.environ.get(GUARD_URL):
            self._sources["guarded"] = guarded_policy()
        self.names: list[str] = list(self._sources)
        first = "default" if "default" in self.names else self.names[0]
        self.default: str = default or first
        """Name of the policy that is chosen at first."""
        if self.default not in self.names:
            raise ConfigError(
                f"no policy named {self.default!r} on the page; "
                f"{did_you_mean(self.default, self.names)}"
            )
        self.plugins = tuple(plugins)
        self._moderators: dict[str, Moderator] = {}
        self._lock = threading.Lock()
        self._uploads: dict[str, set[Path]] = {}
        self.checked = gr.State(None, time_to_live=VISIT)
        self.name = gr.State(self.default, time_to_live=VISIT)

    def moderator(self, name: str) -> Moderator:
        """The loaded moderator of a policy: one for all visitors, since it keeps nothing of them.

        Raises:
            ModerationError: there is no such policy, or it cannot be used; says what to do.
        """
        moderator = self.unloaded(name)
        moderator.load()  # at once where it has been loaded
        return moderator

    def unloaded(self, name: str) -> Moderator:
        """The same, whether or not it has been loaded.

        Raises: as `moderator`.
        """
        if name not in self._sources:
            raise ConfigError(
                f"no policy named {name[:60]!r} on the page; {did_you_mean(name[:60], self.names)}"
            )
        with self._lock:
            if name not in self._moderators:
                self._moderators[name] = Moderator(self._sources[name], plugins=self.plugins)
            return self._moderators[name]

    def warm(self) -> None:
        """Load the default policy and what its first verdict would wait for, in a thread."""

        def run() -> None:
            # A policy that cannot be used says so to whoever chooses it.
            with suppress(ModerationError):
                self.moderator(self.default).moderate("n0w w.a.r.m, pl3ase")

        threading.Thread(target=run, daemon=True).start()

    def dropdown(self, label: str = "Policy", **more: Any) -> gr.Dropdown:
        """A choice among the policies, that starts at the default one."""
        return gr.Dropdown(
            choices=list(self.names), value=self.default, label=label, filterable=False, **more
        )

    def keep(self, path: str | Path, request: gr.Request) -> None:
        """Remember a file that this visit has uploaded, for `forget`."""
        visit = str(request.session_hash)
        with self._lock:
            self._uploads.setdefault(visit, set()).add(Path(path))

    def forget(self, request: gr.Request) -> None:
        """Delete what this visit has uploaded: to be called when it ends."""
        with self._lock:
            paths = self._uploads.pop(str(request.session_hash), set())
            paths -= {path for others in self._uploads.values() for path in others}
        for path in paths:
            path.unlink(missing_ok=True)
