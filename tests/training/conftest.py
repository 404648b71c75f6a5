"""A base model of a few words, and a data file that a tiny network learns in seconds."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
import yaml

BAD = ("idiot", "fool", "moron")
GOOD = ("friend", "teacher", "neighbour")
FILLER = ("you", "are", "a", "the", "really", "such", "my", "and", "is", "today", "!", ".")


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tokenizer.json and model.safetensors, as the Hugging Face Hub has them."""
    pytest.importorskip("safetensors")
    import numpy as np
    from safetensors.numpy import save_file
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokens = ["[PAD]", *(f"[unused{place}]" for place in range(6))]
    tokens += ["[UNK]", "[CLS]", "[SEP]", "[MASK]", *BAD, *GOOD, *FILLER, "face", "knife", "##s"]
    tokens += list("abcdefghijklmnopqrstuvwxyz")
    tokens += [f"##{sign}" for sign in "abcdefghijklmnopqrtuvwxyz"]
    tokens = list(dict.fromkeys(tokens))
    vocabulary = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens[7]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    folder = tmp_path_factory.mktemp("bases") / "tiny-base"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    table = np.random.default_rng(0).normal(size=(len(vocabulary), 32)).astype(np.float32)
    save_file({"embeddings.word_embeddings.weight": table}, folder / "model.safetensors")
    return folder


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    """600 sentences; insulting with one of three words, `loud` with an exclamation mark."""
    generator = random.Random(5)
    result = []
    for number in range(600):
        bad = number % 2 == 0
        words = generator.choices(FILLER[:-2], k=generator.randint(2, 12))
        word = generator.choice(BAD if bad else GOOD)
        words.insert(generator.randint(0, len(words)), word)
        loud = generator.random() < 0.5
        text = " ".join(words) + (" !" if loud else " .")
        begin = text.split().index(word)
        begin = len(" ".join(text.split()[:begin])) + (1 if begin else 0)
        result.append(
            {
                "text": text,
                "insult": int(bad),
                # Every third row does not say.
                "loud": "" if number % 3 == 0 else int(loud),
                "split": ("train", "train", "train", "validation", "test")[number % 5],
                "spans": [[begin, begin + len(word)]] if bad else [],
            }
        )
    return result


@pytest.fixture
def recipe_file(tmp_path: Path, base: Path, rows: list[dict[str, Any]]) -> Path:
    """A recipe with its data beside it; `write_recipe` changes single settings."""
    with (tmp_path / "data.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "insult", "loud", "split"], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    with (tmp_path / "spans.jsonl").open("w", encoding="utf-8") as file:
        for row in rows[:200]:
            line = {"text": row["text"], "spans": row["spans"], "split": row["split"]}
            file.write(json.dumps(line) + "\n")
    return write_recipe(tmp_path / "recipe.yaml", recipe(base))


def recipe(base: Path) -> dict[str, Any]:
    return {
        "name": "tiny",
        "labels": ["insult", "loud"],
        "seed": 7,
        "data": [
            {"kind": "table", "path": "data.csv", "split": "split"},
            {
                "kind": "table",
                "path": "spans.jsonl",
                "split": "split",
                "labels": {},
                "spans": "spans",
            },
        ],
        "model": {
            "kind": "lstm",
            "base": str(base),
            "base_licence": "none",
            "emoji": 4,
            "embedding": 16,
            "hidden": [12],
            "dense": 12,
            "max_length": 32,
            "stride": 8,
            "word_dropout": 0.02,
        },
        "optimisation": {
            "epochs": 8,
            "batch": 32,
            "learning_rate": 0.02,
            "span_weight": 3,
            "averaging": 0.9,
        },
    }


def write_recipe(file: Path, content: dict[str, Any]) -> Path:
    file.write_text(yaml.safe_dump(content), encoding="utf-8")
    return file


# Senses: part of speech and words. As in the real files, a space is written as an underscore.
SENSES = [
    ("n", ("fool", "sap", "muggins")),
    ("n", ("fool", "jester")),
    ("n", ("friend",)),
    ("v", ("fool", "take_in")),
    ("a", ("quick", "fast")),
]


def write_wordnet(folder: Path) -> Path:
    """Files in the format of wndb(5WN), without lexnames, as Debian has them."""
    folder.mkdir()
    names = {"n": "noun", "v": "verb", "a": "adj", "r": "adv"}
    for part, name in names.items():
        data = "  1 A WordNet of a few words.  \n"
        index: dict[str, list[int]] = {}
        for kind, words in SENSES:
            if kind == part:
                offset = len(data)
                listed = " ".join(f"{word} 0" for word in words)
                frames = " 01 + 02 00" if part == "v" else ""
                data += f"{offset:08} 05 {part} {len(words):02x} {listed} 000{frames} | a gloss\n"
                for word in words:
                    index.setdefault(word, []).append(offset)
        (folder / f"data.{name}").write_text(data)
        (folder / f"index.{name}").write_text(
            "  1 A WordNet of a few words.  \n"
            + "".join(
                f"{word} {part} {len(places)} 0 {len(places)} 0 "
                f"{' '.join(f'{place:08}' for place in places)}  \n"
                for word, places in sorted(index.items())
            )
        )
        (folder / f"{name}.exc").write_text("")
    return folder


@pytest.fixture(scope="session")
def wordnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database files of WordNet, for a handful of words."""
    return write_wordnet(tmp_path_factory.mktemp("wordnet") / "dict")
