"""What a few-label segmentation works on: the usable scans and masks, and why others are left out."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medssl.data.folders import parse_label_names
from medssl.scans.channels import grid_file
from medssl.workflows.segment_datalist import listed_scans
from medssl.workflows.segment_facts import MaskFacts, Scan, ScanFacts, are_known, mask_facts, scan_facts
from medssl.workflows.segment_labels import Structures, find_structures, training_mask
from medssl.workflows.segment_listing import Listing, list_scans
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase

# A field of view that is this many times longer or shorter than the labelled ones, along an axis, gets a note.
_OTHER_FIELD_OF_VIEW = 2.0
_READ_SECONDS = 1.0
# That an error lists.
_REASONS = 5


@dataclass(frozen=True)
class Inputs:
    """Scans and masks that can be used.

    Attributes:
        scans: by case.
        facts: of the scans, by case.
        masks: file by case, with the user's own values.
        structures: what the masks show.
        modality: of the scans.
        modality_reason: how it was found.
        problems: one sentence for every file left out, by its name.
        notes: warnings by case.
        channels: names of the channels, where scans have several.
    """

    scans: dict[str, Scan]
    facts: dict[str, ScanFacts]
    masks: dict[str, Path]
    mask_facts: dict[str, MaskFacts]
    structures: Structures
    modality: str
    modality_reason: str
    problems: dict[str, str]
    notes: dict[str, list[str]]
    channels: tuple[str, ...] = ()

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
    scans: Path,
    labels: Path | None,
    output_dir: Path,
    modality: str | None,
    label_names: str | None,
    display: Display,
) -> Inputs:
    """List and read scans and masks.

    Args:
        scans: folder of scans, or a data list.
        labels: folder of masks; None takes those of a data list.
        output_dir: folder of the results.
        modality: CT or MR; None finds it.
        label_names: as in ``1=liver,2=spleen``; None takes them from the masks.
        display: shows the progress.

    Raises:
        ValueError: if no scan or no mask can be used, names do not fit the masks, or there is nothing to segment.
    """
    listing = _listing(scans, labels, output_dir)
    names = _unlike_names(listing.scans)
    given, label_names = modality, listing.label_names if label_names is None else label_names
    kept = output_dir / "work" / "facts"
    unread = sum(not are_known(scan, kept / f"{case}.json") for case, scan in listing.scans.items())
    display.left.expect("read", unread, _READ_SECONDS)
    facts = {case: _scan_facts(case, scan, kept, display) for case, scan in listing.scans.items()}
    problems = {case: found.problem for case, found in facts.items() if found.problem}
    masks = {
        case: mask_facts(path, listing.scans[case], kept / f"{case}.mask.json", _names(label_names))
        for case, path in listing.labels.items()
        if case not in problems
    }
    _require_masks(listing, problems, masks)
    structures = find_structures({case: found for case, found in masks.items() if not found.problem}, label_names)
    of_masks = {case: found.problem for case, found in masks.items() if found.problem} | structures.problems
    usable = {case: found for case, found in facts.items() if case not in problems}
    problems |= _other_channels(usable, structures)
    usable = {case: found for case, found in usable.items() if case not in problems}
    chosen, reason, others = _modality(given or listing.modality, usable, structures)
    problems |= others
    usable = {case: found for case, found in usable.items() if case not in problems}
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
        problems={
            **listing.problems,
            **{names[case]: text for case, text in problems.items()},
            **{listing.labels[case].name: text for case, text in of_masks.items()},
        },
        notes=_notes(usable, {case: masks[case].warnings for case in of_case}),
        channels=_channels(listing, usable),
    )


def _require_masks(listing: Listing, problems: Mapping[str, str], masks: Mapping[str, MaskFacts]) -> None:
    """Raises ValueError, with all reasons, if no mask can be used."""
    if any(not found.problem for found in masks.values()):
        return
    reasons = [f"{name}: {text}" for name, text in listing.problems.items()]
    reasons += [f"{scan_name(listing.scans[case])}: {problems[case]}" for case in listing.labels if case in problems]
    reasons += [f"{listing.labels[case].name}: {found.problem}" for case, found in masks.items()]
    if not reasons:
        example = scan_name(next(iter(listing.scans.values())))
        raise ValueError(f"There is no mask, and at least one is needed, named after its scan, such as {example}.")
    more = f" And {len(reasons) - _REASONS} more." if len(reasons) > _REASONS else ""
    raise ValueError(f"No mask can be used, and at least one is needed. {' '.join(reasons[:_REASONS])}{more}".strip())


def scan_name(scan: Scan) -> str:
    """Return what messages call a scan: its file, or the first one of its channels."""
    return grid_file(scan).name


def _unlike_names(scans: Mapping[str, Scan]) -> dict[str, str]:
    """Return the names of scans by case: paths where files in several folders have one name."""
    counts = Counter(map(scan_name, scans.values()))
    return {
        case: scan_name(scan) if counts[scan_name(scan)] == 1 else str(grid_file(scan)) for case, scan in scans.items()
    }


def _listing(scans: Path, labels: Path | None, output_dir: Path) -> Listing:
    for folder in (scans, labels):
        if folder is not None and folder.resolve() == output_dir.resolve():
            raise ValueError(f"--out is {folder}, the folder of your scans or masks; give another one.")
    if scans.is_file():
        return listed_scans(scans, labels, output_dir)
    if labels is None:
        raise ValueError(f"{scans} is a folder, so --labels must name the folder of its masks.")
    return list_scans(scans, labels, output_dir)


def _names(label_names: str | Mapping[int, str] | None) -> list[str]:
    """Return the names of structures that are asked for; none where all are."""
    if label_names is None:
        return []
    names = label_names if isinstance(label_names, Mapping) else parse_label_names(label_names)
    return [name for value, name in names.items() if value]


def _channels(listing: Listing, facts: Mapping[str, ScanFacts]) -> tuple[str, ...]:
    count = next(iter(facts.values())).channels
    return (listing.channels or tuple(f"channel {number}" for number in range(count))) if count > 1 else ()


def _other_channels(facts: Mapping[str, ScanFacts], structures: Structures) -> dict[str, str]:
    """Return the scans with another number of channels than the labelled ones, with a sentence."""
    counts = Counter(facts[case].channels for case in structures.of_case)
    wanted, _ = counts.most_common(1)[0]
    return {
        case: f"it has {found.channels} channel{'s' * (found.channels > 1)}, and the labelled scans have {wanted}; "
        "add the others, or segment it with labels of its own."
        for case, found in facts.items()
        if found.channels != wanted
    }


def _scan_facts(case: str, scan: Scan, kept: Path, display: Display) -> ScanFacts:
    file = kept / f"{case}.json"
    if are_known(scan, file):
        return scan_facts(scan, file)
    with display.unit("read", f"Read {scan_name(scan)}"):
        return scan_facts(scan, file)


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
