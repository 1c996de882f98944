"""The embedded data set: synthetic scans of abdomens with exact labels."""

import logging
import os
from collections.abc import Sequence
from itertools import count, islice
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from medssl.files import require_empty_folder, staging_folder, write_json
from medssl.phantom.anatomy import LABELS
from medssl.phantom.scan import phantom_case

__all__ = ["phantom_case", "write_phantom"]

_log = logging.getLogger(__name__)
# Number of seeds reserved for one set.
_MAX_CASES = 10_000
_LIST = "datalist.json"


def write_phantom(
    output_dir: str | os.PathLike[str],
    num_cases: int = 16,
    *,
    num_labelled: int = 6,
    num_validation: int = 2,
    num_test: int = 4,
    modality: str = "CT",
    shape: Sequence[int] = (96, 80, 40),
    spacing: Sequence[float] = (2.35, 2.35, 4.25),
    seed: int = 0,
) -> Path:
    """Write a set of phantoms with its data list, and return the path of the list, ``datalist.json``.

    Cases outside the three labelled sections form the section ``unlabeled``; their labels are not written. The spacing
    of every case differs from the given one by up to 8 %. The folder is filled only at the end, so a run that stops
    early leaves nothing.

    Args:
        output_dir: new or empty folder.
        num_cases: number of cases in all sections together, at most 10 000.
        num_labelled: cases in the section ``training``.
        num_validation: cases in the section ``validation``.
        num_test: cases in the section ``test``.
        modality: ``CT`` or ``MR``.
        shape: voxels of every volume.
        spacing: size of a voxel in mm.
        seed: seed of the whole set; sets with different seeds share no case.

    Raises:
        FileExistsError: if the folder is not empty.
        ValueError: if the sections do not fit into `num_cases`, or a phantom cannot be made (see `phantom_case`).

    Example:
        >>> import json, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = write_phantom(folder, 2, num_labelled=1, num_validation=0, num_test=0, shape=(32, 24, 16))
        ...     [len(json.loads(path.read_text(encoding="utf-8"))[section]) for section in ("training", "unlabeled")]
        [1, 1]
    """
    output = Path(output_dir)
    counts = _section_counts(num_cases, num_labelled, num_validation, num_test)
    require_empty_folder(output, "phantom")
    with staging_folder(output, last=_LIST) as staging:
        sections: dict[str, list[dict[str, str]]] = {}
        seeds = count(seed * _MAX_CASES)
        for section, size in counts.items():
            sections[section] = [
                _write_case(staging, case, section != "unlabeled", modality, shape, spacing)
                for case in islice(seeds, size)
            ]
        write_json(staging / _LIST, _datalist(modality, seed, sections))
    _log.info("Wrote %d phantoms to %s", num_cases, output)
    return output / _LIST


def _section_counts(num_cases: int, num_labelled: int, num_validation: int, num_test: int) -> dict[str, int]:
    """Return the number of cases of every section."""
    counts = {"training": num_labelled, "validation": num_validation, "test": num_test}
    counts["unlabeled"] = num_cases - sum(counts.values())
    if min(counts.values()) < 0 or not 0 < num_cases <= _MAX_CASES:
        raise ValueError(
            f"{num_labelled} labelled, {num_validation} validation and {num_test} test cases do not fit into "
            f"num_cases={num_cases}; give counts of 0 or more, and num_cases from their sum to {_MAX_CASES}."
        )
    return counts


def _write_case(
    folder: Path, seed: int, labelled: bool, modality: str, shape: Sequence[int], spacing: Sequence[float]
) -> dict[str, str]:
    """Write one case below `folder` and return its entry of the data list."""
    rng = np.random.default_rng((seed, 1))
    in_plane, between = rng.uniform(0.92, 1.08, 2)
    own_spacing = np.asarray(spacing) * (in_plane, in_plane, between)
    image, label, affine = phantom_case(seed, modality, shape, own_spacing)
    case = f"phantom_{modality.lower()}_{seed % _MAX_CASES:03d}"
    entry = {"case": case}
    for kind, array in (("image", image), ("label", label))[: 1 + labelled]:
        entry[kind] = f"{kind}s/{case}.nii.gz"
        path = folder / entry[kind]
        path.parent.mkdir(exist_ok=True)
        nifti = nib.Nifti1Image(array, affine)
        nifti.header.set_xyzt_units("mm")
        nifti.set_sform(affine, code="scanner")
        nifti.set_qform(affine, code="scanner")
        nib.save(nifti, path)
    return entry


def _datalist(modality: str, seed: int, sections: dict[str, list[dict[str, str]]]) -> dict[str, Any]:
    labels = {"0": "background"} | {str(label): name for label, name in LABELS.items()}
    return {"name": f"phantom_{modality.lower()}_{seed}", "modality": modality, "labels": labels, **sections}
