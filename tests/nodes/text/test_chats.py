"""Claims about chats and instructions in ``.jsonl``: each is read as one plain text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nodes.errors import NodeError
from nodes.text.files import parse_texts

TURNS = [{"role": "user", "content": "What is it? "}, {"role": "assistant", "content": "A valve."}]
CHAT = "User: What is it?\n\nAssistant: A valve."


def read(fields: Any, column: str = "text") -> list[str]:
    return parse_texts(Path("a.jsonl"), f"{json.dumps(fields)}\n".encode(), column)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"messages": TURNS, "id": 1}, CHAT),
        ({"conversations": [{"from": "human", "value": "Hi"}]}, "Human: Hi"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]}, "User: Hi"),
        ({"messages": [{"role": "tool", "content": None}, *TURNS]}, CHAT),
        ({"messages": []}, None),
        ({"instruction": "Name it.", "input": "", "output": "A valve."}, "Name it.\n\nA valve."),
        ({"instruction": "Name", "input": "this", "output": "valve"}, "Name\n\nthis\n\nvalve"),
        ({"instruction": "Name", "context": "this", "response": "it"}, "Name\n\nthis\n\nit"),
        ({"prompt": "Name it.", "completion": " A valve."}, "Name it.\n\nA valve."),
        ({"prompt": TURNS[:1], "completion": TURNS[1:]}, CHAT),
        ({"question": "What?", "answer": "A valve."}, "What?\n\nA valve."),
        ({"text": "the text", "messages": TURNS}, "the text"),
    ],
)
def test_a_chat_or_an_instruction_is_a_document(fields: Any, text: str | None) -> None:
    assert read(fields) == ([text] if text else [])


def test_a_column_may_name_the_chat() -> None:
    assert read({"dialogue": TURNS, "text": "other"}, "dialogue") == [CHAT]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": "Hi"},
        {"messages": ["Hi"]},
        {"messages": [{"content": "Hi"}]},
        {"messages": [{"role": 1, "content": "Hi"}]},
        {"messages": [{"role": "user", "content": 1}]},
        {"instruction": "Name it."},
        {"instruction": "Name it.", "output": 1},
        {"messages": [{"role": "user", "content": "\ud800"}]},
        {"other": 1},
        [],
        1,
    ],
)
def test_what_is_no_chat_is_refused_with_its_line(fields: Any) -> None:
    with pytest.raises(NodeError, match=r"bad-text: a\.jsonl, line 1: .*messages"):
        read(fields)
