"""Draw an example question of DeepDive in its graph: the gold path, and what else leads to it and from it.

    python baselines/deepdive_graph.py

Writes ``docs/environments/deepdive_graph.svg``.
"""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from pathlib import Path

from rao_deepdive import DeepDiveEnv, Graph, Query, generate

DRAWING = Path(__file__).parent.parent / "docs" / "environments" / "deepdive_graph.svg"
TASK = 3
OPTIONS = {"hops": 4, "kind": "chain"}

WIDE, HIGH = 212, 150  # pixels from entity to entity
BOX = (182, 44)
INK, PALE, PATH = "#37474f", "#b0bec5", "#c62828"

Point = tuple[float, float]


def drawing() -> str:
    """Return the drawing as SVG."""
    task = DeepDiveEnv(**OPTIONS).tasks(TASK)
    graph = generate(**task.payload["world"])
    query = Query.from_dict(task.payload["query"])
    path = [entity for step in task.payload["steps"] if (entity := graph.find(step["url"])) is not None]
    places: dict[int, Point] = {entity: (WIDE * (n + 0.5), HIGH * 1.5) for n, entity in enumerate(path)}
    for n, entity in enumerate(path):
        beside = sorted(graph.neighbours(entity) - places.keys())[:2]
        places |= {other: (WIDE * (n + 0.5), HIGH * (0.5 + 2 * row)) for row, other in enumerate(beside)}
    way = {frozenset((path[edge.head], path[edge.tail])) for edge in query.edges}
    parts = [*_edges(graph, places, way), *_boxes(graph, places, set(path), path[-1])]
    width, height = WIDE * len(path), HIGH * 3
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            "<defs>",
            *(
                f'<marker id="{name}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
                f'orient="auto"><path d="M0 0 8 4 0 8z" fill="{colour}"/></marker>'
                for name, colour in (("pale", PALE), ("path", PATH))
            ),
            "</defs>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *parts,
            "</svg>",
            "",
        ]
    )


def _edges(graph: Graph, places: dict[int, Point], way: set[frozenset[int]]) -> Iterator[str]:
    for head in sorted(places):
        for relation, tail in graph.out(head):
            if tail in places:
                on_path = frozenset((head, tail)) in way
                yield _arrow(places[head], places[tail], relation.replace("_", " "), on_path)


def _arrow(start: Point, end: Point, label: str, on_path: bool) -> str:
    name, colour = ("path", PATH) if on_path else ("pale", PALE)
    (x1, y1), (x2, y2) = _edge_of_box(start, end), _edge_of_box(end, start)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    turned = "" if abs(y2 - y1) < 1 else ' dy="4"'
    return (
        f'<line x1="{x1:.0f}" y1="{y1:.0f}" x2="{x2:.0f}" y2="{y2:.0f}" stroke="{colour}" '
        f'stroke-width="{2 if on_path else 1}" marker-end="url(#{name})"/>'
        f'<text x="{x:.0f}" y="{y - 30 if not turned else y:.0f}" font-size="11" text-anchor="middle"{turned} '
        f'fill="{colour if on_path else INK}" stroke="#ffffff" stroke-width="3" paint-order="stroke">{label}</text>'
    )


def _edge_of_box(box: Point, towards: Point) -> Point:
    """Return where the line from the middle of a box towards a point leaves it."""
    dx, dy = towards[0] - box[0], towards[1] - box[1]
    share = min(BOX[0] / 2 / abs(dx) if dx else 9e9, BOX[1] / 2 / abs(dy) if dy else 9e9)
    return box[0] + dx * share, box[1] + dy * share


def _boxes(graph: Graph, places: dict[int, Point], path: set[int], answer: int) -> Iterator[str]:
    for entity, (x, y) in places.items():
        colour = PATH if entity in path else PALE
        fill = "#ffebee" if entity == answer else "#ffffff"
        yield (
            f'<rect x="{x - BOX[0] / 2:.0f}" y="{y - BOX[1] / 2:.0f}" width="{BOX[0]}" height="{BOX[1]}" rx="6" '
            f'fill="{fill}" stroke="{colour}" stroke-width="{2 if entity in path else 1}"/>'
        )
        name, sort = escape(graph.names[entity]), f"{graph.sort(entity)}, {graph.years[entity]}"
        yield f'<text x="{x:.0f}" y="{y - 3:.0f}" font-size="12" text-anchor="middle" fill="{INK}">{name}</text>'
        yield f'<text x="{x:.0f}" y="{y + 13:.0f}" font-size="11" text-anchor="middle" fill="#78909c">{sort}</text>'


if __name__ == "__main__":
    DRAWING.write_text(drawing(), encoding="utf-8")
