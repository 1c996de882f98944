"""Draw docs/images/architecture.svg from the code: the rooms of medssl in their layers, and who imports whom.

Run ``python docs/draw_architecture.py`` in a checkout with the test requirements installed.
"""

import ast
import itertools
import json
import re
import textwrap
from configparser import ConfigParser
from pathlib import Path

import grimp
import matplotlib as mpl
import yaml
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "images" / "architecture.svg"
WIDTH, HEIGHT = 2.6, 1.12
COLUMN, ROW = 2.75, 1.32
# Left edge of the boxes, and where the recipes stand beside them.
LEFT, RECIPES = 0.75, 0.75 + 4 * 2.75 + 0.45
COLOURS = ("#f6d5c3", "#f9e3c4", "#f5efc6", "#e3efcb", "#cfe8d5", "#cae7e6", "#cfe0f2", "#d8d6f0", "#e6d9ec")


def layers() -> list[list[str]]:
    """Return the rooms of every layer, the highest first, as setup.cfg states them."""
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["importlinter:contract:house"]["layers"].splitlines()
    return [[name.removeprefix("medssl.") for name in line.replace("|", " ").split()] for line in lines if line]


def imports() -> dict[str, list[str]]:
    """Return the rooms that every room imports."""
    graph = grimp.build_graph("medssl", cache_dir=None)
    rooms = list(itertools.chain(*layers()))
    found: dict[str, set[str]] = {room: set() for room in rooms}
    for module in graph.modules:
        room = _room(module)
        if room in found:
            found[room] |= {_room(name) for name in graph.find_modules_directly_imported_by(module)} - {room}
    return {room: [name for name in rooms if name in found[room]] for room in rooms}


def named_by_recipes() -> list[str]:
    """Return the rooms that recipes name by dotted paths."""
    recipes = (ROOT / "bundles").rglob("*.yaml")
    texts = [yaml.safe_dump(yaml.safe_load(path.read_text(encoding="utf-8"))) for path in recipes]
    return sorted({_room(name) for text in texts for name in re.findall(r"\bmedssl\.\w+", text)})


def facts() -> dict[str, object]:
    """Return what the picture shows and a test compares with the code: layers, imports, rooms that recipes name."""
    return {"layers": layers(), "imports": imports(), "named by recipes": named_by_recipes()}


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def describe(room: str) -> tuple[str, str]:
    """Return how many files a room has and what it says of itself."""
    place = ROOT / "medssl" / room
    files = [path for path in place.rglob("*.py") if path.name != "__init__.py"] if place.is_dir() else []
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = ast.get_docstring(ast.parse(source.read_text(encoding="utf-8"))) or ""
    return f"{len(files)} files" if files else "1 file", text.split("\n")[0].rstrip(".")


def draw(path: Path) -> None:
    """Write the picture, with its facts as JSON in its description."""
    shown = facts()
    rows = layers()
    bottom = -ROW * len(rows) + ROW - HEIGHT
    figure = Figure(figsize=(14, 0.98 * ROW * len(rows)))
    axes = figure.add_axes((0, 0, 1, 1))
    for number, row in enumerate(rows):
        start = LEFT + (4 - len(row)) / 2 * COLUMN
        for place, room in enumerate(row):
            corner = (start + place * COLUMN, -number * ROW - HEIGHT)
            _box(axes, corner, room, shown["imports"][room], COLOURS[number % len(COLOURS)])
    _arrow(axes, (0.3, 0), (0.3, bottom), lw=3)
    axes.text(0.12, bottom / 2, "imports", rotation=90, ha="center", va="center", fontsize=12)
    _recipes(axes, rows, shown["named by recipes"])
    axes.set_xlim(-0.05, RECIPES + WIDTH + 0.1)
    axes.set_ylim(bottom - 0.1, 0.1)
    axes.set_aspect("equal")
    axes.set_axis_off()
    with mpl.rc_context({"svg.hashsalt": "medssl"}):
        figure.savefig(path, metadata={"Date": None, "Creator": None, "Description": json.dumps(shown)})


def _box(axes: Axes, corner: tuple[float, float], room: str, imported: list[str], colour: str) -> None:
    files, text = describe(room)
    _frame(axes, corner, HEIGHT, colour)
    left, right, top = corner[0] + 0.1, corner[0] + WIDTH - 0.1, corner[1] + HEIGHT
    axes.text(left, top - 0.17, room, fontsize=11.5, fontweight="bold", va="center")
    axes.text(right, top - 0.17, files, fontsize=8.5, ha="right", va="center", color="0.3")
    axes.text(
        left, top - 0.32, textwrap.fill(text, 36, max_lines=2, placeholder=" …"), fontsize=8, va="top", linespacing=1.15
    )
    if imported:
        uses = textwrap.fill("→ " + ", ".join(imported), 42)
        axes.text(left, corner[1] + 0.08, uses, fontsize=7.5, va="bottom", color="0.35", linespacing=1.1)


def _recipes(axes: Axes, rows: list[list[str]], named: list[str]) -> None:
    numbers = [number for number, row in enumerate(rows) if set(row) & set(named)]
    top, bottom = -numbers[0] * ROW, -numbers[-1] * ROW - HEIGHT
    _frame(axes, (RECIPES, bottom), top - bottom, "#eeeeee")
    count = len(list((ROOT / "bundles").rglob("*.yaml")))
    x, middle = RECIPES + WIDTH / 2, (top + bottom) / 2
    axes.text(x, middle + 0.5, "bundles/", fontsize=11.5, fontweight="bold", ha="center")
    text = f"{count} recipes in YAML, which name\nclasses by dotted paths and\nconnect them with numbers"
    axes.text(x, middle + 0.35, text, fontsize=8.5, ha="center", va="top", linespacing=1.3)
    for number in numbers:
        right = LEFT + (4 + len(rows[number])) / 2 * COLUMN - COLUMN + WIDTH
        _arrow(axes, (RECIPES, -number * ROW - HEIGHT / 2), (right, -number * ROW - HEIGHT / 2), ls="--")
    workflows = next(number for number, row in enumerate(rows) if "workflows" in row)
    y = -workflows * ROW - HEIGHT / 2
    axes.plot([LEFT + 1.5 * COLUMN + WIDTH, x], [y, y], color="0.35", lw=1.3)
    axes.text((LEFT + 2 * COLUMN + WIDTH + x) / 2, y + 0.08, "merge and run", fontsize=8.5, ha="center")
    _arrow(axes, (x, y), (x, top))


def _frame(axes: Axes, corner: tuple[float, float], height: float, colour: str) -> None:
    style = "round,pad=0,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch(corner, WIDTH, height, boxstyle=style, fc=colour, ec="0.35", lw=0.8))


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], lw: float = 1.3, ls: str = "-") -> None:
    style = {"arrowstyle": "-|>", "mutation_scale": 10 + 3 * lw, "shrinkA": 0, "shrinkB": 0}
    axes.add_patch(FancyArrowPatch(start, end, color="0.35", lw=lw, ls=ls, **style))


if __name__ == "__main__":
    draw(PICTURE)
