"""docs/architecture.md and its picture say what the code is."""

import importlib.util
import json
import re
from configparser import ConfigParser
from html import unescape
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
# Modules at the top that are not rooms.
NO_ROOMS = {"__init__", "moved"}


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("draw_architecture", ROOT / "docs/draw_architecture.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def section(title):
    return re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)[1]


def rooms_of_the_tree():
    packages = {path.parent.name for path in (ROOT / "medssl").glob("*/__init__.py")}
    return packages | {path.stem for path in (ROOT / "medssl").glob("*.py")} - NO_ROOMS


def test_the_page_lists_every_room_once():
    listed = re.findall(r"^\| `(\w+)` \|", section("Where each thing lives"), re.MULTILINE)
    assert sorted(listed) == sorted(rooms_of_the_tree())


def test_the_layers_hold_every_room_in_the_order_of_the_page(script):
    listed = re.findall(r"^\| `(\w+)` \|", section("Where each thing lives"), re.MULTILINE)
    ranks = {room: number for number, layer in enumerate(script.layers()) for room in layer}
    assert ranks.keys() == rooms_of_the_tree()
    assert [ranks[room] for room in listed] == sorted(ranks.values())


def test_the_picture_shows_the_code_as_it_is(script):
    shown = re.search(r"<dc:description>(.*?)</dc:description>", script.PICTURE.read_text(encoding="utf-8"), re.DOTALL)
    drawn, current = json.loads(unescape(shown[1])), json.loads(json.dumps(script.facts()))
    assert drawn == current, "run docs/draw_architecture.py"


def test_the_picture_can_be_drawn(script, tmp_path):
    script.draw(tmp_path / "picture.svg")
    assert (tmp_path / "picture.svg").read_text(encoding="utf-8").count("<dc:description>") == 1


def test_nine_questions_have_one_file_each():
    files = re.findall(r"\| `([\w/.]+)` \|$", section("Where is …?"), re.MULTILINE)
    assert len(files) == len(set(files)) == 9
    assert [file for file in files if not (ROOT / file).is_file()] == []


def test_every_file_that_the_page_names_exists():
    named = set(re.findall(r"`([a-z_/]+/[a-z_]+\.[a-z]+)`", PAGE))
    assert len(named) > 15
    assert [name for name in named if not any((ROOT / place / name).is_file() for place in ("", "medssl"))] == []


def test_an_installation_holds_every_package():
    setup = ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    installed = setup["options"]["packages"].split()
    tree = (path.parent.relative_to(ROOT) for path in (ROOT / "medssl").rglob("__init__.py"))
    assert sorted(installed) == sorted([".".join(folder.parts) for folder in tree] + ["medssl_bundles"])
