import gzip
import zlib

import numpy as np
import pytest
import SimpleITK as sitk

from medssl.scans.streams import require_whole
from tests.scans.files import hounsfield, save_itk, save_nifti, save_series

SCANS = {
    "scan.nii.gz": (save_nifti, b"\x1f\x8b", gzip.decompress),
    "scan.nrrd": (save_itk, b"\x1f\x8b", gzip.decompress),
    "scan.mha": (save_itk, b"\x78", zlib.decompress),
}


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def decoded(decompress, stream: bytes) -> bytes | None:
    try:
        return decompress(stream)
    except (OSError, EOFError, zlib.error):
        return None


@pytest.mark.parametrize("name", SCANS)
def test_every_bit_flip_that_changes_the_stream_is_found(tmp_path, name):
    # Bits that no voxel depends on may flip: the time, level and system in a gzip header, unused codes of deflate.
    save, magic, decompress = SCANS[name]
    path = save(tmp_path / name, hounsfield())
    content = path.read_bytes()
    start = content.index(magic, content.find(b"LOCAL") + 1)
    found = 0
    for bit in np.random.default_rng(0).permutation(np.arange(8 * start, 8 * len(content))):
        path.write_bytes(flipped(content, bit))
        if decoded(decompress, path.read_bytes()[start:]) != decompress(content[start:]):
            with pytest.raises(ValueError, match=f"{name} is damaged"):
                require_whole(path)
            found += 1
        if found == 100:
            break
    assert found == 100


def test_a_flip_in_the_time_of_a_gzip_header_is_harmless(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    path.write_bytes(flipped(path.read_bytes(), 8 * 5))
    require_whole(path)


WRITERS = {
    "scan.nii": lambda path: save_nifti(path, hounsfield()),
    "scan.nii.gz": lambda path: save_nifti(path, hounsfield()),
    "raw.nrrd": lambda path: save_itk(path, hounsfield(), is_compressed=False),
    "scan.nrrd": lambda path: save_itk(path, hounsfield()),
    "raw.mha": lambda path: save_itk(path, hounsfield(), is_compressed=False),
    "scan.mha": lambda path: save_itk(path, hounsfield()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_sound_file_passes(tmp_path, name):
    require_whole(WRITERS[name](tmp_path / name))


@pytest.mark.parametrize("name", WRITERS)
def test_a_cut_file_is_found(tmp_path, name):
    path = WRITERS[name](tmp_path / name)
    content = path.read_bytes()
    for kept in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=name):
            require_whole(path)


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_behind_the_voxels_are_found(tmp_path, name):
    path = WRITERS[name](tmp_path / name)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(ValueError, match=name):
        require_whole(path)


@pytest.mark.parametrize("name", ["scan.mhd", "scan.nhdr"])
def test_a_header_beside_its_voxels_is_followed(tmp_path, name):
    path = save_itk(tmp_path / name, hounsfield())
    require_whole(path)
    voxels = next(item for item in tmp_path.iterdir() if "raw" in item.name)
    voxels.write_bytes(voxels.read_bytes()[:-5])
    with pytest.raises(ValueError, match=f"{name} is damaged"):
        require_whole(path)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii", "scan.nrrd", "scan.mha"])
def test_a_web_page_is_told_from_a_scan(tmp_path, name):
    (tmp_path / name).write_text("<!DOCTYPE html><title>404</title>")
    with pytest.raises(ValueError, match="web page"):
        require_whole(tmp_path / name)


def test_a_bomb_is_left_at_the_promised_length(tmp_path):
    path = save_nifti(tmp_path / "scan.nii", hounsfield())
    bomb = tmp_path / "scan.nii.gz"
    bomb.write_bytes(gzip.compress(path.read_bytes() + bytes(50_000_000)))
    with pytest.raises(ValueError, match="more than the 2272 bytes"):
        require_whole(bomb)


def test_a_bomb_in_a_metaimage_is_left_at_the_promised_length(tmp_path):
    path = save_itk(tmp_path / "scan.mha", hounsfield())
    header = path.read_bytes().partition(b"LOCAL\n")
    path.write_bytes(header[0] + header[1] + zlib.compress(bytes(50_000_000)))
    with pytest.raises(ValueError, match="more than the 1920 bytes"):
        require_whole(path)


def test_a_huge_header_costs_no_memory(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])
    with pytest.raises(ValueError, match=r"holds 2272 of the \d{14} bytes"):
        require_whole(path)


@pytest.mark.parametrize("text", ["encoding: gzip", "encoding: ascii"])
def test_an_nrrd_that_skips_or_is_text_is_not_guessed_at(tmp_path, text):
    path = save_itk(tmp_path / "scan.nrrd", hounsfield())
    path.write_bytes(path.read_bytes().replace(b"encoding: gzip", text.encode() + b"\nbyte skip: 3"))
    with pytest.raises(ValueError, match="not supported; save it again"):
        require_whole(path)


def test_a_metaimage_in_several_files_is_not_guessed_at(tmp_path):
    path = save_itk(tmp_path / "scan.mha", hounsfield())
    path.write_bytes(path.read_bytes().replace(b"LOCAL", b"LIST"))
    with pytest.raises(ValueError, match=r"save it again as one \.mha"):
        require_whole(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"scan\.nii\.gz does not exist"):
        require_whole(tmp_path / "scan.nii.gz")


def test_colour_and_vectors_have_the_length_of_their_header(tmp_path):
    image = sitk.GetImageFromArray(np.zeros((4, 5, 6, 3), np.uint8), isVector=True)
    for name in ("rgb.nrrd", "rgb.mha"):
        sitk.WriteImage(image, str(tmp_path / name), useCompression=True)
        require_whole(tmp_path / name)


def test_a_whole_series_passes(tmp_path):
    require_whole(save_series(tmp_path / "ct", hounsfield()))


def test_an_unknown_voxel_type_is_found(tmp_path):
    with pytest.raises(ValueError, match="unknown voxel type 147"):
        require_whole(save_nifti(tmp_path / "scan.nii", hounsfield(), datatype=147))
