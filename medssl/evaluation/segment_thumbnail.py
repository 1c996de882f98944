"""A small picture of a segmented scan: three planes with the outlines of the structures."""

import colorsys
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from medssl.evaluation.pictures import PLANES, draw_outlines, fullest_slice, letter_sides, plane_aspect, plane_slice

_HEIGHT, _DPI = 2.6, 100
_GREYS = (1, 99)
# Voxels around the structures from which the range of greys is taken.
_MARGIN = 10
_BACKGROUND = "#111418"
# Bright on grey, and neighbours far apart; more of them follow by hue.
_COLOURS = (
    "#ff5c5c",
    "#4dc9ff",
    "#ffd93b",
    "#5fe08a",
    "#ff8ae2",
    "#ffa14a",
    "#9a93ff",
    "#c4f04d",
    "#2fe6d0",
    "#e0b48a",
)
_GOLDEN = 0.618


def structure_colours(names: Sequence[str]) -> dict[str, str]:
    """Return a bright colour for every structure.

    Example:
        >>> structure_colours(["liver", "spleen"])
        {'liver': '#ff5c5c', 'spleen': '#4dc9ff'}
    """
    more = [
        tuple(round(255 * part) for part in colorsys.hsv_to_rgb(_GOLDEN * n % 1, 0.45 + 0.3 * (n % 2), 1.0))
        for n in range(max(len(names) - len(_COLOURS), 0))
    ]
    colours = [*_COLOURS, *(f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in more)]
    return dict(zip(names, colours, strict=False))


def thumbnail(scan: np.ndarray, label: np.ndarray, spacing: tuple[float, ...], colours: Mapping[int, str]) -> bytes:
    """Return a PNG of the axial, coronal and sagittal slice that show most of the structures.

    Slices are shown in radiological convention, the patient's right on the left. The range of greys is that of the
    voxels around the structures.

    Args:
        scan: with axes along right, anterior and superior, shape ``(H, W, D)``.
        label: integer map of the same shape.
        spacing: mm along each axis.
        colours: of the values.
    """
    low, high = _grey_range(scan, label)
    views = []
    for axis, left, right in PLANES.values():
        index = fullest_slice([label], axis)
        views.append((plane_slice(scan, axis, index), plane_slice(label, axis, index), axis, left, right))
    widths = [grey.shape[1] / (grey.shape[0] * plane_aspect(spacing, axis)) for grey, _, axis, *_ in views]
    figure = Figure(figsize=(_HEIGHT * sum(widths) + 0.1, _HEIGHT), dpi=_DPI, facecolor=_BACKGROUND)
    grid = figure.subplots(1, 3, width_ratios=widths, gridspec_kw={"wspace": 0.03, "left": 0, "right": 1})
    figure.subplots_adjust(top=1, bottom=0)
    for axes, (grey, values, axis, left, right) in zip(grid, views, strict=True):
        axes.imshow(grey, cmap="gray", vmin=low, vmax=high, aspect=plane_aspect(spacing, axis))
        draw_outlines(axes, values, colours, width=1.0)
        letter_sides(axes, left, right)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=_BACKGROUND)
    return buffer.getvalue()


def _grey_range(scan: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    places = np.argwhere(label != 0)
    box: tuple[slice, ...] = ()
    if len(places):
        box = tuple(
            slice(max(low - _MARGIN, 0), high + _MARGIN)
            for low, high in zip(places.min(axis=0), places.max(axis=0) + 1, strict=True)
        )
    low, high = np.percentile(scan[box], _GREYS)
    return float(low), float(max(high, low + 1e-6))
