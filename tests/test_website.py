"""The website builds without a warning, shows every public name, and asks nothing of the network."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ELSEWHERE = re.compile(
    r"""(?:src|srcset)=["']?(?:https?:)?//|<link[^>]*rel=["']?(?:stylesheet|preconnect|icon)[^>]*//"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the built website."""
    folder = tmp_path_factory.mktemp("website") / "site"
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", ROOT / ".mkdocs.yml", "--site-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def site_pages():
    spec = importlib.util.spec_from_file_location("site_pages", ROOT / "docs" / "site_pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_every_markdown_page_of_docs_and_every_notebook_is_a_page(site):
    expected = {f"{path.stem}.html" for path in ROOT.glob("docs/*.md")}
    expected |= {f"notebooks/{path.stem}.html" for path in ROOT.glob("notebooks/*.ipynb")}

    assert expected | {"index.html"} <= {path.relative_to(site).as_posix() for path in site.rglob("*.html")}


@pytest.mark.slow
def test_every_public_name_has_its_docstring_on_the_page_of_its_room(site, site_pages):
    for room, names in site_pages.public_names().items():
        text = (site / "reference" / f"{room}.html").read_text(encoding="utf-8")
        assert [name for name, module in names.items() if f'id="{module}.{name}"' not in text] == []


@pytest.mark.slow
def test_no_page_loads_anything_from_elsewhere(site):
    pages = list(site.rglob("*.html"))

    assert len(pages) > 30
    assert [page.name for page in pages if ELSEWHERE.search(page.read_text(encoding="utf-8"))] == []


@pytest.mark.slow
def test_every_link_and_picture_of_every_page_is_there(site):
    missing = []
    for page in site.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if not re.match(r"\w+:", target) and not (page.parent / target).exists() and page.name != "404.html":
                missing.append((page.name, target))
    assert missing == []


@pytest.mark.parametrize("text", ['<script src="https://a.b/c.js">', '<link rel="stylesheet" href="//a.b/c.css">'])
def test_what_comes_from_elsewhere_would_be_found(text):
    assert ELSEWHERE.search(text)


def test_links_lead_to_pages_and_other_files_become_their_paths(site_pages):
    text = "[a](docs/data.md#dicom) [b](notebooks/main_line.ipynb) [c](bundles/protocols/cardiac.yaml) [d](https://e.f)"

    assert site_pages.with_links(text, "README.md", "index.md") == (
        "[a](data.md#dicom) [b](notebooks/main_line.md) c (`bundles/protocols/cardiac.yaml`) [d](https://e.f)"
    )


def test_a_notebook_becomes_text_code_and_pictures(site_pages, tmp_path):
    path = tmp_path / "a.ipynb"
    outputs = [{"data": {"text/plain": ["2"]}}, {"data": {"image/png": "aGk=", "text/plain": ["figure"]}}]
    cells = [
        {"cell_type": "markdown", "source": ["# T"]},
        {"cell_type": "code", "source": ["1 + 1"], "outputs": outputs},
    ]
    path.write_text(json.dumps({"cells": cells}))

    text, pictures = site_pages.notebook_page(path, "a")

    assert text == "# T\n\n```python\n1 + 1\n```\n\n```text\n2\n```\n\n![output](a_0.png)\n"
    assert pictures == {"a_0.png": b"hi"}
