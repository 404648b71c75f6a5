"""The training loop: any network of (ids, lengths) -> (logits, token logits).

Every epoch is a function of the recipe's seed and its own number: which rows, in what order,
changed how, dropped out where. So a run that was interrupted and resumed ends with the very
weights of one that was not, and a checkpoint needs no generator states.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from moderation.errors import ConfigError, ModerationError
from moderation.normalize import Folded, fold
from moderation.training.data import Rows, Spans, batches, epoch_order
from moderation.training.measure import selection_score
from moderation.training.recipe import Augmentation, Optimisation, Recipe

BERT_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNKNOWN = ("[UNK]", "<unk>", "[MASK]", "<mask>")
# Of the harmless rows one in so many says that no word of it deserves a mark: all of them would
# drown the few thousand that raters marked.
UNMARKED = 8
# A text this little toxic, by label or by what a teacher says, has no word to mark.
HARMLESS = 0.05
# Longest rows first run out of memory: a batch is at most this many tokens.
BATCH_TOKENS = 20_000

Ids = NDArray[np.int32]
Marks = NDArray[np.float32]


class TrainingError(ModerationError):
    """Training cannot go on: names the epoch and what to change."""


@dataclass(frozen=True)
class Encoded:
    """Rows as the network reads them; `marks` is the token target, NaN where nobody knows."""

    ids: list[Ids]
    marks: list[Marks | None]
    targets: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ids)

    def lengths(self) -> NDArray[np.int64]:
        return np.fromiter(map(len, self.ids), np.int64, len(self.ids))


def encode(rows: Rows, tokenizer: Tokenizer, max_length: int, harmless: int | None) -> Encoded:
    """Rows cut at `max_length` tokens.

    `harmless` is the place of the label whose sure absence (below HARMLESS) says that no word of
    the text deserves a mark; None where no label says so.
    """
    encodings = tokenizer.encode_batch(rows.texts)
    ids = [_cut(encoding.ids, max_length) for encoding in encodings]
    marks: list[Marks | None] = []
    for row, (encoding, spans) in enumerate(zip(encodings, rows.spans, strict=True)):
        if spans is not None:
            marks.append(_marks(encoding.offsets, spans)[: len(ids[row])])
        elif (
            harmless is not None and rows.targets[row, harmless] < HARMLESS and row % UNMARKED == 0
        ):
            marks.append(np.zeros(len(ids[row]), np.float32))
        else:
            marks.append(None)
    return Encoded(ids, marks, rows.targets)


def _cut(ids: list[int], max_length: int) -> Ids:
    if len(ids) > max_length:
        ids = [*ids[: max_length - 1], ids[-1]]
    return np.asarray(ids, np.int32)


def _marks(offsets: Sequence[tuple[int, int]], spans: Spans) -> Marks:
    marks = np.zeros(len(offsets), np.float32)
    for place, (begin, end) in enumerate(offsets):
        if any(begin < last and first < end for first, last in spans):
            marks[place] = 1
    return marks


def _join(rows: Encoded, one: int, two: int, max_length: int) -> tuple[Ids, Marks | None, Marks]:
    """Two texts as one: what either of them is, both together are."""
    ids = np.concatenate([rows.ids[one][:-1], rows.ids[two][1:]])
    first, second = rows.targets[one], rows.targets[two]
    either = np.fmax(first, second)
    both = ~np.isnan(first) & ~np.isnan(second)
    targets = np.where(both | (either >= 0.5), either, np.nan).astype(np.float32)
    marks = None
    a, b = rows.marks[one], rows.marks[two]
    if a is not None and b is not None:
        marks = np.concatenate([a[:-1], b[1:]])[:max_length]
    return ids[:max_length], marks, targets


def epoch_rows(
    encoded: Encoded,
    texts: list[str],
    spans: list[Spans | None],
    weights: NDArray[np.float32],
    recipe: Recipe,
    tokenizer: Tokenizer,
    rng: np.random.Generator,
) -> Encoded:
    """The rows of one epoch: drawn by weight, a share of them disguised, folded or joined."""
    order = epoch_order(weights, rng)
    share = recipe.augmentation
    ids = [encoded.ids[row] for row in order]
    marks = [encoded.marks[row] for row in order]
    targets = encoded.targets[order]
    dice = rng.random(len(order))
    length = recipe.model.max_length
    changed = dice < share.disguise + share.mistype + share.fold
    if changed.any():
        generator = random.Random(int(rng.integers(2**62)))
        places = np.flatnonzero(changed)
        new = [
            _changed(texts[order[place]], spans[order[place]], dice[place], share, generator)
            for place in places
        ]
        encodings = tokenizer.encode_batch([folded.text for folded, _ in new])
        for place, encoding, (folded, carried) in zip(places, encodings, new, strict=True):
            ids[place] = _cut(encoding.ids, length)
            mark = marks[place]
            if carried is not None:
                offsets = [folded.span(*offset) for offset in encoding.offsets]
                marks[place] = _marks(offsets, carried)[: len(ids[place])]
            elif mark is not None:  # nothing stays nothing
                marks[place] = np.zeros(len(ids[place]), np.float32)
    for place in np.flatnonzero(~changed & (dice >= 1 - share.join)):
        one, two = int(order[place]), int(order[rng.integers(len(order))])
        ids[place], marks[place], targets[place] = _join(encoded, one, two, length)
    return Encoded(ids, marks, targets)


def _changed(
    text: str, spans: Spans | None, dice: float, share: Augmentation, generator: random.Random
) -> tuple[Folded, Spans | None]:
    """Disguised, mistyped, folded: serving reads a disguised text raw and folded.

    The spans lie in what was folded.
    """
    if dice < share.disguise + share.mistype:
        from moderation.training.disguise import SLIPS, disguised

        if dice < share.disguise:
            hidden = disguised(text, generator)
        else:
            hidden = disguised(text, generator, strength=0.25, kinds=SLIPS, anywhere=True)
        text = hidden.text
        if spans is not None:
            spans = tuple(hidden.span(*span) for span in spans)
    # Half of the disguised stay as they were written, and what is mistyped does.
    if share.disguise / 2 <= dice < share.disguise + share.mistype:
        return Folded(text, text, False), spans
    folded = fold(text)
    if not folded.text.strip():
        return Folded("?", "?", False), None if spans is None else ()
    return folded, spans


def _special(tokenizer: Tokenizer) -> dict[str, int]:
    """Tokens that are no part of what somebody wrote, by what the family calls them."""
    added = tokenizer.get_added_tokens_decoder().items()
    found = {token.content: place for place, token in added if token.special}
    named = {name: tokenizer.token_to_id(name) for name in BERT_SPECIAL}
    return found | {name: place for name, place in named.items() if place is not None}


class Collator:
    """Batches of tensors, padded to their longest row, with some words hidden while training."""

    def __init__(self, tokenizer: Tokenizer, word_dropout: float = 0.0) -> None:
        special = _special(tokenizer)
        self.unknown = next((special[name] for name in UNKNOWN if name in special), 0)
        self.kept = np.asarray(sorted(special.values()), np.int64)
        self.word_dropout = word_dropout

    def __call__(
        self, rows: Encoded, places: NDArray[np.int64], rng: np.random.Generator | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """ids [b, t], lengths [b], targets [b, labels] with NaN, marks [b, t] with NaN."""
        lengths = np.fromiter((len(rows.ids[place]) for place in places), np.int64, len(places))
        ids = np.zeros((len(places), int(lengths.max())), np.int64)
        marks = np.full(ids.shape, np.nan, np.float32)
        for row, place in enumerate(places):
            ids[row, : lengths[row]] = rows.ids[place]
            mark = rows.marks[place]
            if mark is not None:
                marks[row, : lengths[row]] = mark
        if rng is not None and self.word_dropout:
            hidden = (rng.random(ids.shape) < self.word_dropout) & ~np.isin(ids, self.kept)
            ids[hidden] = self.unknown
        return (
            torch.from_numpy(ids),
            torch.from_numpy(lengths),
            torch.from_numpy(rows.targets[places]),
            torch.from_numpy(marks),
        )


class Loss:
    """Cross-entropy over what is known: a missing label or token mark adds nothing."""

    def __init__(self, recipe: Recipe) -> None:
        how = recipe.optimisation
        self.multi_class = recipe.task == "multi_class"
        self.labels = torch.tensor([how.label_weights.get(label, 1.0) for label in recipe.labels])
        self.positives = torch.tensor(
            [how.positive_weights.get(label, 1.0) for label in recipe.labels]
        )
        self.spans = how.span_weight if recipe.model.spans else 0.0

    def __call__(self, logits: Tensor, tokens: Tensor, targets: Tensor, marks: Tensor) -> Tensor:
        if self.multi_class:
            loss = nn.functional.cross_entropy(logits, targets)
        else:
            known = ~targets.isnan()
            filled = targets.nan_to_num(0)
            each = nn.functional.binary_cross_entropy_with_logits(
                logits, filled, pos_weight=self.positives.to(logits.device), reduction="none"
            )
            # By rows, not by known labels: a row that answers nine questions counts nine times.
            loss = (each * known * self.labels.to(logits.device)).sum() / len(logits)
        marked = ~marks.isnan()
        if self.spans and marked.any():
            each = nn.functional.binary_cross_entropy_with_logits(
                tokens, marks.nan_to_num(0), reduction="none"
            )
            rows = marked.any(dim=1)
            mean = (each * marked).sum(dim=1)[rows] / marked.sum(dim=1)[rows]
            loss = loss + self.spans * mean.sum() / len(logits)
        return loss


def predict(
    network: nn.Module, rows: Encoded, collate: Collator, size: int = 512
) -> NDArray[np.float32]:
    """Logits of rows, [n, labels], in their order."""
    network.eval()
    device = next(network.parameters()).device
    order = np.argsort(rows.lengths(), kind="stable")
    result: NDArray[np.float32] | None = None
    with torch.no_grad():
        for begin in range(0, len(order), size):
            places = order[begin : begin + size]
            ids, lengths, _, _ = collate(rows, places, None)
            logits = network(ids.to(device), lengths.to(device))[0].float().cpu().numpy()
            if result is None:
                result = np.empty((len(order), logits.shape[1]), np.float32)
            result[places] = logits
    assert result is not None
    return result


@dataclass
class Progressed:
    """How far a run has come; written beside its weights after every epoch."""

    identity: str
    epoch: int = 0
    step: int = 0
    best: float = -1.0
    best_epoch: int = 0
    history: list[dict[str, float]] | None = None


class Average:
    """The moving average of the weights over the last steps (Polyak and Juditsky 1992).

    It generalises better than the weights that the last few batches left behind. With a decay of
    0 it is the weights themselves.
    """

    def __init__(self, learnt: list[nn.Parameter], decay: float) -> None:
        self.learnt, self.decay = learnt, decay
        self.values = [parameter.detach().clone() for parameter in learnt] if decay else []

    def update(self, step: int) -> None:
        """After optimiser step number `step`; the first steps are soon forgotten."""
        if self.decay:
            decay = min(self.decay, (1 + step) / (10 + step))
            with torch.no_grad():
                for value, parameter in zip(self.values, self.learnt, strict=True):
                    value.lerp_(parameter, 1 - decay)

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Inside, the network computes with the average."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    def _swap(self) -> None:
        with torch.no_grad():
            for value, parameter in zip(self.values, self.learnt, strict=False):
                held = parameter.clone()
                parameter.copy_(value)
                value.copy_(held)

    def tensors(self) -> dict[str, Tensor]:
        return {f"average.{place}": value for place, value in enumerate(self.values)}

    def load(self, tensors: dict[str, Tensor]) -> None:
        for place, value in enumerate(self.values):
            value.copy_(tensors[f"average.{place}"])


class Run:
    """Checkpoints of one run in a folder: `last` to go on from, `best` to ship."""

    def __init__(self, folder: Path, identity: str) -> None:
        self.folder = folder
        self.identity = identity

    def start(self, *, resume: bool) -> Progressed:
        state = self.folder / "state.json"
        if not resume or not state.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in self.folder.glob("*.safetensors"):
                file.unlink()
            state.unlink(missing_ok=True)
            return Progressed(self.identity, history=[])
        try:
            progressed = Progressed(**json.loads(state.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError) as error:
            raise _damaged(state, error) from error
        if progressed.identity != self.identity:
            raise ConfigError(
                "this run was started with another recipe or other data; train without --resume, "
                "or give another run folder",
                where=str(self.folder),
            )
        return progressed

    def load(
        self,
        progressed: Progressed,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        average: Average,
    ) -> None:
        file = self.folder / f"epoch-{progressed.epoch:03d}.safetensors"
        try:
            tensors = load_file(file)
            _restore(network, tensors)
            average.load(tensors)
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise _damaged(file, error) from error
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, place, name = key.split(".")
                state.setdefault(int(place), {})[name] = value
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})

    def save(
        self,
        progressed: Progressed,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        average: Average,
    ) -> None:
        if progressed.best_epoch == progressed.epoch:
            with average.in_use():
                self._write(_learnt(network), "best.safetensors")
        tensors = _learnt(network) | average.tensors()
        for place, values in optimiser.state_dict()["state"].items():
            for name, value in values.items():
                tensors[f"optimiser.{place}.{name}"] = value
        self._write(tensors, f"epoch-{progressed.epoch:03d}.safetensors")
        temporary = self.folder / "state.json.part"
        temporary.write_text(json.dumps(vars(progressed), indent=1) + "\n", encoding="utf-8")
        os.replace(temporary, self.folder / "state.json")
        # The optimiser's moments are twice the weights: only the last epoch is gone on from.
        for file in self.folder.glob("epoch-*.safetensors"):
            if file.name != f"epoch-{progressed.epoch:03d}.safetensors":
                file.unlink()

    def _write(self, tensors: dict[str, Tensor], name: str) -> None:
        temporary = self.folder / f"{name}.part"
        try:
            save_file({key: value.contiguous() for key, value in tensors.items()}, temporary)
        except (OSError, SafetensorError) as error:
            temporary.unlink(missing_ok=True)
            raise TrainingError(
                f"{self.folder / name}: the checkpoint cannot be written ({error}); make room, "
                "then go on from the one before with --resume"
            ) from error
        os.replace(temporary, self.folder / name)

    def best(self, network: nn.Module) -> None:
        file = self.folder / "best.safetensors"
        try:
            _restore(network, load_file(file))
        except (OSError, SafetensorError, KeyError, RuntimeError) as error:
            raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"a checkpoint that cannot be read ({type(error).__name__}); train without --resume",
        where=str(file),
    )


def _learnt(network: nn.Module) -> dict[str, Tensor]:
    # What is frozen comes from the base, now as then.
    return {
        f"network.{name}": value.detach()
        for name, value in network.named_parameters()
        if value.requires_grad
    }


def _restore(network: nn.Module, tensors: dict[str, Tensor]) -> None:
    parameters = dict(network.named_parameters())
    with torch.no_grad():
        for key, value in tensors.items():
            if key.startswith("network."):
                parameters[key.removeprefix("network.")].copy_(value)


def identity(recipe: Recipe, fingerprint: str) -> str:
    dumped = recipe.model_dump(mode="json")
    dumped["model"].pop("kept", None)  # what is done with the weights when they are trained
    content = json.dumps([dumped, fingerprint], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def fit(
    network: nn.Module,
    train: Rows,
    validation: Rows,
    recipe: Recipe,
    tokenizer: Tokenizer,
    run: Run,
    *,
    resume: bool,
    console: Console,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> Progressed:
    """Trains until the score on the validation part stops rising; the best weights are in `run`.

    On the accelerator where there is one; `network` ends on the CPU.

    Raises TrainingError where the loss is not a number.
    """
    how = recipe.optimisation
    if how.threads:
        torch.set_num_threads(how.threads)
    device = PartialState().device
    network.to(device)
    harmless = recipe.labels.index("toxic") if "toxic" in recipe.labels else None
    encoded = encode(train, tokenizer, recipe.model.max_length, harmless)
    validation = validation.where(_drawn(len(validation), how.validation_rows, recipe.seed))
    held = encode(validation, tokenizer, recipe.model.max_length, harmless)
    collate = Collator(tokenizer, recipe.model.word_dropout)
    loss_of = Loss(recipe)
    learnt = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(
        _groups(network, how), lr=how.learning_rate, weight_decay=how.weight_decay, fused=True
    )
    average = Average(learnt, how.averaging)
    weights = train.weights * np.float32(how.epoch_share)
    progressed = run.start(resume=resume)
    if progressed.epoch:
        run.load(progressed, network, optimiser, average)
    history = progressed.history = progressed.history or []
    # Steps of an epoch differ by a few, as rows are drawn anew; the schedule needs only a plan.
    planned = how.epochs * max(1, int(float(weights.sum()) // how.batch))

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[loss]}"),
        console=console,
        disable=not console.is_terminal,
    ) as progress:
        while progressed.epoch < how.epochs:
            if progressed.epoch - progressed.best_epoch >= how.patience and progressed.best_epoch:
                break
            number = progressed.epoch + 1
            rng = np.random.default_rng([recipe.seed, number])
            torch.manual_seed(recipe.seed * 1_000_003 + number)
            rows = epoch_rows(encoded, train.texts, train.spans, weights, recipe, tokenizer, rng)
            plan = _capped(batches(rows.lengths(), how.batch, rng), rows.lengths())
            bar = progress.add_task(f"epoch {number}", total=len(plan), loss="")
            network.train()
            total = 0.0
            for count, places in enumerate(plan, 1):
                for group in optimiser.param_groups:
                    group["lr"] = (
                        how.learning_rate
                        * group["share"]
                        * _schedule(progressed.step / planned, how.warmup)
                    )
                ids, lengths, targets, marks = (
                    part.to(device) for part in collate(rows, places, rng)
                )
                with torch.autocast(
                    device.type, torch.bfloat16, enabled=how.precision == "bfloat16"
                ):
                    logits, tokens = network(ids, lengths)
                loss = loss_of(logits.float(), tokens.float(), targets, marks)
                value = float(loss.detach())
                if not np.isfinite(value):
                    raise TrainingError(
                        f"epoch {number}, step {count}: the loss is {value}; lower "
                        "optimisation.learning_rate or optimisation.clip"
                    )
                optimiser.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(learnt, how.clip)
                optimiser.step()
                progressed.step += 1
                average.update(progressed.step)
                total += value
                progress.update(bar, completed=count, loss=f"loss {total / count:.4f}")
            with (
                average.in_use(),
                torch.autocast(device.type, torch.bfloat16, enabled=how.precision == "bfloat16"),
            ):
                logits = predict(network, held, collate)
            score, details = selection_score(logits, validation, recipe)
            progressed.epoch = number
            if score > progressed.best:
                progressed.best, progressed.best_epoch = score, number
            record = {"epoch": number, "loss": total / len(plan), "score": score, **details}
            history.append(record)
            run.save(progressed, network, optimiser, average)
            console.print(
                f"epoch {number}: loss {total / len(plan):.4f}, validation score {score:.4f}"
            )
            if report:
                report(record)
    network.cpu()
    return progressed


def _groups(network: nn.Module, how: Optimisation) -> list[dict[str, Any]]:
    learnt = [item for item in network.named_parameters() if item[1].requires_grad]
    if how.embedding_rate is None:
        return [{"params": [parameter for _, parameter in learnt], "share": 1.0}]
    embeddings = [parameter for name, parameter in learnt if name.startswith("embedding.")]
    rest = [parameter for name, parameter in learnt if not name.startswith("embedding.")]
    return [
        {"params": embeddings, "share": how.embedding_rate},
        {"params": rest, "share": 1.0},
    ]


def _drawn(count: int, wanted: int, seed: int) -> NDArray[np.bool_]:
    chosen = np.ones(count, np.bool_)
    if 0 < wanted < count:
        chosen[np.random.default_rng(seed).permutation(count)[wanted:]] = False
    return chosen


def _capped(plan: list[NDArray[np.int64]], lengths: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    result: list[NDArray[np.int64]] = []
    for places in plan:
        longest = int(lengths[places].max())
        pieces = -(-len(places) * longest // BATCH_TOKENS)
        result += np.array_split(places, pieces)
    return result


def _schedule(done: float, warmup: float) -> float:
    """Linear warm-up, then linear decay to a twentieth."""
    if done < warmup:
        return max(done / warmup, 0.01)
    return max(1 - (done - warmup) / (1 - warmup), 0.05)
