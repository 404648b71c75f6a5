"""The filters in the box, offered through the same hook as everybody else's."""

from __future__ import annotations

from moderation.filter import Filter
from moderation.filters.classifier import ClassifierFilter
from moderation.filters.llama_guard import LlamaGuardFilter
from moderation.filters.patterns import PatternsFilter
from moderation.filters.wordlist import WordlistFilter
from moderation.hookspecs import hookimpl


@hookimpl
def moderation_filters() -> list[type[Filter]]:
    """Offer the built-in filters."""
    return [ClassifierFilter, LlamaGuardFilter, PatternsFilter, WordlistFilter]
