"""Numbers and settings as a person reads them: with a unit, and no more digits than help."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

DASH = "–"
DIVERGED = "diverged"
NBSP = "\u00a0"
"""Keeps a number and its unit on one line."""


def figure(value: float | None) -> str:
    """Write a loss, a gain or a count; ``–`` for none, ``diverged`` for one that is not finite."""
    if value is None:
        return DASH
    if not math.isfinite(value):
        return DIVERGED
    size = abs(value)
    if size >= 1e7:
        text = f"{value:.2e}"
    elif size >= 1000 or (value == int(value) and size >= 10):
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:.1f}"
    elif size >= 0.1 or size == 0:
        text = f"{value:.3f}"
    elif size >= 0.001:
        text = f"{value:.4f}"
    else:
        text = f"{value:.2e}"
    return text.replace("-", "−", 1) if value < 0 else text


def marked(text: str) -> Markup:
    """Turn a paragraph into markup: join its lines, show what stands between backticks as code."""
    escaped = str(escape(" ".join(text.split())))
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", escaped))  # noqa: S704  escaped above


def whole(value: float | None) -> str:
    """Write a count, with thousands apart."""
    return DASH if value is None or not math.isfinite(value) else f"{value:,.0f}"


def percent(share: float | None) -> str:
    """Write a share of one; beyond a thousand percent only that it is beyond."""
    if share is None:
        return DASH
    if not math.isfinite(share):
        return DIVERGED
    if abs(share) > 10:
        return f"<{NBSP}−1000{NBSP}%" if share < 0 else f">{NBSP}1000{NBSP}%"
    return f"{share * 100:.0f}{NBSP}%".replace("-", "−")


def factor(value: float | None) -> str:
    """Write how many times: ``×9.8``."""
    if value is None or not math.isfinite(value):
        return DASH
    return f"×{value:,.0f}" if value >= 100 else f"×{value:.3g}"


def size(count: float | None) -> str:
    """Write bytes in decimal units."""
    if count is None or not math.isfinite(count):
        return DASH
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(count) >= scale:
            value = count / scale
            return f"{value:,.0f}{NBSP}{unit}" if value >= 100 else f"{value:.3g}{NBSP}{unit}"
    return f"{count:.0f}{NBSP}B"


TIERS = ("root", "language", "domain", "subdomain")
UNITS = (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0))


def time_unit(most: float) -> tuple[str, float]:
    """Choose the unit for times up to ``most`` seconds; gives its name and its seconds."""
    return next(((name, scale) for name, scale in UNITS if most >= 2 * scale), ("s", 1.0))


def duration(seconds: float | None) -> str:
    """Write seconds in a unit that fits."""
    if seconds is None or not math.isfinite(seconds):
        return DASH
    if 0 < seconds < 1:
        return f"{seconds * 1000:.3g}{NBSP}ms"
    name, scale = time_unit(seconds)
    value = seconds / scale
    return f"{value:,.0f}{NBSP}{name}" if value >= 100 else f"{value:.3g}{NBSP}{name}"


def value_text(value: Any) -> str:
    """Write a setting's value: a pipeline as ``arc + clipping``, a fan-out as ``2×3×10``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        if value and all(isinstance(v, int | float) for v in value):
            return "×".join(f"{v:g}" for v in value)
        if all(isinstance(v, str) for v in value):
            return " + ".join(value) or "nothing"
        return " / ".join(map(value_text, value)) or "nothing"
    if isinstance(value, Mapping):
        # A table that is swept as a whole, such as an attack with its fraction: its name leads.
        name = [value_text(value["name"])] if "name" in value else []
        items = [(key, item) for key, item in value.items() if key != "name"]
        return ", ".join([*name, *(f"{key_text(key)} {value_text(item)}" for key, item in items)])
    if isinstance(value, str):
        return value
    if isinstance(value, float | int):
        return f"{value:,}" if isinstance(value, int) else f"{value:g}"
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def key_text(path: str, among: Collection[str] = ()) -> str:
    """Shorten a dotted setting to a name that no other of ``among`` shares."""
    short = _short(path)
    clash = any(_short(other) == short for other in among if other != path)
    return path if clash else short


def _short(path: str) -> str:
    parts = path.split(".")
    last = parts[-2] if parts[-1] == "name" and len(parts) > 1 else parts[-1]
    return last.replace("_", " ")


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 cell``, ``2 cells``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def tier_rank(tier: str) -> tuple[int, int]:
    """Sort tiers: root first, devices last, ``tierN`` between by number."""
    if tier in TIERS:
        return 0, TIERS.index(tier)
    number = tier.removeprefix("tier")
    return (2, 0) if tier == "device" else (1, int(number) if number.isdigit() else 0)
