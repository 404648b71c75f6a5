"""What is moderated: a `Content` of one or more `Part`s, with the conversation before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

from moderation.errors import ContentError

if TYPE_CHECKING:
    from pathlib import Path

    import PIL.Image

    from moderation.image import Picture
    from moderation.normalize import Folded
    from moderation.policy import Images

PartKind = Literal["text", "image", "caption", "ocr"]
PART_KINDS: tuple[str, ...] = get_args(PartKind)

_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Box:
    """Where in an image the characters ``[begin, end)`` of an `ocr` part were read.

    In pixels of the image as it is shown, turned upright. What is in a later frame of an animated
    image is where it stands in that frame.
    """

    begin: int
    end: int
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Part:
    """One judged piece of content.

    `kind` is ``text`` (what a user wrote), ``image``, or what a filter derived from an image:
    ``caption`` and ``ocr``, whose `source` is the index of the image part.

    A lone surrogate, which no UTF-8 output can carry, is read as U+FFFD; offsets stay the same.
    """

    kind: PartKind
    text: str = ""
    image: Any = None
    source: int | None = None
    boxes: tuple[Box, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in PART_KINDS:
            raise ContentError(f"a part's kind is one of {', '.join(PART_KINDS)}")
        if not isinstance(self.text, str):
            raise ContentError(f"a part's text is a str, not {type(self.text).__name__}")
        if self.kind == "image":
            if self.image is None:
                raise ContentError("an image part needs its image")
        elif self.image is not None:
            raise ContentError(f"a {self.kind} part carries text, not an image")
        if self.source is not None and (type(self.source) is not int or self.source < 0):
            raise ContentError("a part's source is the index of a part, or None")
        _clean(self)

    @classmethod
    def from_image(
        cls, source: Path | str | bytes | PIL.Image.Image | Picture, images: Images | None = None
    ) -> Part:
        """An image part out of a file, bytes, a Pillow image, or a data: or https: address.

        A str is always an address and never a file's path, so that what a user sent cannot name a
        file of this machine: give files as `pathlib.Path`. Addresses are fetched only where
        `images.urls` says so; `Moderator.image` reads with the limits of its policy.

        Raises:
            ContentError: it cannot be read as an image, or is beyond the limits.
            MissingExtraError: pillow is not installed.
        """
        from moderation.image import read

        return cls("image", image=read(source, images))

    @cached_property
    def folded(self) -> Folded:
        """The text with disguises undone, computed once for every filter that wants it."""
        from moderation.normalize import fold

        return fold(self.text)

    @cached_property
    def language(self) -> str | None:
        """ISO 639 code of the text's language; None where it cannot be told reliably."""
        from moderation.language import detect

        return detect(self.text)


@dataclass(frozen=True)
class Message:
    """An earlier turn of the conversation: read by guards, never judged itself.

    Lone surrogates are read as in a `Part`.
    """

    role: Literal["user", "assistant"]
    text: str

    def __post_init__(self) -> None:
        if self.role not in ("user", "assistant"):
            raise ContentError("a message's role is 'user' or 'assistant'")
        if not isinstance(self.text, str):
            raise ContentError(f"a message's text is a str, not {type(self.text).__name__}")
        _clean(self)


@dataclass(frozen=True)
class Content:
    """What one verdict is about.

    `language` is an ISO 639 or BCP 47 code where the caller knows it; otherwise it is detected.
    `metadata` is handed to observers and is not read by the engine.
    """

    parts: tuple[Part, ...]
    context: tuple[Message, ...] = ()
    language: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in (("parts", Part), ("context", Message)):
            value = getattr(self, name)
            if not isinstance(value, Iterable):
                raise ContentError(
                    f"a content's {name} are {kind.__name__}s, not a {type(value).__name__}"
                )
            items = tuple(value)
            for item in items:
                if not isinstance(item, kind):
                    raise ContentError(
                        f"a content's {name} are {kind.__name__}s, not {type(item).__name__}"
                    )
            object.__setattr__(self, name, items)
        if not self.parts:
            raise ContentError("content needs at least one part")
        if self.language is not None:
            if not isinstance(self.language, str) or not self.language.strip():
                raise ContentError("a content's language is a code such as 'en', or None")
            object.__setattr__(self, "language", self.language.strip().replace("_", "-").lower())

    @classmethod
    def of(cls, value: Content | Part | str | Iterable[Part]) -> Content:
        """Read a str, a Part, several Parts, or a Content.

        Raises:
            ContentError: `value` is something else; the message names its type only.
        """
        if isinstance(value, str):
            return cls((Part("text", value),))
        if isinstance(value, Content):
            return value
        if isinstance(value, Part):
            return cls((value,))
        if isinstance(value, Iterable) and not isinstance(value, (bytes, bytearray, Mapping)):
            return cls(tuple(value))
        raise ContentError(
            f"expected a str, a Part, Parts or a Content, found {type(value).__name__}; "
            "decode bytes first, and give None or a number as text only if you mean it"
        )

    @property
    def text(self) -> str:
        """The first text part's text, or an empty string."""
        return next((part.text for part in self.parts if part.kind == "text"), "")

    def language_of(self, part: Part) -> str | None:
        """Primary language subtag of a part: what the caller said, else what was detected.

        What a filter derived (a caption) is in that filter's language, not in the caller's. The
        code "und" says that the caller does not know either.
        """
        if self.language is not None and part.source is None:
            primary = self.language.split("-", 1)[0]
            if primary != "und":
                return primary
        return part.language


def _clean(sent: Part | Message) -> None:
    if not sent.text.isascii():
        clean = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", sent.text)
        if clean != sent.text:
            object.__setattr__(sent, "text", clean)
