"""A picture of what a model sees: texts as points, near where they are alike."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.manifold import TSNE

from moderation.evaluation.labelled import Labelled
from moderation.models import read_card
from moderation.models.artifact import GRAPH_FILE, TOKENIZER_FILE

ROWS = 1200
WIDTH = 50
BATCH = 64
_PASSING = {"Identity", "Cast", "Squeeze", "Reshape", "Add", "Mul"}
_PRODUCTS = {"MatMul", "Gemm", "MatMulInteger", "QLinearMatMul", "MatMulNBits"}

Array = NDArray[np.float32]


def pick(labelled: Labelled, count: int = ROWS) -> NDArray[np.int64]:
    """Rows worth a point: as many positives as negatives, as far as there are."""
    if labelled.task == "multi_class":
        strata = labelled.targets.argmax(axis=1)
    else:
        strata = (np.nan_to_num(labelled.targets) >= 0.5).any(axis=1).astype(np.int64)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(labelled))
    # The nth row of each stratum comes before the n+1st of any.
    turns = np.empty(len(labelled), np.int64)
    for stratum in np.unique(strata):
        members = order[strata[order] == stratum]
        turns[members] = np.arange(len(members))
    chosen = order[np.argsort(turns[order], kind="stable")][:count]
    return np.sort(chosen)


def coordinates(texts: Sequence[str], model: Path | None) -> tuple[Array, str]:
    """[n, 3] by t-SNE (van der Maaten and Hinton 2008), and what was embedded.

    The last hidden layer of `model`, where its graph shows one; else TF-IDF, reduced by SVD.
    """
    values, source = None, ""
    if model is not None:
        values = hidden_states(model, texts)
        source = f"the last hidden layer of {read_card(model).name}"
    if values is None:
        words = TfidfVectorizer(sublinear_tf=True, analyzer=str.split).fit_transform(texts)
        width = max(2, min(WIDTH, words.shape[1] - 1, len(texts) - 1))
        values = TruncatedSVD(width, random_state=0).fit_transform(words)
        source = "TF-IDF of words, reduced by SVD (no model offers a hidden layer)"
    if values.shape[1] > WIDTH and len(values) > WIDTH:
        values = PCA(WIDTH, random_state=0).fit_transform(values)
    # t-SNE starts from noise where there is no direction to start from.
    start = "pca" if values.shape[1] >= 3 and len(values) > 3 else "random"
    perplexity = max(1.0, min(30.0, (len(values) - 1) / 3))
    placed = TSNE(3, perplexity=perplexity, init=start, random_state=0).fit_transform(values)
    return np.asarray(placed, np.float32), source


def hidden_states(folder: Path, texts: Sequence[str]) -> Array | None:
    """What the last layer of a model's graph reads, [n, width]; None where it shows no such layer.

    Of a long text the first window.
    """
    try:
        import onnx
    except ImportError:
        return None
    import onnxruntime
    import tokenizers

    graph = onnx.load(str(folder / GRAPH_FILE))
    name = _last_hidden(graph)
    if name is None:
        return None
    graph.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    tokenizer.no_padding()
    tokenizer.enable_truncation(read_card(folder).max_length)
    clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
    encodings = tokenizer.encode_batch(clean)
    order = np.argsort([len(encoding) for encoding in encodings], kind="stable")
    result: Array | None = None
    for begin in range(0, len(order), BATCH):
        rows = order[begin : begin + BATCH]
        lengths = np.asarray([len(encodings[row]) for row in rows], np.int32)
        ids = np.zeros((len(rows), int(lengths.max())), np.int64)
        for place, row in enumerate(rows):
            ids[place, : lengths[place]] = encodings[row].ids
        states = session.run([name], {"input_ids": ids, "lengths": lengths})[0]
        if states.ndim != 2:
            return None
        if result is None:
            result = np.empty((len(texts), states.shape[1]), np.float32)
        result[rows] = states
    return result


def _last_hidden(model: Any) -> str | None:
    """The values that the product before `logits` is taken of: what a linear layer reads."""
    makers = {output: node for node in model.graph.node for output in node.output}
    inputs = {value.name for value in model.graph.input}

    def varies(name: str, seen: set[str]) -> bool:
        # Weights, however they are unpacked, do not come from an input.
        if name in inputs:
            return True
        if name not in makers or name in seen:
            return False
        seen.add(name)
        return any(varies(source, seen) for source in makers[name].input)

    name = "logits"
    while name in makers:
        node = makers[name]
        varying = [source for source in node.input if varies(source, set())]
        if len(varying) != 1:
            return None
        if node.op_type in _PRODUCTS:
            return str(varying[0])
        if node.op_type not in _PASSING:
            return None
        name = varying[0]
    return None
