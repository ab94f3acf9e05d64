"""Write ``node.toml`` so that it says what a person may want to change, and what each of it does.

A setting that is not set stands there as a comment, with its default or an example. A section of
which nothing is set is a comment as a whole, so that one can also be added at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nodes.config.sections import DownlinkSettings, NodeConfig, UplinkSettings

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
    Comment("uplink", "addresses", "Where the parent is; tried in turn."),
    Comment("downlink", "host", "Where to listen for children; 127.0.0.1: on this machine only."),
    Comment("downlink", "port", "0: the first run chooses one and keeps it."),
    Comment(
        "downlink", "names", "Names by which children reach this machine.", ["gateway.example"]
    ),
    Comment("model", "base", "The folder of the base."),
    Comment("model", "threads", "Threads of one computation."),
    Comment(
        "data", "train", "Files to learn from: .txt, .md, .jsonl or .csv.", ["a.txt"], _DEVICES
    ),
    Comment("data", "watch", "A folder whose documents are taken in as they arrive.", "inbox"),
    Comment("data", "probes", "Files to measure with, by their source.", {"all": "probes.txt"}),
    Comment(
        "training", "mode", "Or personal: keep an adapter of this device's own.", None, _DEVICES
    ),
    Comment("training", "steps", "Steps of training in one round.", None, _DEVICES),
    Comment("rounds", "deadline_s", "Seconds after which a round ends.", None, _PARENTS),
    Comment(
        "rounds", "f", "Malicious children to tolerate, if not the most there can be.", 1, _PARENTS
    ),
    Comment("replay", "training_bytes", "Own text that is kept to be learned again."),
    Comment(
        "retention",
        "max_bytes",
        "Of all artefacts; by default 180 MB at a device, 900 MB elsewhere.",
        500_000_000,
    ),
    Comment("peers", "share", "Whether artefacts are given to others, or only taken."),
)
"""In the order in which they are written; docs/configuration.md has every setting."""

_ALL_SET = ("uplink", "downlink")
"""Sections that a node has or has not; nothing of them is proposed."""


_SOME_NODE = NodeConfig(
    uplink=UplinkSettings(addresses=("localhost:1",)), downlink=DownlinkSettings()
)


def commented(title: str, sections: Mapping[str, Mapping[str, Any]], *, is_device: bool) -> str:
    """Return the text of a ``node.toml`` with these values, section by section."""
    lines = [
        f"# {title}",
        "# What is commented out is a default or an example: see docs/configuration.md.",
    ]
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
    config: Any = _SOME_NODE
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
