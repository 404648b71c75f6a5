"""The folder that a trained model is kept in.

    model.json        the ModelCard: what it is, what it was trained on, how good it is, its files
    model.onnx        the network: (input_ids, lengths) -> (logits, token_logits)
    tokenizer.json    the tokenizer, in the format of the `tokenizers` library
    README.md         the same for people

Every kind of network has the same graph inputs and outputs, so that serving does not care which
one it runs: `input_ids` int64 [batch, tokens], `lengths` int32 [batch] (tokens before the
padding), `logits` float32 [batch, labels], `token_logits` float32 [batch, tokens].
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from moderation.errors import ArtifactError

FORMAT = 1
CARD_FILE = "model.json"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(_Frozen):
    """The published weights that the model started from."""

    name: str
    revision: str
    licence: str


class DataSummary(_Frozen):
    """What the model was trained on."""

    fingerprint: str
    rows: int = Field(ge=0)
    sources: dict[str, int] = {}
    teacher: str = ""
    adapter: str = ""


class Calibration(_Frozen):
    """Platt scaling, one pair a label: probability = sigmoid(scale * logit + offset).

    Platt (1999), "Probabilistic outputs for support vector machines". A calibrated probability
    holds for the base rate that it was fitted at; traffic with fewer positives has fewer still.
    """

    scale: tuple[float, ...]
    offset: tuple[float, ...]
    base_rate: tuple[float, ...]
    fitted_on: str

    @model_validator(mode="after")
    def _same_length(self) -> Calibration:
        if not len(self.scale) == len(self.offset) == len(self.base_rate):
            raise ValueError("scale, offset and base_rate must have one number for each label")
        return self


class ModelCard(_Frozen):
    """The contents of model.json."""

    format: int = FORMAT
    name: str
    kind: Literal["lstm", "distilbert"]
    task: Literal["multi_label", "multi_class"]
    labels: tuple[str, ...] = Field(min_length=1)
    languages: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(ge=8, description="Tokens in a window, special tokens included.")
    stride: int = Field(ge=0, description="Tokens that two neighbouring windows share.")
    base: Base | None = None
    data: DataSummary
    seed: int
    command: str
    metrics: dict[str, Any] = {}
    calibration: Calibration
    span_threshold: float | None = Field(
        default=None, gt=0, lt=1, description="A word this toxic is pointed at."
    )
    span_ratio: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="So is a word of this share of what the most toxic word of the text has.",
    )
    files: dict[str, str] = Field(description="File name to its sha256.")

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if len(self.calibration.scale) != len(self.labels):
            raise ValueError(
                f"{len(self.labels)} labels, but calibration for {len(self.calibration.scale)}"
            )
        if self.stride > self.max_length - 4:
            raise ValueError(f"stride {self.stride} is too long for windows of {self.max_length}")
        return self


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_card(path: str | Path) -> ModelCard:
    """Reads model.json and checks every file that it lists against its sha256.

    Raises ArtifactError, naming the file and the remedy, where the folder or a file is missing,
    damaged, or written by a newer version.
    """
    folder = Path(path)
    file = folder / CARD_FILE
    if not folder.is_dir():
        raise ArtifactError(
            f"{folder}: no such model folder; give the path of a folder that holds {CARD_FILE}"
        )
    try:
        content = json.loads(file.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(
            f"{file}: missing, so this folder is not a model; "
            "give the path of a folder that holds one, or copy it again"
        ) from None
    except OSError as error:
        raise ArtifactError(f"{file}: cannot be read ({error.strerror})") from error
    except ValueError:
        raise ArtifactError(f"{file}: not valid JSON; copy the model folder again") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{file}: expected a JSON object; copy the model folder again")
    version = content.get("format")
    if isinstance(version, int) and version > FORMAT:
        raise ArtifactError(
            f"{file}: format {version}, written by a newer version; this version reads up to "
            f"{FORMAT}: upgrade moderation, or export the model again with this version"
        )
    try:
        card = ModelCard.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "model"
        raise ArtifactError(
            f"{file}: {place}: {first['msg']}; copy the model folder again, "
            "or export the model again with this version"
        ) from error
    for name in (GRAPH_FILE, TOKENIZER_FILE):
        if name not in card.files:
            raise ArtifactError(f"{file}: lists no {name}; export the model again")
    for name, expected in card.files.items():
        if Path(name).name != name:
            raise ArtifactError(f"{file}: files.{name}: expected a plain file name")
        try:
            found = sha256(folder / name)
        except FileNotFoundError:
            raise ArtifactError(
                f"{folder / name}: missing, but {CARD_FILE} lists it; copy the model folder again"
            ) from None
        except OSError as error:
            raise ArtifactError(f"{folder / name}: cannot be read ({error.strerror})") from error
        if found != expected:
            raise ArtifactError(
                f"{folder / name}: damaged or replaced: sha256 {found[:12]}…, but {CARD_FILE} says "
                f"{expected[:12]}…; copy the model folder again"
            )
    return card


def fingerprint(path: str | Path, card: ModelCard) -> str:
    """Twelve hex digits that change with any byte of the card or of a file that it lists."""
    digest = hashlib.sha256((Path(path) / CARD_FILE).read_bytes())
    for name in sorted(card.files):
        digest.update(f"{name}:{card.files[name]}\n".encode())
    return digest.hexdigest()[:12]


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A scratch folder beside `path` that takes its place when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield scratch
        scratch.chmod(0o755)
        if path.exists():
            old = scratch.with_suffix(".old")
            path.rename(old)
            scratch.rename(path)
            shutil.rmtree(old)
        else:
            scratch.rename(path)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write_card(folder: Path, fields: Mapping[str, Any]) -> ModelCard:
    """Validates `fields`, adds the sha256 of every file in `folder`, and writes model.json last."""
    files = {
        entry.name: sha256(entry)
        for entry in sorted(folder.iterdir())
        if entry.is_file() and entry.name not in (CARD_FILE, "README.md")
    }
    card = ModelCard.model_validate({**fields, "files": files})
    temporary = folder / f".{CARD_FILE}"
    temporary.write_text(
        json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n",
        encoding="utf-8",
    )
    os.replace(temporary, folder / CARD_FILE)
    return card
