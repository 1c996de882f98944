"""Few-label segmentation of scans of several channels, and of data lists."""

import json

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from medssl.data.datalist import read_datalist
from medssl.packaging.loading import load_bundle
from medssl.workflows import segment_backbone, segment_training
from medssl.workflows.clicks import clicked_mask, clicked_point, similar_region
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan
from medssl.workflows.points import PointSegmenter
from medssl.workflows.segment import segment_scans
from medssl.workflows.segment_predict import Predictor
from medssl.workflows.similarity import similarity
from tests.tiny import NETWORK

SETTINGS = {"spacing": [6.0, 6.0, 9.0], "patch_size": [16, 16, 8]}


@pytest.fixture(scope="module", autouse=True)
def small():
    """Probes of a small network are solved on few voxels, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_backbone, "_CHANNELS", NETWORK["base_channels"])
        patch.setattr(segment_training, "_MAX_VOXELS", 3000)
        yield


def contrasts(scan):
    """Return a scan and another contrast of it along the last axis."""
    voxels = np.asarray(scan.dataobj, np.float32)
    return np.stack([voxels, np.where(voxels > voxels.mean(), voxels.max() - voxels / 2, voxels)], axis=-1)


def names_of(datalist):
    return ",".join(f"{value}={name}" for value, name in datalist.labels.items() if value)


@pytest.fixture(scope="module")
def numbered(mr_list, tmp_path_factory):
    """The folder of a call on scans of two numbered files each, one of which lacks its second, and its result."""
    folder, listed = tmp_path_factory.mktemp("numbered"), read_datalist(mr_list)
    (folder / "scans").mkdir()
    (folder / "labels").mkdir()
    for number, case in enumerate(listed.section("training+validation+test+unlabeled")):
        scan = nib.load(case["image"])
        for channel in range(1 if number == 4 else 2):
            file = folder / "scans" / f"{case['case']}_{channel:04d}.nii.gz"
            nib.save(nib.Nifti1Image(contrasts(scan)[..., channel], scan.affine), file)
        if number < 2:
            nib.save(nib.load(case["label"]), folder / "labels" / f"{case['case']}.nii.gz")
    options = {"minutes": 0, "label_names": names_of(listed), "settings": SETTINGS}
    return folder, segment_scans(folder / "scans", folder / "labels", folder / "out", **options)


def test_numbered_files_are_channels(numbered):
    folder, made = numbered
    written = sorted(path.name for path in (folder / "out/segmentations").glob("*.nii.gz"))
    assert len(written) == 2 and not any("_000" in name.removeprefix("phantom") for name in written)
    for name in written:
        scan = nib.load(folder / "scans" / name.replace(".nii.gz", "_0001.nii.gz"))
        found = nib.load(folder / "out/segmentations" / name)
        assert found.shape == scan.shape
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4)
    assert load_bundle(made.bundle).config["channel_names"] == ["channel 0", "channel 1"]


def test_a_scan_that_lacks_a_channel_is_listed_and_does_not_end_the_others(numbered):
    _, made = numbered
    ((name, problem),) = made.problems.items()
    assert name.endswith("_0000.nii.gz") and "_0001 is missing, a channel of this scan" in problem
    assert name in made.report.read_text(encoding="utf-8")


def test_the_report_names_the_channels(numbered):
    _, made = numbered
    assert "2: channel 0, channel 1; pictures show the first." in made.report.read_text(encoding="utf-8")


def test_the_bundle_takes_one_file_of_both_channels_too(numbered, tmp_path):
    folder, made = numbered
    path = next((folder / "out/segmentations").glob("*.nii.gz"))
    files = [folder / "scans" / path.name.replace(".nii.gz", f"_000{number}.nii.gz") for number in (0, 1)]
    together = np.stack([np.asarray(nib.load(file).dataobj) for file in files], axis=-1)
    nib.save(nib.Nifti1Image(together, nib.load(files[0]).affine), tmp_path / "both.nii.gz")
    predictor = Predictor(load_bundle(made.bundle))
    found = predictor(tmp_path / "both.nii.gz").label[0].numpy()
    np.testing.assert_array_equal(found, np.asarray(nib.load(path).dataobj))
    with pytest.raises(ValueError, match=r"_0000\.nii\.gz cannot be used: it holds one channel where 2 are wanted"):
        predictor(files[0])


@pytest.fixture(scope="module")
def opened(numbered, tmp_path_factory):
    """The bundle, a scan with both channels in one file, as 3D Slicer sends volumes, and one with the first channel."""
    folder, made = numbered
    first, second = sorted((folder / "scans").glob("*.nii.gz"))[:2]
    both = sitk.Compose([sitk.ReadImage(str(file)) for file in (first, second)])
    path = tmp_path_factory.mktemp("both") / "both.nrrd"
    sitk.WriteImage(both, str(path))
    return load_bundle(made.bundle), path, first


def test_the_label_app_segments_a_volume_of_two_components(opened, tmp_path):
    bundle, both, first = opened
    labelling = Labelling(bundle.folder, tmp_path)
    assert labelling.segment(both).shape == (1, *nib.load(first).shape)
    with pytest.raises(ValueError, match=r"_0000\.nii\.gz cannot be used: it holds one channel where 2 are wanted"):
        labelling.segment(first)


def test_it_learns_from_such_a_volume(opened, numbered, tmp_path):
    bundle, both, _ = opened
    label = sorted((numbered[0] / "labels").iterdir())[0]
    labelling = Labelling(bundle.folder, tmp_path)
    assert labelling.train([LabelledScan("a", both, label)])["scans"] == ["a"]


def test_clicks_in_such_a_volume_give_a_mask_and_what_is_similar(opened):
    bundle, both, first = opened
    middle = [size // 2 for size in nib.load(first).shape]
    mask = clicked_mask(PointSegmenter(bundle), both, [middle], [])
    heat, region = similar_region(bundle, both, [middle], [], 0.9)
    assert mask.shape == heat.shape == region.shape == (1, *nib.load(first).shape)
    for ask in (
        lambda: clicked_mask(PointSegmenter(bundle), first, [middle], []),
        lambda: similar_region(bundle, first, [middle], [], 0.9),
    ):
        with pytest.raises(ValueError, match="it holds one channel where 2 are wanted"):
            ask()


def test_the_picture_of_what_is_similar_shows_the_first_channel(opened, tmp_path):
    bundle, both, first = opened
    heat, picture = similarity(both, clicked_point(both, [20, 16, 10]), bundle.folder, tmp_path)
    assert nib.load(heat).shape == nib.load(first).shape and picture.is_file()


@pytest.fixture
def brains(mr_list, tmp_path):
    """A list of the Medical Segmentation Decathlon with two channels in every file."""
    listed = read_datalist(mr_list)
    content = {"name": "toy", "modality": {"0": "T1", "1": "T2"}, "training": [], "test": []}
    content["labels"] = {str(value): name for value, name in listed.labels.items()} | {str(len(listed.labels)): "lung"}
    for number, case in enumerate(listed.section("training+validation+test+unlabeled")):
        scan = nib.load(case["image"])
        nib.save(nib.Nifti1Image(contrasts(scan), scan.affine), tmp_path / f"{case['case']}.nii.gz")
        image = f"./{case['case']}.nii.gz"
        content["training" if number < 2 else "test"].append(
            {"image": image, "label": case["label"]} if number < 2 else image
        )
    (tmp_path / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return tmp_path


@pytest.mark.slow
def test_a_list_with_4d_files_names_channels_and_structures(brains):
    damaged = sorted(brains.glob("*.nii.gz"))[-1]
    scan = nib.load(damaged)
    nib.save(nib.Nifti1Image(np.asarray(scan.dataobj)[..., 0], scan.affine), damaged)
    made = segment_scans(brains / "dataset.json", None, brains / "out", minutes=0, settings=SETTINGS)
    assert made.problems == {
        damaged.name: "it holds one channel where 2 are wanted; give one file with 2, or one file for each in the "
        "right order."
    }
    assert len(list((brains / "out/segmentations").glob("*.nii.gz"))) == 2
    bundle = load_bundle(made.bundle)
    assert bundle.config["channel_names"] == ["T1", "T2"]
    # No mask shows the lung, which the list names.
    assert "liver" in str(bundle.config["class_names"]) and "lung" not in str(bundle.config["class_names"])
    page = made.report.read_text(encoding="utf-8")
    assert "2: T1, T2" in page and "liver" in page


def test_a_backbone_of_another_number_of_channels_is_refused_before_anything_is_written(brains, pretrained):
    with pytest.raises(ValueError, match=r"takes scans of 1 channel\(s\), and these have 2; leave --backbone out"):
        segment_scans(brains / "dataset.json", None, brains / "out", minutes=0, backbone=str(pretrained))
    assert {path.name for path in (brains / "out").iterdir()} == {"work"}


def test_a_folder_needs_its_masks(tmp_path):
    (tmp_path / "scans").mkdir()
    with pytest.raises(ValueError, match="scans is a folder, so --labels must name the folder of its masks"):
        segment_scans(tmp_path / "scans", None, tmp_path / "out")
