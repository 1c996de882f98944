"""Dotted paths in configurations exist, and follow the same order of layers as imports."""

import re
from configparser import ConfigParser
from pathlib import Path
from pydoc import locate

import pytest
import yaml

from medssl.moved import MOVED

ROOT = Path(__file__).resolve().parents[2]
PATH = re.compile(r"\bmedssl(?:\.[A-Za-z_]\w*)+")
CONFIGS = sorted(path for ending in ("yaml", "json") for path in (ROOT / "bundles").rglob(f"*.{ending}"))
TEXTS = [*CONFIGS, ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SETUP = ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def layers():
    lines = SETUP["importlinter:contract:house"]["layers"].split("\n")
    return [line.replace("|", " ").split() for line in lines if line]


def allowed_rooms(rule):
    """The rooms that a line of setup.cfg allows."""
    highest = rule.removeprefix("up to ")
    if highest == rule:
        return set(rule.split())
    start = next(place for place, layer in enumerate(layers()) if highest in layer)
    return {room for layer in layers()[start:] for room in layer}


def rule_of(config):
    folder = config.relative_to(ROOT).as_posix()
    return next((rule for place, rule in SETUP["medssl:configs"].items() if folder.startswith(f"{place}/")), None)


def values_of(config):
    """Every text of a configuration that is not a comment."""
    return yaml.safe_dump(yaml.safe_load(config.read_text(encoding="utf-8")), width=10**6)


def room_of(name):
    return ".".join(name.split(".")[:2])


def test_every_dotted_path_exists_today():
    named = {(path.name, name) for path in TEXTS for name in PATH.findall(path.read_text(encoding="utf-8"))}
    assert len(named) > 150
    assert sorted((file, name) for file, name in named if locate(name) is None) == []
    assert sorted((file, name) for file, name in named if {name, name.rpartition(".")[0]} & MOVED.keys()) == []


def test_configurations_name_only_allowed_rooms():
    wrong = [
        f"{config.relative_to(ROOT)} names {name}"
        for config in CONFIGS
        for name in PATH.findall(values_of(config))
        if room_of(name) not in allowed_rooms(rule_of(config))
    ]
    assert wrong == []


def test_every_folder_of_configurations_has_a_rule_and_every_rule_names_rooms():
    assert [str(config) for config in CONFIGS if rule_of(config) is None] == []
    rooms = {room for layer in layers() for room in layer}
    assert all(allowed_rooms(rule) <= rooms for rule in SETUP["medssl:configs"].values())


@pytest.mark.parametrize("room", ["medssl.packaging", "medssl.workflows", "medssl.cli"])
def test_no_configuration_may_name_what_runs_it(room):
    assert not any(room in allowed_rooms(rule) for rule in SETUP["medssl:configs"].values())


def test_the_recipe_of_a_method_names_one_method():
    recipes = sorted((ROOT / "bundles/pretrain/configs/methods").glob("*.yaml"))
    methods = {
        path.name: {n for n in PATH.findall(values_of(path)) if room_of(n) == "medssl.methods"} for path in recipes
    }
    assert recipes
    assert {name: found for name, found in methods.items() if len(found) != 1} == {}
