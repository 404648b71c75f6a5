"""A trained network to an ONNX graph with int8 weights.

Weights are rounded to int8, one scale a row, and turned back to float32 when the graph is loaded;
activations stay float32. So the file is a quarter as large, and a text's score cannot depend on
the rest of its batch, as it would with activation scales computed at run time.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from moderation.errors import ModerationError
from moderation.models.classifier import open_session
from moderation.training.lstm import MASKED, LstmNetwork

OPSET = 18
IR_VERSION = 9
TOLERANCE = 1e-4

Array = NDArray[np.float32]


class ParityError(ModerationError):
    """The exported graph does not compute what the trained network computes."""


def quantise(weight: Array) -> tuple[NDArray[np.int8], Array]:
    """Symmetric int8 with one scale for each row of a matrix: (values, scales)."""
    scale = np.abs(weight).max(axis=1) / 127
    scale = np.where(scale == 0, 1, scale).astype(np.float32)
    values = np.clip(np.rint(weight / scale[:, None]), -127, 127).astype(np.int8)
    return values, scale


def rounded(network: LstmNetwork) -> LstmNetwork:
    """The same network with its matrices as int8 will have them."""
    result = copy.deepcopy(network).eval()
    with torch.no_grad():
        for parameter in result.parameters():
            if parameter.ndim == 2:
                values, scale = quantise(parameter.numpy())
                parameter.copy_(torch.from_numpy(values * scale[:, None]))
    return result


class _Graph:
    """Nodes and constants in the order they are added."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: NDArray[np.generic]) -> str:
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), name))
        return name

    def add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def matrix(self, name: str, weight: Array) -> str:
        """A matrix kept as int8; the name of its float32 form."""
        values, scale = quantise(weight)
        inputs = [
            self.constant(f"{name}.int8", values),
            self.constant(f"{name}.scale", scale),
            self.constant(f"{name}.zero", np.zeros(len(scale), np.int8)),
        ]
        return self.add("DequantizeLinear", inputs, name, axis=0)

    def linear(self, name: str, layer: torch.nn.Linear, values: str) -> str:
        weight = self.matrix(f"{name}.weight", layer.weight.detach().numpy())
        bias = self.constant(f"{name}.bias", layer.bias.detach().numpy())
        turned = self.add("Transpose", [weight], f"{name}.turned", perm=[1, 0])
        product = self.add("MatMul", [values, turned], f"{name}.product")
        return self.add("Add", [product, bias], name)


def _gates(weight: Array) -> Array:
    """From torch's order (input, forget, cell, output) to that of ONNX (i, o, f, c)."""
    first, forget, cell, output = np.split(weight, 4)
    return np.concatenate([first, output, forget, cell])


def lstm_graph(network: LstmNetwork) -> onnx.ModelProto:
    graph = _Graph()
    labels = network.output.out_features
    zero = graph.constant("zero", np.array([0], np.int64))
    one = graph.constant("one", np.array([1], np.int64))

    ids = graph.add("Transpose", ["input_ids"], "ids", perm=[1, 0])
    values, scale = quantise(network.embedding.weight.detach().numpy())
    # Looked up as int8 and scaled row by row: the table never exists as float32.
    looked = graph.add("Gather", [graph.constant("embedding.int8", values), ids], "rows.int8")
    scales = graph.add(
        "Gather", [graph.constant("embedding.scale", scale[:, None]), ids], "rows.scale"
    )
    floats = graph.add("Cast", [looked], "rows.float", to=TensorProto.FLOAT)
    current = graph.add("Mul", [floats, scales], "embedded")

    shape = graph.constant("time batch width", np.array([0, 0, -1], np.int64))
    outputs = []
    for place, layer in enumerate(network.directions()):
        hidden = layer[0].lstm.hidden_size
        weights: dict[str, list[Array]] = {"W": [], "R": [], "B": []}
        for direction in layer:
            lstm = direction.lstm
            tensors = {name: value.numpy() for name, value in lstm.state_dict().items()}
            weights["W"].append(_gates(tensors["weight_ih_l0"]))
            weights["R"].append(_gates(tensors["weight_hh_l0"]))
            weights["B"].append(_gates(tensors["bias_ih_l0"]))
            weights["B"].append(_gates(tensors["bias_hh_l0"]))
        inputs = [current]
        for kind in ("W", "R"):
            name = f"layer{place}.{kind}"
            both = np.concatenate(weights[kind])
            flat = graph.matrix(f"{name}.both", both)
            size = graph.constant(f"{name}.shape", np.array([2, 4 * hidden, both.shape[1]]))
            inputs.append(graph.add("Reshape", [flat, size], name))
        biases = np.concatenate(weights["B"]).reshape(2, 8 * hidden)
        inputs += [graph.constant(f"layer{place}.B", biases), "lengths"]
        states = graph.add(
            "LSTM", inputs, f"layer{place}", hidden_size=hidden, direction="bidirectional"
        )
        turned = graph.add("Transpose", [states], f"layer{place}.turned", perm=[0, 2, 1, 3])
        current = graph.add("Reshape", [turned, shape], f"layer{place}.states")
        outputs.append(current)
    if len(outputs) > 1:
        current = graph.add("Concat", outputs, "all states", axis=2)
    states = graph.add("Transpose", [current], "states", perm=[1, 0, 2])  # [batch, tokens, width]

    size = graph.add("Shape", ["input_ids"], "size", start=1, end=2)
    tokens = graph.add("Squeeze", [size, zero], "tokens")
    places = graph.add(
        "Range",
        [
            graph.constant("start", np.array(0, np.int64)),
            tokens,
            graph.constant("step", np.array(1, np.int64)),
        ],
        "places",
    )
    wide = graph.add("Cast", ["lengths"], "lengths64", to=TensorProto.INT64)
    column = graph.add("Unsqueeze", [wide, one], "lengths column")
    inside = graph.add("Less", [places, column], "inside")
    mask = graph.add(
        "Where",
        [
            inside,
            graph.constant("kept", np.array(0, np.float32)),
            graph.constant("masked", np.array(MASKED, np.float32)),
        ],
        "mask",
    )
    outside = graph.add("Unsqueeze", [mask, graph.constant("two", np.array([2]))], "outside")

    attention = graph.linear("attention", network.attention, states)
    masked = graph.add("Add", [attention, outside], "attention.masked")
    weights_ = graph.add("Softmax", [masked], "attention.weights", axis=1)
    turned = graph.add("Transpose", [weights_], "attention.weights.turned", perm=[0, 2, 1])
    attended = graph.add("MatMul", [turned, states], "attended")
    flat = graph.add(
        "Reshape", [attended, graph.constant("batch width", np.array([0, -1]))], "attended.flat"
    )
    high = graph.add("Add", [states, outside], "states.masked")
    highest = graph.add("ReduceMax", [high, one], "highest", keepdims=0)
    pooled = graph.add("Concat", [flat, highest], "pooled", axis=1)
    dense = graph.add("Relu", [graph.linear("dense", network.dense, pooled)], "dense.relu")
    result = graph.linear("output", network.output, dense)
    graph.add("Identity", [result], "logits")
    token = graph.linear("token", network.token, states)
    graph.add("Squeeze", [token, graph.constant("last", np.array([2]))], "token_logits")

    value = helper.make_tensor_value_info
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "lstm",
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
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="moderation",
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def export_lstm(network: LstmNetwork, file: Path) -> float:
    """Writes the graph and returns its largest difference from torch on random batches.

    Raises ParityError where that is above TOLERANCE.
    """
    onnx.save_model(lstm_graph(network), str(file))
    session = open_session(file)
    reference = rounded(network)
    rng = np.random.default_rng(0)
    worst = 0.0
    for rows in (1, 3, 8):
        lengths = rng.integers(1, 30, rows).astype(np.int32)
        ids = rng.integers(0, network.embedding.num_embeddings, (rows, int(lengths.max())))
        with torch.no_grad():
            logits, tokens = reference(torch.from_numpy(ids), torch.from_numpy(lengths).long())
        found = session.run(["logits", "token_logits"], {"input_ids": ids, "lengths": lengths})
        inside = np.arange(ids.shape[1]) < lengths[:, None]
        worst = max(
            worst,
            float(np.abs(found[0] - logits.numpy()).max()),
            float(np.abs(found[1] - tokens.numpy())[inside].max()),
        )
    if not worst <= TOLERANCE:
        raise ParityError(
            f"{file}: differs from torch by {worst:.2g}, more than {TOLERANCE:g}; "
            "upgrade onnxruntime, or report this with the versions of torch and onnxruntime"
        )
    return worst
