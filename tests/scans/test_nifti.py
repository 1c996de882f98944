import gzip

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import LoadImage
from monai.utils import MetaKeys

from medssl.scans import streams
from medssl.scans.loading import VerifiedLoadImage
from medssl.scans.nifti import read_nifti
from tests.scans.files import AFFINE, SHAPE, flip_bits, hounsfield, save_nifti

TYPES = [np.int16, np.uint8, np.int8, np.uint16, np.int32, np.uint32, np.float32, np.float64]
SCALES = [(0, 7), (np.nan, np.nan), (1, -1024), (1, 0.5), (1, 32767), (-1, 3)]


def voxels_of(dtype) -> np.ndarray:
    return (hounsfield().astype(np.float64) % 120).astype(dtype)


# Every type as stored and scaled, every scaling of int16, and a file without compression.
@pytest.mark.parametrize(
    ("name", "dtype", "scale"),
    [
        *[("scan.nii.gz", dtype, scale) for dtype in TYPES for scale in [(1, 0), (2.5, 7)]],
        *[("scan.nii.gz", np.int16, scale) for scale in SCALES],
        ("scan.nii", np.int16, (1, -1024)),
    ],
)
def test_values_are_those_of_monai_in_either_type(tmp_path, name, dtype, scale):
    path = save_nifti(tmp_path / name, voxels_of(dtype), scl_slope=scale[0], scl_inter=scale[1])
    theirs = LoadImage()(path)
    assert VerifiedLoadImage()(path).equal(theirs)
    assert VerifiedLoadImage(dtype=None)(path).to(torch.float32).equal(theirs)


@pytest.mark.parametrize("sform", [AFFINE, AFFINE @ np.diag([-1, -1, 1, 1]), AFFINE[[1, 2, 0, 3]]])
def test_metadata_are_those_of_monai(tmp_path, sform):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), sform)
    ours, theirs = VerifiedLoadImage(dtype=None)(path), LoadImage()(path)
    assert ours.meta.keys() == theirs.meta.keys()
    for key, value in theirs.meta.items():
        np.testing.assert_array_equal(np.asarray(ours.meta[key]), np.asarray(value), err_msg=str(key))
    assert ours.affine.dtype == theirs.affine.dtype


def test_a_qform_that_alone_fits_the_spacing_is_taken_as_monai_takes_it(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield(), srow_x=[3, 0, 0, -20])
    ours, theirs = VerifiedLoadImage(dtype=None)(path), LoadImage()(path)
    assert ours.affine.equal(theirs.affine) and np.array_equal(ours.meta["srow_x"], theirs.meta["srow_x"])


@pytest.mark.parametrize(
    ("dtype", "scale", "kept"),
    [
        (np.int16, (1, 0), torch.int16),
        (np.int16, (1, -1024), torch.int16),
        (np.int16, (1, 32700), torch.float32),
        (np.int16, (1, 0.5), torch.float32),
        (np.int16, (2, 0), torch.float32),
        (np.uint8, (1, 0), torch.uint8),
        (np.uint16, (1, 0), torch.float32),
        (np.uint32, (1, 0), torch.float32),
        (np.float64, (1, 0), torch.float32),
    ],
)
def test_integers_are_kept_where_they_can_be(tmp_path, dtype, scale, kept):
    path = save_nifti(tmp_path / "scan.nii.gz", voxels_of(dtype), scl_slope=scale[0], scl_inter=scale[1])
    assert VerifiedLoadImage(dtype=None)(path).dtype == kept


def test_kept_voxels_lie_as_in_the_file(tmp_path):
    volume = VerifiedLoadImage(dtype=None)(save_nifti(tmp_path / "scan.nii.gz", hounsfield()))
    assert volume.stride() == (1, SHAPE[0], SHAPE[0] * SHAPE[1])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_both_versions_and_both_orders_of_bytes_are_read(tmp_path, kind, order):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    nib.save(kind(hounsfield(), AFFINE, header), tmp_path / "scan.nii.gz")
    image = read_nifti(tmp_path / "scan.nii.gz")
    assert type(image) is kind and np.array_equal(image.dataobj, hounsfield()) and np.allclose(image.affine, AFFINE)
    assert VerifiedLoadImage(dtype=None)(tmp_path / "scan.nii.gz").equal(
        LoadImage(dtype=np.int16)(tmp_path / "scan.nii.gz")
    )


def test_long_integers_are_read(tmp_path):
    nib.save(nib.Nifti1Image(hounsfield().astype(np.int64), AFFINE, dtype=np.int64), tmp_path / "scan.nii.gz")
    volume = VerifiedLoadImage(dtype=None)(tmp_path / "scan.nii.gz")
    assert volume.dtype == torch.float32 and np.array_equal(volume.numpy(), hounsfield())


def test_a_stream_of_several_members_is_read_to_its_end(tmp_path):
    content = save_nifti(tmp_path / "scan.nii", hounsfield()).read_bytes()
    path = tmp_path / "scan.nii.gz"
    members = [gzip.compress(content[start : start + 700]) for start in range(0, len(content), 700)]
    path.write_bytes(b"".join(members))
    assert np.array_equal(read_nifti(path).dataobj, hounsfield())
    path.write_bytes(b"".join(members[:-1]) + members[-1][:-8] + bytes(8))
    with pytest.raises(ValueError, match=r"scan\.nii\.gz is damaged"):
        read_nifti(path)


def test_a_flipped_bit_is_found_or_harmless(tmp_path):
    path = save_nifti(tmp_path / "scan.nii.gz", hounsfield())
    content, found = path.read_bytes(), 0
    for bit in np.random.default_rng(0).integers(8 * 10, 8 * len(content), 40).tolist():
        path.write_bytes(content)
        flip_bits(path, bit // 8, 1 << bit % 8)
        try:
            voxels = np.asarray(read_nifti(path).dataobj)
        except ValueError as error:
            found += 1
            assert "scan.nii.gz is damaged" in str(error), bit
        else:
            assert np.array_equal(voxels, hounsfield()), bit
    assert found > 30


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_a_cut_file_is_found(tmp_path, name):
    path = save_nifti(tmp_path / name, hounsfield())
    content = path.read_bytes()
    for kept in (0, 1, 100, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:kept])
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            read_nifti(path)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_more_than_the_header_promises_is_left(tmp_path, name):
    content = save_nifti(tmp_path / "small.nii", hounsfield()).read_bytes() + bytes(50_000_000)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    with pytest.raises(ValueError, match="more than the 2272 bytes"):
        read_nifti(tmp_path / name)


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.nii"])
def test_no_memory_is_taken_for_what_a_file_cannot_hold(tmp_path, monkeypatch, name):
    path = save_nifti(tmp_path / name, hounsfield(), dim=[3, 4096, 4096, 4096, 1, 1, 1, 1])
    monkeypatch.setattr(streams.np, "empty", lambda *args: pytest.fail("took memory"))
    with pytest.raises(ValueError, match=r"holds at most \d+ of the 137438953824 bytes"):
        read_nifti(path)


def test_a_file_is_inflated_once(tmp_path, monkeypatch):
    path = save_nifti(tmp_path / "scan.nii.gz", np.tile(hounsfield(), (8, 8, 8)))
    inflated = []
    pieces = streams._pieces_into
    monkeypatch.setattr(streams, "_pieces_into", lambda *args: (inflated.append(1), pieces(*args))[1])
    monkeypatch.setattr(nib.arrayproxy, "array_from_file", lambda *args, **kwargs: pytest.fail("read again"))
    VerifiedLoadImage(dtype=None)(path)
    assert len(inflated) == 1


def test_several_files_become_channels(tmp_path):
    paths = [save_nifti(tmp_path / f"{seed}.nii.gz", hounsfield(seed)) for seed in (0, 1)]
    ours, theirs = VerifiedLoadImage(dtype=None)(paths), LoadImage()(paths)
    assert ours.dtype == torch.int16 and ours.float().equal(theirs)
    assert ours.meta[MetaKeys.ORIGINAL_CHANNEL_DIM] == theirs.meta[MetaKeys.ORIGINAL_CHANNEL_DIM]
