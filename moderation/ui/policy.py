"""The Policy tab: what other thresholds and steps would change."""

from __future__ import annotations

from moderation.ui.desk import Desk


def tab(desk: Desk) -> None:
    """Lay out the tab inside of the Blocks that are open."""
