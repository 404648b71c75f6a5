from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from moderation import Content, Moderator, Policy, Signal, TextFilter, Verdict, hookimpl
from moderation.errors import ConfigError, PluginError
from moderation.plugins import Registry, available
from moderation.testing import StaticFilter

GOOD = """
from moderation import Signal, TextFilter, hookimpl


class Turnips(TextFilter):
    name = "{name}"

    def categories(self):
        return ["turnips"]

    def check(self, text):
        if "turnip" in text:
            yield Signal("turnips", 1.0)


@hookimpl
def moderation_filters():
    return [Turnips]
"""

POLICY = """
name: words
plugins: [testing]
steps: [{name: words, filter: static, options: {scores: {turnip: {toxic: 0.9}}}}]
thresholds: {toxic: {block: 0.8}}
"""


def plugin(folder: Path, code: str, name: str = "plugin.py") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(code, encoding="utf-8")
    return path


def package(folder: Path, name: str, *, code: str | None, points: dict[str, str]) -> None:
    """An installed distribution, as pip leaves it: its metadata and, with `code`, its module."""
    info = folder / f"{name}-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.5\n")
    lines = [f"{point} = {value}" for point, value in points.items()]
    (info / "entry_points.txt").write_text("\n".join(["[moderation.plugins]", *lines, ""]))
    if code is not None:
        (folder / f"{name}.py").write_text(code, encoding="utf-8")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the import path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


class TestWhereFrom:
    def test_built_in_filters_need_no_name(self) -> None:
        registry = Registry()
        assert "classifier" in registry.filters
        assert registry.origin("classifier") == "built-in filters"

    def test_entry_point_of_this_package(self) -> None:
        registry = Registry(["testing"])
        assert registry.filters["static"] is StaticFilter
        assert (
            registry.origin("static") == f"moderation {version('moderation')}, entry point testing"
        )

    def test_entry_point_of_another_package(self, site: Path) -> None:
        package(site, "turnip_module", code=GOOD.format(name="t1"), points={"t": "turnip_module"})
        assert Registry(["t"]).origin("t1") == "turnip_module 2.5, entry point t"

    def test_entry_point_may_name_an_object(self, site: Path) -> None:
        code = GOOD.format(name="t2") + "\nimport sys\nitself = sys.modules[__name__]\n"
        package(site, "turnip_object", code=code, points={"t": "turnip_object:itself"})
        assert "t2" in Registry(["t"]).filters

    def test_file(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, GOOD.format(name="turnips"))
        for named in (path, str(path)):
            registry = Registry([named])
            assert registry.origin("turnips") == str(path)
            assert list(registry.filters["turnips"]().check("turnip")) == [Signal("turnips", 1.0)]

    def test_file_relative_to_the_working_directory(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plugin(tmp_path, GOOD.format(name="turnips"), "here.py")
        monkeypatch.chdir(tmp_path)
        for named in ("here.py", "./here.py"):
            assert "turnips" in Registry([named]).filters

    def test_folder_takes_its_python_files_without_underscored_ones(self, tmp_path: Path) -> None:
        plugin(tmp_path, GOOD.format(name="one"), "one.py")
        plugin(tmp_path, GOOD.format(name="two"), "two.py")
        plugin(tmp_path, "raise RuntimeError", "_draft.py")
        plugin(tmp_path, "raise RuntimeError", "notes.txt")
        assert {"one", "two"} <= Registry([tmp_path]).filters.keys()

    def test_module_object(self) -> None:
        module = types.ModuleType("turnip_shop")
        exec(GOOD.format(name="turnips"), module.__dict__)  # noqa: S102  # the text above
        assert Registry([module]).origin("turnips") == "turnip_shop"

    @pytest.mark.parametrize("named", ["./turnips.py", "turnips.py", "./"])
    def test_policy_names_a_file_beside_it(self, tmp_path: Path, named: str) -> None:
        plugin(tmp_path, GOOD.format(name="turnips"), "turnips.py")
        policy = plugin(
            tmp_path,
            f"name: p\nplugins: [{named}]\nsteps: [{{name: s, filter: turnips}}]\n"
            "thresholds: {turnips: {review: 0.5}}\n",
            "policy.yaml",
        )
        assert Moderator(policy).moderate("a turnip").flagged

    def test_two_files_of_one_name_in_two_folders_are_two_plugins(self, tmp_path: Path) -> None:
        one = plugin(tmp_path, GOOD.format(name="one"), "a/plugin.py")
        two = plugin(tmp_path, GOOD.format(name="two"), "b/plugin.py")
        assert {"one", "two"} <= Registry([one, two]).filters.keys()

    def test_threads_that_load_one_file_at_once_all_get_it(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, "import time; time.sleep(0.05)\n" + GOOD.format(name="turnips"))
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda _: Registry([path]).filters["turnips"], range(4)))
        assert len(set(found)) == 1


class TestBroken:
    """Every fault is an error that names where it is and what is wrong."""

    def fault(self, *plugins: Any) -> str:
        with pytest.raises(PluginError) as caught:
            Registry(plugins)
        return str(caught.value)

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("def broken(:\n    pass\n", ["SyntaxError", "line 1"]),
            ("\n\nimport no_such_module_\n", ["ModuleNotFoundError at line 3", "no_such_module_"]),
            ("\nraise ValueError('my own fault')\n", ["ValueError at line 2", "my own fault"]),
            ("import sys\nsys.exit(0)\n", ["SystemExit at line 2"]),
            ("x = '\x00'\n", ["importing the plugin raised"]),
            ("x = 1\n", ["no hook is implemented", "@moderation.hookimpl"]),
            (
                "from moderation import hookimpl\n@hookimpl\ndef moderation_filter():\n pass\n",
                ["no hook 'moderation_filter'; did you mean 'moderation_filters'?"],
            ),
            (
                "from moderation import hookimpl\n@hookimpl\ndef moderation_verdict(words): ...\n",
                [
                    "'words'",
                    "the hooks are moderation_filters(), moderation_verdict(content, verdict)",
                ],
            ),
            (
                "from moderation import hookimpl\n"
                "@hookimpl\ndef moderation_filters():\n return []\n"
                "def moderation_verdict(verdict):\n pass\n",
                ["moderation_verdict() lacks the mark"],
            ),
            (
                "from moderation import hookimpl\n"
                "@hookimpl(wrapper=True)\ndef moderation_verdict(verdict):\n yield\n",
                ["moderation_verdict() cannot be a hook wrapper"],
            ),
        ],
    )
    def test_file(self, tmp_path: Path, code: str, told: list[str]) -> None:
        path = plugin(tmp_path, code)
        message = self.fault(path)
        assert message.startswith(f"{path}: ")
        for piece in told:
            assert piece in message

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            ("raise KeyError('oops')", ["moderation_filters() raised KeyError", "oops"]),
            ("yield 1 / 0", ["moderation_filters() raised ZeroDivisionError"]),
            ("return None", ["returns a list of filter classes, found NoneType"]),
            ("return Named", ["returns a list of filter classes, found Named"]),
            ("return 'Named'", ["returns a list of filter classes, found str"]),
            ("return [Named()]", ["subclasses of moderation.Filter, found Named()"]),
            ("return [dict]", ["subclasses of moderation.Filter", "dict"]),
            ("return [Nameless]", ["Nameless needs a name"]),
            ("return [Abstract]", ["Abstract does not implement categories"]),
        ],
    )
    def test_what_moderation_filters_returns(
        self, tmp_path: Path, body: str, told: list[str]
    ) -> None:
        path = plugin(
            tmp_path,
            "from moderation import TextFilter, hookimpl\n"
            "class Nameless(TextFilter):\n"
            "    def categories(self): return []\n"
            "    def check(self, text): return []\n"
            "class Named(Nameless):\n"
            "    name = 'named'\n"
            "class Abstract(TextFilter):\n"
            "    name = 'abstract'\n"
            "    def check(self, text): return []\n"
            f"@hookimpl\ndef moderation_filters():\n    {body}\n",
        )
        message = self.fault(path)
        assert message.startswith(f"{path}: ")
        for piece in told:
            assert piece in message

    def test_two_plugins_with_one_filter_name_are_both_named(self, tmp_path: Path) -> None:
        one = plugin(tmp_path, GOOD.format(name="same"), "one.py")
        two = plugin(tmp_path, GOOD.format(name="same"), "two.py")
        message = self.fault(one, two)
        assert "'same'" in message
        assert str(one) in message
        assert str(two) in message

    def test_name_of_a_built_in_filter(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, GOOD.format(name="classifier"))
        assert f"built-in filters and {path}" in self.fault(path)

    def test_one_plugin_named_twice(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, GOOD.format(name="turnips"))
        assert "named twice" in self.fault(path, path)
        assert "named twice" in self.fault(path, tmp_path)
        assert "named twice" in self.fault("testing", "testing")

    def test_missing_file(self, tmp_path: Path) -> None:
        message = self.fault(tmp_path / "nowhere.py")
        assert str(tmp_path / "nowhere.py") in message
        assert "found nothing there" in message

    def test_empty_folder(self, tmp_path: Path) -> None:
        (tmp_path / "_only_this.py").touch()
        assert f"{tmp_path}: the folder holds no Python file" in self.fault(tmp_path)

    def test_file_that_is_no_python_file(self, tmp_path: Path) -> None:
        assert "has to end in .py" in self.fault(plugin(tmp_path, "", "plugin.txt"))

    def test_unknown_entry_point_lists_the_known_ones(self) -> None:
        message = self.fault("tesing")
        assert "'tesing'" in message
        assert "testing" in message.split("known: ")[1]

    def test_entry_point_whose_import_fails_names_the_package(self, site: Path) -> None:
        package(site, "bad_import", code="raise ValueError('no')", points={"bad": "bad_import"})
        assert self.fault("bad").startswith("bad_import 2.5, entry point bad: ")

    def test_entry_point_whose_module_is_missing(self, site: Path) -> None:
        package(site, "half_gone", code=None, points={"gone": "half_gone"})
        message = self.fault("gone")
        assert "half_gone 2.5, entry point gone" in message
        assert "ModuleNotFoundError" in message

    def test_entry_point_that_two_packages_offer(self, site: Path) -> None:
        for name in ("shop_a", "shop_b"):
            package(site, name, code=GOOD.format(name=name), points={"shop": name})
        assert "shop_a 2.5 and shop_b 2.5" in self.fault("shop")

    def test_class_instead_of_an_instance(self) -> None:
        class Observer:
            @hookimpl
            def moderation_verdict(self, verdict: Verdict) -> None: ...

        assert "Observer: expected a module or an instance, found a class" in self.fault(Observer)

    def test_a_file_is_imported_anew_after_it_was_mended(self, tmp_path: Path) -> None:
        path = plugin(tmp_path, "raise ValueError")
        self.fault(path)
        plugin(tmp_path, GOOD.format(name="mended_turnips"))
        assert "mended_turnips" in Registry([path]).filters

    def test_from_a_policy_it_is_a_configuration_error(self, tmp_path: Path) -> None:
        plugin(tmp_path, "import no_such_module_", "broken.py")
        policy = Policy.parse(POLICY.replace("testing", "./broken.py"), folder=tmp_path)
        with pytest.raises(ConfigError, match=r"broken\.py.*no_such_module_"):
            Moderator(policy)


class TestAvailable:
    def test_lists_entry_points_with_their_package(self, site: Path) -> None:
        package(site, "shop_c", code=None, points={"shop": "shop_c"})
        found = {info.name: info.origin for info in available()}
        assert found["shop"] == "shop_c 2.5"
        assert found["testing"] == f"moderation {version('moderation')}"

    def test_imports_nothing(self, site: Path, tmp_path: Path) -> None:
        flag = tmp_path / "imported"
        code = f"open({str(flag)!r}, 'w').close()\nraise RuntimeError\n"
        package(site, "bomb_module", code=code, points={"bomb": "bomb_module"})
        path = plugin(tmp_path / "folder", code, "bomb.py")
        assert {"bomb", str(path)} <= {info.name for info in available([path.parent])}
        assert not flag.exists()
        assert "bomb_module" not in sys.modules

        with pytest.raises(PluginError):
            Registry(["bomb"])
        assert flag.exists()

    def test_a_plugin_that_nobody_names_is_not_imported(self, site: Path) -> None:
        package(site, "unnamed_bomb", code="raise RuntimeError", points={"bomb": "unnamed_bomb"})
        Moderator(Policy.parse(POLICY)).moderate("hello")
        assert "unnamed_bomb" not in sys.modules

    def test_what_it_lists_can_be_named(self, tmp_path: Path) -> None:
        plugin(tmp_path, GOOD.format(name="turnips"), "turnips.py")
        names = [info.name for info in available([tmp_path]) if str(tmp_path) in info.name]
        assert "turnips" in Registry(names).filters

    def test_empty_and_missing_folders_are_errors(self, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "nowhere"):
            with pytest.raises(PluginError, match=str(folder)):
                available([folder])


class Observer:
    def __init__(self) -> None:
        self.seen: list[tuple[Content, Verdict]] = []

    @hookimpl
    def moderation_verdict(self, content: Content, verdict: Verdict) -> None:
        self.seen.append((content, verdict))


class BrokenObserver:
    @hookimpl
    def moderation_verdict(self, content: Content, verdict: Verdict) -> None:
        raise RuntimeError(f"could not store {content.text}")


class TestObservers:
    def test_told_every_verdict_in_order(self) -> None:
        observer = Observer()
        contents = [Content.of(text) for text in ("hello", "a turnip", "bye")]
        verdicts = Moderator(Policy.parse(POLICY), plugins=[observer]).moderate_batch(contents)
        assert [content for content, _ in observer.seen] == contents
        assert all(told is given for (_, told), given in zip(observer.seen, verdicts, strict=True))

    def test_metadata_reaches_it(self) -> None:
        observer = Observer()
        content = Content(Content.of("hello").parts, metadata={"id": 7})
        Moderator(Policy.parse(POLICY), plugins=[observer]).moderate(content)
        assert observer.seen[0][0].metadata["id"] == 7

    def test_may_take_fewer_arguments(self) -> None:
        class Counter:
            count = 0

            @hookimpl
            def moderation_verdict(self, verdict: Verdict) -> None:
                self.count += verdict.flagged

        counter = Counter()
        moderator = Moderator(Policy.parse(POLICY), plugins=[counter])
        moderator.moderate_batch(["hello", "a turnip"])
        assert counter.count == 1

    def test_a_broken_one_is_logged_without_the_text_and_the_others_run(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        before, after = Observer(), Observer()
        moderator = Moderator(Policy.parse(POLICY), plugins=[before, BrokenObserver(), after])
        with caplog.at_level(logging.DEBUG):
            assert moderator.moderate("a turnip").flagged
        assert len(before.seen) == len(after.seen) == 1
        assert "BrokenObserver raised RuntimeError" in caplog.text
        assert "turnip" not in caplog.text

    def test_two_instances_of_one_class_are_two_observers(self) -> None:
        one, two = Observer(), Observer()
        Moderator(Policy.parse(POLICY), plugins=[one, two]).moderate("hello")
        assert len(one.seen) == len(two.seen) == 1

    def test_the_same_instance_twice_is_an_error(self) -> None:
        one = Observer()
        with pytest.raises(PluginError, match="named twice"):
            Registry([one, one])

    def test_observed(self) -> None:
        assert not Registry().observed
        assert Registry([Observer()]).observed

    def test_a_plugin_may_bring_filters_and_observe(self) -> None:
        class Turnips(TextFilter):
            name = "turnips"

            def categories(self) -> Iterable[str]:
                return ["turnips"]

            def check(self, text: str) -> Iterable[Signal]:
                return [Signal("turnips", 1.0)]

        class Both(Observer):
            @hookimpl
            def moderation_filters(self) -> list[type[TextFilter]]:
                return [Turnips]

        both = Both()
        policy = Policy.parse(
            "name: p\nsteps: [{name: s, filter: turnips}]\nthresholds: {turnips: {block: 0.5}}"
        )
        verdict = Moderator(policy, plugins=[both]).moderate("hello")
        assert both.seen[0][1] is verdict
        assert verdict.flagged
