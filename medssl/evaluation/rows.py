"""The handler that turns predictions into rows of results."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from ignite.engine import Engine, Events
from monai.transforms import Orientation

from medssl.evaluation.case_slices import case_slice, slices_folder, spread, to_bytes, write_slices
from medssl.evaluation.metrics import case_rows, write_rows
from medssl.evaluation.summary import case_means
from medssl.scans.loading_2d import load_label


class WriteRows:
    """Handler for an evaluator that writes one row per case and class, on the grid of each case's label.

    Every batch holds one case with the keys ``case``, ``image`` (preprocessed), ``label``, the path of its reference,
    what reading it needs (``label_colours``, ``label_scan``, ``label_names``; see
    `medssl.data.datalist.load_section`), and perhaps ``group``, which the rows repeat; the output holds the predicted
    label map ``pred`` on the grid of the scan. Distances are in mm, for pictures in pixels. The rows are
    written together when all cases are done, and beside them one slice of the best, the middle and the worst case, for
    the pictures of a report.

    Args:
        path: JSON lines file; the rows that it held are replaced.
        class_names: name of every label value; JSON keys, so numbers as text are fine.
        identity: further fields of every row: method, setting, labels, fold.
        surface_tolerance_mm: of the surface Dice.
    """

    def __init__(
        self,
        path: str,
        class_names: Mapping[str | int, str],
        identity: Mapping[str, Any],
        surface_tolerance_mm: float = 1.0,
    ) -> None:
        self.path = Path(path)
        self.class_names = {int(value): name for value, name in class_names.items()}
        self.identity = dict(identity)
        self.surface_tolerance_mm = surface_tolerance_mm
        self.rows: list[dict[str, Any]] = []
        self.slices: dict[str, bytes] = {}

    def attach(self, engine: Engine) -> None:
        """Collect rows after each case and write them at the end."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self.rows, self.slices = [], {}

    def __call__(self, engine: Engine) -> None:
        """Compare the predictions of this batch with their references.

        Raises:
            ValueError: naming the case, if prediction and label have different grids.
        """
        for sample, output in zip(engine.state.batch, engine.state.output, strict=True):
            place = {"scan": sample.get("label_scan"), "names": sample.get("label_names")}
            label = load_label(sample["label"], sample.get("label_colours"), **place)
            # A label may store the same voxels in another axis order than its scan.
            prediction = Orientation("".join(nibabel.aff2axcodes(label.affine)), labels=None)(output["pred"])
            if prediction.shape != label.shape or not np.allclose(prediction.affine, label.affine, atol=1e-2):
                raise ValueError(
                    f"Case {sample['case']}: its label {sample['label']} lies on another grid than its scan; "
                    "run `medssl check` on the data list."
                )
            spacing = nibabel.affines.voxel_sizes(np.asarray(label.affine))
            self.rows += case_rows(
                prediction.numpy().astype(np.int64),
                np.rint(label.numpy()).astype(np.int64),
                spacing,
                self.class_names,
                self.surface_tolerance_mm,
                image_mean=float(sample["image"].float().mean()),
                **self.identity,
                case=sample["case"],
                **({"group": sample["group"]} if "group" in sample else {}),
            )
            self.slices[sample["case"]] = to_bytes(case_slice(sample["image"], label, prediction, self.class_names))

    def _write(self, engine: Engine) -> None:
        shown = spread({case: dice for (_, case), dice in case_means(self.rows).items()})
        write_slices(slices_folder(self.path), {case: self.slices[case] for case in shown})
        write_rows(self.path, self.rows)
