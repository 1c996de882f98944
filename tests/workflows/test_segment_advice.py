import logging
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from medssl.advice.measures import StructureMeasures
from medssl.workflows.segment_advice import log_advice, structures_of
from medssl.workflows.segment_backbone import choose_backbone
from medssl.workflows.segment_facts import ScanFacts
from medssl.workflows.segment_training import LabelledCase

NAMES = {1: "kidney"}


@pytest.fixture
def case(tmp_path):
    mask = np.zeros((24, 24, 10), np.uint8)
    mask[6:16, 6:16, 2:8] = 1
    files = [tmp_path / f"{name}.nii" for name in ("scan", "mask")]
    for path, voxels in zip(files, (mask + np.random.default_rng(0).random(mask.shape), mask), strict=True):
        nib.save(nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 3.0, 1.0])), path)
    return LabelledCase("a", *files, "content")


def test_measures_are_kept_until_the_content_of_a_case_changes(case, tmp_path):
    first = structures_of([case], NAMES, "MR", tmp_path / "kept")
    case.image.unlink()
    assert structures_of([case], NAMES, "MR", tmp_path / "kept") == first
    assert first["kidney"].extent == (10.0, 10.0, 18.0)
    with pytest.raises(ValueError, match=r"scan\.nii"):
        structures_of([replace(case, content="changed")], NAMES, "MR", tmp_path / "kept")


def test_each_advised_setting_is_logged_with_its_reason_unless_the_user_sets_it(caplog):
    caplog.set_level(logging.INFO)
    liver = {"liver": StructureMeasures(900.0, (150.0, 100.0, 90.0), 60.0, 0.1, 1.0)}
    facts = ScanFacts("", (200, 200, 32), (1.6, 1.6, 7.7))
    start = choose_backbone(None, "MR", [facts], lambda: liver)
    log_advice(start, {"patch_size": [64, 64, 16]})
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == ["spacing", "num_levels"]
    assert "thinnest structure, liver (60 mm)" in caplog.records[0].getMessage()
