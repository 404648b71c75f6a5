"""A guard in this process, on transformers: one forward pass for a batch of conversations.

What stands before the conversation (the task and the policy) is the same for every request. Its
keys and values are computed once for each role that may be judged and shared by every row of every
batch: an expanded view, not a copy.
"""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from moderation.content import Message
from moderation.errors import ArtifactError, FilterError, MissingExtraError
from moderation.guards.answers import Defuser, Form, Judgement

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MAX_ANSWER = 64
"""Tokens of the category list."""
MIN_MASS = 0.5
"""Probability that the words of the answer's form must have together at their position."""

_BLOCK = re.compile(
    r"(<BEGIN UNSAFE CONTENT CATEGORIES>\n)(.*?)(\n?<END UNSAFE CONTENT CATEGORIES>)", re.DOTALL
)
_KEY = re.compile(r"^(S\d+): ?(.*)$", re.MULTILINE)
# Different first characters and tokens: what their prompts share is what every prompt shares.
_PROBES = ("a", "Zebra", "7", "(", "\u00e9", "\u4e2d", "\U0001f600", '"', "-", "...")


class _Prefix(NamedTuple):
    """The start that all prompts for one role share, and what the layers made of it."""

    ids: list[int]
    cache: Any


class LocalGuard:
    """Safe to share between threads: every call has a cache of its own."""

    def __init__(
        self,
        folder: Path,
        form: Form,
        *,
        categories: Mapping[str, str],
        excluded: Sequence[str],
        dtype: str = "auto",
        device_map: str = "auto",
        batch_tokens: int = 8192,
        decode_from: float = 0.5,
        reuse_prefix: bool = True,
    ) -> None:
        """Load what lies in `folder`.

        Args:
            folder: config, tokenizer with its chat template, weights as safetensors.
            form: how the model answers.
            categories: wordings by key, in place of the model's own or beside them.
            excluded: keys that the prompt leaves out.
            dtype: "auto" is the checkpoint's, but float32 on a CPU without bfloat16 instructions.
            device_map: as accelerate reads it.
            batch_tokens: tokens that one forward pass computes, padding included.
            decode_from: probability of any word but safe from which the categories are decoded.
            reuse_prefix: False computes every prompt as a whole, for comparison.

        Raises:
            MissingExtraError: torch, transformers or accelerate is not installed.
            ArtifactError: the folder's model cannot be used as such a guard.
        """
        try:
            import accelerate  # noqa: F401  # for device_map
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError(
                error.name or "transformers", extra="guard", needed_for="the filter llama_guard"
            ) from None
        self._torch = torch
        self._form = form
        self._categories, self._excluded = dict(categories), tuple(excluded)
        self._batch_tokens, self._decode_from = batch_tokens, decode_from
        try:
            self._tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, local_files_only=True
            )
            reader: Any = AutoModelForCausalLM  # its types do not know output_loading_info
            loaded: tuple[PreTrainedModel, dict[str, Any]] = reader.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                device_map=device_map,
                dtype=self._dtype(dtype),
                output_loading_info=True,
            )
        except Exception as error:  # the libraries below raise anything, a bare Exception included
            raise ArtifactError(
                f"{folder}: cannot be loaded as a language model ({error}); fetch it again, or "
                "check that the folder holds the model as published"
            ) from error
        self._model, report = loaded
        if report["missing_keys"]:  # made up at random otherwise
            raise ArtifactError(
                f"{folder}: the weights lack {len(report['missing_keys'])} of the model's tensors, "
                f"such as {sorted(report['missing_keys'])[0]}; fetch it again"
            )
        model: Any = self._model
        self._device: torch.device = model.get_input_embeddings().weight.device
        self._head, self._decoder = model.get_output_embeddings(), model.get_decoder()
        if self._decoder is model:  # Llama 4's language model without its eyes
            self._decoder = model.model
        if not self._tokenizer.chat_template:
            raise ArtifactError(f"{folder}: its tokenizer has no chat template")
        self._defused = Defuser(self._tokenizer.get_added_vocab())
        self._blocks = self._wants_blocks()
        self._block: str | None = None
        self._options = self._template_options()
        self._words = self._word_ids()
        self._stops = self._stop_ids()
        self._prefixes: dict[str, _Prefix] = {}
        if reuse_prefix:
            self._prefixes = {role: self._read_prefix(role) for role in ("user", "assistant")}

    def judge(self, conversations: Sequence[Sequence[Message]]) -> list[Judgement]:
        """What the guard says of the last message of each conversation.

        Raises:
            FilterError: an answer is not of the guard's form.
        """
        rows = self._encode([self.prompt(conversation) for conversation in conversations])
        groups: dict[str, list[int]] = {}
        for index, conversation in enumerate(conversations):
            role: str = conversation[-1].role
            prefix = self._prefixes.get(role)
            # A prompt that does not begin as the others do is computed as a whole.
            shared = prefix is not None and rows[index][: len(prefix.ids)] == prefix.ids
            groups.setdefault(role if shared else "", []).append(index)
        judgements: dict[int, Judgement] = {}
        with self._torch.inference_mode():
            for shared_by, indexes in groups.items():
                prefix = self._prefixes.get(shared_by)
                known = len(prefix.ids) if prefix else 0
                indexes.sort(key=lambda index: len(rows[index]))
                for batch in self._batches(indexes, [len(row) - known for row in rows]):
                    answers = self._judge_batch([rows[index][known:] for index in batch], prefix)
                    judgements.update(zip(batch, answers, strict=True))
        return [judgements[index] for index in range(len(rows))]

    def fingerprint(self) -> str:
        """12 hexadecimal digits over the chat template and samples of every weight."""
        digest = hashlib.sha256(str(self._tokenizer.chat_template).encode())
        for name, weights in sorted(self._model.state_dict().items()):
            flat = weights.flatten()
            sample = flat[:: max(1, flat.numel() // 64)] if flat.device.type != "meta" else flat[:0]
            digest.update(f"{name} {tuple(weights.shape)}".encode())
            digest.update(sample.float().cpu().numpy().tobytes())
        return digest.hexdigest()[:12]

    def _dtype(self, dtype: str) -> Any:
        torch = self._torch
        if dtype != "auto":
            return getattr(torch, dtype)
        on_accelerator = torch.cuda.is_available() or torch.backends.mps.is_available()
        if on_accelerator or torch.ops.mkldnn._is_mkldnn_bf16_supported():
            return "auto"
        return torch.float32

    # The prompt

    def _render(self, conversation: Sequence[Message], **options: Any) -> str:
        messages: list[Any] = [
            {
                "role": message.role,
                "content": [{"type": "text", "text": text}] if self._blocks else text,
            }
            for message in conversation
            for text in [self._defused(message.text)]
        ]
        prompt = self._tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True, **options
        )
        assert isinstance(prompt, str)
        return prompt

    def prompt(self, conversation: Sequence[Message]) -> str:
        """What the model reads, up to where it writes its word."""
        prompt = self._render(conversation, **self._options)
        if self._block is not None:
            block = self._block
            prompt = _BLOCK.sub(lambda match: match[1] + block + match[3], prompt, count=1)
        # What the model always writes before its word is put there, unless the template has.
        return prompt if prompt.endswith(self._form.lead) else prompt + self._form.lead

    def _encode(self, prompts: Sequence[str]) -> list[list[int]]:
        encoded = self._tokenizer(
            list(prompts), add_special_tokens=False, padding=False, truncation=False
        )
        ids: list[list[int]] = encoded["input_ids"]
        return ids

    def _wants_blocks(self) -> bool:
        """Whether the template takes a message as a list of blocks, as the 1B model's does."""
        from jinja2.exceptions import TemplateError

        probe, fault = "probe-7f3a", ""
        for blocks in (False, True):
            self._blocks = blocks
            try:
                if probe in self._render([Message("user", probe)]):
                    return blocks
            except (TemplateError, TypeError, KeyError) as error:
                fault = f" ({error})"
        raise ArtifactError(
            f"the chat template of the guard does not print a user's message{fault}; fetch the "
            "model again"
        )

    def _template_options(self) -> dict[str, Any]:
        """What makes the template print the policy's categories; sets `_block` where nothing does.

        The templates of the 1B and 11B models take wordings and exclusions, the others print a
        fixed list and ignore what they do not know.
        """
        if not self._categories and not self._excluded:
            return {}
        plain = self._render([Message("user", "probe")])
        block = _BLOCK.search(plain)
        if block is None:
            raise ArtifactError(
                "the chat template of the guard prints no list of categories, so categories and "
                "excluded_category_keys cannot reach it; take them out of the policy"
            )
        # The model's own wordings stand where the policy has none.
        own = dict(_KEY.findall(block[2]))
        wanted = {
            key: text
            for key, text in {**own, **self._categories}.items()
            if key not in self._excluded
        }
        lines = [f"{key}: {text}" for key, text in wanted.items()]
        options = {"categories": wanted, "excluded_category_keys": list(self._excluded)}
        printed = _BLOCK.search(self._render([Message("user", "probe")], **options))
        if printed is not None and printed[2].strip().split("\n") == "\n".join(lines).split("\n"):
            return options
        self._block = "\n".join(lines)
        return {}

    # Tokens

    def _word_ids(self) -> dict[str, list[int]]:
        """The tokens of each word of the answer where it stands after a prompt."""
        start = self.prompt([Message("user", "probe")])
        words = list(self._form.words)
        before, *after = self._encode([start, *(start + word for word in words)])
        found: dict[str, list[int]] = {}
        for word, ids in zip(words, after, strict=True):
            tokens = ids[len(before) :]
            if ids[: len(before)] != before or not tokens:
                raise ArtifactError(
                    f"the guard's tokenizer joins {word!r} with what stands before it, so its "
                    "probability cannot be read; is the answer's form the right one?"
                )
            if self._form.whole_words and len(tokens) != 1:
                raise ArtifactError(
                    f"expected {word!r} to be one token of the guard, found {len(tokens)}; is the "
                    "answer's form the right one?"
                )
            found[word] = tokens
        if len({tokens[0] for tokens in found.values()}) != len(found):
            raise ArtifactError(f"expected words that begin differently, found {', '.join(words)}")
        return found

    def _stop_ids(self) -> list[int]:
        config = self._model.generation_config
        stops = getattr(config, "eos_token_id", None)
        ids = [stops] if isinstance(stops, int) else list(stops or ())
        own = self._tokenizer.eos_token_id
        return sorted({*ids, *([own] if isinstance(own, int) else [])})

    def _read_prefix(self, role: str) -> _Prefix:
        from transformers import DynamicCache

        starts = [[Message("user", probe)] for probe in _PROBES]
        if role == "assistant":
            starts = [[*start, Message("assistant", "probe")] for start in starts]
        rows = self._encode([self.prompt(start) for start in starts])
        same = takewhile(lambda column: len(set(column)) == 1, zip(*rows, strict=False))
        ids = [column[0] for column in same]
        cache = DynamicCache(config=self._model.config)
        if ids:
            with self._torch.inference_mode():
                self._decoder(
                    input_ids=self._torch.tensor([ids], device=self._device),
                    past_key_values=cache,
                    use_cache=True,
                )
        return _Prefix(ids, cache)

    # The forward pass

    def _batches(self, indexes: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
        """Rows of `indexes`, shortest first, so that padded batches stay within the budget."""
        batches: list[list[int]] = []
        for index in indexes:
            if not batches or (len(batches[-1]) + 1) * lengths[index] > self._batch_tokens:
                batches.append([])
            batches[-1].append(index)
        return batches

    def _judge_batch(self, rows: Sequence[list[int]], prefix: _Prefix | None) -> list[Judgement]:
        torch = self._torch
        known = len(prefix.ids) if prefix else 0
        lengths = torch.tensor([len(row) for row in rows], device=self._device)
        longest = max(map(len, rows))
        # Padding right: no row's positions move, and what follows a row is never looked at.
        ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=self._device)
        columns = torch.arange(longest, device=self._device)
        mask = torch.cat(
            [
                torch.ones(len(rows), known, dtype=torch.long, device=self._device),
                (columns < lengths[:, None]).long(),
            ],
            dim=1,
        )
        cache = self._cache(prefix, len(rows))
        hidden = self._decoder(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(known + columns).expand(len(rows), -1),
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        last = hidden[torch.arange(len(rows), device=hidden.device), lengths.to(hidden.device) - 1]
        # Only the last position meets the vocabulary, which is most of a small model's work.
        logits = self._head(last).float()
        words = torch.tensor([tokens[0] for tokens in self._words.values()], device=logits.device)
        chosen = logits[:, words]
        mass = (chosen.logsumexp(1) - logits.logsumexp(1)).exp().tolist()
        if not min(mass) >= MIN_MASS:  # NaN is no answer either
            raise FilterError(
                f"the guard did not answer in its form: the words {self._told_words()} had a "
                f"probability of {min(mass):.2f} together, expected {MIN_MASS:g} or more"
            )
        shares = chosen.softmax(1)
        weights = torch.tensor(list(self._form.words.values()), device=shares.device)
        scores = (shares * weights).sum(1).clamp(0, 1).tolist()
        unsure = (shares * (weights > 0)).sum(1).tolist()
        wanted = [row for row, share in enumerate(unsure) if share >= self._decode_from]
        listed: dict[int, tuple[str, ...]] = {}
        if wanted:
            # Of the words that mean unsafe the likeliest, even where `safe` is likelier still.
            unsafe = shares[wanted].masked_fill(weights == 0, -1).argmax(1).tolist()
            keys = self._decode(wanted, unsafe, cache, mask, known + lengths)
            listed = dict(zip(wanted, keys, strict=True))
        return [Judgement(score, listed.get(row, ())) for row, score in enumerate(scores)]

    def _cache(self, prefix: _Prefix | None, rows: int) -> Any:
        from transformers import DynamicCache

        if prefix is None or not prefix.ids:
            return DynamicCache(config=self._model.config)
        # A layer replaces its tensors when it grows and never writes into them, so all rows of all
        # calls may look at the same memory.
        cache = copy.copy(prefix.cache)
        cache.layers = [copy.copy(layer) for layer in prefix.cache.layers]
        for layer in cache.layers:
            layer.keys = layer.keys.expand(rows, -1, -1, -1)
            layer.values = layer.values.expand(rows, -1, -1, -1)
        return cache

    def _decode(
        self,
        rows: Sequence[int],
        words: Sequence[int],
        cache: Any,
        mask: torch.Tensor,
        positions: torch.Tensor,
    ) -> list[tuple[str, ...]]:
        """The categories that the guard lists after each row's word, greedily."""
        torch = self._torch
        choice = torch.tensor(rows, device=self._device)
        cache.batch_select_indices(choice)
        mask, positions = mask[choice], positions[choice]
        forced = [list(self._words.values())[word] for word in words]
        written: list[list[int]] = [[] for _ in rows]
        done = [False] * len(rows)
        token = [tokens[0] for tokens in forced]
        for step in range(1, MAX_ANSWER):
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)
            hidden = self._decoder(
                input_ids=torch.tensor(token, device=self._device)[:, None],
                attention_mask=mask,
                position_ids=positions[:, None],
                past_key_values=cache,
                use_cache=True,
            ).last_hidden_state
            positions = positions + 1
            token = self._head(hidden[:, -1]).argmax(-1).tolist()
            for row, tokens in enumerate(forced):
                if step < len(tokens):  # the rest of a word that is several tokens
                    token[row] = tokens[step]
                elif token[row] in self._stops:
                    done[row] = True
                elif not done[row]:
                    written[row].append(token[row])
            if all(done):
                break
        texts = self._tokenizer.batch_decode(written, skip_special_tokens=True)
        return [tuple(self._form.listed(text)) for text in texts]

    def _told_words(self) -> str:
        return ", ".join(word.strip() for word in self._form.words)
