"""The command line: `moderation check`, `filters`, `policy`, `plugins`."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from moderation import __version__
from moderation.errors import ModerationError

if TYPE_CHECKING:
    from moderation.content import Content
    from moderation.engine import Checkable, Moderator

EXIT_STATUS = {"allow": 0, "review": 3, "block": 4}


class _Commands(click.Group):
    """Turns this package's errors into one line on standard error and exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ModerationError as error:
            click.echo(f"moderation: {error}", err=True)
            ctx.exit(1)
        except BrokenPipeError:
            # The reader went away, as `head` does: not a fault of ours.
            sys.stderr.close()
            ctx.exit(0)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="moderation")
def main() -> None:
    """Judge texts by an ordered chain of filters.

    \b
    moderation check "you are a wonderful person"
    moderation check --policy my-policy.yaml --json < comments.txt
    moderation policy show default
    """
    logging.basicConfig(format="moderation: %(message)s", level=logging.WARNING)


_policy = click.option(
    "--policy",
    "-p",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped policy by name, or a YAML file.",
)
_plugin = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="NAME|PATH",
    help="A plugin to load beside those of the policy: an entry point, a .py file or a folder.",
)


@main.command()
@click.argument("text", required=False)
@_policy
@_plugin
@click.option("--file", "-f", type=click.Path(path_type=Path), help="Read texts from a file.")
@click.option(
    "--image",
    "images",
    multiple=True,
    metavar="FILE|URL",
    help="An image to judge, with TEXT if there is one; several are one content. The policy is "
    "then `images` unless you name another.",
)
@click.option("--whole", is_flag=True, help="Read a file or standard input as one text.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each text.")
@click.option("--include-text", is_flag=True, help="With --json: the text is part of the object.")
@click.option("--explain", is_flag=True, help="Show everything: reasons, signals, chain, models.")
@click.option("--mask", is_flag=True, help="Mask the words that were signalled: f***.")
@click.option("--exhaustive", is_flag=True, help="Run every step, whatever the earlier ones said.")
@click.option("--line-buffered", is_flag=True, help="Judge each line as it arrives.")
@click.pass_context
def check(
    ctx: click.Context,
    text: str | None,
    policy: str,
    plugins: Sequence[str],
    file: Path | None,
    images: Sequence[str],
    whole: bool,
    as_json: bool,
    include_text: bool,
    explain: bool,
    mask: bool,
    exhaustive: bool,
    line_buffered: bool,
) -> None:
    """Judge TEXT, an image, or every line of standard input or of a file.

    \b
    moderation check "some text"
    moderation check --image meme.png --explain
    tail -f comments.log | moderation check --line-buffered --json
    moderation check --file comments.txt --mask

    The exit status is that of the most severe verdict: 0 allow, 3 review, 4 block. 1 is an error
    in a policy, a plugin or a model, 2 one in the command.
    """
    from moderation import display
    from moderation.engine import Moderator
    from moderation.verdict import Action

    if text is not None and file is not None:
        raise click.UsageError("give a text or --file, not both")
    if images and file is not None:
        raise click.UsageError("give --image or --file, not both")
    if text is None and file is None and not images and sys.stdin.isatty():
        raise click.UsageError('give a text: moderation check "some text", or pipe lines in')
    if include_text and not as_json:
        raise click.UsageError("--include-text goes with --json")

    if images and ctx.get_parameter_source("policy") is click.core.ParameterSource.DEFAULT:
        policy = "images"
    moderator = Moderator(policy, plugins=plugins)
    texts: Iterable[Checkable]
    if images:
        texts = [_with_images(moderator, text, images)]
    else:
        texts = [text] if text is not None else _texts(file, whole)
    moderator.load()
    single = text is not None or bool(images) or whole
    verdicts = (
        (moderator.moderate(line, exhaustive=exhaustive) for line in texts)
        if line_buffered
        else moderator.moderate_iter(texts, exhaustive=exhaustive)
    )
    console = display.console()
    counts = dict.fromkeys(Action, 0)
    for number, verdict in enumerate(verdicts, start=1):
        counts[verdict.action] += 1
        if as_json:
            click.echo(json.dumps(verdict.to_dict(include_text=include_text), ensure_ascii=False))
        elif single or explain:
            if not single:
                console.rule(f"{number}", align="left", style="dim")
            display.print_verdict(console, verdict, moderator.policy, explain=explain, mask=mask)
        else:
            display.print_line(console, number, verdict, mask=mask)
        if line_buffered:
            sys.stdout.flush()
    total = sum(counts.values())
    if not as_json and not single:
        told = ", ".join(f"{count:,} {action}" for action, count in counts.items())
        click.echo(f"{total:,} texts: {told}", err=True)
    worst = max((action for action, count in counts.items() if count), default=Action.ALLOW)
    ctx.exit(EXIT_STATUS[str(worst)])


@main.command()
@_plugin
def filters(plugins: Sequence[str]) -> None:
    """List the filters that a policy's steps may name, with their options."""
    from moderation import display
    from moderation.plugins import Registry

    registry = Registry(plugins)
    console = display.console()
    for name, cls in sorted(registry.filters.items()):
        console.print(f"[bold]{name}[/]  [dim]from {registry.origin(name)}[/]", highlight=False)
        summary = (cls.__doc__ or "").strip().partition("\n\n")[0]
        if summary:
            console.print(f"  {' '.join(summary.split())}", markup=False, highlight=False)
        for option, field in cls.model_fields.items():
            value = field.get_default(call_default_factory=True, validated_data={})
            default = "required" if field.is_required() else f"default {value!r}"
            told = f" · {field.description}" if field.description else ""
            console.print(
                f"  · {field.alias or option} ({default}){told}", markup=False, highlight=False
            )


@main.command(name="hash")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--category",
    "-c",
    required=True,
    metavar="NAME",
    help="What the images are to be reported as.",
)
def hash_(images: Sequence[Path], category: str) -> None:
    """Print the perceptual hash of each image, as a line for a list of known images.

    \b
    moderation hash --category spam banner.png >> known.txt

    A step `{filter: imagehash, options: {lists: [known.txt]}}` then finds them again.
    """
    from moderation.filters.imagehash import entry
    from moderation.image import read

    for path in images:
        try:
            line = entry(read(path), category)
        except ModerationError as error:
            raise ModerationError(f"{path}: {error}") from None
        name = "".join(char if char.isprintable() else "?" for char in path.name)
        click.echo(f"{line}  # {name}")


@main.command()
@click.argument("recipe", type=click.Path(path_type=Path))
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path),
    help="Folder for the model.  [default: RUNS/NAME/model]",
)
@click.option(
    "--runs",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder for checkpoints and searches.",
)
@click.option(
    "--tune",
    type=click.IntRange(min=1),
    metavar="N",
    help="First search for better settings with N trials, and say what mattered.",
)
def train(recipe: Path, resume: bool, output: Path | None, runs: Path, tune: int | None) -> None:
    """Train the model that RECIPE, a YAML file, describes.

    \b
    moderation train configs/training/ag-news-lstm.yaml
    moderation train my-recipe.yaml --tune 20 --output my-model

    Prints the folder of the model. Needs the extra `train`.
    """
    from moderation.training import train as train_model

    try:
        folder = train_model(recipe, output=output, resume=resume, runs=runs, tune=tune or 0)
    except KeyboardInterrupt:
        raise ModerationError(
            "interrupted; the same command with --resume goes on from the last whole epoch"
        ) from None
    click.echo(str(folder))


def _labelled_file(command: Callable[..., None]) -> Callable[..., None]:
    """The options of every command that scores a labelled file."""
    for option in reversed(
        (
            click.argument("system", metavar="MODEL|POLICY"),
            click.argument("data", type=click.Path(path_type=Path)),
            _plugin,
            click.option(
                "--text", multiple=True, default=("text",), show_default=True, metavar="COLUMN"
            ),
            click.option(
                "--labels",
                multiple=True,
                metavar="A,B=COLUMN",
                help="Labels to measure, and their columns.  [default: every label with a column]",
            ),
            click.option("--target", metavar="COLUMN", help="The class, for a model of classes."),
            click.option("--where", multiple=True, metavar="COLUMN=VALUE", help="Only these rows."),
            click.option(
                "--split", metavar="COLUMN", help="Measure rows with `test` in this column."
            ),
            click.option(
                "--limit", type=click.IntRange(min=2), help="Only so many rows, drawn by lot."
            ),
            click.option(
                "--threads", type=click.IntRange(min=1), help="Cores for one model.  [default: all]"
            ),
        )
    ):
        command = option(command)
    return command


@main.command()
@_labelled_file
@click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="Tell numbers apart by a column, or by `length`.",
)
@click.option("--spans", metavar="COLUMN", help="Marked characters: [[begin, end], ...].")
@click.option("--run", type=click.Path(path_type=Path), help="Folder of the run, for its epochs.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the numbers.")
@click.option(
    "--train",
    type=click.Path(path_type=Path),
    help="Rows to fit the baseline on.  [default: rows with `train` in --split, else "
    "cross-validation]",
)
@click.option("--no-baseline", is_flag=True, help="Leave out TF-IDF with logistic regression.")
@click.option("--stop-words", is_flag=True, help="Baseline: without stop words.")
@click.option("--stem", is_flag=True, help="Baseline: Porter stems.")
@click.option("--tune", is_flag=True, help="Baseline: choose C by cross-validation.")
@click.option("--draws", default=500, show_default=True, type=click.IntRange(min=10), hidden=True)
def evaluate(
    system: str,
    data: Path,
    plugins: Sequence[str],
    threads: int | None,
    spans: str | None,
    run: Path | None,
    report: Path | None,
    as_json: Path | None,
    train: Path | None,
    no_baseline: bool,
    stop_words: bool,
    stem: bool,
    tune: bool,
    draws: int,
    **columns: Any,
) -> None:
    """Measure a model folder or a policy on a labelled file.

    \b
    moderation evaluate default comments.csv --slice source --report report.html
    moderation evaluate my-model ag_news.parquet --target label_name --split split

    DATA is CSV, TSV, JSON lines or Parquet. An empty label says nothing. Needs the extra `train`.
    """
    from moderation import display
    from moderation import evaluation as e
    from moderation.evaluation import terminal
    from moderation.evaluation.baseline import Baseline
    from moderation.evaluation.evaluation import read_history

    _writable(report, as_json)
    measured = e.open_system(system, plugins=plugins, threads=threads)
    rows, fitted = terminal.read_parts(measured, data, spans=spans, train=train, **columns)
    with terminal.progress("texts", len(rows)) as advance:
        found = e.evaluate(
            measured,
            rows,
            train=fitted,
            baseline=None if no_baseline else Baseline(stop_words=stop_words, stem=stem, tune=tune),
            history=read_history(run) if run else (),
            draws=draws,
            picture=report is not None,
            advance=advance,
        )
    terminal.show(found, display.console())
    if report:
        _written(report, lambda: e.write_report(found, report))
    if as_json:
        _written(as_json, lambda: found.write_json(as_json))


@main.command()
@_labelled_file
@click.option("--precision", type=float, help="At least this share of what is flagged is right.")
@click.option("--recall", type=float, help="At least this share of the positives is found.")
@click.option("--flag-rate", type=float, help="At most this share of the texts is flagged.")
@click.option(
    "--action",
    type=click.Choice(["review", "block"]),
    help="What the thresholds are for.  [default: block for a precision, else review]",
)
def thresholds(
    system: str,
    data: Path,
    plugins: Sequence[str],
    threads: int | None,
    precision: float | None,
    recall: float | None,
    flag_rate: float | None,
    action: str | None,
    **columns: Any,
) -> None:
    """Choose thresholds on a labelled file and print them as a policy has them.

    \b
    moderation thresholds default comments.csv --precision .9
    moderation thresholds toxicity-lstm comments.csv --flag-rate .02 --labels toxic

    Needs the extra `train`.
    """
    from moderation import evaluation as e
    from moderation.evaluation import terminal
    from moderation.evaluation.thresholds import as_yaml

    wanted = {"precision": precision, "recall": recall, "flag rate": flag_rate}
    goals = [(name, value) for name, value in wanted.items() if value is not None]
    if len(goals) != 1:
        raise click.UsageError("give one of --precision, --recall and --flag-rate")
    goal = e.Goal(*goals[0])  # type: ignore[arg-type]  # the three names above
    measured = e.open_system(system, plugins=plugins, threads=threads)
    rows, _ = terminal.read_parts(
        measured, data, slices=(), spans=None, train=None, fit=False, **columns
    )
    with terminal.progress("texts", len(rows)) as advance:
        scored = measured.score(rows.texts, advance)
    for gap, count in scored.gaps.items():
        click.echo(f"moderation: no score for {count:,} texts: {gap}", err=True)
    places = [measured.labels.index(label) for label in rows.labels]
    choices = e.choose(rows, scored.scores[:, places], goal)
    action = action or ("block" if goal.measure == "precision" else "review")
    click.echo(as_yaml(choices, goal, action), nl=False)


@main.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@click.argument("text")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each model.")
def predict(models: Sequence[str], text: str, as_json: bool) -> None:
    """Show what one model or several say of TEXT, by themselves: no policy, no folding.

    \b
    moderation predict toxicity-lstm "you absolute walnut"
    moderation predict my-lstm my-distilbert "shares fell on Monday"
    """
    from moderation import display
    from moderation.evaluation import prediction

    found = prediction.predictions(models, text)
    if as_json:
        for each in found:
            click.echo(json.dumps(each, ensure_ascii=False))
    else:
        prediction.show(found, text, display.console())


@main.group()
def data() -> None:
    """Look at labelled files before training on them."""


@data.command(name="report")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--text", multiple=True, default=("text",), show_default=True, metavar="COLUMN")
@click.option(
    "--labels",
    multiple=True,
    metavar="A,B",
    help="Columns with numbers from 0 to 1.  [default: all such columns]",
)
@click.option("--target", metavar="COLUMN", help="Column with classes.")
@click.option("--split", metavar="COLUMN", help="Column with parts.  [default: split, if any]")
@click.option("--tokenizer", metavar="MODEL|FILE", help="Count tokens by this tokenizer.")
@click.option("--no-near", is_flag=True, help="Do not look for near-duplicates: they take longest.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the numbers.")
def data_report(
    file: Path,
    labels: Sequence[str],
    no_near: bool,
    report: Path | None,
    as_json: Path | None,
    **columns: Any,
) -> None:
    """Say what is in FILE: copies, conflicting labels, leaks between splits, balance, lengths.

    \b
    moderation data report comments.csv --report comments.html
    moderation data report ag_news.parquet --target label_name

    FILE is CSV, TSV, JSON lines or Parquet. Needs the extra `train`.
    """
    from moderation import evaluation as e
    from moderation.evaluation import terminal

    _writable(report, as_json)
    named = list(terminal.pairs(labels, "--labels"))
    with terminal.progress("texts compared", None) as advance:
        found = e.inspect(file, labels=named, near=not no_near, advance=advance, **columns)
    click.echo(found.text(), nl=False)
    if report:
        _written(report, lambda: e.write_inspection(found, report))
    if as_json:
        _written(as_json, lambda: found.write_json(as_json))


def _writable(*files: Path | None) -> None:
    """Said before the work is done, not after."""
    for file in files:
        if file is not None and not file.parent.is_dir():
            raise ModerationError(f"{file}: cannot be written: there is no folder {file.parent}")


def _written(file: Path, write: Callable[[], None]) -> None:
    try:
        write()
    except OSError as error:
        raise ModerationError(f"{file}: cannot be written: {error.strerror}") from None
    click.echo(f"wrote {file}", err=True)


@main.group()
def policy() -> None:
    """Look at policies, and check your own."""


@policy.command(name="show")
@click.argument("name", required=False, metavar="[NAME|FILE]")
def policy_show(name: str | None) -> None:
    """Print a policy as YAML; without NAME, list the shipped ones."""
    from moderation.policy import Policy, shipped_policies

    if name is None:
        for shipped in shipped_policies():
            click.echo(f"{shipped:<12}{Policy.load(shipped).description}")
        return
    found = Policy.load(name)
    click.echo(f"# {found.name}@{found.fingerprint}")
    click.echo(found.to_yaml(), nl=False)


@policy.command(name="check")
@click.argument("name", metavar="NAME|FILE")
@_plugin
def policy_check(name: str, plugins: Sequence[str]) -> None:
    """Load everything that a policy names and say what is wrong with it.

    The exit status is 0 where every step can run.
    """
    from moderation.engine import Moderator

    moderator = Moderator(name, plugins=plugins)
    logger, level = logging.getLogger("moderation"), logging.getLogger("moderation").level
    logger.setLevel(logging.CRITICAL)  # the faults are printed below
    try:
        moderator.load()
    finally:
        logger.setLevel(level)
    faults = moderator.faults()
    for step in moderator.steps:
        for each in step.line():
            what = faults.get(each.spec.name) or f"reports {', '.join(sorted(each.categories))}"
            click.echo(
                f"{'FAULT' if each.fault else 'ok':<6}{each.spec.name} ({each.spec.filter}): {what}"
            )
    for category, thresholds in moderator.policy.thresholds.items():
        limits = thresholds.model_dump(exclude_none=True)
        told = ", ".join(f"{action} from {limit:g}" for action, limit in limits.items())
        click.echo(f"{'':<6}{category}: {told}")
    if faults:
        raise ModerationError(f"{name}: {len(faults)} of its steps cannot run")


@main.group(invoke_without_command=True)
@_policy
@_plugin
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each model.")
@click.pass_context
def models(ctx: click.Context, policy: str, plugins: Sequence[str], as_json: bool) -> None:
    """List the trained models that a policy needs, and whether they are there.

    \b
    moderation models --policy my-policy.yaml
    moderation models fetch --policy my-policy.yaml
    """
    if ctx.invoked_subcommand is not None:
        given = click.core.ParameterSource.COMMANDLINE
        if any(ctx.get_parameter_source(name) is given for name in ctx.params):
            raise click.UsageError(f"write the options behind: models {ctx.invoked_subcommand} …")
        return
    from moderation import hub
    from moderation.engine import Moderator

    for model, steps in hub.needed(Moderator(policy, plugins=plugins)).items():
        found = hub.look(model)
        if as_json:
            entry = {"model": model.name, "steps": steps, "there": not found.missing}
            click.echo(json.dumps({**entry, **found._asdict()}))
            continue
        size = "size not known" if found.size is None else hub.told_size(found.size)
        gated = ", gated" if hub.is_gated(model.name) else ""
        word = "served" if model.server else "MISSING" if found.missing else "there"
        size = "" if model.server else f"  {size}"
        click.echo(f"{word:<9}{model.name}{size}  {found.licence or 'licence not stated'}{gated}")
        told = f" ({found.missing})" if found.missing else ""
        click.echo(f"{'':<9}step {', '.join(steps)}; looked for in {found.where}{told}")


@models.command(name="fetch")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@_policy
@_plugin
def models_fetch(names: Sequence[str], policy: str, plugins: Sequence[str]) -> None:
    """Bring models from the Hugging Face Hub: those NAMEd, or what a policy lacks.

    Files that are there are not brought again, and a transfer that breaks goes on where it broke.
    HF_TOKEN, HF_HOME, HF_ENDPOINT and HF_HUB_OFFLINE are read as by other tools.
    """
    from moderation import hub
    from moderation.engine import Moderator

    if names:
        wanted = [hub.Model.of(name) for name in names]
    else:
        wanted = list(hub.needed(Moderator(policy, plugins=plugins)))
    failed = 0
    for model in wanted:
        found = hub.look(model)
        try:
            if found.missing:
                hub.fetch(model)
                found = hub.look(model)
        except ModerationError as error:
            failed += 1
            click.echo(f"MISSING  {error}", err=True)
        else:
            where = found.where if not model.server else f"{found.where}: nothing to fetch"
            click.echo(f"there    {model.name}  {where}")
    if failed:
        raise ModerationError(f"{failed} of {len(wanted)} models could not be fetched")


@main.command()
@click.option("--check", "prove", is_flag=True, help="Import each plugin and prove its filters.")
@click.option(
    "--folder",
    "folders",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder of plugin files to look at as well.",
)
def plugins(prove: bool, folders: Sequence[Path]) -> None:
    """List the plugins that are there and where they come from, without importing them."""
    from moderation.plugins import PluginInfo, available

    found: list[PluginInfo] = available(folders)
    if not found:
        click.echo("no plugins found")
    faulty = 0
    for info in found:
        if not prove:
            click.echo(f"{info.name}  ({info.origin})")
            continue
        told = list(_prove(info.name))
        faulty += any(word == "FAULT" for word, _ in told)
        click.echo(f"{info.name}  ({info.origin})")
        for word, what in told:
            click.echo(f"  {word:<6}{what}")
    if faulty:
        raise ModerationError(f"{faulty} of {len(found)} plugins cannot be used")


def _prove(name: str) -> Iterator[tuple[str, str]]:
    """What was found out about a plugin and each of its filters: a word and the details."""
    from pydantic import ValidationError

    from moderation.plugins import Registry
    from moderation.testing import check_filter

    try:
        offered = Registry([name]).filters
    except ModerationError as error:
        yield "FAULT", str(error)
        return
    new = sorted(offered.keys() - Registry().filters.keys())
    if not new:
        yield "ok", "observes verdicts, brings no filter"
    for filter_name in new:
        try:
            filter_ = offered[filter_name]()
        except ValidationError:
            yield "ok", f"{filter_name}: imported; not proved, since it needs options of a policy"
            continue
        faults = check_filter(filter_)
        for fault in faults:
            yield "FAULT", f"{filter_name}: {fault}"
        if not faults:
            yield "ok", f"{filter_name}: keeps the contract"


def _with_images(moderator: Moderator, text: str | None, images: Sequence[str]) -> Content:
    """One content out of a text, if there is one, and images as the command line names them."""
    from moderation.content import Content, Part

    parts = [] if text is None else [Part("text", text)]
    for image in images:
        address = image.startswith(("http:", "https:", "data:"))
        try:
            parts.append(moderator.image(image if address else Path(image)))
        except ModerationError as error:
            raise ModerationError(f"{image[:100]}: {error}") from None
    return Content(tuple(parts))


def _texts(file: Path | None, whole: bool) -> Iterator[str]:
    if file is None:
        yield from _lines(sys.stdin.buffer, "standard input", whole)
        return
    try:
        with file.open("rb") as stream:
            yield from _lines(stream, str(file), whole)
    except OSError as error:
        raise ModerationError(f"{file}: cannot be read: {error.strerror}") from None


def _lines(stream: IO[bytes], name: str, whole: bool) -> Iterator[str]:
    lines = [stream.read()] if whole else stream
    for number, line in enumerate(lines, start=1):
        raw = line if whole else line.rstrip(b"\r\n")
        if number == 1:
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        try:
            yield raw.decode("utf-8")
        except UnicodeDecodeError as error:
            # Judged all the same: a byte that is not UTF-8 must not be a way around the chain.
            click.echo(
                f"moderation: {name}, line {number}: byte {error.start + 1} is not UTF-8; "
                "such bytes are read as U+FFFD",
                err=True,
            )
            yield raw.decode("utf-8", errors="replace")
