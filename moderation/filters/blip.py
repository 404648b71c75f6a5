"""Captions of images by BLIP, as a filter."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, PrivateAttr

from moderation.content import Content, Part
from moderation.errors import ArtifactError, MissingExtraError
from moderation.filter import Filter, Finding
from moderation.hub import Model, ModelName, locate
from moderation.image import Cache, Picture, read

if TYPE_CHECKING:
    import PIL.Image


class BlipFilter(Filter):
    """Says in a sentence what an image shows, and adds the sentence to the content as a caption.

    BLIP (Li et al., 2022, https://arxiv.org/abs/2201.12086), or BLIP-2. A caption describes and
    does not insult: give caption parts a list of their own, such as the shipped `captions`.
    """

    name: ClassVar[str] = "blip"
    parts: ClassVar[frozenset[str]] = frozenset({"image"})

    model: ModelName = "Salesforce/blip-image-captioning-base"
    """Its name on the Hub or a folder (`./blip`)."""
    revision: str | None = None
    """A branch, tag or commit on the Hub."""
    max_tokens: Annotated[int, Field(ge=1, le=200, strict=True)] = 30
    """Length of a caption at most."""
    beams: Annotated[int, Field(ge=1, le=16, strict=True)] = 1
    """Captions that are followed at the same time; the likeliest is kept."""
    batch: Annotated[int, Field(ge=1, strict=True)] = 8
    """Images that go through the model together."""
    cache: Annotated[int, Field(ge=0, strict=True)] = 1024
    """Images whose captions are remembered."""

    _model: Any = PrivateAttr(default=None)
    _processor: Any = PrivateAttr(default=None)
    _tokenizer: Any = PrivateAttr(default=None)
    _lock: Any = PrivateAttr(default_factory=threading.Lock)
    _known: Cache[str] = PrivateAttr(default_factory=lambda: Cache(0))

    def categories(self) -> Iterable[str]:
        return ()

    def models(self) -> Iterable[Model]:
        return [Model.of(self.model, self.revision)]

    def load(self) -> None:
        """Read the model; in half precision where there is a GPU.

        Raises:
            MissingExtraError: torch, transformers or pillow is not installed.
            ArtifactError: the model is not there, or is no BLIP; says what to do.
        """
        folder = locate(Model.of(self.model, self.revision))  # before torch, which takes seconds
        try:
            import PIL.Image  # noqa: F401  # the image processor's own error is a long one
            import torch
            from safetensors import SafetensorError
            from transformers import (
                AutoConfig,
                AutoImageProcessor,
                AutoModelForImageTextToText,
                AutoTokenizer,
            )
        except ImportError as error:
            raise MissingExtraError(
                error.name or "transformers", extra="images", needed_for="the filter blip"
            ) from None
        try:
            kind = AutoConfig.from_pretrained(folder, local_files_only=True).model_type
            if kind not in ("blip", "blip-2"):
                raise ArtifactError(f"{folder}: expected a BLIP model, found one of type {kind!r}")
            load_processor: Any = AutoImageProcessor.from_pretrained  # untyped
            self._processor = load_processor(folder, local_files_only=True)
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model: Any = AutoModelForImageTextToText.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ArtifactError(
                f"{folder}: cannot be loaded as a BLIP model ({error}); fetch it again, or check "
                "that the folder holds the model as published"
            ) from error
        if torch.cuda.is_available():
            model = model.to("cuda", torch.float16)
        self._model = model.eval()
        self._known = Cache(self.cache)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self.name.encode())
        digest.update(f"{self.max_tokens} {self.beams}".encode())
        if self._model is not None:
            for name, weights in sorted(self._model.state_dict().items()):
                sample = weights.flatten()[:: max(1, weights.numel() // 64)].float().cpu().numpy()
                digest.update(f"{name} {tuple(weights.shape)}".encode() + sample.tobytes())
        return digest.hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        pictures = [[read(part.image) for part in content.parts] for content in contents]
        flat = [picture for row in pictures for picture in row]
        captions = iter(self._known(flat, self._describe))
        return [
            [
                Part("caption", caption, source=index)
                for index, caption in enumerate([next(captions) for _ in row])
                if caption
            ]
            for row in pictures
        ]

    def _describe(self, pictures: Sequence[Picture]) -> list[str]:
        """A line for each frame of a picture; equal ones once."""
        frames = [frame for picture in pictures for frame in picture.frames]
        captions = iter(
            caption
            for begin in range(0, len(frames), self.batch)
            for caption in self._generate(frames[begin : begin + self.batch])
        )
        return [
            "\n".join(dict.fromkeys(caption for _ in picture.frames if (caption := next(captions))))
            for picture in pictures
        ]

    def _generate(self, frames: Sequence[PIL.Image.Image]) -> list[str]:
        import torch

        assert self._model is not None, "load() comes before check_batch()"
        pixels = self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
        # Generation keeps state beside the weights; the cores are busy with one batch anyway.
        with self._lock, torch.inference_mode():
            tokens = self._model.generate(
                pixel_values=pixels.to(self._model.device, self._model.dtype),
                max_new_tokens=self.max_tokens,
                num_beams=self.beams,
                do_sample=False,
            )
        told = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        return [" ".join(caption.split()) for caption in told]
