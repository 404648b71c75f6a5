"""What is sent and answered, field by field as the API reference has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

MAX_ATTRIBUTES = 100


class _Message(BaseModel):
    """As protocol buffers read JSON: names in either spelling, null for what is not set."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )

    @model_validator(mode="before")
    @classmethod
    def _set(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None}
        return data

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Of a request: with null, and the other spelling of a name, where they are taken."""
        schema = handler(core_schema)
        if handler.mode == "validation":
            found = handler.resolve_ref_schema(schema)
            for name, field in found["properties"].items():
                null = {"type": "null"} in field.get("anyOf", ())
                if name not in found.get("required", ()) and not null:
                    found["properties"][name] = _or_null(field)
            others = [name for name in cls.model_fields if "_" in name]
            if others:
                found["patternProperties"] = {f"^({'|'.join(others)})$": {}}
        return schema


def _or_null(schema: JsonSchemaValue) -> JsonSchemaValue:
    kept = ("title", "description", "default")
    about: JsonSchemaValue = {key: value for key, value in schema.items() if key in kept}
    taken = {key: value for key, value in schema.items() if key not in about}
    return {"anyOf": [taken, {"type": "null"}], **about}


def _repeated(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected a number, found true or false")
    return value


_Languages = Annotated[
    tuple[str, ...],
    BeforeValidator(_repeated),
    WithJsonSchema(
        {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "string"}]},
        mode="validation",
    ),
]
_Bool = Annotated[bool, Strict()]
# A number may stand in a string (https://protobuf.dev/programming-guides/json/).
_Integer = Annotated[
    int,
    BeforeValidator(_number),
    WithJsonSchema({"type": ["integer", "string"]}, mode="validation"),
]
_Float = Annotated[
    float,
    Field(allow_inf_nan=False),
    BeforeValidator(_number),
    WithJsonSchema({"type": ["number", "string"]}, mode="validation"),
]
_ScoreType = Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY", "STD_DEV_SCORE", "PERCENTILE", "RAW"]
_Probability = Annotated[
    float,
    Field(ge=0, le=1, allow_inf_nan=False),
    BeforeValidator(_number),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "string"}]},
        mode="validation",
    ),
]


class TextEntry(_Message):
    text: str = ""
    type: Literal["TEXT_TYPE_UNSPECIFIED", "PLAIN_TEXT", "HTML"] = "PLAIN_TEXT"


class ArticleAndParentComment(_Message):
    article: TextEntry = TextEntry()
    parent_comment: TextEntry = TextEntry()


class Context(_Message):
    entries: tuple[TextEntry, ...] = ()
    article_and_parent_comment: ArticleAndParentComment | None = None

    @model_validator(mode="after")
    def _one(self) -> Context:
        if self.entries and self.article_and_parent_comment is not None:
            raise ValueError("expected entries or articleAndParentComment, found both")
        return self


class AttributeParameters(_Message):
    score_type: _ScoreType = "PROBABILITY"
    score_threshold: _Float = 0.0


class AnalyzeCommentRequest(_Message):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "comment": {"text": "What a foolish idea. Thank you for asking!"},
                "requestedAttributes": {"TOXICITY": {}, "INSULT": {"scoreThreshold": 0.1}},
                "languages": ["en"],
                "spanAnnotations": True,
                "doNotStore": True,
            }
        }
    )

    comment: TextEntry = TextEntry()
    context: Context = Context()
    requested_attributes: dict[str, AttributeParameters | None] = Field(
        default={}, max_length=MAX_ATTRIBUTES
    )
    languages: _Languages = ()
    span_annotations: _Bool = False
    do_not_store: _Bool = False
    drop_unsupported_attributes: _Bool = False
    client_token: str = ""
    session_id: str = ""
    community_id: str = ""


class Score(_Message):
    value: _Probability = 0.0
    type: Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY"] = "PROBABILITY"


class SpanScore(_Message):
    begin: _Integer
    end: _Integer
    score: Score


class AttributeScores(_Message):
    summary_score: Score | None = None
    span_scores: tuple[SpanScore, ...] = ()


class SuggestCommentScoreRequest(_Message):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "comment": {"text": "What a foolish idea."},
                "attributeScores": {"TOXICITY": {"summaryScore": {"value": 0}}},
                "communityId": "forum/films",
                "clientToken": "comment-53922",
            }
        }
    )

    comment: TextEntry = TextEntry()
    context: Context = Context()
    attribute_scores: dict[str, AttributeScores] = Field(default={}, max_length=MAX_ATTRIBUTES)
    languages: _Languages = ()
    do_not_store: _Bool = False
    client_token: str = ""
    session_id: str = ""
    community_id: str = ""


class AnalyzeCommentResponse(_Message):
    """Fields that are empty are left out."""

    attribute_scores: dict[str, AttributeScores] = {}
    languages: tuple[str, ...] = ()
    detected_languages: tuple[str, ...] = ()
    client_token: str = ""


class SuggestCommentScoreResponse(_Message):
    """Fields that are empty are left out."""

    client_token: str = ""
    detected_languages: tuple[str, ...] = ()
    requested_languages: tuple[str, ...] = ()
