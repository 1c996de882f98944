"""Comparisons of methods with the same number of labels: difference, interval and corrected test."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import wilcoxon

from medssl.evaluation.statistics import Interval, bootstrap_interval, holm
from medssl.evaluation.summary import AVERAGE, Row, case_means, cell, ordered

# With five pairs or fewer no two-sided signed-rank test can reach p < 0.05 (2 / 2**5 = 0.0625).
FEWEST_CASES = 6


@dataclass(frozen=True)
class Comparison:
    """Two (method, setting) competitors with the same number of labels, on the results that both have.

    Attributes:
        labels: number of labelled scans.
        competitor: method and setting.
        reference: method and setting it is compared with.
        difference: competitor minus reference in mean Dice, with its paired bootstrap interval over draws and cases.
        p: two-sided p value of the Wilcoxon signed-rank test; None without pairs.
        corrected_p: the same, corrected by Holm's method for all tests that `compare_all` returns.
        pairs: number of (fold, case) pairs that both have.
        cases: number of distinct cases, or groups, among them: the number of pairs of the test.
    """

    labels: int
    competitor: tuple[str, str]
    reference: tuple[str, str]
    difference: Interval
    p: float | None
    corrected_p: float | None
    pairs: int
    cases: int


def compare_all(rows: Sequence[Row]) -> list[Comparison]:
    """Compare, for every number of labels, each method with the best of its setting and with training from scratch.

    The best has the highest mean Dice over folds, the first of equals. Training from scratch is the setting
    ``from_scratch``; it is compared with every method of the other settings: does pretraining help? The p values are
    corrected for the number of all these tests.
    """
    comparisons = []
    for labels in sorted(ordered(rows, "labels")):
        groups: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            if row["labels"] == labels:
                groups[row["method"], row["setting"]].append(row)
        for reference, competitor in _matches(groups):
            comparisons.append(compare(labels, competitor, reference, groups[competitor], groups[reference]))
    tested = [found for found in comparisons if found.p is not None]
    corrected = iter(holm([found.p for found in tested]))
    return [found if found.p is None else replace(found, corrected_p=next(corrected)) for found in comparisons]


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
    """Return difference, interval and test of two competitors; p is not corrected yet.

    Paired are the results of a fold, case and class that both have. Where a case occurs in several folds, or cases
    belong to one group, such as the slices of a scan, the Wilcoxon signed-rank test takes the mean of their differences
    in mean Dice over classes, since several results of one patient are not independent; so it counts cases, or groups
    where there are any. The interval resamples cases, or groups, and folds (`bootstrap_interval`).

    Args:
        labels: number of labelled scans, passed through.
        competitor: method and setting, passed through.
        reference: method and setting, passed through.
        competitor_rows: rows of the competitor with this number of labels.
        reference_rows: rows of the reference with this number of labels.
    """
    ours, theirs = case_means(competitor_rows), case_means(reference_rows)
    groups = {row["case"]: row.get("group", row["case"]) for row in competitor_rows}
    differences: dict[str, list[float]] = defaultdict(list)
    for fold, case in ours:
        if (fold, case) in theirs:
            differences[groups[case]].append(ours[fold, case] - theirs[fold, case])
    per_case = np.array([np.mean(values) for values in differences.values()])
    pairs = sum(len(values) for values in differences.values())
    interval = bootstrap_interval(_paired_differences(competitor_rows, reference_rows))
    p = None
    if pairs:
        p = float(wilcoxon(per_case).pvalue) if per_case.any() else 1.0
    return Comparison(labels, competitor, reference, interval, p, None, pairs, len(per_case))


def _paired_differences(competitor_rows: Sequence[Row], reference_rows: Sequence[Row]) -> dict[tuple, list[float]]:
    theirs = {(row["fold"], row["case"], row["class"]): row["dice"] for row in reference_rows}
    differences: dict[tuple, list[float]] = defaultdict(list)
    for row in competitor_rows:
        other = theirs.get((row["fold"], row["case"], row["class"]))
        if row["dice"] is not None and other is not None:
            differences[row["fold"], row.get("group", row["case"]), row["class"]].append(row["dice"] - other)
    return differences


def mean_interval(rows: Sequence[Row]) -> Interval:
    """Return the mean Dice of one method over classes, with its bootstrap interval over draws and cases.

    Args:
        rows: rows of one method, setting and number of labels.

    Example:
        >>> row = {"class": "liver", "dice": 0.5}
        >>> rows = [{**row, "fold": fold, "case": case} for fold in range(2) for case in "ab"]
        >>> mean_interval(rows).mean, mean_interval(rows).low
        (0.5, 0.5)
    """
    values: dict[tuple, list[float]] = defaultdict(list)
    for row in rows:
        if row["dice"] is not None:
            values[row["fold"], row.get("group", row["case"]), row["class"]].append(row["dice"])
    return bootstrap_interval(values)
