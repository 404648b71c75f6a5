"""Datasets of the Hugging Face Hub, read from the Parquet files that the Hub makes of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from moderation.errors import ConfigError, MissingExtraError
from moderation.training.recipe import HUB

if TYPE_CHECKING:
    import pandas

# The column that says which split a row was published in.
HUB_SPLIT = "(split)"
# Where the Hub keeps every dataset as CONFIGURATION/SPLIT/0000.parquet.
PARQUET = "refs/convert/parquet"

_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[^/]+))?(?:/(?P<part>[\w.-]+))?")


def hub_folder(path: str, where: str) -> Path:
    """The local folder with the Parquet files of hf://datasets/OWNER/NAME[@REVISION][/CONFIG].

    Fetched once, then read from the cache. Raises ConfigError where the name is none, nothing is
    found, or a configuration has to be chosen.
    """
    found = _NAME.fullmatch(path.removeprefix(HUB))
    if found is None:
        raise ConfigError(
            f"expected {HUB}OWNER/NAME[@REVISION][/CONFIGURATION], found {path!r}", where=where
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            "huggingface_hub", extra="train", needed_for="fetching a dataset"
        ) from error
    name, part = found["name"], found["part"]
    try:
        folder = Path(
            snapshot_download(
                name,
                repo_type="dataset",
                revision=found["revision"] or PARQUET,
                allow_patterns=[f"{part or '**'}/*.parquet", f"{part or '**'}/**/*.parquet"],
            )
        )
    except Exception as error:  # the hub client raises many unrelated kinds
        raise ConfigError(
            f"dataset {name}: not in the local cache, and no download from the Hugging Face Hub "
            f"({type(error).__name__}); check the name and the connection, or download its Parquet "
            "files elsewhere and give their path",
            where=where,
        ) from error
    if part is None:
        parts = sorted({file.relative_to(folder).parts[0] for file in folder.rglob("*.parquet")})
        if len(parts) > 1:
            raise ConfigError(
                f"dataset {name} has configurations {', '.join(parts)}; append one: {path}/"
                f"{parts[0]}",
                where=where,
            )
        part = parts[0] if parts else ""
    return folder / part


def read_hub(folder: Path) -> pandas.DataFrame:
    """The files of a folder that `hub_folder` gave, with their splits in the column HUB_SPLIT."""
    import pandas

    frames = []
    for file in sorted(folder.rglob("*.parquet")):
        place = file.relative_to(folder)
        said = place.parts[0] if len(place.parts) > 1 else re.split(r"[-.]", place.name)[0]
        if said.startswith("partial-"):
            raise ConfigError(
                "the Hub converted only the first part of this dataset; download its own files "
                "and give their path",
                where=str(folder),
            )
        split = {"dev": "validation", "valid": "validation"}.get(said, said)
        if split in ("train", "validation", "test"):
            frames.append(pandas.read_parquet(file).assign(**{HUB_SPLIT: split}))
    if not frames:
        raise ConfigError(
            "no Parquet files of a train, validation or test split; give a revision or a "
            "configuration that has them",
            where=str(folder),
        )
    frame: pandas.DataFrame = pandas.concat(frames, ignore_index=True)
    return frame
