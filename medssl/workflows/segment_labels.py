"""The structures of a set of masks: one name and one value for each, whatever the values of single files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import nibabel as nib
import numpy as np

from medssl.data.folders import parse_label_names
from medssl.files import replacing
from medssl.scans.channels import grid_file
from medssl.scans.integrity import read_whole
from medssl.scans.structure_labels import whole_structures
from medssl.scans.structures import structure_path
from medssl.workflows.segment_facts import MOST_STRUCTURES, MaskFacts, Scan

# What a structure without a name is called, in the segmentations of the command too.
_NUMBERED = re.compile(r"label_\d+")


@dataclass(frozen=True)
class Structures:
    """What the masks show.

    Attributes:
        names: of the values 1, 2, ... that training uses.
        values: in the user's own masks, of each of them.
        of_case: for every case, value in the mask to value in training.
        problems: masks that cannot be used, by case.
    """

    names: dict[int, str]
    values: dict[int, int]
    of_case: dict[str, dict[int, int]]
    problems: dict[str, str]

    def absent(self) -> dict[str, list[str]]:
        """Return the cases whose mask lacks a structure, by its name; structures in all masks are left out."""
        lacking = {
            name: [case for case, values in self.of_case.items() if value not in values.values()]
            for value, name in self.names.items()
        }
        return {name: cases for name, cases in lacking.items() if cases}


def find_structures(masks: Mapping[str, MaskFacts], label_names: str | Mapping[int, str] | None) -> Structures:
    """Give every structure of the masks one value; names decide where there are any, else the values do.

    Args:
        masks: usable masks by case.
        label_names: as in ``1=liver,2=spleen``; None takes the names of 3D Slicer's segmentations, else numbers. Of a
            mapping, as data lists have it, the names that no mask shows are left out.

    Raises:
        ValueError: if there is no mask, a given name is in no mask, named and unnamed masks are mixed, numbers without
            names have nothing in common, or there are too many structures.
    """
    given = _given(label_names, masks)
    _require_alike(masks, given)
    _require_common(masks, given)
    problems, shown = {}, {}
    for case, facts in masks.items():
        try:
            shown[case] = {int(value): _name(int(value), facts, given) for value in facts.counts}
        except LookupError as error:
            problems[case] = str(error.args[0])
    names = _in_order(shown, given)
    own = {name: {v for values in shown.values() for v, other in values.items() if other == name} for name in names}
    if not names:
        reasons = " ".join(f"{case}: {problem}" for case, problem in problems.items())
        raise ValueError(f"No mask can be used, and at least one is needed. {reasons}".strip())
    if len(names) > MOST_STRUCTURES:
        raise ValueError(
            f"The masks show {len(names)} structures, and at most {MOST_STRUCTURES} can be learnt at once."
        )
    numbers = {name: number for number, name in enumerate(names, start=1)}
    unique = all(len(values) == 1 for values in own.values()) and len(set.union(*own.values())) == len(own)
    return Structures(
        names={number: name for name, number in numbers.items()},
        values={number: min(own[name]) if unique else number for name, number in numbers.items()},
        of_case={case: {value: numbers[name] for value, name in values.items()} for case, values in shown.items()},
        problems=problems,
    )


def _given(label_names: str | Mapping[int, str] | None, masks: Mapping[str, MaskFacts]) -> dict[int, str]:
    """Return the names that the user gives, without the background."""
    if isinstance(label_names, Mapping):
        shown = {value for facts in masks.values() if not facts.segments for value in facts.counts}
        segments = {name.casefold() for facts in masks.values() for name in facts.segments.values()}
        return {v: name for v, name in label_names.items() if v and (str(v) in shown or name.casefold() in segments)}
    given = {} if label_names is None else parse_label_names(label_names)
    return {value: name for value, name in given.items() if value}


def training_mask(path: Path, values: Mapping[int, int], copy: Path, scan: Scan, segments: Mapping[int, str]) -> Path:
    """Return the file of a mask with the values of training: the mask itself, or a copy that is written.

    Args:
        path: of the mask.
        values: value in the mask to value in training.
        copy: ``.nii`` file to write where they differ, or where the mask is a DICOM SEG or RTSTRUCT.
        scan: of the mask.
        segments: names of the values in the mask, where it has names.
    """
    is_structures = structure_path(path) is not None
    if not is_structures and all(value == number for value, number in values.items()):
        return path
    whole = whole_structures(path, grid_file(scan), segments) if is_structures else read_whole(path)
    mask = np.zeros(whole.voxels.shape, np.uint8)
    for value, number in values.items():
        mask[np.rint(whole.voxels) == value] = number
    image = nib.Nifti1Image(mask, whole.header.affine)
    image.header.set_xyzt_units("mm")
    with replacing(copy) as temporary:
        nib.save(image, temporary)
    return copy


def _require_alike(masks: Mapping[str, MaskFacts], given: Mapping[int, str]) -> None:
    named = [case for case, facts in masks.items() if not all(map(_NUMBERED.fullmatch, facts.segments.values()))]
    unnamed = [case for case in masks if case not in named]
    if named and unnamed and not given:
        raise ValueError(
            f"The mask of {named[0]} names its structures and that of {unnamed[0]} does not; say what its numbers "
            'mean, as in --label-names "1=liver,2=spleen".'
        )


def _require_common(masks: Mapping[str, MaskFacts], given: Mapping[int, str]) -> None:
    """Require of numbers without names that any two masks share one: else they may mean the same by other numbers."""
    unnamed = {case: facts.counts.keys() for case, facts in masks.items() if not facts.segments and not given}
    for (case, values), (other, others) in combinations(unnamed.items(), 2):
        if not values & others:
            raise ValueError(
                f"The mask of {case} holds {', '.join(values)} and that of {other} holds {', '.join(others)}; say what "
                'the numbers mean, as in --label-names "1=liver,2=spleen", or correct one of them.'
            )


def _name(value: int, facts: MaskFacts, given: Mapping[int, str]) -> str:
    """Return the name of a value of a mask; raises LookupError with a sentence if it has none."""
    if facts.segments:
        name = facts.segments.get(str(value), f"label_{value}")
        known = {other.casefold(): other for other in given.values()}
        if given and name.casefold() not in known:
            raise LookupError(f"its segment '{name}' is none of --label-names; rename the segment or add the name.")
        return known.get(name.casefold(), name)
    if given and value not in given:
        raise LookupError(f"it holds the value {value}, which --label-names does not name; correct the mask or add it.")
    return given.get(value, f"label_{value}")


def _in_order(shown: Mapping[str, Mapping[int, str]], given: Mapping[int, str]) -> list[str]:
    found = {(value, name) for values in shown.values() for value, name in values.items()}
    if given:
        names = {name for _, name in found}
        unused = [f"{value}={name}" for value, name in sorted(given.items()) if name not in names]
        if unused and shown:
            raise ValueError(f"No mask shows {', '.join(unused)}; take it out of --label-names, or label it.")
        return list(given.values()) if shown else []
    return list(dict.fromkeys(name for _, name in sorted(found)))
