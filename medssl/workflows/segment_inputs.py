"""What a few-label segmentation works on: the usable scans and masks, and why others are left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.folders import parse_label_names
from medssl.workflows.segment_facts import MaskFacts, ScanFacts, are_known, mask_facts, scan_facts
from medssl.workflows.segment_labels import Structures, find_structures, training_mask
from medssl.workflows.segment_listing import list_scans
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase

# A field of view that is this many times longer or shorter than the labelled ones, along an axis, gets a note.
_OTHER_FIELD_OF_VIEW = 2.0
_READ_SECONDS = 1.0


@dataclass(frozen=True)
class Inputs:
    """Scans and masks that can be used.

    Attributes:
        scans: file or folder by case.
        facts: of the scans, by case.
        masks: file by case, with the user's own values.
        structures: what the masks show.
        modality: of the scans.
        modality_reason: how it was found.
        problems: one sentence for every file left out, by its name.
        notes: warnings by case.
    """

    scans: dict[str, Path]
    facts: dict[str, ScanFacts]
    masks: dict[str, Path]
    mask_facts: dict[str, MaskFacts]
    structures: Structures
    modality: str
    modality_reason: str
    problems: dict[str, str]
    notes: dict[str, list[str]]

    def labelled(self, folder: Path) -> list[LabelledCase]:
        """Return the labelled scans, their masks with the values of training, which may be copies in a folder."""
        return [
            LabelledCase(
                case,
                self.scans[case],
                training_mask(self.masks[case], values, folder / f"{case}.nii", self.scans[case], self._segments(case)),
                f"{self.facts[case].content} {self.mask_facts[case].content} {sorted(values.items())}",
            )
            for case, values in sorted(self.structures.of_case.items())
        ]

    def _segments(self, case: str) -> dict[int, str]:
        return {int(value): name for value, name in self.mask_facts[case].segments.items()}

    def unlabelled(self) -> list[str]:
        """Return the cases that are to be segmented."""
        return sorted(set(self.scans) - set(self.structures.of_case))


def read_inputs(
    scans: Path, labels: Path, output_dir: Path, modality: str | None, label_names: str | None, display: Display
) -> Inputs:
    """List and read scans and masks.

    Args:
        scans, labels, output_dir: folders.
        modality: CT or MR; None finds it.
        label_names: as in ``1=liver,2=spleen``; None takes them from the masks.
        display: shows the progress.

    Raises:
        ValueError: if no scan or no mask can be used, names do not fit the masks, or there is nothing to segment.
    """
    listing = list_scans(scans, labels, output_dir)
    problems = dict(listing.problems)
    kept = output_dir / "work" / "facts"
    unread = sum(not are_known(path, kept / f"{case}.json") for case, path in listing.scans.items())
    display.left.expect("read", unread, _READ_SECONDS)
    facts = {case: _scan_facts(case, path, kept, display) for case, path in listing.scans.items()}
    usable = {case: found for case, found in facts.items() if not found.problem}
    problems |= {listing.scans[case].name: found.problem for case, found in facts.items() if found.problem}
    names = () if label_names is None else [name for value, name in parse_label_names(label_names).items() if value]
    masks = {
        case: mask_facts(path, listing.scans[case], kept / f"{case}.mask.json", names)
        for case, path in listing.labels.items()
        if case in usable
    }
    problems |= {listing.labels[case].name: found.problem for case, found in masks.items() if found.problem}
    structures = find_structures({case: found for case, found in masks.items() if not found.problem}, label_names)
    problems |= {listing.labels[case].name: text for case, text in structures.problems.items()}
    chosen, reason, others = _modality(modality, usable, structures)
    problems |= {listing.scans[case].name: text for case, text in others.items()}
    usable = {case: found for case, found in usable.items() if case not in others}
    of_case = {case: values for case, values in structures.of_case.items() if case in usable}
    structures = Structures(structures.names, structures.values, of_case, structures.problems)
    return Inputs(
        scans={case: listing.scans[case] for case in usable},
        facts=usable,
        masks={case: listing.labels[case] for case in of_case},
        mask_facts=masks,
        structures=structures,
        modality=chosen,
        modality_reason=reason,
        problems=problems,
        notes=_notes(usable, {case: masks[case].warnings for case in of_case}),
    )


def _scan_facts(case: str, path: Path, kept: Path, display: Display) -> ScanFacts:
    file = kept / f"{case}.json"
    if are_known(path, file):
        return scan_facts(path, file)
    with display.unit("read", f"Read {path.name}"):
        return scan_facts(path, file)


def _modality(
    given: str | None, facts: Mapping[str, ScanFacts], structures: Structures
) -> tuple[str, str, dict[str, str]]:
    """Return the modality, how it was found, and the scans of another one with a sentence."""
    counts = Counter(facts[case].modality for case in structures.of_case)
    chosen, _ = counts.most_common(1)[0]
    if given is not None:
        return given, f"{given}, as given.", {}
    reason = f"{chosen}: DICOM says so, or the values do (CT has values of air far below 0); --modality sets it."
    others = {
        case: f"it looks like {found.modality}, and the labelled scans are {chosen}; segment it with labels of its "
        "own, or say --modality if this is wrong."
        for case, found in facts.items()
        if found.modality != chosen
    }
    return chosen, reason, others


def _notes(facts: Mapping[str, ScanFacts], labelled: Mapping[str, list[str]]) -> dict[str, list[str]]:
    usual = np.median([facts[case].extent for case in labelled], axis=0)
    notes = {case: [*found.warnings, *labelled.get(case, [])] for case, found in facts.items()}
    seen: dict[str, str] = {}
    for case, found in facts.items():
        ratios = np.array(found.extent) / usual
        if ((ratios > _OTHER_FIELD_OF_VIEW) | (ratios < 1 / _OTHER_FIELD_OF_VIEW)).any():
            sizes = " x ".join(f"{size:.0f}" for size in found.extent)
            wanted = " x ".join(f"{size:.0f}" for size in usual)
            notes[case].append(f"its field of view is {sizes} mm, that of the labelled scans {wanted} mm.")
        if found.content in seen:
            notes[case].append(f"it has the same voxels as {seen[found.content]}.")
        seen.setdefault(found.content, case)
    return notes
