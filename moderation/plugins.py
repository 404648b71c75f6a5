"""Finding and loading plugins. Finding imports nothing; loading happens only by name."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import chain, count
from pathlib import Path
from typing import Any, TypeAlias, cast

import pluggy

from moderation import hookspecs
from moderation.content import Content
from moderation.errors import PluginError
from moderation.filter import Filter
from moderation.policy import did_you_mean
from moderation.verdict import Verdict

ENTRY_POINT_GROUP = "moderation.plugins"

_HOOKS = tuple(sorted(name for name in vars(hookspecs) if name.startswith("moderation_")))
# A module is in sys.modules before it has run: nobody else may pick it up half imported.
_IMPORTING = threading.RLock()

_FilterHook: TypeAlias = Callable[[], Iterable[type[Filter]]]

log = logging.getLogger("moderation")


@dataclass(frozen=True)
class PluginInfo:
    """A plugin that could be named, read from metadata alone."""

    name: str
    origin: str
    """Distribution and version, or the file."""


class Registry:
    """The filters and observers of a set of loaded plugins."""

    def __init__(self, plugins: Sequence[Any] = ()) -> None:
        """Load the built-in filters and `plugins`.

        Each plugin is the name of an entry point, a path to a Python file or to a folder of them
        (relative to the working directory), or an object with hook implementations.

        Raises:
            PluginError: a plugin is missing, cannot be imported, has a hook that does not exist,
                or claims a filter name that another one has.
        """
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._origins: dict[str, str] = {}
        self.filters: dict[str, type[Filter]] = {}
        self._add(importlib.import_module("moderation.filters"), "built-in filters")
        for plugin in plugins:
            if not isinstance(plugin, (str, Path)):
                self._add(plugin, self._name_object(plugin))
            elif is_path(plugin):
                for path in _files(Path(plugin)):
                    self._add(_import_file(path), str(path))
            else:
                entry_point, origin = _entry_point(str(plugin))
                self._add(_import_entry_point(entry_point, origin), origin)

    def _name_object(self, plugin: Any) -> str:
        name = str(getattr(plugin, "__name__", type(plugin).__name__))
        earlier = [own for own, other in self._manager.list_name_plugin() if other is not plugin]
        # Two instances of one class are two plugins: two observers with two files, say.
        numbered = (f"{name} ({number})" for number in count(2))
        return next(own for own in chain([name], numbered) if own not in earlier)

    def _add(self, plugin: Any, origin: str) -> None:
        if isinstance(plugin, type):
            raise PluginError("expected a module or an instance, found a class", where=origin)
        try:
            self._manager.register(plugin, name=origin)
        except pluggy.PluginValidationError as error:
            # pluggy's first line names the plugin, which `where` does already.
            found = "; ".join(str(error).splitlines()[1:])
            takes = ", ".join(f"{name}({', '.join(_arguments(name))})" for name in _HOOKS)
            raise PluginError(f"{found}; the hooks are {takes}", where=origin) from None
        except ValueError:
            raise PluginError("the plugin is named twice; name it once", where=origin) from None
        implemented = self._manager.get_hookcallers(plugin)
        if not implemented:
            raise PluginError(
                "no hook is implemented; mark a function such as moderation_filters() "
                "with @moderation.hookimpl",
                where=origin,
            )
        names = {caller.name for caller in implemented}
        for name in sorted(names.difference(_HOOKS)):
            raise PluginError(
                f"there is no hook {name!r}; {did_you_mean(name, list(_HOOKS))}", where=origin
            )
        for name in _HOOKS:
            if name not in names and callable(getattr(plugin, name, None)):
                raise PluginError(f"{name}() lacks the mark @moderation.hookimpl", where=origin)
        for caller in implemented:
            hook = next(impl for impl in caller.get_hookimpls() if impl.plugin is plugin)
            if hook.wrapper or hook.hookwrapper:
                raise PluginError(f"{caller.name}() cannot be a hook wrapper", where=origin)
            if caller.name == "moderation_filters":
                self._add_filters(cast(_FilterHook, hook.function), origin)

    def _add_filters(self, hook: _FilterHook, origin: str) -> None:
        try:
            offered: Any = hook()
            if isinstance(offered, Iterator):  # what a generator raises counts as raised here
                offered = list(offered)
        except Exception as error:
            raise PluginError(
                f"moderation_filters() raised {type(error).__name__}: {error}", where=origin
            ) from error
        if not isinstance(offered, Iterable) or isinstance(offered, (str, type)):
            raise PluginError(
                "moderation_filters() returns a list of filter classes, "
                f"found {getattr(offered, '__name__', type(offered).__name__)}",
                where=origin,
            )
        for cls in offered:
            if not (isinstance(cls, type) and issubclass(cls, Filter)):
                raise PluginError(
                    f"moderation_filters() returns subclasses of moderation.Filter, found {cls!r}",
                    where=origin,
                )
            name = getattr(cls, "name", None)
            if not isinstance(name, str) or not name:
                raise PluginError(
                    f'{cls.__name__} needs a name: write name = "…" in the class', where=origin
                )
            if cls.__abstractmethods__:
                missing = ", ".join(sorted(cls.__abstractmethods__))
                raise PluginError(f"{cls.__name__} does not implement {missing}", where=origin)
            if name in self.filters:
                raise PluginError(
                    f"two plugins claim the filter {name!r}: {self._origins[name]} and {origin}; "
                    "rename one or name only one of them"
                )
            self.filters[name], self._origins[name] = cls, origin

    def origin(self, name: str) -> str:
        """Where the filter `name` comes from."""
        return self._origins[name]

    def observe(self, content: Content, verdict: Verdict) -> None:
        """Hand a verdict to every observer, each apart: a broken one is logged, without texts."""
        for hook in self._manager.hook.moderation_verdict.get_hookimpls():
            known = {"content": content, "verdict": verdict}
            try:
                hook.function(*(known[name] for name in hook.argnames))
            except Exception as error:  # noqa: BLE001  # an observer never stops a verdict
                log.error("observer %s raised %s", hook.plugin_name, type(error).__name__)

    @property
    def observed(self) -> bool:
        """Whether any plugin observes verdicts."""
        return bool(self._manager.hook.moderation_verdict.get_hookimpls())


def available(folders: Iterable[Path] = ()) -> list[PluginInfo]:
    """Plugins that can be named: installed entry points and the files of `folders`."""
    found = [
        PluginInfo(point.name, _origin(point)) for point in entry_points(group=ENTRY_POINT_GROUP)
    ]
    found += [PluginInfo(str(path), str(path)) for folder in folders for path in _files(folder)]
    return sorted(found, key=lambda info: info.name)


def _arguments(hook: str) -> Iterable[str]:
    return inspect.signature(getattr(hookspecs, hook)).parameters


def is_path(plugin: str | Path) -> bool:
    return isinstance(plugin, Path) or "/" in plugin or "\\" in plugin or plugin.endswith(".py")


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        files = sorted(
            file for file in path.glob("*.py") if not file.name.startswith(("_", "test_"))
        )
        if not files:
            raise PluginError("the folder holds no Python file", where=str(path))
        return files
    if not path.is_file():
        raise PluginError(
            "expected a Python file or a folder of them, found nothing there", where=str(path)
        )
    return [path]


def _import_file(path: Path) -> Any:
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"moderation_plugin_{path.stem}_{digest}"
    with _IMPORTING:
        if name in sys.modules:
            return sys.modules[name]
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise PluginError("not a Python file: its name has to end in .py", where=str(path))
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # pydantic resolves annotations through it
        try:
            spec.loader.exec_module(module)
        except (Exception, SystemExit) as error:
            del sys.modules[name]
            raise _import_fault(error, str(path)) from error
        return module


def _entry_point(name: str) -> tuple[EntryPoint, str]:
    points = list(entry_points(group=ENTRY_POINT_GROUP, name=name))
    if not points:
        known = sorted({point.name for point in entry_points(group=ENTRY_POINT_GROUP)})
        raise PluginError(
            f"no installed package offers a plugin named {name!r}; "
            f"known: {', '.join(known) or 'none'}; a path needs a '/' or the ending .py"
        )
    origins = sorted({_origin(point) for point in points})
    if len(origins) > 1:
        raise PluginError(f"two packages offer a plugin named {name!r}: {' and '.join(origins)}")
    return points[0], f"{origins[0]}, entry point {name}"


def _import_entry_point(point: EntryPoint, origin: str) -> Any:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _import_fault(error, origin) from error


def _import_fault(error: BaseException, origin: str) -> PluginError:
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == origin:
            line = f" at line {trace.tb_lineno}"
        trace = trace.tb_next
    return PluginError(
        f"importing the plugin raised {type(error).__name__}{line}: {error}", where=origin
    )


def _origin(point: EntryPoint) -> str:
    dist = point.dist
    return f"{dist.name} {dist.version}" if dist else point.value
