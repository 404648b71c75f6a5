"""A model folder made in a second: random weights, a vocabulary of a few words."""

from __future__ import annotations

from pathlib import Path

import pytest

LABELS = ("toxic", "insult", "threat")
WORDS = (
    *("you", "are", "a", "the", "fool", "idiot", "nice", "day", "good", "bad", "people", "hate"),
    *("love", "kill", "walk", "dog", "cat", "sun", "rain", "i", "they", "we", "not", "never"),
    *("always", "said", "that", "this", "and", "or", "but", "!", "?", ".", ",", "'", "😂", "🔪"),
)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Windows of 16 tokens with 4 shared, three labels, a token output."""
    torch = pytest.importorskip("torch")
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    from moderation.models import Calibration
    from moderation.models.artifact import new_folder, write_card
    from moderation.training.export import export_lstm
    from moderation.training.lstm import LstmNetwork
    from moderation.training.recipe import LstmModel

    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    tokens += [f"##{sign}" for sign in "abcdefghijklmnopqrstuvwxyz"]
    tokens += list("abcdefghijklmnopqrstuvwxyz")
    vocabulary = {token: place for place, token in enumerate(dict.fromkeys(tokens))}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=tokens[1]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    torch.manual_seed(1)
    model = LstmModel(
        kind="lstm", base="none", base_licence="none", embedding=24, hidden=(16, 12), dense=16
    )
    network = LstmNetwork(model, len(vocabulary), len(LABELS)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            # Far from flat, so that a difference anywhere shows.
            parameter.mul_(3)
    folder = tmp_path_factory.mktemp("models") / "tiny"
    with new_folder(folder) as scratch:
        export_lstm(network, scratch / "model.onnx")
        tokenizer.save(str(scratch / "tokenizer.json"))
        write_card(
            scratch,
            {
                "name": "tiny",
                "kind": "lstm",
                "task": "multi_label",
                "labels": LABELS,
                "languages": ("en",),
                "max_length": 16,
                "stride": 4,
                "data": {"fingerprint": "none", "rows": 0},
                "seed": 1,
                "command": "none",
                "calibration": Calibration(
                    scale=(1.0, 0.5, 2.0),
                    offset=(0.0, 1.0, -1.0),
                    base_rate=(0.5, 0.5, 0.5),
                    fitted_on="nothing",
                ),
                "span_threshold": 0.5,
            },
        )
    return folder
