"""A guard model as a filter: Llama Guard 3 and 4, Qwen3Guard, in process or behind a server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import ConfigDict, Field, PrivateAttr, model_validator

from moderation.content import Content, Message
from moderation.errors import ArtifactError
from moderation.filter import Filter, Finding
from moderation.guards.answers import FORMS, Form, Judgement, form_of
from moderation.hub import Model, ModelName, is_gated, locate
from moderation.taxonomy import categories_of
from moderation.verdict import Signal

if TYPE_CHECKING:
    from moderation.guards.local import LocalGuard
    from moderation.guards.served import ServedGuard

UNSAFE = "unsafe"
"""The category of the guard's verdict as a whole, whatever it lists."""

OVERLAP = 8
"""Two neighbouring windows share one part in so many."""

Key = Annotated[str, Field(pattern=r"^[A-Za-z][\w-]{0,31}$")]
Wording = Annotated[str, Field(min_length=1, max_length=2000, pattern=r"^[^<>|]*\S[^<>|]*$")]


class LlamaGuardFilter(Filter):
    """Asks a guard model whether the last message of a conversation is unsafe, and in what way.

    P(unsafe) is reported as `unsafe`, and, from `decode_from`, as each category that the guard
    lists: under its own name (`llama_guard/S10`) and under ours (`identity_attack`). A part is the
    turn that follows `Content.context`.
    """

    model_config = ConfigDict(populate_by_name=True)
    name: ClassVar[str] = "llama_guard"

    backend: Literal["transformers", "openai"] = "transformers"
    """In this process, or a server that speaks the OpenAI chat protocol."""
    model: ModelName = "meta-llama/Llama-Guard-3-1B"
    """Its name on the Hub or a folder (`./guard`); with a server, the name it serves it by."""
    revision: str | None = None
    """A branch, tag or commit on the Hub."""
    form: Literal["llama_guard", "qwen3_guard"] | None = None
    """How the model answers; told from its name unless given."""
    wordings: dict[Key, Wording] = Field(default_factory=dict, alias="categories")
    """Wordings for the prompt by key, as in {S10: …, S15: …}: the model's own, and further ones."""
    excluded_category_keys: tuple[str, ...] = ()
    """Keys that are left out of the prompt."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Category of ours that a key is reported as, in place of what the taxonomy says."""
    decode_from: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """Probability of any word but safe from which the categories are decoded (`transformers`)."""
    window: Annotated[int, Field(ge=64)] = 8000
    """Bytes of a text that are judged at once; a longer one is read in windows that overlap."""
    context: Annotated[int, Field(ge=0)] = 8000
    """Bytes of earlier turns that the guard reads; the oldest are left out first."""

    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Of the weights (`transformers`)."""
    device_map: str = "auto"
    """Where the weights go, as accelerate reads it (`transformers`)."""
    batch_tokens: Annotated[int, Field(ge=1)] = 8192
    """Tokens that one forward pass computes (`transformers`)."""

    url: Annotated[str, Field(pattern=r"^https?://[^\s@?#]+$")] | None = None
    """What stands before /chat/completions, as in http://localhost:8000/v1 (`openai`)."""
    key_variable: str | None = None
    """The environment variable that holds the server's API key (`openai`)."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """Requests that the server gets at the same time (`openai`)."""
    retries: Annotated[int, Field(ge=0, le=10)] = 3
    """Further tries where the server is busy or the connection breaks (`openai`)."""
    deadline: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 10.0
    """Seconds for all contents of one call, retries included (`openai`)."""

    _guard: LocalGuard | ServedGuard | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.backend == "openai" and self.url is None:
            raise ValueError("url: the backend openai needs the address of its server")
        if self.backend == "transformers" and self.url is not None:
            raise ValueError("url: only the backend openai asks a server; set backend: openai")
        form = self._form
        if (self.wordings or self.excluded_category_keys) and not form.custom:
            raise ValueError(
                f"categories and excluded_category_keys: {form.system} has a fixed policy; use "
                "thresholds to act on some of its categories only"
            )
        known = dict.fromkeys([*form.keys, *self.wordings])
        for option, keys in (
            ("excluded_category_keys", self.excluded_category_keys),
            ("labels", tuple(self.labels)),
        ):
            for key in keys:
                if key not in known:
                    raise ValueError(f"{option}: no category {key!r}; known: {', '.join(known)}")
        if not self._keys:
            raise ValueError("excluded_category_keys: expected to leave a category, found none")
        return self

    @property
    def _form(self) -> Form:
        return FORMS[self.form or form_of(str(self.model))]

    @property
    def _keys(self) -> tuple[str, ...]:
        """Keys that the prompt holds."""
        keys = dict.fromkeys([*self._form.keys, *self.wordings])
        return tuple(key for key in keys if key not in self.excluded_category_keys)

    def _reported_as(self, key: str) -> tuple[str, ...]:
        system = self._form.system
        ours = (self.labels[key],) if key in self.labels else categories_of(system, key)
        return (f"{system}/{key}", *ours)

    def categories(self) -> Iterable[str]:
        named = (category for key in self._keys for category in self._reported_as(key))
        return list(dict.fromkeys([UNSAFE, *named]))

    def models(self) -> Iterable[Model]:
        if self.backend == "openai":
            return [Model(str(self.model), server=self.url or "")]
        return [Model.of(self.model, self.revision)]

    def load(self) -> None:
        if self.backend == "openai":
            from moderation.guards.served import ServedGuard

            assert self.url is not None
            self._guard = ServedGuard(
                self.url,
                self.model.name if isinstance(self.model, Path) else self.model,
                self._form,
                categories=self.wordings,
                excluded=self.excluded_category_keys,
                key_variable=self.key_variable,
                concurrency=self.concurrency,
                retries=self.retries,
                deadline=self.deadline,
            )
            return
        from moderation.guards.local import LocalGuard

        self._guard = LocalGuard(
            self._folder(),
            self._form,
            categories=self.wordings,
            excluded=self.excluded_category_keys,
            dtype=self.dtype,
            device_map=self.device_map,
            batch_tokens=self.batch_tokens,
            decode_from=self.decode_from,
        )

    def _folder(self) -> Path:
        try:
            return locate(Model.of(self.model, self.revision))
        except ArtifactError as error:
            if not is_gated(str(self.model)):
                raise
            raise ArtifactError(
                f"{error}; or use a server that has it (backend: openai, url: …), or the ungated "
                "model: Qwen/Qwen3Guard-Gen-0.6B"
            ) from None

    def fingerprint(self) -> str:
        from moderation.guards.local import LocalGuard

        model = self._guard.fingerprint() if isinstance(self._guard, LocalGuard) else ""
        return hashlib.sha256(f"{super().fingerprint()} {model}".encode()).hexdigest()[:12]

    def check_batch(self, contents: Sequence[Content]) -> list[list[Finding]]:
        assert self._guard is not None, "load() comes before check_batch()"
        conversations: list[tuple[Message, ...]] = []
        owners: list[tuple[int, int, str]] = []
        for number, content in enumerate(contents):
            turns, left_out = recent_turns(content.context, self.context)
            # The template knows two speakers in turn: who answers a user is the assistant.
            role: Literal["user", "assistant"] = (
                "assistant" if turns and turns[-1].role == "user" else "user"
            )
            for index, part in enumerate(content.parts):
                places = list(windows(part.text, self.window))
                notes = [f"{left_out} earlier turns left out"] if left_out else []
                if len(places) > 1:
                    notes.append(f"the highest of {len(places)} windows")
                for begin, end in places:
                    conversations.append((*turns, Message(role, part.text[begin:end])))
                    owners.append((number, index, "; ".join(notes)))
        findings: list[list[Finding]] = [[] for _ in contents]
        best: dict[tuple[int, int, str], Signal] = {}
        judgements = self._guard.judge(conversations)
        for (number, index, note), judgement in zip(owners, judgements, strict=True):
            for signal in self._signals(judgement, index, note):
                place = number, index, signal.category
                if place not in best or signal.score > best[place].score:
                    best[place] = signal
        for (number, _, _), signal in best.items():
            findings[number].append(signal)
        return findings

    def _signals(self, judgement: Judgement, part: int, note: str) -> Iterator[Signal]:
        known = [key for key in dict.fromkeys(judgement.keys) if key in self._keys]
        notes = [note] if note else []
        if judgement.note:
            notes.append(judgement.note)
        if len(known) < len(set(judgement.keys)):
            notes.append("it also listed a category that the policy does not have")
        told = "; ".join(notes)
        yield Signal(UNSAFE, judgement.score, None, part, told)
        reasons: dict[str, list[str]] = {}
        for key in known:
            title = self.wordings.get(key) or self._form.titles.get(key, "")
            short = f"{key} {title.splitlines()[0][:60].strip(' .')}" if title else key
            for category in self._reported_as(key):
                reasons.setdefault(category, []).append(short)
        for category, because in reasons.items():
            reason = "; ".join([", ".join(because), *notes])
            yield Signal(category, judgement.score, None, part, reason)


def recent_turns(context: Sequence[Message], limit: int) -> tuple[tuple[Message, ...], int]:
    """The newest turns that fit into `limit` bytes, and how many messages were left out.

    Neighbouring messages of one role become one turn, and a conversation begins with the user, as
    the templates of guards want it.
    """
    kept: list[Message] = []
    left_out = len(context)
    for message in reversed(context):
        limit -= len(message.text.encode())
        if limit < 0:
            break
        left_out -= 1
        if kept and kept[-1].role == message.role:
            kept[-1] = Message(message.role, f"{message.text}\n{kept[-1].text}")
        else:
            kept.append(message)
    if kept and kept[-1].role == "assistant":
        kept.append(Message("user", ""))
    return tuple(reversed(kept)), left_out


def windows(text: str, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of pieces of at most `size` UTF-8 bytes, cut between words, that overlap.

    Bytes, since no tokenizer of a guard makes more tokens of a text than it has bytes.
    """
    begin = 0
    while True:
        piece = text[begin : begin + size].encode()[:size].decode(errors="ignore")
        end = begin + len(piece)
        if end >= len(text):
            yield begin, end
            return
        # Cut at the last blank of the second half, if there is one.
        half = len(piece) // 2
        blank = re.search(r"\s\S*$", piece[half:])
        if blank:
            end = begin + max(1, half + blank.start())
        yield begin, end
        begin = end - (end - begin) // OVERLAP
