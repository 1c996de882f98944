import shutil

import nibabel as nib
import numpy as np
import pytest

from medssl.data.datalist import read_datalist
from medssl.phantom.anatomy import LABELS
from medssl.workflows import segment_training
from tests.cli.errors import require_error

NAMES = ",".join(f"{value}={name}" for value, name in LABELS.items())


@pytest.fixture
def folders(ct_list, tmp_path):
    scans, labels = tmp_path / "scans", tmp_path / "labels"
    scans.mkdir()
    labels.mkdir()
    for number, case in enumerate(read_datalist(ct_list).section("training")):
        shutil.copy(case["image"], scans)
        if number == 0:
            shutil.copy(case["label"], labels)
    return tmp_path


@pytest.fixture
def command(medssl, folders, pretrained, monkeypatch):
    monkeypatch.setattr(segment_training, "_MAX_VOXELS", 3000)

    def run(*options):
        common = ("--labels", folders / "labels", "--out", folders / "out", "--minutes", 0, "--backbone", pretrained)
        return medssl("segment", folders / "scans", *common, *options)

    return run


def test_the_command_says_where_everything_is_and_succeeds(command, folders):
    status, out, _ = command()
    assert status == 0
    assert f"Report: {folders / 'out' / 'report.html'}\n" in out
    assert "Left out" not in out
    assert len(list((folders / "out" / "segmentations").iterdir())) == 2


def test_one_bad_scan_is_named_and_the_exit_status_says_so(command, folders):
    (folders / "scans" / "broken.nii.gz").write_bytes(b"nothing")
    status, out, _ = command("--modality", "CT")
    assert status == 1
    assert "Left out: broken.nii.gz: " in out and "Report: " in out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--label-names", f"{NAMES},77=nothing"), ["No mask shows 77=nothing"]),
        (("--patch_size", "[4096,4096,4096]"), ["Patches of 4096 x 4096 x 4096", "--patch_size"]),
        (("--spacing", "[0,2,2]"), ["--spacing is [0, 2, 2]", "3 lengths in mm above 0"]),
        (("--patch_size", "[16]"), ["--patch_size is [16]", "3 whole numbers of voxels above 0"]),
        (("--max_epochs", "3"), ["no setting --max_epochs", "--spacing"]),
        (("--backbone", "nowhere"), ["nowhere", "abdomen-ct"]),
    ],
)
def test_what_cannot_work_is_said_before_anything_is_written(command, folders, options, words):
    require_error(command(*options), *words)
    assert {path.name for path in (folders / "out").iterdir()} == {"work"}


def test_no_mask_and_nothing_to_segment_are_errors(command, folders):
    mask = next((folders / "labels").iterdir())
    other = next(path for path in (folders / "scans").iterdir() if path.name != mask.name)
    other.rename(folders / other.name)
    require_error(command(), "scan", "without a mask")
    (folders / other.name).rename(other)
    mask.rename(folders / "kept.nii.gz")
    require_error(command(), "mask", "at least one")


def test_scans_of_another_modality_are_left_out(command, folders):
    mask = next((folders / "labels").iterdir())
    other = next(path for path in (folders / "scans").iterdir() if path.name != mask.name)
    volume = nib.load(other)
    values = np.abs(volume.get_fdata()).astype(np.int16)
    nib.save(nib.Nifti1Image(values, volume.affine), folders / "scans" / "mr.nii.gz")
    status, out, _ = command()
    assert status == 1
    assert "Left out: mr.nii.gz: it looks like MR, and the labelled scans are CT" in out
