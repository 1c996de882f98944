"""Cross-validation: one data list per fold."""

from dataclasses import replace

from medssl.data.datalist import Datalist
from medssl.data.splits import k_folds


def fold_datalists(datalist: Datalist, num_folds: int, seed: int = 0) -> list[Datalist]:
    """Return one data list per fold: every case of ``training`` and ``test`` is a test case in exactly one of them.

    Validation and unlabeled cases stay where they are, so that the best weights are never chosen on test cases.

    Args:
        datalist: its labelled cases are dealt out anew.
        num_folds: at least 2.
        seed: another seed gives other folds.

    Raises:
        ValueError: if there are fewer cases than folds.

    Example:
        >>> cases = tuple({"case": name, "image": f"/{name}.nii", "label": f"/{name}_seg.nii"} for name in "abcd")
        >>> datalist = Datalist("toy", "CT", {0: "background", 1: "liver"}, {"training": cases, "test": ()})
        >>> [sorted(case["case"] for case in fold.section("test")) for fold in fold_datalists(datalist, 2)]
        [['b', 'c'], ['a', 'd']]
    """
    dealt = {case["case"]: case for name in ("training", "test") for case in datalist.sections.get(name, ())}
    lists = []
    for held_out in k_folds(dealt, num_folds, seed):
        sections = {
            "training": tuple(case for name, case in sorted(dealt.items()) if name not in held_out),
            "test": tuple(dealt[name] for name in sorted(held_out)),
        }
        lists.append(replace(datalist, sections={**datalist.sections, **sections}, path=None))
    return lists
