"""Read ``node.toml``, and write a first one for a new node."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nodes.config.addresses import distinct, free_port, parse_host, parse_reachable
from nodes.config.comments import commented
from nodes.config.sections import NodeConfig
from nodes.errors import NodeError
from nodes.machine.files import write_file
from nodes.state.home import Home


def load_config(path: Path) -> NodeConfig:
    """Read ``node.toml``.

    Raises ``NodeError`` (``no-config``, ``bad-config``) with the place of each mistake.
    """
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        raise NodeError(
            "no-config", f"There is no configuration at {path}. `banyan node enrol` writes one."
        ) from None
    except UnicodeDecodeError as error:
        raise NodeError("bad-config", f"{path} is not valid TOML: {error}.") from None
    return _resolve(_parsed(path, text), path.parent.resolve())


def _parsed(path: Path, text: str) -> NodeConfig:
    try:
        return NodeConfig.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise NodeError("bad-config", f"{path} is not valid TOML: {error}.") from None
    except ValidationError as error:
        problems = "; ".join(mistakes(error))
        raise NodeError("bad-config", f"{path} has mistakes: {problems}.") from None


def mistakes(error: ValidationError) -> list[str]:
    """List every mistake with its place: ``rounds.f: Input should be …``."""
    problems = []
    for item in error.errors():
        place = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        problems.append(f"{place}: {message}" if place else message)
    return problems


def _resolve(config: NodeConfig, folder: Path) -> NodeConfig:
    """Make every path absolute, from the folder of the file."""
    model, data = config.model, config.data
    return config.model_copy(
        update={
            "state": folder / config.state,
            "model": model.model_copy(
                update={
                    "base": folder / model.base,
                    "lease": folder / model.lease if model.lease else None,
                }
            ),
            "data": data.model_copy(
                update={
                    "train": tuple(folder / p for p in data.train),
                    "probes": {source: folder / p for source, p in data.probes.items()},
                    "watch": folder / data.watch if data.watch else None,
                }
            ),
        }
    )


def write_config(
    home: Home,
    *,
    base: Path | None = None,
    uplink: Sequence[str] = (),
    host: str = "127.0.0.1",
    port: int | None = None,
    names: Sequence[str] = (),
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write ``node.toml`` into a node's folder; an existing one is kept as ``node.toml.old``.

    Args:
        base: where the base is on this machine; by default it comes from the parent, into the
            node's own folder.
        uplink: the parent's addresses, ``host:port``.
        host: where this node listens, if it can have children.
        port: likewise; by default one that is free now, and 0 leaves the choice to the first run.
        names: under which children reach it, if not under this machine's own addresses.
        settings: further values, section by section, as in ``nodes.config.sections``.

    Raises ``NodeError``: ``bad-address``, ``cannot-listen``, ``bad-config`` for what could not be
    read again; then nothing is written.
    """
    sections: dict[str, dict[str, Any]] = {"model": {"base": str(base)}} if base else {}
    if uplink:
        sections["uplink"] = {"addresses": list(distinct(uplink))}
    if not home.is_device:
        host = parse_host(host)
        port = free_port(host) if port is None else port
        sections["downlink"] = {"host": host, "port": port}
        if names:
            for name in names:
                parse_reachable(name, port or 1)
            sections["downlink"]["names"] = list(names)
    for name, values in (settings or {}).items():
        sections.setdefault(name, {}).update(values)
    own = home.certificate
    text = commented(f"{own.name}: {own.role} of {home.scope}", sections, is_device=home.is_device)
    path = home.folder / "node.toml"
    _parsed(path, text)  # what could not be read again is not written
    if path.exists():
        path.replace(path.with_suffix(".toml.old"))
    write_file(path, text.encode())
    return path
