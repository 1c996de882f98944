"""One sound scan in each format, and how each says its sizes and numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.scans.dicom_writer import save_enhanced, save_slices
from tests.scans.files import AFFINE, hounsfield, save_itk, save_nifti, save_series

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40), np.uint8)
COLOURS = np.random.default_rng(1).integers(0, 256, (30, 40, 3), np.uint8)


@dataclass(frozen=True)
class Format:
    """A format of files.

    Attributes:
        write: writes the sound scan into a folder and returns the path to load.
        family: which header it has.
        stream: bytes that start the part that a checksum covers, which ends with the file; None: there is no checksum.
        pixels: whether it is a picture.
        channels: of the picture.
        has_length: whether a loss or surplus of bytes behind the header contradicts the header.
    """

    write: Callable[[Path], Path]
    family: str
    stream: bytes | None = None
    pixels: bool = False
    channels: int = 1
    has_length: bool = True

    def header_end(self, content: bytes) -> int:
        """Give the number of bytes before the voxels, 0 in a file of voxels alone."""
        if self.family == "nifti":
            return 352
        if self.family == "dicom":
            return content.rindex(b"\xe0\x7f\x10\0") + 12
        if content.startswith(b"NRRD"):
            return len(content.partition(b"\n\n")[0]) + 2
        place = content.find(b"ElementDataFile")
        return 0 if place < 0 else content.index(b"\n", place) + 1

    def truth(self) -> np.ndarray:
        """Give the voxels that loading must return."""
        if not self.pixels:
            return hounsfield()
        return PIXELS.T[None] if self.channels == 1 else COLOURS.transpose(2, 1, 0)


def _picture(name: str, pixels: np.ndarray, **options) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        Image.fromarray(pixels).save(folder / name, **options)
        return folder / name

    return write


def _nifti(name: str) -> Callable[[Path], Path]:
    return lambda folder: save_nifti(folder / name, hounsfield())


def _itk(name: str, is_compressed: bool) -> Callable[[Path], Path]:
    return lambda folder: save_itk(folder / name, hounsfield(), is_compressed=is_compressed)


FORMATS = {
    "NIfTI": Format(_nifti("scan.nii"), "nifti"),
    "NIfTI, gzip": Format(_nifti("scan.nii.gz"), "nifti", b""),
    "NRRD, raw": Format(_itk("scan.nrrd", False), "text"),
    "NRRD, gzip": Format(_itk("scan.nrrd", True), "text", b"\x1f\x8b"),
    "NRRD, two files": Format(_itk("scan.nhdr", False), "text"),
    "MetaImage, raw": Format(_itk("scan.mha", False), "text"),
    "MetaImage, zlib": Format(_itk("scan.mha", True), "text", b"\x78"),
    "MetaImage, two files": Format(_itk("scan.mhd", False), "text"),
    "DICOM series": Format(lambda folder: save_slices(folder / "series", hounsfield(), AFFINE), "dicom"),
    "DICOM multi-frame": Format(lambda folder: save_enhanced(folder / "s" / "f", hounsfield(), AFFINE).parent, "dicom"),
    "DICOM, JPEG 2000": Format(
        lambda folder: save_series(folder / "series", hounsfield(), is_compressed=True), "dicom", has_length=False
    ),
    "PNG, grey": Format(_picture("a.png", PIXELS), "png", b"", True),
    "PNG, RGB": Format(_picture("a.png", COLOURS), "png", b"", True, 3),
    "TIFF": Format(_picture("a.tif", PIXELS), "tiff", None, True, 1, False),
    "TIFF, deflate": Format(_picture("a.tif", COLOURS, compression="tiff_deflate"), "tiff", None, True, 3, False),
    "TIFF, LZW": Format(_picture("a.tif", PIXELS, compression="tiff_lzw"), "tiff", None, True, 1, False),
}
