"""Networks trained on labelled scans, each in a folder named after all that decides it: none is trained twice."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from medssl.data.datalist import Datalist, write_datalist
from medssl.files import file_sha256, write_json
from medssl.networks.backbone import backbone_of
from medssl.networks.position import num_coordinates
from medssl.networks.state_dicts import read_weights
from medssl.packaging.inference_config import build_network, inference_config
from medssl.packaging.loading import LoadedBundle
from medssl.packaging.weights import load_strictly
from medssl.probe.copies import copies_for
from medssl.runs.folder import read_config
from medssl.runs.record import read_run_record
from medssl.scans.channels import listed_image
from medssl.workflows.backbones import backbone_settings
from medssl.workflows.segment_backbone import Backbone
from medssl.workflows.segment_facts import Scan
from medssl.workflows.segment_pieces import in_one_piece
from medssl.workflows.training import train_segmentation

# Windows overlap less than in an evaluation, for speed; the bundle keeps the value.
_OVERLAP = 0.25
_STEPS_PER_EPOCH = 10
# Of all labelled scans together, for the probe.
_MAX_VOXELS = 100_000
PATCHES_PER_BATCH = 2
# Of the penalty, as for one labelled scan.
_L2 = 1e-3
# Of a fine-tuning, for its configuration and its worker process.
_START_SECONDS = 5.0


@dataclass(frozen=True)
class LabelledCase:
    """A scan with its mask.

    Attributes:
        case: id.
        image: the scan.
        label: file of the mask, with the values of training.
        content: hash of both.
    """

    case: str
    image: Scan
    label: Path
    content: str


@dataclass(frozen=True)
class UnlabelledCase:
    """A scan without a mask.

    Attributes:
        case: id.
        image: the scan.
        content: its hash.
    """

    case: str
    image: Scan
    content: str


@dataclass(frozen=True)
class Trainer:
    """Trains networks on some of the labelled scans.

    Args:
        folder: of lists, features and runs.
        backbone: what they start from.
        modality: of the scans.
        names: of the label values 1, 2, ...
        absent: ``ignore`` or ``background``: what a structure that a mask lacks is there.
        budget: minutes that the user gives to the whole: with another number, fine-tuning starts anew.
        num_labelled: all labelled scans. A probe on some of them takes as many voxels of each as one on all, so that no
            further features are computed.
    """

    folder: Path
    backbone: Backbone
    modality: str
    names: Mapping[int, str]
    absent: str
    budget: float
    num_labelled: int

    def is_trained(self, method: str, cases: Sequence[LabelledCase]) -> bool:
        """Say whether a run is finished, so that `train` returns at once."""
        run = self.folder_of(method, cases)
        return (run / "run.json").is_file() and bool(read_run_record(run)["finished"])

    def train(self, method: str, cases: Sequence[LabelledCase], minutes: float | None = None) -> Path:
        """Return the folder of a finished run, trained now or before.

        Args:
            method: ``probe``; ``carried``, a probe that is told that some of the labels are carried; or ``fine_tune``.
            cases: to learn from.
            minutes: of a fine-tuning.
        """
        run = self.folder_of(method, cases)
        if self.is_trained(method, cases):
            return run
        datalist = self.folder / "lists" / f"{run.name}.json"
        write_datalist(self._listed(cases), datalist)
        data = self.folder / "lists" / f"{run.name}-data.json"
        write_json(data, self.backbone.data)
        settings: dict[str, Any] = {"overlap": _OVERLAP, **self.backbone.network}
        settings["one_piece"] = in_one_piece([case.label for case in cases], self.names)
        recipes, layers = [str(data)], []
        if method != "fine_tune":
            setting, recipes = "linear_probe", [str(data), "position"]
            settings |= {"features_dir": str((self.folder / "features").resolve()), "absent": self.absent}
            if method == "probe":
                layers = ["augmented_probe"]
                settings["copies"] = copies_for(self.num_labelled)
                settings["max_voxels"] = self._voxels_of_case() * len(cases)
            else:
                # Other scans take the place of altered copies. What they are told does not tell which penalty is best.
                settings["l2"] = _L2
        else:
            setting = "fine_tune" if self.backbone.source is not None else "from_scratch"
            settings |= {
                "minutes": minutes,
                "steps_per_epoch": _STEPS_PER_EPOCH,
                "patches_per_batch": PATCHES_PER_BATCH,
            }
        train_segmentation(
            *(setting, datalist, recipes, run),
            layers=layers,
            backbone=self.backbone.source,
            trust=self.backbone.trust,
            overrides=settings,
            resume=True,
            allow_changed=True,
        )
        return run

    def _voxels_of_case(self) -> int:
        return max(_MAX_VOXELS // self.num_labelled, 1)

    def folder_of(self, method: str, cases: Sequence[LabelledCase]) -> Path:
        """Return the folder of a run, made or not."""
        weights = None
        if self.backbone.source is not None:
            weights = file_sha256(backbone_settings(self.backbone.source, self.backbone.trust)["backbone_weights"])
        decided_by = [
            *(method, weights, self.backbone.network, self.backbone.data, self.absent, dict(self.names)),
            self.budget if method == "fine_tune" else self._voxels_of_case(),
            [(case.case, case.content) for case in cases],
        ]
        key = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()
        return self.folder / "runs" / f"{method}-{key[:16]}"

    def _listed(self, cases: Sequence[LabelledCase]) -> Datalist:
        training = tuple(
            {"case": c.case, "image": listed_image(c.image), "label": str(c.label.absolute())} for c in cases
        )
        names, channels = {0: "background", **self.names}, tuple(self.backbone.data.get("channel_names", ()))
        return Datalist("few labels", self.modality, names, {"training": training}, channels=channels)


def step_seconds(run: Path, trust: bool = False) -> float:
    """Return about how long a step of fine-tuning takes, measured on the network of a run."""
    model = load_run(run, trust)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = model.network.requires_grad_(True).to(device)
    channels = read_config(run)["in_channels"] + num_coordinates(backbone_of(model.network))
    patches = torch.rand(PATCHES_PER_BATCH, channels, *model.patch_size, device=device)
    seconds = 0.0
    # The first step allocates memory and chooses kernels.
    for _ in range(2):
        begin = time.monotonic()
        network(patches).square().mean().backward()
        seconds = time.monotonic() - begin
    return seconds


def start_seconds(run: Path, cases: Sequence[LabelledCase], trust: bool = False) -> float:
    """Return about how long a fine-tuning takes before its first step, by preprocessing one of its scans.

    Args:
        run: of the same preprocessing.
        cases: to learn from.
        trust: as in `load_bundle`.
    """
    begin = time.monotonic()
    case = {"image": listed_image(cases[0].image), "label": str(cases[0].label)}
    load_run(run, trust).preprocessing(labelled=True)(case)
    return _START_SECONDS + (time.monotonic() - begin) * len(cases)


def load_run(run: Path, trust: bool = False) -> LoadedBundle:
    """Return what inference with a finished run needs, as a packed bundle gives it; `trust` as in `load_bundle`."""
    config = inference_config("segmentation", read_config(run))
    network = build_network(config, trust, run / "config.json")
    load_strictly(network, read_weights(run / "model.pt"), run / "model.pt")
    return LoadedBundle(run, config, network, trust)
