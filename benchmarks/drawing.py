"""Draws the figures of a run: bars beside their budgets, and lines where a figure grows with something."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import log10
from typing import Final

from benchmarks.figures import Curve, Row

WIDTH: Final = 1180
BAR: Final = 26
"""Height of a bar and what is around it."""
PLOT: Final = (360, 220)
PLOTS: Final = 3
"""Plots beside each other."""
MARGIN: Final = 40
GREEN: Final = "#2f7d4f"
RED: Final = "#c0392b"


def picture(rows: Sequence[Row], curves: Sequence[Curve]) -> str:
    """Draw what has a budget as bars, where the budget is the dashed line and a bar beyond it misses; and how figures grow as lines below.

    Args:
        rows: The figures.
        curves: How some of them grow.

    Returns:
        SVG.
    """
    drawn = [row for row in rows if row.budget is not None]
    bars = BAR * len(drawn) + 30
    height = bars + PLOT[1] * -(-len(curves) // PLOTS)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">']
    parts.append(f'<rect width="100%" height="100%" fill="white"/><line x1="730" y1="10" x2="730" y2="{bars}" stroke="#444" stroke-dasharray="3 3"/>')
    for index, row in enumerate(drawn):
        parts.extend(_bar(row, 20 + BAR * index))
    for index, curve in enumerate(curves):
        parts.append(f'<g transform="translate({PLOT[0] * (index % PLOTS) + 20} {bars + PLOT[1] * (index // PLOTS)})">')
        parts.extend((*_plot(curve), "</g>"))
    return "\n".join([*parts, "</svg>"]) + "\n"


def _text(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _bar(row: Row, y: int) -> Iterator[str]:
    over, under = (row.budget or 1.0, row.figure) if row.more else (row.figure, row.budget or 1.0)
    width = min(200 * over / under, 300) if under else 300
    yield f'<text x="520" y="{y + 12}" text-anchor="end">{_text(row.what)}</text>'
    yield f'<rect x="530" y="{y}" width="{width:.0f}" height="16" fill="{GREEN if row.verdict == "met" else RED}"/>'
    yield f'<text x="{width + 536:.0f}" y="{y + 12}">{row.figure:,.1f} / {row.budget:g} {_text(row.unit)}</text>'


def _plot(curve: Curve) -> Iterator[str]:
    """Draw one line: how much there is of something to the right, by powers of ten; CPU time of an event upwards, from 0."""
    right, bottom = PLOT[0] - MARGIN, PLOT[1] - MARGIN
    widest = max(log10(much) for much, _ in curve.points) or 1.0
    most = 1.1 * max(curve.budget, *(cost for _, cost in curve.points))

    def place(much: float, cost: float) -> tuple[float, float]:
        return MARGIN + (right - MARGIN - 20) * log10(much) / widest, bottom - (bottom - MARGIN) * cost / most

    level = place(1, curve.budget)[1]
    yield f'<text x="{MARGIN}" y="20">CPU µs an event by {_text(curve.of)}</text>'
    yield f'<path d="M{MARGIN} {MARGIN}V{bottom}H{right}" fill="none" stroke="#444"/>'
    yield f'<line x1="{MARGIN}" y1="{level:.1f}" x2="{right}" y2="{level:.1f}" stroke="#444" stroke-dasharray="3 3"/>'
    yield f'<text x="{right}" y="{level - 4:.1f}" text-anchor="end">at most {curve.budget:,.0f}</text>'
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in curve.points))
    colour = RED if any(cost > curve.budget for _, cost in curve.points) else GREEN
    yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for much, cost in curve.points:
        x, y = place(much, cost)
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/><text x="{x:.1f}" y="{y + 16:.1f}">{cost:,.0f}</text>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{much:,.0f}</text>'
