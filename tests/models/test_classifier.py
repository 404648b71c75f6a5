from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moderation.models import Classifier
from moderation.models.classifier import FAINT

FIXED = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
WORDS = st.sampled_from(["you", "idiot", "nice", "kill", "zebra", "😂", "HATE", "!", "x" * 9])
SENTENCES = st.lists(WORDS, max_size=40).map(" ".join)


@pytest.fixture(scope="module")
def classifier(artifact: Path) -> Classifier:
    return Classifier.load(artifact)


def test_card_is_offered_with_the_model(classifier: Classifier) -> None:
    assert classifier.labels == ("toxic", "insult", "threat")
    assert classifier.languages == ("en",)
    assert classifier.card.kind == "lstm"
    assert len(classifier.fingerprint) == 12


@pytest.mark.parametrize("count", [0, 1, 2, 70])
def test_probabilities_are_always_two_dimensional(classifier: Classifier, count: int) -> None:
    probabilities = classifier.predict_proba(["you idiot"] * count)

    assert probabilities.shape == (count, 3)
    assert probabilities.dtype == np.float32
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert len(classifier.predict(["you idiot"] * count)) == count


@FIXED
@given(st.lists(SENTENCES, min_size=1, max_size=12))
def test_a_score_does_not_depend_on_the_neighbours(
    classifier: Classifier, texts: list[str]
) -> None:
    together = classifier.predict_proba(texts)
    alone = np.concatenate([classifier.predict_proba([text]) for text in texts])

    np.testing.assert_allclose(together, alone, atol=1e-5)


@FIXED
@given(st.lists(st.text(max_size=60), min_size=1, max_size=5))
def test_any_string_has_an_answer(classifier: Classifier, texts: list[str]) -> None:
    predictions = classifier.predict(texts)

    np.testing.assert_array_equal(
        np.stack([prediction.probabilities for prediction in predictions]),
        classifier.predict_proba(texts),
    )
    for text, prediction in zip(texts, predictions, strict=True):
        assert np.isfinite(prediction.probabilities).all()
        end = 0
        for span in prediction.spans:
            assert end <= span.begin < span.end <= len(text)
            assert 0.5 <= span.score <= 1
            end = span.end


@pytest.mark.parametrize(
    "text",
    ["", " \n\t", "\x00", "\ud800", "\u202e", "a" + "\u0301" * 10_000, "﷽" * 200, "x" * 5_000],
)
def test_odd_input_has_an_answer(classifier: Classifier, text: str) -> None:
    probabilities = classifier.predict_proba([text, "you idiot"])

    assert np.isfinite(probabilities).all()


def test_lone_surrogates_leave_spans_in_place(classifier: Classifier) -> None:
    loose = classifier.with_spans(1e-6)
    clean = loose.predict(["xx you idiot x!"])[0]
    broken = loose.predict(["\ud800\udc00 you idiot \udfff!"])[0]

    assert [span for span in broken.spans if span.begin >= 3]
    assert {(3, 12)} <= {
        (max(span.begin, 3), min(span.end, 12)) for span in broken.spans if span.end > 3
    }
    assert clean.spans


def test_long_text_is_read_in_windows_and_the_highest_score_counts(
    classifier: Classifier,
) -> None:
    words = ["you", "are", "a", "fool", "nice", "day", "bad", "people", "hate", "love"] * 5
    # 16 tokens with [CLS] and [SEP] leave 14 words; windows share 4.
    windows = [" ".join(words[begin : begin + 14]) for begin in range(0, len(words) - 4, 10)]

    whole = classifier.logits([" ".join(words)])[0]

    np.testing.assert_allclose(whole, classifier.logits(windows).max(axis=0), atol=1e-5)


def test_nothing_of_a_long_text_is_cut_off(classifier: Classifier) -> None:
    filler = "nice day " * 6_000
    scores = [classifier.logits([text])[0] for text in (filler, filler + "kill idiot")]

    assert np.abs(scores[0] - scores[1]).max() > 1e-3


def test_spans_of_overlapping_windows_are_merged(classifier: Classifier) -> None:
    text = "you idiot " * 3_000
    spans = classifier.with_spans(1e-6).predict([text])[0].spans

    assert spans[0].begin == 0
    assert spans[-1].end == len(text.rstrip())
    assert all(one.end <= two.begin for one, two in itertools.pairwise(spans))


def test_spans_are_whole_words(classifier: Classifier) -> None:
    text = "nice idiots, zebra"  # in pieces: idiot ##s, z ##e ##b ##r ##a
    for threshold in (0.1, 0.3, 0.5, 0.7, 0.9):
        for span in classifier.with_spans(threshold).predict([text])[0].spans:
            assert span.begin in (0, 5, 11, 13)
            assert span.end in (4, 11, 12, 18)


def test_calibration_is_applied(classifier: Classifier) -> None:
    logits = classifier.logits(["you idiot"])[0].astype(np.float64)
    expected = 1 / (1 + np.exp(-(logits * [1.0, 0.5, 2.0] + [0.0, 1.0, -1.0])))

    np.testing.assert_allclose(classifier.predict_proba(["you idiot"])[0], expected, atol=1e-6)


def test_many_texts_keep_their_order(classifier: Classifier) -> None:
    texts = [f"{'nice ' * (number % 13)}idiot{'!' * (number % 3)}" for number in range(2_500)]
    together = classifier.predict_proba(texts)

    for number in (0, 1, 1023, 1024, 2047, 2499):
        np.testing.assert_allclose(
            together[number], classifier.predict_proba([texts[number]])[0], atol=1e-5
        )


def test_the_most_toxic_words_of_a_mild_text_are_pointed_at(classifier: Classifier) -> None:
    text = "nice day you idiot love , people hate"
    loose = classifier.with_spans(1e-6).predict([text])[0].spans
    top = max(span.score for span in loose)
    assert top > FAINT

    strict = classifier.with_spans(0.9999).predict([text])[0].spans
    relative = classifier.with_spans(0.9999, 1.0).predict([text])[0].spans
    more = classifier.with_spans(0.9999, 0.5).predict([text])[0].spans
    plain = classifier.with_spans(max(top / 2, 1e-6)).predict([text])[0].spans

    assert strict == []
    assert [span.score for span in relative] == [pytest.approx(top)]
    assert more == plain


def test_words_that_are_hardly_toxic_are_not_pointed_at(classifier: Classifier) -> None:
    texts = ["nice day", "you idiot love", "people hate a fool", "day", "love people"]
    loose = classifier.with_spans(1e-6).predict(texts)
    relative = classifier.with_spans(0.9999, 0.6).predict(texts)

    for every, chosen in zip(loose, relative, strict=True):
        assert bool(chosen.spans) == (max(span.score for span in every.spans) >= FAINT)
