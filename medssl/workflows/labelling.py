"""Label a case, get a model: a linear probe that follows the labels drawn so far, on a frozen backbone."""

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch
from monai.data import MetaTensor
from torch import nn

from medssl.evaluation.growing import GrowingInferer
from medssl.networks.heads import LinearHead
from medssl.networks.position import num_coordinates
from medssl.networks.segmentation import SegmentationNetwork
from medssl.networks.state_dicts import read_weights
from medssl.packaging.loading import LoadedBundle, load_bundle
from medssl.packaging.weights import load_strictly
from medssl.probe.cache import FeatureCache, module_digest
from medssl.probe.copies import copies_for
from medssl.probe.dice import head_dice
from medssl.probe.fit import Fit, fit_head
from medssl.probe.rows import VoxelRows
from medssl.probe.versions import newest_probe, write_probe
from medssl.scans.geometry import pair_problems
from medssl.scans.integrity import verified_header
from medssl.transforms.labels import InvertToLabeld
from medssl.transforms.save import check_labels
from medssl.workflows.labelling_carry import CarriedLabels, LabelledScan
from medssl.workflows.positioned import copies_with_position, positioned
from medssl.workflows.running import bare_errors
from medssl.workflows.segment_carry import CARRIED, LEAST_BACKWARDS
from medssl.workflows.segments import meant_labels

logger = logging.getLogger(__name__)
# Of all labelled scans together.
MAX_VOXELS = 100_000
# Of the gradient. A tenth of it took four to nine times as many steps, and moved the Dice of validation scans by 0.004.
_TOLERANCE = 1e-3


class _Probe(NamedTuple):
    """A fitted head, what it was fitted to, its test on a scan left out, and what carried labels were compared with."""

    head: LinearHead
    fit: Fit
    rows: Mapping[str, VoxelRows]
    held_out: dict[str, Any] | None
    carried: dict[str, Any] | None = None


class Labelling:
    """A backbone that segments what people have labelled so far, by its features and by where in the body a voxel lies.

    It learns from altered copies of the labelled scans too, half as many as in `medssl segment`, as people wait for it.

    Args:
        bundle: folder of a packed bundle, pretrained or of a segmentation, whose backbone and preprocessing are used.
        folder: for the features and the fitted probes; both are kept from one start to the next.
        labels: label value to name, 1, 2, ...; None takes those of the bundle.
        trust: True runs whatever the bundle's configuration says; else it is read as data.

    Raises:
        ValueError: if the labels have gaps or double names, or neither the call nor the bundle gives any.
    """

    def __init__(self, bundle: Path, folder: Path, labels: dict[int, str] | None = None, trust: bool = False) -> None:
        self.bundle = load_bundle(bundle, trust)
        own = self.bundle.config.get("class_names")
        if not labels and not own:
            raise ValueError(f"{bundle} names no labels; give them, such as 1=liver,2=spleen.")
        self.labels = check_labels(labels or own)
        self.folder = folder
        self.learner = positioned(self.bundle, len(self.labels))
        self.backbone: nn.Module = self.learner.network.backbone
        self._sha256 = module_digest(self.backbone).hexdigest()
        self._bundle_segments = own is not None and check_labels(own) == self.labels

    def report(self) -> dict[str, Any] | None:
        """Return the report of the newest probe, as `train` returned it, or None before the first training."""
        found = newest_probe(self.folder / "probes", self._sha256, self.labels)
        return found and found[1]

    def can_segment(self) -> bool:
        """Say whether there is a fitted probe, or else a head for the same labels in the bundle."""
        return self._bundle_segments or self.report() is not None

    def train(
        self,
        scans: Sequence[LabelledScan],
        device: str = "cpu",
        others: Mapping[str, Path] | None = None,
        carry_to: int = 0,
    ) -> dict[str, Any]:
        """Fit a probe to the labels of scans, put it in use, and return its report.

        The report holds the Dice of every label on the very voxels that the probe was fitted to, and, from two scans
        on, that on the last scan of a probe fitted to the others only, with the same penalty. Both are estimated from
        the kept voxels.

        With other scans, labels are carried to some of them by registration, and the probe learns from those too if
        that makes the last scan, left out, better; with one scan, if what learns from carried labels alone finds its
        structures. That takes 10 to 20 s for each labelled scan and each other one.

        Args:
            scans: with their labels.
            device: where features are computed and the probe is fitted.
            others: scans without a label, by case.
            carry_to: of those, how many labels are carried to.

        Raises:
            ValueError: if there is no scan, a label does not fit its scan, or holds a value that is no label.
        """
        if not scans:
            raise ValueError("No label has been saved yet; label at least one scan and submit it.")
        begin = time.monotonic()
        rows, computed = self._rows(scans, device)
        between = time.monotonic()
        names = list(self.labels.values())
        head, fit = self._fit(rows, device)
        held_out = None
        *before, last = rows
        if any(rows[case].labels.any() for case in before):
            other, _ = self._fit({case: rows[case] for case in before}, device, fit.l2)
            held_out = {"case": last, "fitted_to": len(before), "dice": head_dice(other, [rows[last]], names)}
        fitted = time.monotonic()
        carry = CarriedLabels(self.learner, self.folder / "carried", self.labels, scans, others or {}, carry_to)
        plain = _Probe(head, fit, rows, held_out)
        probe = self._with_carried(plain, scans, carry, device) if len(scans) == 1 or held_out else plain
        report = {
            "backbone": self._sha256,
            "labels": {str(value): name for value, name in self.labels.items()},
            "scans": list(rows),
            "labels_carried_to": [case.removesuffix(CARRIED) for case in probe.rows if case not in rows],
            "carried": probe.carried,
            "dice_on_the_labels_it_was_fitted_to": head_dice(probe.head, list(rows.values()), names),
            "dice_on_a_scan_left_out": probe.held_out,
            "l2": probe.fit.l2,
            "gradient_norm": probe.fit.solution.gradient_norm,
            "voxels_computed": computed,
            "seconds": {
                "features": round(between - begin, 2),
                "fit": round(fitted - between, 2),
                "carry": round(time.monotonic() - fitted, 2),
            },
        }
        path = write_probe(self.folder / "probes", probe.head.cpu(), report)
        logger.info("Wrote %s: %s", path, report)
        return report

    def segment(self, scan: Path, device: str = "cpu") -> MetaTensor:
        """Return the label map of a scan on its own grid, shape ``(1, *spatial)``, uint8.

        Args:
            scan: file of a scan, or folder of a DICOM series.
            device: where the network runs.

        Raises:
            RuntimeError: before the first training, where the bundle has no head for the same labels.
            ValueError: if the scan cannot be used, or has another number of channels.
        """
        bundle = self._segmenting()
        network = bundle.network.to(device).eval()
        preprocessing = bundle.preprocessing()
        with bare_errors():
            sample = preprocessing({"image": str(scan)})
        windows = GrowingInferer(
            *(self.bundle.patch_size, self.backbone.strides[-1], self.bundle.overlap, 2), sw_device=device, device="cpu"
        )
        with torch.no_grad():
            logits = windows(sample["image"].as_tensor()[None], network)[0]
        sample["pred"] = MetaTensor(logits, meta=sample["image"].meta)
        return InvertToLabeld("pred", preprocessing, "image")(sample)["pred"]

    def head(self) -> LinearHead | None:
        """Return the newest probe, or None before the first training."""
        found = newest_probe(self.folder / "probes", self._sha256, self.labels)
        if found is None:
            return None
        head = self._head()
        load_strictly(head, read_weights(found[0]), found[0])
        return head

    def _segmenting(self) -> LoadedBundle:
        head = self.head()
        if head is not None:
            return self.learner._replace(network=SegmentationNetwork(self.backbone, head, frozen=True))
        if self._bundle_segments:
            return self.bundle
        raise RuntimeError(
            "There is no model yet for these labels; save the label of at least one scan, train, and ask again."
        )

    def _head(self) -> LinearHead:
        channels = self.backbone.level_channels
        return LinearHead(self.backbone.spatial_dims, channels, len(self.labels), standardize=True, upsampling="linear")

    def _with_carried(
        self, plain: "_Probe", scans: Sequence[LabelledScan], carry: CarriedLabels, device: str
    ) -> "_Probe":
        """Return the better one of a probe and of one that learns from carried labels too."""
        carried = carry(scans)
        if not carried:
            return plain
        names, (*before, last) = list(self.labels.values()), scans
        more, _ = self._rows(carried, device, copies=0)
        if before:
            rows, _ = self._rows(carry(before, left_out=last), device, copies=0)
            rows |= {scan.case: plain.rows[scan.case] for scan in before}
            least = _mean(plain.held_out["dice"])
        else:
            rows, least = more, LEAST_BACKWARDS
        test, _ = self._fit(rows, device, plain.fit.l2)
        dice = head_dice(test, [plain.rows[last.case]], names)
        compared = {"dice": round(_mean(dice), 4), "at_least": round(least, 4), "used": _mean(dice) > least}
        if not compared["used"]:
            return plain._replace(carried=compared)
        rows = {**plain.rows, **more}
        head, fit = self._fit(rows, device, plain.fit.l2)
        held_out = plain.held_out and {**plain.held_out, "dice": dice}
        return _Probe(head, fit, rows, held_out, compared)

    def _rows(
        self, scans: Sequence[LabelledScan], device: str, copies: int | None = None
    ) -> tuple[dict[str, VoxelRows], int]:
        copies = copies_for(len(scans)) // 2 if copies is None else copies
        cache = FeatureCache(
            *(self.folder / "features", self.backbone, self.bundle.patch_size, len(self.labels)),
            overlap=self.bundle.overlap,
            stride=self.backbone.strides[-1],
            upsampling="linear",
            rows_per_volume=max(MAX_VOXELS // (len(scans) * (1 + copies)), 1),
            device=device,
        )
        rows = {scan.case: self._rows_of(cache, copies, scan) for scan in scans}
        return rows, cache.computed

    def _rows_of(self, cache: FeatureCache, copies: int, scan: LabelledScan) -> VoxelRows:
        headers = verified_header(scan.image, channels=self.bundle.in_channels), verified_header(scan.label)
        for problem in pair_problems(*headers):
            if problem.severity == "error":
                raise ValueError(f"{scan.label} does not fit its scan: {problem.text}")
        with bare_errors():
            sample = self.learner.preprocessing(labelled=True)({"image": str(scan.image), "label": str(scan.label)})
        label = meant_labels(sample["label"].numpy(), scan.segments, self.labels, str(scan.label))
        image = sample["image"].as_tensor()
        rows = copies_with_position(copies, len(image) - num_coordinates(self.backbone)).joined(cache.volume)
        return rows(scan.case, image, torch.from_numpy(label))

    def _fit(self, rows: Mapping[str, VoxelRows], device: str, l2: float | None = None) -> tuple[LinearHead, Fit]:
        head = self._head().to(device).eval()
        return head, fit_head(head, rows, list(self.labels.values()), l2, tolerance=_TOLERANCE)


def _mean(dice: Mapping[str, float | None]) -> float:
    defined = [value for value in dice.values() if value is not None]
    return fmean(defined) if defined else 0.0
