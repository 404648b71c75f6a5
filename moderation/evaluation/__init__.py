"""How good a model or a policy is, and what is in a labelled file.

    from moderation.evaluation import evaluate, open_system, read_labelled, write_report

    system = open_system("default")
    labelled = read_labelled("comments.csv", known=system.labels, task=system.task)
    evaluation = evaluate(system, labelled)
    write_report(evaluation, "report.html")

Needs the extra `train`; serving never imports it.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from moderation.errors import MissingExtraError

if TYPE_CHECKING:
    from moderation.evaluation.band import BandChoice, Cascade, Goals, choose_band
    from moderation.evaluation.band_page import write_bands
    from moderation.evaluation.evaluation import Evaluation, evaluate
    from moderation.evaluation.inspection import Inspection, inspect, write_inspection
    from moderation.evaluation.labelled import Labelled, read_labelled
    from moderation.evaluation.report import report_run, write_report
    from moderation.evaluation.system import System, open_system
    from moderation.evaluation.thresholds import Choice, Goal, choose

__all__ = [
    "BandChoice",
    "Cascade",
    "Choice",
    "Evaluation",
    "Goal",
    "Goals",
    "Inspection",
    "Labelled",
    "System",
    "choose",
    "choose_band",
    "evaluate",
    "inspect",
    "open_system",
    "read_labelled",
    "report_run",
    "write_bands",
    "write_inspection",
    "write_report",
]

_HOMES = {
    "band": ("BandChoice", "Cascade", "Goals", "choose_band"),
    "band_page": ("write_bands",),
    "evaluation": ("Evaluation", "evaluate"),
    "inspection": ("Inspection", "inspect", "write_inspection"),
    "labelled": ("Labelled", "read_labelled"),
    "report": ("report_run", "write_report"),
    "system": ("System", "open_system"),
    "thresholds": ("Choice", "Goal", "choose"),
}
_NEEDED = {"sklearn": "scikit-learn", "pandas": "pandas", "pyarrow": "pyarrow", "plotly": "plotly"}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            for package, called in _NEEDED.items():
                if importlib.util.find_spec(package) is None:
                    raise MissingExtraError(called, extra="train", needed_for="evaluation")
            return getattr(importlib.import_module(f"moderation.evaluation.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
