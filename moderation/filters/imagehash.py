"""Images that are known already, found again by their perceptual hash, as a filter."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

from pydantic import Field, PrivateAttr

from moderation.content import Content
from moderation.errors import ConfigError, ContentError, MissingExtraError
from moderation.filter import Filter, Finding, ResourcePath
from moderation.image import Cache, Picture, read
from moderation.verdict import Signal

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

BITS = 256
MAX_LIST_BYTES = 200_000_000

_SIDE = 16
_FLAT = 4.0
"""Standard deviation, of 255, below which an image shows nothing that could be known again."""
_CATEGORY = r"[\w./-]+"
_LINE = re.compile(rf"([0-9a-fA-F]{{{BITS // 4}}})\s+({_CATEGORY})")


class _Match(NamedTuple):
    category: str
    distance: int
    line: int
    source: str


class ImageHashFilter(Filter):
    """Reports images that look like one of a list, whatever became of their size or quality.

    pHash (the signs of the lowest frequencies of the cosine transform; Zauner, 2010) of 256 bits.
    It survives scaling, compression, slight changes of colour and small captions, not cropping or
    turning; the list is also compared with the image's mirror image.
    """

    name: ClassVar[str] = "imagehash"
    parts: ClassVar[frozenset[str]] = frozenset({"image"})

    lists: Annotated[tuple[ResourcePath, ...], Field(min_length=1)]
    """Files of hashes, as `moderation hash` makes them."""
    max_distance: Annotated[int, Field(ge=0, le=80, strict=True)] = 48
    """Bits, of 256, in which an image may differ from a listed one; unrelated ones differ in 128,
    give or take 30."""
    cache: Annotated[int, Field(ge=0, strict=True)] = 1024
    """Images whose hashes are remembered."""

    _listed: dict[str, tuple[str, int, str]] | None = PrivateAttr(default=None)
    _bits: NDArray[np.uint8] | None = PrivateAttr(default=None)
    _known: Cache[list[_Match]] = PrivateAttr(default_factory=lambda: Cache(0))

    def categories(self) -> Iterable[str]:
        """The categories of the lists.

        Raises:
            ConfigError: a list is missing or cannot be used; names the file and the line.
        """
        return {category for category, _, _ in self._read_lists().values()}

    def load(self) -> None:
        import numpy as np

        _library()
        listed = self._read_lists()
        packed = b"".join(map(bytes.fromhex, listed))
        self._bits = np.frombuffer(packed, np.uint8).reshape(-1, BITS // 8)
        self._known = Cache(self.cache)

    def fingerprint(self) -> str:
        said = sorted(f"{hash_} {entry[0]}" for hash_, entry in self._read_lists().items())
        told = "\n".join([self.name, str(self.max_distance), *said])
        return hashlib.sha256(told.encode()).hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        pictures = [[read(part.image) for part in content.parts] for content in contents]
        flat = [picture for row in pictures for picture in row]
        matches = iter(self._known(flat, lambda new: map(self._matches, new)))
        return [
            [
                Signal(
                    match.category,
                    1 - match.distance / BITS,
                    None,
                    index,
                    f"{match.source}, line {match.line}: {match.distance} bits of {BITS} differ",
                )
                for index, found in enumerate([next(matches) for _ in row])
                for match in found
            ]
            for row in pictures
        ]

    def _matches(self, picture: Picture) -> list[_Match]:
        """The nearest listed image of each category."""
        import numpy as np

        assert self._bits is not None, "load() comes before check_batch()"
        nearest: dict[str, _Match] = {}
        entries = list(self._read_lists().values())
        for frame in picture.frames:
            for hash_ in _hashes(frame):
                own = np.frombuffer(bytes.fromhex(hash_), np.uint8)
                distances = np.unpackbits(self._bits ^ own, axis=1).sum(axis=1, dtype=np.int32)
                for at in np.flatnonzero(distances <= self.max_distance).tolist():
                    category, line, source = entries[at]
                    match = _Match(category, int(distances[at]), line, source)
                    if category not in nearest or match.distance < nearest[category].distance:
                        nearest[category] = match
        return sorted(nearest.values())

    def _read_lists(self) -> dict[str, tuple[str, int, str]]:
        """Category, line and file's name of each listed hash."""
        if self._listed is None:
            listed: dict[str, tuple[str, int, str]] = {}
            for path in self.lists:
                for hash_, category, line in _read_list(path):
                    earlier = listed.setdefault(hash_, (category, line, path.stem))
                    if earlier[0] != category:
                        raise ConfigError(
                            f"the hash is listed as {category} here and as {earlier[0]} in line "
                            f"{earlier[1]} of {earlier[2]}; keep one of them",
                            where=f"{path}, line {line}",
                        )
            self._listed = listed
        return self._listed


def entry(picture: Picture, category: str) -> str:
    """The line of a list that stands for a picture: the hash of its first frame and a category.

    Raises:
        ConfigError: a category is one word.
        ContentError: the picture is of one colour, more or less, and would match every other such.
        MissingExtraError: ImageHash is not installed.
    """
    if not re.fullmatch(_CATEGORY, category):
        raise ConfigError("expected a category of letters, digits and _ . / -, found another one")
    hashes = _hashes(picture.frames[0])
    if not hashes:
        raise ContentError("shows next to nothing; its hash would match every other blank image")
    return f"{hashes[0]} {category}"


def _hashes(frame: PIL.Image.Image) -> list[str]:
    """The hashes of a frame and of its mirror image; none where it is blank."""
    from PIL import Image, ImageOps, ImageStat

    phash = _library()
    # Far smaller first: what is left of a large image is the same, in a tenth of the time.
    small = frame.convert("L").resize((128, 128), Image.Resampling.BOX)
    if ImageStat.Stat(small).stddev[0] < _FLAT:
        return []
    return [str(phash(view, hash_size=_SIDE)) for view in (small, ImageOps.mirror(small))]


def _library() -> Callable[..., object]:
    try:
        from imagehash import phash
    except ImportError:
        raise MissingExtraError(
            "ImageHash", extra="images", needed_for="comparing images with a list"
        ) from None
    return phash


def _read_list(path: Path) -> list[tuple[str, str, int]]:
    """Hash, category and line of each entry of a file of hashes."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_LIST_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            "expected a file of image hashes, found no file there; "
            "`moderation hash --category NAME IMAGE… > FILE` makes one",
            where=str(path),
        ) from None
    except OSError as error:
        raise ConfigError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(data) > MAX_LIST_BYTES:
        raise ConfigError(f"expected at most {MAX_LIST_BYTES:,} bytes", where=str(path))
    entries = []
    for number, raw in enumerate(data.decode("utf-8-sig", "replace").splitlines(), start=1):
        line = raw.partition("#")[0].strip()
        if not line:
            continue
        entry = _LINE.fullmatch(line)
        if entry is None:
            raise ConfigError(
                f"expected {BITS // 4} hexadecimal digits and a category, found something else",
                where=f"{path}, line {number}",
            )
        entries.append((entry[1].lower(), entry[2], number))
    if not entries:
        raise ConfigError("expected hashes of images, found none", where=str(path))
    return entries
