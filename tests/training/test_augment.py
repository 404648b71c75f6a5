"""Easy data augmentation on a WordNet of a few words."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("nltk")
pytest.importorskip("sklearn")

from moderation.errors import ConfigError
from moderation.training import augment
from moderation.training.augment import WordNet, augmented, change
from moderation.training.data import Rows
from moderation.training.recipe import Recipe


@pytest.fixture(scope="session")
def wordnet(wordnet_folder: Path) -> Iterator[WordNet]:
    with WordNet(wordnet_folder) as found:
        yield found


def test_synonyms_are_the_words_of_all_senses(wordnet: WordNet) -> None:
    assert wordnet.synonyms("fool") == ("jester", "muggins", "sap", "take in")
    assert wordnet.synonyms("FOOL") == wordnet.synonyms("fool")
    # The plural is looked up by its base form.
    assert wordnet.synonyms("fools") == ("fool", "jester", "muggins", "sap", "take in")
    assert wordnet.synonyms("friend") == ()
    assert wordnet.synonyms("xyzzy") == ()


def test_a_synonym_keeps_case_and_what_stands_around_it(wordnet: WordNet) -> None:
    words = ['"Quick"', "FAST,", "(quick)", "friend."]
    result = augment.replaced(words, 4, wordnet, random.Random(0))
    assert result == ['"Fast"', "QUICK,", "(fast)", "friend."]
    assert augment.replaced(words, 1, wordnet, random.Random(0)) != result


def test_insertion_adds_synonyms_of_words_that_are_there(wordnet: WordNet) -> None:
    result = augment.inserted(["a", "quick", "friend"], 2, wordnet, random.Random(1))
    assert sorted(result) == ["a", "fast", "friend", "quick"]


def test_stop_words_are_not_replaced(wordnet: WordNet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordnet, "synonyms", lambda word: ("other",))
    words = ["the", "fool", "and", "you"]
    result = augment.replaced(words, 9, wordnet, random.Random(0))
    assert result == ["the", "other", "and", "you"]


@given(
    words=st.lists(st.text(alphabet="abcxyz", min_size=1), min_size=1, max_size=12), data=st.data()
)
def test_swaps_keep_the_words_and_deletion_the_order(
    wordnet: WordNet, words: list[str], data: Any
) -> None:
    count = data.draw(st.integers(1, 5))
    generator = random.Random(data.draw(st.integers(0, 99)))

    assert Counter(augment.swapped(words, count, wordnet, generator)) == Counter(words)
    left = augment.deleted(words, count, wordnet, generator)
    assert len(left) == max(1, len(words) - count)
    rest = iter(words)
    assert all(word in rest for word in left)


@given(text=st.text(min_size=1).filter(lambda text: text.strip()), seed=st.integers(0, 99))
def test_any_text_can_be_changed(wordnet: WordNet, text: str, seed: int) -> None:
    assert change(text, 0.2, wordnet, random.Random(seed)).strip()


def recipe(folder: Path, **easy_data: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "task": "multi_class",
            "labels": ["kind", "rude", "rare"],
            "data": [{"kind": "table", "path": "data.csv", "target": "kind"}],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            "easy_data": {"wordnet": str(folder), **easy_data},
        }
    )


def rows(*counts: int) -> Rows:
    classes = [place for place, count in enumerate(counts) for _ in range(count)]
    total = len(classes)
    return Rows(
        [f"a quick fool {'abcdefghij'[n % 10]} met {n} friends" for n in range(total)],
        np.eye(len(counts), dtype=np.float32)[classes],
        np.full(total, "forum"),
        np.full(total, "train"),
        np.full(total, 1.5, np.float32),
        [None] * total,
        np.full(total, ""),
        ("kind", "rude", "rare"),
    )


def test_scarce_classes_are_filled_up(wordnet_folder: Path) -> None:
    before = rows(100, 20, 5)
    after = augmented(before, recipe(wordnet_folder, fill=0.5, most=4), Path())

    # Half of 100, or four new rows of each that there is.
    assert after.targets.sum(axis=0).tolist() == [100, 50, 25]
    assert after.texts[: len(before)] == before.texts
    assert len(set(after.texts)) == len(after)
    assert set(after.splits) == {"train"}
    assert set(after.weights) == {1.5}
    assert after.notes == ("50 rows added by easy data augmentation",)
    again = augmented(before, recipe(wordnet_folder, fill=0.5, most=4), Path())
    assert again.texts == after.texts


def test_rows_with_marked_characters_are_not_copied(wordnet_folder: Path) -> None:
    before = rows(100, 1, 0)
    before.spans[100] = ((0, 1),)
    assert len(augmented(before, recipe(wordnet_folder), Path())) == 101


def test_a_folder_without_wordnet_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"data.noun is missing.*wordnet-base.*/usr/share/wordnet"
    ):
        augmented(rows(9, 1, 1), recipe(tmp_path / "nowhere"), Path())


def test_half_a_wordnet(tmp_path: Path, wordnet_folder: Path) -> None:
    folder = Path(shutil.copytree(wordnet_folder, tmp_path / "dict"))
    (folder / "index.verb").unlink()
    with pytest.raises(ConfigError, match=r"no whole WordNet at .*\(index.verb is missing\)"):
        WordNet(folder)
    (folder / "index.verb").write_text("nothing of the kind\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        WordNet(folder)


def test_the_whole_wordnet() -> None:
    folder = Path("/usr/share/wordnet")
    if not (folder / "data.noun").exists():
        pytest.skip("no WordNet at /usr/share/wordnet: install wordnet-base to run this")
    with WordNet(folder) as found:
        assert {"dolt", "dullard"} <= set(found.synonyms("stupid"))
