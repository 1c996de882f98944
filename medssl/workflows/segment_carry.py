"""Labels for scans that have none: those of labelled scans, carried over by registration."""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from torch import Tensor

from medssl.atlas.carry import carried_logits, label_of_cells
from medssl.atlas.fields import read_at
from medssl.atlas.maps import RegistrationMaps, cell_factor
from medssl.atlas.registration import register
from medssl.files import replacing
from medssl.networks.backbone import backbone_of
from medssl.networks.position import pretrained_part
from medssl.packaging.loading import LoadedBundle
from medssl.probe.cache import module_digest
from medssl.scans.channels import listed_image
from medssl.workflows.running import bare_errors
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_training import LabelledCase, UnlabelledCase

# Ends the names of cases that are scans with carried labels.
CARRIED = "_carried"
# Raised when the same scans would give other labels.
VERSION = 1
# Scans whose labels are carried, at most.
MOST_LABELLED = 5
# Scans to which they are: at most, at least, and for each minute of the whole command. The number follows from the
# minutes, so that a later call finds what this one made; a slow machine gets through fewer, and a later call goes on.
_MOST_TARGETS, _LEAST_TARGETS, _TARGETS_PER_MINUTE = 12, 2, 1.2
# With one labelled scan: the Dice on it, of a network that learnt from labels carried from it to others, with which
# those are taken.
LEAST_BACKWARDS = 0.35

logger = logging.getLogger(__name__)


def num_targets(minutes: float) -> int:
    """Return to how many scans labels are carried in a command that may take so many minutes."""
    return min(round(_TARGETS_PER_MINUTE * minutes), _MOST_TARGETS)


def carrying_targets(unlabelled: Sequence[UnlabelledCase], number: int) -> list[UnlabelledCase]:
    """Return the scans to which labels are carried, in no order that their names have; none where there are too few."""
    chosen = sorted(unlabelled, key=lambda case: hashlib.sha256(case.content.encode()).hexdigest())[:number]
    return chosen if len(chosen) >= _LEAST_TARGETS else []


class Carrier:
    """Carries the labels of scans to others.

    Args:
        model: a finished run, of which the preprocessing and the backbone are taken.
        folder: of the carried masks, which are kept.
        labelled: all labelled scans.
        targets: scans that may be given labels.
        num_classes: without background.
        display: shows the progress.
        has_time: says whether another target can have labels; the first two get them whatever it says.
    """

    def __init__(
        self,
        model: LoadedBundle,
        folder: Path,
        labelled: Sequence[LabelledCase],
        targets: Sequence[UnlabelledCase],
        num_classes: int,
        display: Display,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self.model = model
        self.folder = folder
        self.targets = targets
        self.num_classes = num_classes
        self.display = display
        self.has_time = has_time
        self._first = labelled[0]
        self._channels = model.in_channels
        self._backbone = pretrained_part(backbone_of(model.network)).eval()
        self._weights = module_digest(self._backbone).hexdigest()
        self._preprocessing, self._labelled_preprocessing = model.preprocessing(), model.preprocessing(labelled=True)
        self._maps: dict[str, Tensor] = {}
        self._labels: dict[str, Tensor] = {}
        self._places: dict[tuple[str, str], tuple[Tensor, Tensor]] = {}
        self._of_scans: RegistrationMaps | None = None
        self._factor = 1

    def carried(self, cases: Sequence[LabelledCase], more: Sequence[UnlabelledCase] = ()) -> list[LabelledCase]:
        """Return the targets with labels carried from some labelled scans.

        Left out are those that cannot be read, and those for which there is no time.

        Args:
            cases: whose labels are carried; only the first `MOST_LABELLED` are.
            more: targets besides those of the carrier, such as a labelled scan that is left out.
        """
        cases = cases[:MOST_LABELLED]
        found = []
        for target in (*self.targets, *more):
            name = target.case + CARRIED
            if name in {case.case for case in cases}:
                continue
            decided_by = [VERSION, self._weights, self._first.content, target.content, [c.content for c in cases]]
            key = hashlib.sha256(json.dumps(decided_by).encode()).hexdigest()
            mask = self.folder / f"{target.case}-{key[:16]}.nii"
            if not mask.is_file():
                if target in self.targets[_LEAST_TARGETS:] and self._is_new(target, cases) and not self.has_time():
                    logger.info("No labels are carried to %s, as there is no time for it.", target.case)
                    continue
                try:
                    with self.display.unit("carry", f"Carry labels to {target.case}"), bare_errors():
                        self._carry(cases, target, mask)
                except (ValueError, OSError, RuntimeError, MemoryError) as error:
                    logger.warning("No labels are carried to %s: %s", target.case, error)
                    continue
            found.append(LabelledCase(name, target.image, mask, f"carried {key}"))
        return found

    @torch.no_grad()
    def _carry(self, cases: Sequence[LabelledCase], target: UnlabelledCase, mask: Path) -> None:
        for case in cases:
            self._remember(case)
        sample = self._preprocessing({"image": listed_image(target.image)})
        fixed = self._map_of(target.case, sample["image"].as_tensor())
        places = [self._place(target.case, fixed, case.case) for case in cases]
        positions, costs = zip(*places, strict=True)
        labels = [self._labels[case.case] for case in cases]
        logits = carried_logits(labels, positions, costs, self._factor, self.num_classes)
        label = label_of_cells(logits, sample["image"].shape[1:], self._factor)
        sample["pred"] = MetaTensor(label, meta=sample["image"].meta)
        label = Invertd("pred", self._preprocessing, "image", nearest_interp=True)(sample)["pred"]
        self.folder.mkdir(parents=True, exist_ok=True)
        image = nib.Nifti1Image(label.numpy()[0].astype(np.uint8), label.affine.numpy().astype(np.float64))
        image.header.set_xyzt_units("mm")
        with replacing(mask) as temporary:
            nib.save(image, temporary)

    def _remember(self, case: LabelledCase) -> None:
        """Keep the map and the label of a labelled scan."""
        if case.case in self._labels:
            return
        sample = self._labelled_preprocessing({"image": listed_image(case.image), "label": str(case.label)})
        self._map_of(case.case, sample["image"].as_tensor())
        self._labels[case.case] = sample["label"].as_tensor().round()

    def _map_of(self, case: str, image: Tensor) -> Tensor:
        if case not in self._maps:
            image = image[: self._channels].float()
            if self._of_scans is None:
                self._factor = cell_factor([image.shape[1:]])
                self._of_scans = RegistrationMaps(self._backbone, self.model.patch_size, self._factor, image)
            # A half takes half the memory of all scans.
            self._maps[case] = self._of_scans(image).half()
        return self._maps[case].float()

    def _is_new(self, target: UnlabelledCase, cases: Sequence[LabelledCase]) -> bool:
        return any((target.case, case.case) not in self._places for case in cases)

    def _place(self, target: str, fixed: Tensor, case: str) -> tuple[Tensor, Tensor]:
        """Return where the cells of a target lie in a labelled scan, and how unlike the two are there."""
        if (target, case) not in self._places:
            moving = self._maps[case].float()
            with torch.enable_grad():
                positions = register(fixed, moving)
            self._places[target, case] = positions, (read_at(moving, positions) - fixed).square().mean(dim=0)
        return self._places[target, case]
