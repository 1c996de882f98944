"""What the structures of a few masks are like, kept until a mask changes, and what was advised from them."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from medssl.advice.measures import StructureMeasures
from medssl.files import write_json
from medssl.workflows.advising import summary
from medssl.workflows.measuring import CaseMeasures, measure_case
from medssl.workflows.segment_backbone import Backbone
from medssl.workflows.segment_training import LabelledCase

logger = logging.getLogger(__name__)
# Raised when the same files would give other measures.
_VERSION = 1
# More scans would hardly move a median.
_MOST_CASES = 3


def structures_of(
    cases: Sequence[LabelledCase], names: Mapping[int, str], modality: str, folder: Path
) -> dict[str, StructureMeasures]:
    """Return the measures of every structure, medians over at most three labelled scans.

    Args:
        cases: labelled scans; at least one.
        names: of the label values 1, 2, ...
        modality: of the scans.
        folder: keeps the measures.

    Raises:
        ValueError: if a file cannot be used.
    """
    labels = {0: "background", **names}
    _, structures, _ = summary([_measured(case, labels, modality, folder) for case in cases[:_MOST_CASES]])
    return structures


def log_advice(start: Backbone, given: Mapping[str, object]) -> None:
    """Log each setting that follows from the structures with its reason; settings of the user win over it.

    Args:
        start: what was chosen.
        given: settings of the user.
    """
    for name, (value, reason) in start.advice.items():
        if name not in given:
            logger.info("%s %s: %s", name, value, reason)


def _measured(case: LabelledCase, labels: Mapping[int, str], modality: str, folder: Path) -> CaseMeasures:
    kept, key = folder / f"{case.case}.json", f"{_VERSION} {case.content} {sorted(labels.items())}"
    try:
        content = json.loads(kept.read_text(encoding="utf-8"))
        if content["key"] == key:
            structures = {name: StructureMeasures(**found) for name, found in content["structures"].items()}
            return CaseMeasures(structures, content["spacing"], content["extent"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    found = measure_case(case.image, case.label, labels, modality=modality)
    structures = {name: asdict(measured) for name, measured in found.structures.items()}
    write_json(kept, {"key": key, "structures": structures, "spacing": found.spacing, "extent": found.extent})
    return found
