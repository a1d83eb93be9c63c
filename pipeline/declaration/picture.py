"""A topology as an SVG picture: topics as pills, processors as boxes, left to right in the direction of an event."""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from pipeline.declaration.topology import MAIN
from pipeline.model.topology import Processor, Topology

_COLUMN: Final = 117
_ROW: Final = 78
_WIDTH: Final = 100
_MARGIN: Final = 16
_LONG: Final = 14
"""Characters of a topic's name that fit on one line."""
_FONT: Final = "ui-sans-serif, system-ui, sans-serif"
_INK, _MUTED, _LINE, _ACCENT, _BAD = "#10222b", "#55707e", "#c9d6dd", "#0b6e8f", "#b3261e"


class _Node(NamedTuple):
    name: str
    detail: str
    kind: str
    column: int
    row: int

    @property
    def x(self) -> int:
        return _MARGIN + self.column * _COLUMN

    @property
    def y(self) -> int:
        return _MARGIN + self.row * _ROW + 24


class _Edge(NamedTuple):
    source: str
    target: str
    back: bool


def svg(topology: Topology) -> str:
    """Draw a topology.

    Args:
        topology: The topology.

    Returns:
        An SVG document that stands alone: no script, no foreign font or image.
    """
    nodes, edges = _layout(topology)
    width = max(node.x for node in nodes.values()) + _WIDTH + _MARGIN
    height = max(node.y for node in nodes.values()) + 44 + _MARGIN
    drawn = [_curve(nodes[edge.source], nodes[edge.target], back=edge.back) for edge in edges]
    drawn += [_box(node) for node in nodes.values()]
    title = escape(f"Topology {topology.name}: processors and the topics between them")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'font-family="{_FONT}"><title>{title}</title><rect width="{width}" height="{height}" rx="12" fill="#ffffff"/>' + "".join(drawn) + "</svg>\n"
    )


def _layout(topology: Topology) -> tuple[dict[str, _Node], list[_Edge]]:
    """Place topics and processors in columns, each to the right of what it comes from; what leads back is an edge only."""
    nodes: dict[str, _Node] = {}
    edges: list[_Edge] = []
    rows: dict[int, int] = {}

    def place(name: str, detail: str, kind: str, column: int) -> None:
        if name not in nodes:
            nodes[name] = _Node(name, detail, kind, column, rows.get(column, 0))
            rows[column] = rows.get(column, 0) + 1

    for processor in topology.processors.values():
        place(f"t:{processor.input}", "", "topic", 0)
        column = nodes[f"t:{processor.input}"].column + 1
        name = f"p:{processor.name}"
        place(name, _detail(processor), "processor", column)
        edges.append(_Edge(f"t:{processor.input}", name, back=False))
        for lane, topic in sorted(processor.lanes.items(), key=lambda item: (item[0] != MAIN, item[0] == "dead")):
            # Dead letters hang below their processor: one pill for all would draw a line from everywhere to it.
            target = f"t:{topic}" if lane != "dead" else f"{processor.name}:{topic}"
            known = target in nodes
            place(target, "", "dead" if lane == "dead" else "topic", column + (lane != "dead"))
            edges.append(_Edge(name, target, back=known and nodes[target].column <= column))
    for processor in topology.processors.values():
        retried = f"t:{processor.input}.retry"
        if processor.kind == "deliver" and retried in nodes:
            edges.append(_Edge(retried, f"p:{processor.name}", back=True))
    return nodes, edges


def _detail(processor: Processor) -> str:
    if processor.for_each:
        return f"for each {processor.for_each}"
    return " → ".join(processor.steps) if len(processor.steps) > 1 else ""


def _box(node: _Node) -> str:
    name = node.name.partition(":")[2]
    processor = node.kind == "processor"
    stroke = _ACCENT if processor else _BAD if node.kind == "dead" else _LINE
    fill = "#eef6f9" if processor else "#fdf3f2" if node.kind == "dead" else "#f6f8f9"
    box = f'<rect x="{node.x}" y="{node.y}" width="{_WIDTH}" height="44" rx="{9 if processor else 20}" fill="{fill}" stroke="{stroke}"/>'
    if processor and node.detail:
        return box + _text(node, 20, 13, name, weight=600) + _text(node, 35, 9, node.detail, ink=_MUTED)
    if processor:
        return box + _text(node, 27, 13, name, weight=600)
    first, dot, rest = name.partition(".") if len(name) > _LONG else (name, "", "")
    return box + (_text(node, 20, 10.5, first + dot) + _text(node, 33, 10.5, rest) if rest else _text(node, 26, 10.5, name))


def _text(node: _Node, down: int, size: float, text: str, *, weight: int = 400, ink: str = _INK) -> str:
    x, y = node.x + _WIDTH // 2, node.y + down
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-size="{size:g}" font-weight="{weight}" fill="{ink}">{escape(text)}</text>'


def _curve(source: _Node, target: _Node, *, back: bool) -> str:
    if target.kind == "dead":
        x = source.x + _WIDTH // 2
        return f'<path d="M{x} {source.y + 44} V{target.y}" stroke="{_BAD}" stroke-dasharray="2 4"/>'
    if back:
        x1, y1, x2, y2 = source.x + _WIDTH // 2, source.y, target.x + _WIDTH // 2, target.y
        return f'<path d="M{x1} {y1} C{x1} {y1 - 30} {x2} {y2 - 30} {x2} {y2}" fill="none" stroke="{_MUTED}" stroke-dasharray="4 4"/>'
    x1, y1, x2, y2 = source.x + _WIDTH, source.y + 22, target.x, target.y + 22
    middle = (x1 + x2) // 2
    return f'<path d="M{x1} {y1} C{middle} {y1} {middle} {y2} {x2} {y2}" fill="none" stroke="{_MUTED}" stroke-width="1.4"/>'
