"""The Perspective API: requests to contents, verdicts to responses, faults, and what is kept."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from html import escape
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra `server` is not installed")
pytest.importorskip("sentencex", reason="the extra `server` is not installed")

import httpx
from hosted import WAIT, hosted, logged
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from moderation import Content, Moderator, Policy, Verdict, hookimpl
from moderation.errors import ConfigError
from moderation.server.app import Settings, create_app
from moderation.server.face import Problem, read
from moderation.server.html import shown
from moderation.server.perspective import FACE
from moderation.server.perspective.analysis import CONTEXT_CHARACTERS, analysis, plan
from moderation.server.perspective.comment import MAX_BYTES, MAX_SPANS, sentences
from moderation.server.perspective.messages import AnalyzeCommentRequest, SuggestCommentScoreRequest
from moderation.server.perspective.suggestions import Suggestions, suggested

ANALYZE, SUGGEST = "/v1alpha1/comments:analyze", "/v1alpha1/comments:suggestscore"


def policy(*steps: dict[str, Any], **more: Any) -> Moderator:
    """A policy of steps that say what they are told to say."""
    given = [
        {"name": f"s{place}", "filter": "static", "options": step}
        for place, step in enumerate(steps)
    ]
    moderator = Moderator(
        Policy.model_validate(
            {"name": "static", "plugins": ["testing"], "steps": given, "thresholds": {}, **more}
        )
    )
    logging.getLogger("moderation").setLevel(logging.CRITICAL)
    moderator.load()
    logging.getLogger("moderation").setLevel(logging.NOTSET)
    return moderator


@pytest.fixture(scope="module")
def static() -> Moderator:
    return policy(
        {
            "scores": {"idiot": {"toxic": 0.75, "insult": 0.5}, "kill": {"threat": 0.875}},
            "default": {"toxic": 0.125, "insult": 0.0, "threat": 0.0, "obscene": 0.25},
        }
    )


def answer(moderator: Moderator, **request: Any) -> dict[str, Any]:
    planned = plan(AnalyzeCommentRequest.model_validate(request), moderator)
    return analysis(planned, moderator.moderate_batch(planned.contents, exhaustive=True), moderator)


def refusal(moderator: Moderator, **request: Any) -> dict[str, Any]:
    with pytest.raises(Problem) as raised:
        answer(moderator, **request)
    status, body = FACE.error(raised.value)
    assert status == body["error"]["code"]
    error: dict[str, Any] = dict(body["error"])
    return error


def said(text: str, **more: Any) -> dict[str, Any]:
    return {"comment": {"text": text}, "requestedAttributes": {"TOXICITY": {}}, **more}


def spans(response: dict[str, Any], name: str = "TOXICITY") -> list[tuple[int, int, float]]:
    found = response["attributeScores"][name]["spanScores"]
    assert all(span["score"]["type"] == "PROBABILITY" for span in found)
    return [(span["begin"], span["end"], span["score"]["value"]) for span in found]


def test_one_span_over_the_whole_text(static: Moderator) -> None:
    response = answer(
        static,
        **said("Hello there, you \U0001f600 idiot. What would they think?", languages=["en"]),
    )
    score = {"value": 0.75, "type": "PROBABILITY"}
    assert response == {
        "attributeScores": {
            "TOXICITY": {
                "spanScores": [{"begin": 0, "end": 49, "score": score}],
                "summaryScore": score,
            }
        },
        "languages": ["en"],
        "detectedLanguages": ["en"],
    }


def test_spans_are_sentences_in_utf16_units(static: Moderator) -> None:
    text = "\U0001f600\U0001f600 Hi! You idiot.  Bye."
    response = answer(static, **said(text, spanAnnotations=True))
    # Two emoji are four units: "😀😀 Hi!" ends at 8, "You idiot." is [9, 19), "Bye." [21, 25).
    assert spans(response) == [(0, 8, 0.125), (9, 19, 0.75), (21, 25, 0.125)]
    units = text.encode("utf-16-le")
    assert units[2 * 9 : 2 * 19].decode("utf-16-le") == "You idiot."
    assert response["attributeScores"]["TOXICITY"]["summaryScore"]["value"] == 0.75


def test_html_is_scored_as_it_is_shown_with_offsets_into_the_source(static: Moderator) -> None:
    source = "<p>You <b>idi</b>ot &amp; fool.</p>\n<p title='kill'>Bye.</p>"
    request = said("")
    request["comment"] = {"text": source, "type": "HTML"}
    request["requestedAttributes"] = {"TOXICITY": {}, "THREAT": {}}
    response = answer(static, **request, spanAnnotations=True)
    first, second = spans(response)
    assert source[slice(*first[:2])] == "You <b>idi</b>ot &amp; fool."
    assert source[slice(*second[:2])] == "Bye."
    assert (first[2], second[2]) == (0.75, 0.125)
    assert spans(response, "THREAT")[1][2] == 0.0  # an attribute of a tag is not shown
    assert spans(answer(static, **request)) == [(0, len(source), 0.75)]


def test_plain_text_keeps_its_angle_brackets(static: Moderator) -> None:
    assert spans(answer(static, **said("<b title='idiot'>"))) == [(0, 17, 0.75)]


def test_attributes_answered_in_the_order_of_the_request(static: Moderator) -> None:
    names = ["PROFANITY", "TOXICITY_EXPERIMENTAL", "INSULT", "TOXICITY"]
    response = answer(
        static,
        comment={"text": "idiot"},
        requestedAttributes={name: {"scoreType": "PROBABILITY"} for name in names},
    )
    assert list(response["attributeScores"]) == names
    values = [each["summaryScore"]["value"] for each in response["attributeScores"].values()]
    assert values == [0.25, 0.75, 0.5, 0.75]


@pytest.mark.parametrize(("threshold", "kept"), [(0.7, True), (0.75, True), (0.76, False)])
def test_score_threshold(static: Moderator, threshold: float, kept: bool) -> None:
    response = answer(
        static,
        comment={"text": "idiot"},
        requestedAttributes={"TOXICITY": {"scoreThreshold": threshold}, "PROFANITY": None},
    )
    assert ("TOXICITY" in response["attributeScores"]) is kept
    assert "PROFANITY" in response["attributeScores"]


def test_nothing_above_its_threshold_leaves_no_scores(static: Moderator) -> None:
    request = said("a nice day", clientToken="t-1", languages=["en"])
    request["requestedAttributes"] = {"TOXICITY": {"scoreThreshold": 0.5}}
    response = answer(static, **request)
    assert "attributeScores" not in response
    assert response["clientToken"] == "t-1"


@pytest.mark.parametrize("name", ["SEVERE_TOXICITY", "FLIRTATION", "SPAM", "TOXICITY_FAST"])
def test_what_nothing_stands_behind_is_refused_or_dropped(static: Moderator, name: str) -> None:
    request = said("idiot")
    request["requestedAttributes"] = {name: {}, "TOXICITY": {}}
    error = refusal(static, **request)
    assert error["message"] == f"Unknown requested attribute: {name}"
    assert error["status"] == "INVALID_ARGUMENT"
    response = answer(static, **request, dropUnsupportedAttributes=True)
    assert list(response["attributeScores"]) == ["TOXICITY"]
    request["requestedAttributes"] = {name: {}}
    assert "attributeScores" not in answer(static, **request, dropUnsupportedAttributes=True)


@pytest.mark.parametrize(
    ("request_", "kind", "message"),
    [
        (said(""), "COMMENT_EMPTY", "Comment must be non-empty."),
        (said(" \n\t"), "COMMENT_EMPTY", "Comment must be non-empty."),
        (
            said("") | {"comment": {"text": "<p> <!-- idiot --></p>", "type": "HTML"}},
            "COMMENT_EMPTY",
            "Comment must be non-empty.",
        ),
        ({"requestedAttributes": {"TOXICITY": {}}}, "COMMENT_EMPTY", "Comment must be non-empty."),
        (
            said("\u00e9" * 10_241),
            "COMMENT_TOO_LONG",
            "Comment text was too many bytes. Value (20482) exceeded limit (20480).",
        ),
        ({"comment": {"text": "x"}}, "NO_REQUESTED_ATTRIBUTES", "Missing requested_attributes"),
        (
            said("x") | {"requestedAttributes": {}},
            "NO_REQUESTED_ATTRIBUTES",
            "Missing requested_attributes",
        ),
        (
            said("x") | {"requestedAttributes": {"TOXICITY": {"scoreType": "PERCENTILE"}}},
            "INVALID_REQUEST",
            "Unsupported score type; expected PROBABILITY",
        ),
        (
            said("x", languages=["you idiot"]),
            "INVALID_REQUEST",
            "Invalid languages: expected ISO 639-1 or BCP-47 codes",
        ),
        (
            said("x") | {"requestedAttributes": {"you are an idiot": {}}},
            "INVALID_REQUEST",
            "Unknown requested attribute",
        ),
    ],
)
def test_refusals(static: Moderator, request_: dict[str, Any], kind: str, message: str) -> None:
    assert refusal(static, **request_) == {
        "code": 400,
        "message": message,
        "status": "INVALID_ARGUMENT",
        "details": [
            {
                "@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error",
                "errorType": kind,
            }
        ],
    }


def test_the_longest_comment_is_taken(static: Moderator) -> None:
    assert spans(answer(static, **said("\u00e9" * (MAX_BYTES // 2)))) == [(0, 10_240, 0.125)]


@pytest.fixture(scope="module")
def english() -> Moderator:
    moderator = Moderator("perspective")
    moderator.load()
    return moderator


class TestLanguages:
    """With the shipped model, which reads English."""

    def test_the_request_s_are_used_and_mirrored(self, english: Moderator) -> None:
        for code in ("en", "EN", "en-GB", "en_US"):
            response = answer(english, **said("nom", languages=[code]))
            assert response["languages"] == [code]
            assert response["attributeScores"]["TOXICITY"]

    def test_one_code_in_place_of_a_list(self, english: Moderator) -> None:
        assert answer(english, **said("hello", languages="EN"))["languages"] == ["EN"]

    def test_detected_where_the_request_says_none(self, english: Moderator) -> None:
        response = answer(english, **said("This is what they would think about it, I should know."))
        assert response["languages"] == response["detectedLanguages"] == ["en"]

    def test_a_few_words_are_read_as_english(self, english: Moderator) -> None:
        response = answer(english, **said("hallo"))
        assert response["languages"] == ["en"]
        assert "detectedLanguages" not in response

    @pytest.mark.parametrize(
        ("request_", "codes", "detected"),
        [
            (said("hello", languages=["om"]), "om", ["om"]),
            (said("hello", languages=["en", "om"]), "en,om", ["en", "om"]),
            (
                said("Ich habe wirklich keine Ahnung, warum er gestern nicht gekommen ist."),
                "de",
                ["de"],
            ),
            (said("Это совершенно обычное предложение о погоде."), "ru", ["ru"]),
        ],
    )
    def test_unsupported(
        self, english: Moderator, request_: dict[str, Any], codes: str, detected: list[str]
    ) -> None:
        error = refusal(english, **request_)
        assert error["message"] == f"Attribute TOXICITY does not support request languages: {codes}"
        assert error["details"] == [
            {
                "@type": "type.googleapis.com/google.commentanalyzer.v1alpha1.Error",
                "errorType": "LANGUAGE_NOT_SUPPORTED_BY_ATTRIBUTE",
                "languageNotSupportedByAttributeError": {
                    "detectedLanguages": detected,
                    "attribute": "TOXICITY",
                },
            }
        ]
        dropped = answer(english, **request_, dropUnsupportedAttributes=True)
        assert "attributeScores" not in dropped

    def test_a_script_that_nobody_can_place(self, english: Moderator) -> None:
        error = refusal(english, **said("ᚠᚢᚦᚨᚱᚲ ᚷᚹᚺᚾᛁᛃ ᛇᛈᛉᛊᛏᛒ"))
        assert error["message"] == "Unable to detect language"
        assert error["details"][0]["errorType"] == "LANGUAGE_DETECTION_FAILED"

    @pytest.mark.parametrize("text", ["\U0001f595\U0001f595", "!!!", "12 34", "𝓲𝓭𝓲𝓸𝓽"])
    def test_what_is_no_language_is_read_all_the_same(self, english: Moderator, text: str) -> None:
        assert answer(english, **said(text))["attributeScores"]["TOXICITY"]

    def test_every_attribute_has_a_probability_and_a_twin(self, english: Moderator) -> None:
        names = [
            *("TOXICITY", "SEVERE_TOXICITY", "IDENTITY_ATTACK", "INSULT", "PROFANITY"),
            *("THREAT", "SEXUALLY_EXPLICIT"),
        ]
        response = answer(
            english,
            comment={"text": "what a damn shame"},
            requestedAttributes={
                each + twin: {} for each in names for twin in ("", "_EXPERIMENTAL")
            },
        )
        scores = {
            name: each["summaryScore"]["value"]
            for name, each in response["attributeScores"].items()
        }
        assert len(scores) == 14
        assert all(0 <= score < 1 for score in scores.values())
        assert scores["PROFANITY"] > scores["THREAT"]
        assert all(scores[name] == scores[f"{name}_EXPERIMENTAL"] for name in names)


def test_a_sentence_is_read_in_the_language_of_the_whole(static: Moderator) -> None:
    request = AnalyzeCommentRequest.model_validate(
        said(
            "I would have said that these people were there, but who knows what they think. "
            "Das ist aber wirklich eine ganz andere Geschichte, mein Freund.",
            spanAnnotations=True,
        )
    )
    assert {content.language for content in plan(request, static).contents} == {"en"}


class TestContext:
    def messages(self, static: Moderator, context: dict[str, Any]) -> list[tuple[str, str]]:
        request = AnalyzeCommentRequest.model_validate(said("idiot", context=context))
        [content] = plan(request, static).contents
        return [(message.role, message.text) for message in content.context]

    def test_entries(self, static: Moderator) -> None:
        entries = [{"text": "first"}, {"text": "<b>second</b>", "type": "HTML"}, {"text": " "}]
        assert self.messages(static, {"entries": entries}) == [
            ("user", "first"),
            ("user", "second"),
        ]

    def test_article_and_parent(self, static: Moderator) -> None:
        context = {"articleAndParentComment": {"article": {"text": "A"}, "parentComment": {}}}
        assert self.messages(static, context) == [("user", "A")]

    def test_of_a_long_one_the_end(self, static: Moderator) -> None:
        entries = [{"text": "a"}, {"text": "b" * CONTEXT_CHARACTERS + "c"}]
        [(_, text)] = self.messages(static, {"entries": entries})
        assert text == "b" * (CONTEXT_CHARACTERS - 1) + "c"

    def test_spans_stand_by_themselves(self, static: Moderator) -> None:
        context = {"entries": [{"text": "first"}]}
        request = said("One. Two.", context=context, spanAnnotations=True)
        whole, *alone = plan(AnalyzeCommentRequest.model_validate(request), static).contents
        assert whole.context
        assert [each.context for each in alone] == [(), ()]

    def test_is_never_judged_itself(self, static: Moderator) -> None:
        response = answer(static, **said("fine", context={"entries": [{"text": "idiot"}]}))
        assert spans(response) == [(0, 4, 0.125)]


def test_a_failed_step_is_no_score() -> None:
    broken = policy(
        {"default": {"toxic": 0.5}, "fault": "raise", "fault_on": "boom"},
        {"default": {"insult": 0.5}},
        thresholds={"toxic": {"review": 0.9}},
    )
    request = said("boom")
    request["requestedAttributes"] = {"INSULT": {}}
    assert answer(broken, **request)["attributeScores"]["INSULT"]
    error = refusal(broken, **said("boom"), dropUnsupportedAttributes=True)
    assert (error["code"], error["status"]) == (503, "UNAVAILABLE")
    # A sentence that fails is no better than a comment that does.
    error = refusal(broken, **said("Fine. Now boom. Fine."), spanAnnotations=True)
    assert error["code"] == 503


def test_who_observes_verdicts_is_told_what_is_not_to_be_stored() -> None:
    class Observer:
        def __init__(self) -> None:
            self.told: list[Any] = []

        @hookimpl
        def moderation_verdict(self, content: Content, verdict: Verdict) -> None:
            self.told.append(dict(content.metadata))

    observer = Observer()
    moderator = Moderator("perspective", plugins=[observer])
    text = "One sentence. Another one."
    answer(moderator, **said(text, doNotStore=True, languages=["en"], spanAnnotations=True))
    answer(moderator, **said(text, languages=["en"]))
    assert observer.told == [{"doNotStore": True}] * 3 + [{}]


def test_what_comes_first_in_the_chain_does_not_end_it() -> None:
    chain = policy(
        {"default": {"toxic": 0.95}},
        {"default": {"insult": 0.5}},
        thresholds={"toxic": {"block": 0.9}},
        stop_on="block",
    )
    request = said("idiot")
    request["requestedAttributes"] = {"INSULT": {}, "TOXICITY": {}}
    assert len(answer(chain, **request)["attributeScores"]) == 2


class TestSentences:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
            ("Mr. Smith met Dr. Jones, e.g. today. Yes.", None),
            ("  no end  ", ["no end"]),
            ("One.\n\nTwo.\r\n\r\nThree.", ["One.", "Two.", "Three."]),
            ('"Shut up!" he said. I left.', ['"Shut up!" he said.', "I left."]),
            ("\U0001f600. \U0001f600 Hi.", None),
            ("...", ["..."]),
            ("中文。你好。", ["中文。", "你好。"]),
        ],
    )
    def test_examples(self, text: str, expected: list[str] | None) -> None:
        found = [text[begin:end] for begin, end in sentences(text)]
        assert "".join("".join(found).split()) == "".join(text.split())
        if expected is not None:
            assert found == expected

    def test_abbreviations_do_not_end_one(self) -> None:
        assert len(sentences("Mr. Smith met Dr. Jones. Yes.")) == 2

    @given(
        st.text(st.characters(codec="utf-8") | st.sampled_from(' .!?\n"\U0001f600a'), max_size=80)
    )
    def test_every_character_but_white_space_lies_in_one(self, text: str) -> None:
        found = sentences(text)
        assert all(text[begin:end] == text[begin:end].strip() != "" for begin, end in found)
        edges = [edge for span in found for edge in span]
        assert edges == sorted(edges)
        inside = {place for begin, end in found for place in range(begin, end)}
        assert all(place in inside or char.isspace() for place, char in enumerate(text))

    def test_many_share_spans(self) -> None:
        text = " ".join(f"Number {number} is here." for number in range(1_050))
        found = sentences(text)
        assert len(found) <= MAX_SPANS
        assert found[0][0] == 0
        assert found[-1][1] == len(text)
        assert all(end + 1 == begin for (_, end), (begin, _) in pairwise(found))


class TestUtf16:
    @settings(deadline=None, max_examples=60)
    @given(st.text(st.characters(codec="utf-8") | st.sampled_from(". \U0001f600"), min_size=1))
    def test_spans_cut_the_utf16_text_where_the_sentences_are(self, text: str) -> None:
        moderator = policy({"default": {"toxic": 0.5}})
        if not text.strip():
            return
        request = said(text, spanAnnotations=True, languages=["en"])
        units = text.encode("utf-16-le")
        cut = [
            units[2 * b : 2 * e].decode("utf-16-le")
            for b, e, _ in spans(answer(moderator, **request))
        ]
        assert cut == [text[begin:end] for begin, end in sentences(text)]
        [whole] = spans(answer(moderator, **said(text, languages=["en"])))
        assert whole[:2] == (0, len(units) // 2)


_WORDS = st.text("abc xyz.!\u00e9\u4f60\U0001f600\"'=>/-", min_size=1, max_size=8)
_INLINE = st.sampled_from(
    [
        "<b>", "</b>", '<a href="https://e.org/?a>b">', "<A HREF=x'y>", "</a >", "<i class='<b>'>",
        "<!-- a > b -->", "<!---->", "<!>", "<?php echo 1 ?>", "<!doctype html>", "</>", "<x-y/>",
        "<script>if (a < b) '<p>'</script>", "<STYLE>p > b {}</style\n>",
        "<img alt=\"a 'b\" src=x>",
    ]
)  # fmt: skip
_BLOCK = st.sampled_from(["<p>", "</P>", "<br/>", "<br>", "<div class=a>", "</li\t>"])
_ENTITIES = st.sampled_from(
    [("&amp;", "&"), ("&lt;", "<"), ("&#60;", "<"), ("&#x1F600;", "\U0001f600"), ("&eacute;", "é"),
     ("&#0000000000000000000000000000000000065;", "A"), ("&nbsp;", "\xa0"), ("&quot;", '"')]
)  # fmt: skip
_PIECES = st.one_of(
    _WORDS.map(lambda text: [(char, char) for char in text]),
    _INLINE.map(lambda tag: [(tag, "")]),
    _BLOCK.map(lambda tag: [(tag, "\n")]),
    _ENTITIES.map(lambda entity: [entity]),
)


class TestHtml:
    @given(st.lists(_PIECES, max_size=12))
    def test_pieces(self, pieces: list[list[tuple[str, str]]]) -> None:
        """A document put together out of pieces whose text is known."""
        flat = [each for piece in pieces for each in piece]
        source = "".join(written for written, _ in flat)
        expected, at = [], 0
        for written, seen in flat:
            expected += [(char, at, at + len(written)) for char in seen]
            at += len(written)
        found = shown(source)
        assert list(zip(found.text, found.begins, found.ends, strict=True)) == expected

    @given(st.text(max_size=40))
    def test_escaped_text_comes_back(self, text: str) -> None:
        assert shown(escape(text)).text == text

    @given(st.text("<>/!-=\"' &#;abpx1\n", max_size=60))
    def test_anything_at_all(self, source: str) -> None:
        found = shown(source)
        assert len(found.text) == len(found.begins) == len(found.ends)
        last = 0
        for begin, end in zip(found.begins, found.ends, strict=True):
            assert last <= begin < end <= len(source)
            last = begin

    @pytest.mark.parametrize(
        ("source", "text"),
        [
            ("f<b>u</b>n", "fun"),
            ("a < b and c > d", "a < b and c > d"),
            ("I <3 you", "I <3 you"),
            # A quote inside of a value that began without one closes nothing.
            ("<b x=a'>idiot<b x='y'>", "idiot"),
            # What is opened and never closed hides nothing.
            ("<b title='idiot", "<b title='idiot"),
            ("<!-- idiot", "<!-- idiot"),
            ("<script>idiot", "idiot"),
            ("<scripture>idiot", "idiot"),
            ("&notanentity; &#; &", "¬anentity; &#; &"),
            ("&#99999999999999999999;&#xD800;&#0;", "\ufffd\ufffd\ufffd"),
        ],
    )
    def test_as_a_browser_would(self, source: str, text: str) -> None:
        assert shown(source).text == text


class TestSuggestions:
    def rows(self, **request: Any) -> list[dict[str, Any]]:
        found = suggested(SuggestCommentScoreRequest.model_validate(request))
        for row in found:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", row.pop("received"))
        return found

    def test_a_row_has_a_column_for_each_category(self) -> None:
        assert self.rows(
            comment={"text": "<p>get  busy</p>", "type": "HTML"},
            attributeScores={
                "TOXICITY": {"summaryScore": {"value": 0}},
                "PROFANITY_EXPERIMENTAL": {"summaryScore": {"value": 0.5, "type": "PROBABILITY"}},
                "FLIRTATION": {"summaryScore": {}},
            },
            communityId="films",
            clientToken="c-1",
            languages=["en"],
        ) == [
            {
                "text": "get  busy",
                "toxic": 0.0,
                "obscene": 0.5,
                "flirtation": 0.0,
                "language": "en",
                "community": "films",
                "client_token": "c-1",
            }
        ]

    def test_spans_are_rows_of_their_own(self) -> None:
        text = "\U0001f600 Hi. You idiot."
        scores = {
            "summaryScore": {"value": 1},
            "spanScores": [{"begin": 7, "end": 17, "score": {"value": 1}}],
        }
        rows = self.rows(comment={"text": text}, attributeScores={"INSULT": scores})
        assert [(row["text"], row["insult"]) for row in rows] == [(text, 1.0), ("You idiot.", 1.0)]

    @pytest.mark.parametrize(("decision", "label"), [("APPROVED", 0.0), ("DELETED", 1.0)])
    def test_a_moderator_s_decision_as_coral_sends_it(self, decision: str, label: float) -> None:
        [row] = self.rows(
            comment={"text": "some comment"},
            context={"entries": [{"text": '{"url":"https://news.example/a?commentID=7"}'}]},
            attributeScores={decision: {"summaryScore": {"value": 1}}},
            languages=["EN"],
            communityId="Coral:https://comments.example/",
            clientToken="comment:7",
        )
        assert row["rejected"] == label

    @pytest.mark.parametrize(
        ("request_", "message"),
        [
            ({"comment": {"text": "x"}}, "Missing attribute_scores"),
            (
                {"comment": {"text": "x"}, "attributeScores": {"NOBODY": {"summaryScore": {}}}},
                "Unknown requested attribute: NOBODY",
            ),
            (
                {"comment": {"text": "x"}, "attributeScores": {"TOXICITY": {}}},
                "Missing summary_score and span_scores",
            ),
            (
                {
                    "comment": {"text": "x"},
                    "attributeScores": {
                        "TOXICITY": {"spanScores": [{"begin": 0, "end": 2, "score": {}}]}
                    },
                },
                "Invalid span: it lies outside of the comment",
            ),
            ({"attributeScores": {"TOXICITY": {}}}, "Comment must be non-empty."),
        ],
    )
    def test_refusals(self, request_: dict[str, Any], message: str) -> None:
        with pytest.raises(Problem) as raised:
            suggested(SuggestCommentScoreRequest.model_validate(request_))
        assert raised.value.message == message

    def test_a_file_that_cannot_be_written(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="No such file"):
            Suggestions(tmp_path / "nowhere" / "labels.jsonl")

    def test_training_reads_the_file(self, tmp_path: Path) -> None:
        pytest.importorskip("pandas", reason="the extra `train` is not installed")
        from moderation.training.data import load_rows
        from moderation.training.recipe import read_recipe

        kept = Suggestions(tmp_path / "labels.jsonl")
        for number in range(40):
            verdict = number % 2
            kept.append(
                suggested(
                    SuggestCommentScoreRequest.model_validate(
                        {
                            "comment": {"text": f"comment number {number} {'no' * verdict}"},
                            "attributeScores": {
                                "TOXICITY": {"summaryScore": {"value": verdict}},
                                "DELETED": {"summaryScore": {"value": verdict}},
                            },
                            "communityId": "films",
                        }
                    )
                )
            )
        recipe = tmp_path / "recipe.yaml"
        recipe.write_text(
            "name: ours\ntask: multi_label\nlabels: [toxic, rejected]\n"
            "data: [{kind: table, path: labels.jsonl, source: community}]\n"
            "model: {kind: lstm, base: none, base_licence: none}\n"
        )
        rows = load_rows(read_recipe(recipe), recipe)
        assert len(rows) == 40
        assert rows.targets.sum(0).tolist() == [20.0, 20.0]
        assert set(rows.sources) == {"films"}


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suggestions") / "labels.jsonl"


@pytest.fixture(scope="module")
def client(kept: Path) -> Iterator[httpx.Client]:
    given = Settings(policies=("perspective",), suggestions=kept)
    with hosted(given) as url, httpx.Client(base_url=url, timeout=WAIT) as client:
        yield client


def rated(**score: Any) -> dict[str, Any]:
    """What a suggestion says of a comment, but for the comment."""
    return {"attributeScores": {"TOXICITY": {"spanScores": [score]}}}


@pytest.mark.parametrize(
    ("message", "fields", "taken"),
    [
        (AnalyzeCommentRequest, {"languages": "en"}, True),
        (AnalyzeCommentRequest, {"languages": None, "context": {"entries": None}}, True),
        (AnalyzeCommentRequest, {"comment": {"text": "x", "type": None}}, True),
        (AnalyzeCommentRequest, {"requestedAttributes": {"TOXICITY": None}}, True),
        (AnalyzeCommentRequest, {"do_not_store": True}, True),
        (AnalyzeCommentRequest, {"doNotStore": "true"}, False),
        (AnalyzeCommentRequest, {"spanAnnotations": 1}, False),
        (AnalyzeCommentRequest, {"languages": ["en", None]}, False),
        (AnalyzeCommentRequest, {"languages": {"en": 1}}, False),
        (AnalyzeCommentRequest, {"context": {"entries": [None]}}, False),
        (AnalyzeCommentRequest, {"sessionId": 7}, False),
        (AnalyzeCommentRequest, {"storeNot": True}, False),
        (AnalyzeCommentRequest, {"requestedAttributes": {"A": {"scoreThreshold": "0.5"}}}, True),
        (AnalyzeCommentRequest, {"requestedAttributes": {"A": {"scoreThreshold": True}}}, False),
        (SuggestCommentScoreRequest, rated(begin="0", end=1.0, score={"value": "1"}), True),
        (SuggestCommentScoreRequest, rated(begin=0, end=1, score={"value": None}), True),
        (SuggestCommentScoreRequest, rated(begin=0, end=1, score={"value": True}), False),
        (SuggestCommentScoreRequest, rated(begin=0, end=1, score={"value": 1.5}), False),
        (SuggestCommentScoreRequest, rated(begin=None, end=1, score={}), False),
        (SuggestCommentScoreRequest, rated(begin=0, end=True, score={}), False),
    ],
)
def test_the_schema_takes_what_the_service_takes(
    message: type[AnalyzeCommentRequest | SuggestCommentScoreRequest],
    fields: dict[str, Any],
    taken: bool,
) -> None:
    request = {"comment": {"text": "you idiot"}, **fields}
    assert Draft202012Validator(message.model_json_schema()).is_valid(request) is taken
    if taken:
        read(message, json.dumps(request).encode())
    else:
        with pytest.raises(Problem):
            read(message, json.dumps(request).encode())


def test_the_document_tells_scores_in_answers_from_those_in_requests() -> None:
    schemas = create_app(Settings()).openapi()["components"]["schemas"]
    told = {"value": "0.5", "type": None}
    assert Draft202012Validator(schemas["Score"]).is_valid(told)
    assert not Draft202012Validator(schemas["Score-Output"]).is_valid(told)
    assert Draft202012Validator(schemas["Score-Output"]).is_valid({"value": 0.5})


class TestOverHttp:
    """With the shipped policy, as `moderation serve` runs it."""

    def test_a_comment(self, client: httpx.Client) -> None:
        response = client.post(f"{ANALYZE}?key=abc&alt=json", json=said("you are an idiot"))
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        [(begin, end, score)] = spans(response.json())
        assert (begin, end) == (0, 16)
        assert score > 0.5

    def test_long_html_with_spans(self, client: httpx.Client) -> None:
        source = "<p>You idiot.</p><p>Have a nice day.</p>" * 200
        context = {"entries": [{"text": "what they said " * 5_000}] * 3}
        request = said("", spanAnnotations=True, languages=["en"], context=context)
        request["comment"] = {"text": source, "type": "HTML"}
        response = client.post(ANALYZE, json=request)
        found = spans(response.json())
        assert 1 < len(found) <= MAX_SPANS
        assert source[found[0][0] : found[0][1]].startswith("You idiot.")

    @pytest.mark.parametrize(
        ("body", "status", "word"),
        [
            (b"{", 400, "INVALID_ARGUMENT"),
            (b"[]", 400, "INVALID_ARGUMENT"),
            (b"", 400, "INVALID_ARGUMENT"),
            (b'{"comment": {"text": "\xff"}}', 400, "INVALID_ARGUMENT"),
            (b'{"comment": {"text": 7}}', 400, "INVALID_ARGUMENT"),
            (b'{"comment": "secret words"}', 400, "INVALID_ARGUMENT"),
            (b'{"comment": {"text": "x", "secret words": 1}}', 400, "INVALID_ARGUMENT"),
            (b'{"comment": {"text": "x", "type": "secret words"}}', 400, "INVALID_ARGUMENT"),
            (b'{"requestedAttributes": {"secret words": {"a": 1}}}', 400, "INVALID_ARGUMENT"),
            (b'{"comment": {"text": "' + b"x" * 1_000_000 + b'"}}', 413, "INVALID_ARGUMENT"),
        ],
    )
    def test_what_is_no_request(
        self,
        client: httpx.Client,
        caplog: pytest.LogCaptureFixture,
        body: bytes,
        status: int,
        word: str,
    ) -> None:
        with caplog.at_level(logging.DEBUG, "moderation"):
            response = client.post(f"{ANALYZE}?key=secret", content=body)
            assert "secret" not in logged(caplog)
        error = response.json()["error"]
        assert (response.status_code, error["code"], error["status"]) == (status, status, word)
        assert error["details"][0]["errorType"] == "INVALID_REQUEST"
        assert "secret" not in response.text

    def test_the_most_nested_body(self, client: httpx.Client) -> None:
        response = client.post(ANALYZE, content=b'{"comment":' * 50_000)
        assert response.status_code == 400

    def test_snake_case_and_null_as_protocol_buffers_read_them(self, client: httpx.Client) -> None:
        request = {
            "comment": {"text": "hello", "type": None},
            "requested_attributes": {"TOXICITY": {"score_threshold": "0.0"}},
            "do_not_store": True,
            "context": None,
        }
        assert client.post(ANALYZE, json=request).status_code == 200

    def test_half_an_emoji(self, client: httpx.Client) -> None:
        body = json.dumps(said("cut here \ud83d", languages=["en"])).encode()
        response = client.post(ANALYZE, content=body)
        assert spans(response.json())[0][:2] == (0, 10)

    def test_unknown_paths_and_methods(self, client: httpx.Client) -> None:
        missing = client.post("/v1alpha1/comments:guess", json={})
        assert (missing.status_code, missing.json()["error"]["status"]) == (404, "NOT_FOUND")
        wrong = client.get(ANALYZE)
        assert (wrong.status_code, wrong.json()["error"]["code"]) == (405, 405)
        assert client.get("/$discovery/rest?version=v2").status_code == 404

    def test_suggestions_are_kept_unless_that_is_not_wanted(
        self, client: httpx.Client, kept: Path
    ) -> None:
        request = {
            "comment": {"text": "I should know what they think about it"},
            "attributeScores": {"TOXICITY": {"summaryScore": {"value": 1}}},
            "clientToken": "t",
        }
        response = client.post(f"{SUGGEST}?key=abc", json=request)
        assert response.json() == {"clientToken": "t", "detectedLanguages": ["en"]}
        private = client.post(SUGGEST, json={**request, "doNotStore": True, "languages": ["en"]})
        assert private.json()["requestedLanguages"] == ["en"]
        [row] = [json.loads(line) for line in kept.read_text().splitlines()]
        assert (row["text"], row["toxic"]) == (request["comment"]["text"], 1.0)
        assert kept.stat().st_mode & 0o777 == 0o600
        client.post(ANALYZE, json=said("nothing of this is stored"))
        assert len(kept.read_text().splitlines()) == 1

    def test_discovery_names_this_host(self, client: httpx.Client) -> None:
        document = client.get("/$discovery/rest?version=v1alpha1").json()
        assert document["rootUrl"] == f"{client.base_url}/"
        methods = document["resources"]["comments"]["methods"]
        assert {each["path"] for each in methods.values()} == {ANALYZE[1:], SUGGEST[1:]}


def test_keys(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a-long-enough-key\n")
    with hosted(Settings(policies=("perspective",), keys=keys)) as url:

        def post(query: str = "", **headers: str) -> httpx.Response:
            return httpx.post(
                f"{url}{ANALYZE}{query}", json=said("hello"), headers=headers, timeout=WAIT
            )

        missing = post().json()["error"]
        assert (missing["code"], missing["status"]) == (403, "PERMISSION_DENIED")
        wrong = post("?key=another-long-key").json()["error"]
        assert wrong["message"] == "API key not valid. Please pass a valid API key."
        assert wrong["details"][0]["reason"] == "API_KEY_INVALID"
        assert post("?key=a-long-enough-key").status_code == 200
        assert post(**{"x-goog-api-key": "a-long-enough-key"}).status_code == 200
        assert httpx.get(f"{url}/$discovery/rest", timeout=WAIT).status_code == 200


def test_overload_is_said_as_google_says_it() -> None:
    status, body = FACE.error(Problem(429, "overloaded", "try again", headers={"Retry-After": "1"}))
    assert (status, body["error"]["status"]) == (429, "RESOURCE_EXHAUSTED")
    assert body["error"]["details"][0]["reason"] == "RATE_LIMIT_EXCEEDED"
