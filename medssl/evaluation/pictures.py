"""A picture of a segmentation: scan, reference and prediction in three planes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke
from monai.data import MetaTensor
from monai.transforms import Orientation
from numpy.typing import ArrayLike
from torch import Tensor

from medssl.evaluation.figures import colours
from medssl.files import replacing

# Plane: the axis (right, anterior, superior) across it, then the letters at the left and right edge of the picture.
PLANES = {"axial": (2, "R", "L"), "coronal": (1, "R", "L"), "sagittal": (0, "A", "P")}
GREY_PERCENTILES = (1, 99)
CANONICAL = {"axcodes": "RAS", "labels": (("L", "R"), ("P", "A"), ("I", "S"))}


def overlay_figure(
    image: MetaTensor,
    reference: ArrayLike,
    prediction: ArrayLike,
    class_names: Mapping[int, str],
    path: str | Path,
    window: tuple[float, float] | None = None,
) -> Path:
    """Write a PNG of scan, reference and prediction in axial, coronal and sagittal slices, and return its path.

    Each plane is the one with most voxels of the reference (of the prediction where the reference is empty, else the
    centre). Slices are shown in radiological convention, the patient's right on the left, with voxels in their true
    proportions; an oblique scan along the patient axes nearest to its own.

    Args:
        image: a scan of shape ``(1, H, W, D)`` with its affine.
        reference: integer map of the shape of the scan or without its channel.
        prediction: likewise.
        class_names: name of every value; 0 is background and not drawn.
        path: the PNG.
        window: intensities shown black and white; None takes percentiles 1 and 99 of the scan.

    Raises:
        ValueError: if the scan is not one 3D channel, or a map has another shape.
    """
    path = Path(path)
    if image.dim() != 4 or image.shape[0] != 1:
        raise ValueError(f"The picture needs one 3D scan of shape (1, H, W, D), got {tuple(image.shape)}.")
    image = image.cpu()
    canonical = Orientation(**CANONICAL)(image)
    maps = [_canonical_map(values, image) for values in (reference, prediction)]
    names = {value: name for value, name in class_names.items() if value != 0}
    palette = dict(zip(names, colours(len(names)), strict=True))
    figure = _three_planes(canonical, maps, palette, window)
    handles = [Patch(color=palette[value], label=name) for value, name in names.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5) or 1, frameon=False)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def _three_planes(
    canonical: MetaTensor, maps: Sequence[np.ndarray], palette: Mapping[int, Any], window: tuple[float, float] | None
) -> Figure:
    """Return a figure with one row per plane: the scan alone, with the reference and with the prediction over it."""
    scan, spacing = canonical.numpy()[0], [float(size) for size in canonical.pixdim]
    low, high = window if window is not None else np.percentile(scan, GREY_PERCENTILES)
    columns = {"scan": None, "reference": maps[0], "prediction": maps[1]}
    figure = Figure(figsize=(8, 8), dpi=120, layout="constrained")
    grid = figure.subplots(len(PLANES), len(columns))
    for plane_axes, (plane, (axis, left, right)) in zip(grid, PLANES.items(), strict=True):
        index, aspect = fullest_slice(maps, axis), plane_aspect(spacing, axis)
        for axes, (title, overlay) in zip(plane_axes, columns.items(), strict=True):
            axes.imshow(plane_slice(scan, axis, index), cmap="gray", vmin=low, vmax=high, aspect=aspect)
            if overlay is not None:
                _draw_classes(axes, plane_slice(overlay, axis, index), palette, aspect)
            axes.set_title(f"{title}, {plane}", fontsize=9)
            letter_sides(axes, left, right)
    return figure


def _canonical_map(values: ArrayLike | Tensor, image: MetaTensor) -> np.ndarray:
    array = np.asarray(values.cpu() if isinstance(values, Tensor) else values)
    array = array if array.ndim == 4 else array[None]
    if array.shape != image.shape:
        raise ValueError(f"A map has the shape {array.shape}, the scan {tuple(image.shape)}.")
    return np.rint(Orientation(**CANONICAL)(MetaTensor(array.astype(np.int64), affine=image.affine)).numpy()[0])


def fullest_slice(maps: Sequence[np.ndarray], axis: int) -> int:
    """Return the slice with most foreground of the first map that has any, else the centre."""
    others = tuple(i for i in range(3) if i != axis)
    for values in maps:
        counts = (values != 0).sum(axis=others)
        if counts.any():
            return int(counts.argmax())
    return maps[0].shape[axis] // 2


def plane_slice(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    """Return a slice of a right-anterior-superior volume, as rows from the top.

    Both axes are flipped: right (or anterior) is at the left edge, anterior (or superior) at the top.
    """
    return np.flip(np.take(volume, index, axis=axis)).T


def plane_aspect(spacing: Sequence[float], axis: int) -> float:
    """Return height by width of a voxel in the slices across an axis."""
    width, height = (size for i, size in enumerate(spacing) if i != axis)
    return height / width


def _draw_classes(axes: Axes, values: np.ndarray, palette: Mapping[int, Any], aspect: float) -> None:
    """Draw every class in its colour, half transparent; values without a colour are not drawn."""
    positions = np.full(values.shape, np.nan)
    for position, value in enumerate(palette):
        positions[values == value] = position
    shades = ListedColormap(list(palette.values()))
    limits = {"vmin": -0.5, "vmax": len(palette) - 0.5}
    axes.imshow(positions, cmap=shades, alpha=0.5, interpolation="nearest", aspect=aspect, **limits)


def letter_sides(axes: Axes, left: str, right: str) -> None:
    """Mark the sides of the patient at the edges of a slice."""
    axes.set_axis_off()
    for x, letter, alignment in ((0.02, left, "left"), (0.98, right, "right")):
        text = axes.text(x, 0.5, letter, color="white", ha=alignment, va="center", transform=axes.transAxes)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def draw_outlines(axes: Axes, values: np.ndarray, palette: Mapping[int, Any], width: float) -> None:
    """Draw the outline of every class of a slice, and bring the limits of the axes back to those of the slice.

    Args:
        axes: show the slice, rows downwards.
        values: classes, shape ``(rows, columns)``.
        palette: colour of each class; others are not drawn.
        width: of the lines, in points.
    """
    # A frame of background closes outlines at the border of the slice.
    padded = np.pad(values, 1)
    rows, columns = (np.arange(-1, length + 1) for length in values.shape)
    for value, colour in palette.items():
        if (values == value).any():
            axes.contour(columns, rows, padded == value, levels=[0.5], colors=[colour], linewidths=width)
    axes.set_xlim(-0.5, values.shape[1] - 0.5)
    axes.set_ylim(values.shape[0] - 0.5, -0.5)
