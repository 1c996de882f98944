"""Pixels of PNG, TIFF and BMP files, read by Pillow like MONAI's ``PILReader``."""

import os
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk
from PIL import Image

PICTURE_ENDINGS = (".png", ".tif", ".tiff", ".bmp")
# Pixel index to RAS mm, where ITK and 3D Slicer place a picture: x to the left, y to the back, pixels 1 mm wide.
PICTURE_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
# Pillow's modes whose pixels are one number, or red, green and blue.
_PLAIN = ("1", "L", "I", "F", "I;16", "I;16L", "I;16B", "I;16N", "RGB")
_WITH_ALPHA = {"LA": "L", "RGBA": "RGB"}

Kind = Literal["image", "index mask", "colour mask"]


def is_picture(path: str | os.PathLike[str]) -> bool:
    """Tell by its ending whether a file is a picture.

    Example:
        >>> is_picture("cell.TIF"), is_picture("cell.nii.gz")
        (True, False)
    """
    return str(path).lower().endswith(PICTURE_ENDINGS)


def read_picture(path: str | os.PathLike[str], kind: Kind = "image") -> np.ndarray:
    """Read the pixels of a picture, shape ``(x, y)``, or ``(x, y, 3)`` for red, green and blue.

    The first axis is x, from left to right, and the second y, from top to bottom, as MONAI reads and writes pictures.
    Values keep their type: 8 or 16 bit, or float32. An opaque alpha channel is dropped.

    Args:
        path: a ``.png``, ``.tif``, ``.tiff`` or ``.bmp`` file of one page.
        kind: meaning of the pixels. Of a picture with a palette, an index mask takes the indices and a colour mask the
            colours. Colour masks are always returned as 8-bit red, green and blue.

    Raises:
        ValueError: if it is damaged, has several pages, is partly transparent, or has a palette or a colour space that
            `kind` does not allow; the message names the file.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (5, 3), "red").save(f"{folder}/red.png")
        ...     pixels = read_picture(f"{folder}/red.png")
        >>> pixels.shape, pixels[0, 0].tolist()
        ((5, 3, 3), [255, 0, 0])
    """
    path = Path(path)
    try:
        with Image.open(path) as image:
            pages = getattr(image, "n_frames", 1)
            # Only this compares the checksums of a PNG, and the file must be opened again afterwards.
            image.verify()
        with Image.open(path) as image:
            has_wide_colours = image.mode in ("RGB", *_WITH_ALPHA) and ";16" in repr(image.tile)
            image.load()
    except MemoryError:
        raise
    except Exception as error:
        # Pillow's errors share no base class.
        raise ValueError(f"{path} cannot be read as a picture ({error}); copy or export it again.") from error
    if pages > 1:
        raise ValueError(f"{path} has {pages} pages; save each as a separate file, or the stack as NIfTI.")
    pixels = _wide_colours(path) if has_wide_colours else np.asarray(_plain(path, image, kind))
    pixels = pixels.swapaxes(0, 1)
    return pixels.astype(np.uint8) if pixels.dtype == bool else pixels


def _plain(path: Path, image: Image.Image, kind: Kind) -> Image.Image:
    if image.mode in ("P", "PA") and kind == "image":
        raise ValueError(f"{path} has a palette; save it as grey or RGB.")
    if image.mode == "P" and kind == "index mask":
        return image
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
    if image.mode in _WITH_ALPHA:
        _require_opaque(path, np.asarray(image)[..., -1])
        image = image.convert(_WITH_ALPHA[image.mode])
    if image.mode not in _PLAIN:
        raise ValueError(f"{path} has pixels of mode {image.mode}; save it as grey or RGB.")
    if kind != "colour mask":
        return image
    if image.mode not in ("1", "L", "RGB"):
        raise ValueError(f"{path} has more than 8 bits per pixel, but colour masks have 8; leave label_colours out.")
    return image.convert("RGB")


def _wide_colours(path: Path) -> np.ndarray:
    """Read 16-bit colours, shape ``(y, x, 3)``, which Pillow would reduce to 8 bits."""
    try:
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise ValueError(f"{path} cannot be read as a 16-bit picture; save it again as PNG.") from error
    if pixels.shape[-1] in (2, 4):
        _require_opaque(path, pixels[..., -1])
        pixels = pixels[..., :-1]
    return pixels[..., 0] if pixels.shape[-1] == 1 else pixels


def _require_opaque(path: Path, alpha: np.ndarray) -> None:
    through = int(np.count_nonzero(alpha != np.iinfo(alpha.dtype).max))
    if through:
        raise ValueError(
            f"{path} is transparent in {through} pixels, whose colours are undefined; save it without an alpha "
            "channel, and a mask that the channel may hold as a separate file."
        )
