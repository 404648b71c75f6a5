"""Every hook that a plugin may implement. Mark the implementation with `moderation.hookimpl`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from moderation.content import Content
    from moderation.filter import Filter
    from moderation.verdict import Verdict

PROJECT = "moderation"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def moderation_filters() -> Iterable[type[Filter]]:  # type: ignore[empty-body]
    """Return the filter classes that the plugin brings; a policy's steps name them."""


@hookspec
def moderation_verdict(content: Content, verdict: Verdict) -> None:
    """Observe a verdict after it is final; an error here is logged and changes nothing."""
