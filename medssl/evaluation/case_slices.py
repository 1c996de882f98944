"""One slice of a case: scan, reference and prediction, kept beside the rows for the pictures of a report."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Orientation, SpatialResample

from medssl.evaluation.pictures import CANONICAL, GREY_PERCENTILES, fullest_slice, plane_aspect, plane_slice
from medssl.files import replacing

# Pixels along a side; finer slices are thinned out.
MOST_PIXELS = 192
# Of each side of the slice that the picture shows at least, and of the margin around the labels.
_LEAST_SHARE, _MARGIN = 0.5, 0.25


@dataclass(frozen=True)
class CaseSlice:
    """Scan, reference and prediction as rows from the top.

    Attributes:
        scan: grey values, uint8.
        reference: label values.
        prediction: label values.
        aspect: height by width of a pixel.
        names: name of every foreground value.
    """

    scan: np.ndarray
    reference: np.ndarray
    prediction: np.ndarray
    aspect: float
    names: Mapping[int, str]


def case_slice(
    image: MetaTensor, reference: MetaTensor, prediction: MetaTensor, class_names: Mapping[int, str]
) -> CaseSlice:
    """Return the axial slice with most of the reference, cropped around the labels; of a picture the whole plane.

    The scan is the preprocessed image, as the network sees it, on the grid of the reference.

    Args:
        image: of shape ``(C, *spatial)`` with its affine; the first channel is shown.
        reference: integer map of shape ``(1, *spatial)`` with its affine.
        prediction: on the grid of the reference.
        class_names: name of every value; 0 is background.

    Example:
        >>> label = MetaTensor(torch.zeros(1, 8, 8, 4), affine=torch.eye(4))
        >>> label[0, 2:5, 2:5, 1] = 1
        >>> found = case_slice(MetaTensor(torch.rand(1, 8, 8, 4), affine=torch.eye(4)), label, label, {1: "liver"})
        >>> int(found.reference.sum()), found.scan.shape == found.reference.shape
        (9, True)
    """
    image = image[:1].cpu().float()
    greys = np.percentile(image.numpy(), GREY_PERCENTILES)
    if greys[0] == greys[1]:
        greys = np.array([image.min(), image.max()])
    maps, image, aspect = (_planes if reference.ndim == 4 else _pictures)(image, reference, prediction)
    box = _crop([values != 0 for values in maps])
    scan, *maps = (part[box] for part in (image, *maps))
    scan = np.clip((scan - greys[0]) / max(float(greys[1] - greys[0]), 1e-6), 0, 1)
    names = {value: name for value, name in class_names.items() if value != 0}
    return CaseSlice((255 * scan).astype(np.uint8), *(values.astype(np.int16) for values in maps), aspect, names)


def _planes(
    image: MetaTensor, reference: MetaTensor, prediction: MetaTensor
) -> tuple[list[np.ndarray], np.ndarray, float]:
    canonical = Orientation(**CANONICAL)(reference)
    maps = [canonical.numpy()[0], Orientation(**CANONICAL)(prediction).numpy()[0]]
    index = fullest_slice(maps, axis=2)
    shift = torch.eye(4, dtype=torch.float64)
    shift[2, 3] = index
    size = (*maps[0].shape[:2], 1)
    plane = _resampled(image, canonical.affine.double() @ shift, size)[..., 0]
    slices = [plane_slice(values, 2, index) for values in maps]
    return slices, np.flip(plane).T, plane_aspect([float(mm) for mm in canonical.pixdim], 2)


def _pictures(
    image: MetaTensor, reference: MetaTensor, prediction: MetaTensor
) -> tuple[list[np.ndarray], np.ndarray, float]:
    maps = [values.numpy()[0].T for values in (reference, prediction)]
    width, height = (float(size) for size in reference.pixdim)
    return maps, _resampled(image, reference.affine, reference.shape[1:]).T, height / width


def _resampled(image: MetaTensor, affine: torch.Tensor, size: Sequence[int]) -> np.ndarray:
    resample = SpatialResample(mode="bilinear", padding_mode="border", dtype=torch.float32)
    return resample(image, dst_affine=affine, spatial_size=size).numpy()[0]


def _crop(masks: Sequence[np.ndarray]) -> tuple[slice, ...]:
    """Return the box around the masks with a margin, thinned out to ``MOST_PIXELS``."""
    shape, rooms = masks[0].shape, []
    for axis, length in enumerate(shape):
        places = np.flatnonzero(np.any(masks, axis=(0, 2 - axis)))
        first, last = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, length)
        side = min(length, max(int((1 + 2 * _MARGIN) * (last - first)), int(_LEAST_SHARE * length)))
        start = min(max((first + last - side) // 2, 0), length - side)
        rooms.append((start, start + side))
    step = max(1, -(-max(end - start for start, end in rooms) // MOST_PIXELS))
    return tuple(slice(start, end, step) for start, end in rooms)


def slices_folder(rows_path: Path) -> Path:
    """Return the folder of the slices that belong to a file of rows.

    Example:
        >>> slices_folder(Path("run/rows.jsonl")).as_posix()
        'run/rows.slices'
    """
    return rows_path.with_suffix(".slices")


def to_bytes(found: CaseSlice) -> bytes:
    """Return a slice as the bytes of an NPZ file."""
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scan=found.scan,
        reference=found.reference,
        prediction=found.prediction,
        aspect=found.aspect,
        values=np.array(list(found.names), dtype=np.int64),
        names=np.array(list(found.names.values()), dtype=str),
    )
    return buffer.getvalue()


def write_slices(folder: Path, slices: Mapping[str, bytes]) -> None:
    """Write ``CASE.npz`` for every case, and delete those of a former evaluation.

    Args:
        folder: made if missing.
        slices: by case, as from `to_bytes`.
    """
    for path in folder.glob("*.npz"):
        path.unlink()
    for case, content in slices.items():
        with replacing(folder / f"{case}.npz") as temporary:
            temporary.write_bytes(content)


def read_slice(path: Path) -> CaseSlice:
    """Return a slice that `write_slices` wrote.

    Raises:
        ValueError: if the file is damaged; the message names it.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            names = dict(zip(file["values"].tolist(), file["names"].tolist(), strict=True))
            maps = (file[name] for name in ("scan", "reference", "prediction"))
            return CaseSlice(*maps, float(file["aspect"]), names)
    except Exception as error:
        # zipfile, zlib and NumPy raise errors without a common base class.
        raise ValueError(f"{path} is damaged ({error}); evaluate the run again, or delete the file.") from error


def spread(dice: Mapping[str, float]) -> list[str]:
    """Return the best, the middle and the worst case; fewer where there are fewer.

    Example:
        >>> spread({"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.4})
        ['b', 'd', 'a']
    """
    ranked = sorted(dice, key=lambda case: -dice[case])
    return list(dict.fromkeys(ranked[place] for place in (0, len(ranked) // 2, -1))) if ranked else []
