"""Everything that this package raises on purpose.

    ModerationError
    ├── ConfigError            a policy, recipe or option is wrong: names the file and the place
    │   └── PluginError        a plugin cannot be found or imported: names its file and fault
    ├── ContentError           what was handed in is not something that can be moderated
    ├── ArtifactError          a model folder is missing, damaged or from another version
    ├── MissingExtraError      a dependency is not installed: names the extra that brings it
    └── FilterError            a step failed and its policy says `on_error: raise`
        └── FilterTimeout      a step did not answer within its `timeout`

Messages say what was expected, what was found and what to do. They never contain user text.
"""

from __future__ import annotations


class ModerationError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(ModerationError):
    """A policy, a recipe or an option cannot be used.

    `where` is the file and the path inside it, such as ``policy.yaml: steps[1].options.path``.
    """

    def __init__(self, message: str, *, where: str | None = None) -> None:
        self.where = where
        super().__init__(f"{where}: {message}" if where else message)


class PluginError(ConfigError):
    """A plugin cannot be found, imported, or is not what it claims to be."""


class ContentError(ModerationError):
    """The object handed in cannot be read as content."""


class ArtifactError(ModerationError):
    """A model folder is missing, damaged, or written by a newer version."""


class MissingExtraError(ModerationError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, *, extra: str, needed_for: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed; "
            f"install it with: pip install 'moderation[{extra}]'"
        )


class FilterError(ModerationError):
    """A step failed on some content."""


class FilterTimeout(FilterError):  # noqa: N818  # it says what happened
    """A step did not answer in time."""
