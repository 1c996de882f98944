"""A small fixed part of ``benchmarks/campaigns/damaged_files.py``, which has thousands of such files."""

import numpy as np
import pytest

from medssl.scans import memory
from tests.scans.damaging import DAMAGES, FINE, damage, outcome, sound
from tests.scans.sound_files import FORMATS

NUMBERS = range(14)


@pytest.fixture(autouse=True)
def one_gibibyte(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 2**30)


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_refused_by_name_or_right(name, tmp_path):
    path = sound(name, tmp_path / "scan")
    assert outcome(name, damage(name, path, None)) == "as before"
    found = {}
    for number in NUMBERS:
        kind = DAMAGES[number % len(DAMAGES)]
        damaged = damage(name, path, kind, np.random.default_rng((1, number)))
        found[f"{kind} ({number})"] = outcome(name, damaged)
        damaged.undo()
    assert set(found.values()) <= set(FINE), found
    assert "refused by name" in found.values()
