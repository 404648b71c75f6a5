"""Systems whose every score can be worked out by hand, and files to measure them on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

POLICY = """
name: test
plugins: [testing]
steps:
  - name: static
    filter: static
    options:
      scores: {awful: {rude: 0.95}, mild: {rude: 0.6}, spam: {advert: 0.8}}
      default: {rude: 0.05, advert: 0.1}
thresholds:
  rude: {review: 0.5, block: 0.9}
  advert: {review: 0.5}
"""
UNKNOWN = "[UNK]"
WORDS = ("sun", "rain", "idiot", "kill", "goal", "team", "bank", "price", "the", "a", "is", ".")
# What each word adds to the two hidden values of a text.
MEANING = {"idiot": (4.0, 0.0), "kill": (0.0, 4.0), "goal": (3.0, 0.0), "bank": (0.0, 3.0)}


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes columns as a file, in the format that its name asks for."""

    pandas = pytest.importorskip("pandas")

    def write(name: str = "data.csv", **columns: Any) -> Path:
        frame = pandas.DataFrame(columns)
        path = tmp_path / name
        if path.suffix == ".csv":
            frame.to_csv(path, index=False)
        elif path.suffix == ".jsonl":
            frame.to_json(path, orient="records", lines=True)
        else:
            frame.to_parquet(path)
        return path

    return write


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A model that adds up the meaning of words: logits are twice the sum, less two.

    Tokens point at a text where their first value is above three.
    """
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper
    from tokenizers import Tokenizer, models, pre_tokenizers

    from moderation.models import Calibration
    from moderation.models.artifact import new_folder, write_card

    vocabulary = {word: place for place, word in enumerate(("[PAD]", UNKNOWN, *WORDS))}
    meaning = np.zeros((len(vocabulary), 2), np.float32)
    for word, values in MEANING.items():
        meaning[vocabulary[word]] = values

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
        return helper.make_node(kind, inputs, [output], **attributes)

    def constant(name: str, value: Any) -> Any:
        return numpy_helper.from_array(np.asarray(value), name)

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [
            node("Gather", ["meaning", "input_ids"], "states"),
            node("ReduceSum", ["states", "one"], "summed", keepdims=0),
            node("MatMul", ["summed", "weight"], "product"),
            node("Add", ["product", "bias"], "sum"),
            # Lengths are an input that has to be used; padding means nothing here.
            node("Cast", ["lengths"], "floats", to=TensorProto.FLOAT),
            node("Mul", ["floats", "nothing"], "zeros"),
            node("Unsqueeze", ["zeros", "one"], "column"),
            node("Add", ["states", "shift"], "shifted"),
            node("Gather", ["shifted", "first"], "token_logits", axis=2),
            node("Identity", ["sum"], "logits"),
        ],
        "words",
        [
            value("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            value("lengths", TensorProto.INT32, ["batch"]),
        ],
        [
            value("logits", TensorProto.FLOAT, ["batch", 2]),
            value("token_logits", TensorProto.FLOAT, ["batch", "tokens"]),
        ],
        [
            constant("meaning", meaning),
            constant("one", np.array([1], np.int64)),
            constant("weight", 2 * np.eye(2, dtype=np.float32)),
            constant("bias", np.array([-2, -2], np.float32)),
            constant("nothing", np.float32(0)),
            constant("shift", np.float32(-3)),
            constant("first", np.array(0, np.int64)),
        ],
    )
    opset = [helper.make_opsetid("", 18)]
    network = helper.make_model(graph, opset_imports=opset, ir_version=9)

    def build(name: str, labels: tuple[str, ...], task: str) -> Path:
        folder = tmp_path_factory.mktemp("models") / name
        tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        with new_folder(folder) as scratch:
            onnx.save_model(network, str(scratch / "model.onnx"))
            tokenizer.save(str(scratch / "tokenizer.json"))
            fields: dict[str, Any] = {
                "name": name,
                "kind": "lstm",
                "task": task,
                "labels": labels,
                "languages": ("en",),
                "max_length": 16,
                "stride": 4,
                "data": {"fingerprint": "none", "rows": 0},
                "seed": 1,
                "command": "none",
                "calibration": Calibration(
                    scale=(1.0, 1.0), offset=(0.0, 0.0), base_rate=(0.5, 0.5), fitted_on="nothing"
                ),
                "span_threshold": 0.5,
            }
            write_card(scratch, fields)
        return folder

    return build


@pytest.fixture(scope="session")
def toxicity(model: Callable[..., Path]) -> Path:
    return model("tiny-toxicity", ("insult", "threat"), "multi_label")


@pytest.fixture(scope="session")
def topics(model: Callable[..., Path]) -> Path:
    return model("tiny-topics", ("sport", "money"), "multi_class")
