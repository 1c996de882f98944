"""Cross-validation: one data list per fold."""

from dataclasses import replace

from medssl.data.datalist import Datalist
from medssl.data.splits import by_group, group_of, k_folds


def fold_datalists(datalist: Datalist, num_folds: int, seed: int = 0) -> list[Datalist]:
    """Split a data list into one per fold: each case of ``training`` and ``test`` is a test case in exactly one.

    The cases of a group stay together. Validation and unlabeled cases stay where they are, so that the best weights are
    never chosen on test cases; a fold leaves out unlabeled cases of the groups that it tests.

    Args:
        datalist: list whose labelled cases are redistributed.
        num_folds: number of folds, at least 2.
        seed: seed of the draw.

    Raises:
        ValueError: if there are fewer cases than folds.

    Example:
        >>> cases = tuple({"case": name, "image": f"/{name}.nii", "label": f"/{name}_seg.nii"} for name in "abcd")
        >>> datalist = Datalist("toy", "CT", {0: "background", 1: "liver"}, {"training": cases, "test": ()})
        >>> [sorted(case["case"] for case in fold.section("test")) for fold in fold_datalists(datalist, 2)]
        [['b', 'c'], ['a', 'd']]
    """
    labelled = [case for name in ("training", "test") for case in datalist.sections.get(name, ())]
    groups = by_group(sorted(labelled, key=lambda case: case["case"]))
    lists = []
    for held_out in k_folds(groups, num_folds, seed):
        sections = {
            "training": tuple(case for name in sorted(groups) if name not in held_out for case in groups[name]),
            "test": tuple(case for name in sorted(held_out) for case in groups[name]),
        }
        if "unlabeled" in datalist.sections:
            unlabeled = datalist.sections["unlabeled"]
            sections["unlabeled"] = tuple(case for case in unlabeled if group_of(case) not in held_out)
        lists.append(replace(datalist, sections={**datalist.sections, **sections}, path=None))
    return lists
