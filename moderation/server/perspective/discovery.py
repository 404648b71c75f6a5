"""The discovery document, which Google's clients are built from."""

from __future__ import annotations

from typing import Any


def discovery(root: str) -> dict[str, Any]:
    """The discovery document (https://developers.google.com/discovery), of a service at `root`."""
    root = root.rstrip("/") + "/"

    def method(name: str, kind: str, told: str) -> dict[str, Any]:
        return {
            "id": f"commentanalyzer.comments.{name}",
            "path": f"v1alpha1/comments:{name}",
            "flatPath": f"v1alpha1/comments:{name}",
            "httpMethod": "POST",
            "description": told,
            "parameters": {},
            "parameterOrder": [],
            "request": {"$ref": f"{kind}Request"},
            "response": {"$ref": f"{kind}Response"},
        }

    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "commentanalyzer:v1alpha1",
        "name": "commentanalyzer",
        "canonicalName": "Comment Analyzer",
        "version": "v1alpha1",
        "revision": "0",
        "title": "Perspective Comment Analyzer API",
        "description": "Scores of what a comment may do to a conversation.",
        "protocol": "rest",
        "rootUrl": root,
        "baseUrl": root,
        "basePath": "",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": {
            name: {"type": kind, "location": "query", "description": told}
            for name, kind, told in (
                ("key", "string", "API key."),
                ("alt", "string", "Data format for the response: json."),
                ("fields", "string", "Accepted and not looked at."),
                ("prettyPrint", "boolean", "Accepted and not looked at."),
                ("quotaUser", "string", "Accepted and not looked at."),
            )
        },
        "schemas": _DISCOVERED,
        "resources": {
            "comments": {
                "methods": {
                    "analyze": method(
                        "analyze",
                        "AnalyzeComment",
                        "Analyzes the provided text and returns scores for requested attributes.",
                    ),
                    "suggestscore": method(
                        "suggestscore",
                        "SuggestCommentScore",
                        "Suggest comment scores as training data.",
                    ),
                }
            }
        },
    }


_Property = dict[str, Any]


def _string(**more: Any) -> _Property:
    return {"type": "string", **more}


def _list(items: _Property) -> _Property:
    return {"type": "array", "items": items}


def _map(items: _Property) -> _Property:
    return {"type": "object", "additionalProperties": items}


_BOOLEAN: _Property = {"type": "boolean"}
_FLOAT: _Property = {"type": "number", "format": "float"}
_INTEGER: _Property = {"type": "integer", "format": "int32"}
_STRINGS = _list(_string())
_SHARED: _Property = {
    "comment": {"$ref": "TextEntry"},
    "context": {"$ref": "Context"},
    "languages": _STRINGS,
    "clientToken": _string(),
    "sessionId": _string(),
    "communityId": _string(),
}
_DISCOVERED: dict[str, Any] = {
    name: {"id": name, "type": "object", "properties": properties}
    for name, properties in {
        "TextEntry": {
            "text": _string(),
            "type": _string(enum=["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"]),
        },
        "ArticleAndParentComment": {
            "article": {"$ref": "TextEntry"},
            "parentComment": {"$ref": "TextEntry"},
        },
        "Context": {
            "entries": _list({"$ref": "TextEntry"}),
            "articleAndParentComment": {"$ref": "ArticleAndParentComment"},
        },
        "AttributeParameters": {"scoreType": _string(), "scoreThreshold": _FLOAT},
        "Score": {"value": _FLOAT, "type": _string()},
        "SpanScore": {"begin": _INTEGER, "end": _INTEGER, "score": {"$ref": "Score"}},
        "AttributeScores": {
            "summaryScore": {"$ref": "Score"},
            "spanScores": _list({"$ref": "SpanScore"}),
        },
        "AnalyzeCommentRequest": {
            **_SHARED,
            "requestedAttributes": _map({"$ref": "AttributeParameters"}),
            "spanAnnotations": _BOOLEAN,
            "doNotStore": _BOOLEAN,
            "dropUnsupportedAttributes": _BOOLEAN,
        },
        "AnalyzeCommentResponse": {
            "attributeScores": _map({"$ref": "AttributeScores"}),
            "languages": _STRINGS,
            "detectedLanguages": _STRINGS,
            "clientToken": _string(),
        },
        "SuggestCommentScoreRequest": {
            **_SHARED,
            "attributeScores": _map({"$ref": "AttributeScores"}),
        },
        "SuggestCommentScoreResponse": {
            "clientToken": _string(),
            "detectedLanguages": _STRINGS,
            "requestedLanguages": _STRINGS,
        },
    }.items()
}
