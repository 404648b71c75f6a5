"""A search for hyper-parameters by optuna (Akiba et al. 2019): tree-structured Parzen estimator.

A trial trains on the training part and is judged by its best epoch on the validation part; one
that is worse, after an epoch, than the median of the others by then is given up. The study is a
journal file, so that a search that was interrupted goes on from its last whole trial.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from moderation.errors import ConfigError, MissingExtraError
from moderation.training.recipe import Range, Recipe
from moderation.training.trainer import TrainingError

# (recipe of a trial, told (epoch, score) after each epoch) -> best score
Trainer = Callable[[Recipe, Callable[[int, float], None]], float]

JOURNAL = "study.jsonl"
REPORT = "tune.json"
# Trials that run to their end before any is given up.
UNPRUNED = 3

_SHARED: dict[str, Range | tuple[Any, ...]] = {
    "optimisation.weight_decay": Range(low=1e-4, high=0.1, log=True),
    "optimisation.batch": (16, 32, 64, 128),
    "model.dropout": Range(low=0.05, high=0.5),
    "model.word_dropout": Range(low=0.0, high=0.2),
}
SPACES: dict[str, dict[str, Range | tuple[Any, ...]]] = {
    "lstm": {
        "optimisation.learning_rate": Range(low=5e-4, high=1e-2, log=True),
        "model.embedding_dropout": Range(low=0.0, high=0.5),
        "model.embedding": (64, 128, 256),
        "model.dense": (64, 128, 256),
        **_SHARED,
    },
    "distilbert": {
        "optimisation.learning_rate": Range(low=1e-4, high=3e-3, log=True),
        "model.rank": (8, 16, 32),
        "optimisation.warmup": Range(low=0.0, high=0.2),
        **_SHARED,
    },
}


def search(
    recipe: Recipe,
    identity: str,
    folder: Path,
    trials: int,
    train: Trainer,
    *,
    resume: bool,
    console: Console,
) -> tuple[Recipe, dict[str, Any]]:
    """The recipe with the settings that did best, and the report that is written to `folder`.

    With `resume`, trials that are done count among `trials`. `identity` names recipe and data.

    Raises ConfigError where `tuning.space` names what the recipe does not have, or `folder` holds
    a study of another recipe or other data.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend
    except ImportError as error:
        raise MissingExtraError("optuna", extra="train", needed_for="--tune") from error
    space = (recipe.tuning.space if recipe.tuning else None) or SPACES[recipe.model.kind]
    _try_ends(recipe, space)
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / JOURNAL
    if not resume:
        journal.unlink(missing_ok=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(journal))),
        study_name=recipe.name,
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=recipe.seed),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=UNPRUNED),
        load_if_exists=True,
    )
    if study.user_attrs.get("identity", identity) != identity:
        raise ConfigError(
            "this search was begun with another recipe or other data; tune without --resume",
            where=str(journal),
        )
    study.set_user_attr("identity", identity)

    states = optuna.trial.TrialState
    finished = (states.COMPLETE, states.PRUNED)
    done = len(study.get_trials(deepcopy=False, states=finished))
    if done:
        console.print(f"{done} of {trials} trials are done")
        # The same seed would try the first trials' settings again.
        study.sampler = optuna.samplers.TPESampler(seed=recipe.seed + done)

    def one(trial: optuna.Trial) -> float:
        settings = {name: _suggest(trial, name, what) for name, what in space.items()}

        def report(epoch: int, score: float) -> None:
            trial.report(score, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        console.print(f"trial {trial.number + 1}: {_told(settings)}")
        try:
            return train(changed(recipe, settings), report)
        except TrainingError as error:
            console.print(f"given up: {error}")
            raise optuna.TrialPruned from error

    study.optimize(one, n_trials=max(0, trials - done))
    if not study.get_trials(deepcopy=False, states=(states.COMPLETE,)):
        raise ConfigError(f"no trial of {trials} came to its end; raise --tune", where=str(folder))
    settings = {name: _meant(value, space[name]) for name, value in study.best_params.items()}
    best = changed(recipe, settings)
    report = {
        "trials": len(study.get_trials(deepcopy=False, states=finished)),
        "given up early": len(study.get_trials(deepcopy=False, states=(states.PRUNED,))),
        "best score": round(study.best_value, 6),
        "best settings": settings,
        "mattered": _importances(study),
        "all": [
            {"score": trial.value, "state": trial.state.name.lower(), "settings": trial.params}
            for trial in study.get_trials(deepcopy=False, states=finished)
        ],
    }
    _write(folder / REPORT, json.dumps(report, indent=1) + "\n")
    _show(report, folder, console)
    return best, report


def _try_ends(recipe: Recipe, space: dict[str, Range | tuple[Any, ...]]) -> None:
    """Every setting by itself, so that a name or a value is found wrong before any training."""
    for name, what in space.items():
        if not what:
            raise ConfigError("a list of choices needs one or more", where=f"tuning.space.{name}")
        for value in (what.low, what.high) if isinstance(what, Range) else what:
            changed(recipe, {name: value})


def changed(recipe: Recipe, settings: dict[str, Any]) -> Recipe:
    """The recipe with other settings, each by its place, such as `model.dropout`.

    Raises ConfigError where there is no such place, or the value does not fit.
    """
    content = recipe.model_dump(mode="json")
    for name, value in settings.items():
        section, _, key = name.partition(".")
        if key not in content.get(section, {}):
            raise ConfigError(
                f"the recipe has no setting {name!r}; a place is written model.dropout or "
                "optimisation.learning_rate",
                where="tuning.space",
            )
        content[section][key] = value
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        found = error.errors()[0]
        place = ".".join(str(part) for part in found["loc"])
        raise ConfigError(f"{place}: {found['msg']}", where="tuning.space") from error


def _suggest(trial: Any, name: str, what: Range | tuple[Any, ...]) -> Any:
    if not isinstance(what, Range):
        return _meant(trial.suggest_categorical(name, [_choice(value) for value in what]), what)
    if isinstance(what.low, int) and isinstance(what.high, int):
        return trial.suggest_int(name, what.low, what.high, log=what.log)
    return trial.suggest_float(name, what.low, what.high, log=what.log)


def _choice(value: Any) -> Any:
    """As optuna can keep it: a list, as of layer widths, by its text."""
    return value if isinstance(value, (int, float, str, bool)) or value is None else str(value)


def _meant(kept: Any, what: Range | tuple[Any, ...]) -> Any:
    return kept if isinstance(what, Range) else next(v for v in what if _choice(v) == kept)


def _importances(study: Any) -> dict[str, float]:
    """Shares, adding up to 1, of the variation of the score that each setting explains (fANOVA)."""
    import optuna

    whole = [t.value for t in study.trials if t.state == optuna.trial.TrialState.COMPLETE]
    if len(whole) < UNPRUNED or len(set(whole)) < 2:
        return {}
    found = optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )
    return {name: round(float(value), 4) for name, value in found.items()}


def _show(report: dict[str, Any], folder: Path, console: Console) -> None:
    console.print(f"best of {report['trials']} trials: {report['best score']:.4f}")
    best, mattered = report["best settings"], report["mattered"]
    for name in sorted(best, key=lambda name: -mattered.get(name, 0)):
        share = mattered.get(name)
        told = "" if share is None else f"explains {share:.0%} of the differences"
        console.print(f"  {name:<28} {_number(best[name]):<10} {told}")
    if not mattered:
        console.print("too few trials to say what mattered")
    console.print(f"wrote {folder / REPORT}")


def _told(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_number(value)}" for name, value in settings.items())


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, file)
