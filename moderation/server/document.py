"""The OpenAPI document: what routes that read and write JSON by themselves tell it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI

FAULTS = {
    401: "No key, or one that is not known, where the service asks for one.",
    408: "The body came too slowly.",
    413: "The body is too long.",
    429: "Overloaded: nothing was judged. Try again after the seconds in Retry-After.",
    503: "A step failed or hangs, and the policy gives no verdict then.",
}
"""What a status says, unless a face gives it another meaning."""


def json_of(schema: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """A body of JSON by its schema; `more` stands beside the schema."""
    return {"content": {"application/json": {"schema": schema, **more}}}


def record(properties: Mapping[str, Any], *, title: str | None = None) -> dict[str, Any]:
    """The schema of an object that has these properties, always all of them, and no other."""
    return {
        **({"title": title} if title else {}),
        "type": "object",
        "additionalProperties": False,
        "required": list(properties),
        "properties": dict(properties),
    }


def refusals(error: Mapping[str, Any], faults: Mapping[int, str]) -> dict[int | str, Any]:
    """Responses of the schema `error` by status, for what `faults` say goes wrong."""
    responses: dict[int | str, Any] = {
        status: {"description": told, **json_of(error)} for status, told in faults.items()
    }
    if 429 in responses:
        responses[429]["headers"] = {
            "Retry-After": {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds."}
        }
    return responses


def operation(
    asked: Mapping[str, Any],
    answer: Mapping[str, Any],
    refused: Mapping[int | str, Any],
    *,
    told: str,
    examples: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of a route's decorator.

    Args:
        asked: schema of the request.
        answer: schema of the response, which `told` describes.
        refused: what `refusals` returns.
        examples: requests by what they show.
    """
    shown = {name: {"summary": name, "value": value} for name, value in (examples or {}).items()}
    body = json_of(asked, **({"examples": shown} if shown else {}))
    return {
        "openapi_extra": {"requestBody": {"required": True, **body}},
        "responses": {200: {"description": told, **json_of(answer)}, **refused},
    }


def hoist_schemas(app: FastAPI) -> None:
    """Move the `$defs` of schemas in the OpenAPI document to where its references can reach."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            shared = document.setdefault("components", {}).setdefault("schemas", {})
            app.openapi_schema = _hoisted(document, shared)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _hoisted(node: Any, shared: dict[str, Any]) -> Any:
    if isinstance(node, list):
        return [_hoisted(each, shared) for each in node]
    if not isinstance(node, dict):
        return node
    for name, schema in node.get("$defs", {}).items():
        shared[name] = _hoisted(schema, shared)
    found = {name: _hoisted(each, shared) for name, each in node.items() if name != "$defs"}
    reference = found.get("$ref")
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        found["$ref"] = reference.replace("#/$defs/", "#/components/schemas/")
    return found
