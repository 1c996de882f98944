"""Outputs are named by their case and appear whole: MONAI's own saver does neither."""

import pytest
import yaml

from medssl.packaging.sources import source_bundles


def savers(value):
    if isinstance(value, dict):
        if str(value.get("_target_")).rpartition(".")[2] in ("SaveImaged", "SaveImageAtomicd"):
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from savers(item)


@pytest.fixture(scope="module")
def found():
    """Every saver of a recipe or a shipped bundle, by its file."""
    files = sorted(path for ending in ("yaml", "json") for path in source_bundles().rglob(f"*.{ending}"))
    return [(path, saver) for path in files for saver in savers(yaml.safe_load(path.read_text(encoding="utf-8")))]


def test_every_saver_names_by_case(found):
    """MONAI would make one file of two scans that differ behind their last dot only."""
    assert len(found) >= 4
    for path, saver in found:
        assert saver["output_name_formatter"]["_target_"] == "medssl.transforms.save.name_by_case", path


def test_what_every_saver_writes_appears_whole_or_not_at_all(found):
    """MONAI's own saver writes in place, so that a kill or a full disk leaves half a prediction."""
    for path, saver in found:
        assert saver["_target_"] == "medssl.transforms.atomic.SaveImageAtomicd", path
