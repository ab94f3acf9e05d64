"""Writing a first ``node.toml``, so that a new node runs with nothing but its text to name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nodes.config.sections import NodeConfig
from nodes.daemon import ENDPOINT_FILE
from nodes.errors import NodeError
from nodes.state.home import Home, write_file


def write_config(
    home: Home,
    *,
    base: Path,
    uplink: str | None = None,
    port: int = 0,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write ``node.toml`` into a node's folder; an existing one is kept as ``node.toml.old``.

    Args:
        uplink: the parent's address, ``host:port``.
        port: where this node listens, if it can have children; 0 lets the system choose.
        settings: further values, section by section, as in ``nodes.config.sections``.
    """
    sections: dict[str, dict[str, Any]] = {"model": {"base": str(base)}}
    if uplink:
        sections["uplink"] = {"address": uplink}
    if not home.is_device:
        sections["downlink"] = {"host": "127.0.0.1", "port": port}
    for name, values in (settings or {}).items():
        sections.setdefault(name, {}).update(values)
    lines = [f"# {home.certificate.name}: {home.certificate.role} of {home.scope}", ""]
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {_toml(value)}" for key, value in values.items()]
        lines.append("")
    path = home.folder / "node.toml"
    if path.exists():
        path.replace(path.with_suffix(".toml.old"))
    write_file(path, "\n".join(lines).encode())
    return path


def parent_address(home: Home, config: NodeConfig) -> str:
    """Where children reach a node: its configured port, or the one it last listened on."""
    if config.downlink is None:
        raise NodeError("no-downlink", "This node has no [downlink]; it cannot have children.")
    if config.downlink.port:
        return f"{config.downlink.host}:{config.downlink.port}"
    endpoint = home.folder / ENDPOINT_FILE
    if not endpoint.exists():
        raise NodeError(
            "no-address",
            "The parent chooses its port when it runs and has not run yet: "
            "start it once, set [downlink] port, or give --address.",
        )
    return str(json.loads(endpoint.read_text("utf-8"))["address"])


def _toml(value: Any) -> str:
    """A TOML value; JSON's strings, numbers and lists are TOML's too."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + " }"
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False, default=str)
