"""Which cases are held out for validation and test."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from medssl.data.datalist import Datalist, read_datalist
from medssl.data.splits import group_of, shuffled_cases


def draw_datalist(
    path: Path,
    channel: str | None = None,
    group: str | None = None,
    seed: int = 0,
    num_validation: int = 0,
    num_test: int = 0,
) -> Datalist:
    r"""Return a data list with validation and test cases drawn from its training cases.

    Args:
        path: a data list, or the ``dataset.json`` of the Medical Segmentation Decathlon or of nnU-Net.
        channel: name or number of the channel to take, where there are several.
        group: regular expression whose first group, in the name of a case, identifies its patient.
        seed: seed of the draw.
        num_validation: number of training cases, or of groups where there are any, that go to ``validation``.
        num_test: number that goes to ``test``.

    Raises:
        ValueError: if the list is wrong, or no labelled case would be left for training.
    """
    datalist = read_datalist(path, channel)
    listed = {case["case"]: dict(case) for cases in datalist.sections.values() for case in cases}
    groups = {case: group_of(entry) for case, entry in listed.items()} if group is None else groups_of(listed, group)
    for case, entry in listed.items():
        entry |= {"group": groups[case]} if groups[case] != case else {}
    sections = {name: [listed[case["case"]] for case in cases] for name, cases in datalist.sections.items()}
    chosen = hold_out([case["case"] for case in sections["training"]], groups, seed, num_validation, num_test)
    for name, cases in chosen.items():
        kept = [] if name == "training" else sections[name]
        sections[name] = [*kept, *(listed[case] for case in sorted(cases))]
    held_out = {groups[case["case"]] for name in ("validation", "test") for case in sections[name]}
    sections["unlabeled"] = [case for case in sections["unlabeled"] if groups[case["case"]] not in held_out]
    return replace(datalist, sections={name: tuple(cases) for name, cases in sections.items()}, path=None)


def groups_of(cases: Iterable[str], pattern: str | None) -> dict[str, str]:
    r"""Return the group of every case; without a pattern, its own name.

    Args:
        cases: ids.
        pattern: regular expression with one pair of brackets around the group, such as ``(patient\d+)_``.

    Raises:
        ValueError: if a case does not match it.

    Example:
        >>> groups_of(["p1_a", "p1_b"], r"(p\d)_")
        {'p1_a': 'p1', 'p1_b': 'p1'}
    """
    if pattern is None:
        return {case: case for case in cases}
    try:
        matches = {case: re.search(pattern, case) for case in cases}
        unlike = next((case for case, match in matches.items() if match is None), None)
        if unlike is not None:
            raise LookupError(f"case '{unlike}' does not")
        return {case: match[1] for case, match in matches.items()}
    except (re.error, LookupError) as error:
        raise ValueError(
            f"The group '{pattern}' must be a regular expression with one pair of brackets that matches every case, "
            rf"such as (patient\d+)_ ({error})."
        ) from error


def hold_out(
    labelled: Iterable[str], groups: Mapping[str, str], seed: int, num_validation: int, num_test: int
) -> dict[str, Collection[str]]:
    """Draw training, validation and test cases by groups.

    Args:
        labelled: ids of the labelled cases.
        groups: group of every case.
        seed: of the draw.
        num_validation: groups for ``validation``.
        num_test: groups for ``test``.

    Raises:
        ValueError: if no labelled case is left for training.
    """
    order = shuffled_cases({groups[case] for case in labelled}, seed)
    held_out = num_validation + num_test
    things = "cases" if all(case == group for case, group in groups.items()) else "groups"
    if min(num_validation, num_test) < 0 or (held_out and held_out >= len(order)):
        raise ValueError(
            f"{held_out} held-out of {len(order)} labelled {things} leave none for training; hold out fewer."
        )
    drawn = {
        "training": order[held_out:],
        "validation": order[:num_validation],
        "test": order[num_validation:held_out],
    }
    return {section: [case for case in labelled if groups[case] in names] for section, names in drawn.items()}
