"""The command line: judging texts, and looking at policies, filters, plugins and models."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from moderation import __version__
from moderation.errors import MissingExtraError, ModerationError
from moderation.workbench import COMMANDS, plugin_option

if TYPE_CHECKING:
    from moderation.content import Content
    from moderation.engine import Checkable, Moderator

EXIT_STATUS = {"allow": 0, "review": 3, "block": 4}

_Callback = TypeVar("_Callback", bound=Callable[..., Any])


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
        except OSError as error:
            click.echo(
                f"moderation: cannot go on: {error.strerror or type(error).__name__}", err=True
            )
            ctx.exit(1)


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


for _command in COMMANDS:
    main.add_command(_command)

_policy = click.option(
    "--policy",
    "-p",
    default="default",
    show_default=True,
    metavar="NAME|FILE",
    help="A shipped policy by name, or a YAML file.",
)


@main.command()
@click.argument("text", required=False)
@_policy
@plugin_option
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
@plugin_option
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
@plugin_option
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
@plugin_option
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
@plugin_option
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


def _listening(
    *, policy_help: str, policies: tuple[str, ...], port: int, lowest_port: int
) -> Callable[[_Callback], _Callback]:
    """The options of a command that answers at an address, with their defaults."""
    options = (
        click.option(
            "--policy",
            "-p",
            "policies",
            multiple=True,
            default=policies,
            show_default=True,
            metavar="NAME|FILE",
            help=policy_help,
        ),
        plugin_option,
        click.option(
            "--host", default="127.0.0.1", show_default=True, help="Address to listen on."
        ),
        click.option(
            "--port", default=port, show_default=True, type=click.IntRange(lowest_port, 65535)
        ),
    )

    def add(command: _Callback) -> _Callback:
        for option in reversed(options):
            command = option(command)
        return command

    return add


@main.command()
@_listening(
    policy_help="A policy that requests may name; the first one judges those that name none.",
    policies=("default",),
    port=8000,
    lowest_port=0,
)
@click.option(
    "--keys",
    type=click.Path(path_type=Path),
    help="A file of API keys, one a line; those in MODERATION_KEYS, with commas between, count "
    "too. Without any, everybody is answered.",
)
@click.option(
    "--perspective-policy",
    default="perspective",
    show_default=True,
    metavar="NAME|FILE",
    help="The policy behind the Perspective API.",
)
@click.option(
    "--openai-policy",
    metavar="NAME|FILE",
    help="The policy behind OpenAI's endpoint.  [default: the first --policy]",
)
@click.option(
    "--suggestions",
    type=click.Path(path_type=Path),
    help="A JSON-lines file that scores suggested by Perspective clients are appended to.",
)
@click.option(
    "--queue",
    default=256,
    show_default=True,
    type=click.IntRange(min=1),
    help="Contents that may wait for one policy; more are refused with 429.",
)
@click.option(
    "--max-wait",
    default=0.5,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="What has not had its turn by then is refused with 429.",
)
@click.option(
    "--timeout",
    default=30.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="What has begun and is not done by then hangs, and is answered with 503.",
)
@click.option(
    "--max-body",
    type=click.IntRange(min=1),
    metavar="BYTES",
    help="The largest request.  [default: 1 MB, and room for an image where a policy reads them]",
)
@click.option(
    "--cors",
    multiple=True,
    metavar="ORIGIN",
    help="Let pages of this origin call from a browser; repeatable.",
)
@click.option("--ui", is_flag=True, help="Serve the page for people too, under /ui.")
@click.option(
    "--log-level",
    default="info",
    show_default=True,
    type=click.Choice(["info", "warning", "error"]),
    help="`info` logs a line for every request.",
)
def serve(
    policies: tuple[str, ...],
    plugins: tuple[str, ...],
    host: str,
    port: int,
    keys: Path | None,
    perspective_policy: str,
    openai_policy: str | None,
    suggestions: Path | None,
    queue: int,
    max_wait: float,
    timeout: float,
    max_body: int | None,
    cors: tuple[str, ...],
    ui: bool,
    log_level: str,
) -> None:
    """Answer over HTTP: our own API, OpenAI's moderation endpoint, the Perspective API.

    \b
    moderation serve
    moderation serve --policy default --policy my-policy.yaml --keys keys.txt --host 0.0.0.0
    curl localhost:8000/v1/moderate -d '{"content": "have a nice day"}'

    Logs JSON lines, without texts, on standard error. SIGTERM ends it when everything that was
    accepted has been answered. Needs the extra `server`.
    """
    try:
        from moderation.server.app import Settings, serve
        from moderation.server.service import Limits
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            error.name or "fastapi", extra="server", needed_for="moderation serve"
        ) from None

    settings = Settings(
        policies=policies,
        plugins=plugins,
        perspective_policy=perspective_policy,
        openai_policy=openai_policy,
        suggestions=suggestions,
        keys=keys,
        max_body=max_body,
        cors=cors,
        ui=ui,
        limits=Limits(queue=queue, wait=max_wait, answer=timeout),
    )
    serve(settings, host=host, port=port, log_level=log_level)


@main.command()
@_listening(
    policy_help="A policy to choose from; repeatable.  [default: all shipped ones]",
    policies=(),
    port=7860,
    lowest_port=1,
)
@click.option("--open", "browse", is_flag=True, help="Open it in the browser.")
def ui(
    policies: tuple[str, ...], plugins: tuple[str, ...], host: str, port: int, browse: bool
) -> None:
    """Serve the page: check a text or a picture, run a file, try a policy, see the models.

    \b
    moderation ui
    moderation ui --policy default --policy my-policy.yaml --port 8080

    Nothing is loaded from outside and nothing is kept. Needs the extra `ui`.
    """
    from moderation.policy import Policy

    try:
        from moderation.ui import build, launch
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            error.name or "gradio", extra="ui", needed_for="moderation ui"
        ) from None

    for policy in policies:
        Policy.load(policy)
    page = build(policies, default=policies[0] if policies else "", plugins=plugins)
    click.echo(f"moderation: http://{host}:{port}", err=True)
    launch(page, host=host, port=port, browse=browse)


@main.group()
def space() -> None:
    """Put the page on a Hugging Face Space."""


@space.command(name="check")
@click.option(
    "--folder",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="What would be uploaded: a checkout of this repository.",
)
@click.option("--port", default=7861, show_default=True, type=click.IntRange(1, 65535))
def space_check(folder: Path, port: int) -> None:
    """Run what a Space would run, in a clean environment, and say what would go wrong.

    Copies the tracked files, installs requirements.txt into a new environment, starts
    gradio_app.py, waits until it answers and asks it for a verdict. The exit status is 0 where
    nothing is wrong.
    """
    from moderation.ui import space

    faults = 0
    for word, what in space.check(folder, port):
        faults += word == "FAULT"
        click.echo(f"{word:<6}{what}")
    if faults:
        raise ModerationError("a Space would not run as it should: see the FAULT above")


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
