"""A packed bundle in a new process, from another folder, on a scan that reveals any shortcut."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
import slicerio

from medssl.packaging.pack import pack
from tests.packaging.toy_run import LABELS, pretraining_run, segmentation_run

SHAPE = (60, 70, 24)


def oblique_affine() -> np.ndarray:
    """A left-handed RAS affine: 0.9 x 0.7 x 2.5 mm, turned by 20 degrees about two axes, axes permuted."""
    angle = np.deg2rad(20)
    about_z = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    affine = np.eye(4)
    affine[:3, :3] = about_z @ about_x @ np.eye(3)[:, [1, 0, 2]] @ np.diag([0.9, 0.7, 2.5])
    affine[:3, 3] = [31.5, -12.25, 104.125]
    return affine


def scan_and_label() -> tuple[np.ndarray, np.ndarray]:
    """An off-centre body in air with an organ around a brighter one, in HU, and its label map."""
    label = np.zeros(SHAPE, np.uint8)
    label[14:40, 24:46, 4:14] = 1
    label[20:32, 28:38, 6:12] = 2
    volume = np.full(SHAPE, -1350, np.int16)
    volume[8:50, 15:60, 2:18] = -300
    volume[label == 1] = 300
    volume[label == 2] = 1000
    return volume, label


def write_scan(path: Path) -> None:
    nib.save(nib.Nifti1Image(scan_and_label()[0], oblique_affine()), path)


def write_scan_with_nan(path: Path) -> None:
    """Write the scan with one plane that is not finite."""
    voxels = scan_and_label()[0].astype(np.float32)
    voxels[:, :, 5] = np.nan
    nib.save(nib.Nifti1Image(voxels, oblique_affine()), path)


def write_dicom_series(folder: Path) -> None:
    """Write the scan as one file per slice, with the tags of its place."""
    volume, _ = scan_and_label()
    affine = np.diag([-1, -1, 1, 1]) @ oblique_affine()
    row, column = affine[:3, 0] / 0.9, affine[:3, 1] / 0.7
    shared = {
        "0008|0008": "ORIGINAL\\PRIMARY\\AXIAL",
        "0008|0060": "CT",
        "0020|000d": "1.2.826.0.1.3680043.2.1125.1.6",
        "0020|000e": "1.2.826.0.1.3680043.2.1125.1.7",
        "0020|0052": "1.2.826.0.1.3680043.2.1125.1.8",
        "0020|0037": "\\".join(f"{value:.10g}" for value in (*row, *column)),
    }
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    folder.mkdir()
    for index in range(SHAPE[2]):
        image = sitk.GetImageFromArray(np.ascontiguousarray(volume[:, :, index].T))
        image.SetSpacing((0.9, 0.7))
        position = affine[:3, 3] + index * affine[:3, 2]
        own = {"0020|0013": str(index), "0020|0032": "\\".join(f"{value:.10g}" for value in position)}
        for tag, value in {**shared, **own}.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"slice_{index:03d}.dcm"))
        writer.Execute(image)


def run_bundle(
    bundle: Path, cwd: Path, configs: tuple[str, ...] = ("inference.json",), **settings: Path
) -> subprocess.CompletedProcess:
    files = [str(bundle / "configs" / name) for name in configs]
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", files]
    for key, value in {"bundle_root": bundle, **settings}.items():
        command += [f"--{key}", value]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8", timeout=300
    )


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * np.sum(one & other) / (np.sum(one) + np.sum(other))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return pack(segmentation_run(tmp_path_factory.mktemp("run")), "toy", tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def segmented(bundle, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write_scan(elsewhere / "scan.nii.gz")
    result = run_bundle(bundle, elsewhere, input=elsewhere / "scan.nii.gz", output_dir=elsewhere / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    return elsewhere / "out"


def test_nifti_is_on_the_grid_of_the_scan(segmented):
    image = nib.load(segmented / "scan_seg.nii.gz")
    assert image.get_data_dtype() == np.uint8
    assert image.shape == SHAPE
    np.testing.assert_allclose(image.affine, oblique_affine(), atol=1e-4)
    _, label = scan_and_label()
    found = np.asarray(image.dataobj)
    assert dice(found > 0, label > 0) > 0.9
    assert dice(found == 2, label == 2) > 0.9


def test_the_segmentation_file_agrees_in_world_space(segmented):
    nifti = nib.load(segmented / "scan_seg.nii.gz")
    segmentation = slicerio.read_segmentation(str(segmented / "scan_seg.seg.nrrd"))
    np.testing.assert_array_equal(segmentation["voxels"], np.asarray(nifti.dataobj))
    to_ras = np.diag([-1, -1, 1, 1]) @ segmentation["ijkToLPS"]
    np.testing.assert_allclose(to_ras, oblique_affine(), atol=1e-4)
    names = {str(segment["labelValue"]): segment["name"] for segment in segmentation["segments"]}
    assert {"0": "background", **names} == LABELS


def test_nothing_else_is_written(segmented):
    assert sorted(path.name for path in segmented.iterdir()) == ["scan_seg.nii.gz", "scan_seg.seg.nrrd"]


@pytest.mark.slow
def test_the_fast_inference_segments_the_same(bundle, segmented, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    configs = ("inference.json", "fast_inference.json")
    result = run_bundle(bundle, tmp_path, configs, input=tmp_path / "scan.nii.gz", output_dir=tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    fast, same = (nib.load(folder / "scan_seg.nii.gz") for folder in (tmp_path / "out", segmented))
    np.testing.assert_allclose(fast.affine, same.affine)
    assert all(dice(np.asarray(fast.dataobj) == value, np.asarray(same.dataobj) == value) > 0.995 for value in (1, 2))


@pytest.mark.slow
def test_a_scan_smaller_than_the_windows_is_segmented_on_its_grid(bundle, tmp_path):
    voxels = scan_and_label()[0][20:29, 28:38, 6:12].copy()
    # One value everywhere would be refused.
    voxels[0, 0, 0] -= 1
    scan = nib.Nifti1Image(voxels, oblique_affine())
    nib.save(scan, tmp_path / "small.nii.gz")
    result = run_bundle(bundle, tmp_path, input=tmp_path / "small.nii.gz", output_dir=tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    found = nib.load(tmp_path / "out" / "small_seg.nii.gz")
    assert found.shape == scan.shape
    assert (np.asarray(found.dataobj) == 2).mean() > 0.9


@pytest.mark.slow
def test_the_bundle_logs_as_its_configuration_says(bundle, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    files = {"input": tmp_path / "scan.nii.gz", "output_dir": tmp_path / "out"}
    result = run_bundle(bundle, tmp_path, logging_file=bundle / "configs" / "logging.conf", **files)
    assert result.returncode == 0, result.stdout + result.stderr
    # The format of the configuration: time, name of the logger, level, message.
    assert re.search(r"^\d{4}-\d\d-\d\d .* - .* - INFO - ", result.stdout, re.MULTILINE)


@pytest.mark.slow
def test_a_dicom_series_is_segmented_in_place(bundle, segmented, tmp_path):
    write_dicom_series(tmp_path / "series")
    result = run_bundle(bundle, tmp_path, input=tmp_path / "series", output_dir=tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = (tmp_path / "out").glob("*.nii.gz")
    image, same = nib.load(path), nib.load(segmented / "scan_seg.nii.gz")
    assert path.name == "series_seg.nii.gz"
    index = np.argwhere(np.asarray(image.dataobj) == 2).mean(axis=0)
    expected = np.argwhere(np.asarray(same.dataobj) == 2).mean(axis=0)
    np.testing.assert_allclose(
        nib.affines.apply_affine(image.affine, index), nib.affines.apply_affine(same.affine, expected), atol=0.3
    )
    segmentation = pydicom.dcmread(tmp_path / "out" / "series_seg.dcm")
    assert segmentation.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.826.0.1.3680043.2.1125.1.7"
    assert [segment.SegmentLabel for segment in segmentation.SegmentSequence] == list(LABELS.values())[1:]
    stored = np.zeros(image.shape, np.uint8)
    inverse = np.linalg.inv(np.diag([-1, -1, 1, 1]) @ image.affine)
    for pixels, frame in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        first = inverse @ [*frame.PlanePositionSequence[0].ImagePositionPatient, 1]
        assert np.allclose(first[:2], 0, atol=1e-3)
        value = frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        stored[..., round(first[2])][pixels.T == 1] = value
    assert np.array_equal(stored, image.dataobj)


@pytest.mark.slow
def test_a_missing_scan_fails_with_its_name(bundle, tmp_path):
    result = run_bundle(bundle, tmp_path, input=tmp_path / "nowhere.nii.gz", output_dir=tmp_path / "out")
    assert result.returncode != 0
    assert f"There is no scan at {tmp_path / 'nowhere.nii.gz'}" in result.stderr


@pytest.mark.slow
def test_an_unreadable_scan_fails_with_its_name(bundle, tmp_path):
    (tmp_path / "broken.nii.gz").write_bytes(b"not a volume")
    result = run_bundle(bundle, tmp_path, input=tmp_path / "broken.nii.gz", output_dir=tmp_path / "out")
    assert result.returncode != 0
    assert "broken.nii.gz" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_without_a_scan_the_bundle_fails(bundle, tmp_path):
    result = run_bundle(bundle, tmp_path, output_dir=tmp_path / "out")
    assert result.returncode != 0
    assert "No scan is given" in result.stderr


@pytest.mark.slow
def test_pretrained_bundle_writes_unit_features(tmp_path):
    packed = pack(pretraining_run(tmp_path / "run"), "toy", tmp_path)
    write_scan(tmp_path / "scan.nii.gz")
    result = run_bundle(packed, tmp_path, input=tmp_path / "scan.nii.gz", output_dir=tmp_path / "out")
    assert result.returncode == 0, result.stdout + result.stderr
    features = nib.load(tmp_path / "out" / "scan_features.nii.gz").get_fdata()
    assert features.shape[-1] == 4
    assert np.linalg.norm(features, axis=-1).max() <= 1 + 1e-3
