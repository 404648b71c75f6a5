"""Content moderation: content through an ordered chain of filters to one verdict.

>>> import moderation
>>> moderation.Moderator().moderate("have a nice day").flagged
False
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moderation.content import Content, Message, Part
    from moderation.engine import Moderator
    from moderation.errors import ConfigError, FilterError, ModerationError
    from moderation.filter import Filter, TextFilter
    from moderation.hookspecs import hookimpl
    from moderation.policy import Policy, Step, Thresholds
    from moderation.verdict import Action, Signal, StepTrace, Verdict, verdict_schema

__version__ = "0.1.0"

# Imported at first use, so that `import moderation` costs less than pydantic's own start.
_HOMES = {
    "Action": "verdict",
    "ConfigError": "errors",
    "Content": "content",
    "Filter": "filter",
    "FilterError": "errors",
    "Message": "content",
    "ModerationError": "errors",
    "Moderator": "engine",
    "Part": "content",
    "Policy": "policy",
    "Signal": "verdict",
    "Step": "policy",
    "StepTrace": "verdict",
    "TextFilter": "filter",
    "Thresholds": "policy",
    "Verdict": "verdict",
    "hookimpl": "hookspecs",
    "verdict_schema": "verdict",
}

__all__ = [
    "Action",
    "ConfigError",
    "Content",
    "Filter",
    "FilterError",
    "Message",
    "ModerationError",
    "Moderator",
    "Part",
    "Policy",
    "Signal",
    "Step",
    "StepTrace",
    "TextFilter",
    "Thresholds",
    "Verdict",
    "hookimpl",
    "verdict_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
