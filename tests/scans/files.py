"""Sound small scans, and ways to spoil them."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk

SHAPE = (12, 10, 8)
AFFINE = np.array([[1.5, 0, 0, -20.0], [0, 1.25, 0, 30.0], [0, 0, 2.5, 7.0], [0, 0, 0, 1]])


def hounsfield(seed: int = 0) -> np.ndarray:
    """Air around a noisy box of soft tissue."""
    voxels = np.full(SHAPE, -1000, np.int16)
    voxels[2:-2, 2:-2, 1:-1] = np.random.default_rng(seed).integers(-100, 200, (8, 6, 6))
    return voxels


def organs() -> np.ndarray:
    label = np.zeros(SHAPE, np.uint8)
    label[3:6, 3:6, 2:5] = 1
    label[7:9, 4:7, 3:6] = 2
    return label


def affine_with(**entries: float) -> np.ndarray:
    """Return the usual affine with other entries: ``a03`` is row 0, column 3."""
    affine = AFFINE.copy()
    for place, value in entries.items():
        affine[int(place[1]), int(place[2])] = value
    return affine


def mirrored() -> np.ndarray:
    """Return the affine of a volume that is stored from right to left and lies at the same place."""
    return affine_with(a00=-1.5, a03=AFFINE[0, 3] + 1.5 * (SHAPE[0] - 1))


def cut(path: Path) -> None:
    """Remove the second half of a file."""
    path.write_bytes(path.read_bytes()[: len(path.read_bytes()) // 2])


def flip_bits(path: Path, place: int, mask: int) -> None:
    """Flip the bits ``mask`` of the byte at ``place``; negative places count from the end."""
    content = bytearray(path.read_bytes())
    content[place] ^= mask
    path.write_bytes(bytes(content))


def assert_judged(problems: list[tuple[str, str]], expected: str, reason: str) -> None:
    """Require no problems to "accept"; else the expected severity and reason among problems of (severity, text)."""
    if expected == "accept":
        assert problems == []
    else:
        assert min(severity for severity, _ in problems) == expected
        assert any(reason in text for _, text in problems)


def save_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, **fields) -> Path:
    """Write NIfTI-1 byte by byte, so that any field of the header can be wrong."""
    image = nib.Nifti1Image(voxels, AFFINE)
    header = image.header
    header.set_sform(affine, code=1)
    if np.isfinite(affine).all() and np.linalg.det(affine):
        header.set_qform(affine, code=1, strip_shears=True)
    header["vox_offset"], header["magic"], header["scl_slope"], header["scl_inter"] = 352, b"n+1", 1, 0
    for name, value in fields.items():
        header[name] = value
    content = header.binaryblock + bytes(4) + voxels.tobytes(order="F")
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def save_series(
    folder: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, uid: str = "1.2.3", skip=(), is_compressed=False
) -> Path:
    """Write a DICOM series, one slice a file; ``affine`` maps to RAS; compressed as lossless JPEG 2000."""
    folder.mkdir(exist_ok=True)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    axes = lps[:3, :3] / spacing
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    writer.SetUseCompression(is_compressed)
    writer.SetCompressor("JPEG2000")
    for index in range(voxels.shape[2]):
        if index in skip:
            continue
        image = sitk.GetImageFromArray(voxels[:, :, index].T[None].astype(np.int16))
        image.SetSpacing(spacing.tolist())
        tags = {
            "0008|0060": "CT",
            "0010|0010": "Planted^Name",
            "0020|000d": "1.2",
            "0020|000e": uid,
            "0008|0018": f"{uid}.{index + 1}",
            "0020|0032": "\\".join(f"{number:.8g}" for number in lps[:3, 3] + index * lps[:3, 2]),
            "0020|0037": "\\".join(f"{number:.10f}" for number in (*axes[:, 0], *axes[:, 1])),
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        # Names in reverse, so that only the positions give the order.
        writer.SetFileName(str(folder / f"{uid}_{99 - index}.dcm"))
        writer.Execute(image)
    return folder


def save_itk(path: Path, voxels: np.ndarray, affine: np.ndarray = AFFINE, is_compressed: bool = True) -> Path:
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    sitk.WriteImage(image, str(path), useCompression=is_compressed)
    return path


def write_bomb(path: Path, shape: tuple[int, int, int] = (1200, 1200, 100)) -> Path:
    """Write a small file that holds all the zeros its header promises, 1000 : 1."""
    header = nib.Nifti1Image(np.zeros((1, 1, 1), np.int16), np.eye(4)).header
    header.set_data_shape(shape)
    header.set_sform(np.eye(4), 1)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    with gzip.open(path, "wb", compresslevel=9) as file:
        file.write(header.binaryblock + bytes(4))
        for _ in range(shape[2]):
            file.write(bytes(2 * shape[0] * shape[1]))
    return path
