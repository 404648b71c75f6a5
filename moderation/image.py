"""Images as they come in: read within limits, turned upright, and made plain RGB.

What can be known without decoding is checked before: bytes, pixels, frames, the kind of file. What
cannot be shown the way a browser would show it (a file cut short, one that is not what it says it
is) is refused instead of guessed at, since a filter has to see what people will see.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import stat
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import unquote_to_bytes

from moderation.errors import ContentError, MissingExtraError
from moderation.policy import Images

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

MAX_ANIMATION = 2
"""How many times `max_pixels` all frames of an animated image may have together."""
MAX_FRAMES = 2_000
MAX_SCANS = 100
"""Passes over a progressive JPEG. Encoders make ten; thousands in a small file take minutes."""

# Nothing that runs another program or a language of its own (EPS, PDF, SVG) is among them.
_FORMATS = {
    "JPEG": ({".jpg", ".jpeg", ".jpe", ".jfif"}, {"image/jpeg", "image/jpg", "image/pjpeg"}),
    "PNG": ({".png", ".apng"}, {"image/png", "image/apng", "image/x-png"}),
    "GIF": ({".gif"}, {"image/gif"}),
    "WEBP": ({".webp"}, {"image/webp"}),
    "AVIF": ({".avif", ".avifs"}, {"image/avif"}),
    "BMP": ({".bmp", ".dib"}, {"image/bmp", "image/x-ms-bmp"}),
    "TIFF": ({".tif", ".tiff"}, {"image/tiff"}),
}
# A marker, as against a stuffed 0xFF, a fill byte and the restarts inside a scan.
_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
_THUMB = 64
_UNLIKE = 24
"""Difference, of 255, in one cell of a thumbnail from which two views are looked at apart."""

_T = TypeVar("_T")
_V = TypeVar("_V")


@dataclass(frozen=True)
class Picture:
    """An image, ready to be looked at.

    `frames` are what there is to see, all RGB and upright: one for most images; for an animated
    one the frames that differ most; for one with transparency how it looks on white and on black,
    since words may show on one of them only.
    `digest` is equal for equal frames, whatever file they came in.
    """

    frames: tuple[PIL.Image.Image, ...] = field(compare=False, repr=False)
    digest: str

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.frames[0].size


def read(source: Any, images: Images | None = None) -> Picture:
    """An image out of a path, bytes, a Pillow image, or a data: or https: address.

    A str is always an address. A file's ending, an address's media type and the bytes have to
    agree on the kind of image.

    Raises:
        ContentError: it is no image of a known kind, is damaged, is not what it says it is, or is
            beyond `images`; names neither file nor address.
        MissingExtraError: pillow is not installed.
    """
    images = images or Images()
    if isinstance(source, Picture):
        return source
    try:
        import PIL.Image
    except ImportError:
        raise MissingExtraError("pillow", extra="images", needed_for="an image") from None

    if isinstance(source, PIL.Image.Image):
        return _decode(source, images)
    declared = None
    if isinstance(source, str):
        data, media = _address(source, images)
        if media and media != "application/octet-stream":
            declared = next((name for name, (_, known) in _FORMATS.items() if media in known), "")
            if declared == "":
                raise ContentError(
                    f"expected one of {', '.join(_FORMATS)}, found another media type declared"
                )
    elif isinstance(source, PathLike):
        path = Path(source)
        data = _file(path, images)
        suffix = path.suffix.lower()
        declared = next((name for name, (known, _) in _FORMATS.items() if suffix in known), None)
    elif isinstance(source, (bytes, bytearray, memoryview)):
        data = bytes(source)
    else:
        raise ContentError(
            "expected an image as a path, bytes, a Pillow image or an address, "
            f"found {type(source).__name__}"
        )
    if len(data) > images.max_bytes:
        raise _too_long(images)
    return _open(data, declared, images)


class Cache(Generic[_V]):
    """What was found out about the last `size` images, by their digest. Thread-safe."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._known: OrderedDict[str, _V] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(
        self, pictures: Sequence[Picture], work: Callable[[list[Picture]], Iterable[_V]]
    ) -> list[_V]:
        """What `work` says of each picture; it is asked only once about equal ones."""
        found: dict[str, _V] = {}
        missing: dict[str, Picture] = {}
        with self._lock:
            for picture in pictures:
                if picture.digest in self._known:
                    self._known.move_to_end(picture.digest)
                    found[picture.digest] = self._known[picture.digest]
                else:
                    missing[picture.digest] = picture
        if missing:
            new = dict(zip(missing, work(list(missing.values())), strict=True))
            found |= new
            with self._lock:
                self._known |= new
                while len(self._known) > self._size:
                    self._known.popitem(last=False)
        return [found[picture.digest] for picture in pictures]


def _address(address: str, images: Images) -> tuple[bytes, str]:
    """The bytes behind an address, and the media type that it says they have."""
    scheme = address[:8].partition(":")[0].lower()
    if scheme == "data":
        return _data_url(address, images)
    if scheme in ("http", "https"):
        if not images.urls:
            raise ContentError(
                "addresses of images are not fetched here; send the image itself, or set "
                "images.urls in the policy"
            )
        from moderation.fetch import fetch

        return fetch(address, max_bytes=images.max_bytes, timeout=images.timeout)
    raise ContentError(
        "expected a data: or https: address, found another str; give a file as a pathlib.Path"
    )


def _data_url(address: str, images: Images) -> tuple[bytes, str]:
    """RFC 2397."""
    if len(address) > 3 * images.max_bytes + 200:  # percent-encoded, at the longest
        raise _too_long(images)
    head, comma, body = address.partition(",")
    if not comma or not address.isascii():
        raise ContentError("the data: address is not one; expected data:image/png;base64,…")
    media, *parameters = (piece.strip().lower() for piece in head[5:].split(";"))
    data = unquote_to_bytes(body)
    if "base64" in parameters:
        try:
            # White space may stand in it, padding may be left out, nothing else may go wrong.
            data = b"".join(data.split()).rstrip(b"=")
            data = base64.b64decode(data + b"=" * (-len(data) % 4), validate=True)
        except (ValueError, binascii.Error):
            raise ContentError("the data: address holds something that is not base64") from None
    return data, media


def _file(path: Path, images: Images) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise ContentError("expected an image file, found something that is no file")
        with path.open("rb") as file:
            return file.read(images.max_bytes + 1)
    except OSError as error:
        raise ContentError(f"the image file cannot be read: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise ContentError("expected a path, found a character that none has") from None


def _open(data: bytes, declared: str | None, images: Images) -> Picture:
    import PIL.Image

    PIL.Image.init()
    formats = [name for name in (*_FORMATS, "MPO") if name in PIL.Image.OPEN]
    if data[:2] == b"\xff\xd8" and _scans(data) > MAX_SCANS:
        raise ContentError(f"expected a JPEG of at most {MAX_SCANS} scans, found more")
    try:
        image = PIL.Image.open(BytesIO(data), formats=formats)
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
        raise _too_large(images) from None
    except Exception:  # noqa: BLE001  # decoders raise anything
        raise ContentError(
            f"expected an image ({', '.join(_FORMATS)}), found bytes that cannot be read as one"
        ) from None
    with image:
        # A photo with a second image behind it, as telephones make them: the first is what shows.
        found = "JPEG" if image.format == "MPO" else image.format
        if declared is not None and found != declared:
            raise ContentError(f"the image says that it is {declared} and is {found}")
        return _decode(image, images, several=image.format != "MPO")


def _decode(image: PIL.Image.Image, images: Images, *, several: bool = True) -> Picture:
    try:
        place = image.tell()
        frames = _pick(lambda: _views(image, images, several), images.frames)
        image.seek(place)
    except ContentError:
        raise
    except Exception as error:  # noqa: BLE001  # decoders raise anything
        raise ContentError(
            f"the image is damaged or cut short: {type(error).__name__} while decoding it"
        ) from None
    digest = hashlib.blake2b(digest_size=16)
    for frame in frames:
        digest.update(b"%d %d " % frame.size)
        digest.update(frame.tobytes())
    return Picture(tuple(frames), digest.hexdigest())


def _pick(views: Callable[[], Iterator[PIL.Image.Image]], most: int) -> list[PIL.Image.Image]:
    """The first view, then whichever differs most from all picked so far; in their order."""
    kept: list[PIL.Image.Image] = []
    thumbs: list[NDArray[np.float32]] = []
    for number, view in enumerate(views()):
        thumbs.append(_thumb(view))
        if number < most:
            kept.append(view)
    picked = {0}
    distances = [_distance(thumb, thumbs[0]) for thumb in thumbs]
    while len(picked) < max(most, 2 if len(thumbs) == 2 else 1) and any(distances):
        farthest = max(range(len(thumbs)), key=distances.__getitem__)
        picked.add(farthest)
        distances = [
            min(known, _distance(thumb, thumbs[farthest]))
            for known, thumb in zip(distances, thumbs, strict=True)
        ]
    # Only thumbnails of all of them were kept: where there were many, they are decoded once more.
    again = kept if len(kept) == len(thumbs) else views()
    return [view for number, view in enumerate(again) if number in picked]


def _views(image: PIL.Image.Image, images: Images, several: bool) -> Iterator[PIL.Image.Image]:
    """Every frame as it is seen, upright and RGB."""
    total = 0
    for number in range(MAX_FRAMES + 1):
        try:
            if several or number == 0:
                image.seek(number)
            else:
                return
        except EOFError:
            return
        pixels = image.width * image.height  # every page of a TIFF has a size of its own
        total += pixels
        if not pixels:
            raise ContentError("expected an image, found one without a pixel")
        if pixels > images.max_pixels:
            raise _too_large(images)
        if total > max(MAX_ANIMATION * images.max_pixels, pixels) or number == MAX_FRAMES:
            raise ContentError(
                f"expected an animation of at most {MAX_FRAMES:,} frames and "
                f"{MAX_ANIMATION * images.max_pixels:,} pixels in all of them, found more"
            )
        yield from _as_seen(image)


def _as_seen(frame: PIL.Image.Image) -> Iterator[PIL.Image.Image]:
    from PIL import Image, ImageOps

    upright = ImageOps.exif_transpose(frame)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        upright = _eight_bits(upright)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        if upright.getchannel("A").getextrema() != (255, 255):
            for colour in ("white", "black"):
                ground = Image.new("RGBA", upright.size, colour)
                ground.alpha_composite(upright)
                yield ground.convert("RGB")
            return
    yield upright.convert("RGB")


def _eight_bits(frame: PIL.Image.Image) -> PIL.Image.Image:
    """Pillow's own conversion would cut off everything above 255 instead of scaling it."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(frame, np.float64), posinf=0.0, neginf=0.0)
    low, high = 0.0, 65535.0
    if frame.mode == "F" or values.max() > high or values.min() < low:
        low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / max(high - low, 1e-9))).astype(np.uint8))


def _thumb(view: PIL.Image.Image) -> NDArray[np.float32]:
    import numpy as np
    from PIL import Image

    small = view.convert("L").resize((_THUMB, _THUMB), Image.Resampling.BOX)
    return np.asarray(small, np.float32)


def _distance(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Root of the mean square difference; 0 where no cell differs enough to look twice."""
    difference = abs(one - other)
    if difference.max() < _UNLIKE:
        return 0.0
    return float((difference**2).mean() ** 0.5)


def _scans(data: bytes) -> int:
    """How often a JPEG goes over its picture, as far as `MAX_SCANS` and one more."""
    at, scans = 2, 0
    while scans <= MAX_SCANS and (marker := _MARKER.search(data, at)) is not None:
        kind = data[marker.start() + 1]
        if kind == 0xD9:  # the end of the image: what stands behind it is never shown
            break
        at = marker.end()
        if kind not in (0x01, 0xD8):
            # A segment, which may hold a thumbnail with scans of its own, is stepped over.
            at += int.from_bytes(data[at : at + 2], "big")
            scans += kind == 0xDA
    return scans


def _too_long(images: Images) -> ContentError:
    return ContentError(f"expected an image of at most {images.max_bytes:,} bytes, found more")


def _too_large(images: Images) -> ContentError:
    return ContentError(f"expected an image of at most {images.max_pixels:,} pixels, found more")
