"""The code on the page says the text on the page, whatever is in it."""

from __future__ import annotations

import ast
import html
import json
import re
import shlex

from hypothesis import example, given
from hypothesis import strategies as st

from moderation.ui import snippets

TEXTS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\t"), min_size=1
)


def shown(text: str, policy: str = "default", image: str = "") -> dict[str, str]:
    """The code of each way, as it is copied from the page."""
    page = snippets.code(text, policy, image)
    found = re.findall(r'<div class="way (\w+)"><pre tabindex="0"><code>(.*?)</code>', page, re.S)
    return {key: html.unescape(code) for key, code in found}


def strings(code: str) -> list[str]:
    return [
        node.value
        for node in ast.walk(ast.parse(code))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


@given(TEXTS)
@example('it\'s "quoted" & $HOME `ls` \\n %s')
@example("a\nb' ; rm -rf ~ #")
@example("</code></pre><script>alert(1)</script>")
@example("${x} {{y}} {%z%}")
@example("word " * 200)
def test_every_way_carries_the_very_text(text: str) -> None:
    if not text.isprintable():  # what is not shown as it is, is not copied as it is
        text = "".join(char for char in text if char.isprintable() or char in "\n\t")
    if not text:
        return
    code = shown(text)
    for key in ("python", "openai", "client"):
        assert text in strings(code[key]), key
    for key, path in (("http", "content"), ("perspective", "comment")):
        data = json.loads(shlex.split(code[key])[-1])
        told = data[path]["text"] if path == "comment" else data[path]
        assert told == text, key
    assert shlex.split(code["cli"])[-1] == text


def test_a_text_is_never_an_option() -> None:
    assert shlex.split(shown("--json")["cli"])[-2:] == ["--", "--json"]


def test_a_long_text_is_read_from_a_file() -> None:
    text = "word " * 1000
    for key, code in shown(text).items():
        assert text not in code, key
        assert len(code) < 1000, key


def test_a_picture_and_another_policy() -> None:
    code = shown("look", "images", "my meme.png")
    for key in ("python", "client"):
        ast.parse(code[key])
        assert "my meme.png" in code[key]
    assert shlex.split(code["cli"])[2:6] == ["--policy", "images", "--image", "my meme.png"]
    data = json.loads(shlex.split(code["http"])[-1])
    assert [part["type"] for part in data["content"]] == ["text", "image"]
    assert data["policy"] == "images"
