"""Small charts as inline SVG. Colours and dashes are classes of the page's style sheet.

A chart is 420 units wide whatever its place, so that its text stays readable at a phone's width.
No colour carries meaning alone: lines also differ in their dashes, dots in their shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from simulations.report.cells import Points

WIDTH, HEIGHT = 420, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 40
COLOURS, DASHES = 7, 5
SHAPES = 5
MOST_LINES = 21


@dataclass(frozen=True)
class Line:
    """A line over x; ``band`` has (x, least, most) over seeds."""

    label: str
    points: Points
    style: int
    band: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True)
class Dot:
    """A point with its ranges over seeds."""

    label: str
    x: tuple[float, float, float]
    y: tuple[float, float, float]
    style: int


@dataclass(frozen=True)
class Axis:
    """What an axis shows: ``form`` writes a tick; ticks are round in ``unit``.

    ``counts``: only whole numbers have a tick.
    """

    title: str
    form: Callable[[float], str]
    log: bool = False
    unit: float = 1.0
    counts: bool = False

    def ticks(self, span: tuple[float, float]) -> list[float]:
        """Places of ticks within a span of values."""
        low, high = span[0] / self.unit, span[1] / self.unit
        found = ticks(low, high, log=self.log)
        return [value * self.unit for value in found if not self.counts or value == round(value)]


@dataclass(frozen=True)
class _Frame:
    """From values to places: x to the right, y upward."""

    x: tuple[float, float]
    y: tuple[float, float]
    log_x: bool
    log_y: bool

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = _share(x, self.x, self.log_x) * (WIDTH - LEFT - RIGHT)
        up = _share(y, self.y, self.log_y) * (HEIGHT - TOP - BOTTOM)
        return LEFT + across, HEIGHT - BOTTOM - up


def line_chart(
    lines: Sequence[Line],
    x: Axis,
    y: Axis,
    *,
    levels: Sequence[tuple[str, float]] = (),
    marks: Sequence[float] = (),
    ceiling: float | None = None,
) -> Markup:
    """Lines with reference levels; ``marks`` are ticks at the top, ``ceiling`` cuts what runs away.

    Values that are not finite leave a gap.
    """
    xs = [p[0] for line in lines for p in line.points]
    ys = [p[1] for line in lines for p in line.points if math.isfinite(p[1])]
    ys += [value for _, value in levels]
    if ceiling is not None:
        ys = [min(value, ceiling) for value in ys]
    frame = _Frame(_range(xs, x.log), _padded(ys, y.log), x.log, y.log)
    body = [_axes(frame, x, y)]
    for name, value in levels:
        (x0, y0), (x1, _) = frame.at(frame.x[0], value), frame.at(frame.x[1], value)
        body.append(f'<path class="level" d="M{x0:.1f} {y0:.1f}H{x1:.1f}"/>')
        # Lines come down from the base toward the lower levels: names stand on the far side.
        at = y0 - 4 if value == max(of for _, of in levels) else y0 + 12
        body.append(
            f'<text class="tick" x="{x1:.1f}" y="{at:.1f}" text-anchor="end">{escape(name)}</text>'
        )
    body += [_mark(frame, at) for at in marks]
    # An inner svg clips: a line that runs away stays inside the plot.
    body.append(
        f'<svg x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT - TOP - BOTTOM}"'
        f' viewBox="{LEFT} {TOP} {WIDTH - LEFT - RIGHT} {HEIGHT - TOP - BOTTOM}">'
    )
    bands = len([line for line in lines if line.band]) <= 6
    for line in lines if bands else ():
        body.append(_band(frame, line))
    for line in lines:
        body.append(_path(frame, line))
    body.append("</svg>")
    said = f"{y.title} over {x.title}: {', '.join(line.label for line in lines)}"
    return _svg(HEIGHT, said, "".join(body))


def dot_chart(dots: Sequence[Dot], x: Axis, y: Axis) -> Markup:
    """Dots with whiskers over seeds."""
    frame = _Frame(
        _padded([v for dot in dots for v in dot.x], x.log),
        _padded([v for dot in dots for v in dot.y], y.log),
        x.log,
        y.log,
    )
    body = [_axes(frame, x, y)]
    for dot in dots:
        at_x, at_y = frame.at(dot.x[0], dot.y[0])
        left, right = frame.at(dot.x[1], dot.y[0])[0], frame.at(dot.x[2], dot.y[0])[0]
        low, high = frame.at(dot.x[0], dot.y[1])[1], frame.at(dot.x[0], dot.y[2])[1]
        colour = dot.style % COLOURS
        body.append(
            f'<path class="whisker c{colour}" d="M{left:.1f} {at_y:.1f}H{right:.1f}'
            f'M{at_x:.1f} {low:.1f}V{high:.1f}"/>'
        )
        title = f"{dot.label}: {y.form(dot.y[0])} at {x.form(dot.x[0])}"
        body.append(f"<g><title>{escape(title)}</title>{shape(at_x, at_y, dot.style)}</g>")
    return _svg(HEIGHT, f"{y.title} over {x.title}", "".join(body))


def legend(labels: Sequence[tuple[str, int]], *, dots: bool = False) -> Markup:
    """Label and style, as the charts draw them."""
    items = []
    for text, style in labels:
        if dots:
            mark = shape(9, 7, style)
            sample = f'<svg class="key" viewBox="0 0 18 14" aria-hidden="true">{mark}</svg>'
        else:
            sample = (
                '<svg class="key" viewBox="0 0 30 14" aria-hidden="true">'
                f'<path class="line c{style % COLOURS} d{style % DASHES}" d="M1 7H29"/></svg>'
            )
        items.append(f"<li>{sample}{escape(text)}</li>")
    return Markup(f'<ul class="legend">{"".join(items)}</ul>')  # noqa: S704  escaped above


def shape(x: float, y: float, style: int) -> str:
    """A mark of about 9 units: circle, square, triangle, diamond or cross."""
    name = f'class="dot c{style % COLOURS}"'
    match style % SHAPES:
        case 0:
            return f'<circle {name} cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>'
        case 1:
            return f'<rect {name} x="{x - 4:.1f}" y="{y - 4:.1f}" width="8" height="8"/>'
        case 2:
            return f'<path {name} d="M{x:.1f} {y - 5:.1f}l5.2 9h-10.4z"/>'
        case 3:
            return f'<path {name} d="M{x:.1f} {y - 5.5:.1f}l5.5 5.5l-5.5 5.5l-5.5 -5.5z"/>'
        case _:
            cross = "h3.4v-3.4h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4z"
            return f'<path {name} d="M{x - 5:.1f} {y - 1.6:.1f}{cross}"/>'


def _svg(height: float, said: str, body: str) -> Markup:
    return Markup(  # noqa: S704  every text in the body is escaped where it is made
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:g}" role="img"'
        f' aria-label="{escape(said)}">{body}</svg>'
    )


def _axes(frame: _Frame, x: Axis, y: Axis) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for value in y.ticks(frame.y):
        _, at = frame.at(frame.x[0], value)
        parts.append(f'<path class="rule" d="M{LEFT} {at:.1f}H{right}"/>')
        parts.append(
            f'<text class="tick" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">'
            f"{escape(y.form(value))}</text>"
        )
    for value in x.ticks(frame.x):
        at, _ = frame.at(value, frame.y[0])
        parts.append(f'<path class="axis" d="M{at:.1f} {bottom}v4"/>')
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">'
            f"{escape(x.form(value))}</text>"
        )
    parts.append(f'<path class="axis" d="M{LEFT} {bottom}H{right}"/>')
    middle = (LEFT + right) / 2
    parts.append(
        f'<text class="name" x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x.title)}</text>"
    )
    return "".join(parts)


def _path(frame: _Frame, line: Line) -> str:
    steps, pen = [], "M"
    for x, y in line.points:
        if not math.isfinite(y):
            pen = "M"
            continue
        at_x, at_y = frame.at(x, y)
        steps.append(f"{pen}{at_x:.1f} {max(at_y, -9 * HEIGHT):.1f}")
        pen = "L"
    if len(steps) == 1:
        # One point alone draws nothing; a short dash shows it.
        steps.append("h4")
    style = f"c{line.style % COLOURS} d{line.style % DASHES}"
    title = f"<title>{escape(line.label)}</title>"
    return f'<path class="line {style}" d="{"".join(steps)}">{title}</path>'


def _band(frame: _Frame, line: Line) -> str:
    there = [(x, a, b) for x, a, b in line.band if math.isfinite(a) and math.isfinite(b)]
    if not any(a != b for _, a, b in there):
        return ""
    over = [frame.at(x, most) for x, _, most in there]
    under = [frame.at(x, least) for x, least, _ in reversed(there)]
    outline = "L".join(f"{x:.1f} {max(y, -9 * HEIGHT):.1f}" for x, y in over + under)
    return f'<path class="band c{line.style % COLOURS}" d="M{outline}Z"/>'


def _mark(frame: _Frame, at_x: float) -> str:
    at, _ = frame.at(min(max(at_x, frame.x[0]), frame.x[1]), frame.y[0])
    return f'<path class="mark" d="M{at:.1f} {TOP - 6}l3.5 -5h-7z"/>'


def _share(value: float, span: tuple[float, float], log: bool) -> float:
    low, high = span
    if log:
        value, low, high = math.log10(max(value, low)), math.log10(low), math.log10(high)
    return (value - low) / (high - low)


def _range(values: Sequence[float], log: bool) -> tuple[float, float]:
    there = [v for v in values if math.isfinite(v) and (v > 0 or not log)]
    low, high = (min(there), max(there)) if there else (1.0, 2.0)
    if low == high:
        return (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
    return low, high


def _padded(values: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = _range(values, log)
    if log:
        edge = (high / low) ** 0.07
        return low / edge, high * edge
    edge = (high - low) * 0.09
    # Losses and bytes are never below nothing: room below zero would be a lie.
    return (low - edge if low - edge >= 0 or low < 0 else 0.0), high + edge


def ticks(low: float, high: float, *, log: bool = False) -> list[float]:
    """Three to six round values inside the range; powers of ten, with 2 and 5, on a log axis."""
    if log:
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        wide = math.log10(high / low) > 2.5
        steps = (1,) if wide else (1, 2, 5)
        found = [10.0**d * s for d in decades for s in steps if low <= 10.0**d * s <= high]
        if len(found) > 1:
            return found[:: max(1, math.ceil(len(found) / 6))]
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]
