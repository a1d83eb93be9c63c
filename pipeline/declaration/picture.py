"""A topology as an SVG picture: topics as pills, processors as boxes, left to right in the direction of an event."""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.sax.saxutils import escape

from pipeline.declaration.topology import MAIN
from pipeline.model.topology import Processor, Topology

_COLUMN: Final = 150
_ROW: Final = 78
_WIDTH: Final = 126
_MARGIN: Final = 20
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
            place(target, lane if lane not in (MAIN, topic, "dead") else "", "dead" if lane == "dead" else "topic", column + (lane != "dead"))
            edges.append(_Edge(name, target, back=known and nodes[target].column <= column))
    for processor in topology.processors.values():
        retried = f"t:{processor.input}.retry"
        if processor.kind == "deliver" and retried in nodes:
            edges.append(_Edge(retried, f"p:{processor.name}", back=True))
    return nodes, edges


def _detail(processor: Processor) -> str:
    if processor.for_each:
        return f"one for each {processor.for_each}"
    return " → ".join(processor.steps) if len(processor.steps) > 1 else ""


def _box(node: _Node) -> str:
    name = escape(node.name.partition(":")[2])
    processor = node.kind == "processor"
    stroke = _ACCENT if processor else _BAD if node.kind == "dead" else _LINE
    fill = "#eef6f9" if processor else "#fdf3f2" if node.kind == "dead" else "#f6f8f9"
    radius = 9 if processor else 22
    size, weight = (13, 600) if processor else (10.5, 400)
    middle = node.x + _WIDTH // 2
    text_y = node.y + (20 if node.detail else 27)
    lines = [
        f'<rect x="{node.x}" y="{node.y}" width="{_WIDTH}" height="44" rx="{radius}" fill="{fill}" stroke="{stroke}"/>',
        f'<text x="{middle}" y="{text_y}" text-anchor="middle" font-size="{size}" font-weight="{weight}" fill="{_INK}">{name}</text>',
    ]
    if node.detail:
        lines.append(f'<text x="{middle}" y="{node.y + 35}" text-anchor="middle" font-size="9.5" fill="{_MUTED}">{escape(node.detail)}</text>')
    return "".join(lines)


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
