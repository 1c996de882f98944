"""Unlabelled cases for semi-supervised training."""

import os
from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset

from medssl.data.datalist import Datalist, load_few_labels, read_datalist
from medssl.data.splits import by_group

KEYS = ("unlabeled", "unlabeled_noisy")


def load_unlabeled(
    path: str | os.PathLike[str], num_labels: int | None, fold: int, with_training: bool = False
) -> list[dict[str, str]]:
    """Load the cases that a semi-supervised run may see without labels, each as ``case`` and ``image``.

    These are the section ``unlabeled`` and, on request, the cases of ``training`` that are not among the few labelled
    ones (`load_few_labels`), without their labels.

    Args:
        path: the JSON file of the data list.
        num_labels: number of labelled cases of ``training``; ``None``: all.
        fold: number of the draw, which seeds it.
        with_training: add the rest of ``training``.

    Raises:
        ValueError: if there is no such case.
    """
    datalist = read_datalist(path)
    require_unlabeled(datalist, num_labels, with_training)
    cases = list(datalist.sections["unlabeled"])
    if with_training:
        labelled = {case["case"] for case in load_few_labels(path, "training", num_labels, fold)}
        cases += [case for case in load_few_labels(path, "training", None, fold) if case["case"] not in labelled]
    return [{"case": case["case"], "image": case["image"]} for case in cases]


def require_unlabeled(datalist: Datalist, num_labels: int | None, with_training: bool = False) -> None:
    """Check that a data list has a case that a semi-supervised run may see without label; see `load_unlabeled`.

    Raises:
        ValueError: if there is none.
    """
    if datalist.sections["unlabeled"]:
        return
    if not with_training:
        rest = "--unlabeled_training true would add the cases of 'training' beyond --labels"
    elif num_labels is not None and num_labels < len(by_group(datalist.section("training"))):
        return
    else:
        rest = "no case of its section 'training' is left without label: lower --labels"
    raise ValueError(f"{datalist.path} has no case in section 'unlabeled', and {rest}.")


class WithUnlabeled(Dataset):
    """The batch of every training step, with the unlabelled patches of another batch added.

    Like both batches, it is a pure function of the step.

    Args:
        labeled: batches by step, such as `medssl.data.sampling.StepBatches`.
        unlabeled: batches by step, whose keys ``unlabeled`` and ``unlabeled_noisy`` are added.

    Example:
        >>> batches = WithUnlabeled([{"image": 1}], [{"case": ["b"], "unlabeled": 2, "unlabeled_noisy": 3}])
        >>> batches[0]
        {'image': 1, 'unlabeled': 2, 'unlabeled_noisy': 3}
    """

    def __init__(self, labeled: Sequence[dict[str, Any]], unlabeled: Sequence[dict[str, Any]]) -> None:
        self.labeled = labeled
        self.unlabeled = unlabeled

    def __getitem__(self, step: int) -> dict[str, Any]:
        unlabeled = self.unlabeled[step]
        return {**self.labeled[step], **{key: unlabeled[key] for key in KEYS}}
