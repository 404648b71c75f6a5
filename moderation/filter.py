"""What a plugin author subclasses: `TextFilter` for text, `Filter` for anything else."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationInfo

from moderation.content import Content, Part
from moderation.errors import FilterError
from moderation.verdict import Signal

if TYPE_CHECKING:
    from moderation.hub import Model

Finding: TypeAlias = Signal | Part


def _beside_policy(value: object, info: ValidationInfo) -> object:
    base = (info.context or {}).get("folder")
    if isinstance(value, str) and base is not None and not Path(value).is_absolute():
        return base / value
    return value


ResourcePath = Annotated[
    Path, BeforeValidator(_beside_policy), PlainSerializer(lambda path: path.name, return_type=str)
]
"""A path option; a relative one is read from the folder of the policy file that names it."""


class Filter(BaseModel, ABC):
    """One kind of check. Its fields are its options in the policy file.

    A subclass sets `name`, declares its categories and implements `check_batch`. Instances are
    immutable; what `load` builds goes into private attributes. The engine may call a filter from
    several threads at once.

    A filter may raise anything: the policy says what a failure means, and the trace names its type
    and place. The message is shown only where it is a `ModerationError`, so keep texts out of it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: ClassVar[str]
    parts: ClassVar[frozenset[str]] = frozenset({"text", "caption", "ocr"})
    """Kinds of part that it reads, unless the policy's step says otherwise."""

    @abstractmethod
    def categories(self) -> Iterable[str]:
        """Every category that it may report."""

    def languages(self) -> Iterable[str] | None:
        """ISO 639 codes of the languages that it reads; None for any."""
        return None

    def models(self) -> Iterable[Model]:
        """Trained models that `load` reads, for `moderation models`."""
        return ()

    def load(self) -> None:
        """Bring in what is heavy: called once, before the first `check_batch`."""

    def fingerprint(self) -> str:
        """What it judges with, in 12 hexadecimal digits: of its options, unless overridden."""
        options = self.model_dump(mode="json")
        for name in options:
            if isinstance(getattr(self, name), (set, frozenset)):  # in no order of their own
                options[name] = sorted(options[name], key=json.dumps)
        told = json.dumps(options, sort_keys=True)
        return hashlib.sha256(f"{self.name} {told}".encode()).hexdigest()[:12]

    @abstractmethod
    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        """Findings for each content, in order.

        A `Signal` judges the part at its index; a `Part` is added to the content, with `source`
        the index of the part that it was derived from. Blank texts and kinds that the step does
        not read have been taken out before.
        """


class TextFilter(Filter):
    """A filter that looks at one text at a time: implement `check`."""

    @abstractmethod
    def check(self, text: str) -> Iterable[Signal]:
        """Signals about one text, with spans in characters of `text`."""

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        rows: list[list[Finding]] = []
        for content in contents:
            row: list[Finding] = []
            for index, part in enumerate(content.parts):
                found = self.check(part.text)
                if not isinstance(found, Iterable):
                    raise FilterError(
                        f"check returned {type(found).__name__}; return a list of Signals, an "
                        "empty one where nothing is found"
                    )
                for signal in found:
                    if not isinstance(signal, Signal):
                        raise FilterError(
                            f"check found {type(signal).__name__}; it finds Signals only"
                        )
                    row.append(signal._replace(part=index))
            rows.append(row)
        return rows
