"""The policy: which steps run in which order, and what their scores mean. YAML to types."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import to_jsonable_python

from moderation.content import PartKind
from moderation.errors import ConfigError
from moderation.verdict import Action

MAX_POLICY_BYTES = 1_000_000
MAX_POLICY_DEPTH = 50

_SURROGATE = re.compile("[\ud800-\udfff]")
_BREAKS = re.compile("[\x85\u2028\u2029]")

# Strict: YAML's `yes` is not the score 1.0.
Score = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Band = tuple[Score, Score]
Severity = Literal["review", "block"]
OnError = Literal["review", "skip", "block", "raise"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    known = list(cls.model_fields)
                    raise ValueError(f"there is no key {key!r}; {did_you_mean(str(key), known)}")
        return data


class Thresholds(_Strict):
    """The scores from which one category is sent to review, or blocked."""

    review: Score | None = None
    block: Score | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.review is None and self.block is None:
            raise ValueError("expected review, block or both, found neither")
        if self.review is not None and self.block is not None and self.review > self.block:
            raise ValueError(
                f"expected review <= block, found review {self.review} above block {self.block}"
            )
        return self

    def action(self, score: float) -> Action:
        """What `score` calls for; a score equal to a threshold has reached it."""
        if self.block is not None and score >= self.block:
            return Action.BLOCK
        if self.review is not None and score >= self.review:
            return Action.REVIEW
        return Action.ALLOW


class Step(_Strict):
    """One place in the chain: a filter, its options, and when and how it runs.

    `parts`: kinds of part it sees (default: what the filter reads).
    `refines`, `between`: run only where an earlier step's score lies in the band for a category
    that both report; the new scores replace the earlier ones. `bands`: categories whose band is
    another.
    `timeout`: seconds for at most 256 contents.
    `fallback`: the step that runs instead where this one fails.
    `on_error`: what a failure means where no fallback helps: `review` unless the policy says
    otherwise, or, for a step that refines another, `skip`: the earlier scores stand.
    """

    name: Annotated[str, Field(min_length=1, pattern=r"^[\w.-]+$")]
    filter: Annotated[str, Field(min_length=1)]
    options: dict[str, Any] = Field(default_factory=dict)
    parts: tuple[PartKind, ...] | None = None
    refines: str | None = None
    between: Band = (0.05, 0.95)
    bands: dict[str, Band] = Field(default_factory=dict)
    timeout: Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)] | None = None
    on_error: OnError | None = None
    fallback: Step | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.parts == ():
            raise ValueError("parts: expected at least one kind of part, found none")
        bands = {"between": self.between}
        bands |= {f"bands.{category}": band for category, band in self.bands.items()}
        for name, (low, high) in bands.items():
            if low > high:
                raise ValueError(f"{name}: expected [low, high], found {[low, high]}")
        usual = type(self).model_fields["between"].default
        for name, unused in (("between", self.between != usual), ("bands", bool(self.bands))):
            if self.refines is None and unused:
                raise ValueError(f"{name}: only a step that refines another has a band")
        if self.fallback is not None and self.fallback.refines is not None:
            raise ValueError("fallback: a fallback stands in for its step and cannot refine")
        try:
            json.dumps(to_jsonable_python(self.options), allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("options: expected values that JSON can carry") from None
        return self

    def band(self, category: str) -> Band:
        """The scores of `category`, ends included, that this step looks at again."""
        return self.bands.get(category, self.between)

    def line(self) -> Iterator[Step]:
        """This step and its fallbacks, in the order in which they would be tried."""
        step: Step | None = self
        while step is not None:
            yield step
            step = step.fallback


class Images(_Strict):
    """What images are let in; everything here is checked before anything is decoded.

    `urls`: whether https addresses are fetched; never from a private network.
    `timeout`: seconds that fetching one may take, redirects included.
    `max_bytes`, `max_pixels`: the largest file, and the most pixels of its picture.
    `frames`: how many frames of an animated image are looked at, the most different ones.
    """

    urls: Annotated[bool, Field(strict=True)] = False
    timeout: Annotated[float, Field(gt=0, le=60, allow_inf_nan=False, strict=True)] = 5.0
    max_bytes: Annotated[int, Field(gt=0, le=500_000_000, strict=True)] = 20_000_000
    max_pixels: Annotated[int, Field(gt=0, le=170_000_000, strict=True)] = 50_000_000
    frames: Annotated[int, Field(gt=0, le=32, strict=True)] = 4


class Policy(_Strict):
    """An ordered chain of steps and the thresholds that turn their scores into an action."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]+$")]
    description: str = ""
    plugins: tuple[str, ...] = ()
    steps: tuple[Step, ...]
    thresholds: dict[str, Thresholds]
    stop_on: Severity | None = None
    unsupported_language: Literal["review", "allow"] = "review"
    images: Images = Images()

    _folder: Path | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.steps:
            raise ValueError("steps: expected at least one step, found none")
        seen: set[str] = set()
        earlier: list[str] = []
        for step in self.steps:
            for each in step.line():
                if each.name in seen:
                    raise ValueError(f"steps: two steps are named {each.name!r}")
                seen.add(each.name)
            if step.refines is not None and step.refines not in earlier:
                raise ValueError(
                    f"steps: {step.name!r} refines {step.refines!r}, which is no earlier step; "
                    f"{did_you_mean(step.refines, earlier)}"
                )
            earlier.append(step.name)
        return self

    @property
    def folder(self) -> Path | None:
        """The folder of the file that it was read from: relative paths in it start there."""
        return self._folder

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits over everything that it says, however the file was laid out."""
        content = self.model_dump(mode="json", exclude={"description"})
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def decide(self, scores: Mapping[str, float]) -> tuple[Action, tuple[str, ...]]:
        """The most severe action that any category calls for, with the categories that do.

        Scores of categories without a threshold inform and do not act.
        """
        action, reasons = Action.ALLOW, []
        for category, thresholds in self.thresholds.items():
            if category not in scores:
                continue
            score = scores[category]
            called = thresholds.action(score)
            if called is Action.ALLOW:
                continue
            limit = thresholds.block if called is Action.BLOCK else thresholds.review
            reason = f"{category} {_shown(score)} reaches {called} at {limit:g}"
            if called > action:
                action, reasons = called, [reason]
            elif called is action:
                reasons.append(reason)
        return action, tuple(reasons)

    @classmethod
    def load(cls, name_or_path: str | Path) -> Policy:
        """Read a shipped policy by name, or any policy from a YAML file.

        Raises:
            ConfigError: there is no such policy, or it cannot be used; names the place.
        """
        path = _find(name_or_path)
        return cls.parse(_read(path), where=str(name_or_path), folder=path.parent)

    @classmethod
    def parse(cls, text: str, *, where: str = "policy", folder: Path | None = None) -> Policy:
        """Read a policy from YAML text; `where` names it in errors."""
        data = load_yaml(text, where)
        if not isinstance(data, dict):
            found = "nothing" if data is None else f"a {type(data).__name__}"
            raise ConfigError(
                f"expected a mapping with name, steps and thresholds, found {found}", where=where
            )
        try:
            policy = cls.model_validate(data)
        except ValidationError as error:
            raise config_error(error, where) from None
        policy._folder = folder
        return policy

    def to_yaml(self) -> str:
        """The policy as YAML that `parse` takes unchanged."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=100)
        if _BREAKS.search(text):  # PyYAML folds these as it does a newline, unless it escapes them
            text = yaml.safe_dump(data, sort_keys=False, width=100)
        return text


def shipped_policies() -> list[str]:
    """Names of the policies that come with the package."""
    return sorted(path.stem for path in config_folder().glob("*.yaml"))


def config_folder() -> Path:
    """The shipped policies: inside the installed package, or `configs/` of a source checkout."""
    package = Path(__file__).parent
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / "configs"


def config_error(error: ValidationError, where: str, prefix: str = "") -> ConfigError:
    """pydantic's findings as one ConfigError, with a path such as ``steps[1].timeout`` each."""
    found = []
    for item in error.errors(include_url=False, include_input=False):
        place = prefix
        for key in item["loc"]:
            if isinstance(key, int):
                place += f"[{key}]"
            else:
                place += f".{key}" if place else str(key)
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such option"
        found.append(f"{place}: {message}" if place else message)
    return ConfigError("; ".join(found), where=where)


def _find(name_or_path: str | Path) -> Path:
    text = str(name_or_path)
    if (
        isinstance(name_or_path, Path)
        or "/" in text
        or "\\" in text
        or text.endswith((".yaml", ".yml"))
    ):
        return Path(name_or_path)
    if text not in shipped_policies():
        raise ConfigError(
            f"no policy named {text!r} is shipped; {did_you_mean(text, shipped_policies())}; "
            "a file's path needs a '/' or the ending .yaml"
        )
    return config_folder() / f"{text}.yaml"


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        if len(data) > MAX_POLICY_BYTES:
            raise ConfigError(f"expected at most {MAX_POLICY_BYTES:,} bytes", where=str(path))
        return data.decode("utf-8-sig")
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        found = "no file there" if missing else f"a fault: {error.strerror}"
        raise ConfigError(f"expected a policy file, found {found}", where=str(path)) from None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"expected UTF-8, found another byte at offset {error.start}", where=str(path)
        ) from None
    except ValueError:  # a NUL in the path
        raise ConfigError("expected a path, found a character that none has") from None


class _Loader(yaml.SafeLoader):
    """YAML that says no more than JSON could: no tags, no aliases, no repeated keys.

    A few lines of aliases expand to gigabytes; a tag makes a plain value of another type, and some
    of PyYAML's own raise anything where the value does not fit.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        fault = None
        if isinstance(event, yaml.AliasEvent):
            fault = "aliases are not allowed; write the value out"
        elif getattr(event, "tag", None) is not None:
            fault = "tags are not allowed; quote what should be text"
        elif isinstance(event, yaml.ScalarEvent) and _SURROGATE.search(event.value):
            fault = "half a character (a surrogate); write the character itself"
        elif self._depth >= MAX_POLICY_DEPTH:
            fault = f"expected at most {MAX_POLICY_DEPTH} levels of nesting"
        if fault:
            raise yaml.composer.ComposerError(None, None, fault, event.start_mark)
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if isinstance(key_node, yaml.ScalarNode):
                if key_node.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key_node.value!r} stands twice", key_node.start_mark
                    )
                seen.add(key_node.value)
        return super().construct_mapping(node, deep=deep)


def load_yaml(text: str, where: str) -> Any:
    if len(text) > MAX_POLICY_BYTES:
        raise ConfigError(f"expected at most {MAX_POLICY_BYTES:,} characters", where=where)
    try:
        return _Loader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ConfigError(f"not usable YAML{place}: {error.problem}", where=where) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(
            f"not usable YAML at line {line}: it holds a character that YAML forbids", where=where
        ) from None
    except ValueError as error:  # such as a date that no calendar has
        raise ConfigError(f"not usable YAML: {error}", where=where) from None


def did_you_mean(name: str, known: list[str]) -> str:
    """What is known, for the end of an error message, led by the name that comes closest."""
    close = get_close_matches(name, known, n=1)
    meant = f"did you mean {close[0]!r}? " if close else ""
    return f"{meant}known: {', '.join(known) or 'none'}"


def _shown(score: float) -> str:
    return f"{score:.3f}".rstrip("0").rstrip(".")
