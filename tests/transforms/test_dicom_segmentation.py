"""A DICOM SEG says, slice by slice, what was segmented; read here by pydicom alone."""

import logging

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import RLELossless

from medssl.scans.dicom import dicom_series
from medssl.scans.structure_labels import read_structures
from medssl.transforms.dicom_segmentation import SaveImageDicomSegmentationd, write_dicom_segmentation
from tests.scans.dicom_writer import save_enhanced, save_slices
from tests.scans.files import AFFINE, affine_with, hounsfield, organs, save_nifti
from tests.scans.structure_writer import with_frame_of_reference

NAMES = {1: "left kidney", 2: "lesion", 3: "spleen"}
LABEL = np.asfortranarray(organs())


def saved(folder, affine=AFFINE, **options):
    return save_slices(folder / "ct", hounsfield(), affine, edit=with_frame_of_reference, **options)


def masks_by_position(path):
    """Return the pixels (x, y) of every segment by the height at which a frame lies."""
    data = pydicom.dcmread(path)
    found = {}
    for pixels, frame in zip(data.pixel_array, data.PerFrameFunctionalGroupsSequence, strict=True):
        # One segment alone is named once for all frames.
        named = frame if "SegmentIdentificationSequence" in frame else data.SharedFunctionalGroupsSequence[0]
        number = named.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = frame.PlanePositionSequence[0].ImagePositionPatient
        found[number, round(float(position[2]), 3)] = (pixels.T, np.array(position, float))
    return data, found


def expected_masks(label, affine):
    masks = {(value, index): label[..., index] == value for value in (1, 2) for index in range(label.shape[2])}
    return {
        (value, round(float((affine @ [0, 0, index, 1])[2]), 3)): mask
        for (value, index), mask in masks.items()
        if mask.any()
    }


def test_another_reader_finds_every_voxel_where_it_was(tmp_path):
    scan = saved(tmp_path)
    assert write_dicom_segmentation(tmp_path / "a.dcm", LABEL, scan, NAMES)
    data, found = masks_by_position(tmp_path / "a.dcm")
    expected = expected_masks(LABEL, AFFINE)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key][0] == 1, mask) for key, mask in expected.items())
    assert all(np.allclose(position[:2], [20, -30]) for _, position in found.values())
    assert data.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
    assert data.FrameOfReferenceUID == "1.2.3.99" and data.StudyInstanceUID == "1.2.3.4"
    slices = {pydicom.dcmread(file).SOPInstanceUID for file in scan.iterdir()}
    named = {item.ReferencedSOPInstanceUID for item in data.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert named <= slices and named


def test_segments_have_names_codes_sides_and_colours(tmp_path):
    write_dicom_segmentation(tmp_path / "a.dcm", LABEL, saved(tmp_path), NAMES)
    segments = pydicom.dcmread(tmp_path / "a.dcm").SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == list(NAMES.values())
    kinds = [segment.SegmentedPropertyTypeCodeSequence[0] for segment in segments]
    assert [kind.CodeValue for kind in kinds] == ["64033007", "123037004", "78961009"]
    assert kinds[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning == "Left"
    assert {segment.SegmentAlgorithmType for segment in segments} == {"AUTOMATIC"}
    # 3D Slicer's kidney, RGB 185 102 83, by hand from the definitions of sRGB and CIELab with the white D65.
    lightness, a, b = segments[0].RecommendedDisplayCIELabValue
    lab = [lightness / 655.35, a / 257 - 128, b / 257 - 128]
    assert np.allclose(lab, [52.33, 31.36, 25.41], atol=0.1)


def test_an_enhanced_file_with_its_frames_in_any_order(tmp_path):
    path = save_enhanced(tmp_path / "ct" / "enhanced.dcm", hounsfield(), AFFINE, [3, 1, 0, 2, 7, 5, 6, 4])
    data = pydicom.dcmread(path)
    data.FrameOfReferenceUID = "1.2.3.99"
    data.save_as(path)
    assert write_dicom_segmentation(tmp_path / "a.dcm", LABEL, path, NAMES)
    _, found = masks_by_position(tmp_path / "a.dcm")
    expected = expected_masks(LABEL, AFFINE)
    assert found.keys() == expected.keys()
    assert all(np.array_equal(found[key][0] == 1, mask) for key, mask in expected.items())


def test_a_compressed_series(tmp_path):
    def compress(data, index):
        with_frame_of_reference(data, index)
        data.compress(RLELossless, generate_instance_uid=False)

    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=compress)
    assert write_dicom_segmentation(tmp_path / "a.dcm", LABEL, scan, NAMES)
    assert np.array_equal(read_structures(tmp_path / "a.dcm", scan, NAMES).voxels, LABEL)


@pytest.mark.parametrize("tilt", [{"a12": 0.6}, {"a12": 0.6, "a02": 0.3}])
def test_labels_on_the_straight_grid_go_back_to_tilted_slices(tmp_path, tilt):
    affine = affine_with(**tilt)
    scan = saved(tmp_path, affine)
    series = dicom_series(scan)
    label = np.zeros(series.shape, np.uint8)
    label[3:8, 4:9] = 1
    assert write_dicom_segmentation(tmp_path / "a.dcm", label, scan, {1: "liver"})
    data, found = masks_by_position(tmp_path / "a.dcm")
    assert (data.Rows, data.Columns) == (10, 12)
    for (_, height), (pixels, position) in found.items():
        centre = position[:2] + np.argwhere(pixels).mean(axis=0) * [1.5, 1.25] * [-1, -1]
        straight = (np.diag([-1, -1, 1, 1]) @ series.affine @ [5, 6, 0, 1])[:2]
        assert (np.abs(centre - straight) <= [0.75 + 1e-6, 0.625 + 1e-6]).all(), height
    assert np.array_equal(read_structures(tmp_path / "a.dcm", scan, {1: "liver"}).voxels > 0, label > 0)


def test_an_empty_label_map_is_a_segmentation_too(tmp_path):
    scan = saved(tmp_path)
    assert write_dicom_segmentation(tmp_path / "a.dcm", np.zeros_like(LABEL), scan, NAMES)
    assert not read_structures(tmp_path / "a.dcm", scan, NAMES).voxels.any()


def test_the_same_label_map_is_the_same_instance(tmp_path):
    scan = saved(tmp_path)
    for name, label in (("a", LABEL), ("b", LABEL), ("c", np.flip(LABEL))):
        write_dicom_segmentation(tmp_path / f"{name}.dcm", label, scan, NAMES)
    a, b, c = (pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID for name in "abc")
    assert a == b != c


def test_slices_of_unknown_thickness_are_as_thick_as_they_are_apart(tmp_path):
    def without_thickness(data, index):
        with_frame_of_reference(data, index)
        del data.SliceThickness

    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE, edit=without_thickness)
    assert write_dicom_segmentation(tmp_path / "a.dcm", LABEL, scan, NAMES)
    shared = pydicom.dcmread(tmp_path / "a.dcm").SharedFunctionalGroupsSequence[0]
    assert float(shared.PixelMeasuresSequence[0].SliceThickness) == 2.5


def test_a_series_without_a_frame_of_reference_gets_none_and_the_log_says_so(tmp_path, caplog):
    scan = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    caplog.set_level(logging.WARNING)
    assert not write_dicom_segmentation(tmp_path / "a.dcm", LABEL, scan, NAMES)
    assert "gets no DICOM SEG" in caplog.text and "no Frame Of Reference UID" in caplog.text
    assert not (tmp_path / "a.dcm").exists()


def test_only_dicom_series_get_one_named_by_their_case(tmp_path):
    save = SaveImageDicomSegmentationd("pred", tmp_path / "out", NAMES)
    for scan in (saved(tmp_path), save_nifti(tmp_path / "a.nii.gz", hounsfield())):
        meta = {"filename_or_obj": str(scan), "case": "1.2.840"}
        save({"pred": MetaTensor(torch.from_numpy(organs())[None], torch.from_numpy(AFFINE), meta)})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["1.2.840_seg.dcm"]
