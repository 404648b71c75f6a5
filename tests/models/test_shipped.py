"""What must stay true of any model that ships as toxicity-lstm, whatever its exact scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import moderation
from moderation import Action, Moderator
from moderation.models import Classifier

FOLDER = Path(moderation.__file__).parent / "weights" / "toxicity-lstm"
MEGABYTE = 1_000_000

pytestmark = pytest.mark.skipif(
    not (FOLDER / "model.json").exists(), reason="no weights in this checkout"
)


@pytest.fixture(scope="module")
def shipped() -> Classifier:
    return Classifier.load(FOLDER)


def scores(model: Classifier, label: str, texts: list[str]) -> np.ndarray:
    return model.predict_proba(texts)[:, model.labels.index(label)]


def test_it_is_small() -> None:
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) <= 8 * MEGABYTE


def test_its_card_says_where_it_comes_from(shipped: Classifier) -> None:
    card = shipped.card
    assert card.labels == (
        "toxic",
        "severe_toxic",
        "obscene",
        "threat",
        "insult",
        "identity_attack",
        "sexual",
        "self_harm",
        "violence",
    )
    assert card.base is not None
    assert card.base.licence == "Apache-2.0"
    assert card.command.startswith("moderation train ")
    assert card.data.rows > 100_000
    assert card.data.fingerprint in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_nobody_elses_posts_of_distress_nor_non_commercial_data(shipped: Classifier) -> None:
    left_out = {
        "unhealthy_conversations",
        "safety_tuned_instructions",
        "alpaca_instructions",
        "toxicr_code_review",
        "reddit_suicidewatch",
    }
    assert not left_out & set(shipped.card.data.sources)


def test_abuse_scores_far_above_ordinary_talk(shipped: Classifier) -> None:
    abuse = [
        "You are a worthless piece of shit and everyone hates you.",
        "Shut your mouth, you stupid idiot.",
        "fuck off and die you disgusting loser",
    ]
    ordinary = [
        "The meeting has moved to Thursday at ten.",
        "Thank you so much for the lovely dinner!",
        "I think the second chapter could be a bit shorter.",
        "Does anyone know when the library opens?",
    ]
    assert scores(shipped, "toxic", abuse).min() > scores(shipped, "toxic", ordinary).max() + 0.4


PAIRS = {
    "threat": [
        ("I will find you and break your legs.", "I will find you a seat by the window."),
        ("I'm going to stab you after school.", "I'm going to call you after school."),
        ("We will burn your house down tonight.", "We will paint your house blue."),
        ("I will shoot you in the head.", "I will shoot the wedding in black and white."),
        ("If you come back I will kill you.", "If you come back I will make soup."),
    ],
    "insult": [
        ("You are a pathetic moron.", "You are a patient teacher."),
        ("What a stupid, useless idiot you are.", "What a kind, useful tip that is."),
        ("Nobody likes you, you ugly liar.", "Nobody likes waiting in the rain."),
        ("You have the brain of a worm.", "You have the keys to the shed."),
    ],
    "self_harm": [
        ("I want to kill myself tonight.", "This traffic is killing me."),
        ("I have been cutting my arms again.", "I have been cutting my hair again."),
        ("I don't want to live anymore.", "I don't want to live in the city anymore."),
        (
            "I took all the pills and wrote a goodbye note.",
            "I took all the boxes and wrote a label.",
        ),
    ],
    "identity_attack": [
        ("I hate immigrants, they are vermin.", "My parents are immigrants."),
        ("Gay people are disgusting.", "Gay people live next door."),
        ("Muslims should be thrown out.", "Muslims pray five times a day."),
        ("Women are too stupid to vote.", "Women could not vote here until 1920."),
    ],
    "obscene": [
        ("what a fucking mess", "what a terrible mess"),
        ("this is bullshit", "this is nonsense"),
        ("holy shit it works", "wow, it works"),
    ],
}


@pytest.mark.parametrize("label", PAIRS)
@pytest.mark.parametrize("name", ["toxicity-lstm", "toxicity-distilbert"])
def test_each_label_tells_attacks_from_their_twins(name: str, label: str) -> None:
    model = Classifier.load(FOLDER.parent / name)
    attacks, twins = (scores(model, label, list(side)) for side in zip(*PAIRS[label], strict=True))

    # Any model gets some sentence wrong; none gets two of one label wrong.
    assert (attacks > twins + 0.2).sum() >= len(attacks) - 1
    assert np.median(attacks) > 0.5 > np.median(twins)


def test_counter_speech_scores_below_the_attack_on_average(shipped: Classifier) -> None:
    attacks = [
        "Muslims do not belong in this country.",
        "All women are stupid.",
        "Gay people are disgusting.",
        "Jews are a plague.",
    ]
    answers = [
        f'Whoever says "{attack}" should be ashamed; that is plain bigotry.' for attack in attacks
    ]
    gap = scores(shipped, "identity_attack", attacks) - scores(shipped, "identity_attack", answers)
    assert gap.mean() > 0.2


def test_it_points_at_the_word(shipped: Classifier) -> None:
    text = "Thanks for nothing, you idiot, see you tomorrow."
    spans = shipped.predict([text])[0].spans
    begin = text.index("idiot")
    assert any(span.begin <= begin and span.end >= begin + 5 for span in spans)
    assert sum(span.end - span.begin for span in spans) < len(text) / 2


def test_a_score_does_not_depend_on_the_neighbours(shipped: Classifier) -> None:
    texts = ["You idiot.", "A perfectly ordinary sentence about the weather in spring. " * 5, "no"]
    alone = np.concatenate([shipped.predict_proba([text]) for text in texts])
    np.testing.assert_allclose(shipped.predict_proba(texts), alone, atol=1e-4)


def test_emoji_are_read(shipped: Classifier) -> None:
    star, clown = scores(shipped, "toxic", ["you are such a 🌟", "you are such a 🤡"])
    assert clown > star + 0.2


def test_a_hundred_thousand_characters_of_insults_are_judged_like_one() -> None:
    verdict = Moderator().moderate("fuck you idiot " * 7_000)
    assert verdict.action is Action.BLOCK
    assert not verdict.degraded
    assert len([signal for signal in verdict.signals if signal.step == "lstm"]) < 2_000
