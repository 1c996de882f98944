from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from rich.console import Console

from medssl.data.datalist import read_datalist
from medssl.workflows.segment_carry import Carrier, carrying_targets, num_targets
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase, UnlabelledCase, load_run
from tests.tiny import files_of


def unlabelled(case):
    return UnlabelledCase(case["case"], Path(case["image"]), case["case"])


@pytest.fixture
def cases(ct_list):
    """Gives two labelled phantoms, and the one of the test section with its mask."""
    listed = read_datalist(ct_list)
    labelled = [
        LabelledCase(case["case"], Path(case["image"]), Path(case["label"]), case["case"])
        for case in listed.section("training")
    ]
    return labelled, listed.section("test")[0]


@pytest.fixture
def carrier(ct_list, probed, cases, tmp_path):
    def make(targets, **options):
        num_classes = len(read_datalist(ct_list).labels) - 1
        display = Display(Console(quiet=True))
        return Carrier(load_run(probed), tmp_path / "carried", cases[0], targets, num_classes, display, **options)

    return make


def dice(found, wanted):
    found, wanted = (np.asarray(nib.load(path).dataobj) > 0 for path in (found, wanted))
    return 2 * (found & wanted).sum() / (found.sum() + wanted.sum())


def test_a_scan_is_given_a_mask_on_its_own_grid_that_shows_the_organs(carrier, cases):
    labelled, test = cases
    (found,) = carrier([unlabelled(test)]).carried(labelled)
    scan, mask = nib.load(test["image"]), nib.load(found.label)
    assert mask.shape == scan.shape
    np.testing.assert_allclose(mask.affine, scan.affine, atol=1e-4)
    assert dice(found.label, test["label"]) > 0.5


def test_without_time_two_scans_get_labels_and_a_later_call_goes_on(carrier, cases):
    labelled, test = cases
    targets = [replace(unlabelled(test), case=f"scan{number}", content=f"scan{number}") for number in range(3)]
    hurried = carrier(targets, has_time=lambda: False)
    assert [found.case for found in hurried.carried(labelled)] == ["scan0_carried", "scan1_carried"]
    assert [found.case for found in hurried.carried(labelled[:1])] == ["scan0_carried", "scan1_carried"]
    assert [found.case for found in carrier(targets).carried(labelled)] == [f"scan{n}_carried" for n in range(3)]
    assert len(carrier(targets, has_time=lambda: False).carried(labelled)) == 3


def test_what_was_carried_before_is_kept(carrier, cases, tmp_path):
    labelled, test = cases
    first = carrier([unlabelled(test)]).carried(labelled)
    before = files_of(tmp_path / "carried")
    assert carrier([unlabelled(test)]).carried(labelled) == first
    assert files_of(tmp_path / "carried") == before


def test_other_labelled_scans_carry_other_masks(carrier, cases):
    labelled, test = cases
    made = carrier([unlabelled(test)])
    both, one = made.carried(labelled), made.carried(labelled[:1])
    assert both[0].content != one[0].content and both[0].label != one[0].label


def test_a_scan_that_cannot_be_read_is_left_out_with_a_warning(carrier, cases, tmp_path, caplog):
    labelled, test = cases
    (tmp_path / "bad.nii.gz").write_bytes(b"no volume")
    targets = [UnlabelledCase("bad", tmp_path / "bad.nii.gz", "bad"), unlabelled(test)]
    assert [case.case for case in carrier(targets).carried(labelled)] == [f"{test['case']}_carried"]
    assert "No labels are carried to bad" in caplog.text


def test_the_number_of_targets_follows_from_the_minutes():
    scans = [UnlabelledCase(f"c{n}", Path("x"), f"content {n}") for n in range(50)]
    assert [len(carrying_targets(scans, num_targets(minutes))) for minutes in (0, 1, 5, 10, 60)] == [0, 0, 6, 12, 12]


def test_targets_stay_when_the_scans_are_listed_in_another_order():
    scans = [UnlabelledCase(f"c{n}", Path("x"), f"content {n}") for n in range(50)]
    assert carrying_targets(scans[::-1], 10) == carrying_targets(scans, 10)


def test_one_scan_is_too_few_to_carry_labels_to():
    assert carrying_targets([UnlabelledCase("a", Path("x"), "a")], 10) == []
