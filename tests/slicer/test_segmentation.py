"""Segmentations by medssl load in 3D Slicer's own classes with the right names, colours and place."""

import math

import nibabel as nib
import nrrd
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImage

from medssl.transforms.save import SaveImageSegmentationd

pytestmark = pytest.mark.slicer
NAMES = {1: "liver", 2: "right kidney", 3: "my own structure"}
# Slicer's GenericAnatomyColors.
COLORS = {"liver": (221, 130, 101), "right kidney": (185, 102, 83)}
SHAPE = (30, 24, 12)


def oblique_left_handed_affine():
    a, b = 0.3, 0.2
    around_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]])
    around_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]])
    affine = np.eye(4)
    affine[:3, :3] = around_z @ around_x @ np.diag([0.9, 0.7, -2.5])
    affine[:3, 3] = 10, -20, 30
    assert np.linalg.det(affine) < 0
    return affine


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """An oblique, anisotropic, left-handed scan, its labels, and the segmentation that medssl writes."""
    folder = tmp_path_factory.mktemp("slicer")
    affine = oblique_left_handed_affine()
    label = np.zeros(SHAPE, np.uint8)
    label[3:9, 4:12, 2:6], label[15:22, 10:20, 5:11], label[24:28, 1:4, 0:3] = 1, 2, 3
    noise = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    volume = folder / "scan.nii.gz"
    nib.save(nib.Nifti1Image(noise, affine), volume)
    image = MetaTensor(torch.from_numpy(label[None]), affine=torch.from_numpy(affine))
    image.meta["filename_or_obj"] = str(volume)
    save = SaveImageSegmentationd("pred", output_dir=folder, labels=NAMES, output_postfix="seg", separate_folder=False)
    save({"pred": image})
    return volume, folder / "scan_seg.seg.nrrd", label, affine


def require_same(seen, label, affine, names):
    """Check what Slicer sees: every name in order, its voxels, and centroids within half a voxel."""
    segments = seen["segmentation"]["segments"]
    assert [segment["name"] for segment in segments] == list(names.values())
    half_voxel = np.linalg.norm(affine[:3, :3], axis=0).min() / 2
    for value, segment in zip(names, segments, strict=True):
        found = np.argwhere(label == value)
        assert segment["count"] == len(found), segment["name"]
        if len(found):
            center = affine[:3, :3] @ found.mean(axis=0) + affine[:3, 3]
            assert np.linalg.norm(center - segment["centroid"]) <= half_voxel, segment["name"]


def changed(path, tmp_path, change):
    """Write a copy of a segmentation with other voxels or another header."""
    voxels, header = nrrd.read(str(path))
    voxels, header = change(voxels, dict(header))
    copy = tmp_path / "changed.seg.nrrd"
    nrrd.write(str(copy), voxels, header)
    return copy


def test_names_voxels_and_places(slicer_sees, case):
    volume, segmentation, label, affine = case
    require_same(slicer_sees(volume, segmentation), label, affine, NAMES)


def test_slicer_has_no_complaints(slicer_sees, case):
    seen = slicer_sees(*case[:2])
    assert seen["volume"]["loaded"] and seen["segmentation"]["loaded"]
    assert seen["segmentation"]["messages"] == ""


def test_the_volume_lies_where_its_affine_says(slicer_sees, case):
    volume, segmentation, _, affine = case
    last = affine @ np.array([*(size - 1 for size in SHAPE), 1.0])
    corners = np.array(slicer_sees(volume, segmentation)["volume"]["corners"])
    # Slicer flips the third axis of a left-handed scan, so it reports other corners of the same box.
    middle = (affine[:3, 3] + last[:3]) / 2
    np.testing.assert_allclose(corners.mean(axis=0), middle, atol=1e-3)


def test_known_anatomy_has_slicers_colours_and_terms(slicer_sees, case):
    segments = {s["name"]: s for s in slicer_sees(*case[:2])["segmentation"]["segments"]}
    for name, color in COLORS.items():
        np.testing.assert_allclose(np.array(segments[name]["color"]) * 255, color, atol=0.51)
        assert "SCT^" in segments[name]["terminology"]


def test_a_shifted_affine_is_caught(slicer_sees, case, tmp_path):
    volume, segmentation, label, affine = case

    def shift(voxels, header):
        return voxels, {**header, "space origin": header["space origin"] + np.array([1.0, 0, 0])}

    seen = slicer_sees(volume, changed(segmentation, tmp_path, shift))
    with pytest.raises(AssertionError):
        require_same(seen, label, affine, NAMES)


def test_a_missing_label_value_is_caught(slicer_sees, case, tmp_path):
    volume, segmentation, label, affine = case

    def forget(voxels, header):
        return voxels, {k: v for k, v in header.items() if not k.endswith(("_LabelValue", "_Layer"))}

    seen = slicer_sees(volume, changed(segmentation, tmp_path, forget))
    with pytest.raises(AssertionError):
        require_same(seen, label, affine, NAMES)


def test_a_gap_in_the_labels_is_caught(slicer_sees, case, tmp_path):
    volume, segmentation, label, affine = case

    def gap(voxels, header):
        return np.where(voxels == 2, 7, voxels).astype(np.uint8), header

    seen = slicer_sees(volume, changed(segmentation, tmp_path, gap))
    with pytest.raises(AssertionError):
        require_same(seen, label, affine, NAMES)


def test_slicer_complains_about_missing_extents(slicer_sees, case, tmp_path):
    volume, segmentation, label, affine = case

    def forget(voxels, header):
        return voxels, {k: v for k, v in header.items() if not k.endswith("_Extent")}

    seen = slicer_sees(volume, changed(segmentation, tmp_path, forget))
    require_same(seen, label, affine, NAMES)
    assert "extent" in seen["segmentation"]["messages"].lower()


def test_slicer_complains_about_float_voxels(slicer_sees, case, tmp_path):
    volume, segmentation, *_ = case

    def as_floats(voxels, header):
        return voxels.astype(np.float32), {**header, "type": "float"}

    seen = slicer_sees(volume, changed(segmentation, tmp_path, as_floats))
    assert "truncat" in seen["segmentation"]["messages"].lower()


def test_a_file_that_monai_writes_alone_has_no_names(slicer_sees, case, tmp_path):
    volume, _, label, affine = case
    image = MetaTensor(torch.from_numpy(label[None]), affine=torch.from_numpy(affine))
    SaveImage(tmp_path, "seg", output_dtype=np.uint8, separate_folder=False, print_log=False)(image)
    segments = slicer_sees(volume, tmp_path / "0_seg.nii.gz")["segmentation"]["segments"]
    assert [segment["name"] for segment in segments] == ["Segment_1", "Segment_2", "Segment_3"]
    assert all(np.ptp(segment["color"]) == 0 for segment in segments)


def test_metaimage_does_not_open(slicer_sees, case, tmp_path):
    volume, _, label, _ = case
    sitk.WriteImage(sitk.GetImageFromArray(label), str(tmp_path / "label.mha"))
    assert not slicer_sees(volume, tmp_path / "label.mha")["segmentation"]["offered"]


def test_slicer_offers_to_open_the_type_of_the_file(slicer_sees, case):
    assert slicer_sees(*case[:2])["segmentation"]["offered"]


def label_map(case, folder, label):
    """Write a label map as the MONAI Label server sends it."""
    nib.save(nib.Nifti1Image(label, case[3]), folder / "label.nii.gz")
    return folder / "label.nii.gz"


def test_the_plugin_names_structures_by_the_order_of_their_values(slicer_sees, case, tmp_path):
    volume, _, label, affine = case
    require_same(slicer_sees(volume, label_map(case, tmp_path, label), *NAMES.values()), label, affine, NAMES)


def test_the_plugin_keeps_the_names_if_a_structure_is_missing(slicer_sees, case, tmp_path):
    volume, _, label, affine = case
    found = np.where(label == 2, 0, label).astype(np.uint8)
    require_same(slicer_sees(volume, label_map(case, tmp_path, found), *NAMES.values()), found, affine, NAMES)


def test_the_plugin_loses_a_structure_after_a_gap(slicer_sees, case, tmp_path):
    volume, _, label, _ = case
    gap = np.where(label == 2, 0, label).astype(np.uint8)
    seen = slicer_sees(volume, label_map(case, tmp_path, gap), "liver", "my own structure")
    assert [segment["count"] for segment in seen["segmentation"]["segments"]] == [(label == 1).sum(), 0]
