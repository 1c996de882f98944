"""Statistics of result rows: means over folds, and what single cases say."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

METRICS = ("dice", "iou", "hd95_mm", "surface_dice")
AVERAGE = "average"
# A mean Dice below which a segmentation is called a failure.
FAILURE = 0.3

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A number of a table: the mean of a metric over folds, with the counts behind it.

    Attributes:
        mean: mean over folds of the mean over cases; None where nothing is defined.
        sd: sample standard deviation over folds; None with fewer than two folds.
        folds: folds with a defined value.
        values: rows with a defined value.
        undefined: rows left out because the class is absent in the reference.
        missed: rows left out because the class is there and was not predicted (HD95 alone).
    """

    mean: float | None
    sd: float | None
    folds: int
    values: int
    undefined: int
    missed: int


def ordered(rows: Iterable[Row], field: str) -> list[Any]:
    """Return the different values of a field, in order of first appearance.

    Example:
        >>> ordered([{"class": "liver"}, {"class": "aorta"}, {"class": "liver"}], "class")
        ['liver', 'aorta']
    """
    return list(dict.fromkeys(row[field] for row in rows))


def competitors(rows: Iterable[Row]) -> list[tuple[str, str, int]]:
    """Return every (method, setting, number of labels) that occurs, few labels first.

    Example:
        >>> row = {"method": "kats", "setting": "fine_tune"}
        >>> competitors([{**row, "labels": 5}, {**row, "labels": 1}])
        [('kats', 'fine_tune', 1), ('kats', 'fine_tune', 5)]
    """
    found = dict.fromkeys((row["method"], row["setting"], row["labels"]) for row in rows)
    return sorted(found, key=lambda competitor: competitor[2])


def check_rows(rows: Sequence[Row]) -> list[str]:
    """Return a sentence for every method that was not evaluated on the same folds and cases as the others.

    Methods are held to all (fold, case) pairs seen with their number of labels.

    Raises:
        ValueError: if a result is there twice, or two methods saw different references of the same case and class.
    """
    seen: set[tuple] = set()
    references: dict[tuple, int] = {}
    for row in rows:
        key = tuple(row[field] for field in ("method", "setting", "labels", "fold", "case", "class"))
        if key in seen:
            raise ValueError(
                f"The rows hold the result of {key} twice; remove the older one, or, where they are of two networks, "
                "train one of them with another --name."
            )
        seen.add(key)
        voxels = references.setdefault(key[-2:], row["reference_voxels"])
        if voxels != row["reference_voxels"]:
            raise ValueError(
                f"Case {row['case']}, class {row['class']}: the reference has {voxels} voxels in one row and "
                f"{row['reference_voxels']} in another; evaluate all methods against the same label files."
            )
    return _unequal_cases(rows)


def _unequal_cases(rows: Sequence[Row]) -> list[str]:
    cases: dict[tuple, set] = defaultdict(set)
    every: dict[int, set] = defaultdict(set)
    for row in rows:
        pair = (row["fold"], row["case"])
        cases[row["labels"], row["setting"], row["method"]].add(pair)
        every[row["labels"]].add(pair)
    sentences = []
    for (labels, setting, method), pairs in cases.items():
        missing = sorted(every[labels] - pairs, key=str)
        if missing:
            fold, case = missing[0]
            sentences.append(
                f"{method} ({setting}, {labels} labels) lacks {len(missing)} of {len(every[labels])} (fold, case) "
                f"pairs that others have, the first being fold {fold}, case {case}."
            )
    return sentences


def cell(rows: Sequence[Row], metric: str, class_name: str) -> Cell:
    """Return the mean and standard deviation over folds of a metric of one method.

    Cases are averaged within a fold and class first; the average over classes then counts every class once. In a
    fold without a defined value of a class, the average is that of the other classes.

    Args:
        rows: rows of one method, setting and number of labels.
        metric: one of ``METRICS``.
        class_name: a class, or ``AVERAGE``.

    Example:
        >>> row = {"case": "a", "class": "liver", "reference_voxels": 9}
        >>> cell([{**row, "fold": 0, "dice": 0.5}, {**row, "fold": 1, "dice": 0.7}], "dice", "liver").mean
        0.6
    """
    chosen = [row for row in rows if class_name in (AVERAGE, row["class"])]
    groups: dict[Any, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in chosen:
        if row[metric] is not None:
            groups[row["fold"]][row["class"]].append(row[metric])
    folds = [float(np.mean([np.mean(values) for values in classes.values()])) for classes in groups.values()]
    absent = sum(row["reference_voxels"] == 0 for row in chosen)
    defined = sum(row[metric] is not None for row in chosen)
    return Cell(
        mean=float(np.mean(folds)) if folds else None,
        sd=float(np.std(folds, ddof=1)) if len(folds) > 1 else None,
        folds=len(folds),
        values=defined,
        undefined=absent,
        missed=len(chosen) - defined - absent,
    )


def case_means(rows: Sequence[Row]) -> dict[tuple, float]:
    """Return the mean Dice over the defined classes of every (fold, case) that has one."""
    values: dict[tuple, list[float]] = defaultdict(list)
    for row in rows:
        if row["dice"] is not None:
            values[row["fold"], row["case"]].append(row["dice"])
    return {key: float(np.mean(dice)) for key, dice in values.items()}


@dataclass(frozen=True)
class CaseSummary:
    """What the single results of a method show and its mean hides.

    Attributes:
        results: number of (fold, case) results.
        median: of their mean Dice over classes; None without results.
        failures: how many of them are below ``FAILURE``.
        lowest: the lowest of them; None without results.
        lowest_case: its case.
        lowest_fold: its fold.
        image_correlation: Pearson's r over cases between Dice and the mean intensity of the preprocessed image; None
            with fewer than three cases, without intensities, or where either is constant.
    """

    results: int
    median: float | None
    failures: int
    lowest: float | None
    lowest_case: str | None
    lowest_fold: int | None
    image_correlation: float | None


def summarize_cases(rows: Sequence[Row]) -> CaseSummary:
    """Return the median, the failures and the lowest result of one method, setting and number of labels.

    Args:
        rows: of the method.

    Example:
        >>> row = {"fold": 0, "class": "liver", "image_mean": None}
        >>> found = summarize_cases([{**row, "case": "a", "dice": 0.8}, {**row, "case": "b", "dice": 0.2}])
        >>> found.median, found.failures, found.lowest_case
        (0.5, 1, 'b')
    """
    dice = case_means(rows)
    if not dice:
        return CaseSummary(0, None, 0, None, None, None, None)
    (fold, case), lowest = min(dice.items(), key=lambda item: item[1])
    values = list(dice.values())
    failures = sum(value < FAILURE for value in values)
    return CaseSummary(len(values), float(np.median(values)), failures, lowest, case, fold, _correlation(rows, dice))


def _correlation(rows: Sequence[Row], dice: Mapping[tuple, float]) -> float | None:
    means = {row["case"]: row["image_mean"] for row in rows if row["image_mean"] is not None}
    by_case: dict[str, list[float]] = defaultdict(list)
    for (_, case), value in dice.items():
        if case in means:
            by_case[case].append(value)
    pairs = np.array([(np.mean(values), means[case]) for case, values in by_case.items()]).reshape(-1, 2)
    if len(pairs) < 3 or np.ptp(pairs, axis=0).min() == 0:
        return None
    return float(np.corrcoef(pairs.T)[0, 1])
