"""The chart of a soak: what every node took, over time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simulations.report.charts import Figure

MEASURES = (
    ("pss", "memory (PSS), MB", 1e6),
    ("descriptors", "open descriptors", 1),
    ("disk", "disk beside base and text, MB", 1e6),
    ("version", "version", 1),
)


def draw(report: Mapping[str, Any], file: Path) -> None:
    """Write the chart as PNG: one line a node in each of four panels."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True).ravel()
    for axes, (key, title, unit) in zip(panels, MEASURES, strict=True):
        for number, row in enumerate(report["nodes"]):
            own = [one for one in report["samples"] if one["node"] == row["node"]]
            minutes = [one["at_s"] / 60 for one in own]
            style = "-" if row["role"] != "device" else "--"
            axes.plot(
                minutes,
                [one[key] / unit for one in own],
                style,
                color=f"C{number}",
                linewidth=1,
                label=row["node"],
            )
        axes.set_title(title, loc="left", fontsize=10)
        axes.grid(alpha=0.3)
        axes.set_ylim(bottom=0)
    for axes in panels[2:]:
        axes.set_xlabel("minutes")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(file, dpi=110)
