"""Easy Data Augmentation: more rows of scarce labels, out of the rows there are.

Wei and Zou 2019, arXiv 1901.11196: of a text a share of the words is replaced by synonyms, or
synonyms of them are inserted, or words swap places, or words are left out. One of the four at a
time, by lot, on the training part only.
"""

from __future__ import annotations

import io
import random
import re
import warnings
from collections.abc import Iterable
from contextlib import ExitStack, closing
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from moderation.errors import ConfigError, MissingExtraError
from moderation.training.data import Rows
from moderation.training.recipe import EasyData, Recipe

# A word without what stands around it: quotation marks, commas, brackets.
_CORE = re.compile(r"\w(?:.*\w)?", re.DOTALL)
# Lexicographer files (lexnames(5WN)). Debian leaves out the list of their names, which nltk wants
# to read, though a synonym does not hang on them.
LEXICOGRAPHER_FILES = 45
FILES = [
    *(f"{kind}.{part}" for part in ("noun", "verb", "adj", "adv") for kind in ("data", "index")),
    *(f"{part}.exc" for part in ("noun", "verb", "adj", "adv")),
]
TRIES = 4


class WordNet:
    """Synonyms out of WordNet's database files (Miller 1995) in a folder.

    Raises ConfigError where the files are not there. Closes them when a `with` block ends.
    """

    def __init__(self, folder: str | Path) -> None:
        self._files = ExitStack()
        self._reader = _reader(Path(folder), self._files)
        self.synonyms = cache(self._synonyms)

    def __enter__(self) -> WordNet:
        return self

    def __exit__(self, *error: object) -> None:
        self._files.close()

    def _synonyms(self, word: str) -> tuple[str, ...]:
        """Other words of every sense of `word`, in alphabetical order."""
        lemmas = {
            name.replace("_", " ").lower()
            for synset in self._reader.synsets(word.lower())
            for name in synset.lemma_names()
        }
        return tuple(sorted(lemmas - {word.lower()}))


def _reader(folder: Path, files: ExitStack) -> Any:
    try:
        import nltk
        from nltk.corpus.reader.wordnet import WordNetCorpusReader, WordNetError
    except ImportError as error:
        raise MissingExtraError("nltk", extra="train", needed_for="synonyms") from error

    class Reader(WordNetCorpusReader):  # type: ignore[misc]
        def open(self, file: str) -> Any:
            if file == "lexnames" and not (folder / file).exists():
                return io.StringIO("".join(f"{n:02}\t{n}\t0\n" for n in range(LEXICOGRAPHER_FILES)))
            # nltk closes none of its files.
            return files.enter_context(closing(super().open(file)))

        def map_wn(self, version: str = "wordnet") -> None:
            """Other languages are mapped by nltk's own copy of WordNet, which is not needed."""

    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise ConfigError(
            f"no whole WordNet at {folder} ({missing[0]} is missing); install Debian's "
            "wordnet-base, which puts it at /usr/share/wordnet, or unpack WordNet 3.0 from "
            "wordnet.princeton.edu, and give its folder; or leave easy_data out",
            where="easy_data.wordnet",
        )
    if str(folder) not in nltk.data.path:
        # nltk reads from the folders that it was told of, and from no other.
        nltk.data.path.append(str(folder))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The multilingual functions are not available")
        try:
            return Reader(str(folder), None)
        except (OSError, LookupError, ValueError, WordNetError) as error:
            files.close()
            raise ConfigError(
                f"the WordNet at {folder} cannot be read ({type(error).__name__}); install "
                "wordnet-base again, or give another folder",
                where="easy_data.wordnet",
            ) from error


def augmented(train: Rows, recipe: Recipe, folder: Path) -> Rows:
    """`train`, and behind it new rows of the labels that `easy_data` finds scarce.

    Rows with marked characters are not copied: a changed text has them elsewhere. `folder` is
    that of the recipe, which a relative `easy_data.wordnet` starts from.
    """
    if recipe.easy_data is None:
        return train
    with WordNet(folder / recipe.easy_data.wordnet) as wordnet:
        return _filled(train, recipe.easy_data, wordnet, recipe.seed)


def _filled(train: Rows, how: EasyData, wordnet: WordNet, seed: int) -> Rows:
    generator = random.Random(seed)
    known = set(train.texts)
    positive = np.nan_to_num(train.targets) >= 0.5
    counts = positive.sum(axis=0)
    have = counts.copy()
    goal = int(how.fill * counts.max())
    plain = np.asarray([spans is None for spans in train.spans], np.bool_)
    texts: list[str] = []
    origins: list[int] = []
    made = np.zeros(len(train), np.int64)
    for label in np.argsort(counts, kind="stable"):
        rows = np.flatnonzero(positive[:, label] & plain).tolist()
        generator.shuffle(rows)
        for row in rows * how.most:
            if have[label] >= goal:
                break
            if made[row] >= how.most:
                continue
            text = _new(train.texts[row], how, wordnet, generator, known)
            if text is not None:
                known.add(text)
                texts.append(text)
                origins.append(row)
                made[row] += 1
                have += positive[row]
    places = np.asarray(origins, np.int64)
    return Rows(
        [*train.texts, *texts],
        np.concatenate([train.targets, train.targets[places]]),
        np.concatenate([train.sources, train.sources[places]]),
        np.concatenate([train.splits, train.splits[places]]),
        np.concatenate([train.weights, train.weights[places]]),
        [*train.spans, *[None] * len(texts)],
        np.concatenate([train.kinds, train.kinds[places]]),
        train.labels,
        (*train.notes, f"{len(texts):,} rows added by easy data augmentation"),
    )


def _new(
    text: str, how: EasyData, wordnet: WordNet, generator: random.Random, known: Iterable[str]
) -> str | None:
    """A text that nobody has yet, or None where none is found."""
    for _ in range(TRIES):
        new = change(text, how.changed, wordnet, generator)
        if new.strip() and new not in known:
            return new
    return None


def change(text: str, share: float, wordnet: WordNet, generator: random.Random) -> str:
    """One of the four operations on `share` of the words of `text`, at least one word."""
    words = text.split()
    count = max(1, int(share * len(words)))
    operation = generator.choice((replaced, inserted, swapped, deleted))
    return " ".join(operation(words, count, wordnet, generator))


def replaced(words: list[str], count: int, wordnet: WordNet, generator: random.Random) -> list[str]:
    """`count` words that are no stop words become one of their synonyms."""
    result = list(words)
    for place in _known_words(words, wordnet, generator)[:count]:
        core = _CORE.search(words[place])
        assert core is not None
        new = generator.choice(wordnet.synonyms(core[0]))
        if core[0].isupper() and len(core[0]) > 1:
            new = new.upper()
        elif core[0][0].isupper():
            new = new[0].upper() + new[1:]
        result[place] = words[place][: core.start()] + new + words[place][core.end() :]
    return result


def inserted(words: list[str], count: int, wordnet: WordNet, generator: random.Random) -> list[str]:
    """Synonyms of `count` words go to places by lot."""
    result = list(words)
    for place in _known_words(words, wordnet, generator)[:count]:
        core = _CORE.search(words[place])
        assert core is not None
        new = generator.choice(wordnet.synonyms(core[0]))
        result.insert(generator.randint(0, len(result)), new)
    return result


def swapped(words: list[str], count: int, wordnet: WordNet, generator: random.Random) -> list[str]:
    """Two words change places, `count` times."""
    result = list(words)
    if len(words) > 1:
        for _ in range(count):
            one, two = generator.sample(range(len(words)), 2)
            result[one], result[two] = result[two], result[one]
    return result


def deleted(words: list[str], count: int, wordnet: WordNet, generator: random.Random) -> list[str]:
    """`count` words are left out, but never the last one."""
    gone = set(generator.sample(range(len(words)), min(count, max(0, len(words) - 1))))
    return [word for place, word in enumerate(words) if place not in gone]


def _known_words(words: list[str], wordnet: WordNet, generator: random.Random) -> list[int]:
    """Places, shuffled, of the words that have synonyms and are no stop words."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

    places = list(range(len(words)))
    generator.shuffle(places)
    cores = {place: core[0] for place in places if (core := _CORE.search(words[place]))}
    return [
        place
        for place, core in cores.items()
        if core.lower() not in ENGLISH_STOP_WORDS and wordnet.synonyms(core)
    ]
