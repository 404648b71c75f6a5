"""Any other Hugging Face encoder as the base of a LoRA run: RoBERTa, ELECTRA, MPNet, ModernBERT…

A BERT becomes a DistilBERT with a graph of our own (`distilbert`, `distilbert_export`). Every other
encoder is run as transformers has it and exported as torch traces it. Its matrices are stored as
int8, one scale a row, and turned back to float32 when the graph is loaded: a quarter of the size at
the speed of float32, and no text's score depends on the texts beside it.
"""

from __future__ import annotations

import copy
import unicodedata
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from moderation.errors import ConfigError
from moderation.models.artifact import TOKENIZER_FILE
from moderation.models.classifier import open_session
from moderation.training.distilbert import DistilBertNetwork, Heads
from moderation.training.export import IR_VERSION, OPSET, Array, ParityError, quantise

TOLERANCE = 1e-3
SMALLEST = 1024
"""Numbers in a matrix from which on it is stored as int8."""


class EncoderNetwork(DistilBertNetwork):
    """(ids, lengths) -> (logits, token logits), whatever the family pads with."""

    def __init__(self, encoder: Any, heads: Heads) -> None:
        super().__init__(encoder, heads)
        # RoBERTa and its kin number their places by what is no padding.
        self.padding = encoder.config.pad_token_id or 0

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        inside = torch.arange(ids.shape[1], device=ids.device)[None] < lengths[:, None]
        return super().forward(torch.where(inside, ids, self.padding), lengths)

    def adapted(self) -> list[str]:
        """Every linear layer of the encoder but that of a pooler, which our heads stand in for."""
        return [
            f"encoder.{name}"
            for name, module in self.encoder.named_modules()
            if isinstance(module, nn.Linear) and "pooler" not in name
        ]


def encoder_network(
    folder: Path, tokenizer: Tokenizer, heads: Callable[[int], Heads], tokens: int
) -> EncoderNetwork:
    """The base in `folder` under heads that are made for the width of its states.

    `tokens` is how long a text it has to read.

    Raises ConfigError where the folder holds no encoder that transformers knows, or one that reads
    shorter texts, or from left to right only.
    """
    encoder = _load(folder)
    name_new_signs(encoder, tokenizer, folder)
    network = EncoderNetwork(encoder, heads(_width(encoder, tokens, folder)))
    if not network.adapted():
        raise ConfigError("has no linear layer that LoRA could adapt", where=str(folder))
    return network


def _load(folder: Path) -> Any:
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise ConfigError(
                f"{config.model_type} writes what it was asked for; choose an encoder as base",
                where=str(folder / "config.json"),
            )
        # The frozen weights cannot overfit, and dropout costs time.
        for name, value in config.to_dict().items():
            if "drop" in name and isinstance(value, float):
                setattr(config, name, 0.0)
        encoder, report = AutoModel.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            # The form that torch.onnx.export traces for every family.
            attn_implementation="eager",
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise ConfigError(
            f"no encoder that this version of transformers can load ({type(error).__name__}); "
            "choose another base",
            where=str(folder),
        ) from error
    if missing := sorted(name for name in report["missing_keys"] if "pooler" not in name):
        raise ConfigError(f"no tensor {missing[0]}", where=str(folder / "model.safetensors"))
    return encoder.float()


def _width(encoder: Any, tokens: int, folder: Path) -> int:
    """The width of its states, found by having it read two texts that differ in the last word."""
    first = 1 + (encoder.config.pad_token_id or 0)
    ids = torch.full((2, tokens), first % encoder.get_input_embeddings().num_embeddings)
    ids[1, 1] += 1
    encoder.eval()
    try:
        with torch.no_grad():
            states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
    except (IndexError, RuntimeError) as error:
        limit = getattr(encoder.config, "max_position_embeddings", None)
        told = f" (max_position_embeddings is {limit})" if limit else ""
        raise ConfigError(
            f"cannot read {tokens} tokens{told}; lower model.window and model.max_length",
            where=str(folder / "config.json"),
        ) from error
    if torch.equal(states[0, 0], states[1, 0]):
        raise ConfigError(
            f"{encoder.config.model_type} reads from left to right only; choose an encoder as base",
            where=str(folder / "config.json"),
        )
    return int(states.shape[-1])


def name_new_signs(encoder: Any, tokenizer: Tokenizer, folder: Path) -> None:
    """Gives an emoji that took an unused place the mean embedding of the words of its name."""
    known = Tokenizer.from_file(str(folder / TOKENIZER_FILE)).get_vocab()
    table = encoder.get_input_embeddings().weight
    with torch.no_grad():
        start = table.clone()
        for sign, place in tokenizer.get_vocab().items():
            if sign in known or len(sign) != 1 or place >= len(table):
                continue
            name = unicodedata.name(sign, "").lower()
            pieces = tokenizer.encode(name, add_special_tokens=False).ids
            if pieces:
                table[place] = start[pieces].mean(dim=0)


def rounded(network: EncoderNetwork) -> EncoderNetwork:
    """The same network with its matrices as int8 will have them."""
    result = copy.deepcopy(network).eval()
    seen: set[int] = set()
    with torch.no_grad():
        for module in result.modules():
            if not isinstance(module, (nn.Linear, nn.Embedding)) or id(module.weight) in seen:
                continue
            seen.add(id(module.weight))
            if module.weight.numel() >= SMALLEST:
                values, scale = quantise(module.weight.numpy())
                module.weight.copy_(torch.from_numpy(values * scale[:, None]))
    return result


def export_encoder(network: EncoderNetwork, file: Path) -> float:
    """Writes the graph and returns its largest difference from torch on random batches.

    Raises ParityError where that is above TOLERANCE, or torch cannot trace the network.
    """
    network = rounded(network)
    ids = torch.ones((2, 8), dtype=torch.int64)
    lengths = torch.tensor([8, 5], dtype=torch.int32)
    try:
        with warnings.catch_warnings():
            # The tracer warns of every shape it looks at, and that it is the older of two: it
            # needs no further package, and what it wrote is checked below.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (ids, lengths),
                str(file),
                input_names=["input_ids", "lengths"],
                output_names=["logits", "token_logits"],
                dynamic_axes={
                    "input_ids": {0: "batch", 1: "tokens"},
                    "lengths": {0: "batch"},
                    "logits": {0: "batch"},
                    "token_logits": {0: "batch", 1: "tokens"},
                },
                opset_version=OPSET,
                dynamo=False,
            )
    except (RuntimeError, ValueError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise ParityError(
            f"{file}: torch cannot write {network.encoder.config.model_type} as ONNX "
            f"({type(error).__name__}); choose another base"
        ) from error
    onnx.save_model(_stored_as_int8(onnx.load(str(file))), str(file))
    worst = _difference(file, network)
    if not worst <= TOLERANCE:
        raise ParityError(
            f"{file}: differs from torch by {worst:.2g}, more than {TOLERANCE:g}; choose another "
            "base, or report this with the versions of torch, transformers and onnxruntime"
        )
    return worst


def _stored_as_int8(model: onnx.ModelProto) -> onnx.ModelProto:
    """Matrices that are multiplied by, or looked up in, as int8 beside their scales.

    The weights were rounded before they were traced: nothing is lost here.
    """
    graph = model.graph
    # Along this axis of a matrix lie the rows of the torch layer that it came from.
    axes: dict[str, int] = {}
    for node in graph.node:
        if node.op_type == "Gather":
            axes[node.input[0]] = 0
        elif node.op_type == "Gemm":
            turned = any(item.name == "transB" and item.i for item in node.attribute)
            axes[node.input[1]] = 0 if turned else 1
        elif node.op_type == "MatMul":
            axes[node.input[1]] = 1
    added: list[onnx.NodeProto] = []
    for tensor in list(graph.initializer):
        axis = axes.get(tensor.name)
        if axis is None or tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) != 2:
            continue
        weight: Array = numpy_helper.to_array(tensor)
        if weight.size < SMALLEST:
            continue
        values, scale = quantise(weight if axis == 0 else weight.T)
        name = tensor.name
        graph.initializer.remove(tensor)
        stored: tuple[tuple[str, NDArray[Any]], ...] = (
            (f"{name}.int8", values if axis == 0 else values.T),
            (f"{name}.scale", scale),
            (f"{name}.zero", np.zeros(len(scale), np.int8)),
        )
        for key, value in stored:
            graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(value), key))
        inputs = [key for key, _ in stored]
        added.append(helper.make_node("DequantizeLinear", inputs, [name], axis=axis))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    model.ir_version = IR_VERSION
    model.producer_name = "moderation"
    onnx.checker.check_model(model)
    return model


def _difference(file: Path, network: EncoderNetwork) -> float:
    session = open_session(file)
    rng = np.random.default_rng(0)
    words = network.encoder.get_input_embeddings().num_embeddings
    worst = 0.0
    network.eval()
    for rows in (1, 3, 8):
        lengths = rng.integers(2, 30, rows).astype(np.int32)
        ids = rng.integers(0, words, (rows, int(lengths.max())))
        with torch.no_grad():
            logits, tokens = network(torch.from_numpy(ids), torch.from_numpy(lengths))
        said = session.run(["logits", "token_logits"], {"input_ids": ids, "lengths": lengths})
        inside = np.arange(ids.shape[1]) < lengths[:, None]
        worst = max(
            worst,
            float(np.abs(said[0] - logits.numpy()).max()),
            float(np.abs(said[1] - tokens.numpy())[inside].max()),
        )
    return worst
