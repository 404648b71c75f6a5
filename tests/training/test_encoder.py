"""Tiny encoders of other families than BERT: from recipe to model folder, and against torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
onnx = pytest.importorskip("onnx")
pytest.importorskip("peft")

from tokenizers import (  # noqa: E402
    Tokenizer,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from moderation.errors import ConfigError  # noqa: E402
from moderation.models import Classifier  # noqa: E402
from moderation.models.classifier import open_session  # noqa: E402
from moderation.training import train  # noqa: E402
from moderation.training.distilbert import (  # noqa: E402
    load_network,
    merged,
    new_network,
    save_adapter,
)
from moderation.training.encoder import SMALLEST, EncoderNetwork, export_encoder  # noqa: E402
from moderation.training.export import ParityError  # noqa: E402
from moderation.training.recipe import DistilBertLora  # noqa: E402
from moderation.training.trainer import Collator, Encoded  # noqa: E402
from moderation.training.vocabulary import build_tokenizer  # noqa: E402
from tests.training.conftest import recipe, write_recipe  # noqa: E402

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 66,
    "initializer_range": 0.1,
}
# The tokenizer that a family comes with, and what its configuration says beyond the sizes.
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "roberta": ("roberta", {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}),
    "electra": ("pieces", {"embedding_size": 32}),
    "modernbert": (
        "modern",
        {
            "pad_token_id": 3,
            "cls_token_id": 1,
            "sep_token_id": 2,
            "bos_token_id": 1,
            "eos_token_id": 2,
            "local_attention": 8,
            "global_attn_every_n_layers": 2,
        },
    ),
    "albert": ("unigram", {"embedding_size": 32, "pad_token_id": 0}),
    "mpnet": ("pieces", {"pad_token_id": 1}),
    "deberta-v2": (
        "unigram",
        {
            "relative_attention": True,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 16,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
    ),
}
TRAINED = ("roberta", "electra", "modernbert")


@pytest.fixture(scope="module")
def tokenizers(base: Path, rows: list[dict[str, Any]]) -> dict[str, Tokenizer]:
    """Of the kinds that the families have, learnt from the tiny data."""
    texts = [row["text"] for row in rows]

    def bytes_of(special: list[str]) -> Tokenizer:
        found = Tokenizer(models.BPE())
        found.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
        )
        found.train_from_iterator(texts, trainer)
        return found

    roberta = bytes_of(["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    roberta.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    modern = bytes_of(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"])
    around = [("[CLS]", 1), ("[SEP]", 2)]
    modern.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=around
    )
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    unigram.train_from_iterator(
        texts,
        trainers.UnigramTrainer(
            vocab_size=90,
            special_tokens=["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"],
            unk_token="[UNK]",  # noqa: S106
            show_progress=False,
        ),
    )
    unigram.post_processor = modern.post_processor
    pieces = Tokenizer.from_file(str(base / "tokenizer.json"))
    return {"roberta": roberta, "modern": modern, "unigram": unigram, "pieces": pieces}


@pytest.fixture(scope="module")
def bases(
    tokenizers: dict[str, Tokenizer], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The folder of a tiny encoder of random weights, as the Hugging Face Hub has them."""
    folder = tmp_path_factory.mktemp("families")

    def build(name: str) -> Path:
        target = folder / name
        if not target.is_dir():
            tokenizer, more = FAMILIES[name]
            words = max(tokenizers[tokenizer].get_vocab_size(), 90)
            config = transformers.AutoConfig.for_model(name, vocab_size=words, **SIZES, **more)
            torch.manual_seed(1)
            transformers.AutoModel.from_config(config).save_pretrained(target)
            tokenizers[tokenizer].save(str(target / "tokenizer.json"))
        return target

    return build


def settings(folder: Path, **more: Any) -> DistilBertLora:
    options = {"rank": 4, "attention": 2, "dense": 16, "max_length": 24, "window": 32, "stride": 8}
    return DistilBertLora(
        kind="distilbert", base=str(folder), base_licence="none", **options | more
    )


def adapted(folder: Path) -> Any:
    """A network with an adapter that changes something: peft starts with one that does not."""
    tokenizer = build_tokenizer(folder, [])
    torch.manual_seed(2)
    result = new_network(folder, tokenizer, settings(folder), 3)
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if "lora_B" in name or "heads.modules_to_save" in name:
                parameter.normal_(std=0.2)
    return result.eval()


def outputs(network: Any, words: int = 60) -> tuple[Any, Any]:
    torch.manual_seed(3)
    ids, lengths = torch.randint(5, words, (3, 12)), torch.tensor([12, 5, 2])
    with torch.no_grad():
        logits, tokens = network(ids, lengths)
    return logits, tokens[torch.arange(12)[None] < lengths[:, None]]


@pytest.mark.parametrize("family", FAMILIES)
def test_states_are_those_of_transformers_whatever_a_row_is_padded_with(
    family: str, bases: Callable[[str], Path]
) -> None:
    folder = bases(family)
    network: EncoderNetwork = merged(
        new_network(folder, build_tokenizer(folder, []), settings(folder), 3)
    )
    assert isinstance(network, EncoderNetwork)
    original = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    padding = original.config.pad_token_id or 0
    torch.manual_seed(3)
    ids, lengths = torch.randint(5, 60, (3, 12)), torch.tensor([12, 5, 2])
    inside = torch.arange(12)[None] < lengths[:, None]
    kept: list[Any] = []
    network.encoder.register_forward_hook(lambda *call: kept.append(call[2].last_hidden_state))
    with torch.no_grad():
        for outside in (0, padding, 7):
            network(torch.where(inside, ids, outside), lengths)
        padded = torch.where(inside, ids, padding)
        expected = original(input_ids=padded, attention_mask=inside.long()).last_hidden_state
    for found in kept:
        torch.testing.assert_close(found[inside], expected[inside], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_loaded_merged_and_exported_networks_agree(
    family: str, bases: Callable[[str], Path], tmp_path: Path
) -> None:
    folder = bases(family)
    network = adapted(folder)
    for name, parameter in network.named_parameters():
        assert parameter.requires_grad == ("lora_" in name or "heads.modules_to_save" in name), name
    expected = outputs(network)
    save_adapter(network, tmp_path)
    shutil.copy(folder / "tokenizer.json", tmp_path)
    whole = merged(load_network(tmp_path, folder))
    for one, two in zip(outputs(whole), expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)

    file = tmp_path / "model.onnx"
    assert export_encoder(whole, file) < 1e-3
    session = open_session(file)
    assert [value.name for value in session.get_inputs()] == ["input_ids", "lengths"]
    # Every matrix is in the file as int8, but the distances of DeBERTa: those are normalised first.
    for tensor in onnx.load(str(file)).graph.initializer:
        if np.prod(tensor.dims) >= SMALLEST and "rel_embeddings" not in tensor.name:
            assert tensor.data_type == onnx.TensorProto.INT8, tensor.name

    torch.manual_seed(4)
    lengths = np.array([20, 9, 3, 2], np.int32)
    ids = torch.randint(5, 60, (4, 20)).numpy()
    feeds = {"input_ids": ids, "lengths": lengths}
    logits, tokens = session.run(["logits", "token_logits"], feeds)
    with torch.no_grad():
        float_logits, _ = whole(torch.from_numpy(ids), torch.from_numpy(lengths))
    # What rounding to int8 changes: a few hundredths of a probability at most.
    assert np.abs(logits - float_logits.numpy()).max() < 0.2
    for row, length in enumerate(lengths):
        feeds = {"input_ids": ids[row : row + 1, :length], "lengths": lengths[row : row + 1]}
        alone, words = session.run(["logits", "token_logits"], feeds)
        np.testing.assert_allclose(logits[row], alone[0], atol=1e-5)
        np.testing.assert_allclose(tokens[row, :length], words[0], atol=1e-5)


@pytest.mark.parametrize("family", TRAINED)
def test_a_recipe_becomes_a_model(
    family: str,
    bases: Callable[[str], Path],
    recipe_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("MODERATION_DATA", raising=False)
    monkeypatch.delenv("MODERATION_MODELS", raising=False)
    folder = bases(family)
    content = recipe(folder)
    content["model"] = settings(folder, emoji=4, word_dropout=0.02).model_dump()
    content["optimisation"] |= {
        "epochs": 8,
        "learning_rate": 0.01,
        "patience": 8,
        "validation_rows": 60,
        "epoch_share": 1.5,
    }
    model = train(write_recipe(recipe_file, content), output=tmp_path / "m", runs=tmp_path / "runs")

    served = Classifier.load(model)
    assert served.card.max_length == 32
    texts = ["you are such a fool .", "you are such a friend !", "a teacher and an idiot . " * 9]
    found = served.predict(texts)
    assert found[0].probabilities[0] > 0.65 > 0.35 > found[1].probabilities[0]
    assert found[2].probabilities[0] > 0.65
    # The word, without the space that some tokenizers count to it.
    assert [(span.begin, span.end) for span in found[0].spans] == [(15, 19)]
    together, alone = served.predict_proba(texts), served.predict_proba(texts[:1])
    np.testing.assert_allclose(together[0], alone[0], atol=1e-5)

    # The same adapter in torch, in float32.
    ids = torch.tensor([Tokenizer.from_file(str(model / "tokenizer.json")).encode(texts[0]).ids])
    with torch.no_grad():
        logits, _ = load_network(model, folder)(ids, torch.tensor([ids.shape[1]]))
    np.testing.assert_allclose(served.logits(texts[:1])[0], logits[0].numpy(), atol=0.3)


def test_hidden_words_are_none_of_the_tokens_that_frame_a_text(
    tokenizers: dict[str, Tokenizer],
) -> None:
    tokenizer = tokenizers["roberta"]
    ids = np.asarray(tokenizer.encode("you are such a fool .").ids, np.int32)
    rows = Encoded([ids] * 50, [None] * 50, np.zeros((50, 1), np.float32))
    hidden, _, _, _ = Collator(tokenizer, 0.9)(rows, np.arange(50), np.random.default_rng(0))
    assert (hidden[:, 0] == tokenizer.token_to_id("<s>")).all()
    assert (hidden[:, -1] == tokenizer.token_to_id("</s>")).all()
    inner = hidden[:, 1:-1].numpy()
    changed = inner != ids[1:-1]
    assert changed.mean() > 0.8
    assert (inner[changed] == tokenizer.token_to_id("<unk>")).all()


def test_new_emoji_of_word_pieces_start_as_the_words_of_their_names(
    bases: Callable[[str], Path],
) -> None:
    folder = bases("electra")
    tokenizer = build_tokenizer(folder, ["🔪"])  # its Unicode name: HOCHO
    place = tokenizer.token_to_id("🔪")
    before = transformers.AutoModel.from_pretrained(folder).get_input_embeddings().weight
    network = merged(new_network(folder, tokenizer, settings(folder), 2))
    after = network.encoder.get_input_embeddings().weight
    pieces = tokenizer.encode("hocho", add_special_tokens=False).ids
    torch.testing.assert_close(after[place], before[pieces].mean(dim=0))
    rest = torch.arange(len(after)) != place
    assert torch.equal(after[rest], before[rest])


def changed(folder: Path, target: Path, **settings: Any) -> Path:
    shutil.copytree(folder, target)
    content = json.loads((target / "config.json").read_text())
    (target / "config.json").write_text(json.dumps(content | settings))
    return target


def test_what_cannot_be_a_base_is_refused(bases: Callable[[str], Path], tmp_path: Path) -> None:
    roberta = bases("roberta")

    def refusal(folder: Path, **more: Any) -> str:
        with pytest.raises(ConfigError) as info:
            new_network(folder, build_tokenizer(folder, []), settings(folder, **more), 2)
        assert str(folder) in str(info.value)
        return str(info.value)

    # Two places of RoBERTa's 66 are not for words.
    assert "cannot read 65 tokens (max_position_embeddings is 66)" in refusal(roberta, window=65)
    assert new_network(roberta, build_tokenizer(roberta, []), settings(roberta, window=64), 2)

    other = changed(roberta, tmp_path / "other", model_type="no-such-kind")
    assert "no encoder that this version of transformers can load" in refusal(other)
    code = {"auto_map": {"AutoConfig": "own.Config", "AutoModel": "own.Model"}}
    hub = changed(roberta, tmp_path / "hub", model_type="no-such-kind", **code)
    (hub / "own.py").write_text("raise SystemExit('code of the base was run')\n")
    assert "no encoder that this version of transformers can load" in refusal(hub)
    deeper = changed(roberta, tmp_path / "deeper", num_hidden_layers=3)
    assert "no tensor encoder.layer.2." in refusal(deeper)

    for name, kind, told in (
        ("gpt", transformers.GPT2Config(n_embd=32, n_layer=1, n_head=2, n_positions=64), "left to"),
        ("t5", transformers.T5Config(d_model=32, d_kv=8, num_layers=1, num_heads=2), "encoder"),
    ):
        kind.vocab_size = 400
        transformers.AutoModel.from_config(kind).save_pretrained(tmp_path / name)
        shutil.copy(roberta / "tokenizer.json", tmp_path / name)
        assert told in refusal(tmp_path / name)


def test_a_graph_that_computes_something_else_is_refused(
    bases: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.training.encoder.TOLERANCE", -1.0)
    with pytest.raises(ParityError, match="differs from torch"):
        export_encoder(merged(adapted(bases("electra"))), tmp_path / "model.onnx")
