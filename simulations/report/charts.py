"""Charts by matplotlib: SVG in the page, and PNG for documents that cannot hold a page.

A chart is a value that draws itself on axes; the page and the picture draw the same ones. The style
sheet declares the colours, and the SVG refers to them by name, so that it follows a dark page. In
the page a chart is 420 units wide whatever its place, so that its text stays readable at a phone's
width. No colour carries meaning alone: lines also differ in their dashes, dots in their shape.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from nodes.errors import NodeError
from simulations.report.cells import Points

try:
    import matplotlib
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis as MatplotlibAxis
    from matplotlib.figure import Figure as Figure
    from matplotlib.lines import Line2D
    from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
except ImportError as error:
    sentence = "A report needs matplotlib; install the extra: banyan-fl[simulations]."
    raise NodeError("no-matplotlib", sentence) from error

STYLE = files("simulations.report").joinpath("report.css").read_text("utf-8")
THEME = dict(reversed(re.findall(r"--(\w+): (#[0-9a-f]{6});", STYLE)))
"""Names and values of the colours on a light page: the first of each in the style sheet."""
COLOURS = tuple(THEME[f"c{number}"] for number in range(7))
DASHES: tuple[Any, ...] = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)), (0, (8, 2)))
SHAPES = "os^DP"
WIDTH, HEIGHT = 420, 250
BAR_ROW = 34
Band = tuple[tuple[float, float, float], ...]
"""(x, least, most) over seeds."""
MOST_LINES = 21
MOST_BANDS = 6
"""With bands around more lines nobody can tell which is whose."""


@dataclass(frozen=True)
class Chart:
    """Draws itself on axes; ``text`` is what a screen reader says in its place.

    Attributes:
        key: labels with their styles, for a legend.
        height: in units.
        margins: left, bottom, right and top of the axes, in units.
    """

    draw: Callable[[Axes], None]
    text: str = ""
    key: tuple[tuple[str, int], ...] = ()
    height: float = HEIGHT
    margins: tuple[float, float, float, float] = (52, 40, 12, 12)


@dataclass(frozen=True)
class Axis:
    """A title, how a tick is written, and whether ticks are logarithmic or whole numbers."""

    title: str
    form: Callable[[float], str]
    log: bool = False
    counts: bool = False

    def set_up(self, axis: MatplotlibAxis) -> None:
        """Choose the ticks for what the axis shows by now."""
        if self.log:
            low, high = axis.get_view_interval()
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
            axis.set_minor_locator(NullLocator())
        else:
            steps = [1, 2, 2.5, 5, 10]
            axis.set_major_locator(MaxNLocator(5, integer=self.counts, steps=steps))
        axis.set_major_formatter(lambda value, _: self.form(value))


@dataclass(frozen=True)
class Line:
    """A line over x, with a band over seeds."""

    label: str
    points: Points
    style: int
    band: Band = ()


def line_chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    levels: Sequence[tuple[str, float]] = (),
    marks: Sequence[float] = (),
    ceiling: float = math.inf,
) -> Chart:
    """Lines with named levels; ``marks`` are triangles at the top, ``ceiling`` cuts what runs away.

    Values that are not finite leave a gap.
    """

    def draw(axes: Axes) -> None:
        banded = sum(bool(line.band) for line in lines) <= MOST_BANDS
        for line in lines:
            xs, ys = zip(*line.points, strict=True) if line.points else ((), ())
            alone = "." if len(line.points) == 1 else ""
            axes.plot(xs, _finite(ys), marker=alone, label=line.label, **stroke(line.style))
            if banded and any(least != most for _, least, most in line.band):
                xs, low, high = zip(*line.band, strict=True)
                colour = COLOURS[line.style % len(COLOURS)]
                axes.fill_between(xs, _finite(low), _finite(high), color=colour, alpha=0.14, lw=0)
        for name, value in levels:
            axes.axhline(value, color=THEME["soft"], lw=1, ls=(0, (2, 4)))
            # Lines come down from the base toward the lower levels: names stand on the far side.
            up = value == max(level for _, level in levels)
            axes.annotate(
                name,
                (1, value),
                (0, 3 if up else -3),
                xycoords=axes.get_yaxis_transform(),
                textcoords="offset points",
                ha="right",
                va="bottom" if up else "top",
                color=THEME["soft"],
            )
        _set_up(axes, x, y)
        shown = [y for line in lines for _, y in line.points if math.isfinite(y)]
        shown += [value for _, value in levels]
        if shown and not y.log:
            axes.set_ylim(_padded(min(shown), min(max(shown), ceiling)))
        left, right = axes.set_xlim(axes.get_xlim())
        for moment in marks:
            place, top = min(max(moment, left), right), axes.get_xaxis_transform()
            axes.plot(place, 1.02, "v", ms=5, c=THEME["soft"], transform=top, clip_on=False)

    key = tuple((line.label, line.style) for line in lines)
    return Chart(draw, f"{y.title} over {x.title}: {', '.join(label for label, _ in key)}", key)


@dataclass(frozen=True)
class Dot:
    """A point as (median, least, most) over seeds in both directions."""

    label: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    style: int


def dot_chart(dots: Sequence[Dot], x: Axis, y: Axis) -> Chart:
    """Dots with whiskers over seeds."""

    def draw(axes: Axes) -> None:
        axes.margins(0.07)
        for dot in dots:
            (middle, left, right), (height, low, high) = dot.x, dot.y
            whiskers = [[middle - left], [right - middle]], [[height - low], [high - height]]
            axes.errorbar(middle, height, xerr=whiskers[0], yerr=whiskers[1], **mark(dot.style))
        _set_up(axes, x, y)

    places = (f"{dot.label} {y.form(dot.y[0])} at {x.form(dot.x[0])}" for dot in dots)
    text = f"{y.title} over {x.title}: {', '.join(places)}"
    return Chart(draw, text, tuple((dot.label, dot.style) for dot in dots))


def bar_chart(
    labels: Sequence[str], counts: Sequence[Counter[str]], kinds: Sequence[tuple[str, int]]
) -> Chart:
    """A bar of shares for each label; each kind has a colour, by its number, and its place."""
    key = legend(kinds, "s")

    def draw(axes: Axes) -> None:
        axes.set(xlim=(0, 1), ylim=(len(labels), -key.height / BAR_ROW))
        key.draw(axes)
        for row, (label, counter) in enumerate(zip(labels, counts, strict=True)):
            total = sum(counter[kind] for kind, _ in kinds)
            axes.text(0, row + 0.4, shorten(label, 44))
            axes.text(1, row + 0.4, f"{total:,}", ha="right", c=THEME["soft"])
            start = 0.0
            for kind, colour in kinds:
                share = counter[kind] / total if total else 0.0
                edge = {"edgecolor": THEME["ground"], "lw": 1}
                axes.barh(row + 0.7, share, 0.36, start, color=COLOURS[colour], **edge)
                start += share

    text = "; ".join(f"{kind}: {sum(one[kind] for one in counts):,}" for kind, _ in kinds)
    return Chart(draw, text, (), BAR_ROW * len(labels) + key.height, (0, 0, 0, 0))


def legend(key: Sequence[tuple[str, int]], shape: str = "-") -> Chart:
    """Labels with their styles; ``shape`` "-" for lines, "" for dots, else one shape for all."""
    longest = max((len(label) for label, _ in key), default=0)
    columns = min(max(1, int(WIDTH / (44 + 7 * longest))), len(key) or 1)

    def draw(axes: Axes) -> None:
        axes.set_axis_off()
        forms = [stroke(style) if shape == "-" else mark(style, shape) for _, style in key]
        samples = [
            Line2D([], [], label=shorten(label, 54), **form)
            for (label, _), form in zip(key, forms, strict=True)
        ]
        # matplotlib fills columns; readers go row by row.
        axes.legend(
            handles=[sample for first in range(columns) for sample in samples[first::columns]],
            ncols=columns,
            loc="upper left",
            borderpad=0,
            borderaxespad=0,
            handlelength=2.4 if shape == "-" else 1.2,
        )

    text = f"Legend: {', '.join(label for label, _ in key)}"
    return Chart(draw, text, (), 20 * math.ceil(len(key) / columns) + 4, (0, 0, 0, 0))


def stroke(style: int) -> dict[str, Any]:
    """A line's colour and dashes."""
    return {"color": COLOURS[style % len(COLOURS)], "ls": DASHES[style % len(DASHES)], "lw": 2}


def mark(style: int, shape: str = "") -> dict[str, Any]:
    """A dot's colour and shape."""
    shape = shape or SHAPES[style % len(SHAPES)]
    return {"color": COLOURS[style % len(COLOURS)], "ls": "", "marker": shape, "ms": 8}


def to_svg(chart: Chart, number: int) -> Markup:
    """Draw a chart as an inline SVG; ``number`` keeps its references apart from other charts'."""
    left, bottom, right, top = chart.margins
    wide, high = WIDTH - left - right, chart.height - bottom - top
    with _styled(12, f"chart {number}"):
        figure = Figure(figsize=(WIDTH / 72, chart.height / 72), dpi=72)
        place = left / WIDTH, bottom / chart.height, wide / WIDTH, high / chart.height
        chart.draw(figure.add_axes(place))
        buffer = io.StringIO()
        # Without the date and the version of matplotlib the same records give the same bytes.
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    # The first element is a style for the whole document; nobody refers to groups by their id.
    body = buffer.getvalue().split("</defs>", 1)[1]
    body = re.sub(r"\s+", " ", re.sub(r'(?<=<g) id="[^"]*"|font-family: [^;"]*;?', "", body))
    for name, value in THEME.items():
        body = body.replace(value, f"var(--{name})")
    return Markup(  # noqa: S704  matplotlib escapes what stands in texts
        f'<svg class="chart" viewBox="0 0 {WIDTH} {chart.height:g}" role="img"'
        f' aria-label="{escape(chart.text)}">{body}'
    )


def to_png(title: str, panels: Sequence[tuple[str, float, Chart]], height: float) -> bytes:
    """Draw charts side by side, each with its title and its width; widths and height in inches."""
    with _styled(8, ""):
        widths = [width for _, width, _ in panels]
        figure = Figure(figsize=(max(sum(widths), 8), height), layout="constrained", dpi=130)
        figure.suptitle(shorten(title, 60), x=0.01, ha="left", size=12, weight="bold")
        every_axes = figure.subplots(1, len(panels), width_ratios=widths, squeeze=False)[0]
        for axes, (panel_title, _, chart) in zip(every_axes, panels, strict=True):
            chart.draw(axes)
            axes.set_title(panel_title, size=9, loc="left")
            if chart.key:
                axes.legend(loc="upper left", bbox_to_anchor=(0, -0.12), ncols=2)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def shorten(text: str, most: int) -> str:
    """Cut a text that is too long to draw."""
    return text if len(text) <= most else f"{text[: most - 1]}…"


@contextmanager
def _styled(size: float, salt: str) -> Iterator[None]:
    style: dict[Any, Any] = {
        "axes.axisbelow": True,
        "axes.edgecolor": THEME["soft"],
        "axes.grid": True,
        "axes.grid.axis": "y",
        "axes.labelcolor": THEME["soft"],
        "axes.spines.left": False,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.xmargin": 0,
        "font.size": size,
        "grid.color": THEME["rule"],
        "legend.frameon": False,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.color": THEME["ink"],
        # What stands between dollars is a name and no mathematics.
        "text.parse_math": False,
        "xtick.color": THEME["soft"],
        "ytick.color": THEME["soft"],
        "ytick.major.size": 0,
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        # A name in letters that the font lacks shows boxes; that is no reason to lose the report.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


def _set_up(axes: Axes, x: Axis, y: Axis) -> None:
    axes.set(xscale="log" if x.log else "linear", yscale="log" if y.log else "linear")
    axes.set_xlabel(x.title)
    x.set_up(axes.xaxis)
    y.set_up(axes.yaxis)


def _finite(values: Sequence[float]) -> list[float]:
    return [value if math.isfinite(value) else math.nan for value in values]


def _padded(low: float, high: float) -> tuple[float, float]:
    edge = 0.09 * (high - low) or 0.5
    # Losses and bytes are never below nothing: room below zero would be a lie.
    return (low - edge if low - edge >= 0 or low < 0 else 0.0), high + edge
