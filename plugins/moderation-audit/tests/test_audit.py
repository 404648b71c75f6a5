from __future__ import annotations

import json
import logging
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest
from moderation_audit import VARIABLE, Audit, AuditError

from moderation import Content, Moderator, Part, Policy
from moderation.errors import PluginError

POLICY = """
name: audited
plugins: [testing{more}]
steps:
  - {{name: said, filter: static, options: {{scores: {{zebra: {{toxic: 0.9}}}}}}}}
thresholds: {{toxic: {{review: 0.5, block: 0.8}}}}
"""


def policy(more: str = "") -> Policy:
    return Policy.parse(POLICY.format(more=more))


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_line_for_each_verdict_and_no_text(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    moderator = Moderator(policy(), plugins=[Audit(path)])
    contents = [
        Content((Part("text", "one zebra"),), metadata={"id": "a1", "author": "mallory"}),
        Content((Part("text", "one horse"),)),
    ]
    verdicts = moderator.moderate_batch(contents)

    found = lines(path)
    assert [line["action"] for line in found] == ["block", "allow"]
    assert [line["id"] for line in found] == ["a1", None]
    assert found[0]["policy"] == verdicts[0].policy
    assert [signal["span"] for signal in found[0]["signals"]] == [None, [4, 9]]
    assert datetime.fromisoformat(found[0]["time"]).tzinfo is not None
    written = path.read_text(encoding="utf-8")
    for secret in ("zebra", "horse", "mallory"):
        assert secret not in written


def test_what_a_filter_says_about_a_signal_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Moderator(policy(), plugins=[Audit(path)]).moderate("zebra")
    assert all("reason" not in signal for signal in lines(path)[0]["signals"])


def test_appends_to_what_is_there(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(2):
        Moderator(policy(), plugins=[Audit(path)]).moderate("hello")
    assert len(lines(path)) == 2


def test_only_its_owner_may_read_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    Audit(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_by_name_in_a_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "audit.jsonl"
    monkeypatch.setenv(VARIABLE, str(path))
    monkeypatch.delitem(sys.modules, "moderation_audit.plugin", raising=False)
    Moderator(policy(", audit")).moderate("hello")
    assert len(lines(path)) == 1


def test_an_unset_variable_is_told_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, "moderation_audit.plugin", raising=False)
    with pytest.raises(PluginError, match=f"moderation-audit.*{VARIABLE} is not set"):
        Moderator(policy(", audit"))


def test_a_folder_that_does_not_exist_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="cannot be opened for appending"):
        Audit(tmp_path / "nowhere" / "audit.jsonl")


def test_a_later_failure_is_logged_and_the_verdict_stands(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "audit.jsonl"
    moderator = Moderator(policy(), plugins=[Audit(path)])
    path.unlink()
    path.mkdir()
    with caplog.at_level(logging.ERROR, "moderation"):
        assert moderator.moderate("zebra").flagged
    assert "Audit raised IsADirectoryError" in caplog.text
    assert "zebra" not in caplog.text


def test_threads_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    moderator = Moderator(policy(), plugins=[Audit(path)])
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(moderator.moderate, ["zebra " * 50] * 200))
    found = lines(path)
    assert len(found) == 200
    assert all(len(line["signals"]) == 51 for line in found)


def test_processes_do_not_mix_lines(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    code = (
        "import sys; from moderation import Moderator, Policy; from moderation_audit import Audit\n"
        f"m = Moderator(Policy.parse({POLICY.format(more='')!r}), plugins=[Audit(sys.argv[1])])\n"
        "m.moderate_batch(['zebra ' * 50] * 100)"
    )
    command = [sys.executable, "-c", code, str(path)]
    writers = [subprocess.Popen(command) for _ in range(3)]  # noqa: S603  # our own code
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    found = lines(path)
    assert len(found) == 300
    assert all(len(line["signals"]) == 51 for line in found)
