"""Labels that people drew, carried by registration to scans that have none, for the probe of `Labelling`."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from rich.console import Console

from medssl.files import file_sha256, replacing
from medssl.packaging.loading import LoadedBundle
from medssl.workflows.segment_carry import Carrier, carrying_targets
from medssl.workflows.segment_predict import load_volume
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase, UnlabelledCase
from medssl.workflows.segments import meant_labels


@dataclass(frozen=True)
class LabelledScan:
    """A scan and the label that was saved of it.

    Attributes:
        case: id of the scan.
        image: file of the scan.
        label: file of the label map.
        segments: names of its values 1, 2, ... in order; empty: the values are those of the labels.
    """

    case: str
    image: Path
    label: Path
    segments: Sequence[str] = ()


class CarriedLabels:
    """Labels of some scans, carried to others.

    Args:
        bundle: whose backbone and preprocessing are used.
        folder: of the masks, which are kept.
        labels: value to name.
        scans: all labelled scans.
        others: scans without a label, by case; labels are carried to some of them.
        number: of those.
    """

    def __init__(
        self,
        bundle: LoadedBundle,
        folder: Path,
        labels: Mapping[int, str],
        scans: Sequence[LabelledScan],
        others: Mapping[str, Path],
        number: int,
    ) -> None:
        self.folder = folder
        self.labels = labels
        # Chosen by their names, as an archive takes long to read.
        chosen = carrying_targets([UnlabelledCase(case, image, case) for case, image in others.items()], number)
        self._carrier = None
        if not chosen:
            return
        targets = [replace(target, content=file_sha256(target.image)) for target in chosen]
        self._cases = {scan.case: self._case(scan) for scan in scans}
        labelled, display = list(self._cases.values()), Display(Console(quiet=True))
        self._carrier = Carrier(bundle, folder, labelled, targets, len(labels), display)

    def __call__(self, scans: Sequence[LabelledScan], left_out: LabelledScan | None = None) -> list[LabelledScan]:
        """Return scans with the labels carried to them; none where there are too few to carry to.

        Args:
            scans: whose labels are carried.
            left_out: a labelled scan that is given labels as if it had none.
        """
        if self._carrier is None:
            return []
        cases, more = [self._cases[scan.case] for scan in scans], []
        if left_out is not None:
            case = self._cases[left_out.case]
            more = [UnlabelledCase(case.case, case.image, case.content)]
        return [LabelledScan(case.case, case.image, case.label) for case in self._carrier.carried(cases, more)]

    def _case(self, scan: LabelledScan) -> LabelledCase:
        """Return a scan with a mask of the values of the labels."""
        decided_by = [file_sha256(scan.label), *scan.segments, *self.labels.values()]
        mask = self.folder / f"{scan.case}-{hashlib.sha256(repr(decided_by).encode()).hexdigest()[:16]}.nii"
        if not mask.is_file():
            drawn = load_volume(scan.label)
            values = meant_labels(drawn[0].numpy(), scan.segments, self.labels, str(scan.label))
            with replacing(mask) as temporary:
                nib.save(nib.Nifti1Image(values, drawn.affine.numpy().astype(np.float64)), temporary)
        return LabelledCase(scan.case, scan.image, mask, f"{file_sha256(scan.image)} {file_sha256(mask)}")
