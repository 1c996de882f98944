import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssl.evaluation.case_slices import MOST_PIXELS, case_slice, read_slice, slices_folder, to_bytes, write_slices

NAMES = {0: "background", 1: "liver"}


def scan_and_label(spacing=(-2.0, -1.0, 3.0)):
    """Give a scan that is bright where its label is, whose largest slice is the fourth, stored from left to right."""
    label = np.zeros((30, 40, 8))
    label[4:9, 10:20, 3] = 1
    label[4:6, 10:12, 4:6] = 1
    affine = torch.diag(torch.tensor([*spacing, 1.0], dtype=torch.float64))
    volumes = (torch.from_numpy(values)[None].float() for values in (label + 0.1, label))
    return tuple(MetaTensor(values, affine=affine) for values in volumes)


def test_the_slice_is_the_axial_one_with_most_of_the_reference():
    image, label = scan_and_label()
    found = case_slice(image, label, torch.zeros_like(label), NAMES)
    assert (found.reference == 1).sum() == 50
    assert not found.prediction.any()
    assert found.names == {1: "liver"}
    assert found.aspect == pytest.approx(0.5)


def test_the_scan_lies_under_its_label_whatever_its_own_grid():
    image, label = scan_and_label()
    # The same scan, with every voxel of the first axis twice and its axes turned around.
    fine = MetaTensor(torch.repeat_interleave(image.as_tensor(), 2, dim=1), affine=image.affine.clone())
    fine.affine[0, 0] /= 2
    fine.affine[0, 3] -= fine.affine[0, 0] * 0.5
    for other in (image, fine, image_flipped(image)):
        found = case_slice(other, label, label, NAMES)
        assert ((found.scan > 127) == (found.reference == 1)).mean() > 0.98


def image_flipped(image):
    affine = image.affine.clone()
    affine[:3, 3] += affine[:3, 1] * (image.shape[2] - 1)
    affine[:3, 1] *= -1
    return MetaTensor(torch.flip(image.as_tensor(), (2,)), affine=affine)


def test_the_patients_right_is_on_the_left_and_anterior_on_top():
    # Towards the end of both axes x and y fall, so that the last voxels are the leftmost and the hindmost.
    _, label = scan_and_label()
    image, whole = torch.zeros_like(label), torch.ones_like(label)
    image[0, 29, :20, :] = 1.0
    scan = case_slice(image, whole, whole, NAMES).scan
    bright = np.argwhere(scan == 255)
    assert scan.shape == (40, 30)
    assert (bright[:, 1] == 29).all()
    assert bright[:, 0].max() == 19


def test_large_slices_are_thinned_out():
    label = MetaTensor(torch.ones(1, 700, 500, 2), affine=torch.eye(4))
    found = case_slice(label, label, label, NAMES)
    assert max(found.scan.shape) <= MOST_PIXELS
    assert found.scan.shape == found.reference.shape == found.prediction.shape


def test_a_picture_is_shown_as_it_is():
    label = MetaTensor(torch.zeros(1, 20, 10), affine=torch.diag(torch.tensor([-1.0, -1.0, 1.0, 1.0])))
    label[0, 2:6, 1:9] = 1
    found = case_slice(label.clone(), label, label, NAMES)
    assert found.reference.shape[0] == 10
    assert ((found.scan == 255) == (found.reference == 1)).all()


def test_slices_come_back_and_replace_former_ones(tmp_path):
    image, label = scan_and_label()
    found = case_slice(image, label, label, NAMES)
    folder = slices_folder(tmp_path / "rows.jsonl")
    write_slices(folder, {"old": to_bytes(found)})
    write_slices(folder, {"new": to_bytes(found)})
    assert [path.name for path in folder.iterdir()] == ["new.npz"]
    back = read_slice(folder / "new.npz")
    for name in ("scan", "reference", "prediction"):
        assert np.array_equal(getattr(back, name), getattr(found, name))
    assert (back.aspect, back.names) == (found.aspect, found.names)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off"])
def test_a_damaged_slice_is_named(content, tmp_path):
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.npz is damaged"):
        read_slice(tmp_path / "x.npz")
