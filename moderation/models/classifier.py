"""Texts to probabilities and spans, by any model artifact."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from moderation.errors import ArtifactError
from moderation.models.artifact import (
    GRAPH_FILE,
    TOKENIZER_FILE,
    ModelCard,
    fingerprint,
    read_card,
)

if TYPE_CHECKING:
    import onnxruntime
    import tokenizers

# Texts are encoded this many at a time, or this many characters if that is fewer, so that a batch
# of a million, or one text of a megabyte, needs no more memory than a page of tweets.
CHUNK_TEXTS = 1024
CHUNK_CHARACTERS = 250_000
# A longer text is encoded in pieces that share this many characters.
PIECE = 20_000
PIECE_OVERLAP = 500
# Windows are run this many at a time, where two cores are fastest, and at most so many tokens.
SHORT = 16
"""Tokens up to which all rows may share a batch: a call costs about as much as such a row."""
PADDING = 1.1
"""Longest row of a batch, over its shortest."""
BATCH_ROWS = 64
BATCH_TOKENS = 8192
FAINT = 0.1
"""A word less toxic than this is never pointed at for being the most toxic of its text."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Span(NamedTuple):
    """Characters begin to end (end not included) of a text, and how toxic they are, 0 to 1."""

    begin: int
    end: int
    score: float


class Prediction(NamedTuple):
    """What a model says of one text: a probability for each label, and the words it points at."""

    probabilities: NDArray[np.float32]
    spans: list[Span]


class Classifier:
    """A trained model, ready to read texts. Thread-safe: share one instance.

    A text's answer does not depend on the texts beside it: lengths go into the network, and no
    quantisation scale is computed from a batch. A text longer than the model's window is read in
    overlapping windows; of a multi-label model the highest score counts, of a multi-class model
    the mean.
    """

    card: ModelCard
    labels: tuple[str, ...]
    languages: tuple[str, ...]
    fingerprint: str

    def __init__(
        self,
        card: ModelCard,
        session: onnxruntime.InferenceSession,
        tokenizer: tokenizers.Tokenizer,
        fingerprint: str,
    ) -> None:
        self.card = card
        self.labels = card.labels
        self.languages = card.languages
        self.fingerprint = fingerprint
        self._session = session
        self._tokenizer = tokenizer
        self._scale = np.asarray(card.calibration.scale, np.float32)
        self._offset = np.asarray(card.calibration.offset, np.float32)

    @classmethod
    def load(cls, path: str | Path, *, threads: int | None = None) -> Classifier:
        """Reads a model folder; `threads` bounds the cores used for one call (default: all).

        Raises ArtifactError, naming the file and the remedy, where anything about the folder is
        not as its model.json says.
        """
        folder = Path(path)
        card = read_card(folder)
        import tokenizers

        try:
            tokenizer = tokenizers.Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        except Exception as error:  # the library raises nothing narrower
            raise ArtifactError(
                f"{folder / TOKENIZER_FILE}: not a tokenizer that tokenizers "
                f"{tokenizers.__version__} can read; upgrade tokenizers, or export the model again"
            ) from error
        tokenizer.no_padding()
        tokenizer.enable_truncation(card.max_length, stride=card.stride)

        session = open_session(folder / GRAPH_FILE, threads)
        outputs = {output.name: output.shape for output in session.get_outputs()}
        inputs = {value.name for value in session.get_inputs()}
        if inputs != {"input_ids", "lengths"} or set(outputs) != {"logits", "token_logits"}:
            raise ArtifactError(
                f"{folder / GRAPH_FILE}: expected inputs input_ids and lengths and outputs logits "
                "and token_logits; export the model again"
            )
        if outputs["logits"][-1] != len(card.labels):
            raise ArtifactError(
                f"{folder / GRAPH_FILE}: {outputs['logits'][-1]} outputs, but model.json names "
                f"{len(card.labels)} labels; export the model again"
            )
        return cls(card, session, tokenizer, fingerprint(folder, card))

    def with_spans(self, threshold: float, ratio: float | None = None) -> Classifier:
        """The same model, pointing at words by another rule; see `predict`."""
        card = self.card.model_copy(update={"span_threshold": threshold, "span_ratio": ratio})
        return Classifier(card, self._session, self._tokenizer, self.fingerprint)

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Calibrated probabilities, [n, labels], in the order of `labels`."""
        return self._probabilities(self.logits(texts))

    def predict(self, texts: Sequence[str]) -> list[Prediction]:
        """Probabilities and spans of each text, out of one pass of the network.

        Spans are in characters of the text given, in order, and do not overlap. They hold the
        words that reach the card's `span_threshold`; with a `span_ratio`, also those that reach
        that share of the text's most toxic word, if that one reaches FAINT: of a text that is
        mildly rude, its rudest words. A model without a token output gives none.
        """
        logits, spans = self._read(texts, self.card.span_threshold)
        return list(map(Prediction, self._probabilities(logits), spans))

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """What calibration is fitted on: the network's outputs, [n, labels]."""
        return self._read(texts, None)[0]

    def _probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = logits * self._scale + self._offset
        if self.card.task == "multi_label":
            # The form of the sigmoid that cannot overflow.
            half = np.float32(0.5)
            result: NDArray[np.float32] = np.tanh(scores * half) * half + half
            return result
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares: NDArray[np.float32] = scores / scores.sum(axis=1, keepdims=True)
        return shares

    def _read(
        self, texts: Sequence[str], span_threshold: float | None
    ) -> tuple[NDArray[np.float32], list[list[Span]]]:
        shape = (len(texts), len(self.labels))
        highest = np.full(shape, -np.inf, np.float32)
        total = np.zeros(shape, np.float32)
        windows = np.zeros((len(texts), 1), np.float32)
        spans: list[list[Span]] = [[] for _ in texts]
        level = faint = np.inf
        ratio = self.card.span_ratio
        if span_threshold is not None:
            level = faint = _logit(span_threshold)
            if ratio is not None:
                faint = min(level, _logit(FAINT))
        candidates: list[tuple[_Piece, tokenizers.Encoding, NDArray[np.float32]]] = []
        for pieces in _chunks(texts):
            encodings, owners = self._encode(pieces)
            logits, tokens = self._run(encodings)
            texts_of = np.asarray([pieces[owner].text for owner in owners])
            np.maximum.at(highest, texts_of, logits)
            np.add.at(total, texts_of, logits)
            np.add.at(windows, texts_of, 1)
            for owner, encoding, values in zip(owners, encodings, tokens, strict=True):
                # Words are costly to look at, and most texts have nothing to point at.
                if values.max(initial=-np.inf) >= faint:
                    candidates.append((pieces[owner], encoding, values))
        levels: dict[int, float] = {}
        if ratio is not None and span_threshold is not None:
            for piece, encoding, values in candidates:
                top = max(_words(encoding, values), default=-np.inf)
                if top >= faint:
                    bar = _logit(min(span_threshold, ratio / (1 + math.exp(-top))))
                    # Of several windows the one with the most toxic word sets the bar.
                    levels[piece.text] = max(bar, levels.get(piece.text, -np.inf))
        for piece, encoding, values in candidates:
            bar = level if ratio is None else levels.get(piece.text, np.inf)
            spans[piece.text] += _window_spans(encoding, values, bar, piece)
        merged = [_merge(found) if len(found) > 1 else found for found in spans]
        if self.card.task == "multi_label":
            return highest, merged
        return np.divide(total, np.maximum(windows, 1), dtype=np.float32), merged

    def _encode(self, pieces: Sequence[_Piece]) -> tuple[list[tokenizers.Encoding], list[int]]:
        """Windows, and the piece that each belongs to."""
        encodings: list[tokenizers.Encoding] = []
        owners: list[int] = []
        batch = self._tokenizer.encode_batch([piece.content for piece in pieces])
        for owner, encoding in enumerate(batch):
            for window in (encoding, *encoding.overflowing):
                encodings.append(window)
                owners.append(owner)
        return encodings, owners

    def _run(
        self, encodings: Sequence[tokenizers.Encoding]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Logits [windows, labels] and, for every window, the logits of its tokens."""
        lengths = np.fromiter(map(len, encodings), np.int32, len(encodings))
        result = np.empty((len(encodings), len(self.labels)), np.float32)
        tokens = [np.empty(0, np.float32)] * len(encodings)
        order = np.argsort(lengths, kind="stable")
        begin = 0
        while begin < len(order):
            rows = order[begin : begin + BATCH_ROWS]
            # Sorted, so that a batch may end where padding would cost more than another call.
            room = max(SHORT, int(PADDING * lengths[rows[0]]))
            rows = rows[: int(np.searchsorted(lengths[rows], room, side="right"))]
            longest = int(lengths[rows[-1]])
            rows = rows[: max(1, BATCH_TOKENS // longest)]
            begin += len(rows)
            ids = np.zeros((len(rows), int(lengths[rows[-1]])), np.int64)
            for place, row in enumerate(rows):
                ids[place, : lengths[row]] = encodings[row].ids
            logits, token_logits = self._session.run(
                ["logits", "token_logits"], {"input_ids": ids, "lengths": lengths[rows]}
            )
            result[rows] = logits
            for place, row in enumerate(rows):
                tokens[row] = token_logits[place, : lengths[row]]
        return result, tokens


def open_session(file: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """The graph, ready to run; raises ArtifactError where onnxruntime cannot run it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads or 0
    # Every batch has its own shape: an arena would keep the largest of each for ever.
    options.enable_cpu_mem_arena = False
    # int8 weights are turned to float32 once, here. Without this line onnxruntime may fuse them
    # into products that round the activations to int8 as well.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own exceptions share no public base
        raise ArtifactError(
            f"{file}: not a graph that onnxruntime {onnxruntime.__version__} can run; "
            "upgrade onnxruntime, or export the model again"
        ) from error


class _Piece(NamedTuple):
    """A part of text number `text` that starts at its character `begin`."""

    text: int
    begin: int
    content: str


def _chunks(texts: Sequence[str]) -> Iterator[list[_Piece]]:
    chunk: list[_Piece] = []
    characters = 0
    for number, text in enumerate(texts):
        # tokenizers takes no lone surrogates; one character for one keeps the offsets right.
        clean = _SURROGATE.sub("\ufffd", text)
        for begin in range(0, max(1, len(clean) - PIECE_OVERLAP), PIECE - PIECE_OVERLAP):
            chunk.append(_Piece(number, begin, clean[begin : begin + PIECE]))
            characters += len(chunk[-1].content)
            if len(chunk) == CHUNK_TEXTS or characters >= CHUNK_CHARACTERS:
                yield chunk
                chunk, characters = [], 0
    if chunk:
        yield chunk


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _words(encoding: tokenizers.Encoding, values: NDArray[np.float32]) -> Iterator[float]:
    """The values of what belongs to a word."""
    return (
        value
        for value, word in zip(values.tolist(), encoding.word_ids, strict=True)
        if word is not None
    )


def _window_spans(
    encoding: tokenizers.Encoding, logits: NDArray[np.float32], level: float, piece: _Piece
) -> list[Span]:
    """Whole words: a word is as toxic as its worst piece, neighbouring words make one span."""
    spans: list[Span] = []
    word_ids, offsets = encoding.word_ids, encoding.offsets
    values: list[float] = logits.tolist()  # one by one, Python's numbers are quicker than numpy's
    current: int | None = None
    open_span = False
    for position, word in enumerate(word_ids):
        if word is None:
            continue
        if word != current:
            current = word
            pieces = [position]
            while position + len(pieces) < len(word_ids) and (
                word_ids[position + len(pieces)] == word
            ):
                pieces.append(position + len(pieces))
            best = max(values[piece] for piece in pieces)
            if best < level:
                open_span = False
                continue
            score = 1 / (1 + math.exp(-best))
            begin, end = offsets[pieces[0]][0], offsets[pieces[-1]][1]
            # Some tokenizers count the space before a word to it.
            begin += len(piece.content[begin:end]) - len(piece.content[begin:end].lstrip())
            begin, end = piece.begin + begin, piece.begin + end
            if begin == end:
                continue
            if open_span:
                last = spans[-1]
                spans[-1] = Span(last.begin, end, max(last.score, score))
            else:
                spans.append(Span(begin, end, score))
            open_span = True
    return spans


def _merge(spans: list[Span]) -> list[Span]:
    """Overlapping windows report the same words twice."""
    result: list[Span] = []
    for span in sorted(spans):
        if result and span.begin < result[-1].end:
            last = result[-1]
            result[-1] = Span(last.begin, max(last.end, span.end), max(last.score, span.score))
        else:
            result.append(span)
    return result
