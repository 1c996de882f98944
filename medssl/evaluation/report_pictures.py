"""The pictures of a report: scan, reference and prediction of the best, middle and worst case of each method."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from medssl.evaluation.case_slices import CaseSlice, read_slice, slices_folder
from medssl.evaluation.figures import colours, words
from medssl.evaluation.pictures import draw_outlines
from medssl.evaluation.summary import Row, case_means, competitors
from medssl.files import replacing

_UNSAFE = re.compile(r"[^\w.=-]+")


def write_pictures(by_file: Mapping[Path, Sequence[Row]], folder: Path) -> dict[str, Path]:
    """Write one PNG per method and setting, with its fewest labels, and return them by title.

    Shown are the best and the worst case of all folds, and the one nearest to the median, as far as the evaluations
    kept their slices. Methods without slices have no picture.

    Args:
        by_file: rows of every file; their slices lie beside it.
        folder: of the pictures, made if there is one.

    Raises:
        ValueError: if a slice is damaged.
    """
    pictures: dict[str, Path] = {}
    shown: set[tuple[str, str]] = set()
    for method, setting, labels in competitors(row for rows in by_file.values() for row in rows):
        cases = _kept(by_file, (method, setting, labels))
        if not cases or (method, setting) in shown:
            continue
        shown.add((method, setting))
        title = f"{method}, {words(setting)}, {labels} labelled"
        path = folder / f"{len(shown):02d}_{_UNSAFE.sub('-', f'{method}_{setting}_labels={labels}')}.png"
        with replacing(path) as temporary:
            picture(cases).savefig(temporary)
        pictures[title] = path
    return pictures


def _kept(by_file: Mapping[Path, Sequence[Row]], competitor: tuple[str, str, int]) -> dict[str, CaseSlice]:
    """Return the best, the middle and the worst slice by title."""
    dice: list[float] = []
    kept: list[tuple[float, str, int, Path]] = []
    for file, rows in by_file.items():
        own = [row for row in rows if (row["method"], row["setting"], row["labels"]) == competitor]
        for (fold, case), value in case_means(own).items():
            dice.append(value)
            path = slices_folder(file) / f"{case}.npz"
            if path.is_file():
                kept.append((value, case, fold, path))
    if not kept:
        return {}
    median = np.median(dice)
    best, worst = max(kept), min(kept)
    rest = [entry for entry in kept if entry not in (best, worst)]
    middle = min(rest, key=lambda entry: abs(entry[0] - median), default=None)
    chosen = {"best": best, "middle": middle, "worst": worst if worst != best else None}
    return {
        f"{name}: {entry[1]}, fold {entry[2]}, Dice {entry[0]:.2f}": read_slice(entry[3])
        for name, entry in chosen.items()
        if entry is not None
    }


def picture(cases: Mapping[str, CaseSlice]) -> Figure:
    """Return a figure with one row per case: the scan, with the outlines of the reference and of the prediction.

    Args:
        cases: slices by title.

    Example:
        >>> zeros = np.zeros((8, 8), np.uint8)
        >>> figure = picture({"best": CaseSlice(zeros, zeros, zeros, 1.0, {1: "liver"})})
        >>> [axes.get_title() for axes in figure.axes]
        ['scan', 'reference', 'prediction']
    """
    names = {value: name for case in cases.values() for value, name in case.names.items()}
    palette = dict(zip(names, colours(len(names)), strict=True))
    heights = [case.scan.shape[0] * case.aspect / case.scan.shape[1] for case in cases.values()]
    size = (7.5, sum(2.4 * height + 0.35 for height in heights) + 0.5)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    rows = figure.subfigures(len(cases), 1, squeeze=False, height_ratios=[2.4 * height + 0.35 for height in heights])
    for row, (title, case) in zip(rows[:, 0], cases.items(), strict=True):
        row.suptitle(title, fontsize=9, fontweight="bold", x=0.01, ha="left")
        maps = {"scan": None, "reference": case.reference, "prediction": case.prediction}
        for axes, (name, values) in zip(row.subplots(1, 3), maps.items(), strict=True):
            axes.imshow(case.scan, cmap="gray", vmin=0, vmax=255, aspect=case.aspect)
            axes.set_title(name, fontsize=8)
            axes.set_axis_off()
            if values is not None:
                draw_outlines(axes, values, palette, width=1.2)
    handles = [Line2D([], [], color=palette[value], label=name, linewidth=2) for value, name in names.items()]
    rows[-1, 0].legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 5) or 1, frameon=False, fontsize=8
    )
    return figure
