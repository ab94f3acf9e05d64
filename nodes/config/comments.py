"""Write ``node.toml`` so that it says what a person may want to change, and what each of it does.

A setting that is not set stands there as a comment with its default. A section of which nothing is
set is a comment as a whole, so that one can also be added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.config.sections import NodeConfig

_DEVICES, _PARENTS = "devices", "parents"


@dataclass(frozen=True)
class Comment:
    """What is said of a setting.

    Attributes:
        section: empty for what stands before all sections.
        example: written in place of the default, where there is none.
        only: for whom it matters: ``devices``, ``parents``, or everybody.
    """

    section: str
    key: str
    does: str
    example: Any = None
    only: str = ""


COMMENTS = (
    Comment("", "log_level", "What is logged: debug, info, warning or error."),
    Comment("uplink", "addresses", "Where the parent is; tried in turn.", ["10.0.0.7:9941"]),
    Comment("downlink", "host", "Where to listen for children; 127.0.0.1: only here.", "0.0.0.0"),  # noqa: S104
    Comment("downlink", "port", "0: the first run chooses one and keeps it."),
    Comment("downlink", "names", "Names by which children reach this machine.", only=_PARENTS),
    Comment("model", "base", "The folder of the base."),
    Comment("model", "threads", "Processors that one computation uses."),
    Comment("data", "train", "Files to learn from: .txt, .md, .jsonl or .csv.", only=_DEVICES),
    Comment("data", "watch", "A folder whose documents are taken in as they arrive.", "inbox"),
    Comment("data", "probes", "Files to measure candidates with, by their source."),
    Comment("training", "mode", '"personal" keeps an adapter of this device\'s own.', only=_DEVICES),
    Comment("training", "steps", "Steps of training in one round.", only=_DEVICES),
    Comment("rounds", "deadline_s", "Seconds after which a round ends.", only=_PARENTS),
    Comment("rounds", "f", "Malicious children to tolerate, if not as many as can be.", 1, _PARENTS),
    Comment("replay", "training_bytes", "Own text that is kept to be learned again."),
    Comment("retention", "max_bytes", "Of all artefacts; the oldest go first.", 900_000_000),
    Comment("peers", "share", "false: take artefacts from others, and give none."),
)
"""In the order in which they are written; docs/configuration.md has every setting."""

_ALL_SET = ("uplink", "downlink")
"""Sections that a node has or has not; nothing of them is proposed."""


def commented(title: str, sections: Mapping[str, Mapping[str, Any]], *, is_device: bool) -> str:
    """Return the text of a ``node.toml`` with these values, section by section."""
    lines = [f"# {title}", "# What is commented out has its default: see docs/configuration.md."]
    order = dict.fromkeys(["", *sections, *(comment.section for comment in COMMENTS)])
    other = _PARENTS if is_device else _DEVICES
    for name in order:
        values = sections.get(name, {})
        about = [c for c in COMMENTS if c.section == name and (c.only != other or c.key in values)]
        if name in _ALL_SET and not values:
            continue
        block = list(_settings(about, values))
        if not block:
            continue
        head = [] if not name else [f"[{name}]"] if values else [f"# [{name}]"]
        lines += ["", *head, *block]
    return "\n".join([*lines, ""])


def _settings(about: list[Comment], values: Mapping[str, Any]) -> Iterator[str]:
    for comment in about:
        yield f"# {comment.does}"
        if comment.key in values:
            yield f"{comment.key} = {_toml(values[comment.key])}"
        else:
            yield f"# {comment.key} = {_toml(_default(comment))}"
    described = {comment.key for comment in about}
    yield from (f"{key} = {_toml(value)}" for key, value in values.items() if key not in described)


def _default(comment: Comment) -> Any:
    if comment.example is not None:
        return comment.example
    config = NodeConfig()
    return getattr(getattr(config, comment.section) if comment.section else config, comment.key)


def _toml(value: Any) -> str:
    """Encode a TOML value; JSON's strings, numbers and lists are TOML's too."""
    if isinstance(value, Mapping):
        if not value:
            return "{}"
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False, default=str)
