"""docs/server.md names what there is: metrics, paths, limits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from moderation.server import access, native, service
from moderation.server.app import GRACE, TEXT_BODY, Settings, create_app
from moderation.server.metrics import Metrics

PAGE = (Path(__file__).parent.parent.parent / "docs" / "server.md").read_text(encoding="utf-8")


def test_every_metric_is_described() -> None:
    described = set(re.findall(r"`(moderation_\w+)`", PAGE))
    served = {
        f"{family.name}_total" if family.type == "counter" else family.name
        for family in Metrics().registry.collect()
        if family.name.startswith("moderation_")
    }
    assert described == served


def test_every_path_is_described() -> None:
    for path in create_app(Settings()).openapi()["paths"]:
        assert path.rpartition("/")[2] in PAGE, path


def test_limits_are_those_of_the_code() -> None:
    limits = service.Limits()
    for told in (
        f"up to {native.MAX_ITEMS} contents",
        f"up to {service.BATCH_CONTENTS} contents, {service.BATCH_CHARACTERS:,} characters",
        f"or {service.BATCH_SECONDS * 1e3:.0f} ms of work",
        f"`--queue` contents ({limits.queue})",
        f"`--max-wait` ({limits.wait:g} s)",
        f"`--timeout` ({limits.answer:g} s)",
        f"within `--timeout` and {GRACE} s",
        f"the last {limits.cache:,} contents",
        f"more than {limits.characters:,} characters",
        f"`--max-body` ({TEXT_BODY // 1_000_000} MB;",
        f"{access.BODIES // 1_000_000} MB, or pictures than {service.IMAGE_BYTES // 10**9} GB",
        f"slower than {access.RATE // 1000} kB a second after the first {access.PATIENCE:g} s",
        f"for {service.FORGIVEN:g} s or until it works again",
    ):
        assert told in " ".join(PAGE.split()), told
