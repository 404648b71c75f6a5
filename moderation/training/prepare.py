"""From rows as they were read to rows that may be learnt from.

Copies go before anything is split, scarce classes become one, and what no file splits is split
with the labels in equal shares. Cleaning is not done here but by the model's tokenizer, which
every text passes, in training and in use alike; here it only decides which texts are copies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers import normalizers as steps

from moderation.errors import ConfigError
from moderation.training.recipe import Cleaning, Preparation, Recipe
from moderation.training.table import named

if TYPE_CHECKING:
    from moderation.training.data import Rows


def cleaner(clean: Iterable[Cleaning]) -> steps.Sequence:
    """The named steps as one normaliser: `normalize_str(text)` cleans a text."""
    found: dict[Cleaning, list[steps.Normalizer]] = {
        "urls": [steps.Replace(Regex(r"(?i)\b(?:https?://|www\.)\S+"), "http")],
        "mentions": [steps.Replace(Regex(r"(?<![\w@])@\w+"), "@user")],
        "white_space": [steps.Replace(Regex(r"\s+"), " "), steps.Strip()],
        "case": [steps.Lowercase()],
        "accents": [steps.NFD(), steps.StripAccents(), steps.NFC()],
    }
    return steps.Sequence([step for name in clean for step in found[name]])


def clean_first(tokenizer: Tokenizer, recipe: Recipe) -> None:
    """Makes the recipe's cleaning a part of `tokenizer`, and so of the model that is saved."""
    if recipe.preparation and recipe.preparation.clean:
        first = cleaner(recipe.preparation.clean)
        own = tokenizer.normalizer
        tokenizer.normalizer = steps.Sequence([first, own]) if own else first


def prepared(rows: Rows, recipe: Recipe, where: str) -> Rows:
    """What the recipe's `preparation` says, and the split of every row that has none.

    Raises ConfigError, naming `where`, for classes too small to split.
    """
    how = recipe.preparation or Preparation(copies="keep")
    normaliser = cleaner(how.clean)
    keys = [_key(normaliser.normalize_str(text)) for text in rows.texts]
    if how.clean and (empty := [place for place, key in enumerate(keys) if not key]):
        raise ConfigError(
            f"{len(empty):,} texts are empty when cleaned, first that of row {empty[0] + 1}; "
            "remove them, or a step of preparation.clean",
            where=where,
        )
    notes = []
    if how.copies == "drop":
        kept, targets = _without_copies(rows, keys)
        if not kept.all():
            notes.append(f"{int((~kept).sum()):,} copies of other rows left out")
        rows = replace(rows, targets=targets).where(kept)
        keys = [key for key, keep in zip(keys, kept, strict=True) if keep]
    if how.fewest:
        rows, merged = _merged(rows, how)
        if merged:
            notes.append(f"{len(merged)} classes of fewer than {how.fewest} rows are {how.other!r}")
    splits = rows.splits.astype("U10")
    shares = {"test": how.test, "validation": how.validation}
    open_ = splits == ""
    if not open_.any() and not (splits == "validation").any():
        # Many a dataset is published with a training and a test part only.
        open_ = splits == "train"
        del shares["test"]
    if open_.any():
        chosen = [key for key, is_open in zip(keys, open_, strict=True) if is_open]
        splits[open_] = _split(rows.where(open_), chosen, recipe, shares)
        rows = replace(rows, splits=splits)
        if len(shares) == 1:
            count = int((splits == "validation").sum())
            notes.append(f"{count:,} rows of the training part are kept to validate on")
    return replace(rows, notes=tuple(notes))


def _key(text: str) -> str:
    return " ".join(text.casefold().split())


def _without_copies(rows: Rows, keys: list[str]) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Which rows stay, and the targets with what a row's copies know beside it.

    The test part stays as it was published. Else a row of the validation part is preferred to one
    of the training part. Copies to train on that contradict one another all go: nobody can say
    which is right.
    """
    rank = np.where(rows.splits == "test", 0, np.where(rows.splits == "validation", 1, 2))
    groups: dict[tuple[str, bool], list[int]] = defaultdict(list)
    for row in np.argsort(rank, kind="stable"):
        groups[keys[row], rows.spans[row] is None].append(int(row))
    kept = rank == 0
    targets = rows.targets.copy()
    for places in groups.values():
        first = places[0]
        found = rows.targets[places]
        spread = np.fmax.reduce(found) - np.fmin.reduce(found)
        if rank[first] == 2 and (spread >= 0.5).any():
            continue
        kept[first] = True
        if rank[first]:
            for other in places[1:]:
                missing = np.isnan(targets[first])
                targets[first, missing] = rows.targets[other, missing]
    return kept, targets


def _merged(rows: Rows, how: Preparation) -> tuple[Rows, list[str]]:
    """Counted where a model may look: the test part has no say in what the classes are."""
    counts = np.nansum(rows.targets[rows.splits != "test"], axis=0)
    scarce = [
        place
        for place, label in enumerate(rows.labels)
        if counts[place] < how.fewest and label != how.other
    ]
    if not scarce:
        return rows, []
    labels = [label for place, label in enumerate(rows.labels) if place not in scarce]
    if how.other not in labels:
        labels.append(how.other)
    targets = np.zeros((len(rows), len(labels)), np.float32)
    targets[np.isnan(rows.targets).all(axis=1)] = np.nan
    for place, label in enumerate(rows.labels):
        targets[:, labels.index(how.other if place in scarce else label)] += np.nan_to_num(
            rows.targets[:, place]
        )
    return replace(rows, targets=targets, labels=tuple(labels)), [rows.labels[p] for p in scarce]


def _split(
    rows: Rows, keys: list[str], recipe: Recipe, shares: dict[str, float]
) -> NDArray[np.str_]:
    """train, or the name of one of the `shares`, for every row; copies go together.

    Stratified by class, or by the scarcest label that a row has.
    """
    from sklearn.model_selection import train_test_split

    fewest = 1 + len(shares)
    _, firsts, groups = np.unique(np.asarray(keys), return_index=True, return_inverse=True)
    strata = _strata(rows)[firsts]
    sizes = {part: max(1, round(share * len(firsts))) for part, share in shares.items()}
    kinds, counts = np.unique(strata, return_counts=True)
    if recipe.task == "multi_class":
        for kind, count in zip(kinds, counts, strict=True):
            if count < fewest:
                raise ConfigError(
                    f"class {named([rows.labels[kind]])!r} has {count} of the rows to split, and "
                    f"{fewest} "
                    "are the fewest that reach all parts; add rows, leave it out, or merge sparse "
                    "classes with preparation.fewest",
                    where=recipe.name,
                )
        for part, size in sizes.items():
            if size < len(kinds):
                raise ConfigError(
                    f"a {part} part of {size} rows cannot hold {len(kinds)} classes; raise "
                    f"preparation.{part}, add rows, or merge sparse classes with "
                    "preparation.fewest",
                    where=recipe.name,
                )
    else:
        strata[np.isin(strata, kinds[counts < fewest])] = -1
    if len(firsts) < fewest or sum(sizes.values()) >= len(firsts):
        raise ConfigError(
            f"{len(firsts)} texts are too few for {fewest} parts of these shares; add rows",
            where=recipe.name,
        )
    result = np.full(len(firsts), "train", "U10")
    for part, size in sizes.items():
        left = np.flatnonzero(result == "train")
        found = strata[left]
        kinds, counts = np.unique(found, return_counts=True)
        even = counts.min() > 1 and len(kinds) <= min(size, len(left) - size)
        _, chosen = train_test_split(
            left, test_size=size, stratify=found if even else None, random_state=recipe.seed
        )
        result[chosen] = part
    for kind in np.unique(strata):
        # Shares are rounded, so that a class of few rows may have got none.
        for part in sizes:
            left = np.flatnonzero((strata == kind) & (result == "train"))
            if not (result[strata == kind] == part).any() and len(left) > 1:
                result[left[0]] = part
    return result[groups]


def _strata(rows: Rows) -> NDArray[np.int64]:
    positive = np.nan_to_num(rows.targets) >= 0.5
    order = np.argsort(positive.sum(axis=0), kind="stable")
    scarcest = order[positive[:, order].argmax(axis=1)]
    return np.where(positive.any(axis=1), scarcest, -1)
