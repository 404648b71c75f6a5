"""A guard behind a server that speaks the OpenAI chat protocol: vLLM, llama.cpp, TGI, SGLang.

One client with kept connections, and one pool of threads, bounds what the server is asked at the
same time however many threads ask us.
"""

from __future__ import annotations

import json
import math
import os
import random
import time
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from typing import TYPE_CHECKING, Any

from moderation.content import Message
from moderation.errors import ConfigError, FilterError, FilterTimeout, MissingExtraError
from moderation.guards.answers import Defuser, Form, Judgement

if TYPE_CHECKING:
    import httpx

MAX_ANSWER = 72
"""Tokens: the lead, the word, and the category list."""
MAX_BYTES = 1_000_000
"""Of one response."""
TOP = 5
"""Likeliest tokens asked for at each position."""
FIRST_PAUSE = 0.1
"""Seconds before the first retry; each further pause is twice as long."""
GRACE = 0.1
"""Seconds past the deadline that a request has to say itself what went wrong."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})

NO_LOGPROBS = "the server gives no log-probabilities of its word: the score is 1 or 0"


class _Again(Exception):  # noqa: N818  # not an error yet
    """A try that another may make good, with what went wrong and when the server wants it."""

    def __init__(self, why: str, after: float = 0.0):
        self.why, self.after = why, after


class ServedGuard:
    """Safe to share between threads."""

    def __init__(
        self,
        url: str,
        model: str,
        form: Form,
        *,
        categories: Mapping[str, str],
        excluded: Sequence[str],
        key_variable: str | None = None,
        concurrency: int = 8,
        retries: int = 3,
        deadline: float = 10.0,
    ) -> None:
        """Make the client; the server is first asked when there is something to judge.

        Args:
            url: what stands before ``/chat/completions``.
            model: the name that the server knows the model by.
            form: how the model answers.
            categories: wordings by key, in place of the model's own or beside them.
            excluded: keys that the prompt leaves out.
            key_variable: the environment variable that holds the API key.
            concurrency: requests that the server gets at the same time.
            retries: further tries where the server is busy or the connection breaks.
            deadline: seconds for all conversations of one call, retries included.

        Raises:
            MissingExtraError: httpx is not installed.
            ConfigError: the environment variable is not set.
        """
        try:
            import httpx
        except ImportError:
            raise MissingExtraError(
                "httpx", extra="guard", needed_for="the filter llama_guard"
            ) from None
        headers = {}
        if key_variable is not None:
            key = os.environ.get(key_variable)
            if not key:
                raise ConfigError(
                    f"options.key_variable: the environment variable {key_variable} is not set"
                )
            headers["Authorization"] = f"Bearer {key}"
        self._httpx = httpx
        self._url, self._model, self._form = url.rstrip("/"), model, form
        self._retries, self._deadline = retries, deadline
        self._template: dict[str, Any] = {}
        if categories or excluded:
            # A server cannot be asked for the model's own wordings: the published titles stand in.
            titles = {key: f"{title}." for key, title in form.titles.items()} | dict(categories)
            kept = {key: text for key, text in titles.items() if key not in excluded}
            self._template = {"excluded_category_keys": list(excluded)}
            if categories:
                self._template["categories"] = kept
        self._proved = not self._template
        self._defused = Defuser()
        limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
        self._client = httpx.Client(headers=headers, limits=limits)
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="moderation-guard")
        weakref.finalize(self, _close, self._client, self._pool)

    def judge(self, conversations: Sequence[Sequence[Message]]) -> list[Judgement]:
        """What the guard says of the last message of each conversation.

        Raises:
            FilterTimeout: the server was busy, broken off or silent until the deadline, or until
                no try was left.
            FilterError: the server refused a request, or answered with something else.
        """
        end = time.monotonic() + self._deadline
        if not self._proved:
            self._prove(conversations[0], end)
        futures = [self._pool.submit(self._judge, each, end) for each in conversations]
        try:
            return [future.result(max(0.0, end - time.monotonic()) + GRACE) for future in futures]
        except FutureTimeout:
            raise self._late("") from None
        finally:
            _cancel(futures)

    def _judge(self, conversation: Sequence[Message], end: float) -> Judgement:
        return self._read(self._ask(self._body(conversation, self._template), end))

    def _body(self, conversation: Sequence[Message], template: Mapping[str, Any]) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [
                {"role": message.role, "content": self._defused(message.text)}
                for message in conversation
            ],
            "temperature": 0,
            "max_tokens": MAX_ANSWER,
            "logprobs": True,
            "top_logprobs": TOP,
        }
        if template:
            body["chat_template_kwargs"] = template
        return body

    def _prove(self, conversation: Sequence[Message], end: float) -> None:
        """Make sure that the policy's categories reach the prompt: some servers ignore them."""
        counts = [
            self._ask({**self._body(conversation, template), "max_tokens": 1}, end)
            for template in ({}, self._template)
        ]
        plain, changed = (_tokens(answer) for answer in counts)
        if plain is not None and plain == changed:
            raise FilterError(
                "the server's prompt stays the same with categories and excluded_category_keys: "
                "it ignores chat_template_kwargs, or the model's template has no place for them; "
                "serve Llama-Guard-3-1B with vLLM or llama.cpp, or take them out of the policy"
            )
        self._proved = True

    # The wire

    def _ask(self, body: Mapping[str, Any], end: float) -> Any:
        """The server's answer, after as many tries as it takes and there is time for."""
        pause = FIRST_PAUSE
        for left in range(self._retries, -1, -1):
            try:
                return self._try(body, end)
            except _Again as error:
                # A little chance, so that requests that failed together do not return together.
                wait = max(error.after, pause * random.uniform(0.5, 1))
                if not left or time.monotonic() + wait >= end:
                    raise self._late(error.why) from None
                time.sleep(wait)
                pause *= 2
        raise AssertionError("the last try returns or raises")

    def _try(self, body: Mapping[str, Any], end: float) -> Any:
        httpx = self._httpx
        left = end - time.monotonic()
        if left <= 0:
            raise _Again("no time left")
        try:
            with self._client.stream(
                "POST", f"{self._url}/chat/completions", json=body, timeout=left
            ) as response:
                data = bytearray()
                for chunk in response.iter_bytes():
                    data += chunk
                    if len(data) > MAX_BYTES:
                        raise FilterError(f"the server answered with more than {MAX_BYTES:,} bytes")
                    if time.monotonic() > end:  # a timeout is for one read; a trickle has many
                        raise _Again("an answer that trickles")
        except httpx.ConnectError:
            raise _Again("it cannot be reached") from None
        except httpx.TimeoutException:
            raise _Again("no answer") from None
        except httpx.TransportError:
            raise _Again("the connection broke off") from None
        except httpx.DecodingError:
            raise FilterError("the server's answer is not encoded as it says") from None
        status = response.status_code
        if status in _BUSY:
            raise _Again(f"status {status}", _seconds(response.headers.get("retry-after")))
        if status in (401, 403):
            raise FilterError(
                f"the server refused with status {status}; set options.key_variable to the "
                "environment variable that holds its API key"
            )
        if status == 404:
            raise FilterError(
                "the server answered with status 404; check options.url, which ends before "
                "/chat/completions (with vLLM: http://host:8000/v1), and options.model"
            )
        if status != 200:
            raise FilterError(f"the server answered with status {status}, expected 200")
        try:
            return json.loads(data)
        except ValueError:
            raise FilterError("the server answered with something that is not JSON") from None

    def _late(self, why: str) -> FilterTimeout:
        # A timeout, so that the engine does not ask a server that is down once for every content.
        told = f": {why}" if why else ""
        return FilterTimeout(
            f"no usable answer from {self._url} within {self._deadline:g} s and "
            f"{self._retries} retries{told}"
        )

    # The answer

    def _read(self, answer: Any) -> Judgement:
        try:
            choice = answer["choices"][0]
            text = choice["message"]["content"]
            found = self._form.read(text)
        except (KeyError, IndexError, TypeError, AttributeError):
            raise FilterError(
                "the server's answer is not a chat completion: it has no choices[0].message.content"
            ) from None
        if found is None:
            words = ", ".join(word.strip() for word in self._form.words)
            raise FilterError(f"the guard did not answer in its form: expected one of {words}")
        word, rest = found
        keys = tuple(self._form.listed(rest)) if self._form.words[word] else ()
        shares = self._shares(choice.get("logprobs"), word)
        if shares is None:
            return Judgement(self._form.words[word], keys, NO_LOGPROBS)
        score = sum(self._form.words[each] * share for each, share in shares.items())
        return Judgement(min(1.0, max(0.0, score)), keys)

    def _shares(self, logprobs: Any, word: str) -> dict[str, float] | None:
        """Probability of each word of the form at the position where the answer has its word.

        A word that is not among the likeliest tokens there is given the most that it can have: no
        more than the least likely of them, and no more than they leave over.
        """
        try:
            position = next(
                each for each in logprobs["content"] if self._begins(word, each["token"])
            )
            listed = {each["token"]: each["logprob"] for each in position["top_logprobs"]}
            listed[position["token"]] = position["logprob"]
            likely = {token: math.exp(float(value)) for token, value in listed.items()}
        except (StopIteration, KeyError, TypeError, ValueError, OverflowError):
            return None
        if not all(0 <= value <= 1.001 for value in likely.values()):
            return None
        rest = min(min(likely.values()), max(0.0, 1 - sum(likely.values())))
        found = {
            each: max((p for token, p in likely.items() if self._begins(each, token)), default=rest)
            for each in self._form.words
        }
        total = sum(found.values())
        return {each: share / total for each, share in found.items()} if total > 0 else None

    def _begins(self, word: str, token: Any) -> bool:
        """Whether `token` is the word, or, where words may be several tokens, its beginning."""
        if not isinstance(token, str) or not token.strip():
            return False
        if token.strip() == word.strip():
            return True
        return not self._form.whole_words and len(token.strip()) > 1 and word.startswith(token)


def _tokens(answer: Any) -> int | None:
    try:
        count = answer["usage"]["prompt_tokens"]
    except (KeyError, TypeError):
        return None
    return count if isinstance(count, int) else None


def _seconds(header: str | None) -> float:
    try:
        return max(0.0, float(header or 0))
    except ValueError:  # a date: the pause of our own will do
        return 0.0


def _close(client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    client.close()


def _cancel(futures: Sequence[Future[Judgement]]) -> None:
    for future in futures:
        future.cancel()
