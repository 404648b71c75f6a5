"""Logits to probabilities that mean what they say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from moderation.models.artifact import Calibration
from moderation.training.data import CONTRAST, Rows
from moderation.training.recipe import Recipe

FLATTEST = 0.05


def calibrate(logits: NDArray[np.float32], rows: Rows, recipe: Recipe) -> Calibration:
    """Fits on validation rows: Platt scaling for each label, one temperature for classes.

    Natural and contrast rows are weighted so that the contrast rows make up the share that the
    recipe says. The one alone would leave 0.5 a poor threshold for the other: a natural text with
    the name of a group in it is far more often hateful than a contrast text.
    """
    if recipe.task == "multi_class":
        return _temperature(logits, rows, recipe)
    share = recipe.calibration.contrast_share
    dropped = np.isin(rows.sources, recipe.calibration.drop)
    contrast = rows.sources == CONTRAST
    scale, offset, rates = [], [], []
    for place in range(len(recipe.labels)):
        known = ~np.isnan(rows.targets[:, place]) & ~dropped
        weights = np.zeros(len(rows))
        for part, mass in ((~contrast, 1 - share), (contrast, share)):
            if (known & part).any():
                weights[known & part] = mass / (known & part).sum()
        weights = weights[known] / weights[known].sum()
        truth = (rows.targets[known, place] >= 0.5).astype(np.float64)
        a, b = platt(logits[known, place], truth, weights)
        scale.append(a)
        offset.append(b)
        rates.append(float(weights @ truth))
    percent = round(100 * share)
    mix = f"{100 - percent} % natural and {percent} % contrast rows" if contrast.any() else "rows"
    return Calibration(
        scale=tuple(round(value, 6) for value in scale),
        offset=tuple(round(value, 6) for value in offset),
        base_rate=tuple(round(value, 6) for value in rates),
        fitted_on=f"{mix} of the validation part",
    )


def platt(
    logits: NDArray[np.float32], truth: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[float, float]:
    """Scale and offset of the logistic regression of `truth` (0 or 1) on logits (Platt 1999)."""
    model = LogisticRegression(C=1e6, max_iter=1000, tol=1e-8)
    model.fit(logits[:, None].astype(np.float64), truth, weights * len(truth))
    # A label that the network ranks no better than chance still needs a rising line.
    return max(float(model.coef_[0, 0]), FLATTEST), float(model.intercept_[0])


def _temperature(logits: NDArray[np.float32], rows: Rows, recipe: Recipe) -> Calibration:
    """One temperature for all classes (Guo et al. 2017, arXiv 1706.04599)."""
    scales = np.exp(np.linspace(-3, 3, 301))
    chosen = rows.targets.argmax(axis=1)[:, None]
    losses = []
    for scale in scales:
        scores = logits.astype(np.float64) * scale
        scores -= scores.max(axis=1, keepdims=True)
        right = np.take_along_axis(scores, chosen, axis=1)[:, 0]
        losses.append(float((np.log(np.exp(scores).sum(axis=1)) - right).mean()))
    found = float(scales[int(np.argmin(losses))])
    count = len(recipe.labels)
    return Calibration(
        scale=(round(found, 6),) * count,
        offset=(0.0,) * count,
        base_rate=tuple(round(float(rate), 6) for rate in rows.targets.mean(axis=0)),
        fitted_on="the validation part",
    )
