"""The filters in the box, offered through the same hook as everybody else's."""

from __future__ import annotations

from moderation.filter import Filter
from moderation.filters.blip import BlipFilter
from moderation.filters.classifier import ClassifierFilter
from moderation.filters.imagehash import ImageHashFilter
from moderation.filters.llama_guard import LlamaGuardFilter
from moderation.filters.ocr import OcrFilter
from moderation.filters.patterns import PatternsFilter
from moderation.filters.wordlist import WordlistFilter
from moderation.hookspecs import hookimpl


@hookimpl
def moderation_filters() -> list[type[Filter]]:
    """Offer the built-in filters."""
    return [
        BlipFilter,
        ClassifierFilter,
        ImageHashFilter,
        LlamaGuardFilter,
        OcrFilter,
        PatternsFilter,
        WordlistFilter,
    ]
