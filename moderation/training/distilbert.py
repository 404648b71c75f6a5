"""DistilBERT with LoRA: any encoder as base, the heads trained beside the adapter.

LoRA: Hu et al. 2021, arXiv 2106.09685. The encoder's own weights stay as published; what is
trained, and saved, is small low-rank matrices beside each of its linear layers, and the heads.
A BERT is converted here; encoders of other families are the matter of `encoder`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import MethodType
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model, get_peft_model_state_dict
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import DistilBertConfig, DistilBertModel

from moderation.errors import ConfigError
from moderation.models.artifact import TOKENIZER_FILE
from moderation.training.lstm import MASKED
from moderation.training.recipe import DistilBertLora

ADAPTER_FILE = "adapter_model.safetensors"
BERTS = ("bert", "distilbert")
LAYERS = ["q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"]


def load_encoder(folder: Path) -> DistilBertModel:
    """A DistilBERT or BERT folder as a DistilBERT without dropout that computes the same.

    Raises ConfigError where the folder holds another kind of network.
    """
    config = _config(folder)
    kind = config.get("model_type")
    if kind not in BERTS:
        raise ConfigError(
            f"expected model_type bert or distilbert, found {kind!r}; choose another base",
            where=str(folder / "config.json"),
        )
    tensors = load_file(folder / "model.safetensors")
    # Checkpoints with a language-model head keep the encoder under its kind's name.
    tensors = {name.removeprefix(f"{kind}."): tensor for name, tensor in tensors.items()}
    if kind == "bert":
        config, tensors = _from_bert(config, tensors)
    # The frozen weights cannot overfit, and dropout would cost a tenth of the speed on a CPU.
    settings = DistilBertConfig(**{**config, "dropout": 0.0, "attention_dropout": 0.0})
    if not torch.cuda.is_available():
        # torch's fused attention is made for long texts; short ones take twice as long on a CPU.
        settings._attn_implementation = "eager"
    encoder = DistilBertModel(settings)
    found = encoder.load_state_dict(
        {name: tensors[name] for name in encoder.state_dict() if name in tensors}, strict=False
    )
    if found.missing_keys:
        raise ConfigError(
            f"no tensor {found.missing_keys[0]}", where=str(folder / "model.safetensors")
        )
    return encoder


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    try:
        config: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot be read ({type(error).__name__})", where=str(file)) from error
    return config


def _from_bert(
    config: dict[str, Any], tensors: dict[str, Tensor]
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """DistilBERT has no token types: what all tokens of a lone text get goes into the positions."""
    names = {
        "attention.self.query": "attention.q_lin",
        "attention.self.key": "attention.k_lin",
        "attention.self.value": "attention.v_lin",
        "attention.output.dense": "attention.out_lin",
        "attention.output.LayerNorm": "sa_layer_norm",
        "intermediate.dense": "ffn.lin1",
        "output.dense": "ffn.lin2",
        "output.LayerNorm": "output_layer_norm",
    }
    result = {name: tensor for name, tensor in tensors.items() if name.startswith("embeddings.")}
    types = result.pop("embeddings.token_type_embeddings.weight")
    result["embeddings.position_embeddings.weight"] = (
        result["embeddings.position_embeddings.weight"] + types[0]
    )
    for layer in range(config["num_hidden_layers"]):
        for old, new in names.items():
            for kind in ("weight", "bias"):
                result[f"transformer.layer.{layer}.{new}.{kind}"] = tensors[
                    f"encoder.layer.{layer}.{old}.{kind}"
                ]
    return {
        "vocab_size": config["vocab_size"],
        "max_position_embeddings": config["max_position_embeddings"],
        "dim": config["hidden_size"],
        "n_layers": config["num_hidden_layers"],
        "n_heads": config["num_attention_heads"],
        "hidden_dim": config["intermediate_size"],
        "activation": config["hidden_act"],
    }, result


def name_emoji(encoder: DistilBertModel, tokenizer: Tokenizer) -> None:
    """Gives every emoji of the tokenizer the mean embedding of the words of its Unicode name."""
    table = encoder.embeddings.word_embeddings.weight
    with torch.no_grad():
        start = table.clone()
        for sign, place in tokenizer.get_vocab().items():
            if len(sign) != 1 or unicodedata.category(sign) not in ("So", "Sk", "Sm"):
                continue
            name = unicodedata.name(sign, "").lower()
            pieces = tokenizer.encode(name, add_special_tokens=False).ids
            if place < len(table) and pieces:
                table[place] = start[pieces].mean(dim=0)


class Heads(nn.Module):
    """Label outputs from the pooled states of a text, and one output a token."""

    def __init__(
        self, width: int, attention: int, dense: int, labels: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.token = nn.Linear(width, 1)
        self.attention = nn.Linear(width, attention)
        self.dense = nn.Linear(width * (attention + 1), dense)
        self.output = nn.Linear(dense, labels)
        self.dropout = nn.Dropout(dropout)
        # Attention starts as the mean over all tokens, which is what sentence encoders pool by.
        nn.init.zeros_(self.attention.weight)

    def forward(self, states: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        outside = torch.where(inside, 0.0, MASKED)[..., None].to(states.dtype)
        weights = torch.softmax(self.attention(states) + outside, dim=1)
        attended = (weights.transpose(1, 2) @ states).flatten(1)
        highest = (states + outside).amax(dim=1)
        pooled = torch.cat([attended, highest], dim=1)
        dense = nn.functional.gelu(self.dense(self.dropout(pooled)))
        return self.output(self.dropout(dense)), self.token(states)[..., 0]


class DistilBertNetwork(nn.Module):
    """(ids, lengths) -> (logits, token logits), as the LSTM has it."""

    def __init__(self, encoder: DistilBertModel, heads: Heads) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = heads

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`ids` [batch, tokens], `lengths` [batch] → [batch, labels], [batch, tokens]."""
        inside = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
        states = self.encoder(input_ids=ids, attention_mask=inside.long()).last_hidden_state
        result: tuple[Tensor, Tensor] = self.heads(states, inside)
        return result

    def adapted(self) -> list[str]:
        """Names of the layers beside which LoRA puts its matrices."""
        return LAYERS


def _bare(
    folder: Path, tokenizer: Tokenizer, heads: Callable[[int], Heads], tokens: int = 8
) -> DistilBertNetwork:
    """The base in `folder` without an adapter, under heads for the width of its states."""
    if _config(folder).get("model_type") in BERTS:
        encoder = load_encoder(folder)
        name_emoji(encoder, tokenizer)
        return DistilBertNetwork(encoder, heads(encoder.config.dim))
    from moderation.training.encoder import encoder_network

    return encoder_network(folder, tokenizer, heads, tokens)


def new_network(
    folder: Path, tokenizer: Tokenizer, model: DistilBertLora, labels: int
) -> PeftModel:
    """The base in `folder` with an untrained adapter and untrained heads."""

    def heads(width: int) -> Heads:
        return Heads(width, model.attention, model.dense, labels, model.dropout)

    longest = max(model.window, model.max_length)
    network = cast(Any, _bare(folder, tokenizer, heads, longest))
    config = LoraConfig(
        r=model.rank,
        lora_alpha=2 * model.rank,
        target_modules=network.adapted(),
        modules_to_save=["heads"],
    )
    network.name_or_path = model.base  # for adapter_config.json
    return _dense(get_peft_model(network, config))


def save_adapter(network: PeftModel, folder: Path) -> None:
    """Writes adapter_config.json and adapter_model.safetensors, the heads among them."""
    tensors = get_peft_model_state_dict(network, save_embedding_layers=False)
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / ADAPTER_FILE)
    network.peft_config["default"].save_pretrained(str(folder))


def load_network(
    model: str | Path, base: str | Path, *, trainable: bool = False, dropout: float = 0.0
) -> PeftModel:
    """A trained model in torch: its base, converted, with its saved adapter and heads.

    `model` is a model folder, `base` the folder of the base that its card names. With `trainable`
    the adapter and the heads can be trained further, the heads with `dropout`; without, only used
    or merged.

    Raises ConfigError where the base is no encoder, or the folder has no adapter.
    """
    folder = Path(model)
    try:
        tensors = load_file(folder / ADAPTER_FILE)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    except Exception as error:  # both libraries raise kinds of their own
        raise ConfigError(
            f"expected a model trained by LoRA with {ADAPTER_FILE} and {TOKENIZER_FILE} "
            f"({type(error).__name__})",
            where=str(folder),
        ) from error
    shapes = {name.rsplit("heads.", 1)[-1]: tensor.shape for name, tensor in tensors.items()}
    first, dense, labels = (
        shapes[f"{name}.weight"][0] for name in ("attention", "dense", "output")
    )

    def heads(width: int) -> Heads:
        return Heads(width, first, dense, labels, dropout)

    network = cast(Any, _bare(Path(base), tokenizer, heads))
    loaded = PeftModel.from_pretrained(network, str(folder), is_trainable=trainable)
    return _dense(loaded).eval()


def _dense(network: PeftModel) -> PeftModel:
    """Adapted layers multiply once, by the sum of base and adapter, not three times.

    The same function and the same gradients. On a CPU the two thin products and the casts between
    them cost more than the whole of the encoder's own arithmetic.
    """
    for module in network.modules():
        if isinstance(module, LoraLinear):
            module.forward = MethodType(_summed, module)  # type: ignore[method-assign]
    return network


def _summed(layer: LoraLinear, values: Tensor) -> Tensor:
    base = cast(nn.Linear, layer.base_layer)
    weight: Tensor = base.weight
    for name in layer.active_adapters:
        if name not in layer.merged_adapters:
            first, second = layer.lora_A[name].weight, layer.lora_B[name].weight
            weight = weight + (second * layer.scaling[name]) @ first
    return nn.functional.linear(values, weight, base.bias)


def merged(network: PeftModel) -> DistilBertNetwork:
    """The network with its adapter added into the encoder's weights. Changes `network`."""
    result: DistilBertNetwork = network.merge_and_unload()
    return result.eval()
