"""The figure of few-label learning: Dice against the number of labelled scans."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medssl.evaluation.comparisons import mean_interval
from medssl.evaluation.plain_text import figure_text
from medssl.evaluation.statistics import Interval
from medssl.evaluation.summary import Row, ordered
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

    One line a method (colour and marker) and setting (line style), with 95 % bootstrap intervals over folds and cases
    where there are two of both. As Fig. 1 of Kats et al. (2024). The horizontal axis is categorical: the numbers of
    labels that occur, evenly spaced. The vertical one spans the data.

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
    shown: list[Interval] = []
    for (method, setting), offset in zip(lines, offsets, strict=True):
        chosen = [row for row in rows if (row["method"], row["setting"]) == (method, setting)]
        colour, marker = styles[method]
        style = {"color": colour, "marker": marker, **_line_style(setting)}
        shown += _line(axes, chosen, counts, float(offset), style)
    _decorate(axes, counts)
    axes.set_ylim(*dice_limits(shown))
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


def _line(axes: Axes, rows: Sequence[Row], counts: Sequence[int], offset: float, style: dict) -> list[Interval]:
    """Draw the mean Dice of one method and setting where there is one, and return what was drawn."""
    found = [mean_interval([row for row in rows if row["labels"] == count]) for count in counts]
    shown = {i + offset: interval for i, interval in enumerate(found) if interval.mean is not None}
    ends = [
        (0.0, 0.0) if point.low is None else (max(point.mean - point.low, 0), max(point.high - point.mean, 0))
        for point in shown.values()
    ]
    axes.errorbar(
        list(shown),
        [point.mean for point in shown.values()],
        yerr=np.array(ends).reshape(-1, 2).T,
        capsize=3,
        elinewidth=1,
        clip_on=False,
        **style,
    )
    return list(shown.values())


def dice_limits(shown: Sequence[Interval]) -> tuple[float, float]:
    """Return limits of an axis of Dice that span the data with some room, at least 0.1 wide and within 0 and 1.

    Example:
        >>> dice_limits([Interval(0.0, None, None, 1, 1)])
        (0.0, 0.1)
        >>> dice_limits([])
        (0.0, 1.0)
    """
    if not shown:
        return 0.0, 1.0
    lows = [point.mean if point.low is None else point.low for point in shown]
    highs = [point.mean if point.high is None else point.high for point in shown]
    room = max(0.05 * (max(highs) - min(lows)), 0.01)
    low, high = max(0.0, min(lows) - room), min(1.0, max(highs) + room)
    missing = max(0.0, 0.1 - (high - low))
    low = max(0.0, low - missing / 2)
    high = min(1.0, max(high, low + 0.1))
    return min(low, high - 0.1), high


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
            [], [], color=styles[method][0], marker=styles[method][1], label=figure_text(f"{method}, {words(setting)}"),
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
