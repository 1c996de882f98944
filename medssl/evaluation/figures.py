"""The figure of few-label learning: Dice against the number of labelled scans."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medssl.evaluation.summary import AVERAGE, Row, cell, ordered
from medssl.files import replacing

# Okabe and Ito (2008), https://jfly.uni-koeln.de/color/: colour-blind readers can tell them apart. Without its yellow,
# which is hard to see on white.
SAFE_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX*<>"
LINE_STYLES = {"fine_tune": "-", "linear_probe": "--", "from_scratch": ":"}


def colours(count: int) -> list:
    """Return colours that differ for colour-blind readers up to seven, and from then on by hue.

    Example:
        >>> len(colours(3)), len(set(map(tuple, colours(20))))
        (3, 20)
    """
    if count <= len(SAFE_COLOURS):
        return list(SAFE_COLOURS[:count])
    return [tuple(colour) for colour in colormaps["turbo"](np.linspace(0.05, 0.95, count))]


def labels_figure(rows: Sequence[Row], path: str | Path) -> Path:
    """Write a PNG of the mean Dice over the number of labelled scans, and return its path.

    One line a method (colour and marker) and setting (line style), with the standard deviation over folds as error
    bars where there are two folds or more. As Fig. 1 of Kats et al. (2024). The horizontal axis is categorical: the
    numbers of labels that occur, evenly spaced.

    Args:
        rows: as from `medssl.evaluation.metrics.read_rows`.
        path: the PNG.
    """
    path = Path(path)
    counts = sorted(ordered(rows, "labels"))
    lines = list(dict.fromkeys((row["method"], row["setting"]) for row in rows))
    methods = ordered(rows, "method")
    styles = dict(zip(methods, zip(colours(len(methods)), _markers(len(methods)), strict=True), strict=True))
    figure = Figure(figsize=(7.5, 4.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    # Side by side, so that error bars at the same number of labels stay apart.
    offsets = np.linspace(-0.12, 0.12, len(lines)) if len(lines) > 1 else [0.0]
    for (method, setting), offset in zip(lines, offsets, strict=True):
        chosen = [row for row in rows if (row["method"], row["setting"]) == (method, setting)]
        colour, marker = styles[method]
        _line(axes, chosen, counts, float(offset), {"color": colour, "marker": marker, **_line_style(setting)})
    _decorate(axes, counts)
    figure.legend(
        handles=_legend(lines, styles), loc="outside right upper", frameon=False, fontsize=8, handlelength=3.5
    )
    with replacing(path) as temporary:
        figure.savefig(temporary)
    return path


def _markers(count: int) -> list[str]:
    return [MARKERS[i % len(MARKERS)] for i in range(count)]


def _line_style(setting: str) -> dict:
    return {"linestyle": LINE_STYLES.get(setting, "-."), "linewidth": 1.6, "markersize": 5}


def _line(axes: Axes, rows: Sequence[Row], counts: Sequence[int], offset: float, style: dict) -> None:
    """Draw the mean Dice of one method and setting, where there is one."""
    cells = [cell([row for row in rows if row["labels"] == count], "dice", AVERAGE) for count in counts]
    shown = [(i + offset, found) for i, found in enumerate(cells) if found.mean is not None]
    axes.errorbar(
        [x for x, _ in shown],
        [found.mean for _, found in shown],
        yerr=[np.nan if found.sd is None else found.sd for _, found in shown],
        capsize=3,
        elinewidth=1,
        **style,
    )


def _decorate(axes: Axes, counts: Sequence[int]) -> None:
    axes.set_xticks(range(len(counts)), [str(count) for count in counts])
    axes.set_xlim(-0.4, len(counts) - 0.6)
    axes.set_xlabel("Labelled scans")
    axes.set_ylabel("Mean Dice over classes")
    axes.grid(axis="y", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _legend(lines: Sequence[tuple[str, str]], styles: dict) -> list[Line2D]:
    return [
        Line2D(
            [], [], color=styles[method][0], marker=styles[method][1], label=f"{method}, {words(setting)}",
            **_line_style(setting),
        )
        for method, setting in lines
    ]  # fmt: skip


def words(name: str) -> str:
    """Return an identifier as words.

    Example:
        >>> words("linear_probe")
        'linear probe'
    """
    return name.replace("_", " ")
