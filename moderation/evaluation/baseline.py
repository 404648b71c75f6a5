"""TF-IDF with logistic regression: what every network has to beat. Fitted in seconds, never saved.

Salton and Buckley (1988) for the weights; C of the regression is chosen by cross-validation where
`tune` is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold

from moderation.errors import MissingExtraError
from moderation.evaluation.labelled import Labelled

FOLDS = 5
GRID = (0.3, 1.0, 3.0, 10.0, 30.0)

_WORD = re.compile(r"[\w@#]+(?:'\w+)?|[^\w\s]")

Array = NDArray[np.float64]


class Baseline(BaseModel):
    """The baseline's options."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stop_words: bool = Field(default=False, description="Leave out scikit-learn's stop words.")
    stem: bool = Field(default=False, description="Cut words to their stems (Porter 1980).")
    tune: bool = Field(default=False, description="Choose C by three-fold cross-validation.")
    c: float = Field(default=3.0, gt=0, description="Inverse strength of the L2 penalty.")
    rows: int = Field(default=50_000, ge=1, description="Rows to fit on at most, drawn by lot.")
    seed: int = 0

    def told(self) -> str:
        options = [
            "TF-IDF of words and pairs of words",
            *(["without stop words"] if self.stop_words else []),
            *(["Porter stems"] if self.stem else []),
            "logistic regression",
            f"C from {', '.join(f'{c:g}' for c in GRID)}" if self.tune else f"C {self.c:g}",
        ]
        return ", ".join(options)

    def scores(self, train: Labelled, texts: Sequence[str]) -> Array:
        """Fitted on `train`: probabilities of `texts`, [n, labels]."""
        train = train.drawn(self.rows, self.seed)
        vectorizer = TfidfVectorizer(
            tokenizer=_tokenizer(self.stop_words, self.stem),
            token_pattern=None,
            ngram_range=(1, 2),
            min_df=2 if len(train) >= 200 else 1,
            sublinear_tf=True,
            dtype=np.float64,
        )
        known = vectorizer.fit_transform(train.texts)
        wanted = vectorizer.transform(texts)
        if train.task == "multi_class":
            classes = train.targets.argmax(axis=1)
            model = self._fitted(known, classes)
            result = np.zeros((len(texts), len(train.labels)))
            result[:, model.classes_] = model.predict_proba(wanted)
            return result
        result = np.empty((len(texts), len(train.labels)))
        for place in range(len(train.labels)):
            rows = ~np.isnan(train.targets[:, place])
            truth = train.targets[rows, place] >= 0.5
            if truth.all() or not truth.any():  # nothing to learn: the base rate
                result[:, place] = truth.mean() if len(truth) else 0.5
            else:
                result[:, place] = self._fitted(known[rows], truth).predict_proba(wanted)[:, 1]
        return result

    def cross_validated(self, rows: Labelled) -> Array:
        """Scores of `rows` themselves, each by a baseline that was not fitted on it."""
        result = np.empty((len(rows), len(rows.labels)))
        folds, strata = _folds(rows, self.seed)
        for fitted_on, held in folds.split(np.zeros(len(rows)), strata):
            chosen = np.zeros(len(rows), np.bool_)
            chosen[fitted_on] = True
            result[held] = self.scores(rows.where(chosen), [rows.texts[row] for row in held])
        return result

    def _fitted(self, features: object, truth: NDArray[np.generic]) -> LogisticRegression:
        model = LogisticRegression(C=self.c, max_iter=2000)
        rarest = int(np.unique(truth, return_counts=True)[1].min())
        if self.tune and rarest >= 3:
            search = GridSearchCV(model, {"C": list(GRID)}, scoring="neg_log_loss", cv=3)
            return search.fit(features, truth).best_estimator_
        return model.fit(features, truth)


def _folds(rows: Labelled, seed: int) -> tuple[KFold | StratifiedKFold, NDArray[np.int64]]:
    """By class, or by the first label, so that no fold is without a rare one."""
    if rows.task == "multi_class":
        strata = rows.targets.argmax(axis=1)
    else:
        strata = np.nan_to_num(rows.targets[:, 0], nan=-1).round().astype(np.int64)
    rarest = int(np.unique(strata, return_counts=True)[1].min())
    count = max(2, min(FOLDS, len(rows)))
    kind = StratifiedKFold if rarest >= count else KFold
    return kind(count, shuffle=True, random_state=seed), strata


def _tokenizer(stop_words: bool, stem: bool) -> Callable[[str], list[str]]:
    cut: Callable[[str], str] | None = None
    if stem:
        try:
            from nltk.stem.porter import PorterStemmer
        except ImportError as error:
            raise MissingExtraError("nltk", extra="train", needed_for="stemming") from error
        cut = PorterStemmer().stem
    stems: dict[str, str] = {}

    def tokens(text: str) -> list[str]:
        found = _WORD.findall(text)
        if stop_words:
            found = [word for word in found if word not in ENGLISH_STOP_WORDS]
        if cut is None:
            return found
        for word in found:
            if word not in stems:
                stems[word] = cut(word)
        return [stems[word] for word in found]

    return tokens
