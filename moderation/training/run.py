"""One training run from recipe to model folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import torch
from rich.console import Console
from tokenizers import Tokenizer
from torch import nn

from moderation.models.artifact import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    Base,
    Calibration,
    new_folder,
    write_card,
)
from moderation.models.classifier import Classifier
from moderation.training import vocabulary
from moderation.training.calibration import calibrate
from moderation.training.card import readme
from moderation.training.data import left_out_rows, load_rows
from moderation.training.export import export_lstm
from moderation.training.lstm import LstmNetwork
from moderation.training.measure import measure, span_threshold
from moderation.training.recipe import DistilBertLora, LstmModel, Recipe, read_recipe
from moderation.training.trainer import Run, fit, identity

CARD_README = "README.md"


def train_recipe(recipe_path: Path, output: str | Path | None, runs: Path, *, resume: bool) -> Path:
    console = Console(stderr=True)
    recipe = read_recipe(recipe_path)
    rows = load_rows(recipe, recipe_path)
    fingerprint = rows.fingerprint()
    train, validation, test = (rows.part(name) for name in ("train", "validation", "test"))
    console.print(
        f"{len(train):,} rows to train on, {len(validation):,} to validate, {len(test):,} to test; "
        f"data {fingerprint}"
    )
    folder = vocabulary.base_folder(recipe.model.base, recipe_path)
    signs = vocabulary.emoji(train.texts, recipe.model.emoji)
    tokenizer = vocabulary.build_tokenizer(folder, signs)
    network = _network(recipe, folder, tokenizer, signs)

    run_folder = runs / recipe.name
    run = Run(run_folder, identity(recipe, fingerprint))
    fit(network, train, validation, recipe, tokenizer, run, resume=resume, console=console)
    run.best(network)

    target = Path(output) if output is not None else run_folder / "model"
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
        },
        "seed": recipe.seed,
        "command": f"moderation train {recipe_path.name}",
        "calibration": Calibration(
            scale=(1.0,) * len(zeros), offset=zeros, base_rate=zeros, fitted_on="nothing yet"
        ),
        "span_threshold": 0.5 if recipe.model.spans else None,
    }
    with new_folder(target) as scratch:
        worst = _export(network, scratch)
        tokenizer.save(str(scratch / TOKENIZER_FILE), pretty=False)
        write_card(scratch, fields)
        # Calibrated on what is served: int8 weights, long texts in windows.
        served = Classifier.load(scratch)
        fields["calibration"] = calibrate(served.logits(validation.texts), validation, recipe)
        if recipe.model.spans:
            fields["span_threshold"] = span_threshold(served, validation)
        write_card(scratch, fields)
        served = Classifier.load(scratch)
        metrics = measure(
            served,
            validation,
            test if len(test) else validation,
            left_out_rows(recipe, recipe_path),
            recipe,
        )
        metrics["largest difference of ONNX from torch"] = float(f"{worst:.2g}")
        card = write_card(scratch, {**fields, "metrics": metrics})
        (scratch / CARD_README).write_text(readme(card, recipe), encoding="utf-8")
        Classifier.load(scratch)
    console.print(f"wrote {target}")
    return target


def _network(recipe: Recipe, folder: Path, tokenizer: Tokenizer, signs: list[str]) -> nn.Module:
    torch.manual_seed(recipe.seed)
    model, labels = recipe.model, len(recipe.labels)
    if isinstance(model, DistilBertLora):
        from moderation.training.distilbert import new_network

        return new_network(folder, tokenizer, model, labels)
    network = LstmNetwork(model, tokenizer.get_vocab_size(), labels)
    start = vocabulary.token_embeddings(folder, tokenizer, signs, model.embedding, recipe.seed)
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

    assert isinstance(network, PeftModel)
    save_adapter(network, folder)
    return export_distilbert(merged(network), folder / GRAPH_FILE)
