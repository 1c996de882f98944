"""Every name that a bundle, a run or a recipe of version 0.1 can hold is found where it is today."""

import importlib
import pkgutil
import re
import subprocess
import sys
from importlib.util import find_spec
from pydoc import locate

import pytest

import medssl
from medssl.moved import MOVED, current_name, find_former_modules
from tests.former_version import names, unpack

# Helpers that no recipe of 0.1 named, and that were joined with others since.
GONE = set(names("gone"))
MOVED_PUBLIC = [name for name in names("public") if name.rpartition(".")[0] in MOVED and name not in GONE]


def fresh_python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=False)


def test_monai_finds_what_every_former_name_stands_for():
    former = sorted({*names("recipe"), *MOVED_PUBLIC})
    assert len(former) > 240
    assert [name for name in former if locate(name) is None] == []
    assert [name for name in former if name not in MOVED and locate(name) is not locate(current_name(name))] == []


def test_no_recipe_named_what_is_gone():
    assert GONE & set(names("recipe")) == set()


def test_every_name_in_the_runs_and_bundles_of_the_former_version_is_found(tmp_path):
    files = sorted(unpack(tmp_path).rglob("*.json"))
    found = {name for path in files for name in re.findall(r"\bmedssl(?:\.\w+)+", path.read_text(encoding="utf-8"))}
    assert len(found) > 20
    assert [name for name in sorted(found) if locate(name) is None] == []


def test_a_current_name_is_not_a_former_one():
    current = [current_name(name) for name in names("recipe")]
    assert [name for name in current if {name, name.rpartition(".")[0]} & MOVED.keys()] == []


def test_every_row_leads_from_a_module_without_a_file_to_what_is_there():
    assert [former for former, places in MOVED.items() if not all(map(locate, places))] == []
    modules = [former for former in MOVED if former.rpartition(".")[0] not in MOVED]
    assert [former for former in modules if find_spec(former).has_location] == []


def test_a_row_of_its_own_finds_a_name_that_was_changed(monkeypatch):
    monkeypatch.setitem(MOVED, "medssl.engines.run_lock.RunLock", ("medssl.runs.lock.locked_run_folder",))
    assert current_name("medssl.engines.run_lock.RunLock") == "medssl.runs.lock.locked_run_folder"
    assert locate("medssl.engines.run_lock.RunLock") is locate("medssl.runs.lock.locked_run_folder")


def test_a_name_that_never_moved_stays_as_it_is():
    assert current_name("medssl.losses.info_nce.InfoNCELoss") == "medssl.losses.info_nce.InfoNCELoss"
    assert current_name("monai.transforms.Spacingd") == "monai.transforms.Spacingd"


def test_an_unknown_name_says_where_to_look():
    with pytest.raises(AttributeError, match=r"medssl\.engines\.run_lock has no 'Look'.* medssl\.runs\.lock"):
        current_name("medssl.engines.run_lock.Look")
    with pytest.raises(ImportError, match="Look"):
        exec("from medssl.engines.run_lock import Look", {})  # an import as a user writes it


def test_a_fresh_process_imports_former_modules():
    done = fresh_python(
        "import medssl.data.files as files; from medssl.engines.run_lock import locked_run_folder;"
        "print(files.write_json.__module__, locked_run_folder.__module__)"
    )
    assert done.stdout.split() == ["medssl.files", "medssl.runs.lock"]


def test_a_former_module_loads_nothing_before_it_is_asked_for_a_name():
    done = fresh_python(
        "import sys, medssl.engines.run_folder as former;"
        "print(hasattr(former, '__file__'), 'torch' in sys.modules, 'medssl.runs' in sys.modules)"
    )
    assert done.stdout.split() == ["False", "False", "False"]


def test_former_modules_can_be_reloaded_and_are_not_listed():
    former = importlib.import_module("medssl.data.geometry")
    assert importlib.reload(former) is former
    assert former.Problem.__module__ == "medssl.scans.geometry"
    listed = {module.name for module in pkgutil.walk_packages(medssl.__path__, "medssl.")}
    assert "medssl.scans.geometry" in listed
    assert not listed & MOVED.keys()


def test_there_is_one_finder_however_often_it_is_asked_for():
    before = list(sys.meta_path)
    find_former_modules()
    importlib.reload(importlib.import_module("medssl.moved")).find_former_modules()
    assert sys.meta_path == before
