"""Rows of results: one per method, case and class, kept as JSON lines."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou, compute_surface_dice
from numpy.typing import ArrayLike
from scipy import ndimage

from medssl.files import replacing

FIELDS = (
    "method",
    "setting",
    "labels",
    "fold",
    "case",
    "class",
    "dice",
    "iou",
    "hd95_mm",
    "surface_dice",
    "reference_voxels",
    "predicted_voxels",
    "expected_ml",
    "predicted_ml",
    "image_mean",
)
# Rows of early versions lack these.
_NEWER_FIELDS = ("expected_ml", "predicted_ml", "image_mean")


def case_rows(
    prediction: ArrayLike,
    label: ArrayLike,
    spacing: Sequence[float],
    class_names: Mapping[int, str],
    tolerance_mm: float = 1.0,
    image_mean: float | None = None,
    **identity: str | int,
) -> list[dict[str, Any]]:
    """Return one row of results per class of a case, in the order of ``class_names`` without the background.

    Dice, IoU, the 95th percentile of the Hausdorff distance and the surface Dice (Nikolov et al., 2021,
    https://arxiv.org/abs/1809.04430, on surface voxels) are MONAI's, on the grid of ``label``. None stands for an
    undefined value: all four where the class is absent in the reference, and the Hausdorff distance where the class
    is present and not predicted (a miss: the others are 0, and no finite distance would be a measurement). Volumes in
    ml are None in 2D.

    Args:
        prediction: integer map of the shape of ``label``.
        label: integer map of the reference, in 2D or 3D, optionally with one leading channel.
        spacing: size of a voxel in mm, one number per axis.
        class_names: name of every value of the maps; 0 is background.
        tolerance_mm: distance up to which two surfaces agree, for the surface Dice.
        image_mean: mean intensity of the preprocessed image, passed through.
        **identity: further fields of every row: method, setting, labels, fold, case.

    Raises:
        ValueError: if shapes or spacing do not fit, a map is not integer, or holds a value without a name.

    Example:
        >>> label = np.zeros((8, 8, 4), dtype=np.uint8)
        >>> label[2:6, 2:6, 1:3] = 1
        >>> rows = case_rows(label, label, (1, 1, 2), {0: "background", 1: "liver", 2: "spleen"}, case="a")
        >>> [(row["class"], row["dice"], row["hd95_mm"], row["reference_voxels"]) for row in rows]
        [('liver', 1.0, 0.0, 32), ('spleen', None, None, 0)]
    """
    predicted, reference = (_integer_map(values, len(spacing)) for values in (prediction, label))
    _require_maps(predicted, reference, spacing, class_names)
    classes = [value for value in class_names if value != 0]
    largest = max(classes, default=0)
    boxes = [ndimage.find_objects(values, max_label=largest) for values in (predicted, reference)]
    rows = []
    for value in classes:
        box = _union([found[value - 1] for found in boxes])
        masks = [torch.from_numpy(values[box] == value) for values in (predicted, reference)]
        scores = _scores(*masks, spacing, tolerance_mm)
        rows.append({**identity, "class": class_names[value], **scores, **_volumes(scores, spacing)})
        rows[-1]["image_mean"] = image_mean
    return rows


def _volumes(scores: Mapping[str, Any], spacing: Sequence[float]) -> dict[str, float | None]:
    millilitres = math.prod(map(float, spacing)) / 1000
    names = {"expected_ml": "reference_voxels", "predicted_ml": "predicted_voxels"}
    return {name: scores[voxels] * millilitres if len(spacing) == 3 else None for name, voxels in names.items()}


def _integer_map(values: ArrayLike, spatial_dims: int) -> np.ndarray:
    array = np.asarray(values.cpu() if isinstance(values, torch.Tensor) else values)
    if array.ndim == spatial_dims + 1 and array.shape[0] == 1:
        array = array[0]
    if not np.issubdtype(array.dtype, np.integer):
        raise ValueError(f"Prediction and label must be integer maps, got {array.dtype}; round or discretise first.")
    return array


def _require_maps(
    predicted: np.ndarray, reference: np.ndarray, spacing: Sequence[float], class_names: Mapping[int, str]
) -> None:
    if predicted.shape != reference.shape:
        raise ValueError(
            f"Prediction {predicted.shape} and label {reference.shape} differ in shape; resample the prediction to "
            "the grid of the label."
        )
    if len(spacing) != reference.ndim:
        raise ValueError(f"spacing needs {reference.ndim} numbers, got {tuple(spacing)}.")
    for name, values in (("prediction", predicted), ("label", reference)):
        unknown = sorted({int(value) for value in np.unique(values)} - {0, *class_names})
        if unknown:
            raise ValueError(f"The {name} holds the values {unknown}, which have no name in {dict(class_names)}.")


def _union(boxes: Sequence[tuple[slice, ...] | None]) -> tuple[slice, ...]:
    """Return the smallest box around the given ones; an empty one where there are none."""
    found = [box for box in boxes if box is not None]
    if not found:
        return (slice(0, 0),)
    return tuple(slice(min(s.start for s in sides), max(s.stop for s in sides)) for sides in zip(*found, strict=True))


def _scores(predicted: torch.Tensor, reference: torch.Tensor, spacing: Sequence[float], tolerance_mm: float) -> dict:
    """Return the metrics and voxel counts of two masks of one class.

    Cropping the masks to their union changes no distance and saves time on the empty rest of the scan.
    """
    counts = {"reference_voxels": int(reference.sum()), "predicted_voxels": int(predicted.sum())}
    if counts["reference_voxels"] == 0:
        return {"dice": None, "iou": None, "hd95_mm": None, "surface_dice": None, **counts}
    if counts["predicted_voxels"] == 0:
        return {"dice": 0.0, "iou": 0.0, "hd95_mm": None, "surface_dice": 0.0, **counts}
    maps = (predicted[None, None], reference[None, None])
    spacing = [float(size) for size in spacing]
    options = {"include_background": True, "spacing": spacing}
    scores = {
        "dice": compute_dice(*maps, include_background=True),
        "iou": compute_iou(*maps, include_background=True),
        "hd95_mm": compute_hausdorff_distance(*maps, percentile=95, **options),
        "surface_dice": compute_surface_dice(*maps, class_thresholds=[tolerance_mm], **options),
    }
    return {**{name: float(score) for name, score in scores.items()}, **counts}


def write_rows(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows to a file of JSON lines, replacing those it held; on any error the file stays as it was.

    Args:
        path: the file; its folder is made if missing.
        rows: as from `case_rows`, with the fields of ``FIELDS``.

    Raises:
        ValueError: if a row lacks a field or holds NaN or infinity.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "rows.jsonl"
        >>> identity = {"method": "simclr", "setting": "fine_tune", "labels": 1, "fold": 0, "case": "a"}
        >>> mask = np.ones((2, 2), dtype=int)
        >>> write_rows(file, case_rows(mask, mask, (1, 1), {1: "liver"}, **identity))
        >>> [row["dice"] for row in read_rows(file)]
        [1.0]
    """
    for row in rows:
        _require_fields(row, "A new row")
    lines = "".join(json.dumps(dict(row), allow_nan=False) + "\n" for row in rows)
    with replacing(path) as temporary:
        temporary.write_text(lines, encoding="utf-8")


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines, in order.

    Rows without an IoU, as early versions wrote them, get it from their Dice; other fields they lack are None.

    Args:
        path: a file written by `write_rows`.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a line is not a row, or holds NaN or infinity; the message names file and line.
    """
    rows = []
    text = Path(path).read_text(encoding="utf-8")
    for number, line in enumerate(text.splitlines(), start=1):
        where = f"{path}, line {number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{where}: not JSON ({error.msg}); remove the line and evaluate its case again."
            ) from error
        if isinstance(row, dict) and "dice" in row:
            _complete(row)
        _require_fields(row, where)
        broken = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
        if broken:
            raise ValueError(f"{where}: {broken[0]} is {row[broken[0]]}; evaluate case {row['case']} again.")
        rows.append(row)
    if text and not text.endswith("\n"):
        raise ValueError(f"{path}, line {len(rows)}: the last line is cut off; remove it and evaluate its case again.")
    return rows


def _complete(row: dict[str, Any]) -> None:
    if "iou" not in row:
        row["iou"] = None if row["dice"] is None else row["dice"] / (2 - row["dice"])
    for field in _NEWER_FIELDS:
        row.setdefault(field, None)


def _require_fields(row: Any, where: str) -> None:
    if not isinstance(row, Mapping):
        raise ValueError(f"{where}: expected an object with the fields of a row, got {type(row).__name__}.")
    missing = [field for field in FIELDS if field not in row]
    if missing:
        raise ValueError(f"{where}: the row lacks {', '.join(missing)}.")
