"""No header makes the process allocate what its file cannot hold or the machine does not have."""

import subprocess
import sys

import numpy as np
import pydicom
import pytest

from medssl.scans import memory, streams
from medssl.scans.integrity import read_whole
from medssl.scans.loading import VerifiedLoadImage
from medssl.scans.memory import ScanTooLargeError, free_memory
from medssl.scans.readers import read_volume
from medssl.scans.streams import require_whole
from tests.scans.bombs import deflated
from tests.scans.files import hounsfield, save_itk, save_nifti, save_series, write_bomb


def promise(path, shape):
    """Write the large shape into the text header of a small file."""
    content = path.read_bytes()
    for field in (b"sizes:", b"DimSize ="):
        content = content.replace(field + b" 12 10 8", field + " {} {} {}".format(*shape).encode())
    path.write_bytes(content)
    return path


@pytest.fixture
def little_memory(monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 1 << 20)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("read", [VerifiedLoadImage(), read_volume])
def test_a_bomb_is_refused_by_name_before_it_is_inflated(tmp_path, read):
    path = write_bomb(tmp_path / "scan.nii.gz")
    assert path.stat().st_size < 300_000
    with pytest.raises(
        ScanTooLargeError, match=r"/scan\.nii\.gz needs 0\.27 GiB of memory by its header, and 0\.00 GiB"
    ):
        read(path)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_other_formats_are_held_against_the_memory_too(tmp_path, name):
    path = save_itk(tmp_path / name, np.broadcast_to(np.arange(700, dtype=np.float32)[:, None, None], (700, 700, 70)))
    with pytest.raises(ScanTooLargeError, match=rf"/{name} needs 0\.13 GiB"):
        VerifiedLoadImage()(path)


@pytest.mark.usefixtures("little_memory")
def test_small_scans_are_never_refused(tmp_path):
    assert VerifiedLoadImage()(save_series(tmp_path / "ct", hounsfield())).shape == (12, 10, 8)


@pytest.mark.parametrize("is_compressed", [False, True])
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_a_header_that_promises_more_than_its_file_holds_is_damage(tmp_path, name, is_compressed):
    path = promise(save_itk(tmp_path / name, hounsfield(), is_compressed=is_compressed), (30000, 30000, 3000))
    problems = read_whole(path).problems
    assert [problem.severity for problem in problems] == ["error"]
    assert f"{path} is damaged: it holds at most" in problems[0].text


def test_memory_that_runs_out_all_the_same_names_the_file(tmp_path):
    path = write_bomb(tmp_path / "scan.nii.gz")
    code = (
        "import resource, sys; from medssl.scans.loading import VerifiedLoadImage; load = VerifiedLoadImage()\n"
        "used = int(open('/proc/self/statm').read().split()[5]) * 4096\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (used + 100_000_000, resource.RLIM_INFINITY))\n"
        "try: load(sys.argv[1])\n"
        "except ValueError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code, path], check=True, capture_output=True, text=True).stdout
    assert shown.startswith(f"{path} does not fit in memory; check the file")


def test_the_limit_of_a_container_counts(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("3000\n")
    (tmp_path / "memory.stat").write_text("anon 2500\ninactive_file 500\n")
    assert free_memory() == 2500
    (tmp_path / "memory.max").write_text("max\n")
    assert free_memory() > 10_000


def test_the_limit_of_a_shell_counts(monkeypatch):
    used = memory.psutil.Process().memory_info().vms
    monkeypatch.setattr(memory.resource, "getrlimit", lambda _: (used + 5_000_000_000, -1))
    assert free_memory() <= 5_000_000_000


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["scan.nrrd", "scan.mha"])
def test_other_formats_are_refused_before_they_are_inflated(tmp_path, name, monkeypatch):
    monkeypatch.setattr(streams, "_pieces", None)
    monkeypatch.setattr(streams, "_inflated", None)
    path = save_itk(tmp_path / name, np.zeros((700, 700, 140), np.int16))
    with pytest.raises(ScanTooLargeError, match=rf"/{name} needs 0\.13 GiB"):
        require_whole(path)


def test_a_deflated_slice_that_is_a_bomb_is_refused_before_it_is_inflated_as_a_whole(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield())
    slice_ = folder / "1.2.3_99.dcm"
    slice_.write_bytes(deflated(pydicom.dcmread(slice_), 2**28))
    assert slice_.stat().st_size < 300_000
    with pytest.raises(ValueError, match=r"/1\.2\.3_99\.dcm is a damaged .*inflates to more than 256 MiB, over 100"):
        VerifiedLoadImage()(folder)


def test_a_sound_scan_still_loads(tmp_path):
    assert VerifiedLoadImage()(save_nifti(tmp_path / "a.nii.gz", hounsfield(), scl_slope=2)).max() > 100
