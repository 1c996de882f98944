"""DICOM SEG and RTSTRUCT files are labels wherever a data list has labels."""

import json
import logging

import nibabel as nib
import numpy as np
import pytest
import torch
from ignite.engine import Engine

from medssl.data.checking import check_datalist
from medssl.data.datalist import load_section, read_datalist, write_datalist
from medssl.data.folders import build_datalist
from medssl.data.slices import cut_slices
from medssl.evaluation.metrics import read_rows
from medssl.evaluation.rows import WriteRows
from medssl.scans.loading import VerifiedLoadImaged
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, organs, save_nifti
from tests.scans.structure_writer import save_contours, save_seg, to_lps

SQUARES = [to_lps(np.array([[3, 3, z], [5, 3, z], [5, 5, z], [3, 5, z]], float), AFFINE) for z in (2, 3, 4)]


@pytest.fixture
def folders(tmp_path):
    """Scans ``a`` with a SEG in a folder, ``b`` with an RTSTRUCT, both with liver; only ``a`` has a spleen."""
    for seed, case in enumerate("ab"):
        save_slices(tmp_path / "scans" / case, hounsfield(seed), AFFINE, uid=f"1.2.{seed}")
    masks = {"spleen": organs() == 2, "Liver": organs() == 1}
    save_seg(tmp_path / "labels" / "a" / "1-1.dcm", masks, AFFINE, series="1.2.0")
    save_contours(tmp_path / "labels" / "b_seg.dcm", {"Liver": SQUARES, "BODY": []}, series="1.2.1")
    return tmp_path


@pytest.fixture
def listed(folders):
    made = build_datalist(folders / "scans", folders / "labels", "toy", "CT", "1=liver")
    return write_datalist(made, folders / "list.json")


def test_a_list_is_made_of_them_with_the_names_that_all_have(folders, caplog):
    caplog.set_level(logging.WARNING)
    made = build_datalist(folders / "scans", folders / "labels", "toy", "CT")
    assert made.labels == {0: "background", 1: "Liver"}
    assert "left out: BODY, spleen" in caplog.text
    assert [(one["case"], one["label"][len(str(folders)) :]) for one in made.sections["training"]] == [
        ("a", "/labels/a"),
        ("b", "/labels/b_seg.dcm"),
    ]


def test_labels_with_and_without_names_need_given_ones(folders):
    (folders / "labels" / "b_seg.dcm").unlink()
    save_nifti(folders / "labels" / "b.nii.gz", organs())
    with pytest.raises(ValueError, match=r"names its structures and .*b\.nii\.gz does not"):
        build_datalist(folders / "scans", folders / "labels", "toy", "CT")
    assert build_datalist(folders / "scans", folders / "labels", "toy", "CT", "1=liver").labels[1] == "liver"


def test_check_says_what_is_left_aside_and_names_what_is_missing(listed):
    found = [(one.case, one.severity, one.problem) for one in check_datalist(listed)]
    assert found == [
        ("a", "warning", "its structures spleen are not among the labels and are left aside."),
        ("b", "warning", "its structures BODY are not among the labels and are left aside."),
    ]
    content = json.loads(listed.read_text())
    content["labels"]["2"] = "spleen"
    listed.write_text(json.dumps(content))
    (error,) = [one for one in check_datalist(listed) if one.severity == "error"]
    assert error.case == "b" and "has no structure 'spleen'; it has Liver, BODY" in error.problem


def test_training_loads_them_on_the_grid_of_their_scan(listed):
    load = VerifiedLoadImaged(["image", "label"], dtype=None, ensure_channel_first=True)
    a, b = map(load, load_section(listed, "training"))
    assert a["label"].shape == a["image"].shape and torch.equal(a["label"].affine, a["image"].affine)
    assert np.array_equal(a["label"][0], organs() == 1) and np.array_equal(b["label"][0], organs() == 1)
    assert a["label"].dtype == torch.uint8


def test_without_a_list_the_loader_says_what_is_lacking(folders):
    sample = {"image": str(folders / "scans" / "a"), "label": str(folders / "labels" / "a")}
    with pytest.raises(ValueError, match=r"labels/a is a DICOM segmentation, which needs its scan and the names"):
        VerifiedLoadImaged(["image", "label"])(sample)


def test_slices_are_cut_of_them(listed, tmp_path):
    written = read_datalist(cut_slices(read_datalist(listed), tmp_path / "slices"))
    labels = {one["case"]: nib.load(one["label"]).get_fdata().sum() for one in written.sections["training"]}
    assert labels["a_z2"] == labels["b_z2"] == 9 and labels["a_z1"] == 0


def test_evaluation_compares_with_them(listed, tmp_path):
    rows = WriteRows(str(tmp_path / "rows.jsonl"), read_datalist(listed).labels, {"method": "m", "setting": "s"})
    rows.identity |= {"labels": 1, "fold": 0}
    load = VerifiedLoadImaged(["image"], ensure_channel_first=True)
    cases = [load(case) for case in load_section(listed, "training")]
    perfect = [case["image"].new_tensor(organs()[None] == 1) for case in cases]
    for case, prediction in zip(cases, perfect, strict=True):
        prediction.copy_meta_from(case["image"])
    engine = Engine(lambda engine, batch: [{"pred": perfect[engine.state.iteration - 1]}])
    rows.attach(engine)
    engine.run([[case] for case in cases])
    assert [(row["case"], row["dice"]) for row in read_rows(tmp_path / "rows.jsonl")] == [("a", 1.0), ("b", 1.0)]
