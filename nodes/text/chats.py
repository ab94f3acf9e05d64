"""Render the chats and instructions of a ``.jsonl`` file as plain text.

=====================================================  =============================================
``{"messages": [{"role": "user", "content": "…"}]}``   ``User: …``, a blank line, ``Assistant: …``
``{"conversations": [{"from": "human", "value": …}]}``  the same
``instruction``, ``output`` or ``response``            instruction, a blank line, output
``prompt``, ``completion`` or ``response``             prompt, a blank line, completion
``question``, ``answer``                               question, a blank line, answer
=====================================================  =============================================

What an ``input`` or a ``context`` adds stands between the two. Other names of the object are passed
over. No chat template is applied: bases differ in theirs, and text is kept for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PAIRS = (
    ("instruction", "output"),
    ("instruction", "response"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
)
_BETWEEN = ("input", "context")
_LISTS = ("messages", "conversations")

FORMS = "messages, instruction and output, prompt and completion, or question and answer"
"""The forms in words, for a sentence."""


def rendered(fields: Mapping[str, Any]) -> str | None:
    """Return the text of an object that holds a chat or an instruction; None if it is neither.

    Raises ``ValueError`` or ``TypeError`` where one of the forms is begun and does not hold.
    """
    for name in _LISTS:
        if name in fields:
            return rendered_messages(fields[name])
    for asked, answered in _PAIRS:
        if asked in fields and answered in fields:
            between = [fields[name] for name in _BETWEEN if fields.get(name)]
            return _joined(_said(part) for part in (fields[asked], *between, fields[answered]))
    return None


def rendered_messages(messages: Any) -> str:
    """Return a list of messages as text, each with its role. Raises as ``rendered`` does."""
    if not isinstance(messages, list):
        raise TypeError("messages are no list")
    return _joined(map(_message, messages))


def _message(message: Mapping[str, Any]) -> str:
    role = message["role"] if "role" in message else message["from"]
    if not isinstance(role, str):
        raise TypeError("a role is no text")
    content = message.get("content", message.get("value"))
    # An assistant's message that only calls a tool has no content.
    text = "" if content is None else _said(content)
    return f"{role.strip().capitalize()}: {text}" if text else ""


def _said(content: Any) -> str:
    """Return what a field says: text, parts of which some are text, or messages."""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, list):
        raise TypeError("content is neither text nor a list")
    if all("role" in part or "from" in part for part in content):
        return rendered_messages(content)
    return _joined(part["text"] for part in content if part.get("type") == "text")


def _joined(parts: Any) -> str:
    return "\n\n".join(part for part in (part.strip() for part in parts) if part)
