"""A trained text classifier as a filter: any model artifact."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from heapq import nlargest
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import BeforeValidator, PrivateAttr

from moderation.content import Content
from moderation.errors import ConfigError
from moderation.filter import Filter, Finding, ResourcePath
from moderation.verdict import Signal

if TYPE_CHECKING:
    from moderation.hub import Model
    from moderation.models import Classifier, ModelCard
    from moderation.normalize import Folded

MAX_WORDS = 1_000
"""Words that are pointed at in one part, the highest scores; the scores are of the whole text."""

WEIGHTS = Path(__file__).parent.parent / "weights"


def _shipped_or_path(value: object) -> object:
    # A bare name is one of the shipped artifacts; anything with a separator is a path.
    if isinstance(value, str) and value and "/" not in value and "\\" not in value:
        return WEIGHTS / value
    return value


class ClassifierFilter(Filter):
    """Scores every text with a model artifact, and points at the words where the model can.

    A text whose folding undid a disguise is read twice, as sent and as folded, and the higher
    score of each category counts: the model knows casing and punctuation, the folding knows
    tricks. A word's score is never above that of the text that it stands in.
    """

    name: ClassVar[str] = "classifier"

    model: Annotated[ResourcePath, BeforeValidator(_shipped_or_path)]
    """A shipped artifact by its bare name, or the path of an artifact folder."""
    labels: dict[str, str] | None = None
    """Category that each model label is reported as; labels left out are not reported. Without
    it every label is a category of its own name. A model that picks one of many needs it."""
    words: bool = True
    """Whether to report which words mattered."""
    words_category: str = "toxic"
    """The category that the words are reported under."""

    _card: ModelCard | None = PrivateAttr(default=None)
    _classifier: Classifier | None = PrivateAttr(default=None)

    def _read_card(self) -> ModelCard:
        from moderation.models import read_card

        if self._card is None:
            self._card = read_card(self.model)
        return self._card

    def categories(self) -> Iterable[str]:
        card = self._read_card()
        if self.labels is None:
            if card.task != "multi_label":
                raise ConfigError(
                    f"options.labels: the model picks one of {', '.join(card.labels)}; "
                    "say which category each class that matters is reported as"
                )
            return card.labels
        unknown = sorted(set(self.labels) - set(card.labels))
        if unknown:
            raise ConfigError(
                f"options.labels: the model has no label {unknown[0]!r}; "
                f"its labels are {', '.join(card.labels)}"
            )
        return set(self.labels.values())

    def languages(self) -> Iterable[str] | None:
        return self._read_card().languages

    def models(self) -> Iterable[Model]:
        from moderation.hub import Model

        files = ("model.json", "model.onnx", "tokenizer.json")
        licence = "Apache-2.0" if self.model.parent == WEIGHTS else ""
        return [Model(self.model.name, folder=self.model, licence=licence, required=files)]

    def load(self) -> None:
        from moderation.models import Classifier

        self._classifier = Classifier.load(self.model)

    def fingerprint(self) -> str:
        model = self._classifier.fingerprint if self._classifier else ""
        return hashlib.sha256(f"{super().fingerprint()} {model}".encode()).hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        assert self._classifier is not None, "load() comes before check_batch()"
        rows: list[str] = []
        owners: list[tuple[int, int, Folded | None]] = []
        for number, content in enumerate(contents):
            for index, part in enumerate(content.parts):
                rows.append(part.text)
                owners.append((number, index, None))
                if part.folded.changed and part.folded.text.strip():
                    rows.append(part.folded.text)
                    owners.append((number, index, part.folded))

        reported = [
            (column, label if self.labels is None else self.labels[label])
            for column, label in enumerate(self._classifier.labels)
            if self.labels is None or label in self.labels
        ]
        findings: list[list[Finding]] = [[] for _ in contents]
        before: dict[str, float] = {}
        predictions = self._classifier.predict(rows)
        for place, (number, index, folded) in enumerate(owners):
            probabilities = predictions[place].probabilities.tolist()
            scores: dict[str, float] = {} if folded is None else before
            for column, category in reported:
                scores[category] = max(scores.get(category, 0.0), probabilities[column])
            if place + 1 < len(owners) and owners[place + 1][2] is not None:
                before = scores  # the folded reading of the same part comes next
                continue
            found = findings[number]
            for category, score in scores.items():
                found.append(Signal(category, score, None, index))
            if not self.words or self.words_category not in scores:
                continue
            limit = scores[self.words_category]
            spans = {(span.begin, span.end): span.score for span in predictions[place].spans}
            if folded is not None:
                unfolded = {folded.span(begin, end): score for (begin, end), score in spans.items()}
                spans = {(s.begin, s.end): s.score for s in predictions[place - 1].spans}
                for span, score in unfolded.items():
                    spans[span] = max(score, spans.get(span, 0.0))
            if len(spans) > MAX_WORDS:
                spans = dict(nlargest(MAX_WORDS, spans.items(), key=itemgetter(1)))
            # The most toxic words carry the whole score, the others their share of it.
            strongest = max(spans.values(), default=1.0)
            for span, score in spans.items():
                share = limit * (score / strongest)
                found.append(Signal(self.words_category, share, span, index, "these words"))
        return findings
