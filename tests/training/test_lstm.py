"""The network against torch's own packed sequences, and the exported graph against the network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from moderation.models.classifier import open_session  # noqa: E402
from moderation.training.export import (  # noqa: E402
    ParityError,
    export_lstm,
    quantise,
    rounded,
)
from moderation.training.lstm import Direction, LstmNetwork  # noqa: E402
from moderation.training.recipe import LstmModel  # noqa: E402

MODEL = LstmModel(
    kind="lstm", base="none", base_licence="none", embedding=12, hidden=(10, 6), dense=8
)


@pytest.fixture
def network() -> LstmNetwork:
    torch.manual_seed(3)
    return LstmNetwork(MODEL, 50, 4).eval()


def test_both_directions_equal_a_packed_bidirectional_lstm() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([7, 1, 4])
    values = torch.randn(3, 7, 5)
    places = torch.arange(7)[None]
    inside = places < lengths[:, None]
    reverse = torch.where(inside, lengths[:, None] - 1 - places, places)
    forward, backward = Direction(5, 6, backward=False), Direction(5, 6, backward=True)
    reference = torch.nn.LSTM(5, 6, batch_first=True, bidirectional=True)
    state = dict(forward.lstm.state_dict())
    state |= {f"{name}_reverse": value for name, value in backward.lstm.state_dict().items()}
    reference.load_state_dict(state)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        values, lengths, batch_first=True, enforce_sorted=False
    )
    expected, _ = torch.nn.utils.rnn.pad_packed_sequence(reference(packed)[0], batch_first=True)

    found = torch.cat([forward(values, reverse), backward(values, reverse)], dim=-1)

    torch.testing.assert_close(found[inside], expected[inside])


def test_padding_changes_nothing(network: LstmNetwork) -> None:
    ids = torch.randint(0, 50, (1, 6))
    padded = torch.cat([ids, torch.randint(0, 50, (1, 9))], dim=1)
    lengths = torch.tensor([6])

    alone, tokens = network(ids, lengths)
    together, more = network(padded, lengths)

    torch.testing.assert_close(alone, together)
    torch.testing.assert_close(tokens, more[:, :6])


def test_graph_equals_the_rounded_network(network: LstmNetwork, tmp_path: Path) -> None:
    worst = export_lstm(network, tmp_path / "model.onnx")
    session = open_session(tmp_path / "model.onnx")
    lengths = np.array([3, 17, 1, 9], np.int32)
    ids = np.random.default_rng(0).integers(0, 50, (4, 17))

    logits, tokens = session.run(["logits", "token_logits"], {"input_ids": ids, "lengths": lengths})
    with torch.no_grad():
        expected, marks = rounded(network)(torch.from_numpy(ids), torch.from_numpy(lengths).long())

    assert worst <= 1e-4
    np.testing.assert_allclose(logits, expected.numpy(), atol=1e-5)
    inside = np.arange(17) < lengths[:, None]
    np.testing.assert_allclose(tokens[inside], marks.numpy()[inside], atol=1e-5)


def test_every_matrix_of_the_graph_is_int8(network: LstmNetwork, tmp_path: Path) -> None:
    import onnx

    export_lstm(network, tmp_path / "model.onnx")
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    matrices = [tensor for tensor in graph.initializer if len(tensor.dims) == 2]
    wide = [tensor for tensor in matrices if 1 not in tensor.dims and "B" not in tensor.name]

    assert wide
    assert all(tensor.data_type == onnx.TensorProto.INT8 for tensor in wide)


def test_int8_stays_close_to_what_was_trained(network: LstmNetwork) -> None:
    ids, lengths = torch.randint(0, 50, (8, 12)), torch.full((8,), 12)
    with torch.no_grad():
        difference = (network(ids, lengths)[0] - rounded(network)(ids, lengths)[0]).abs().max()

    assert difference < 0.05


def test_quantise_by_hand() -> None:
    values, scale = quantise(np.array([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0]], np.float32))

    np.testing.assert_array_equal(values, [[64, -127, 32], [0, 0, 0]])
    np.testing.assert_allclose(scale, [2 / 127, 1])


def test_a_graph_that_differs_is_refused(
    network: LstmNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from moderation.training import export

    # Gates in torch's order are the classic mistake of an export by hand.
    monkeypatch.setattr(export, "_gates", lambda weight: weight)

    with pytest.raises(ParityError, match="differs from torch"):
        export_lstm(network, tmp_path / "model.onnx")
