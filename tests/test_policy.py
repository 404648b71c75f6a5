"""Policies: what a file says, what it may not say, and what scores come to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation import Action, ConfigError, Policy, Step, Thresholds
from moderation.policy import MAX_POLICY_BYTES, shipped_policies

GOOD = """\
name: comments
steps:
  - name: words
    filter: wordlist
    options: {lists: [english]}
  - name: careful
    filter: classifier
    refines: words
    between: [0.1, 0.9]
    timeout: 1.5
    fallback: {name: fast, filter: classifier}
thresholds:
  toxic: {review: 0.6, block: 0.9}
"""


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as info:
        Policy.parse(text, where="mine.yaml")
    told = str(info.value)
    assert told.startswith("mine.yaml: ")
    assert info.value.where == "mine.yaml"
    return told.removeprefix("mine.yaml: ")


def test_a_file_becomes_types() -> None:
    policy = Policy.parse(GOOD)
    words, careful = policy.steps
    assert (words.name, words.filter, words.options) == (
        "words",
        "wordlist",
        {"lists": ["english"]},
    )
    assert (words.refines, words.timeout, words.on_error, words.fallback) == (None,) * 4
    assert (careful.refines, careful.between, careful.timeout) == ("words", (0.1, 0.9), 1.5)
    assert [step.name for step in careful.line()] == ["careful", "fast"]
    assert policy.thresholds == {"toxic": Thresholds(review=0.6, block=0.9)}
    assert (policy.stop_on, policy.unsupported_language, policy.plugins) == (None, "review", ())


# What scores come to


def policy(thresholds: dict[str, Any]) -> Policy:
    return Policy(name="test", steps=(Step(name="a", filter="words"),), thresholds=thresholds)


@pytest.mark.parametrize(
    ("scores", "action", "reasons"),
    [
        ({}, Action.ALLOW, ()),
        ({"toxic": 0.599, "threat": 0.29}, Action.ALLOW, ()),
        ({"toxic": 0.6}, Action.REVIEW, ("toxic 0.6 reaches review at 0.6",)),
        ({"toxic": 0.9}, Action.BLOCK, ("toxic 0.9 reaches block at 0.9",)),
        ({"toxic": 0.95, "threat": 0.3}, Action.BLOCK, ("toxic 0.95 reaches block at 0.9",)),
        (
            {"threat": 0.5, "toxic": 0.7},
            Action.REVIEW,
            ("toxic 0.7 reaches review at 0.6", "threat 0.5 reaches review at 0.3"),
        ),
        ({"spam": 0.0}, Action.BLOCK, ("spam 0 reaches block at 0",)),
        ({"unknown": 1.0}, Action.ALLOW, ()),
    ],
)
def test_decide(scores: dict[str, float], action: Action, reasons: tuple[str, ...]) -> None:
    thresholds = {
        "toxic": {"review": 0.6, "block": 0.9},
        "threat": {"review": 0.3},
        "spam": {"block": 0.0},
    }
    assert policy(thresholds).decide(scores) == (action, reasons)


CATEGORIES = ["toxic", "threat", "spam"]
SCORE = st.floats(0, 1)
THRESHOLDS = st.one_of(
    st.builds(Thresholds, review=SCORE),
    st.builds(Thresholds, block=SCORE),
    st.tuples(SCORE, SCORE).map(lambda pair: Thresholds(review=min(pair), block=max(pair))),
)


@given(
    thresholds=st.dictionaries(st.sampled_from(CATEGORIES), THRESHOLDS),
    scores=st.dictionaries(st.sampled_from(CATEGORIES), SCORE),
    category=st.sampled_from(CATEGORIES),
    more=SCORE,
)
def test_a_higher_score_is_never_less_severe(
    thresholds: dict[str, Thresholds], scores: dict[str, float], category: str, more: float
) -> None:
    decide = policy(thresholds).decide
    action, reasons = decide(scores)
    raised = {**scores, category: max(more, scores.get(category, 0.0))}
    assert decide(raised)[0] >= action
    assert bool(reasons) is (action > Action.ALLOW)


# Fingerprints


@pytest.mark.parametrize(
    "text",
    [
        "# a comment\n" + GOOD,
        GOOD + "description: Of comments.\n",
        GOOD.replace("[0.1, 0.9]", "\n      - 0.10\n      - 9.0e-1"),
        GOOD.replace("{lists: [english]}", '{"lists": ["english"]}'),
        GOOD.replace("toxic: {review: 0.6, block: 0.9}", "toxic: {block: 0.9, review: 0.6}"),
        "thresholds: {toxic: {review: 0.6, block: 0.9}}\n" + GOOD.split("thresholds:")[0],
        GOOD + "unsupported_language: review\nstop_on: null\nplugins: []\n",
        "\ufeff" + GOOD,
    ],
    ids=[
        "comment",
        "description",
        "layout",
        "quotes",
        "order of keys",
        "order of blocks",
        "defaults written out",
        "byte order mark",
    ],
)
def test_layout_does_not_change_the_fingerprint(text: str) -> None:
    fingerprint = Policy.parse(text).fingerprint
    assert fingerprint == Policy.parse(GOOD).fingerprint
    assert len(fingerprint) == 12


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("block: 0.9", "block: 0.91"),
        ("name: comments", "name: other"),
        ("[english]", "[german]"),
        ("timeout: 1.5", "timeout: 2"),
        ("[0.1, 0.9]", "[0.1, 0.8]"),
        ("name: fast,", "name: quick,"),
        ("thresholds:", "stop_on: block\nthresholds:"),
        ("thresholds:", "unsupported_language: allow\nthresholds:"),
    ],
)
def test_what_a_policy_says_changes_the_fingerprint(old: str, new: str) -> None:
    assert old in GOOD
    changed = Policy.parse(GOOD.replace(old, new))
    assert changed.fingerprint != Policy.parse(GOOD).fingerprint


def test_a_changed_copy_has_its_own_fingerprint() -> None:
    original = Policy.parse(GOOD)
    before = original.fingerprint
    copied = original.model_copy(update={"thresholds": {"toxic": Thresholds(block=0.5)}})
    assert copied.fingerprint != before


# Round trips

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def policies(draw: st.DrawFn) -> Policy:
    names = draw(
        st.lists(st.from_regex(r"\A[a-z\u00fc0-9_.-]{1,6}\Z"), min_size=1, max_size=5, unique=True)
    )
    steps: list[Step] = []
    while names:
        fallback = None
        line = [names.pop() for _ in range(draw(st.integers(1, len(names))))]
        refines = (
            draw(st.none() | st.sampled_from([step.name for step in steps])) if steps else None
        )
        band = sorted((draw(SCORE), draw(SCORE)))
        for name in line:
            rest: dict[str, Any] = {}
            if refines is not None and name == line[-1]:
                rest = {"refines": refines, "between": tuple(band)}
            fallback = Step(
                name=name,
                filter=draw(st.text(min_size=1, max_size=5)),
                options=draw(st.dictionaries(st.text(), JSON, max_size=2)),
                parts=draw(st.none() | st.just(("text", "ocr"))),
                timeout=draw(st.none() | st.floats(0.001, 1e6)),
                on_error=draw(st.sampled_from([None, "review", "skip", "block", "raise"])),
                fallback=fallback,
                **rest,
            )
        assert fallback is not None
        steps.append(fallback)
    return Policy(
        name=draw(st.from_regex(r"\A[^@\s\x00-\x1f\x7f-\x9f\ud800-\udfff]{1,8}\Z")),
        description=draw(st.text(max_size=20)),
        plugins=draw(st.lists(st.text(), max_size=2)),
        steps=tuple(steps),
        thresholds=draw(st.dictionaries(st.text(max_size=5), THRESHOLDS, max_size=3)),
        stop_on=draw(st.sampled_from([None, "review", "block"])),
        unsupported_language=draw(st.sampled_from(["review", "allow"])),
    )


@pytest.mark.parametrize(
    "text", ["a\x85b", "a\u2028b\n", " \u2029", "caf\u00e9 \U0001f600", "=", "<<"]
)
def test_odd_characters_survive_yaml(text: str) -> None:
    policy = Policy.parse(GOOD).model_copy(update={"description": text})
    assert Policy.parse(policy.to_yaml()).description == text


@given(policies())
def test_to_yaml_and_back(policy: Policy) -> None:
    again = Policy.parse(policy.to_yaml())
    assert again == policy
    assert again.fingerprint == policy.fingerprint


@given(policies())
def test_to_a_dict_and_back(policy: Policy) -> None:
    assert Policy.model_validate(policy.model_dump()) == policy


# What a policy may not say


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "filter: wordlist",
            "filtre: wordlist",
            "steps[0]: there is no key 'filtre'; did you mean 'filter'? known: name, filter",
        ),
        (
            "thresholds:",
            "treshholds:",
            "there is no key 'treshholds'; did you mean 'thresholds'? known: name, description",
        ),
        (
            "review: 0.6",
            "warn: 0.6",
            "thresholds.toxic: there is no key 'warn'; known: review, block",
        ),
        (
            "fallback: {name",
            "fallback: {nmae: x, name",
            "steps[1].fallback: there is no key 'nmae'; did you mean 'name'?",
        ),
        ("name: comments", "name: com ments", "name: "),
        ("name: comments\n", "", "name: Field required"),
        ("name: words", "name: a b", "steps[0].name: "),
        ("    filter: wordlist\n", "", "steps[0].filter: Field required"),
        (
            "review: 0.6",
            "review: 0.95",
            "thresholds.toxic: expected review <= block, found review 0.95 above block 0.9",
        ),
        (
            "{review: 0.6, block: 0.9}",
            "{}",
            "thresholds.toxic: expected review, block or both, found neither",
        ),
        ("block: 0.9", "block: 1.1", "thresholds.toxic.block: "),
        ("review: 0.6", "review: -0.1", "thresholds.toxic.review: "),
        ("block: 0.9", "block: .nan", "thresholds.toxic.block: "),
        ("block: 0.9", "block: yes", "thresholds.toxic.block: "),
        ("block: 0.9", "block: '0.9'", "thresholds.toxic.block: "),
        ("{review: 0.6, block: 0.9}", "0.6", "thresholds.toxic: "),
        ("name: fast", "name: words", "steps: two steps are named 'words'"),
        ("name: careful", "name: words", "steps: two steps are named 'words'"),
        (
            "refines: words",
            "refines: wrods",
            "steps: 'careful' refines 'wrods', which is no earlier step; did you mean 'words'?",
        ),
        ("refines: words", "refines: careful", "'careful', which is no earlier step"),
        ("refines: words", "refines: fast", "'fast', which is no earlier step"),
        (
            "filter: wordlist",
            "filter: wordlist\n    refines: careful",
            "steps: 'words' refines 'careful', which is no earlier step; known: none",
        ),
        ("[0.1, 0.9]", "[0.9, 0.1]", "steps[1]: between: expected [low, high], found [0.9, 0.1]"),
        ("[0.1, 0.9]", "[0.1]", "steps[1].between"),
        (
            "[0.1, 0.9]",
            "[0.1, 0.9]\n    bands: {spam: [0.9, 0.1]}",
            "steps[1]: bands.spam: expected [low, high], found [0.9, 0.1]",
        ),
        ("[0.1, 0.9]", "[0.1, 0.9]\n    bands: {spam: 0.1}", "steps[1].bands.spam"),
        ("[0.1, 0.9]", "[0.1, 0.2, 0.3]", "steps[1].between"),
        (
            "    refines: words\n",
            "",
            "steps[1]: between: only a step that refines another has a band",
        ),
        (
            "{name: fast",
            "{refines: words, name: fast",
            "steps[1]: fallback: a fallback stands in for its step and cannot refine",
        ),
        ("timeout: 1.5", "timeout: 0", "steps[1].timeout: "),
        ("timeout: 1.5", "timeout: .inf", "steps[1].timeout: "),
        ("timeout: 1.5", "timeout: soon", "steps[1].timeout: "),
        ("filter: wordlist", "filter: wordlist\n    on_error: ignore", "steps[0].on_error: "),
        ("filter: wordlist", "filter: wordlist\n    parts: [video]", "steps[0].parts[0]: "),
        (
            "filter: wordlist",
            "filter: wordlist\n    parts: []",
            "steps[0]: parts: expected at least one kind of part, found none",
        ),
        ("thresholds:", "stop_on: allow\nthresholds:", "stop_on: "),
        ("thresholds:", "unsupported_language: block\nthresholds:", "unsupported_language: "),
        ("{lists: [english]}", "[english]", "steps[0].options: "),
        ("{lists: [english]}", "{x: .inf}", "steps[0]: options: expected values"),
        ("{lists: [english]}", "{x: 0x1" + "0" * 9_000 + "}", "steps[0]: options: expected values"),
    ],
)
def test_the_place_of_a_fault_is_named(old: str, new: str, told: str) -> None:
    assert old in GOOD
    assert told in refusal(GOOD.replace(old, new, 1))


def test_every_fault_is_named_at_once() -> None:
    told = refusal(GOOD.replace("1.5", "-1").replace("block: 0.9", "block: 2"))
    assert "steps[1].timeout: " in told
    assert "thresholds.toxic.block: " in told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a mapping with name, steps and thresholds, found nothing"),
        ("# nothing\n", "found nothing"),
        ("- one\n- two\n", "found a list"),
        ("just text", "found a str"),
        ("name: x\nsteps: []\nthresholds: {}\n", "steps: expected at least one step, found none"),
        ("name: x\nsteps: [\n", "at line 3, column 1"),
        ("name: x\n  steps: []\n", "at line 2, column 8"),
        ("name: x\n\tsteps: []\n", "at line 2, column 1"),
        ("name: x\nname: y\n", "at line 2, column 1: the key 'name' stands twice"),
        ("thresholds: {toxic: {block: .5}, toxic: {block: .9}}", "the key 'toxic' stands twice"),
        ("name: &n x\ndescription: *n\n", "at line 2, column 14: aliases are not allowed"),
        ("name: !!python/object/apply:os.system ['true']\n", "line 1, column 7: tags are not"),
        ("name: !!python/name:os.system\n", "tags are not allowed"),
        ("name: !!binary aGVsbG8=\n", "tags are not allowed"),
        ("steps: !!set {a, b}\n", "tags are not allowed"),
        ("!!map [a]", "tags are not allowed"),
        ("name: !!bool maybe\n", "tags are not allowed"),
        ('name: "\\ud800"\n', "at line 1, column 7: half a character"),
        ("name: x\nsteps: \x07\n", "at line 2: it holds a character that YAML forbids"),
        ("name: 2024-99-99\n", "not usable YAML: month must be"),
        ("? {a: b}\n: c\n", "at line 1, column 3"),
        ("--- {a: b}\n--- {a: b}\n", "at line 2, column 1: but found another document"),
        ("[" * 10_000, "at most 50 levels of nesting"),
        ("{a: " * 10_000, "at most 50 levels of nesting"),
        ("- " * 10_000, "at most 50 levels of nesting"),
    ],
)
def test_yaml_that_cannot_be_used(text: str, told: str) -> None:
    assert told in refusal(text)


def test_an_alias_bomb_does_not_go_off() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "at line 2, column 10: aliases are not allowed" in refusal("\n".join(rows))


@given(
    st.text(st.characters(), max_size=60)
    | st.text(st.sampled_from("[]{}:,-?&*!|>'\"%@` \n\t#~0x.<=ae1"), max_size=60)
    | st.tuples(
        st.integers(0, len(GOOD)), st.text(st.characters(), max_size=5), st.integers(0, 9)
    ).map(lambda cut: GOOD[: cut[0]] + cut[1] + GOOD[cut[0] + cut[2] :])
)
def test_whatever_a_file_holds_it_is_a_policy_or_a_config_error(text: str) -> None:
    try:
        policy = Policy.parse(text)
    except ConfigError as error:
        str(error).encode()
    else:
        assert Policy.parse(policy.to_yaml()).fingerprint == policy.fingerprint


# Files


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD, encoding="utf-8-sig")
    for name in (path, str(path)):
        policy = Policy.load(name)
        assert policy.fingerprint == Policy.parse(GOOD).fingerprint
        assert policy.folder == tmp_path
    assert Policy.parse(GOOD).folder is None


def test_every_shipped_policy_is_usable() -> None:
    assert "default" in shipped_policies()
    for name in shipped_policies():
        assert Policy.load(name).name == name


@pytest.mark.parametrize("name", ["defualt", "", "..", "DEFAULT"])
def test_a_shipped_policy_that_does_not_exist(name: str) -> None:
    with pytest.raises(ConfigError, match=r"no policy named .* is shipped; .*known: .*default"):
        Policy.load(name)


def test_a_close_name_is_suggested() -> None:
    with pytest.raises(ConfigError, match="did you mean 'default'"):
        Policy.load("defualt")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name in (tmp_path / "none.yaml", tmp_path / "folder" / "none.yaml"):
        with pytest.raises(ConfigError, match=r"none\.yaml: .*no file there"):
            Policy.load(name)
    with pytest.raises(ConfigError, match=r"expected a policy file, found .*directory"):
        Policy.load(tmp_path)
    for name in ("a\0b/c", "x" * 5_000 + "/y"):
        with pytest.raises(ConfigError, match="expected a"):
            Policy.load(name)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (GOOD.encode("utf-16"), "expected UTF-8, found another byte at offset 0"),
        (b"name: caf\xe9\n", "expected UTF-8, found another byte at offset 9"),
        (b"#" * (MAX_POLICY_BYTES + 1), "expected at most 1,000,000 bytes"),
        (b"\0" * 10, "it holds a character that YAML forbids"),
    ],
)
def test_bytes_that_are_no_policy(tmp_path: Path, data: bytes, told: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as info:
        Policy.load(path)
    assert str(info.value).startswith(f"{path}: ")
    assert told in str(info.value)


def test_a_text_that_is_too_long_is_not_parsed() -> None:
    assert "1,000,000" in refusal("#" * (MAX_POLICY_BYTES + 1))


def test_options_have_to_fit_into_json() -> None:
    with pytest.raises(ValueError, match="options: expected values that JSON can carry"):
        Step(name="a", filter="b", options={"x": object()})
