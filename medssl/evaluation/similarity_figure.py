"""A picture of similarity: where the clicked voxel lies, and what looks like it."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.transforms import Orientation

from medssl.evaluation.pictures import CANONICAL, GREY_PERCENTILES, PLANES, letter_sides, plane_aspect, plane_slice
from medssl.files import replacing


def similarity_figure(
    source: MetaTensor, point: tuple[float, float, float], target: MetaTensor, heat: MetaTensor, path: str | Path
) -> Path:
    """Write a PNG of the clicked point in one scan and the most similar voxel in another, and return its path.

    Three planes in radiological convention, the patient's right on the left; a 2D image has one, and a picture is shown
    as it is stored. Similarity is drawn from yellow to red above its 90th percentile.

    Args:
        source: the scan that was clicked, shape ``(C, H, W, D)`` or ``(C, H, W)``; the first channel is shown.
        point: right, anterior, superior, in mm.
        target: the scan that was searched, which may be the same.
        heat: similarity, of the shape of `target`.
        path: the PNG.
    """
    path = Path(path)
    planes = PLANES if heat.dim() == 4 else {"axial": PLANES["axial"]}
    source, target, heat = (Orientation(**CANONICAL)(_as_volume(image.cpu())) for image in (source, target, heat))
    clicked = _nearest_voxel(source, point)
    best = np.unravel_index(int(heat[0].argmax()), heat.shape[1:])
    figure = Figure(figsize=(6, 8 * len(planes) / len(PLANES)), dpi=120, layout="constrained")
    grid = figure.subplots(len(planes), 2, squeeze=False)
    for row, (plane, (axis, left, right)) in zip(grid, planes.items(), strict=True):
        _draw(row[0], source, None, clicked, axis)
        _draw(row[1], target, heat, best, axis)
        for axes, title in zip(row, ("clicked", "most similar"), strict=True):
            if len(planes) == 1:
                axes.set_axis_off()
            else:
                letter_sides(axes, left, right)
                title = f"{title}, {plane}"
            axes.set_title(title, fontsize=9)
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def _as_volume(image: MetaTensor) -> MetaTensor:
    """Return a 2D image as a volume of one slice."""
    if image.dim() == 4:
        return image
    return MetaTensor(image.as_tensor()[..., None], affine=to_affine_nd(3, image.affine.double()))


def _nearest_voxel(image: MetaTensor, point: tuple[float, float, float]) -> tuple[int, ...]:
    index = np.linalg.inv(image.affine.numpy()) @ np.array([*point, 1.0])
    return tuple(int(i) for i in np.clip(np.rint(index[:3]), 0, np.array(image.shape[1:]) - 1))


def _draw(axes: Axes, image: MetaTensor, heat: MetaTensor | None, voxel: tuple[int, ...], axis: int) -> None:
    scan, spacing = image.numpy()[0], [float(size) for size in image.pixdim]
    low, high = np.percentile(scan, GREY_PERCENTILES)
    aspect = plane_aspect(spacing, axis)
    axes.imshow(plane_slice(scan, axis, voxel[axis]), cmap="gray", vmin=low, vmax=high, aspect=aspect)
    if heat is not None:
        similarity = heat.numpy()[0]
        shown = plane_slice(similarity, axis, voxel[axis])
        threshold = np.percentile(similarity, 90)
        limits = {"vmin": threshold, "vmax": similarity.max()}
        axes.imshow(np.ma.masked_less(shown, threshold), cmap="autumn_r", alpha=0.6, aspect=aspect, **limits)
    across, up = (i for i in range(3) if i != axis)
    # Both axes of a slice are drawn from their far end.
    x, y = (scan.shape[i] - 1 - voxel[i] for i in (across, up))
    axes.plot(x, y, marker="+", color="cyan", markersize=10)
