"""What to train, on what, and how: the contents of a training recipe in YAML."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from moderation.errors import ConfigError
from moderation.policy import did_you_mean, load_yaml

Fraction = Annotated[float, Field(ge=0, le=1)]
Dropout = Annotated[float, Field(ge=0, lt=1)]
Part = Annotated[float, Field(gt=0, lt=1)]
Cleaning = Literal["urls", "mentions", "white_space", "case", "accents"]
HUB = "hf://datasets/"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    # What a recipe leaves unsaid here is no part of it, and so of no run's identity: a run begun
    # before the option existed can be resumed.
    unsaid: ClassVar[tuple[str, ...]] = ()

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        return {key: value for key, value in content.items() if key not in self.unsaid or value}


class ImpliedZeros(_Section):
    """Where `label` is at most `at_most`, the other labels that the source leaves empty are 0.

    A comment that its raters found civil in the broad sense is no threat either, so these rows
    give the scarce labels natural negatives.
    """

    label: str
    at_most: Fraction = 0.0
    labels: tuple[str, ...]
    sources: tuple[str, ...]


class TableData(_Section):
    """One CSV, JSON-lines or Parquet file, or a dataset of the Hugging Face Hub."""

    unsaid = ("keep", "classes")

    kind: Literal["table"]
    path: str = Field(
        description="Relative to data_root, or hf://datasets/OWNER/NAME[@REVISION][/CONFIGURATION]."
    )
    text: tuple[str, ...] = Field(
        default=("text",), min_length=1, description="Columns, joined by a line break."
    )
    labels: dict[str, str] | None = Field(
        default=None,
        description="Label to column; by default every label whose column is there. "
        "An empty mapping takes none.",
    )
    target: str | None = Field(default=None, description="Column with the class (multi_class).")
    classes: dict[str, dict[str, float]] = Field(
        default={},
        description="Instead of target: class to the columns and values that it shows itself by. "
        "Rows that fit none are left out.",
    )
    spans: str | None = Field(default=None, description="Column with [[begin, end], …].")
    split: str | None = Field(
        default=None,
        description="Column with train, validation or test; else split as `preparation` says.",
    )
    source: str | None = Field(default=None, description="Column that names a row's source.")
    name: str = Field(default="", description="The source of all rows where there is no column.")
    keep: tuple[str, ...] = Field(default=(), description="Sources to take; by default all.")
    drop: tuple[str, ...] = Field(default=(), description="Sources to leave out.")
    mask: dict[str, tuple[str, ...]] = Field(
        default={}, description="Source to the labels of it that are not used."
    )
    mask_unless: dict[str, dict[str, str]] = Field(
        default={},
        description="Source to {label: other}: label is used only where other has a value too.",
    )
    implied_zeros: ImpliedZeros | None = None
    about: dict[str, str] = Field(
        default={}, description="Source to its upstream name and licence, for the model card."
    )
    weights: dict[str, float] = Field(
        default={}, description="Source to how often a row of it is seen in an epoch (default 1)."
    )
    positives: dict[str, float] = Field(
        default={}, description="Scarce label to the least weight of its positive rows."
    )


class ContrastData(_Section):
    """The sentences written by hand in `moderation.training.contrast`."""

    kind: Literal["contrast"]
    weight: float = Field(default=1.0, ge=0)


class TextData(_Section):
    """Texts without labels, which only a teacher can fill in: one file, as `TableData` reads it."""

    kind: Literal["texts"]
    path: str = Field(
        description="Relative to data_root, or hf://datasets/OWNER/NAME[@REVISION][/CONFIGURATION]."
    )
    text: tuple[str, ...] = Field(
        default=("text",), min_length=1, description="Columns, joined by a line break."
    )
    name: str = Field(description="The source of all its rows.")
    weight: float = Field(default=1.0, ge=0)
    about: str = Field(default="", description="Upstream name and licence, for the model card.")


class Distillation(_Section):
    """Trained models whose opinion is mixed into the training targets (`training/distill.py`)."""

    teachers: tuple[str, ...] = Field(
        min_length=1,
        description="Model folders, relative to the recipe; of several, the mean of the logits.",
    )
    weight: Fraction = Field(
        default=0.5, description="Share of the teachers where a label is known; all where not."
    )


class Preparation(_Section):
    """What is done to the rows before anything is learnt from them."""

    clean: tuple[Cleaning, ...] = Field(
        default=(),
        description="Steps, in this order, kept with the model in its tokenizer.",
    )
    copies: Literal["drop", "keep"] = Field(
        default="drop",
        description="Rows to train and validate on whose text, but for case and spacing, another "
        "row has.",
    )
    fewest: int = Field(
        default=0, ge=0, description="Classes with fewer rows are merged into `other`."
    )
    other: str = "other"
    validation: Part = Field(default=0.1, description="Share, where a file has no split column.")
    test: Part = Field(default=0.1, description="Share, where a file has no split column.")


class EasyData(_Section):
    """Easy Data Augmentation for scarce labels of the training part (`training/augment.py`)."""

    changed: Fraction = Field(default=0.1, description="Share of a text's words that is changed.")
    fill: Fraction = Field(
        default=0.5, description="Scarce labels are filled up to this share of the most frequent."
    )
    most: int = Field(default=4, ge=1, description="New rows made of one row, at most.")
    wordnet: str = Field(
        default="/usr/share/wordnet", description="Folder with WordNet's data.noun, index.noun, …"
    )


class BaselineOptions(_Section):
    """TF-IDF and logistic regression, the row to beat (`evaluation.baseline.Baseline`)."""

    stop_words: bool = Field(default=False, description="Leave out English stop words.")
    stem: bool = Field(default=False, description="Cut words to their stems (Porter 1980).")
    tune: bool = Field(default=False, description="Choose its penalty by cross-validation.")
    rows: int = Field(default=50_000, ge=1, description="Rows to fit on at most, drawn by lot.")


class Range(_Section):
    """Numbers to search, from `low` to `high`; whole ones where both ends are."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _rising(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} is not below high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError("a log range begins above 0")
        return self


class Tuning(_Section):
    """What `--tune N` searches."""

    space: dict[str, Range | tuple[Any, ...]] = Field(
        default={},
        description="Place in the recipe, such as model.dropout, to a range or a list of choices; "
        "empty: what suits the kind of model.",
    )


class LstmModel(_Section):
    """A bidirectional LSTM over the base's word pieces."""

    kind: Literal["lstm"]
    base: str = Field(
        description="Folder (relative to the recipe or to $MODERATION_MODELS) or Hugging Face name "
        "of the model whose tokenizer and token embeddings are used."
    )
    base_licence: str
    emoji: int = Field(default=990, ge=0, description="Unused vocabulary places given to emoji.")
    embedding: int = Field(default=128, ge=4)
    hidden: tuple[int, ...] = Field(default=(96, 96), min_length=1)
    attention: int = Field(default=4, ge=1, description="Attention heads of the pooling.")
    dense: int = Field(default=128, ge=4)
    spans: bool = Field(default=True, description="Train the token output.")
    dropout: Dropout = 0.3
    embedding_dropout: Dropout = 0.2
    word_dropout: Dropout = 0.05
    max_length: int = Field(default=256, ge=8)
    stride: int = Field(default=48, ge=0)


class DistilBertLora(_Section):
    """A DistilBERT, a BERT turned into one, or any other encoder, trained by LoRA."""

    unsaid = ("adapter", "kept")

    kind: Literal["distilbert"]
    base: str = Field(
        description="Folder (relative to the recipe or to $MODERATION_MODELS) or Hugging Face name."
    )
    base_licence: str
    adapter: str | None = Field(
        default=None,
        description="Trained model, relative to the recipe, whose adapter and heads to go on from.",
    )
    kept: Fraction = Field(
        default=0.0,
        description="Share of that model's weights in the mean with those that training ends with.",
    )
    emoji: int = Field(default=990, ge=0, description="Unused vocabulary places given to emoji.")
    rank: int = Field(default=16, ge=1)
    attention: int = Field(default=4, ge=1, description="Attention heads of the pooling.")
    dense: int = Field(default=256, ge=4)
    spans: bool = Field(default=True, description="Train the token output.")
    dropout: Dropout = 0.1
    word_dropout: Dropout = 0.0
    max_length: int = Field(default=128, ge=8, description="Tokens of a text in training.")
    window: int = Field(default=256, ge=8, description="Tokens of a window in use.")
    stride: int = Field(default=48, ge=0)


class Augmentation(_Section):
    """Shares of the training rows that are changed anew in each epoch."""

    unsaid = ("mistype",)

    disguise: Fraction = 0.0
    mistype: Fraction = 0.0
    fold: Fraction = 0.0
    join: Fraction = 0.0


class Optimisation(_Section):
    unsaid = ("averaging", "embedding_rate")

    epochs: int = Field(default=6, ge=1)
    epoch_share: float = Field(
        default=1.0,
        gt=0,
        description="Factor of all rows' weights; a small epoch means frequent checkpoints.",
    )
    validation_rows: int = Field(
        default=0, ge=0, description="Validation rows drawn for the score of an epoch; 0: all."
    )
    batch: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0)
    embedding_rate: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Factor of the learning rate for token embeddings, which know more words than "
        "the training data shows often.",
    )
    averaging: float = Field(
        default=0,
        ge=0,
        lt=1,
        description="Decay of the moving average of the weights, which then is what is validated "
        "and kept; 0: the weights themselves.",
    )
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: Fraction = 0.05
    clip: float = Field(default=1.0, gt=0)
    patience: int = Field(default=2, ge=1, description="Epochs without a better score.")
    label_weights: dict[str, float] = {}
    positive_weights: dict[str, float] = Field(
        default={}, description="How much more a positive of a scarce label counts in the loss."
    )
    span_weight: float = Field(default=0.5, ge=0)
    precision: Literal["float32", "bfloat16"] = "float32"
    threads: int = Field(default=0, ge=0, description="0: all cores.")


class CalibrationMix(_Section):
    """Rows that Platt scaling is fitted on: validation rows, and the contrast share of them."""

    contrast_share: Fraction = 0.2
    drop: tuple[str, ...] = ()


class Recipe(_Section):
    """One training run. Unknown keys are errors."""

    unsaid = ("preparation", "easy_data", "baseline", "tuning", "distillation")

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    task: Literal["multi_label", "multi_class"] = "multi_label"
    labels: tuple[str, ...] = Field(
        default=(), description="By default, of a multi_class recipe, the classes found."
    )
    languages: tuple[str, ...] = ("en",)
    seed: int = Field(default=13, ge=0)
    data_root: str = "."
    data: tuple[
        Annotated[TableData | ContrastData | TextData, Field(discriminator="kind")], ...
    ] = Field(min_length=1)
    distillation: Distillation | None = None
    preparation: Preparation | None = None
    model: Annotated[LstmModel | DistilBertLora, Field(discriminator="kind")]
    easy_data: EasyData | None = None
    augmentation: Augmentation = Augmentation()
    optimisation: Optimisation = Optimisation()
    calibration: CalibrationMix = CalibrationMix()
    baseline: BaselineOptions | None = None
    tuning: Tuning | None = None
    notes: str = Field(default="", description="Markdown that opens the model card.")

    @model_validator(mode="after")
    def _known_labels(self) -> Recipe:
        known = set(self.labels)
        if len(known) != len(self.labels):
            raise ValueError("labels: a label occurs twice")
        if self.task == "multi_label" and not known:
            raise ValueError("labels: name the labels to learn")
        if self.task == "multi_class" and len(known) == 1:
            raise ValueError("labels: a multi_class model needs two classes or more")
        if self.task == "multi_label" and self.preparation and self.preparation.fewest:
            raise ValueError("preparation.fewest: only classes of a multi_class recipe are merged")
        further = isinstance(self.model, DistilBertLora) and self.model.adapter is not None
        if isinstance(self.model, DistilBertLora) and self.model.kept and not further:
            raise ValueError("model.kept: nothing is kept where no adapter is gone on from")
        if further and self.preparation and self.preparation.clean:
            raise ValueError(
                "preparation.clean: a model that is trained on cleans as it was first taught to; "
                "leave it out"
            )
        if self.distillation and self.task == "multi_class":
            raise ValueError("distillation: only multi_label recipes have teachers")
        if not self.distillation and any(data.kind == "texts" for data in self.data):
            raise ValueError("texts without labels need a teacher: name one under distillation")
        named: dict[str, set[str]] = {
            "optimisation.label_weights": set(self.optimisation.label_weights),
            "optimisation.positive_weights": set(self.optimisation.positive_weights),
        }
        for place, data in enumerate(self.data):
            if isinstance(data, TableData):
                named[f"data[{place}].labels"] = set(data.labels or ())
                named[f"data[{place}].mask"] = {x for row in data.mask.values() for x in row}
                if data.implied_zeros:
                    named[f"data[{place}].implied_zeros"] = {
                        data.implied_zeros.label,
                        *data.implied_zeros.labels,
                    }
                if self.task == "multi_class" and (data.target is None) == (not data.classes):
                    raise ValueError(
                        f"data[{place}]: a multi_class recipe gives target, the column with the "
                        "class, or classes"
                    )
                if self.task == "multi_label" and (data.target or data.classes):
                    raise ValueError(
                        f"data[{place}]: target and classes go with task: multi_class; "
                        "of a multi_label recipe every label has a column"
                    )
                if known:
                    named[f"data[{place}].classes"] = set(data.classes)
        window = self.model.window if self.model.kind == "distilbert" else self.model.max_length
        if self.model.stride > window - 4:
            raise ValueError(
                f"model.stride: {self.model.stride} is too much of a window of {window} tokens; "
                f"give {window // 4}"
            )
        for where, names in named.items() if known else ():
            if unknown := sorted(names - known):
                raise ValueError(f"{where}: {', '.join(unknown)}: not among labels")
        return self


# What the keys of a recipe's sections and kinds stand for.
_SECTIONS: dict[str, type[_Section]] = {
    "table": TableData,
    "contrast": ContrastData,
    "texts": TextData,
    "implied_zeros": ImpliedZeros,
    "distillation": Distillation,
    "preparation": Preparation,
    "lstm": LstmModel,
    "distilbert": DistilBertLora,
    "easy_data": EasyData,
    "augmentation": Augmentation,
    "optimisation": Optimisation,
    "calibration": CalibrationMix,
    "baseline": BaselineOptions,
    "tuning": Tuning,
}


def read_recipe(path: str | Path) -> Recipe:
    """Raises ConfigError, naming file and place, where the recipe cannot be used."""
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError("no such recipe; give the path of a YAML file", where=str(file)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", where=str(file)) from error
    # As strict as for a policy: a key that stands twice would lose what stood first.
    content = load_yaml(text, str(file))
    if not isinstance(content, dict):
        raise ConfigError("expected a mapping with name, labels, data, model…", where=str(file))
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            *above, key = (str(part) for part in first["loc"])
            section = _SECTIONS.get(above[-1]) if above else Recipe
            known = f"; {did_you_mean(key, list(section.model_fields))}" if section else ""
            message = f"there is no such key{known}"
        raise ConfigError(message, where=f"{file}: {place}" if place else file.name) from error


def data_file(recipe_path: Path, recipe: Recipe, name: str) -> Path:
    """Where a data file lies: under $MODERATION_DATA, else under the recipe's data_root."""
    root = os.environ.get("MODERATION_DATA") or recipe_path.parent / recipe.data_root
    return (Path(root) / name).resolve()
