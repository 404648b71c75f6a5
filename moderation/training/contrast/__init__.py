"""Hand-written contrast sets: sentences that differ in meaning more than in wording.

Content warning: the YAML files of this folder contain slurs, threats and insults. They exist so
that a classifier learns hate from its meaning, and not from the words it shares with
counter-speech, self-description or reporting.

Every file but `vocabulary.yaml` is a list of sets:

    - kind: hate.direct_dislike        # dotted name; reports slice by it
      labels: {toxic: 1, threat: 0}    # what is certain; a label that is not named is missing
      axes: [religion, gender]         # optional: draw groups of these axes only
      reclaimed: true                  # optional: draw slurs with this value of `reclaimed` only
      sentences: ["..."]               # hand-written; one with placeholders is drawn a few times
      draws: 3                         # optional: how many times
      grammar:                         # optional: rules, expanded at random from `start`
        start: ["{opener}{group.plural} {verdict}"]
        verdict: ["..."]
      count: 800                       # distinct expansions of the grammar to draw

An item that holds nothing but `rules` shares its rules with the sets of its file. `{name}` is a
rule of the set, else of the file, else a list of the vocabulary; rules may use rules.
`{group.plural}` is a field of one group, drawn once per sentence; `{other.…}` is a second group
and `{slur.…}` a slur. Where a sentence has a slur, its group is the one that the slur attacks.
Groups that lack a field which the sentence uses are not drawn. `noun` is `singular` without its
article, and `plural` is now and then one of the `aliases`. The first letter of every sentence is
made upper case and "a" becomes "an" before a vowel, so rules need not care.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

LABELS = (
    "toxic",
    "severe_toxic",
    "obscene",
    "threat",
    "insult",
    "identity_attack",
    "sexual",
    "self_harm",
    "violence",
)
VALIDATION_PERCENT = 12
DRAWS = 3
VARIED_SHARE = 0.4
ALIAS_SHARE = 0.25
ATTEMPTS_PER_ROW = 60

_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_SENTENCE_START = re.compile(r"(^|(?<![.])[.!?]\s+)([\"'“‘(]*)([a-z])")
_BEFORE_VOWEL = re.compile(r"\b([Aa]) (?=[aeioAEIO]|u(?!s[aeu]|ni(?!n|m)|k\b|r\b|\b))")
_SOUNDS_LIKE_CONSONANT = re.compile(r"\b([Aa])n (?=(?:eu|one\b|once\b|uni(?!n|m)))", re.IGNORECASE)
# "these the deaf": some plurals bring their own article.
_DOUBLE_DETERMINER = re.compile(r"\b(the|these|those|any|many|several|my|our) the\b", re.IGNORECASE)
_ENTITIES = ("group", "other", "slur")
_SET_KEYS = {
    "kind",
    "labels",
    "axes",
    "reclaimed",
    "sentences",
    "draws",
    "grammar",
    "count",
}

Rules = Mapping[str, Sequence[str]]
Record = Mapping[str, Any]


class ContrastError(ValueError):
    """A set file or the vocabulary is wrong; the message names file, set and fault."""


@dataclass(frozen=True)
class ContrastRow:
    text: str
    kind: str
    labels: dict[str, float]
    part: str
    """`train` or `validation`."""
    template: str
    """The hand-written sentence or start rule that the text was drawn from."""


@dataclass(frozen=True)
class _Vocabulary:
    lists: Rules
    groups: Sequence[Record]
    slurs: Sequence[Record]


def contrast_rows(seed: int = 0, folder: Path | None = None) -> list[ContrastRow]:
    """Expand every set file of `folder` (default: the ones shipped here).

    Deterministic for a seed, and a set's rows do not depend on the other sets except that a text
    which an earlier set gave is not given again. Whole templates fall to the validation part, by
    a hash of their wording, so that validation asks for new wording and not for new nouns.

    Raises:
        ContrastError: a file is malformed, names an unknown rule, label or axis, or asks for more
            expansions than its grammar has.
    """
    folder = folder if folder is not None else Path(__file__).parent
    vocabulary = _read_vocabulary(folder / "vocabulary.yaml")
    rows: list[ContrastRow] = []
    seen: set[str] = set()
    for path in sorted(folder.glob("*.yaml")):
        if path.name == "vocabulary.yaml":
            continue
        shared: dict[str, list[str]] = {}
        for position, item in enumerate(_read_list(path)):
            place = f"{path.name}, item {position + 1}"
            if not isinstance(item, dict):
                raise ContrastError(f"{place}: expected a mapping, found {type(item).__name__}")
            if set(item) == {"rules"}:
                shared |= _checked_rules(item["rules"], place)
                continue
            contrast_set = _ContrastSet(item, shared, vocabulary, place)
            rng = random.Random(f"{seed}:{path.name}:{contrast_set.kind}:{position}")
            for template, text in contrast_set.expand(rng):
                key = " ".join(text.casefold().split())
                if key in seen:
                    continue
                seen.add(key)
                if rng.random() < VARIED_SHARE:
                    text = vary(text, rng)
                rows.append(
                    ContrastRow(
                        text,
                        contrast_set.kind,
                        dict(contrast_set.labels),
                        part(template),
                        template,
                    )
                )
    return rows


def part(template: str) -> str:
    digest = hashlib.sha256(template.encode()).digest()
    hundredths = int.from_bytes(digest[:4], "big") % 100
    return "validation" if hundredths < VALIDATION_PERCENT else "train"


class _ContrastSet:
    def __init__(
        self,
        item: Mapping[str, Any],
        shared: Rules,
        vocabulary: _Vocabulary,
        place: str,
    ) -> None:
        unknown = set(item) - _SET_KEYS
        if unknown:
            raise ContrastError(
                f"{place}: unknown key {min(unknown)!r}; known are {sorted(_SET_KEYS)}"
            )
        kind = item.get("kind")
        if not isinstance(kind, str) or not re.fullmatch(r"[a-z0-9_]+(\.[a-z0-9_]+)+", kind):
            raise ContrastError(f"{place}: `kind` must be a dotted name, found {kind!r}")
        self.kind = kind
        self.place = f"{place} ({kind})"
        self.labels = self._checked_labels(item.get("labels"))
        self.sentences = self._checked_texts(item.get("sentences", []), "sentences")
        self.draws = self._checked_number(item.get("draws", DRAWS), "draws")
        grammar = _checked_rules(item.get("grammar", {}), self.place)
        self.start = grammar.pop("start", [])
        if bool(self.start) != ("count" in item) or (grammar and not self.start):
            raise ContrastError(
                f"{self.place}: `grammar` with a `start` rule and `count` go together"
            )
        if not self.start and not self.sentences:
            raise ContrastError(f"{self.place}: neither `sentences` nor a `grammar`")
        self.count = self._checked_number(item.get("count", 0), "count") if self.start else 0
        self.rules: Rules = {**vocabulary.lists, **shared, **grammar}
        self.groups = self._groups(vocabulary.groups, item.get("axes"))
        self.slurs = [
            slur
            for slur in vocabulary.slurs
            if "reclaimed" not in item or slur["reclaimed"] == item["reclaimed"]
        ]
        if "axes" in item:
            targets = {group["plural"] for group in self.groups}
            self.slurs = [slur for slur in self.slurs if slur["target"] in targets]
        self.all_groups = vocabulary.groups

    def _checked_labels(self, labels: object) -> dict[str, float]:
        if not isinstance(labels, dict) or not labels:
            raise ContrastError(f"{self.place}: `labels` must map labels to numbers from 0 to 1")
        for label, score in labels.items():
            if label not in LABELS:
                raise ContrastError(
                    f"{self.place}: unknown label {label!r}; known are {', '.join(LABELS)}"
                )
            if isinstance(score, bool) or not isinstance(score, int | float) or not 0 <= score <= 1:
                raise ContrastError(f"{self.place}: label {label} must be a number from 0 to 1")
        return {label: float(score) for label, score in labels.items()}

    def _checked_texts(self, texts: object, key: str) -> list[str]:
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ContrastError(f"{self.place}: `{key}` must be a list of strings (quote them)")
        return texts

    def _checked_number(self, number: object, key: str) -> int:
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ContrastError(f"{self.place}: `{key}` must be a whole number from 1")
        return number

    def _groups(self, groups: Sequence[Record], axes: object) -> list[Record]:
        if axes is None:
            return list(groups)
        known = {group["axis"] for group in groups}
        if not isinstance(axes, list) or not axes or not known.issuperset(axes):
            raise ContrastError(
                f"{self.place}: `axes` must be a list of {', '.join(sorted(known))}"
            )
        return [group for group in groups if group["axis"] in axes]

    def expand(self, rng: random.Random) -> Iterator[tuple[str, str]]:
        for sentence in self.sentences:
            draws = min(self.draws, self._expansions(sentence))
            drawn = {self._draw(sentence, rng): None for _ in range(draws)}
            yield from ((sentence, text) for text in drawn)
        if not self.start:
            return
        possible = sum(self._expansions(template) for template in dict.fromkeys(self.start))
        if self.count > possible:
            raise ContrastError(
                f"{self.place}: `count` is {self.count}, but the grammar has no more than "
                f"{possible} distinct expansions; lower the count or add alternatives"
            )
        drawn = {}
        for attempt in range(self.count * ATTEMPTS_PER_ROW):
            template = self.start[attempt % len(self.start)]
            text = self._draw(template, rng)
            if text not in drawn:
                drawn[text] = None
                yield template, text
                if len(drawn) == self.count:
                    return
        raise ContrastError(
            f"{self.place}: `count` is {self.count}, but {self.count * ATTEMPTS_PER_ROW} draws "
            f"gave only {len(drawn)} distinct texts; lower the count or add alternatives"
        )

    def _expansions(self, template: str) -> int:
        """An upper bound of the number of distinct texts; also proves every name known."""
        fields = self._fields(template, ())
        total = self._alternatives(template)
        for entity in fields:
            total *= len(self._pool(entity, fields)) * 2
        return total

    def _alternatives(self, template: str) -> int:
        total = 1
        for name in _PLACEHOLDER.findall(template):
            if "." not in name:
                total *= sum(self._alternatives(each) for each in dict.fromkeys(self.rules[name]))
        return total

    def _fields(self, template: str, path: tuple[str, ...]) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        if template.count("{") != template.count("}"):
            raise ContrastError(f"{self.place}: a brace is not closed in {template!r}")
        for name in _PLACEHOLDER.findall(template):
            entity, dot, field = name.partition(".")
            if dot:
                if entity not in _ENTITIES:
                    raise ContrastError(
                        f"{self.place}: {{{name}}}: only {', '.join(_ENTITIES)} have fields"
                    )
                found.setdefault(entity, set()).add(field)
            elif name in path:
                raise ContrastError(f"{self.place}: rule {name!r} refers to itself")
            elif name not in self.rules:
                raise ContrastError(
                    f"{self.place}: unknown rule {name!r}; it is neither in the grammar, nor in "
                    "the file's `rules`, nor a list of vocabulary.yaml"
                )
            else:
                for alternative in self.rules[name]:
                    for key, fields in self._fields(alternative, (*path, name)).items():
                        found.setdefault(key, set()).update(fields)
        return found

    def _pool(self, entity: str, fields: Mapping[str, set[str]]) -> list[Record]:
        wanted = fields.get(entity, set())
        records = self.slurs if entity == "slur" else self.groups
        pool = [record for record in records if wanted.issubset(record)]
        if not pool:
            raise ContrastError(
                f"{self.place}: no {entity} of the vocabulary has the fields {sorted(wanted)}"
            )
        return pool

    def _draw(self, template: str, rng: random.Random) -> str:
        text = template
        while (match := re.search(r"\{([^{}.]*)\}", text)) is not None:
            text = text[: match.start()] + rng.choice(self.rules[match[1]]) + text[match.end() :]
        # Fields are gathered from what was drawn, not from what could have been.
        fields: dict[str, set[str]] = {}
        for name in _PLACEHOLDER.findall(text):
            entity, _, field = name.partition(".")
            fields.setdefault(entity, set()).add(field)
        bound: dict[str, Record] = {}
        if "slur" in fields:
            bound["slur"] = rng.choice(self._pool("slur", fields))
            target = bound["slur"]["target"]
            bound["group"] = next(g for g in self.all_groups if g["plural"] == target)
        elif "group" in fields:
            bound["group"] = rng.choice(self._pool("group", fields))
        if "other" in fields:
            mine = bound["group"]["plural"] if "group" in bound else None
            pool = [record for record in self._pool("other", fields) if record["plural"] != mine]
            bound["other"] = rng.choice(pool or self._pool("other", fields))
        plurals = {
            entity: rng.choice(record["aliases"])
            for entity, record in bound.items()
            if record.get("aliases") and rng.random() < ALIAS_SHARE
        }

        def field_text(match: re.Match[str]) -> str:
            entity, _, field = match[1].partition(".")
            if field == "plural" and entity in plurals:
                return str(plurals[entity])
            if field not in bound[entity]:
                raise ContrastError(f"{self.place}: no {entity} has a field {field!r}")
            return str(bound[entity][field])

        return _tidy(_PLACEHOLDER.sub(field_text, text))


def _tidy(text: str) -> str:
    text = re.sub(r"\s+([,.!?;])(?=\s|$)", r"\1", re.sub(r"\s+", " ", text)).strip()
    text = _DOUBLE_DETERMINER.sub(r"\1", text)
    text = _SOUNDS_LIKE_CONSONANT.sub(r"\1 ", _BEFORE_VOWEL.sub(r"\1n ", text))
    return _SENTENCE_START.sub(lambda m: m[1] + m[2] + m[3].upper(), text)


_EMOJI = ("🙄", "😂", "😭", "💯", "🤔", "👀", "🙃", "😅", "🤷", "😤")
_HASHTAGS = (
    "#justsaying",
    "#fyi",
    "#smh",
    "#thoughts",
    "#today",
    "#rant",
    "#fact",
    "#mood",
    "#tbh",
)
_SPELLINGS = (
    ("you", "u"),
    ("your", "ur"),
    ("are", "r"),
    ("people", "ppl"),
    ("because", "cuz"),
)


def vary(text: str, rng: random.Random) -> str:
    """One or two changes of surface that leave the meaning alone."""
    for change in rng.choices(
        range(9), weights=(8, 1, 5, 3, 3, 3, 3, 2, 1), k=rng.choice((1, 1, 2))
    ):
        if change == 0:
            text = text.lower()
        elif change == 1 and len(text) < 120:
            text = text.upper()
        elif change == 2:
            text = text.rstrip(".")
        elif change == 3:
            text = text + text[-1] * rng.randint(1, 3) if text[-1] in ".!?" else text + "..."
        elif change == 4:
            text = f"{text} {rng.choice(_EMOJI)}"
        elif change == 5:
            for word, short in rng.sample(_SPELLINGS, k=3):
                text = re.sub(rf"\b{word}\b", short, text)
        elif change == 6:
            text = re.sub(r"(?<=[a-z])['’](?=(?:t|s|re|ve|ll|m|d)\b)", "", text)
        elif change == 7:
            text = f"@user {text}"
        elif change == 8:
            text = f"{text} {rng.choice(_HASHTAGS)}"
    return text


def _read(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ContrastError(f"{path.name}: not found in {path.parent}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ContrastError(f"{path.name}: not readable as YAML: {error}") from error


def _read_list(path: Path) -> list[object]:
    document = _read(path)
    if not isinstance(document, list):
        raise ContrastError(f"{path.name}: expected a list of sets at the top")
    return document


def _read_vocabulary(path: Path) -> _Vocabulary:
    document = _read(path)
    if not isinstance(document, dict) or set(document) != {"groups", "slurs", "lists"}:
        raise ContrastError(f"{path.name}: expected the keys groups, slurs and lists")
    groups = [
        _checked_record(r, ("axis", "plural", "singular", "adjective"), path.name)
        for r in document["groups"]
    ]
    slurs = [
        _checked_record(r, ("plural", "singular", "target", "reclaimed"), path.name)
        for r in document["slurs"]
    ]
    targets = {group["plural"] for group in groups}
    for slur in slurs:
        if slur["target"] not in targets:
            raise ContrastError(f"{path.name}: slur target {slur['target']!r} is not a group")
    return _Vocabulary(_checked_rules(document["lists"], path.name), groups, slurs)


def _checked_record(record: object, required: Sequence[str], place: str) -> Record:
    if not isinstance(record, dict):
        raise ContrastError(f"{place}: expected a mapping, found {type(record).__name__}")
    missing = [key for key in required if key not in record]
    if missing:
        raise ContrastError(f"{place}: {record} lacks {', '.join(missing)}")
    return {**record, "noun": re.sub(r"^(?:an?|the) ", "", record["singular"])}


def _checked_rules(rules: object, place: str) -> dict[str, list[str]]:
    if not isinstance(rules, dict):
        raise ContrastError(f"{place}: rules must map names to lists of strings")
    for name, alternatives in rules.items():
        if not isinstance(name, str):
            raise ContrastError(f"{place}: rule name {name!r} is not a string; quote or rename it")
        if (
            not isinstance(alternatives, list)
            or not alternatives
            or not all(isinstance(each, str) for each in alternatives)
        ):
            raise ContrastError(f"{place}: rule {name!r} must be a list of strings (quote them)")
    return dict(rules)
