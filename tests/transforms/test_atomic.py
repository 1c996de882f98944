"""A prediction appears whole or not at all: on a full disk, after a kill, and over a former one."""

import resource
import subprocess
import sys
import time
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import SaveImaged

from medssl.transforms.atomic import SaveImageAtomicd
from medssl.transforms.save import SaveImageSegmentationd

NAME = "case_7_seg.nii.gz"


def volume(*shape):
    # Noise, which no compression makes small.
    voxels = torch.randint(0, 255, (1, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([0.7, 0.8, 2.5, 1.0], dtype=torch.float64))
    return MetaTensor(voxels, affine=affine, meta={"filename_or_obj": "/scans/case_7.nii.gz"})


def saver(folder, **settings):
    common = {"output_dir": folder, "output_postfix": "seg", "output_dtype": np.uint8, "separate_folder": False}
    return SaveImageAtomicd("pred", **{**common, **settings})


@contextmanager
def full_disk(most):
    """A limit on the size of files is a full disk to whoever writes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_file_is_that_of_monai(tmp_path):
    scan = volume(7, 6, 5)
    saver(tmp_path / "own")({"pred": scan})
    SaveImaged("pred", output_dir=tmp_path / "monai", output_postfix="seg", separate_folder=False)({"pred": scan})
    own, monai = (nib.load(tmp_path / folder / NAME) for folder in ("own", "monai"))
    assert np.array_equal(np.asanyarray(own.dataobj), np.asanyarray(monai.dataobj))
    assert np.array_equal(own.affine, monai.affine)
    assert [path.name for path in (tmp_path / "own").iterdir()] == [NAME]


def test_it_passes_for_a_monai_writer(tmp_path):
    assert isinstance(saver(tmp_path), SaveImaged)
    assert "SaveImage" in SaveImageAtomicd.__name__


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".img", ".png"])
def test_every_format_that_monai_writes_keeps_its_name(ending, tmp_path):
    scan = volume(7, 6, 5) if ending != ".png" else volume(7, 6)
    saver(tmp_path, output_ext=ending)({"pred": scan})
    names = {path.name for path in tmp_path.iterdir()}
    assert f"case_7_seg{ending}" in names
    assert names <= {f"case_7_seg{ending}", "case_7_seg.hdr"}


def test_a_folder_for_each_scan_and_the_place_in_the_metadata(tmp_path):
    scan = volume(7, 6, 5)
    saver(tmp_path, separate_folder=True, savepath_in_metadict=True)({"pred": scan})
    assert scan.meta["saved_to"] == str(tmp_path / "case_7" / NAME)
    assert nib.load(scan.meta["saved_to"]).shape == (7, 6, 5)


def test_metadata_beside_a_plain_array_is_followed(tmp_path):
    sample = {"pred": np.ones((1, 4, 4, 4)), "pred_meta_dict": {"filename_or_obj": "case_7.nii.gz"}}
    saver(tmp_path)(sample)
    assert (tmp_path / NAME).is_file()


def test_a_log_line_names_the_place_of_the_file(tmp_path, caplog):
    with caplog.at_level("INFO"):
        saver(tmp_path)({"pred": volume(7, 6, 5)})
        saver(tmp_path, print_log=False)({"pred": volume(7, 6, 5)})
    assert [record.message for record in caplog.records] == [f"writing: {tmp_path / NAME}"]


# nibabel leaves its file open when a write fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("ending", [".nii.gz", ".nii"])
def test_a_full_disk_leaves_nothing_and_names_the_file(ending, tmp_path):
    transform = saver(tmp_path, output_ext=ending)
    with full_disk(10_000), pytest.raises(OSError, match=rf"The disk is full .*case_7_seg{ending}"):
        transform({"pred": volume(40, 40, 40)})
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_former_file(tmp_path):
    saver(tmp_path)({"pred": volume(7, 6, 5)})
    before = (tmp_path / NAME).read_bytes()
    with full_disk(10_000), pytest.raises(OSError, match="The disk is full"):
        saver(tmp_path)({"pred": volume(40, 40, 40)})
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(NAME, before)]


def test_a_segmentation_on_a_full_disk_leaves_nothing_and_names_the_file(tmp_path):
    labels = {value: f"structure {value}" for value in range(1, 256)}
    transform = SaveImageSegmentationd("pred", tmp_path, labels)
    with full_disk(10_000), pytest.raises(OSError, match=r"The disk is full .*case_7_seg\.seg\.nrrd"):
        transform({"pred": volume(40, 40, 40)})
    assert list(tmp_path.iterdir()) == []


def test_an_extension_without_a_writer_is_told_and_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="cannot find a suitable writer"):
        saver(tmp_path, output_ext=".unknown")({"pred": volume(7, 6, 5)})
    assert list(tmp_path.iterdir()) == []


WRITING = """
import sys
from tests.transforms.test_atomic import saver, volume
saver(sys.argv[1])({"pred": volume(256, 256, 128)})
"""


@pytest.mark.slow
def test_a_process_killed_while_it_writes_leaves_the_former_file(tmp_path):
    saver(tmp_path)({"pred": volume(7, 6, 5)})
    before = (tmp_path / NAME).read_bytes()
    process = subprocess.Popen([sys.executable, "-c", WRITING, str(tmp_path)])
    # Once some of it is on the disk; seconds of compression follow.
    while not any(path.stat().st_size for path in tmp_path.glob(f".staging-*/{NAME}")):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    (half,) = tmp_path.glob(f".staging-*/{NAME}")
    assert 0 < half.stat().st_size < 2_000_000
    assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == [NAME]
    assert (tmp_path / NAME).read_bytes() == before
