"""The Batch tab: a file through a policy, and two policies side by side."""

from __future__ import annotations

from moderation.ui.desk import Desk


def tab(desk: Desk) -> None:
    """Lay out the tab inside of the Blocks that are open."""
