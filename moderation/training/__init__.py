"""Training: a recipe in, a model folder out. Needs the extra `train`; serving never imports it.

from moderation.training import train

folder = train("configs/training/toxicity-lstm.yaml", output="my-model")
"""

from __future__ import annotations

import errno
import importlib.util
from pathlib import Path

from moderation.errors import MissingExtraError
from moderation.training.recipe import Recipe, read_recipe

__all__ = ["Recipe", "read_recipe", "train"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEEDED = (
    "accelerate",
    "onnx",
    "pandas",
    "peft",
    "plotly",
    "pyarrow",
    "rich",
    "safetensors",
    "sklearn",
    "torch",
    "transformers",
)


def train(
    recipe_path: str | Path,
    *,
    output: str | Path | None = None,
    resume: bool = False,
    runs: str | Path = "runs",
    tune: int = 0,
) -> Path:
    """Trains what the recipe says and returns the folder of the model, ready for `Classifier`.

    `output` is that folder (default: the recipe's name under `runs`); it appears only when
    everything is done. Checkpoints go to `runs`; with `resume` an interrupted run goes on from its
    last whole epoch, and ends with the same weights. With `tune` so many trials search for better
    settings first; the model is trained with the best.

    Raises ConfigError for a recipe or data that cannot be used, TrainingError where training
    cannot go on, ParityError where the exported graph differs from the network, and
    MissingExtraError without the extra `train`.
    """
    for package in _NEEDED:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra="train", needed_for="training")
    from moderation.training.run import train_recipe
    from moderation.training.trainer import TrainingError

    try:
        return train_recipe(Path(recipe_path), output, Path(runs), resume=resume, tune=tune)
    except OSError as error:
        remedy = "make room or give another place" if error.errno in _FULL else "mend that"
        raise TrainingError(
            f"{error.filename or output or runs}: {error.strerror or error}; {remedy}, then go on "
            "with --resume"
        ) from error
