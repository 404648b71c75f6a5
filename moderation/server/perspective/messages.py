"""What is sent and answered, field by field as the API reference has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

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


def _repeated(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


_Languages = Annotated[tuple[str, ...], BeforeValidator(_repeated)]
_ScoreType = Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY", "STD_DEV_SCORE", "PERCENTILE", "RAW"]
_Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


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
    score_threshold: float = Field(default=0.0, allow_inf_nan=False)


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
    span_annotations: bool = False
    do_not_store: bool = False
    drop_unsupported_attributes: bool = False
    client_token: str = ""
    session_id: str = ""
    community_id: str = ""


class Score(_Message):
    value: _Probability = 0.0
    type: Literal["SCORE_TYPE_UNSPECIFIED", "PROBABILITY"] = "PROBABILITY"


class SpanScore(_Message):
    begin: int
    end: int
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
    do_not_store: bool = False
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
