"""Trained models as they are served: a folder on disk, and the `Classifier` that reads it.

    from moderation.models import Classifier

    classifier = Classifier.load("weights/toxicity-lstm")
    classifier.predict_proba(["you absolute walnut"])      # [1, labels]

Serving needs onnxruntime, tokenizers and numpy; `moderation.training` writes these folders and is
never imported from here.
"""

from moderation.models.artifact import Base, Calibration, DataSummary, ModelCard, read_card
from moderation.models.classifier import Classifier, Prediction, Span

__all__ = [
    "Base",
    "Calibration",
    "Classifier",
    "DataSummary",
    "ModelCard",
    "Prediction",
    "Span",
    "read_card",
]
