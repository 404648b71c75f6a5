"""Our categories in other people's words: Jigsaw, Perspective, OpenAI, Llama Guard, Qwen3Guard.

One table, read by two rules.

Outwards (`translate`): the score of an outer name is the highest over the rows that name it; a row
of several categories scores the lowest of them, since it holds only where all of them do. A row
stands where every one of its categories is reported by some filter; a name with no standing row
has nothing behind it and gets no score at all, never a 0.

Inwards (`categories_of`): a guard's own category is reported as every single category whose row
names it.

Sources of the names: Jigsaw's two Kaggle challenges (2018, 2019); the Perspective API reference;
OpenAI's moderation guide; the Llama Guard 3 and 4 model cards, after the MLCommons hazards; the
Qwen3Guard model card.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, NamedTuple

System = Literal["jigsaw", "perspective", "openai", "llama_guard", "qwen3_guard"]
SYSTEMS: tuple[System, ...] = ("jigsaw", "perspective", "openai", "llama_guard", "qwen3_guard")


class Row(NamedTuple):
    """What one category of ours, or several that hold together, are called elsewhere."""

    categories: tuple[str, ...]
    meaning: str
    jigsaw: tuple[str, ...] = ()
    perspective: tuple[str, ...] = ()
    openai: tuple[str, ...] = ()
    llama_guard: tuple[str, ...] = ()
    qwen3_guard: tuple[str, ...] = ()

    def names(self, system: System) -> tuple[str, ...]:
        """What `system` calls it; empty where it has no word for it."""
        found: tuple[str, ...] = getattr(self, system)
        return found


TABLE: tuple[Row, ...] = (
    Row(
        ("toxic",),
        "rude or hostile enough to make people leave a discussion",
        jigsaw=("toxic", "toxicity"),
        perspective=("TOXICITY",),
        qwen3_guard=("Unethical Acts",),
    ),
    Row(
        ("severe_toxic",),
        "hateful or aggressive beyond what swearing alone is",
        jigsaw=("severe_toxic", "severe_toxicity"),
        perspective=("SEVERE_TOXICITY",),
    ),
    Row(
        ("obscene",),
        "swearing and vulgar words",
        jigsaw=("obscene",),
        perspective=("PROFANITY",),
    ),
    Row(
        ("insult",),
        "demeans a person",
        jigsaw=("insult",),
        perspective=("INSULT",),
        openai=("harassment",),
    ),
    Row(
        ("threat",),
        "announces harm to somebody",
        jigsaw=("threat",),
        perspective=("THREAT",),
        openai=("harassment", "harassment/threatening"),
    ),
    Row(
        ("identity_attack",),
        "attacks people for what they are",
        jigsaw=("identity_hate", "identity_attack"),
        perspective=("IDENTITY_ATTACK",),
        openai=("hate",),
        llama_guard=("S10",),
    ),
    Row(
        ("identity_attack", "threat"),
        "announces harm to people for what they are",
        openai=("hate/threatening",),
    ),
    Row(
        ("sexual",),
        "sexual acts, meant to arouse or to be sold",
        jigsaw=("sexual_explicit",),
        perspective=("SEXUALLY_EXPLICIT",),
        openai=("sexual",),
        llama_guard=("S3", "S12"),
        qwen3_guard=("Sexual Content or Sexual Acts",),
    ),
    Row(
        ("sexual_minors",),
        "sexual content with a person under 18",
        openai=("sexual", "sexual/minors"),
        llama_guard=("S4",),
    ),
    Row(
        ("self_harm",),
        "suicide, self-injury, eating disorders",
        openai=("self-harm",),
        llama_guard=("S11",),
        qwen3_guard=("Suicide & Self-Harm",),
    ),
    Row(
        ("self_harm_intent",),
        "a person says that they harm themselves or are about to",
        openai=("self-harm", "self-harm/intent"),
    ),
    Row(
        ("self_harm_instructions",),
        "how to harm oneself",
        openai=("self-harm", "self-harm/instructions"),
    ),
    Row(
        ("violence",),
        "death, violence or injury, shown, wished for or praised",
        openai=("violence",),
        llama_guard=("S1",),
        qwen3_guard=("Violent",),
    ),
    Row(
        ("violence_graphic",),
        "death, violence or injury in detail",
        openai=("violence", "violence/graphic"),
    ),
    Row(
        ("illicit",),
        "crimes without violence: how to commit them, or praise of them",
        openai=("illicit",),
        llama_guard=("S2", "S3", "S14"),
        qwen3_guard=("Non-violent Illegal Acts",),
    ),
    Row(
        ("illicit_violent",),
        "crimes with violence or weapons: how to commit them, or praise of them",
        openai=("illicit", "illicit/violent"),
        llama_guard=("S1", "S9"),
        qwen3_guard=("Violent",),
    ),
    Row(("defamation",), "false claims that harm a person's name", llama_guard=("S5",)),
    Row(
        ("specialized_advice",),
        "medical, legal or financial advice that needs an expert",
        llama_guard=("S6",),
    ),
    Row(
        ("privacy",),
        "a person's private data",
        llama_guard=("S7",),
        qwen3_guard=("PII",),
    ),
    Row(
        ("intellectual_property",),
        "violates somebody's rights to a work",
        llama_guard=("S8",),
        qwen3_guard=("Copyright Violation",),
    ),
    Row(("elections",), "false claims about how an election is held", llama_guard=("S13",)),
)

OPENAI: tuple[str, ...] = (
    "harassment",
    "harassment/threatening",
    "hate",
    "hate/threatening",
    "illicit",
    "illicit/violent",
    "self-harm",
    "self-harm/intent",
    "self-harm/instructions",
    "sexual",
    "sexual/minors",
    "violence",
    "violence/graphic",
)
"""All thirteen, in the order in which the endpoint lists them."""

OPENAI_IMAGE: frozenset[str] = frozenset(
    {
        "self-harm",
        "self-harm/intent",
        "self-harm/instructions",
        "sexual",
        "violence",
        "violence/graphic",
    }
)
"""Names that apply to images as well; the others apply to text only."""

PERSPECTIVE: tuple[str, ...] = (
    "TOXICITY",
    "SEVERE_TOXICITY",
    "IDENTITY_ATTACK",
    "INSULT",
    "PROFANITY",
    "THREAT",
    "SEXUALLY_EXPLICIT",
)
"""Attributes that a category of ours stands behind; each has a twin that ends in `TWIN`."""

TWIN = "_EXPERIMENTAL"

LLAMA_GUARD: Mapping[str, str] = {
    "S1": "Violent Crimes",
    "S2": "Non-Violent Crimes",
    "S3": "Sex-Related Crimes",
    "S4": "Child Sexual Exploitation",
    "S5": "Defamation",
    "S6": "Specialized Advice",
    "S7": "Privacy",
    "S8": "Intellectual Property",
    "S9": "Indiscriminate Weapons",
    "S10": "Hate",
    "S11": "Suicide & Self-Harm",
    "S12": "Sexual Content",
    "S13": "Elections",
    "S14": "Code Interpreter Abuse",
}
"""Llama Guard 3 and 4; the 1B model was not trained on S14."""

QWEN3_GUARD: tuple[str, ...] = (
    "Violent",
    "Non-violent Illegal Acts",
    "Sexual Content or Sexual Acts",
    "PII",
    "Suicide & Self-Harm",
    "Unethical Acts",
    "Politically Sensitive Topics",
    "Copyright Violation",
    "Jailbreak",
)
"""As the model writes them; two have no category of ours."""


def categories_of(system: System, name: str) -> tuple[str, ...]:
    """Our categories for an outer name such as ``S10``, in the order of the table.

    Rows of several categories do not count: a name does not tell which of them holds.
    """
    return tuple(
        row.categories[0] for row in TABLE if len(row.categories) == 1 and name in row.names(system)
    )


def standing(system: System, reported: Collection[str]) -> frozenset[str]:
    """Names of `system` that have something behind them where `reported` is what filters report.

    `reported` is what the steps of a policy may report, not what they said about one content.
    """
    return frozenset(
        name for row in TABLE if set(row.categories) <= set(reported) for name in row.names(system)
    )


def translate(
    system: System, scores: Mapping[str, float], reported: Collection[str]
) -> dict[str, float]:
    """Scores of every name of `system` that has something behind it; the rule stands above.

    A category that a filter may report and did not, of this content, counts as 0.
    """
    found: dict[str, float] = {}
    for row in TABLE:
        if set(row.categories) <= set(reported):
            score = min(scores.get(category, 0.0) for category in row.categories)
            for name in row.names(system):
                found[name] = max(score, found.get(name, 0.0))
    return found
