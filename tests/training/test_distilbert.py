"""A tiny DistilBERT with LoRA: against transformers and peft, and from recipe to model folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("peft")

from peft.tuners.lora import Linear as LoraLinear  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402

from moderation.errors import ConfigError  # noqa: E402
from moderation.models import Classifier  # noqa: E402
from moderation.training import train  # noqa: E402
from moderation.training import trainer as trainer_module  # noqa: E402
from moderation.training.distilbert import (  # noqa: E402
    load_encoder,
    load_network,
    merged,
    name_emoji,
    new_network,
    save_adapter,
)
from moderation.training.distilbert_export import (  # noqa: E402
    LEVELS,
    WEIGHT_LEVELS,
    export_distilbert,
    seven_bits,
)
from moderation.training.distill import makes  # noqa: E402
from moderation.training.export import ParityError  # noqa: E402
from moderation.training.recipe import DistilBertLora  # noqa: E402
from tests.training.conftest import recipe, write_recipe  # noqa: E402

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def bert(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of random weights with the tiny vocabulary."""
    folder = tmp_path_factory.mktemp("bases") / "tiny-bert"
    words = Tokenizer.from_file(str(base / "tokenizer.json")).get_vocab_size()
    torch.manual_seed(1)
    config = transformers.BertConfig(vocab_size=words, initializer_range=0.1, **SIZES)
    transformers.BertModel(config).save_pretrained(folder)
    shutil.copy(base / "tokenizer.json", folder)
    return folder


@pytest.fixture(scope="module")
def model(bert: Path) -> DistilBertLora:
    return DistilBertLora(
        kind="distilbert", base=str(bert), base_licence="none", rank=4, attention=2, dense=16
    )


@pytest.fixture
def network(bert: Path, model: DistilBertLora) -> Any:
    """An adapter that changes something: peft starts with one that does not."""
    tokenizer = Tokenizer.from_file(str(bert / "tokenizer.json"))
    torch.manual_seed(2)
    result = new_network(bert, tokenizer, model, 3)
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            if "lora_B" in name or "heads.modules_to_save" in name:
                parameter.normal_(std=0.2)
    return result.eval()


def batch(words: int) -> tuple[Any, Any]:
    torch.manual_seed(3)
    return torch.randint(0, words, (3, 12)), torch.tensor([12, 5, 2])


def outputs(network: Any) -> tuple[Any, Any]:
    ids, lengths = batch(60)
    with torch.no_grad():
        logits, tokens = network(ids, lengths)
    return logits, tokens[torch.arange(12)[None] < lengths[:, None]]


def test_a_converted_bert_computes_what_the_bert_computes(bert: Path) -> None:
    ids, lengths = batch(60)
    mask = (torch.arange(12)[None] < lengths[:, None]).long()
    original = transformers.BertModel.from_pretrained(bert).eval()
    with torch.no_grad():
        expected = original(input_ids=ids, attention_mask=mask).last_hidden_state
        found = load_encoder(bert).eval()(input_ids=ids, attention_mask=mask).last_hidden_state

    torch.testing.assert_close(found[mask.bool()], expected[mask.bool()], rtol=1e-5, atol=1e-5)


def test_a_distilbert_is_taken_as_it_is_with_or_without_its_language_model_head(
    bert: Path, tmp_path: Path
) -> None:
    config = transformers.DistilBertConfig(
        vocab_size=70, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=64
    )
    for kind in (transformers.DistilBertModel, transformers.DistilBertForMaskedLM):
        saved = kind(config)
        saved.save_pretrained(tmp_path / kind.__name__)
        encoder = saved if kind is transformers.DistilBertModel else saved.distilbert
        found = load_encoder(tmp_path / kind.__name__).state_dict()
        for name, value in encoder.state_dict().items():
            assert torch.equal(found[name], value)


def test_another_kind_of_network_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "gpt"
    shutil.copytree(bert, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    with pytest.raises(ConfigError, match=r"config\.json: .*expected .*distilbert, found 'gpt2'"):
        load_encoder(folder)


def test_a_base_with_a_missing_tensor_is_refused(bert: Path, tmp_path: Path) -> None:
    folder = tmp_path / "short"
    shutil.copytree(bert, folder)
    content = json.loads((folder / "config.json").read_text())
    content["model_type"] = "distilbert"
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(ConfigError, match=r"model\.safetensors: .*no tensor"):
        load_encoder(folder)


def test_an_emoji_starts_as_the_words_of_its_name(bert: Path) -> None:
    from moderation.training.vocabulary import build_tokenizer

    tokenizer = build_tokenizer(bert, ["🔪"])  # its Unicode name: HOCHO
    encoder = load_encoder(bert)
    table = encoder.embeddings.word_embeddings.weight.detach().clone()
    name_emoji(encoder, tokenizer)
    pieces = tokenizer.encode("hocho", add_special_tokens=False).ids
    place = tokenizer.token_to_id("🔪")

    changed = encoder.embeddings.word_embeddings.weight.detach()
    torch.testing.assert_close(changed[place], table[pieces].mean(dim=0))
    rest = torch.arange(len(table)) != place
    assert torch.equal(changed[rest], table[rest])


def test_an_adapted_layer_computes_what_peft_computes(network: Any) -> None:
    layers = [layer for layer in network.modules() if isinstance(layer, LoraLinear)]
    assert len(layers) == 12
    for layer in layers:
        values = torch.randn(5, layer.in_features, requires_grad=True)
        adapter = [layer.lora_A["default"].weight, layer.lora_B["default"].weight]
        found, expected = layer(values), type(layer).forward(layer, values)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
        push = torch.randn_like(found)
        for one, two in zip(
            torch.autograd.grad(found, [values, *adapter], push),
            torch.autograd.grad(expected, [values, *adapter], push),
            strict=True,
        ):
            torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_only_adapter_and_heads_are_trained(network: Any) -> None:
    for name, parameter in network.named_parameters():
        learnt = "lora_" in name or "heads.modules_to_save" in name
        assert parameter.requires_grad == learnt, name


def test_saved_loaded_and_merged_networks_agree(network: Any, bert: Path, tmp_path: Path) -> None:
    save_adapter(network, tmp_path)
    shutil.copy(bert / "tokenizer.json", tmp_path)
    loaded = load_network(tmp_path, bert)
    further = load_network(tmp_path, bert, trainable=True)
    expected = outputs(network)

    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert any(parameter.requires_grad for parameter in further.parameters())
    for other in (loaded, further, merged(loaded)):
        for one, two in zip(outputs(other), expected, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-5)


def test_a_folder_without_an_adapter_is_refused(bert: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"adapter_model\.safetensors"):
        load_network(tmp_path, bert)


def test_padding_and_neighbours_change_nothing(network: Any, tmp_path: Path) -> None:
    from moderation.models.classifier import open_session

    whole = merged(network)
    assert export_distilbert(whole, tmp_path / "model.onnx") < 1
    session = open_session(tmp_path / "model.onnx")
    ids, lengths = batch(60)
    feeds = {"input_ids": ids.numpy(), "lengths": lengths.int().numpy()}
    together = session.run(["logits", "token_logits"], feeds)
    for row, length in enumerate(lengths.tolist()):
        feeds = {
            "input_ids": ids[row : row + 1, :length].numpy(),
            "lengths": np.array([length], np.int32),
        }
        logits, tokens = session.run(["logits", "token_logits"], feeds)
        np.testing.assert_allclose(together[0][row], logits[0], atol=1e-5)
        np.testing.assert_allclose(together[1][row, :length], tokens[0], atol=1e-5)


def test_a_graph_that_computes_something_else_is_refused(
    network: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moderation.training.distilbert_export.TOLERANCE", 0.0)
    with pytest.raises(ParityError, match="differs from torch"):
        export_distilbert(merged(network), tmp_path / "model.onnx")


def test_seven_bits_cannot_overflow_sixteen() -> None:
    weight = np.random.default_rng(0).normal(size=(6, 50)).astype(np.float32)
    weight[2] = 0
    values, scale = seven_bits(weight)

    # vpmaddubsw, which processors without VNNI have, adds two products in sixteen bits.
    assert 2 * (128 + LEVELS) * int(np.abs(values.astype(int)).max()) <= 2**15 - 1
    assert np.abs(values.astype(int)).max() == WEIGHT_LEVELS
    assert np.abs(values * scale[:, None] - weight).max() <= scale.max() / 2 + 1e-6


@pytest.fixture
def recipe_file(recipe_file: Path, bert: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("MODERATION_DATA", raising=False)
    monkeypatch.delenv("MODERATION_MODELS", raising=False)
    content = recipe(bert)
    content["model"] = {
        "kind": "distilbert",
        "base": str(bert),
        "base_licence": "none",
        "emoji": 4,
        "rank": 4,
        "dense": 16,
        "max_length": 24,
        "window": 32,
        "stride": 8,
    }
    content["optimisation"] |= {
        "epochs": 8,
        "learning_rate": 0.01,
        "patience": 8,
        "precision": "bfloat16",
    }
    content["optimisation"] |= {"validation_rows": 60, "epoch_share": 1.5}
    return write_recipe(recipe_file, content)


def test_a_recipe_becomes_a_model_that_resumes_and_reloads(
    recipe_file: Path, bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe_file, output=tmp_path / "whole", runs=tmp_path / "runs")

    served = Classifier.load(whole)
    assert served.card.kind == "distilbert"
    assert served.card.max_length == 32
    assert {"adapter_config.json", "adapter_model.safetensors"} <= set(served.card.files)
    texts = ["you are such a fool .", "you are such a friend !", "a teacher and an idiot . " * 9]
    predictions = served.predict(texts)
    assert predictions[0].probabilities[0] > 0.8 > 0.2 > predictions[1].probabilities[0]
    assert predictions[2].probabilities[0] > 0.8
    assert [(span.begin, span.end) for span in predictions[0].spans] == [(15, 19)]
    np.testing.assert_allclose(
        served.predict_proba(texts)[0], served.predict_proba(texts[:1])[0], atol=1e-5
    )

    # The same adapter in torch, in float32.
    tokenizer = Tokenizer.from_file(str(whole / "tokenizer.json"))
    ids = torch.tensor([tokenizer.encode(texts[0]).ids])
    with torch.no_grad():
        logits, _ = load_network(whole, bert)(ids, torch.tensor([ids.shape[1]]))
    np.testing.assert_allclose(served.logits(texts[:1])[0], logits[0].numpy(), atol=0.5)

    save = trainer_module.Run.save

    def interrupt(self: Any, progressed: Any, *rest: Any) -> None:
        save(self, progressed, *rest)
        if progressed.epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.Run, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(recipe_file, output=tmp_path / "broken", runs=tmp_path / "runs two")
    again = train(recipe_file, output=tmp_path / "broken", runs=tmp_path / "runs two", resume=True)
    name = "adapter_model.safetensors"
    assert (again / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.parametrize(("rate", "kept"), [(1e-6, 0.0), (0.01, 1.0)])
def test_training_goes_on_from_an_adapter(
    recipe_file: Path, tmp_path: Path, rate: float, kept: float
) -> None:
    content = yaml.safe_load(recipe_file.read_text())
    content["optimisation"]["epochs"] = 4
    first = train(
        write_recipe(recipe_file, content), output=tmp_path / "first", runs=tmp_path / "runs"
    )
    # With short steps, or with all of the old weights kept, what went in must come out.
    content["model"] |= {"adapter": str(first), "kept": kept}
    content["optimisation"] |= {"epochs": 1, "learning_rate": rate}
    further = write_recipe(recipe_file.with_name("further.yaml"), content)

    second = train(further, output=tmp_path / "second", runs=tmp_path / "runs two")

    assert (second / "tokenizer.json").read_bytes() == (first / "tokenizer.json").read_bytes()
    old, new = Classifier.load(first), Classifier.load(second)
    texts = ["you are such a fool .", "you are such a friend !"]
    np.testing.assert_allclose(new.logits(texts), old.logits(texts), atol=0.05)
    assert new.card.data.adapter == f"{old.card.name} {makes(old.card)}"
    assert new.card.data.adapter in (second / "README.md").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": {"rank": 8}}, "model.rank: the adapter is of rank 4, the recipe says 8"),
        ({"model": {"base": "elsewhere"}}, "model.adapter: .* the base .*, the recipe elsewhere"),
        ({"labels": ["insult"]}, r"model.adapter: .* the labels \['insult', 'loud'\], the recipe"),
        ({"preparation": {"clean": ["case"]}}, "preparation.clean: .* leave it out"),
        ({"model": {"adapter": None, "kept": 0.5}}, "model.kept: nothing is kept"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    recipe_file: Path, bert: Path, tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    content = yaml.safe_load(recipe_file.read_text())
    content["optimisation"]["epochs"] = 1
    first = train(
        write_recipe(recipe_file, content), output=tmp_path / "first", runs=tmp_path / "runs"
    )
    content["model"] |= {"adapter": str(first)} | change.pop("model", {})
    if content["model"]["base"] == "elsewhere":
        (recipe_file.parent / "elsewhere").symlink_to(bert)
    content |= change
    with pytest.raises(ConfigError, match=message):
        train(write_recipe(recipe_file, content), output=tmp_path / "two", runs=tmp_path / "runs")
    assert not (tmp_path / "two").exists()
