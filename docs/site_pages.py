"""Hooks of mkdocs: pages of the website that are not in ``docs/``, and links that hold in both places.

Added are the README as home, other Markdown of the repository, the notebooks, and the reference of every public name.
Links to files that the website does not have become their paths.
"""

import ast
import base64
import json
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
# Path in the repository: path on the website. Files of docs/ stand at the top there.
PAGES = {
    "README.md": "index.md",
    **{
        name: name
        for name in (
            "CHANGELOG.md",
            "CONTRIBUTING.md",
            "benchmarks/results.md",
            "bundles/weights/abdomen_ct/docs/README.md",
            "bundles/weights/abdomen_ct_4mm/docs/README.md",
        )
    },
    **{f"notebooks/{path.name}": f"notebooks/{path.stem}.md" for path in sorted(ROOT.glob("notebooks/*.ipynb"))},
}
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]*)(#[^)\s]*)?\)")
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Leave pages that are not there out of the navigation, and put those of the reference in."""
    there = {path.name for path in (ROOT / "docs").glob("*.md")} | set(PAGES.values())
    config.nav = [{title: _present(pages, there)} for section in config.nav for title, pages in section.items()]
    return config


def _present(pages: str | list, there: set[str]) -> str | list:
    if isinstance(pages, str):
        return pages
    kept = [page for page in pages if next(iter(page.values())) in there | {"reference"}]
    rooms = [{f"medssl.{room}": f"reference/{room}.md"} for room in public_names()]
    return [{"Reference": rooms} if page == {"Reference": "reference"} else page for page in kept]


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from other files."""
    for source, target in PAGES.items():
        if source.endswith(".ipynb"):
            text, pictures = notebook_page(ROOT / source, posixpath.splitext(posixpath.basename(target))[0])
            for name, content in pictures.items():
                files.append(File.generated(config, f"notebooks/{name}", content=content))
        else:
            text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, target, content=text))
    for room, names in public_names().items():
        files.append(File.generated(config, f"reference/{room}.md", content=reference_page(room, names)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links of the repository into links of the website, or, where it lacks the file, into its path."""
    target = page.file.src_uri
    source = next((source for source, place in PAGES.items() if place == target), f"docs/{target}")
    parts = FENCE.split(markdown)
    return "".join(part if part.lstrip().startswith("```") else with_links(part, source, target) for part in parts)


def with_links(text: str, source: str, target: str) -> str:
    """Return text with its links as the website has them.

    Args:
        text: Markdown without code.
        source: path of its file in the repository.
        target: path of its page on the website.
    """

    def link(found: re.Match) -> str:
        image, title, path, anchor = found.groups(default="")
        if not path or re.match(r"\w+:", path):
            return found[0]
        place = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        if place in PAGES or (place.startswith("docs/") and (ROOT / place).is_file()):
            there = PAGES.get(place, place.removeprefix("docs/"))
            return f"{image}[{title}]({posixpath.relpath(there, posixpath.dirname(target) or '.')}{anchor})"
        if not (ROOT / place).exists():
            return found[0]  # mkdocs warns of it
        return f"`{place}`" if title.rstrip("/") in (place, path, posixpath.basename(place)) else f"{title} (`{place}`)"

    return LINK.sub(link, text)


def public_names() -> dict[str, dict[str, str]]:
    """Return the public names of every room with the modules that define them, from its ``__init__.pyi``.

    ``load_backbone`` is shown in its own room, ``workflows``.
    """
    rooms = {}
    for stub in sorted((ROOT / "medssl").glob("*/__init__.pyi")):
        room = stub.parent.name
        nodes = ast.parse(stub.read_text(encoding="utf-8")).body
        rooms[room] = {
            alias.name: f"medssl.{room}.{node.module}"
            for node in nodes
            if isinstance(node, ast.ImportFrom) and node.module
            for alias in node.names
        }
    return {
        room: dict(sorted(names.items(), key=lambda item: item[0].lower())) for room, names in rooms.items() if names
    }


def reference_page(room: str, names: dict[str, str]) -> str:
    """Return the page of a room: what it holds, a table of its names, and the docstring of each."""
    head = ast.get_docstring(ast.parse((ROOT / "medssl" / room / "__init__.py").read_text(encoding="utf-8"))) or ""
    lines = [f"# medssl.{room}", "", head, "", "| Name | What it is |", "|---|---|"]
    for name, module in names.items():
        first = _first_line(module, name).replace("|", "\\|").replace(":math:", "").replace("``", "`")
        lines.append(f"| [`{name}`][{module}.{name}] | {first} |")
    for name, module in names.items():
        short = f"medssl.{room}.{name}"
        lines += ["", f"::: {module}.{name}", "    options:", f"      heading: {short}", f"      toc_label: {name}"]
    return "\n".join(lines) + "\n"


def _first_line(module: str, name: str) -> str:
    tree = ast.parse((ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")
    return ""


def notebook_page(path: Path, stem: str) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as Markdown, and its pictures by the names that the text gives them."""
    pictures: dict[str, bytes] = {}
    blocks = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        blocks.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
        for output in cell.get("outputs", []):
            blocks += _shown(output, stem, pictures)
    return "\n\n".join(blocks) + "\n", pictures


def _shown(output: dict, stem: str, pictures: dict[str, bytes]) -> Iterator[str]:
    """Give the richest form of an output that a page can show."""
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}_{len(pictures)}.png"
        pictures[name] = base64.b64decode("".join(data["image/png"]))
        yield f"![output]({name})"
    elif "text/markdown" in data:
        yield "".join(data["text/markdown"])
    else:
        text = "".join(output.get("text", data.get("text/plain", ""))).rstrip()
        yield f"```text\n{text}\n```" if text else ""
