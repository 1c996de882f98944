"""What an element says of its length is held against the file before GDCM allocates it."""

import struct

import numpy as np
import pytest

from medssl.scans import dicom_voxels
from medssl.scans.loading import VerifiedLoadImage
from tests.scans.dicom_writer import save_slices
from tests.scans.files import AFFINE, hounsfield, save_series

HUGE = struct.pack("<HH2sHI", 0x7FE1, 0x1001, b"OB", 0, 0xFFFFFF00)


@pytest.fixture
def no_pixels(monkeypatch):
    """Fails if pixels are decoded."""
    monkeypatch.setattr(dicom_voxels, "_image", None)


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize("place", ["in the header", "behind the pixels"])
@pytest.mark.parametrize("is_compressed", [False, True])
def test_a_length_beyond_the_end_of_the_file_is_refused_by_name(tmp_path, place, is_compressed):
    if is_compressed:
        file = save_series(tmp_path / "ct", hounsfield(), is_compressed=True) / "1.2.3_95.dcm"
    else:
        file = save_slices(tmp_path / "ct", hounsfield(), AFFINE) / "1.2.3_95"
    content = file.read_bytes()
    end = len(content) if place == "behind the pixels" else content.index(b"\x28\0\x02\0US")
    file.write_bytes(content[:end] + HUGE + content[end:])
    with pytest.raises(ValueError, match=rf"/{file.name} is a damaged DICOM file .*promises 4294967040 bytes"):
        VerifiedLoadImage()(file.parent)


@pytest.mark.usefixtures("no_pixels")
def test_fragments_of_compressed_pixels_that_lead_nowhere_are_refused_by_name(tmp_path):
    folder = save_series(tmp_path / "ct", hounsfield(), is_compressed=True)
    file = folder / "1.2.3_95.dcm"
    content = bytearray(file.read_bytes())
    place = content.index(b"\xfe\xff\0\xe0", content.rindex(b"\xe0\x7f\x10\0"))
    content[place + 4 : place + 8] = b"\0\0\0\x70"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r"/1\.2\.3_95\.dcm .*the fragments of its pixels are damaged"):
        VerifiedLoadImage()(folder)


@pytest.mark.parametrize("padding", [bytes(1), struct.pack("<HH2sHI", 0xFFFC, 0xFFFC, b"OB", 0, 6) + bytes(6)])
def test_padding_behind_the_pixels_is_harmless(tmp_path, padding):
    folder = save_slices(tmp_path / "ct", hounsfield(), AFFINE)
    for file in folder.iterdir():
        file.write_bytes(file.read_bytes() + padding)
    assert np.array_equal(VerifiedLoadImage()(folder).numpy(), hounsfield())


@pytest.mark.usefixtures("no_pixels")
@pytest.mark.parametrize(
    ("old", "new"), [(b"\2\0\x12\0UI", b"\2\0\x12\0_I"), (b"\2\0\x10\0UI\x14\0", b"\2\0\x10\0UI\xff\xff")]
)
def test_damage_before_the_data_set_is_refused_by_name(tmp_path, old, new):
    file = save_slices(tmp_path / "ct", hounsfield(), AFFINE) / "1.2.3_95"
    content = file.read_bytes()
    assert old in content
    file.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=r"/1\.2\.3_95 is a damaged DICOM file .*\(0002,001[02]\) is damaged"):
        VerifiedLoadImage()(file.parent)
