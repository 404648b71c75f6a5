"""Schemathesis against the OpenAPI document: no 5xx, and no answer that the document lacks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

pytest.importorskip("fastapi", reason="the service needs moderation[server]")

from running import Running

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "negative_data_rejection",
)


def test_document_is_openapi(served: Running) -> None:
    document = served.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert "$defs" not in served.get("/openapi.json").text
    paths = document["paths"]
    for path in ("/v1/moderate", "/v1/moderate/batch", "/v1/moderations"):
        assert {"200", "400", "401", "413", "429", "503"} <= paths[path]["post"]["responses"].keys()


@pytest.mark.slow
def test_no_request_leads_to_a_5xx_or_to_an_undeclared_answer(
    served: Running, tmp_path: Path
) -> None:
    """Its examples, every limit of the document from both sides, and what a generator thinks of."""
    pytest.importorskip("schemathesis", reason="needs schemathesis")
    done = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
            *("run", f"{served.url}/openapi.json", "--phases", "examples,coverage,fuzzing"),
            *("--checks", ",".join(CHECKS), "--max-examples", "25", "--seed", "1"),
            "--continue-on-failure",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert "Fuzzing" in done.stdout
