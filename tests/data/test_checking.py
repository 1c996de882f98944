"""The table of bad inputs: each is rejected, warned of or taken."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from isal import igzip

from medssl.data.checking import check_datalist
from medssl.scans import streams
from medssl.scans.integrity import check_file, verified_header
from tests.scans.files import AFFINE, SHAPE, hounsfield, organs, save_itk, save_nifti, save_series


@dataclass
class Row:
    """One input: how it is written, what becomes of it, and a word of the reason."""

    expected: str
    reason: str = ""
    voxels: object = hounsfield
    affine: np.ndarray = field(default_factory=AFFINE.copy)
    fields: dict = field(default_factory=dict)
    spoil: object = None
    name: str = "scan.nii.gz"


def affine_with(**entries) -> np.ndarray:
    affine = AFFINE.copy()
    for place, value in entries.items():
        affine[int(place[1]), int(place[2])] = value
    return affine


def spotted(value):
    def make():
        voxels = hounsfield().astype(np.float32)
        voxels[5, 5, 4] = value
        return voxels

    return make


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


def break_crc(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(bytes(content))


def change_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 64
    path.write_bytes(bytes(content))


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


NO_FORMS = {"sform_code": 0, "qform_code": 0}
RGB = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])
TABLE = {
    "a sound scan": Row("accept"),
    "truncated .nii.gz": Row("error", "end-of-stream", spoil=cut),
    "truncated .nii": Row("error", "bytes its header promises", spoil=cut, name="scan.nii"),
    "wrong CRC": Row("error", "CRC", spoil=break_crc),
    "one byte of the stream changed": Row("error", "damaged", spoil=change_a_byte),
    "one voxel of a bare .nii changed": Row("accept", spoil=change_a_byte, name="scan.nii"),
    "empty file": Row("error", "empty", spoil=lambda path: path.write_bytes(b"")),
    "web page": Row("error", "web page", spoil=lambda path: path.write_text("<html>404</html>")),
    "missing file": Row("error", "does not exist", spoil=Path.unlink),
    "empty folder": Row("error", "no DICOM series", spoil=make_folder),
    "no sform and no qform": Row("warning", "neither sform nor qform", fields=NO_FORMS),
    "zero affine": Row("error", "singular", affine=np.diag([0.0, 0, 0, 1])),
    "singular affine": Row("error", "singular", affine=affine_with(a01=1.5, a11=0.0)),
    "NaN affine": Row("error", "NaN or Inf", affine=affine_with(a03=np.nan)),
    "pixdim 0 without forms": Row("error", "singular", fields={**NO_FORMS, "pixdim": [1, 0, 0, 0, 0, 0, 0, 0]}),
    "sform and qform differ": Row("warning", "lie 6.50 mm apart; the sform is used", fields={"qoffset_x": -13.5}),
    "pixdim fits only the qform": Row("warning", "the qform is used", fields={"srow_x": [3, 0, 0, -20]}),
    "pixdim fits only an unset qform": Row(
        "error", "pixdim contradicts its sform", fields={"srow_x": [3, 0, 0, -20], "qform_code": 0}
    ),
    "unused qform is no rotation": Row("warning", "no rotation", fields={"quatern_b": 3}),
    "unused qform of NaN": Row("warning", "no rotation", fields={"quatern_b": np.nan}),
    "used qform is no rotation": Row("error", "NaN or Inf", fields={"quatern_b": 3, "sform_code": 0}),
    "NaN voxel": Row("error", "1 of its voxels are NaN or Inf", voxels=spotted(np.nan)),
    "Inf voxel": Row("error", "1 of its voxels are NaN or Inf", voxels=spotted(np.inf)),
    "4D with 3 volumes": Row("error", "several volumes", voxels=lambda: np.stack([hounsfield()] * 3, axis=-1)),
    "4D with 1 volume": Row("accept", voxels=lambda: hounsfield()[..., None]),
    "single slice": Row("warning", "single slice", voxels=lambda: hounsfield()[:, :, 3:4]),
    "2D": Row("error", "2 axes", voxels=lambda: hounsfield()[:, :, 3]),
    "complex": Row("error", "complex", voxels=lambda: hounsfield().astype(np.complex64)),
    "colour": Row("error", "3 numbers in a voxel", voxels=lambda: np.zeros(SHAPE, RGB)),
    "slope 0": Row("accept", fields={"scl_slope": 0}),
    "slope NaN": Row("accept", fields={"scl_slope": np.nan, "scl_inter": np.nan}),
    "slope 0 with an intercept": Row("warning", "-1024 is ignored", fields={"scl_slope": 0, "scl_inter": -1024}),
    "slope 1e30": Row("warning", "hardly meant", fields={"scl_slope": 1e30}),
    "slope 1e38": Row("error", "float32", fields={"scl_slope": 1e38}),
    "metres": Row("error", "metres?", affine=AFFINE * [[1e-3], [1e-3], [1e-3], [1]]),
    "spacing of 1000 mm": Row("error", "exceeds 20", affine=affine_with(a22=1000.0)),
    "long voxels": Row("warning", "10 times", affine=affine_with(a22=15.0)),
    "sheared affine": Row("warning", "sheared", affine=affine_with(a01=0.4)),
    "no intercept": Row("warning", "lowest value is 0", voxels=lambda: (hounsfield() + 1000).astype(np.uint16)),
    "beyond HU": Row("warning", "no HU", voxels=spotted(40000.0)),
    "constant": Row("error", "all its voxels are 7", voxels=lambda: np.full(SHAPE, 7, np.int16)),
    "only air": Row("error", "no body", voxels=lambda: np.minimum(hounsfield(), -600)),
    "axis of 0 voxels": Row("error", "3 axes of", fields={"dim": [3, 12, 0, 8, 1, 1, 1, 1]}),
    "axis of -10 voxels": Row("error", "3 axes of", fields={"dim": [3, 12, -10, 8, 1, 1, 1, 1]}),
    "huge header": Row("error", "bytes its header promises", fields={"dim": [3, 32767, 32767, 32767, 1, 1, 1, 1]}),
    "truncated .nrrd": Row("error", "damaged", spoil=cut, name="scan.nrrd"),
    "truncated .mha": Row("error", "damaged", spoil=cut, name="scan.mha"),
    "sound .nrrd": Row("accept", name="scan.nrrd"),
    "sound .mha": Row("accept", name="scan.mha"),
}


def only(findings, expected: str, reason: str) -> None:
    if expected == "accept":
        assert findings == []
    else:
        assert min(finding.severity for finding in findings) == expected
        assert any(reason in finding.problem for finding in findings)


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_an_image_is_judged_as_the_table_says(tmp_path, write_list, row):
    path = tmp_path / row.name
    if row.name.endswith(("nii", "gz")):
        save_nifti(path, row.voxels(), row.affine, **row.fields)
    else:
        save_itk(path, row.voxels(), row.affine)
    if row.spoil:
        row.spoil(path)
    findings = check_datalist(write_list(unlabeled=[{"case": "a", "image": row.name}]))
    only(findings, row.expected, row.reason)
    assert all((finding.case, finding.section, finding.file) == ("a", "unlabeled", str(path)) for finding in findings)


def mirrored():
    affine = affine_with(a00=-1.5)
    affine[0, 3] = AFFINE[0, 3] + 1.5 * (SHAPE[0] - 1)
    return affine


LABELS = {
    "a sound label": Row("accept", voxels=organs),
    "moved by 50 mm": Row("error", "up to 50.00 mm", voxels=organs, affine=affine_with(a03=30.0)),
    "left and right swapped": Row("error", "mm from those of the image", voxels=organs, affine=affine_with(a00=-1.5)),
    "mirrored in place": Row("warning", "left-right swap", voxels=organs, affine=mirrored()),
    "twice the spacing": Row("error", "mm from those of the image", voxels=organs, affine=affine_with(a22=5.0)),
    "one slice short": Row("error", "its label is of 12 x 10 x 7 where", voxels=lambda: organs()[:, :, :-1]),
    "rounded affine": Row("accept", voxels=organs, affine=AFFINE + 1e-4 * np.eye(4)),
    "empty": Row("warning", "empty", voxels=lambda: organs() * 0),
    "almost integers": Row("warning", "cut them off", voxels=lambda: organs() * np.float32(0.9997)),
    "interpolated": Row("error", "no integers", voxels=lambda: organs() * np.float32(0.5)),
    "NaN": Row("error", "NaN or Inf", voxels=lambda: np.where(organs() == 2, np.nan, organs())),
    "undeclared value": Row("error", "255 (18 voxels)", voxels=lambda: np.where(organs() == 2, 255, organs())),
    "truncated": Row("error", "damaged", voxels=organs, spoil=cut),
    "no forms": Row("error", "mm from those of the image", voxels=organs, fields=NO_FORMS),
}


@pytest.mark.parametrize("row", LABELS.values(), ids=LABELS.keys())
def test_a_label_is_judged_as_the_table_says(tmp_path, write_list, row):
    save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    voxels = row.voxels()
    path = save_nifti(
        tmp_path / "label.nii.gz",
        voxels.astype(np.float32) if voxels.dtype.kind == "f" else voxels.astype(np.uint8),
        row.affine,
        **row.fields,
    )
    if row.spoil:
        row.spoil(path)
    entry = {"case": "a", "image": "scan.nii.gz", "label": "label.nii.gz"}
    findings = check_datalist(write_list(training=[entry]))
    only(findings, row.expected, row.reason)
    assert all(finding.file == str(path) for finding in findings)


def test_a_constant_mr_is_empty_and_a_ct_without_negative_values_is_an_mr(tmp_path, write_list):
    save_nifti(tmp_path / "a.nii.gz", np.full(SHAPE, 3, np.int16))
    save_nifti(tmp_path / "b.nii.gz", hounsfield() + 1000)
    path = write_list("MR", unlabeled=[{"case": case, "image": f"{case}.nii.gz"} for case in "ab"])
    assert [(finding.case, finding.severity) for finding in check_datalist(path)] == [("a", "error")]


def test_a_label_beside_the_dicom_series_it_was_drawn_on_is_sound(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield())
    save_itk(tmp_path / "label.seg.nrrd", organs())
    entry = {"case": "a", "image": "ct", "label": "label.seg.nrrd"}
    assert check_datalist(write_list(training=[entry])) == []


def test_a_label_in_another_order_of_axes_at_the_same_place_is_sound(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield())
    save_nifti(tmp_path / "label.nii.gz", organs()[::-1], mirrored())
    entry = {"case": "a", "image": "ct", "label": "label.nii.gz"}
    assert check_datalist(write_list(training=[entry])) == []


def test_a_series_that_lacks_a_slice_is_an_error(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield(), skip={3})
    (finding,) = check_datalist(write_list(unlabeled=[{"case": "a", "image": "ct"}]))
    assert finding.severity == "error" and "lacks slices" in finding.problem


def test_a_tilted_gantry_is_a_warning(tmp_path, write_list):
    save_series(tmp_path / "ct", hounsfield(), affine_with(a12=0.5))
    (finding,) = check_datalist(write_list(unlabeled=[{"case": "a", "image": "ct"}]))
    assert finding.severity == "warning" and "tilted gantry" in finding.problem


@pytest.mark.parametrize(
    ("first", "second", "severity"),
    [
        ("training", "test", "error"),
        ("unlabeled", "test", "error"),
        ("training", "validation", "error"),
        ("training", "training", "warning"),
        ("training", "unlabeled", "warning"),
    ],
)
def test_the_same_voxels_in_two_places_are_found(tmp_path, write_list, first, second, severity):
    save_nifti(tmp_path / "a.nii.gz", hounsfield())
    # Another format, another voxel type: the same scan.
    save_itk(tmp_path / "b.nrrd", hounsfield().astype(np.float32))
    save_nifti(tmp_path / "label.nii.gz", organs())
    sections: dict = {}
    for section, case, image in ((first, "a", "a.nii.gz"), (second, "b", "b.nrrd")):
        label = {} if section == "unlabeled" else {"label": "label.nii.gz"}
        sections.setdefault(section, []).append({"case": case, "image": image, **label})
    (finding,) = check_datalist(write_list(**sections))
    assert finding.severity == severity and "same voxels as case" in finding.problem


def test_a_volume_smaller_than_the_patch_is_padded_by_so_much(tmp_path, write_list):
    save_nifti(tmp_path / "a.nii.gz", hounsfield())
    path = write_list(unlabeled=[{"case": "a", "image": "a.nii.gz"}])
    (finding,) = check_datalist(path, patch_size=(16, 8, 9))
    assert finding.severity == "warning" and "padded by 4 x 0 x 1 voxels" in finding.problem
    assert check_datalist(path, patch_size=(12, 10, 8)) == []


def test_patches_are_compared_at_the_spacing_they_are_cut_at(tmp_path, write_list):
    save_nifti(tmp_path / "a.nii.gz", hounsfield())
    path = write_list(unlabeled=[{"case": "a", "image": "a.nii.gz"}])
    (finding,) = check_datalist(path, patch_size=(12, 10, 8), spacing=(3.0, 1.25, 2.5))
    assert "padded by 6 x 0 x 0 voxels" in finding.problem


def test_every_bad_case_is_named_and_no_sound_one(tmp_path, write_list):
    entries = []
    for index in range(6):
        save_nifti(tmp_path / f"{index}.nii.gz", hounsfield(index))
        save_nifti(tmp_path / f"{index}_label.nii.gz", organs())
        entries.append({"case": str(index), "image": f"{index}.nii.gz", "label": f"{index}_label.nii.gz"})
    cut(tmp_path / "1.nii.gz")
    shutil.rmtree(tmp_path / "4_label.nii.gz", ignore_errors=True)
    (tmp_path / "4_label.nii.gz").unlink()
    findings = check_datalist(write_list(training=entries[:3], test=entries[3:]))
    assert [(finding.case, finding.section) for finding in findings] == [("1", "training"), ("4", "test")]


def test_check_file_gives_errors_and_warnings(tmp_path):
    assert check_file(save_nifti(tmp_path / "a.nii", hounsfield())) == []
    assert [problem.severity for problem in check_file(save_nifti(tmp_path / "b.nii", hounsfield(), **NO_FORMS))] == [
        "warning"
    ]


def test_a_verified_header_tells_shape_and_spacing(tmp_path):
    header = verified_header(save_nifti(tmp_path / "a.nii.gz", hounsfield()))
    assert header.shape == SHAPE and np.allclose(header.spacing, [1.5, 1.25, 2.5])


def test_a_header_with_an_error_is_not_verified(tmp_path):
    with pytest.raises(ValueError, match=r"a\.nii cannot be used: its affine is singular"):
        verified_header(save_nifti(tmp_path / "a.nii", hounsfield(), np.diag([0.0, 0, 0, 1])))


def test_a_compressed_nifti_file_is_inflated_once(tmp_path, write_list, monkeypatch):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), scl_slope=2, scl_inter=-5)
    inflated = []

    class Counting(igzip.IGzipFile):
        def readinto(self, buffer):
            inflated.append(super().readinto(buffer))
            return inflated[-1]

    def refuse(*_, **__):
        raise AssertionError("nibabel reads the voxels too")

    monkeypatch.setattr(streams.igzip, "IGzipFile", Counting)
    monkeypatch.setattr(nib.arrayproxy.ArrayProxy, "__array__", refuse)
    assert check_datalist(write_list(unlabeled=[{"case": "a", "image": path.name}])) == []
    assert 0.9 * hounsfield().nbytes < sum(inflated) < 1.5 * hounsfield().nbytes
