from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tokenizers import Tokenizer  # noqa: E402

from moderation.training.data import Rows  # noqa: E402
from moderation.training.recipe import Recipe  # noqa: E402
from moderation.training.trainer import Average, Encoded, Loss, _join, encode, epoch_rows  # noqa: E402

NAN = float("nan")


def recipe(**optimisation: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "tiny",
            "labels": ["toxic", "threat"],
            "data": [{"kind": "table", "path": "none.csv"}],
            "model": {"kind": "lstm", "base": "none", "base_licence": "none"},
            "optimisation": optimisation,
        }
    )


def loss(targets: list[list[float]], marks: list[list[float]], **how: object) -> tuple:  # type: ignore[type-arg]
    logits = torch.tensor([[0.5, -1.0]] * len(targets), requires_grad=True)
    tokens = torch.full((len(targets), len(marks[0])), 0.25, requires_grad=True)
    value = Loss(recipe(**how))(logits, tokens, torch.tensor(targets), torch.tensor(marks))
    value.backward()
    grads = [torch.zeros_like(x) if x.grad is None else x.grad for x in (logits, tokens)]
    return float(value.detach()), *(grad.numpy() for grad in grads)


def bce(logit: float, target: float) -> float:
    p = 1 / (1 + np.exp(-logit))
    return float(-(target * np.log(p) + (1 - target) * np.log(1 - p)))


def test_missing_labels_and_marks_add_nothing() -> None:
    value, logits, tokens = loss([[1, NAN], [NAN, 0]], [[NAN, NAN], [NAN, NAN]])

    assert value == pytest.approx((bce(0.5, 1) + bce(-1.0, 0)) / 2, rel=1e-5)
    assert logits[0, 1] == 0
    assert logits[1, 0] == 0
    assert logits[0, 0] < 0 < logits[1, 1]
    assert (tokens == 0).all()


def test_soft_labels_pull_to_their_value() -> None:
    value, logits, _ = loss([[0.7, NAN]], [[NAN]])

    assert value == pytest.approx(bce(0.5, 0.7), rel=1e-5)
    assert logits[0, 0] == pytest.approx(1 / (1 + np.exp(-0.5)) - 0.7, rel=1e-4)


def test_positives_of_a_scarce_label_count_more() -> None:
    plain, *_ = loss([[NAN, 1]], [[NAN]])
    weighted, *_ = loss([[NAN, 1]], [[NAN]], positive_weights={"threat": 4})

    assert weighted == pytest.approx(4 * plain, rel=1e-5)


def test_marked_tokens_are_learnt_from_and_unmarked_texts_are_not() -> None:
    value, _, tokens = loss([[NAN, NAN]] * 2, [[1, 0, NAN], [NAN] * 3], span_weight=2)

    assert value == pytest.approx(2 * (bce(0.25, 1) + bce(0.25, 0)) / 2 / 2, rel=1e-5)
    assert tokens[0, 0] < 0 < tokens[0, 1]
    assert tokens[0, 2] == 0
    assert (tokens[1] == 0).all()


def test_two_texts_in_one_are_what_either_is() -> None:
    ids = [np.array([2, 10, 11, 3], np.int32), np.array([2, 20, 3], np.int32)]
    targets = np.array([[1, 0], [0, NAN]], np.float32)
    rows = Encoded(ids, [np.array([0, 1, 0, 0], np.float32), np.zeros(3, np.float32)], targets)

    joined, marks, target = _join(rows, 0, 1, 100)

    assert joined.tolist() == [2, 10, 11, 20, 3]
    assert marks is not None
    assert marks.tolist() == [0, 1, 0, 0, 0]
    # Toxic, as one of them is; whether it threatens, the second does not say.
    assert target[0] == 1
    assert np.isnan(target[1])


def test_spans_become_token_marks(base: object) -> None:
    tokenizer = Tokenizer.from_file(f"{base}/tokenizer.json")
    text = "you are a fools !"
    rows = Rows(
        [text, text],
        np.array([[1, NAN], [1, NAN]], np.float32),
        np.array(["a", "a"]),
        np.array(["train", "train"]),
        np.ones(2, np.float32),
        [((10, 15),), None],
        np.array(["", ""]),
    )

    encoded = encode(rows, tokenizer, 32, 0)

    tokens = tokenizer.encode(text).tokens
    assert tokens == ["[CLS]", "you", "are", "a", "fool", "##s", "!", "[SEP]"]
    assert encoded.marks[0] is not None
    assert encoded.marks[0].tolist() == [0, 0, 0, 0, 1, 1, 0, 0]
    assert encoded.marks[1] is None


def drawn(base: object, text: str, span: tuple[int, int], **share: float) -> list[list[str]]:
    """The marked tokens of a text in one epoch of a hundred draws."""
    tokenizer = Tokenizer.from_file(f"{base}/tokenizer.json")
    content = recipe().model_dump() | {"augmentation": share}
    rows = Rows(
        [text],
        np.array([[1, NAN]], np.float32),
        np.array(["a"]),
        np.array(["train"]),
        np.array([100], np.float32),
        [(span,)],
        np.array([""]),
    )
    changed = epoch_rows(
        encode(rows, tokenizer, 64, 0),
        rows.texts,
        rows.spans,
        rows.weights,
        Recipe.model_validate(content),
        tokenizer,
        np.random.default_rng(3),
    )
    result = []
    for ids, marks in zip(changed.ids, changed.marks, strict=True):
        assert marks is not None
        assert len(marks) == len(ids)
        result.append([tokenizer.id_to_token(int(ids[i])) for i in np.flatnonzero(marks)])
    return result


def test_marks_stand_on_the_folded_word(base: object) -> None:
    found = drawn(base, "You are Fo\u200b\u200bols !", (8, 15), fold=1.0)

    assert found == [["fool", "##s"]] * 100


def test_marks_are_carried_through_disguises(base: object) -> None:
    found = drawn(base, "the fools again", (4, 9), disguise=1.0)

    assert all(found)
    # Folded again, some are the word that they were; what stands beside it is never marked.
    assert ["fool", "##s"] in found
    assert not any({"the", "again"} & set(tokens) for tokens in found)


def test_mistyped_texts_stay_as_they_were_written(base: object) -> None:
    found = drawn(base, "the FOOLS again", (4, 9), mistype=1.0)

    # The slip fell on another word, or on this one.
    assert ["fool", "##s"] in found
    assert any(tokens != ["fool", "##s"] for tokens in found)


def test_average_of_the_weights_by_hand() -> None:
    parameter = torch.nn.Parameter(torch.tensor([0.0]))
    average = Average([parameter], 0.5)
    for step, value in enumerate((4.0, 8.0), 100):
        parameter.data.fill_(value)
        average.update(step)

    # 0 -> (0 + 4) / 2 = 2 -> (2 + 8) / 2 = 5
    with average.in_use():
        assert parameter.item() == 5
    assert parameter.item() == 8


def test_the_first_steps_are_soon_forgotten() -> None:
    parameter = torch.nn.Parameter(torch.tensor([100.0]))
    average = Average([parameter], 0.999)
    for step in range(1, 201):
        parameter.data.fill_(1.0)
        average.update(step)

    with average.in_use():
        assert parameter.item() == pytest.approx(1, abs=0.01)


def test_without_averaging_the_weights_are_used() -> None:
    parameter = torch.nn.Parameter(torch.tensor([3.0]))
    average = Average([parameter], 0)
    average.update(1)

    with average.in_use():
        assert parameter.item() == 3
