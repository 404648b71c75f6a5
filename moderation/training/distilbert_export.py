"""A trained DistilBERT to an ONNX graph that computes in int8, row by row.

Weights are rounded to seven bits, one scale a row: on processors without VNNI the product of an
8-bit activation and an 8-bit weight can overflow the 16 bits that two of them are summed in; with
seven bits it cannot. Activations are rounded at run time, one scale a token. The usual dynamic
quantisation takes one scale for the whole batch, and a text's score then depends on the texts
beside it (measured: by .04 on average, .25 at worst); here it cannot.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor, nn

from moderation.training.distilbert import DistilBertNetwork
from moderation.training.export import (
    IR_VERSION,
    OPSET,
    Array,
    ParityError,
    _Graph,
    quantise,
)
from moderation.training.lstm import MASKED

CONTRIB = "com.microsoft"
WEIGHT_LEVELS = 63
LEVELS = 127
SMALLEST_ROW = 1e-6
# The float32 graph must be that of torch. In int8 a value between two levels may fall to either
# side, here and in torch, and so may all that follows from it.
TOLERANCE = 1e-3
MEAN_TOLERANCE = 0.1


def seven_bits(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Symmetric, one scale for each row: (values from -63 to 63, scales)."""
    scale = np.abs(weight).max(axis=1) / WEIGHT_LEVELS
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    return np.rint(weight / scale[:, None]).astype(np.int8), scale


class _Rows(nn.Module):
    """A linear layer as the graph computes it, in torch: what the graph is checked against."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        values, scale = seven_bits(layer.weight.detach().numpy())
        self.weight = torch.from_numpy(values * scale[:, None])
        self.bias = layer.bias.detach()

    def forward(self, values: Tensor) -> Tensor:
        scale = values.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST_ROW) / LEVELS
        whole = (values / scale).round() * scale
        return nn.functional.linear(whole, self.weight, self.bias)


def rounded(network: DistilBertNetwork) -> DistilBertNetwork:
    """The same network, computing as its int8 graph does."""
    result = copy.deepcopy(network).eval()
    encoder: Any = result.encoder
    with torch.no_grad():
        for table in (
            encoder.embeddings.word_embeddings,
            encoder.embeddings.position_embeddings,
        ):
            values, scale = quantise(table.weight.numpy())
            table.weight.copy_(torch.from_numpy(values * scale[:, None]))
    for layer in encoder.transformer.layer:
        for owner in (layer.attention, layer.ffn):
            for name, child in list(owner.named_children()):
                if isinstance(child, nn.Linear):
                    setattr(owner, name, _Rows(child))
    result.heads.dense = _Rows(result.heads.dense)  # type: ignore[assignment]
    return result


class _Encoder(_Graph):
    """What an encoder needs beyond an LSTM: fused operators of ONNX Runtime, int8 products."""

    def __init__(self, *, int8: bool) -> None:
        super().__init__()
        self.int8 = int8

    def fused(self, operator: str, inputs: list[str], output: str, **attributes: object) -> str:
        return self.add(operator, inputs, output, domain=CONTRIB, **attributes)

    def table(self, name: str, weight: Array, places: str) -> str:
        """Looked up as int8 and scaled row by row: the table never exists as float32."""
        if not self.int8:
            return self.add("Gather", [self.constant(f"{name}.table", weight), places], name)
        values, scale = quantise(weight)
        rows = self.add("Gather", [self.constant(f"{name}.int8", values), places], f"{name}.rows")
        scales = self.constant(f"{name}.scale", scale[:, None])
        scales = self.add("Gather", [scales, places], f"{name}.scales")
        floats = self.add("Cast", [rows], f"{name}.float", to=TensorProto.FLOAT)
        return self.add("Mul", [floats, scales], name)

    def matrix(self, name: str, weight: Array) -> str:
        """The small heads stay as they are."""
        return self.constant(name, weight)

    def whole(self, values: str) -> tuple[str, str]:
        """`values` as whole numbers around 128, and the scale of each row."""
        if not self.int8:
            return values, ""
        size = self.add("Abs", [values], f"{values}.abs")
        size = self.add("ReduceMax", [size, "minus one"], f"{values}.largest", keepdims=1)
        size = self.add("Max", [size, "smallest row"], f"{values}.size")
        up = self.add("Div", ["levels", size], f"{values}.up")
        scaled = self.add("Mul", [values, up], f"{values}.scaled")
        result = self.add("QuantizeLinear", [scaled, "unit", "middle"], f"{values}.int8")
        return result, self.add("Div", [size, "levels"], f"{values}.down")

    def product(self, name: str, weight: Array, whole: tuple[str, str]) -> str:
        """Rows times the transpose of `weight`, without bias."""
        if not self.int8:
            return self.add("MatMul", [whole[0], self.constant(name, weight.T)], f"{name}.rows")
        values, scale = seven_bits(weight)
        columns = self.constant(f"{name}.int8", values.T)
        scales = self.constant(f"{name}.scale", scale)
        inputs = [whole[0], columns, "unit", scales, "middle"]
        result = self.fused("MatMulIntegerToFloat", inputs, f"{name}.product")
        return self.add("Mul", [result, whole[1]], f"{name}.rows")

    def normal(self, name: str, layer: nn.LayerNorm, inputs: list[str]) -> str:
        values = [self.parameter(f"{name}.weight", layer.weight)]
        values.append(self.parameter(f"{name}.bias", layer.bias))
        if len(inputs) == 1:
            return self.add("LayerNormalization", inputs + values, name, epsilon=layer.eps)
        bias = inputs[2:]
        return self.fused(
            "SkipLayerNormalization", inputs[:2] + values + bias, name, epsilon=layer.eps
        )

    def parameter(self, name: str, value: Tensor) -> str:
        return self.constant(name, value.detach().numpy())


def distilbert_graph(network: DistilBertNetwork, *, int8: bool = True) -> onnx.ModelProto:
    graph = _Encoder(int8=int8)
    encoder: Any = network.encoder
    heads = network.heads
    config = encoder.config
    graph.constant("minus one", np.array([-1], np.int64))
    graph.constant("smallest row", np.array(SMALLEST_ROW, np.float32))
    graph.constant("levels", np.array(LEVELS, np.float32))
    graph.constant("unit", np.array(1, np.float32))
    graph.constant("middle", np.array(128, np.uint8))

    size = graph.add("Shape", ["input_ids"], "size", start=1, end=2)
    tokens = graph.add("Squeeze", [size, graph.constant("zero", np.array([0]))], "tokens")
    start = graph.constant("start", np.array(0, np.int64))
    places = graph.add(
        "Range", [start, tokens, graph.constant("step", np.array(1, np.int64))], "places"
    )
    embeddings = encoder.embeddings
    words = graph.table("words", embeddings.word_embeddings.weight.detach().numpy(), "input_ids")
    positions = graph.table(
        "positions", embeddings.position_embeddings.weight.detach().numpy(), places
    )
    both = graph.add("Add", [words, positions], "embedded")
    states = graph.normal("embeddings.norm", embeddings.LayerNorm, [both])

    for number, layer in enumerate(encoder.transformer.layer):
        name = f"layer{number}"
        attention = layer.attention
        three = [attention.q_lin, attention.k_lin, attention.v_lin]
        weight = np.concatenate([part.weight.detach().numpy() for part in three])
        joined = graph.product(f"{name}.qkv", weight, graph.whole(states))
        names = [f"{name}.query", f"{name}.key", f"{name}.value"]
        graph.nodes.append(helper.make_node("Split", [joined], names, axis=-1, num_outputs=3))
        biases = np.concatenate([part.bias.detach().numpy() for part in three])
        attended = graph.fused(
            "MultiHeadAttention",
            [*names, graph.constant(f"{name}.qkv.bias", biases), "lengths"],
            f"{name}.attended",
            num_heads=config.n_heads,
        )
        out = graph.product(
            f"{name}.out", attention.out_lin.weight.detach().numpy(), graph.whole(attended)
        )
        bias = graph.parameter(f"{name}.out.bias", attention.out_lin.bias)
        states = graph.normal(f"{name}.attention.norm", layer.sa_layer_norm, [out, states, bias])
        wide = graph.product(
            f"{name}.lin1", layer.ffn.lin1.weight.detach().numpy(), graph.whole(states)
        )
        bias = graph.parameter(f"{name}.lin1.bias", layer.ffn.lin1.bias)
        wide = graph.fused("BiasGelu", [wide, bias], f"{name}.gelu")
        out = graph.product(
            f"{name}.lin2", layer.ffn.lin2.weight.detach().numpy(), graph.whole(wide)
        )
        bias = graph.parameter(f"{name}.lin2.bias", layer.ffn.lin2.bias)
        states = graph.normal(f"{name}.norm", layer.output_layer_norm, [out, states, bias])

    wide_lengths = graph.add("Cast", ["lengths"], "lengths64", to=TensorProto.INT64)
    column = graph.add("Unsqueeze", [wide_lengths, "minus one"], "lengths column")
    inside = graph.add("Less", [places, column], "inside")
    kept = graph.constant("kept", np.array(0, np.float32))
    masked = graph.constant("masked", np.array(MASKED, np.float32))
    mask = graph.add("Where", [inside, kept, masked], "mask")
    outside = graph.add("Unsqueeze", [mask, "minus one"], "outside")

    scores = graph.linear("attention", heads.attention, states)
    scores = graph.add("Add", [scores, outside], "attention.masked")
    weights = graph.add("Softmax", [scores], "attention.weights", axis=1)
    turned = graph.add("Transpose", [weights], "attention.weights.turned", perm=[0, 2, 1])
    attended = graph.add("MatMul", [turned, states], "attended")
    flat = graph.constant("flat", np.array([0, -1]))
    attended = graph.add("Reshape", [attended, flat], "attended.flat")
    high = graph.add("Add", [states, outside], "states.masked")
    one = graph.constant("one", np.array([1]))
    highest = graph.add("ReduceMax", [high, one], "highest", keepdims=0)
    pooled = graph.add("Concat", [attended, highest], "pooled", axis=1)
    dense = graph.product("dense", heads.dense.weight.detach().numpy(), graph.whole(pooled))
    bias = graph.parameter("dense.bias", heads.dense.bias)
    dense = graph.fused("BiasGelu", [dense, bias], "dense.gelu")
    graph.add("Identity", [graph.linear("output", heads.output, dense)], "logits")
    token = graph.linear("token", heads.token, states)
    graph.add("Squeeze", [token, "minus one"], "token_logits")

    value = helper.make_tensor_value_info
    labels = heads.output.out_features
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "distilbert",
            [
                value("input_ids", TensorProto.INT64, ["batch", "tokens"]),
                value("lengths", TensorProto.INT32, ["batch"]),
            ],
            [
                value("logits", TensorProto.FLOAT, ["batch", labels]),
                value("token_logits", TensorProto.FLOAT, ["batch", "tokens"]),
            ],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET), helper.make_opsetid(CONTRIB, 1)],
        ir_version=IR_VERSION,
        producer_name="moderation",
    )
    onnx.checker.check_model(model)
    return model


def export_distilbert(network: DistilBertNetwork, file: Path) -> float:
    """Writes the int8 graph and returns its largest difference from torch on random batches.

    Raises ParityError where the float32 graph differs from torch by more than TOLERANCE, or the
    int8 graph from torch's own int8 by more than MEAN_TOLERANCE on average.
    """
    onnx.save_model(distilbert_graph(network), str(file))
    exact = _difference(distilbert_graph(network, int8=False).SerializeToString(), network)
    whole = _difference(str(file), rounded(network))
    if not exact.max() <= TOLERANCE or not whole.mean() <= MEAN_TOLERANCE:
        raise ParityError(
            f"{file}: differs from torch by {exact.max():.2g} in float32, where {TOLERANCE:g} are "
            f"allowed, and by {whole.mean():.2g} on average in int8, where {MEAN_TOLERANCE:g} are; "
            "upgrade onnxruntime, or report this with the versions of torch and onnxruntime"
        )
    return float(whole.max())


def _difference(graph: str | bytes, network: DistilBertNetwork) -> Array:
    """Absolute differences of all outputs on random batches."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    config: Any = network.encoder.config
    rng = np.random.default_rng(0)
    found: list[Array] = []
    network.eval()
    for rows in (1, 3, 8):
        lengths = rng.integers(2, 30, rows).astype(np.int32)
        ids = rng.integers(0, config.vocab_size, (rows, int(lengths.max())))
        with torch.no_grad():
            logits, tokens = network(torch.from_numpy(ids), torch.from_numpy(lengths).long())
        said = session.run(["logits", "token_logits"], {"input_ids": ids, "lengths": lengths})
        inside = np.arange(ids.shape[1]) < lengths[:, None]
        found.append(np.abs(said[0] - logits.numpy()).ravel())
        found.append(np.abs(said[1] - tokens.numpy())[inside])
    return np.concatenate(found)
