"""A MONAI Label app: label a scan in 3D Slicer, train in seconds, and let the next scan be segmented.

monailabel start_server --app THIS_FOLDER --studies SCANS --conf bundle BUNDLE --conf labels "1=liver,2=spleen"

BUNDLE is the folder of a bundle that `medssl pack` or `medssl weights import` made, or the name of weights that come
with medssl (`medssl weights list`). It is read as data; --conf trust true runs whatever its configuration says. What is
learned is kept in
SCANS/medssl. This file runs in the environment of the MONAI Label server; the work is done in `medssl.workflows`.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from monai.data import MetaTensor
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.datastore import Datastore, DefaultLabelTag
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.interfaces.tasks.strategy import Strategy
from monailabel.interfaces.tasks.train import TrainTask
from monailabel.tasks.activelearning.first import First
from monailabel.tasks.activelearning.random import Random
from monailabel.transform.writer import Writer
from monailabel.utils.others.generic import device_list, name_to_device

from medssl.packaging.shipped_weights import bundle_folder
from medssl.workflows.background import Background
from medssl.workflows.clicks import clicked_mask, similar_region
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan
from medssl.workflows.next_scan import NextScan
from medssl.workflows.points import PointSegmenter
from medssl.workflows.segments import parse_labels

logger = logging.getLogger(__name__)
# Scans without a label to which those drawn are carried by registration, while there are so few that it gains.
_CARRY_TO, _FEW_LABELS = 6, 2


class Segmentation(InferTask):
    """Segment a scan with the newest probe. Shown to the client from the first training on."""

    def __init__(self, labelling: Labelling, opened: Callable[[Path], None]) -> None:
        labels = {name: value for value, name in labelling.labels.items()}
        description = "A linear probe, fitted to the labels saved so far"
        super().__init__(InferType.SEGMENTATION, labels, 3, description, {"device": device_list()})
        self.labelling = labelling
        self.opened = opened

    def is_valid(self) -> bool:
        """Say whether there is a model; before that, the client has nothing to offer or to run by itself."""
        return self.labelling.can_segment()

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the file of the label map and what goes along with it."""
        try:
            found = self.labelling.segment(Path(request["image"]), _device(request))
        except (RuntimeError, ValueError, OSError) as error:
            raise HTTPException(status_code=400, detail=str(error)) from error
        self.opened(Path(request["image"]))
        return _write(found, request), {"label_names": self.labels, "report": self.labelling.report()}


class Similarity(InferTask):
    """Mark what looks like the clicked points, and unlike those clicked as background."""

    def __init__(self, labelling: Labelling) -> None:
        # Without labels of its own, so that the client runs it on a click and never by itself.
        config = {"device": device_list(), "threshold": 0.9}
        super().__init__(InferType.DEEPGROW, [], 3, "What looks like the clicked point", config)
        self.labelling = labelling

    def is_valid(self) -> bool:
        """Say yes: a pretrained backbone is all that it takes."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the file of the label map, or with ``heat_map`` that of the similarity."""
        try:
            heat, region = similar_region(
                self.labelling.bundle,
                Path(request["image"]),
                request.get("foreground", []),
                request.get("background", []),
                float(request.get("threshold", self.config()["threshold"])),
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise HTTPException(status_code=400, detail=str(error)) from error
        if request.get("heat_map"):
            return _write(heat, {**request, "result_dtype": "float32"}), {}
        return _write(region, request), {"label_names": {request.get("label", "similar"): 1}}


class Points(InferTask):
    """Segment the structure that was clicked; points clicked as background are not in it."""

    def __init__(self, segmenter: PointSegmenter) -> None:
        # Without labels of its own, so that the client runs it on a click and never by itself.
        description = "The structure with the foreground points in it and the background points outside of it"
        super().__init__(InferType.DEEPGROW, [], 3, description)
        self.segmenter = segmenter

    def is_valid(self) -> bool:
        """Say yes: a pretrained backbone is all that it takes."""
        return True

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the file of the mask."""
        clicks = request.get("foreground", []), request.get("background", [])
        try:
            found = clicked_mask(self.segmenter, Path(request["image"]), *clicks)
        except (RuntimeError, ValueError, OSError) as error:
            raise HTTPException(status_code=400, detail=str(error)) from error
        return _write(found, request), {"label_names": {request.get("label", "structure"): 1}}


class LinearProbe(TrainTask):
    """Fit a probe to all labels that were saved as final."""

    def __init__(self, labelling: Labelling) -> None:
        super().__init__("A linear probe on frozen features, fitted to the labels saved so far")
        self.labelling = labelling

    def config(self) -> dict[str, Any]:
        """Return the choices that the client shows."""
        return {"device": device_list(), "carry_labels_to": _CARRY_TO}

    def stats(self) -> dict[str, Any]:
        """Return the report of the newest probe; ``best_metric`` is what the client shows as accuracy."""
        report = self.labelling.report()
        if report is None:
            return {}
        held_out = report["dice_on_a_scan_left_out"]
        scores = held_out["dice"] if held_out else report["dice_on_the_labels_it_was_fitted_to"]
        defined = [score for score in scores.values() if score is not None]
        measured_on = "a scan left out" if held_out else "the labels it was fitted to"
        seconds = sum(report["seconds"].values())
        mean = sum(defined) / max(len(defined), 1)
        return {"best_metric": mean, "best_metric_is": f"mean Dice on {measured_on}", "total_time": seconds, **report}

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:
        """Fit, and return the report."""
        tag = DefaultLabelTag.FINAL
        scans = []
        for case in sorted(datastore.get_labeled_images()):
            info = datastore.get_label_info(datastore.get_label_by_image_id(case, tag), tag) or {}
            segments = [segment["name"] for segment in info.get("label_info") or []]
            image, label = datastore.get_image_uri(case), datastore.get_label_uri(case, tag)
            scans.append(LabelledScan(case, Path(image), Path(label), segments))
        carry_to = int(request.get("carry_labels_to", _CARRY_TO)) if len(scans) <= _FEW_LABELS else 0
        others = {case: Path(datastore.get_image_uri(case)) for case in datastore.get_unlabeled_images()}
        return self.labelling.train(scans, _device(request), others, carry_to)


class MostHelpful(Strategy):
    """Choose the scan that the newest probe is least sure of; before the first, that least like the labelled ones."""

    def __init__(self, next_scan: NextScan, labelling: Labelling) -> None:
        super().__init__("The scan that the model is least sure of")
        self.next_scan = next_scan
        self.labelling = labelling

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, str] | None:
        """Return the id of the scan, or None if all have a label."""
        scans = {case: Path(datastore.get_image_uri(case)) for case in datastore.list_images()}
        labelled = datastore.get_labeled_images(request.get("label_tag"))
        case = self.next_scan.choose(scans, labelled, self.labelling.head())
        return None if case is None else {"id": case}


class LabelApp(MONAILabelApp):
    """Segmentation by a probe that follows the labels, its training, and clicks: a structure, or what is similar.

    The features of a scan that is opened are computed in the background, so that clicks in it are answered at once.

    Raises:
        ValueError: if a setting is missing or wrong, with what to give.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        if not conf.get("bundle"):
            raise ValueError("Give the folder of a packed bundle or the name of shipped weights: --conf bundle BUNDLE")
        if "://" in studies:
            raise ValueError(f"This app keeps what it learns beside the scans; give a folder of scans, not {studies}.")
        labels = parse_labels(conf["labels"]) if conf.get("labels") else None
        bundle, trust = bundle_folder(conf["bundle"]), conf.get("trust") == "true"
        self.labelling = Labelling(bundle, Path(studies) / "medssl", labels, trust)
        self.background = Background()
        self.segmenter = PointSegmenter(self.labelling.bundle)
        names = list(self.labelling.labels.values())
        super().__init__(app_dir, studies, conf, "medssl", "Label a scan, train, segment the next", labels=names)

    def init_infers(self) -> dict[str, InferTask]:
        """Return the models that the client offers."""
        return {
            "segmentation": Segmentation(self.labelling, self.open),
            "points": Points(self.segmenter),
            "similarity": Similarity(self.labelling),
        }

    def init_trainers(self) -> dict[str, TrainTask]:
        """Return the trainings that the client offers."""
        return {"segmentation": LinearProbe(self.labelling)}

    def init_strategies(self) -> dict[str, Strategy]:
        """Return the ways to choose the next scan."""
        next_scan = NextScan(self.labelling.learner, self.labelling.folder / "next", self.background)
        return {"most_helpful": MostHelpful(next_scan, self.labelling), "first": First(), "random": Random()}

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the next scan; it is opened, unless the client has it segmented first, and that opens it."""
        sample = super().next_sample(request)
        if sample and not self.labelling.can_segment():
            self.open(Path(sample["path"]))
        return sample

    def open(self, scan: Path) -> None:
        """Let the features of a scan be computed in the background."""
        self.background.soon(lambda: self.segmenter.open(scan))


def _device(request: dict[str, Any]) -> str:
    return name_to_device(request.get("device", "cpu"))


def _write(volume: MetaTensor, request: dict[str, Any]) -> str:
    """Return the file that MONAI Label's own writer makes of a map of shape ``(1, *spatial)``."""
    content = {**request, "pred": volume[0], "image_path": request["image"]}
    path, _ = Writer(label="pred")(content)
    return path
