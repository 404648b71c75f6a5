"""The base model's tokenizer and token embeddings, fitted to what people post.

Ids are the base's own, so that every model made from one base shares one tokenizer. Two things
are changed. BERT's vocabulary knows no emoji (they all become [UNK]), while hate is often spelt
in them (Kirk et al. 2022, "Hatemoji"), so emoji take the places that BERT leaves unused. And a
word longer than 100 characters, which WordPiece gives up on, is cut into pieces that it reads, so
that nobody hides a sentence by leaving out the spaces.
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers

from moderation.errors import ConfigError, MissingExtraError
from moderation.models.artifact import sha256

LONGEST_WORD = 100
# Blocks that hold emoji, by first and last code point (Unicode 14, emoji-data.txt); single signs
# of older blocks that are drawn as emoji follow. Skin tones and flag letters are among them.
_BLOCKS = (
    (0x1F300, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
    (0x1FA70, 0x1FAFF),
    (0x1F1E6, 0x1F1FF),
    (0x2600, 0x27BF),
    (0x2B50, 0x2B55),
    (0x1F7E0, 0x1F7EB),
)
# Drawn, but nobody's message hangs on them: clock faces, weather and office signs of old fonts,
# chess, dingbat stars, crosses and numbers.
_DULL = (
    (0x1F550, 0x1F567),
    (0x1F322, 0x1F323),
    (0x1F394, 0x1F395),
    (0x1F398, 0x1F398),
    (0x1F53B, 0x1F54A),
    (0x1F568, 0x1F56E),
    (0x1F571, 0x1F572),
    (0x1F57B, 0x1F589),
    (0x1F58E, 0x1F58F),
    (0x1F591, 0x1F594),
    (0x1F597, 0x1F5FA),
    (0x1F650, 0x1F67F),
    (0x2605, 0x2612),
    (0x2616, 0x261C),
    (0x2621, 0x2621),
    (0x2630, 0x2637),
    (0x263C, 0x263F),
    (0x2654, 0x265E),
    (0x2666, 0x267A),
    (0x2680, 0x2691),
    (0x2701, 0x2701),
    (0x270E, 0x2711),
    (0x2717, 0x2720),
    (0x2722, 0x2743),
    (0x2758, 0x2762),
    (0x2766, 0x2794),
    (0x2798, 0x27BF),
)


def base_folder(name: str, recipe_path: Path) -> Path:
    """The local folder of a base model; one that is not here is fetched from the Hugging Face Hub.

    Looked for beside the recipe, then under $MODERATION_MODELS, by its full and by its last name.
    """
    roots = [recipe_path.parent]
    if os.environ.get("MODERATION_MODELS"):
        roots.insert(0, Path(os.environ["MODERATION_MODELS"]))
    tried = [root / part for root in roots for part in (name, name.rsplit("/", 1)[-1])]
    for folder in tried:
        if (folder / "tokenizer.json").is_file():
            return _whole(folder.resolve(), recipe_path)
    looked = ", ".join(str(folder) for folder in tried)
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise MissingExtraError(
            "huggingface_hub", extra="train", needed_for="downloading a base model"
        ) from error
    try:
        fetched = Path(
            snapshot_download(name, allow_patterns=["*.json", "model.safetensors", "vocab.txt"])
        )
    except Exception as error:  # the hub client raises many unrelated kinds
        raise ConfigError(
            f"no folder with a tokenizer.json at {looked}, and no download from the Hugging Face "
            f"Hub ({type(error).__name__}); set MODERATION_MODELS to the folder that holds it",
            where=f"{recipe_path}: model.base",
        ) from error
    return _whole(fetched, recipe_path)


def _whole(folder: Path, recipe_path: Path) -> Path:
    """The folder itself, once its two files are known to be there and to be what they say."""
    from safetensors import SafetensorError, safe_open

    fault = None
    if not (folder / "tokenizer.json").is_file():
        fault = "no tokenizer.json; the base needs a fast tokenizer"
    elif not (folder / "model.safetensors").is_file():
        fault = "no model.safetensors; weights in other files are not read: convert them first"
    else:
        try:
            with safe_open(folder / "model.safetensors", framework="numpy"):
                pass
        except (OSError, SafetensorError) as error:
            # Half a download, or the pointer that git leaves where git-lfs is not installed.
            fault = f"model.safetensors is damaged ({error}); fetch it again"
    if fault:
        raise ConfigError(f"{folder}: {fault}", where=f"{recipe_path}: model.base")
    return folder


def revision(folder: Path) -> str:
    """The sha256 of the base's weights, which names them wherever they were fetched from."""
    return f"sha256:{sha256(folder / 'model.safetensors')}"


def _within(code: int, ranges: Iterable[tuple[int, int]]) -> bool:
    return any(first <= code <= last for first, last in ranges)


def emoji(texts: Iterable[str], count: int) -> list[str]:
    """The `count` emoji that deserve a place: those seen in `texts` first, by how often."""
    known = [
        chr(code)
        for first, last in _BLOCKS
        for code in range(first, last + 1)
        if unicodedata.category(chr(code)) in ("So", "Sk", "Sm") and not _within(code, _DULL)
    ]
    places = set(known)
    seen = Counter(sign for text in texts for sign in text if sign in places)
    ranked = sorted(known, key=lambda sign: (-seen[sign], known.index(sign)))
    return ranked[:count]


def build_tokenizer(folder: Path, signs: list[str]) -> Tokenizer:
    """The base's tokenizer with `signs` in its unused places."""
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    plain: Tokenizer = Tokenizer.from_str(json.dumps(content))
    if not isinstance(plain.model, models.WordPiece):
        # Bytes and unigrams spell out whatever they do not know, emoji among it.
        plain.no_padding()
        plain.no_truncation()
        return plain
    vocabulary: dict[str, int] = content["model"]["vocab"]
    unused = sorted(
        (token for token in vocabulary if token.startswith("[unused")), key=vocabulary.__getitem__
    )
    new = [sign for sign in signs if sign not in vocabulary]
    for token, sign in zip(unused, new, strict=False):
        vocabulary[sign] = vocabulary.pop(token)
    for sign in new[: len(unused)]:
        # As an added token an emoji is cut out of any word before normalisation, by one automaton
        # for all of them; a regular expression in the pre-tokenizer would cost as much as the rest.
        content["added_tokens"].append(
            {
                "id": vocabulary[sign],
                "content": sign,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": False,
            }
        )
    content["added_tokens"].sort(key=lambda token: int(token["id"]))
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [tokenizer.pre_tokenizer, pre_tokenizers.FixedLength(LONGEST_WORD)]
    )
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def token_embeddings(
    folder: Path, tokenizer: Tokenizer, signs: list[str], width: int, seed: int
) -> NDArray[np.float32]:
    """[vocabulary, width]: the base's token embeddings by their principal components.

    An emoji starts as the mean of the word pieces of its Unicode name. The components are turned
    by a random rotation, so that all columns vary alike and one int8 scale fits a whole row.
    """
    from safetensors.numpy import load_file

    tensors = load_file(folder / "model.safetensors")
    name = next((key for key in tensors if key.endswith("word_embeddings.weight")), None)
    if name is None:
        raise ConfigError(
            "expected a tensor that ends in word_embeddings.weight",
            where=str(folder / "model.safetensors"),
        )
    table = tensors[name].astype(np.float32)
    for sign in signs:
        place = tokenizer.token_to_id(sign)
        words = unicodedata.name(sign, "").lower()
        pieces = tokenizer.encode(words, add_special_tokens=False).ids
        if place is not None and pieces:
            table[place] = table[pieces].mean(axis=0)
    centred = table - table.mean(axis=0)
    width = min(width, table.shape[1])
    _, vectors = np.linalg.eigh(centred.T @ centred)
    reduced = centred @ vectors[:, ::-1][:, :width]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))
    reduced = reduced @ rotation.astype(np.float32)
    result: NDArray[np.float32] = (reduced * (0.3 / reduced.std())).astype(np.float32)
    return result
