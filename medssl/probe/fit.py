"""Fitting a linear head to the rows of labelled cases: which L2 penalty, what to do where labels are missing."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm.auto import tqdm

from medssl.networks.heads import LinearHead
from medssl.networks.rows import set_map_of_rows
from medssl.probe.dice import dice_of_classes
from medssl.probe.rows import VoxelRows
from medssl.probe.solve import Solution, Voxels, foreground_map, solve, standardised

logger = logging.getLogger(__name__)
L2_CANDIDATES = (1e-4, 1e-3, 1e-2, 1e-1)
# Chosen on validation scans of the hippocampus: with one case, ten times more costs random weights 0.01 Dice.
L2_OF_ONE_CASE = 1e-3
# Bounds of the search for L2, whose fits need no more than to tell the candidates apart.
_LEFT_OUT_CASES = 3
_FEWER_VOXELS = 15_000
_TOLERANCE_OF_SEARCH = 1e-3
_EVALUATIONS_OF_SEARCH = 60
# A logit so far below 0 that its class is never predicted.
_NEVER = -10.0


class Fit(NamedTuple):
    """What a head was fitted with.

    Attributes:
        l2: weight of the penalty.
        dice_left_out: mean Dice of cases left out for every candidate of `l2`; empty where none was left out.
        solution: see `medssl.probe.solve.solve`.
        unseen: classes that no case shows; the head never predicts them.
    """

    l2: float
    dice_left_out: dict[float, float]
    solution: Solution
    unseen: list[int]


def fit_head(
    head: LinearHead,
    cases: Mapping[str, VoxelRows],
    class_names: Sequence[str],
    l2: float | None = None,
    max_evaluations: int = 1000,
    tolerance: float = 3e-4,
    watch: Callable[[float, float], None] = lambda loss, gradient_norm: None,
    absent: str = "background",
) -> Fit:
    """Fit a head in place to the rows of labelled cases, and return what it was fitted with.

    Args:
        head: its device is where it is fitted.
        cases: rows of whole volumes, by the name of the case.
        class_names: of the foreground classes, for messages.
        l2: weight of the penalty; None chooses one of `L2_CANDIDATES` by leaving one case out at a time, and takes
            `L2_OF_ONE_CASE` where there is only one.
        max_evaluations: of the loss, at most.
        tolerance: of the gradient, see `medssl.probe.solve.solve`.
        watch: called with loss and gradient norm after every evaluation of the last fit.
        absent: what a class is in a case whose label lacks it and that others show: ``background``: not there;
            ``ignore``: unknown, so that background there may be of the class.

    Raises:
        ValueError: if there is no case, none shows any class, or `absent` is something else.

    Example:
        >>> import numpy as np
        >>> rows = VoxelRows(np.array([[-1.0], [1.0]]), np.array([0, 1]), np.ones(2), np.array([2]))
        >>> head = LinearHead(2, level_channels=[1], num_classes=1)
        >>> fit_head(head, {"a": rows}, ["liver"]).l2
        0.001
        >>> (head([torch.tensor([[[[-1.0, 1.0]]]])]) > 0).tolist()
        [[[[False, True]]]]
    """
    unseen = _unseen_classes(cases, class_names)
    unknown = _unknown_classes(list(cases.values()), len(class_names), unseen, absent)
    voxels, standardisation = standardised(list(cases.values()), head.convs[-1].weight.device)
    dice: dict[float, float] = {}
    if l2 is None:
        dice = left_out_dice(voxels, len(class_names), L2_CANDIDATES, unknown) if len(cases) > 1 else {}
        l2 = max(dice, key=lambda candidate: dice[candidate]) if dice else L2_OF_ONE_CASE
    start, fewer = None, _thinned(voxels)
    if fewer is not voxels:
        # From the solution for fewer voxels, which is cheap, it needs about two fifths of the evaluations.
        start = solve(fewer, len(class_names), l2, None, max_evaluations, tolerance, unknown=unknown).weights
    solution = solve(voxels, len(class_names), l2, start, max_evaluations, tolerance, watch, unknown)
    if not solution.converged:
        logger.warning(
            "The probe is not solved: after %d evaluations its gradient is %.1e, above %.1e; raise max_evaluations.",
            *(solution.num_evaluations, solution.gradient_norm, tolerance),
        )
    kernel, bias = foreground_map(solution, standardisation)
    for value in unseen:
        kernel[value - 1], bias[value - 1] = 0, _NEVER
    set_map_of_rows(head, kernel, bias)
    return Fit(l2, dice, solution, unseen)


def _unseen_classes(cases: Mapping[str, VoxelRows], class_names: Sequence[str]) -> list[int]:
    shown = {name: set(rows.labels.tolist()) - {0} for name, rows in cases.items()}
    if not any(shown.values()):
        raise ValueError(
            f"No labelled case shows any of {', '.join(class_names)} ({', '.join(cases) or 'no case'}): there is "
            "nothing to fit. Label at least one of them."
        )
    for name in (name for name, values in shown.items() if not values):
        logger.warning("Case %s shows no class; the probe takes it for background throughout.", name)
    unseen = sorted(set(range(1, len(class_names) + 1)).difference(*shown.values()))
    for value in unseen:
        logger.warning("No labelled case shows %s; the probe never predicts it.", class_names[value - 1])
    return unseen


def _unknown_classes(cases: Sequence[VoxelRows], num_classes: int, unseen: Sequence[int], absent: str) -> Tensor | None:
    """Return for every case which classes may hide in its background; None if none may."""
    if absent not in ("background", "ignore"):
        raise ValueError(f"absent is {absent!r}; set it to background or ignore.")
    if absent == "background":
        return None
    unknown = torch.ones(len(cases), 1 + num_classes, dtype=torch.bool)
    # A class that no case shows is not learnt, wherever it may be.
    unknown[:, [0, *unseen]] = False
    for row, case in zip(unknown, cases, strict=True):
        row[torch.from_numpy(case.labels).unique()] = False
    return unknown


def left_out_dice(
    voxels: Voxels, num_classes: int, candidates: Sequence[float], unknown: Tensor | None = None
) -> dict[float, float]:
    """Return the mean Dice of cases that are left out one at a time, for candidates of the L2 penalty.

    At most three cases are left out, and a seeded choice of at most 15,000 voxels of all cases is used. Strong
    penalties come first, and each fit starts from the one before. Empty where no case left out shows a class.

    Args:
        voxels: of two cases at least.
        num_classes: number of foreground classes.
        candidates: weights of the penalty.
        unknown: see `medssl.probe.solve.solve`.
    """
    fewer = _thinned(voxels)
    numbers = fewer.cases.unique()[:_LEFT_OUT_CASES]
    scores: dict[float, list[float]] = {l2: [] for l2 in sorted(candidates, reverse=True)}
    with tqdm(total=len(numbers) * len(scores), desc="Choose L2", unit="fit", leave=False) as bar:
        for number in numbers:
            others, held_out = fewer.of(fewer.cases != number), fewer.of(fewer.cases == number)
            start = None
            for l2, dice in scores.items():
                limits = (_EVALUATIONS_OF_SEARCH, _TOLERANCE_OF_SEARCH)
                solution = solve(others, num_classes, l2, start, *limits, unknown=unknown)
                start = solution.weights
                dice.append(_dice(solution, held_out, num_classes))
                bar.update()
    table = torch.tensor(list(scores.values()))
    return {} if table.isnan().all() else dict(zip(scores, table.nanmean(dim=1).tolist(), strict=True))


def _thinned(voxels: Voxels) -> Voxels:
    share = _FEWER_VOXELS / len(voxels.labels)
    if share >= 1:
        return voxels
    draw = torch.rand(len(voxels.labels), generator=torch.Generator().manual_seed(0))
    return voxels.of((draw < share).to(voxels.labels.device))


def _dice(solution: Solution, voxels: Voxels, num_classes: int) -> float:
    parts = (solution.predict(voxels.features), voxels.labels, voxels.weights)
    return float(dice_of_classes(*parts, num_classes).nanmean())
