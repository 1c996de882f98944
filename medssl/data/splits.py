"""Seeded draws of few-label subsets and folds, and groups of cases that belong together."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np


def shuffled_cases(cases: Iterable[str], seed: int) -> list[str]:
    """Shuffle cases into an order that depends on their names and the seed, not on their former order.

    Args:
        cases: unique ids.
        seed: seed of the shuffle.

    Raises:
        ValueError: if an id appears twice.

    Example:
        >>> shuffled_cases(["a", "b", "c"], seed=0) == shuffled_cases(["c", "a", "b"], seed=0)
        True
    """
    ordered = sorted(cases)
    twice = sorted({first for first, second in pairwise(ordered) if first == second})
    if twice:
        raise ValueError(f"These cases appear twice: {', '.join(twice)}.")
    return [ordered[index] for index in np.random.default_rng(seed).permutation(len(ordered))]


def nested_few_label_subsets(cases: Iterable[str], counts: Sequence[int], seed: int) -> dict[int, list[str]]:
    """Draw a subset of the cases for every count, each contained in the next larger one.

    So a result with 5 labels differs from one with 2 only by the 3 additional labels.

    Args:
        cases: unique ids.
        counts: sizes of the subsets.
        seed: seed of the draw.

    Raises:
        ValueError: if a count is below 1 or above the number of cases.

    Example:
        >>> subsets = nested_few_label_subsets(["a", "b", "c", "d"], [1, 3], seed=0)
        >>> set(subsets[1]) < set(subsets[3])
        True
    """
    order = shuffled_cases(cases, seed)
    for count in counts:
        if not 1 <= count <= len(order):
            raise ValueError(
                f"{count} labelled cases are asked for, but there are {len(order)}; ask for 1 to {len(order)}."
            )
    return {count: order[:count] for count in counts}


def k_folds(cases: Iterable[str], num_folds: int, seed: int) -> list[list[str]]:
    """Split cases into disjoint folds whose sizes differ by at most one.

    Args:
        cases: unique ids.
        num_folds: number of folds, at least 2.
        seed: seed of the draw.

    Raises:
        ValueError: if there are fewer cases than folds.

    Example:
        >>> [len(fold) for fold in k_folds("abcde", num_folds=2, seed=0)]
        [3, 2]
    """
    order = shuffled_cases(cases, seed)
    if not 2 <= num_folds <= len(order):
        raise ValueError(f"{num_folds} folds cannot be made of {len(order)} cases; choose 2 to {len(order)} folds.")
    return [order[first::num_folds] for first in range(num_folds)]


def group_of(case: Mapping[str, str]) -> str:
    """Return the group of a case: its ``group``, or by default its own name.

    Example:
        >>> group_of({"case": "anna_z012", "group": "anna"}), group_of({"case": "ben"})
        ('anna', 'ben')
    """
    return case.get("group", case["case"])


def by_group(cases: Iterable[Mapping[str, str]]) -> dict[str, list[dict[str, str]]]:
    """Collect the cases of every group; groups and cases keep their order.

    Args:
        cases: entries of a data list.
    """
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for case in cases:
        groups[group_of(case)].append(dict(case))
    return dict(groups)


def require_whole_groups(sections: Mapping[str, Iterable[Mapping[str, str]]], source: Any) -> None:
    """Require that no group is split across training, validation and test.

    Unlabeled cases may share a group with ``training``.

    Args:
        sections: entries by section.
        source: what the error message names.

    Raises:
        ValueError: if a group is split; the message names the group and the sections.
    """
    places: dict[str, str] = {}
    for name in ("training", "unlabeled", "validation", "test"):
        for group in {group_of(case): None for case in sections.get(name, ())}:
            former = places.setdefault(group, name)
            if {former, name} & {"validation", "test"} and former != name:
                raise ValueError(
                    f"{source}: group '{group}' is in '{former}' and in '{name}'; keep it in one section, or the "
                    "results will not be those of unseen cases."
                )
