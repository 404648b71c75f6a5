"""One training run from recipe to model folder."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from pydantic import ValidationError
from rich.console import Console
from tokenizers import Tokenizer
from torch import Tensor, nn

from moderation.errors import ConfigError
from moderation.evaluation import report_run
from moderation.evaluation.baseline import Baseline
from moderation.models.artifact import (
    CARD_FILE,
    GRAPH_FILE,
    TOKENIZER_FILE,
    Base,
    Calibration,
    ModelCard,
    new_folder,
    read_card,
    write_card,
)
from moderation.models.classifier import Classifier
from moderation.training import vocabulary
from moderation.training.augment import augmented
from moderation.training.baseline import beside, shown
from moderation.training.calibration import calibrate
from moderation.training.card import readme
from moderation.training.data import Rows, left_out_rows, load_rows
from moderation.training.distill import makes, taught
from moderation.training.export import export_lstm
from moderation.training.lstm import LstmNetwork
from moderation.training.measure import measure, span_rule
from moderation.training.prepare import clean_first
from moderation.training.recipe import (
    BaselineOptions,
    DistilBertLora,
    LstmModel,
    Recipe,
    read_recipe,
)
from moderation.training.trainer import Run, fit, identity
from moderation.training.tune import search

CARD_README = "README.md"


def train_recipe(
    recipe_path: Path, output: str | Path | None, runs: Path, *, resume: bool, tune: int = 0
) -> Path:
    console = Console(stderr=True, soft_wrap=True)
    recipe = read_recipe(recipe_path)
    target = Path(output) if output is not None else runs / recipe.name / "model"
    check_target(target)
    rows = load_rows(recipe, recipe_path)
    recipe = with_labels(recipe, rows.labels, recipe_path)
    fingerprint = rows.fingerprint()
    train, validation, test = (rows.part(name) for name in ("train", "validation", "test"))
    console.print(
        f"{len(train):,} rows to train on, {len(validation):,} to validate, {len(test):,} to test; "
        f"data {fingerprint}"
    )
    for note in rows.notes:
        console.print(note)
    folder = vocabulary.base_folder(recipe.model.base, recipe_path)
    begun = _begun(recipe, recipe_path)
    learnt = augmented(train, recipe, recipe_path.parent)
    if len(learnt) > len(train):
        console.print(learnt.notes[-1])

    run_folder = runs / recipe.name
    teacher = ""
    if recipe.distillation:
        length = recipe.model.max_length
        learnt, teacher = taught(learnt, recipe.distillation, recipe_path, run_folder, length)
    # What a run's checkpoints depend on beside its recipe.
    given = fingerprint + teacher + (makes(begun) if begun else "")
    tuning: dict[str, Any] = {}
    if tune:

        def trial(changed: Recipe, report: Callable[[int, float], None]) -> float:
            tokenizer, network = _new(changed, recipe_path, folder, learnt)
            run = Run(run_folder / "trial", identity(changed, given))
            progressed = fit(
                network,
                learnt,
                validation,
                changed,
                tokenizer,
                run,
                resume=False,
                console=console,
                report=lambda record: report(int(record["epoch"]), float(record["score"])),
            )
            return progressed.best

        recipe, found = search(
            recipe,
            identity(recipe, given),
            run_folder,
            tune,
            trial,
            resume=resume,
            console=console,
        )
        shutil.rmtree(run_folder / "trial", ignore_errors=True)
        tuning = {"tuned by trials": found["trials"], "tuned to": found["best settings"]}
        # More trials may find other settings: what was trained with these is not gone on from.
        run_folder /= f"tuned-{identity(recipe, given)}"
    tokenizer, network = _new(recipe, recipe_path, folder, learnt)
    start = [parameter.detach().clone() for parameter in _learnt(network)] if begun else []
    run = Run(run_folder, identity(recipe, given))
    fit(network, learnt, validation, recipe, tokenizer, run, resume=resume, console=console)
    run.best(network)
    if isinstance(recipe.model, DistilBertLora):
        _keep(network, start, recipe.model.kept)

    # As it was called, but for a path that means nothing on another machine.
    called = recipe_path.name if recipe_path.is_absolute() else recipe_path.as_posix()
    command = f"moderation train {called}" + (f" --tune {tune}" if tune else "")
    zeros = (0.0,) * len(recipe.labels)
    fields = {
        "name": recipe.name,
        "kind": recipe.model.kind,
        "task": recipe.task,
        "labels": recipe.labels,
        "languages": recipe.languages,
        "max_length": _window(recipe.model),
        "stride": recipe.model.stride,
        "base": Base(
            name=recipe.model.base,
            revision=vocabulary.revision(folder),
            licence=recipe.model.base_licence,
        ),
        "data": {
            "fingerprint": fingerprint,
            "rows": len(train),
            "sources": dict(sorted(Counter(train.sources.tolist()).items())),
            "teacher": teacher,
            "adapter": f"{begun.name} {makes(begun)}" if begun else "",
        },
        "seed": recipe.seed,
        "command": command,
        "calibration": Calibration(
            scale=(1.0,) * len(zeros), offset=zeros, base_rate=zeros, fitted_on="nothing yet"
        ),
        "span_threshold": 0.5 if recipe.model.spans else None,
    }
    with new_folder(target) as scratch:
        worst = _export(network, scratch)
        (scratch / TOKENIZER_FILE).write_text(tokenizer.to_str(), encoding="utf-8")
        write_card(scratch, fields)
        # Calibrated on what is served: int8 weights, long texts in windows.
        served = Classifier.load(scratch)
        fields["calibration"] = calibrate(served.logits(validation.texts), validation, recipe)
        if recipe.model.spans:
            rule = span_rule(served, validation)
            fields["span_threshold"], fields["span_ratio"] = rule
        write_card(scratch, fields)
        served = Classifier.load(scratch)
        held = test if len(test) else validation
        metrics = measure(served, validation, held, left_out_rows(recipe, recipe_path), recipe)
        row = beside(served.predict_proba(held.texts), train, held, recipe)
        metrics |= {"baseline": row, **tuning}
        metrics["largest difference of ONNX from torch"] = float(f"{worst:.2g}")
        card = write_card(scratch, {**fields, "metrics": metrics})
        (scratch / CARD_README).write_text(readme(card, recipe), encoding="utf-8")
        Classifier.load(scratch)
    shown(recipe.name, row, console)
    options = recipe.baseline or BaselineOptions()
    page = report_run(target, held, train, run_folder, baseline=Baseline(**options.model_dump()))
    # The numbers without the texts go with the model: the page draws its curves from them.
    shutil.copyfile(page.with_suffix(".json"), target / "report.json")
    console.print(f"wrote {target}, and about it {page}")
    return target


def check_target(target: Path) -> None:
    """Raises ConfigError where a model folder at `target` would replace something else, or
    could not be written: said before hours of training, not after.
    """
    above = next(folder for folder in target.absolute().parents if folder.exists())
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise ConfigError(
            f"cannot be written: {above} is no folder that may be written to; give another "
            "--output or --runs",
            where=str(target),
        )
    if target.is_dir() and ((target / CARD_FILE).is_file() or not any(target.iterdir())):
        return
    if target.exists():
        raise ConfigError(
            f"is there and is no model folder (no {CARD_FILE} in it), so it is not replaced; give "
            "another --output",
            where=str(target),
        )


def with_labels(recipe: Recipe, labels: tuple[str, ...], recipe_path: Path) -> Recipe:
    """The recipe with the labels that its data has: classes found, or merged."""
    if recipe.labels == labels:
        return recipe
    try:
        return Recipe.model_validate({**recipe.model_dump(), "labels": labels})
    except ValidationError as error:
        told = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise ConfigError(told, where=str(recipe_path)) from error


def _begun(recipe: Recipe, recipe_path: Path) -> ModelCard | None:
    """The card of the model whose adapter the recipe goes on from."""
    model = recipe.model
    if not isinstance(model, DistilBertLora) or model.adapter is None:
        return None
    card = read_card(recipe_path.parent / model.adapter)
    base = card.base.name if card.base else None
    for what, expected, found in (
        ("labels", list(recipe.labels), list(card.labels)),
        ("base", model.base, base),
        ("task", recipe.task, card.task),
    ):
        if found != expected:
            raise ConfigError(
                f"{card.name} has the {what} {found}, the recipe {expected}; name a model that was "
                "trained alike, or leave `adapter` out",
                where=f"{recipe_path}: model.adapter",
            )
    return card


def _learnt(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]


def _keep(network: nn.Module, start: list[Tensor], share: float) -> None:
    """The mean of the weights before and after: it gains what was taught and forgets less.

    Wortsman et al. 2022, "Robust fine-tuning of zero-shot models", arXiv 2109.01903.
    """
    with torch.no_grad():
        for parameter, before in zip(_learnt(network), start, strict=False):
            parameter.lerp_(before, share)


def _new(
    recipe: Recipe, recipe_path: Path, folder: Path, learnt: Rows
) -> tuple[Tokenizer, nn.Module]:
    model = recipe.model
    if isinstance(model, DistilBertLora) and model.adapter is not None:
        from peft import LoraConfig

        from moderation.training.distilbert import load_network

        begun = recipe_path.parent / model.adapter
        torch.manual_seed(recipe.seed)
        tokenizer = Tokenizer.from_file(str(begun / TOKENIZER_FILE))
        network = load_network(begun, folder, trainable=True, dropout=model.dropout)
        found = cast(LoraConfig, network.peft_config["default"]).r
        if found != model.rank:
            raise ConfigError(
                f"the adapter is of rank {found}, the recipe says {model.rank}; say {found}",
                where=f"{recipe_path}: model.rank",
            )
        return tokenizer, network
    signs = vocabulary.emoji(learnt.texts, recipe.model.emoji)
    tokenizer = vocabulary.build_tokenizer(folder, signs)
    clean_first(tokenizer, recipe)
    return tokenizer, _network(recipe, folder, tokenizer, signs)


def _network(recipe: Recipe, folder: Path, tokenizer: Tokenizer, signs: list[str]) -> nn.Module:
    torch.manual_seed(recipe.seed)
    model, labels = recipe.model, len(recipe.labels)
    if isinstance(model, DistilBertLora):
        from moderation.training.distilbert import new_network

        return new_network(folder, tokenizer, model, labels)
    network = LstmNetwork(model, tokenizer.get_vocab_size(), labels)
    start = vocabulary.token_embeddings(folder, tokenizer, signs, model.embedding, recipe.seed)
    if start.shape[1] < model.embedding:
        raise ConfigError(
            f"{model.embedding} is above the {start.shape[1]} of the base's embeddings; lower it",
            where=f"{recipe.name}: model.embedding",
        )
    with torch.no_grad():
        network.embedding.weight.copy_(torch.from_numpy(start))
    return network


def _window(model: LstmModel | DistilBertLora) -> int:
    return model.window if isinstance(model, DistilBertLora) else model.max_length


def _export(network: nn.Module, folder: Path) -> float:
    if isinstance(network, LstmNetwork):
        return export_lstm(network, folder / GRAPH_FILE)
    from peft import PeftModel

    from moderation.training.distilbert import merged, save_adapter
    from moderation.training.distilbert_export import export_distilbert
    from moderation.training.encoder import EncoderNetwork, export_encoder

    assert isinstance(network, PeftModel)
    save_adapter(network, folder)
    whole = merged(network)
    if isinstance(whole, EncoderNetwork):
        return export_encoder(whole, folder / GRAPH_FILE)
    return export_distilbert(whole, folder / GRAPH_FILE)
