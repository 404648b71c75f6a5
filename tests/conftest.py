"""What more than one test module needs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest
from hypothesis import settings

from moderation import Verdict, verdict_schema

# A busy machine is no fault of the code.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def as_json() -> Callable[..., dict[str, Any]]:
    """A verdict through JSON and back, having passed the published schema."""
    jsonschema.Draft202012Validator.check_schema(verdict_schema())
    validator = jsonschema.Draft202012Validator(verdict_schema())

    def convert(verdict: Verdict, **options: bool) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(json.dumps(verdict.to_dict(**options), allow_nan=False))
        validator.validate(told)
        return told

    return convert
