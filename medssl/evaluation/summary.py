"""Statistics of result rows: means over folds, and paired tests between methods."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

METRICS = ("dice", "iou", "hd95_mm", "surface_dice")
AVERAGE = "average"
# With five pairs or fewer no two-sided signed-rank test can reach p < 0.05 (2 / 2**5 = 0.0625).
FEWEST_CASES = 6

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


@dataclass(frozen=True)
class Comparison:
    """A paired Wilcoxon signed-rank test between two (method, setting) competitors with the same number of labels.

    Attributes:
        labels: number of labelled scans.
        competitor: method and setting.
        reference: method and setting it is compared with.
        difference: mean of competitor minus reference, in mean Dice over classes; None without pairs.
        p: two-sided p value, not corrected for the number of tests; None without pairs.
        pairs: number of (fold, case) pairs that both have.
        cases: number of distinct cases, or groups, among them: the number of pairs of the test.
    """

    labels: int
    competitor: tuple[str, str]
    reference: tuple[str, str]
    difference: float | None
    p: float | None
    pairs: int
    cases: int


def ordered(rows: Iterable[Row], field: str) -> list[Any]:
    """Return the different values of a field, in order of first appearance.

    Example:
        >>> ordered([{"class": "liver"}, {"class": "aorta"}, {"class": "liver"}], "class")
        ['liver', 'aorta']
    """
    return list(dict.fromkeys(row[field] for row in rows))


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


def compare_all(rows: Sequence[Row]) -> list[Comparison]:
    """Compare, for every number of labels, each method with the best of its setting and with training from scratch.

    The best has the highest mean Dice over folds, the first of equals. Training from scratch is the setting
    ``from_scratch``; it is compared with every method of the other settings: does pretraining help?
    """
    comparisons = []
    for labels in sorted(ordered(rows, "labels")):
        groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            if row["labels"] == labels:
                groups[row["method"], row["setting"]].append(row)
        for reference, competitor in _matches(groups):
            comparisons.append(compare(labels, competitor, reference, groups[competitor], groups[reference]))
    return comparisons


def _matches(groups: Mapping[tuple[str, str], Sequence[Row]]) -> list[tuple]:
    """Return the pairs (reference, competitor) to compare, each once."""
    matches = []
    for setting in dict.fromkeys(setting for _, setting in groups):
        rivals = [key for key in groups if key[1] == setting]
        means = {key: cell(groups[key], "dice", AVERAGE).mean for key in rivals}
        best = max(rivals, key=lambda key: -1.0 if means[key] is None else means[key])
        matches += [(best, key) for key in rivals if key != best]
    for scratch in (key for key in groups if key[1] == "from_scratch"):
        matches += [(scratch, key) for key in groups if key[1] != "from_scratch"]
    return matches


def compare(
    labels: int,
    competitor: tuple[str, str],
    reference: tuple[str, str],
    competitor_rows: Sequence[Row],
    reference_rows: Sequence[Row],
) -> Comparison:
    """Return the paired Wilcoxon signed-rank test between two competitors, on the mean Dice over classes.

    Paired are the (fold, case) results that both have. Where a case occurs in several folds, or cases belong to one
    group, such as the slices of a scan, their differences are averaged first, since several results of one patient are
    not independent: the test counts cases, or groups where there are any.

    Args:
        labels: number of labelled scans, passed through.
        competitor: method and setting, passed through.
        reference: method and setting, passed through.
        competitor_rows: rows of the competitor with this number of labels.
        reference_rows: rows of the reference with this number of labels.
    """
    ours, theirs = _case_means(competitor_rows), _case_means(reference_rows)
    groups = {row["case"]: row.get("group", row["case"]) for row in competitor_rows}
    differences: dict[str, list[float]] = defaultdict(list)
    for fold, case in ours:
        if (fold, case) in theirs:
            differences[groups[case]].append(ours[fold, case] - theirs[fold, case])
    per_case = np.array([np.mean(values) for values in differences.values()])
    pairs = sum(len(values) for values in differences.values())
    if not pairs:
        return Comparison(labels, competitor, reference, None, None, 0, 0)
    p = float(wilcoxon(per_case).pvalue) if per_case.any() else 1.0
    return Comparison(labels, competitor, reference, float(per_case.mean()), p, pairs, len(per_case))


def _case_means(rows: Sequence[Row]) -> dict[tuple, float]:
    """Return the mean Dice over the defined classes of every (fold, case) that has one."""
    values: dict[tuple, list[float]] = defaultdict(list)
    for row in rows:
        if row["dice"] is not None:
            values[row["fold"], row["case"]].append(row["dice"])
    return {key: float(np.mean(dice)) for key, dice in values.items()}
