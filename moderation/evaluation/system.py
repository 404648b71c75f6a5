"""What is measured: a model folder or a policy, both as texts in and scores out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.engine import Moderator
from moderation.errors import ConfigError
from moderation.evaluation.labelled import Task
from moderation.evaluation.prediction import model_folder
from moderation.filters.classifier import ClassifierFilter
from moderation.models import Classifier
from moderation.policy import Policy, shipped_policies
from moderation.verdict import Verdict

CHUNK = 256

Advance = Callable[[int], Any]
"""Told how many more texts are done."""


class Scored(NamedTuple):
    """`scores` is [n, labels]; `spans` the words pointed at in each text; `gaps` why steps of a
    policy gave no score, and for how many texts: then the numbers are not the whole policy's."""

    scores: NDArray[np.float64]
    spans: list[list[tuple[int, int]]]
    gaps: Counter[str]


class System(ABC):
    """Something that gives texts a score for each of `labels`.

    `thresholds` says from which score each label is acted on, as in a policy; labels that are not
    in it are judged at 0.5. `model` is the folder of the network that judges last, if there is one.
    """

    name: str
    kind: str
    task: Task
    labels: tuple[str, ...]
    fingerprint: str
    thresholds: dict[str, dict[str, float]]
    model: Path | None = None
    points: bool = False
    """Whether it points at words."""

    @abstractmethod
    def score(self, texts: Sequence[str], advance: Advance = lambda count: None) -> Scored: ...


class ModelSystem(System):
    """A model artifact by itself: the text as it is, no folding, no other step."""

    kind = "model"

    def __init__(self, folder: Path, *, threads: int | None = None) -> None:
        self.classifier = Classifier.load(folder, threads=threads)
        self.name = self.classifier.card.name
        self.task = self.classifier.card.task
        self.labels = self.classifier.labels
        self.fingerprint = self.classifier.fingerprint
        self.thresholds = {}
        self.model = folder
        self.points = self.classifier.card.span_threshold is not None

    def score(self, texts: Sequence[str], advance: Advance = lambda count: None) -> Scored:
        scores = np.empty((len(texts), len(self.labels)), np.float64)
        spans: list[list[tuple[int, int]]] = []
        for begin in range(0, len(texts), CHUNK):
            chunk = texts[begin : begin + CHUNK]
            for place, found in enumerate(self.classifier.predict(chunk), begin):
                scores[place] = found.probabilities
                spans.append([(span.begin, span.end) for span in found.spans])
            advance(len(chunk))
        return Scored(scores, spans, Counter())


class PolicySystem(System):
    """A policy as it is served, with every step run whatever the earlier ones said."""

    kind = "policy"
    task: Task = "multi_label"
    points = True

    def __init__(self, policy: Policy | str | Path, plugins: Sequence[Any] = ()) -> None:
        self.moderator = Moderator(policy, plugins=plugins)
        self.moderator.load()
        self.name = self.moderator.policy.name
        self.fingerprint = self.moderator.policy.fingerprint
        steps = [each for step in self.moderator.steps for each in step.line()]
        reported = {name for step in steps for name in step.categories}
        if not reported:
            raise ConfigError("no step of it reports a category", where=self.name)
        self.thresholds = {
            category: limits.model_dump(exclude_none=True)
            for category, limits in self.moderator.policy.thresholds.items()
        }
        # What the policy acts on first, in its order.
        acted = [label for label in self.thresholds if label in reported]
        self.labels = (*acted, *sorted(reported.difference(acted)))
        models = [step.filter.model for step in steps if isinstance(step.filter, ClassifierFilter)]
        self.model = models[-1] if models else None

    def score(self, texts: Sequence[str], advance: Advance = lambda count: None) -> Scored:
        scores = np.zeros((len(texts), len(self.labels)), np.float64)
        spans: list[list[tuple[int, int]]] = []
        gaps: Counter[str] = Counter()
        verdicts = self.moderator.moderate_iter(texts, exhaustive=True)
        for place, verdict in enumerate(verdicts):
            scores[place] = [verdict.scores.get(label, 0.0) for label in self.labels]
            spans.append(verdict.spans())
            gaps.update(gaps_of(verdict))
            advance(1)
        return Scored(scores, spans, gaps)


def gaps_of(verdict: Verdict) -> Iterator[str]:
    """Why steps gave no score: they failed, or do not read the language."""
    for trace in verdict.trace:
        if trace.status == "failed" or trace.reason == "language":
            yield f"step {trace.step} {trace.status}: {trace.reason}"


def open_system(
    name: str | Path, *, plugins: Sequence[Any] = (), threads: int | None = None
) -> System:
    """A shipped policy or model by its name, a policy file, or a model folder.

    Raises ConfigError where there is none such, ArtifactError where a model cannot be used.
    """
    path = Path(name)
    if path.is_dir():
        return ModelSystem(path, threads=threads)
    if path.suffix in (".yaml", ".yml") or path.is_file() or str(name) in shipped_policies():
        return PolicySystem(name, plugins)
    return ModelSystem(model_folder(name), threads=threads)
