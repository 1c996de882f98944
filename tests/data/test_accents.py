"""Names with accents, composed (NFC) or apart (NFD) as macOS stores them."""

import json
import unicodedata

import pytest

from medssl.data.checking import check_datalist
from medssl.data.datalist import read_datalist
from medssl.data.folders import build_datalist
from tests.scans.files import hounsfield, organs, save_nifti

COMPOSED, APART = (unicodedata.normalize(form, "Müller_é") for form in ("NFC", "NFD"))


def write(folder, *entries):
    content = {"name": "toy", "modality": "CT", "labels": {"0": "background", "1": "a", "2": "b"}, "training": entries}
    (folder / "list.json").write_text(json.dumps(content), encoding="utf-8")
    return folder / "list.json"


@pytest.mark.parametrize(("scan", "label"), [(APART, COMPOSED), (COMPOSED, APART), (APART, APART)])
def test_scan_and_label_meet_however_their_names_are_stored(tmp_path, scan, label):
    for kind, name, voxels in (("images", scan, hounsfield()), ("labels", label, organs())):
        (tmp_path / kind).mkdir()
        save_nifti(tmp_path / kind / f"{name}.nii.gz", voxels)
    datalist = build_datalist(tmp_path / "images", tmp_path / "labels", "toy", "CT", "1=a,2=b")
    assert [case["case"] for case in datalist.sections["training"]] == [COMPOSED]
    other = {"case": scan, "image": f"images/{label}.nii.gz", "label": f"labels/{scan}.nii.gz"}
    assert check_datalist(write(tmp_path, other)) == []
    assert read_datalist(tmp_path / "list.json").sections["training"][0]["case"] == COMPOSED


def test_two_files_that_differ_in_the_form_alone_are_one_name(tmp_path):
    for name in (APART, COMPOSED):
        save_nifti(tmp_path / f"{name}.nii.gz", hounsfield())
    with pytest.raises(ValueError, match=r"would both be case .*accents are stored in two ways"):
        build_datalist(tmp_path, None, "toy", "CT")
    entries = [{"case": case, "image": f"{case}.nii.gz", "label": "l.nii.gz"} for case in (APART, COMPOSED)]
    with pytest.raises(ValueError, match="ids must be unique"):
        read_datalist(write(tmp_path, *entries))
