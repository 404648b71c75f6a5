"""The commands that make models and measure them: `train`, `evaluate`, `thresholds`, `band`…"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from moderation.errors import ModerationError

plugin_option = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    metavar="NAME|PATH",
    help="A plugin to load beside those of the policy: an entry point, a .py file or a folder.",
)


@click.command()
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
            plugin_option,
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


@click.command()
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


@click.command()
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


@click.command()
@_labelled_file
@click.option(
    "--traffic",
    type=click.Path(path_type=Path),
    help="Unlabelled texts as they come in: the cost is measured on these.",
)
@click.option(
    "--positives",
    type=float,
    metavar="SHARE",
    help="Without --traffic: weight DATA to this share of texts with a label.",
)
@click.option("--loss", default=0.003, show_default=True, help="AUC that may be lost.")
@click.option("--share", default=0.2, show_default=True, help="Of the traffic, refined at most.")
@click.option("--same", default=0.0, help="Of DATA, the same action as if all were refined.")
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@click.option("--json", "as_json", type=click.Path(path_type=Path), help="Write the numbers.")
def band(
    system: str,
    data: Path,
    plugins: Sequence[str],
    threads: int | None,
    traffic: Path | None,
    positives: float | None,
    loss: float,
    share: float,
    same: float,
    report: Path | None,
    as_json: Path | None,
    **columns: Any,
) -> None:
    """Choose the band of a policy's cascade: which texts the refining step has to read.

    \b
    moderation band my-policy.yaml comments.csv --traffic yesterday.csv --report band.html
    moderation band my-policy.yaml comments.csv --positives .05

    Prints the cheapest band that loses no more than --loss of any label's AUC against always
    refining, and none of its positives at the block threshold. Needs the extra `train`.
    """
    from moderation import display
    from moderation import evaluation as e
    from moderation.evaluation import band_page, terminal
    from moderation.evaluation.labelled import read_columns

    _writable(report, as_json)
    if traffic is not None and positives is not None:
        raise click.UsageError("give --traffic or --positives: both say what comes in")
    cascade = e.Cascade(system, plugins)
    rows, _ = terminal.read_parts(
        cascade, data, slices=(), spans=None, train=None, fit=False, **columns
    )
    texts: list[str] = []
    if traffic is not None:
        found = read_columns(traffic, text=columns["text"], labels=(), target=None, split=None)
        texts = [text for text in found.texts if text.strip()]
    with terminal.progress("texts", len(rows) + len(texts)) as advance:
        choice = e.choose_band(
            cascade,
            rows,
            traffic=texts,
            traffic_name=traffic.name if traffic else "",
            positives=positives,
            goals=e.Goals(loss, share, same),
            advance=advance,
        )
    band_page.show(choice, display.console())
    click.echo(choice.as_yaml(), nl=False)
    if report:
        _written(report, lambda: e.write_bands(choice, report))
    if as_json:
        _written(as_json, lambda: choice.write_json(as_json))


@click.command()
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


@click.group()
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


@click.command(name="migrate-thresholds")
@click.argument("system", metavar="MODEL|POLICY")
@click.argument("data", type=click.Path(path_type=Path))
@plugin_option
@click.option("--text", multiple=True, default=("text",), show_default=True, metavar="COLUMN")
@click.option(
    "--review",
    "reviews",
    multiple=True,
    metavar="NAME=SCORE",
    help="The old service's score from which texts went to review; repeatable.",
)
@click.option(
    "--block",
    "blocks",
    multiple=True,
    metavar="NAME=SCORE",
    help="The old service's score from which texts were refused; repeatable.",
)
@click.option(
    "--scores",
    multiple=True,
    metavar="NAME=COLUMN",
    help="The column of a name's old scores.  [default: the column of that name]",
)
@click.option("--report", type=click.Path(path_type=Path), help="Write an HTML page.")
@click.option(
    "--changed",
    type=click.Path(path_type=Path),
    help="Write the texts that change sides, as JSON lines.",
)
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write the thresholds.")
@click.option("--threads", type=click.IntRange(min=1), help="Cores for one model.  [default: all]")
def migrate_thresholds(
    system: str,
    data: Path,
    plugins: Sequence[str],
    text: Sequence[str],
    reviews: Sequence[str],
    blocks: Sequence[str],
    scores: Sequence[str],
    report: Path | None,
    changed: Path | None,
    output: Path | None,
    threads: int | None,
) -> None:
    """Choose thresholds that flag as many texts as another service's did.

    \b
    moderation migrate-thresholds perspective log.csv --review TOXICITY=.8 --report moving.html
    moderation migrate-thresholds default log.jsonl --block harassment=.7 --scores harassment=score

    DATA holds texts with the scores that the old service gave, as CSV, TSV, JSON lines or Parquet.
    NAME is an attribute of Perspective, a category of OpenAI or one of ours. Prints the thresholds
    as a policy has them. Needs the extra `train`.
    """
    from moderation import evaluation as e
    from moderation.evaluation import migration, terminal

    _writable(report, changed, output)
    if not reviews and not blocks:
        raise click.UsageError("give an old threshold: --review NAME=SCORE or --block NAME=SCORE")
    wanted = [migration.Old.read(each, "review") for each in reviews]
    wanted += [migration.Old.read(each, "block") for each in blocks]
    measured = e.open_system(system, plugins=plugins, threads=threads)
    named = terminal.pairs(scores, "--scores")
    columns = {each.name: named.get(each.name, each.name) for each in wanted}
    if unused := sorted(named.keys() - columns.keys()):
        raise click.UsageError(f"--scores {unused[0]}: give its old threshold too")
    found = migration.read_scores(data, columns, text=text)
    if found.blank:
        click.echo(f"moderation: {found.blank:,} rows without a text are left out", err=True)
    with terminal.progress("texts", len(found.texts)) as advance:
        moves, gaps = migration.migrate(measured, found, wanted, advance)
    for gap, count in gaps.items():
        click.echo(f"moderation: no score for {count:,} texts: {gap}", err=True)
    click.echo(migration.as_yaml(moves), nl=False)
    if output:
        _written(output, lambda: migration.write_yaml(moves, output))
    if report:
        _written(report, lambda: migration.write_page(moves, found, measured, report))
    if changed:
        _written(changed, lambda: migration.write_changed(moves, found, changed))


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


COMMANDS: tuple[click.Command, ...] = (
    train,
    evaluate,
    thresholds,
    band,
    migrate_thresholds,
    predict,
    data,
)
