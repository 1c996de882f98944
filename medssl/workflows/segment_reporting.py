"""What the report of a few-label segmentation says."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from medssl.evaluation.segment_measures import Measure, flags
from medssl.evaluation.segment_report import ScanRow, SegmentReport, StructureRow
from medssl.evaluation.segment_thumbnail import structure_colours
from medssl.workflows.segment_backbone import Backbone
from medssl.workflows.segment_chosen import Choice
from medssl.workflows.segment_inputs import Inputs, scan_name
from medssl.workflows.segment_predictions import Found

_SUGGESTED = 3
# Least mean Dice on scans left out, and what segmentations like that are worth.
_WORTH = (
    (0.85, "most outlines should need little correction."),
    (0.6, "take the outlines for drafts to correct."),
    (0.0, "take the outlines for rough drafts; many are wrong. More labelled scans help most."),
)
_WEAK = "Other patients differ more than two parts of one scan, so a second labelled scan tells much more."
_BACKWARDS = "A second labelled scan gives a better estimate, and better outlines."
_CORRECTED = "this segmentation was changed by hand, and kept; save it into the folder of labels to learn from it."


def segment_report(
    inputs: Inputs,
    start: Backbone,
    choice: Choice,
    absent: str,
    segmented: Mapping[str, Found],
    labelled: Mapping[str, Found],
    problems: Mapping[str, str],
) -> SegmentReport:
    """Return the content of the report.

    Args:
        inputs: scans and masks.
        start: what the network started from.
        choice: the network.
        absent: what a structure is that a mask lacks.
        segmented: by case.
        labelled: by case.
        problems: one sentence for everything left out, by the name of its file.
    """
    names = inputs.structures.names
    order = sorted(segmented, key=lambda case: _certainty(segmented[case], names))
    known = [found.measures for found in labelled.values()]
    rows = {}
    for case in order:
        others = [found.measures for other, found in segmented.items() if other != case]
        rows[case] = _row(inputs, case, segmented[case], known, others)
    return SegmentReport(
        title=f"{len(segmented)} scan{'s' * (len(segmented) != 1)} segmented from {len(labelled)} labelled",
        in_short=_in_short(start, choice),
        colours=structure_colours(list(names.values())),
        facts=_facts(inputs, start, choice, absent),
        expected=choice.expected(),
        expected_note=_expected_note(choice, len(labelled)),
        next_scans={case: _reason(segmented[case], rows[case], names) for case in order[:_SUGGESTED]},
        left_out=problems,
        segmented=list(rows.values()),
        labelled=[_row(inputs, case, found) for case, found in labelled.items()],
    )


def _in_short(start: Backbone, choice: Choice) -> str:
    dice = choice.expected().get("mean of all")
    made_by = f"Made by {choice.method}; it started from {start.name}"
    if dice is None:
        return f"{made_by}. Nothing says yet how good it is: take the outlines for first drafts, and check each."
    worth = next(text for least, text in _WORTH if round(dice, 2) >= least)
    tested_on, weak = "labelled scans that it had not seen", ""
    if choice.on_part:
        tested_on, weak = "a part of your labelled scan that it had not seen", f" {_WEAK}"
    if choice.backwards:
        tested_on, weak = "your labelled scan, learning only from labels carried to others", f" {_BACKWARDS}"
    return (
        f"On {tested_on}, the network reached a mean Dice of {dice:.2f} (overlap with your masks: 1 is the same, 0 has "
        f"nothing in common): {worth}{weak} {made_by}."
    )


def _facts(inputs: Inputs, start: Backbone, choice: Choice, absent: str) -> dict[str, str]:
    data = start.data
    spacing, patch = (" x ".join(f"{size:g}" for size in data[key]) for key in ("spacing", "patch_size"))
    facts = {
        "Modality": inputs.modality_reason,
        "Starting from": start.reason,
        "Network": choice.reason,
        "Seen at": f"{spacing} mm, in windows of {patch} voxels.",
        **_why(start, data),
        "Masks": f"{len(inputs.masks)}: {', '.join(inputs.masks)}.",
    }
    if inputs.channels:
        facts["Channels"] = f"{len(inputs.channels)}: {', '.join(inputs.channels)}; pictures show the first."
    for name, cases in inputs.structures.absent().items():
        meant = "counts as background" if absent == "background" else "is ignored: it may be there and not be drawn"
        facts[f"No {name}"] = f"in {len(cases)} of {len(inputs.masks)} masks ({', '.join(cases)}), where it {meant}."
    return facts


def _why(start: Backbone, data: Mapping[str, Any]) -> dict[str, str]:
    """Return why voxels and levels are as they are, where that followed from the masks."""
    spacing, levels = start.advice.get("spacing"), start.advice.get("num_levels")
    if spacing is None or levels is None:
        return {}
    why = {"These voxels": spacing.reason} if list(data["spacing"]) == list(spacing.value) else {}
    return {**why, f"{levels.value} levels": levels.reason}


def _expected_note(choice: Choice, num_labelled: int) -> str:
    if not choice.scores:
        return "Unknown. With a second labelled scan, this table shows the Dice of every structure."
    if choice.on_part:
        return (
            f"An estimate: Dice on a {next(iter(choice.scores))}, your only labelled scan, by a network that learnt "
            "from the rest of it. It may be too high, because other patients differ more than parts of one scan, or "
            f"too low, because the rest of a scan teaches less than all of it. {_WEAK}"
        )
    if choice.backwards:
        return (
            f"An estimate: labels were carried from {next(iter(choice.scores))}, your only labelled scan, to other "
            "scans; a network that learnt from those alone segmented it in turn, and this is the Dice of that. It is "
            f"often too high, as an error that is undone on the way back does not show. {_BACKWARDS}"
        )
    number = len(choice.scores)
    return (
        f"Dice on {number} of your {num_labelled} labelled scans ({', '.join(choice.scores)}), each segmented by a "
        "network that learnt from the others only. The one that segmented your scans learnt from all "
        f"{num_labelled}. So few scans give a rough idea, no more."
    )


def _row(
    inputs: Inputs,
    case: str,
    found: Found,
    labelled: Sequence[Mapping[int, Measure]] = (),
    others: Sequence[Mapping[int, Measure]] = (),
) -> ScanRow:
    rows = []
    for value, name in inputs.structures.names.items():
        shown = found.measures.get(value)
        said = flags(value, shown, labelled, others) if labelled else []
        rows.append(StructureRow(name, shown and shown.volume_ml, found.confidence.get(value), said))
    notes = [*inputs.notes[case], *([_CORRECTED] if found.corrected else [])]
    outputs = [f"segmentations/{case}{ending}" for ending in found.endings] if labelled else []
    return ScanRow(case, scan_name(inputs.scans[case]), rows, found.picture, notes, outputs)


def _certainty(found: Found, names: Mapping[int, str]) -> float:
    """Mean confidence over the structures; one that was not found counts as 0."""
    return float(np.mean([found.confidence.get(value, 0.0) for value in names]))


def _reason(found: Found, row: ScanRow, names: Mapping[int, str]) -> str:
    least = min(names, key=lambda value: found.confidence.get(value, 0.0))
    marked = sum(bool(structure.flags) for structure in row.structures)
    confidence = found.confidence.get(least)
    worst = f"{names[least]} was not found" if confidence is None else f"{names[least]} at {confidence:.2f}"
    flagged = f"; {marked} structure{'s' * (marked != 1)} to look at" if marked else ""
    return f"mean confidence {_certainty(found, names):.2f}, least: {worst}{flagged}."
