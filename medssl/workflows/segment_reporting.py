"""What the report of a few-label segmentation says."""

from collections.abc import Mapping, Sequence

import numpy as np

from medssl.evaluation.figures import colours
from medssl.evaluation.segment_measures import Measure, flags
from medssl.evaluation.segment_report import ScanRow, SegmentReport, StructureRow
from medssl.workflows.segment_backbone import Backbone
from medssl.workflows.segment_inputs import Inputs
from medssl.workflows.segment_predictions import ENDINGS, Found

_SUGGESTED = 3
_CORRECTED = "this segmentation was changed by hand, and kept; save it into the folder of labels to learn from it."


def segment_report(
    inputs: Inputs,
    start: Backbone,
    segmented: Mapping[str, Found],
    labelled: Mapping[str, Found],
    problems: Mapping[str, str],
) -> SegmentReport:
    """Return the content of the report.

    Args:
        inputs: scans and masks.
        start: what the network started from.
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
        title=f"{len(segmented)} scans segmented from {len(labelled)} labelled ones",
        colours=dict(zip(names.values(), colours(len(names)), strict=True)),
        facts={"Modality": inputs.modality_reason, "Starting from": start.reason},
        expected={},
        expected_note="Unknown.",
        next_scans={case: _reason(segmented[case], rows[case], names) for case in order[:_SUGGESTED]},
        left_out=problems,
        segmented=list(rows.values()),
        labelled=[_row(inputs, case, found) for case, found in labelled.items()],
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
    outputs = [f"segmentations/{case}{ending}" for ending in ENDINGS] if labelled else []
    return ScanRow(case, inputs.scans[case].name, rows, found.picture, notes, outputs)


def _certainty(found: Found, names: Mapping[int, str]) -> float:
    """Mean confidence over the structures; one that was not found counts as 0."""
    return float(np.mean([found.confidence.get(value, 0.0) for value in names]))


def _reason(found: Found, row: ScanRow, names: Mapping[int, str]) -> str:
    least = min(names, key=lambda value: found.confidence.get(value, 0.0))
    marked = sum(bool(structure.flags) for structure in row.structures)
    confidence = found.confidence.get(least)
    worst = f"{names[least]} was not found" if confidence is None else f"{names[least]} at {confidence:.2f}"
    return f"mean confidence {_certainty(found, names):.2f}, least: {worst}; {marked} structures to look at."
