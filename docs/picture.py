"""Draw the rooms of the package and who imports whom: python -m docs.picture, which writes docs/architecture.svg.

A room is a folder in p3dfeat/. Those that any room may use are drawn as one, the ground. An arrow means that a module
of one room imports a module of another. Arrows that follow from others are left out of the picture.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
PICTURE: Final = ROOT / "docs" / "architecture.svg"
PACKAGE: Final = "p3dfeat"
GROUND: Final = "the ground"
# From top to bottom, as the contract in pyproject.toml has it.
ROWS: Final = (
    ("cli",),
    ("cluster",),
    ("workflows",),
    ("exports", "explore", "datasets"),
    ("sources", "video", "engines", "zoo", "store"),
    ("nets",),
    (GROUND,),
)
WIDTH, LINE, GAP_X, GAP_Y, MARGIN = 190, 16, 24, 60, 20  # in pixels

Graph = dict[str, set[str]]


def modules() -> dict[str, Path]:
    """{module: its file} of the package."""
    found = {}
    for path in sorted((ROOT / PACKAGE).rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        found[name.removesuffix(".__init__")] = path
    return found


def room_of(name: str) -> str:
    """The room that a module lies in."""
    first = name.removeprefix(PACKAGE).lstrip(".").partition(".")[0]
    return first if any(first in row for row in ROWS) else "cli" if first == "__main__" else GROUND


def folder_of(name: str, path: Path) -> str:
    """The folder that a module lies in, as a dotted name."""
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


def imported(path: Path, files: Mapping[str, Path]) -> Iterator[str]:
    """Modules of the package that a file imports, inside functions too; not those that only type checkers see."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(PACKAGE):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in files else str(node.module)
        waiting += ast.iter_child_nodes(node)


def arrows(place: Callable[[str], str]) -> Graph:
    """{place: the places that it imports from}, where ``place`` says where a module lies."""
    files = modules()
    found: Graph = defaultdict(set)
    for name, path in files.items():
        here = place(name)
        found[here] |= {place(other) for other in imported(path, files) if other in files} - {here}
    return dict(found)


def without_detours(graph: Graph) -> Graph:
    """The graph less the arrows that follow from others."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(graph[start])
        while waiting:
            room = waiting.pop()
            if room not in seen:
                seen.add(room)
                waiting += graph[room]
        return seen

    return {
        room: {to for to in below if not any(to in reached(by) for by in below - {to})} for room, below in graph.items()
    }


def parts_of(room: str, files: Mapping[str, Path]) -> list[str]:
    """What a room is made of, in lines: its folders, or, on the ground, folders and modules."""
    inside = sorted(name for name in files if room_of(name) == room)
    if room == GROUND:
        tops = sorted({name.split(".")[1] for name in inside if "." in name} - {"_version", "_lazy"})
        return [", ".join(tops[first : first + 5]) for first in range(0, len(tops), 5)]
    start = f"{PACKAGE}.{room}"
    folders = sorted(
        {folder_of(name, files[name]).removeprefix(start).lstrip(".").partition(".")[0] for name in inside}
    )
    return [f"{name}/" for name in folders if name and name != PACKAGE]


def svg() -> str:
    """The picture."""
    files, graph = modules(), arrows(room_of)
    lines = {room: parts_of(room, files) for room in graph}
    boxes, y = {}, MARGIN
    widest = max(map(len, ROWS))
    for row in ROWS:
        left = MARGIN + (widest - len(row)) * (WIDTH + GAP_X) // 2
        for column, room in enumerate(row):
            wide = 2 * WIDTH + GAP_X if room == GROUND else WIDTH
            x = left + column * (WIDTH + GAP_X) - (wide - WIDTH) // 2
            boxes[room] = x, y, wide, 40 + LINE * len(lines[room])
        y += max(boxes[room][3] for room in row) + GAP_Y
    width = 2 * MARGIN + widest * (WIDTH + GAP_X) - GAP_X
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#888"/></marker></defs>',
        f'<rect width="{width}" height="{y}" fill="#fff"/>',
    ]
    for room, below in sorted(without_detours(graph).items()):
        for to in sorted(below):
            (x, top, wide, high), (to_x, to_top, to_wide, _) = boxes[room], boxes[to]
            way = f"M{x + wide // 2} {top + high} L{to_x + to_wide // 2} {to_top}"
            parts.append(f'<path d="{way}" stroke="#888" fill="none" marker-end="url(#tip)"/>')
    for room, (x, top, wide, high) in sorted(boxes.items()):
        text = f'x="{x + wide // 2}" text-anchor="middle"'
        count = sum(room_of(name) == room for name in files)
        parts += [
            f'<rect x="{x}" y="{top}" width="{wide}" height="{high}" rx="6" fill="#eef3fb" stroke="#5b7db1"/>',
            f'<text {text} y="{top + 18}" font-size="14" fill="#123">{room}</text>',
            f'<text {text} y="{top + 33}" font-size="11" fill="#567">{count} module{"s" * (count > 1)}</text>',
        ]
        for number, line in enumerate(lines[room]):
            parts.append(f'<text {text} y="{top + 50 + LINE * number}" font-size="12" fill="#345">{line}</text>')
    return "\n".join([*parts, "</svg>", ""])


def main() -> None:
    """Write the picture, and say how large the package is."""
    PICTURE.write_text(svg(), encoding="utf-8")
    files = modules()
    graph = arrows(lambda name: folder_of(name, files[name]))
    num_lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in files.values())
    num_arrows = sum(map(len, graph.values()))
    print(f"{len(files)} modules of {num_lines} lines in {len(graph)} folders, {num_arrows} arrows between folders")


if __name__ == "__main__":
    main()
