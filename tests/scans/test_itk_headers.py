import subprocess
import sys

import pytest
import SimpleITK as sitk

from medssl.scans.headers import read_header
from medssl.scans.itk_headers import itk_header


@pytest.fixture
def write(tmp_path):
    def file(name, axes):
        path = tmp_path / name
        sitk.WriteImage(sitk.Image(5, 4, 3, sitk.sitkInt16), str(path))
        content = path.read_bytes()
        assert b"NDims = 3\n" in content
        path.write_bytes(content.replace(b"NDims = 3\n", b"NDims = " + axes + b"\n"))
        return path

    return file


@pytest.mark.parametrize("name", ["scan.mha", "scan.mhd"])
@pytest.mark.parametrize("axes", [b"100000 100000 9", b"9" * 40, b"32767", b"11", b"0", b"-3", b""])
def test_a_number_of_axes_that_ends_itk_is_refused_by_name(write, name, axes):
    path = write(name, axes)
    with pytest.raises(ValueError, match=rf"{path.name}.*NDims"):
        read_header(path)


def test_what_is_refused_would_end_the_process(write):
    path = write("scan.mha", b"32767")
    code = f"import SimpleITK; SimpleITK.ReadImage({str(path)!r})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode < 0


def test_a_sound_header_is_read(write):
    assert itk_header(write("scan.mha", b"3")).GetSize() == (5, 4, 3)
