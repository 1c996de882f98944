"""A probe as a run: features of the labelled cases, the fit, the weights, and what was measured."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from medssl.data.datalist import load_few_labels, load_section, read_datalist
from medssl.files import write_json
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.probe.batches import FeatureCases
from medssl.probe.cache import FeatureCache
from medssl.probe.copies import Copies, Rows
from medssl.probe.dice import head_dice
from medssl.probe.fit import Fit, fit_head
from medssl.probe.rows import VoxelRows, known_rows
from medssl.runs.tensors import save_atomically

logger = logging.getLogger(__name__)


class SolvedProbe:
    """Fits the linear head of a network to the labelled cases of a data list, by `medssl.probe.fit.fit_head`.

    `run` writes ``model.pt``, ``probe.json`` (what was measured) and TensorBoard's log of the solver. Memory is bounded
    by `max_voxels`: they are shared evenly by the cases, and chosen so that every class has enough of them. Voxels of
    the value `medssl.probe.rows.IGNORED` are left out. Cases of the section ``validation``, where there are any, are
    measured and decide nothing.

    Args:
        network: its head is fitted.
        datalist: the data list.
        num_labels: number of labelled cases; None takes all.
        fold: which of the seeded nested subsets of labelled cases.
        preprocessing: deterministic transform that gives ``image`` and ``label``.
        features: where they are computed and kept.
        num_classes: number of foreground classes.
        class_names: label value to name; None names none.
        output_dir: the run folder.
        l2: weight of the penalty; None chooses it, see `medssl.probe.fit.fit_head`.
        max_voxels: of all labelled cases together.
        max_evaluations: of the loss, at most.
        tolerance: of the gradient, see `medssl.probe.solve.solve`.
        absent: what a class is where a label lacks it, see `medssl.probe.fit.fit_head`.
        copied: altered copies of every labelled scan that the head learns from too; None makes none.

    Raises:
        ValueError: if the head is not linear.
    """

    def __init__(
        self,
        network: SegmentationNetwork,
        datalist: str,
        num_labels: int | None,
        fold: int,
        preprocessing: Callable[[dict[str, Any]], Mapping[str, Any]],
        features: FeatureCache,
        num_classes: int,
        class_names: Mapping[str, str] | None,
        output_dir: str,
        l2: float | None = None,
        max_voxels: int = 100_000,
        max_evaluations: int = 1000,
        tolerance: float = 3e-4,
        absent: str = "background",
        copied: Copies | None = None,
    ) -> None:
        if not isinstance(network.head, LinearHead):
            raise ValueError(
                f"Only a linear head can be solved, not {type(network.head).__name__}; train it: --with paper_probe."
            )
        names = class_names or {}
        self.network = network
        self.cases = load_few_labels(datalist, "training", num_labels, fold)
        validated = read_datalist(datalist).sections["validation"]
        self.validation = load_section(datalist, "validation") if validated else []
        self.preprocessing = preprocessing
        self.features = features
        self.class_names = [names.get(str(value), f"class {value}") for value in range(1, num_classes + 1)]
        self.output_dir = Path(output_dir)
        self.settings = {"l2": l2, "max_evaluations": max_evaluations, "tolerance": tolerance, "absent": absent}
        self.max_voxels = max_voxels
        self.copied = copied

    def run(self) -> None:
        """Fit the head, and write what was found.

        Raises:
            ValueError: if no labelled case shows a class.
            FloatingPointError: if a feature is not finite.
        """
        start = time.monotonic()
        rows = self._rows(self.cases, self._labelled_rows())
        computed = time.monotonic()
        with closing(SummaryWriter(str(self.output_dir / "tensorboard"))) as log:
            fit = fit_head(self.network.head, rows, self.class_names, watch=_Curve(log), **self.settings)
        seconds = {"features": computed - start, "fit": time.monotonic() - computed}
        report = self._report(rows, fit, seconds)
        write_json(self.output_dir / "probe.json", report)
        weights = {name: value.detach().cpu() for name, value in self.network.state_dict().items()}
        save_atomically(weights, self.output_dir / "model.pt")

    def _labelled_rows(self) -> Rows:
        scans = len(self.cases) * (1 + (self.copied.number if self.copied else 0))
        rows = partial(self.features.volume, num_voxels=max(self.max_voxels // scans, 1))
        return self.copied.joined(rows) if self.copied else rows

    def _rows(self, cases: Sequence[Mapping[str, Any]], rows: Rows) -> dict[str, VoxelRows]:
        computed = FeatureCases(cases, self.preprocessing, rows)
        return {case["case"]: known_rows(case["rows"]) for case in computed}

    def _report(self, rows: Mapping[str, VoxelRows], fit: Fit, seconds: Mapping[str, float]) -> dict[str, Any]:
        solution = fit.solution
        report = {
            "cases": list(rows),
            "voxels": sum(len(part.labels) for part in rows.values()),
            "l2": fit.l2,
            "dice_of_cases_left_out_by_l2": {f"{l2:g}": round(dice, 4) for l2, dice in fit.dice_left_out.items()},
            "loss": solution.loss,
            "gradient_norm": solution.gradient_norm,
            "evaluations": solution.num_evaluations,
            "converged": solution.converged,
            "classes_without_label": [self.class_names[value - 1] for value in fit.unseen],
            "dice_on_the_labels_it_was_fitted_to": self._dice(rows),
            "dice_on_validation": self._validated(),
            "seconds": {name: round(value, 2) for name, value in seconds.items()},
        }
        for key in ("l2", "gradient_norm", "evaluations", "dice_on_validation"):
            logger.info("%s: %s", key.replace("_", " "), report[key])
        return report

    def _validated(self) -> dict[str, float | None] | None:
        return self._dice(self._rows(self.validation, self.features.volume)) if self.validation else None

    def _dice(self, rows: Mapping[str, VoxelRows]) -> dict[str, float | None]:
        return head_dice(self.network.head, list(rows.values()), self.class_names)


class _Curve:
    """Writes loss and gradient of every evaluation to TensorBoard's log."""

    def __init__(self, log: SummaryWriter) -> None:
        self.log = log
        self.evaluation = 0

    def __call__(self, loss: float, gradient_norm: float) -> None:
        self.evaluation += 1
        self.log.add_scalar("loss", loss, self.evaluation)
        self.log.add_scalar("gradient_norm", gradient_norm, self.evaluation)
