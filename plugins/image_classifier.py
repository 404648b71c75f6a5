import hashlib
from typing import Any

from pydantic import Field, PrivateAttr

from moderation import Filter, Signal, hookimpl
from moderation.errors import ArtifactError, ConfigError, MissingExtraError
from moderation.hub import Model, ModelName, locate
from moderation.image import Cache, read


class ImageClassifier(Filter):
    """Judges what an image shows with any image-classification model of the Hugging Face Hub.

    An example is Falconsai/nsfw_image_detection (Apache-2.0; labels `normal` and `nsfw`):
    `{model: Falconsai/nsfw_image_detection, labels: {nsfw: sexual}}`.
    """

    name = "image_classifier"
    parts = frozenset({"image"})

    model: ModelName = Field(description="its name on the Hub, or a folder: ./my-model")
    labels: dict[str, str] = Field(
        min_length=1, description="category that each label of the model is reported as"
    )
    revision: str | None = Field(None, description="a branch, tag or commit on the Hub")
    batch: int = Field(8, ge=1, description="images that go through the model together")
    cache: int = Field(1024, ge=0, description="images whose scores are remembered")

    _model: Any = PrivateAttr(default=None)
    _processor: Any = PrivateAttr(default=None)
    _known: Any = PrivateAttr(default=None)

    def categories(self):
        return set(self.labels.values())

    def models(self):
        return [Model.of(self.model, self.revision)]

    def load(self):
        folder = locate(Model.of(self.model, self.revision))  # before torch, which takes seconds
        try:
            import torch
            from safetensors import SafetensorError
            from transformers import AutoImageProcessor, AutoModelForImageClassification
        except ImportError as error:
            raise MissingExtraError(
                error.name or "transformers", extra="images", needed_for="image_classifier"
            ) from None
        try:
            self._processor = AutoImageProcessor.from_pretrained(folder, local_files_only=True)
            model = AutoModelForImageClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            raise ArtifactError(f"{folder}: no image-classification model: {error}") from error
        known = model.config.label2id
        for label in self.labels:
            if label not in known:
                raise ConfigError(f"labels: the model has no {label!r}; it has {', '.join(known)}")
        if torch.cuda.is_available():
            model = model.to("cuda", torch.float16)
        self._model = model.eval()
        self._known = Cache(self.cache)

    def fingerprint(self):
        digest = hashlib.sha256(super().fingerprint().encode())
        for name, weights in sorted(self._model.state_dict().items() if self._model else ()):
            sample = weights.flatten()[:: max(1, weights.numel() // 64)].float().cpu().numpy()
            digest.update(name.encode() + sample.tobytes())
        return digest.hexdigest()[:12]

    def check_batch(self, contents):
        pictures = [[read(part.image) for part in content.parts] for content in contents]
        scores = iter(self._known([one for row in pictures for one in row], self._score))
        return [
            [
                Signal(category, score, part=index, reason=f"label {label}")
                for index, scored in enumerate([next(scores) for _ in row])
                for category, (score, label) in scored.items()
            ]
            for row in pictures
        ]

    def _score(self, pictures):
        """For each picture the highest score of each category, over its frames, and its label."""
        frames = [frame for picture in pictures for frame in picture.frames]
        rows = iter(
            [
                row
                for at in range(0, len(frames), self.batch)
                for row in self._probabilities(frames[at : at + self.batch])
            ]
        )
        for picture in pictures:
            best = {}
            for row in [next(rows) for _ in picture.frames]:
                for label, category in self.labels.items():
                    score = row[self._model.config.label2id[label]]
                    best[category] = max(best.get(category, (0.0, label)), (score, label))
            yield best

    def _probabilities(self, frames):
        import torch

        pixels = self._processor(images=frames, return_tensors="pt")["pixel_values"]
        with torch.inference_mode():
            logits = self._model(pixels.to(self._model.device, self._model.dtype)).logits.float()
        several = self._model.config.problem_type == "multi_label_classification"
        return (logits.sigmoid() if several else logits.softmax(-1)).tolist()


@hookimpl
def moderation_filters():
    return [ImageClassifier]
