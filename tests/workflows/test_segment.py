"""From a folder of scans and a few masks to segmentations of the others, on phantoms."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import nrrd
import numpy as np
import pytest
from scipy.ndimage import label

from medssl.data.datalist import read_datalist
from medssl.packaging.loading import load_bundle
from medssl.workflows import segment_training
from medssl.workflows.segment import segment_scans
from medssl.workflows.segment_predict import Predictor
from tests.tiny import files_of


def write_folders(datalist: Path, folder: Path, num_labelled: int = 2) -> tuple[Path, Path]:
    """Copy the scans of a data list into a folder, and the first masks into another."""
    scans, labels = folder / "scans", folder / "labels"
    scans.mkdir(parents=True)
    labels.mkdir()
    listed = read_datalist(datalist)
    cases = listed.section("training+validation+test+unlabeled")
    for number, case in enumerate(cases):
        shutil.copy(case["image"], scans)
        if number < num_labelled:
            shutil.copy(case["label"], labels)
    return scans, labels


def label_names(datalist: Path) -> str:
    return ",".join(f"{value}={name}" for value, name in read_datalist(datalist).labels.items() if value)


def run(folder: Path, pretrained: Path, **options):
    options = {"minutes": 0, "backbone": str(pretrained)} | options
    return segment_scans(folder / "scans", folder / "labels", folder / "out", **options)


@pytest.fixture(scope="module", autouse=True)
def few_voxels():
    """Probes are solved on few voxels, for speed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segment_training, "_MAX_VOXELS", 3000)
        yield


@pytest.fixture(scope="module")
def segmented(ct_list, pretrained, tmp_path_factory):
    """The folder of a finished call with some files that cannot be used, and its result; not to be changed."""
    folder = tmp_path_factory.mktemp("segment")
    scans, labels = write_folders(ct_list, folder)
    (scans / "<b>damaged.nii.gz").write_bytes(b"no volume")
    (scans / "truncated.nii.gz").write_bytes(next(scans.glob("phantom*")).read_bytes()[:2000])
    shutil.copy(next(labels.iterdir()), labels / "nobody.nii.gz")
    return folder, run(folder, pretrained, label_names=label_names(ct_list))


def test_every_other_scan_is_segmented_on_its_own_grid(segmented, ct_list):
    folder, _ = segmented
    labelled = {path.name for path in (folder / "labels").iterdir()}
    rest = [path for path in (folder / "scans").glob("phantom*") if path.name not in labelled]
    assert len(rest) == 3
    assert {path.name for path in (folder / "out/segmentations").glob("*.nii.gz")} == {path.name for path in rest}
    for path in rest:
        scan, found = nib.load(path), nib.load(folder / "out/segmentations" / path.name)
        assert found.shape == scan.shape
        np.testing.assert_allclose(found.affine, scan.affine, atol=1e-4)
        values, header = nrrd.read(str(folder / "out/segmentations" / path.name.replace(".nii.gz", ".seg.nrrd")))
        np.testing.assert_array_equal(values, found.dataobj)
        names = {header[f"Segment{i}_Name"] for i in range(len(read_datalist(ct_list).labels) - 1)}
        assert names == {name for value, name in read_datalist(ct_list).labels.items() if value}


def test_structures_that_are_one_piece_in_the_masks_are_found_in_one_piece(segmented):
    folder, made = segmented
    pieces = load_bundle(made.bundle).one_piece
    assert pieces
    for path in (folder / "out/segmentations").glob("*.nii.gz"):
        found = np.asarray(nib.load(path).dataobj)
        assert all(label(found == value, np.ones((3, 3, 3)))[1] <= 1 for value in pieces)


def test_what_cannot_be_used_is_listed_and_does_not_end_the_others(segmented):
    _, made = segmented
    assert set(made.problems) == {"<b>damaged.nii.gz", "truncated.nii.gz", "nobody.nii.gz"}
    assert "there is no scan 'nobody'" in made.problems["nobody.nii.gz"]


def test_the_report_holds_everything_and_escapes_names(segmented):
    _, made = segmented
    page = made.report.read_text(encoding="utf-8")
    assert "http" not in page and 'src="data:image/png;base64,' in page
    assert "<b>damaged" not in page and "&lt;b&gt;damaged.nii.gz" in page
    assert all(name in page for name in ("liver", "spleen", "Left out", "Label these next"))


def test_the_bundle_segments_like_the_command(segmented):
    folder, made = segmented
    path = next((folder / "out/segmentations").glob("*.nii.gz"))
    found = Predictor(load_bundle(made.bundle))(folder / "scans" / path.name)
    np.testing.assert_array_equal(found.label[0].numpy(), np.asarray(nib.load(path).dataobj))


def test_a_second_call_changes_nothing_but_the_report(segmented, pretrained, ct_list, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(segmented[0], folder, symlinks=True)
    run(folder, pretrained, label_names=label_names(ct_list))
    before = {name: content for name, content in files_of(folder / "out").items() if keeps(name)}
    run(folder, pretrained, label_names=label_names(ct_list))
    assert {name: content for name, content in files_of(folder / "out").items() if keeps(name)} == before


def keeps(name: str) -> bool:
    return not name.endswith(("report.html", "log.txt", ".lock"))


def test_a_new_label_moves_its_scan_to_the_labelled_ones(segmented, pretrained, ct_list, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(segmented[0], folder)
    listed = read_datalist(ct_list).section("validation+test")
    drawn = next(case for case in listed if (folder / f"out/segmentations/{case['case']}.nii.gz").is_file())
    case = folder / f"out/segmentations/{drawn['case']}.nii.gz"
    shutil.copy(drawn["label"], folder / "labels")
    run(folder, pretrained, label_names=label_names(ct_list))
    assert not case.exists()
    assert len(list((folder / "out/segmentations").glob("*.nii.gz"))) == 2


def test_a_segmentation_that_was_corrected_is_never_overwritten(segmented, pretrained, ct_list, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(segmented[0], folder)
    corrected = sorted((folder / "out/segmentations").glob("*.nii.gz"))[0]
    volume = nib.load(corrected)
    mine = np.ones(volume.shape, np.uint8)
    nib.save(nib.Nifti1Image(mine, volume.affine), corrected)
    labelled = sorted((folder / "labels").glob("phantom*"))[0]
    labelled.unlink()
    made = run(folder, pretrained, label_names=label_names(ct_list))
    assert (nib.load(corrected).get_fdata() == 1).all()
    assert "changed by hand" in made.report.read_text(encoding="utf-8")


def test_records_hold_what_was_measured(segmented):
    folder, _ = segmented
    record = json.loads(next((folder / "out/work/segmentations").glob("*.json")).read_text(encoding="utf-8"))
    assert set(record) == {"key", "measures", "confidence", "files"}
    assert all(0 < confidence <= 1 for confidence in record["confidence"].values())


def test_with_one_label_the_report_says_that_the_expected_dice_is_that_of_a_part_of_it(ct_list, pretrained, tmp_path):
    _, labels = write_folders(ct_list, tmp_path, num_labelled=1)
    made = run(tmp_path, pretrained)
    (mask,) = labels.iterdir()
    page, log = (path.read_text(encoding="utf-8") for path in (made.report, tmp_path / "out/work/log.txt"))
    assert f"An estimate: Dice on a part of {mask.name.removesuffix('.nii.gz')}, your only labelled scan" in page
    assert "a second labelled scan tells much more" in page
    assert "weak evidence" in log


def test_a_structure_that_one_mask_lacks_is_ignored_there_and_the_report_says_so(ct_list, pretrained, tmp_path):
    _, labels = write_folders(ct_list, tmp_path)
    path = sorted(labels.iterdir())[0]
    mask = nib.load(path)
    without = np.asarray(mask.dataobj).copy()
    without[without == 2] = 0
    nib.save(nib.Nifti1Image(without, mask.affine), path)
    made = run(tmp_path, pretrained, minutes=30)
    page = made.report.read_text(encoding="utf-8")
    assert made.problems == {}
    assert f"in 1 of 2 masks ({path.name.removesuffix('.nii.gz')}), where it is ignored" in page
    assert "Fine-tuning needs --absent background" in page
    config = json.loads(next((tmp_path / "out/work/runs").glob("probe-*/config.json")).read_text(encoding="utf-8"))
    assert config["absent"] == "ignore"
