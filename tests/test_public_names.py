"""The short names: `medssl.losses.InfoNCELoss` and its like are there, and cost nothing until they are used."""

import ast
import importlib
import json
import pkgutil
import subprocess
import sys
from collections import Counter
from importlib.resources import files
from types import FunctionType, ModuleType

import pytest

import medssl

PACKAGES = [info.name for info in pkgutil.iter_modules(medssl.__path__) if info.ispkg and info.name != "cli"]
HEAVY = ("torch", "monai", "numpy", "scipy", "sklearn", "matplotlib")


def package(name: str) -> ModuleType:
    return importlib.import_module(f"medssl.{name}")


def loaded_by(code: str) -> set[str]:
    """Top-level packages and modules of medssl that a fresh process has after running some code."""
    code = f"{code}\nimport json, sys; print(json.dumps(sorted(sys.modules)))"
    modules = json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout)
    return {name if name.startswith("medssl") else name.partition(".")[0] for name in modules}


def test_importing_medssl_loads_nothing_heavy():
    loaded = loaded_by("import medssl; dir(medssl)")
    assert "medssl" in loaded
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.count(".") and name.startswith("medssl.")} == {"medssl.moved"}


def test_importing_a_package_loads_none_of_its_modules_and_no_sibling():
    code = "import " + ", ".join(f"medssl.{name}" for name in PACKAGES)
    loaded = loaded_by(code)
    assert loaded.isdisjoint(HEAVY)
    assert {name for name in loaded if name.count(".") > 1 and name.startswith("medssl.")} == set()


def test_a_name_loads_its_own_module_alone():
    loaded = {name for name in loaded_by("import medssl; medssl.data.k_folds") if name.startswith("medssl.data.")}
    assert loaded == {"medssl.data.splits"}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_short_name_of_a_package_is_a_thing_of_its_own_modules(name):
    assert package(name).__all__
    for short in package(name).__all__:
        value = getattr(package(name), short)
        if isinstance(value, type | FunctionType):
            assert value.__module__.startswith(f"medssl.{name}.") and value.__name__ == short


def test_the_packages_and_the_loader_of_backbones_are_names_of_medssl():
    assert set(medssl.__all__) == {*PACKAGES, "cli", "load_backbone"}
    assert all(getattr(medssl, name) is package(name) for name in PACKAGES)
    assert medssl.load_backbone is importlib.import_module("medssl.workflows.backbones").load_backbone


@pytest.mark.parametrize("name", ["", *PACKAGES])
def test_names_are_listed_by_dir_and_unknown_ones_are_refused(name):
    module = package(name) if name else medssl
    assert dir(module) == sorted(module.__all__)
    with pytest.raises(AttributeError, match="Nowhere"):
        _ = module.Nowhere


@pytest.mark.parametrize("name", PACKAGES)
def test_a_short_name_hides_no_module(name):
    # The dotted paths of recipes go through the attributes of packages.
    modules = {info.name for info in pkgutil.iter_modules(package(name).__path__)}
    assert modules.isdisjoint(package(name).__all__)


def test_a_short_name_means_one_thing():
    counts = Counter(short for name in PACKAGES for short in package(name).__all__)
    assert [short for short, count in counts.items() if count > 1] == []


@pytest.mark.parametrize("name", ["losses", "methods", "networks", "transforms"])
def test_every_public_class_has_a_short_name(name):
    sources = [path for path in files(f"medssl.{name}").iterdir() if path.name.endswith(".py")]
    classes = {
        node.name
        for path in sources
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    assert classes and classes <= set(package(name).__all__)
