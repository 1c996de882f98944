"""A few clicks inside and outside a structure give its mask."""

import gc
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from monai.data import MetaTensor
from monai.transforms import SpatialPad
from torch import Tensor

from medssl.evaluation.growing import GrowingInferer
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.ops.windows import Plan, plan_windows
from medssl.packaging.loading import LoadedBundle, load_bundle
from medssl.probe.points import CHOSEN, Settings, click_rows, clicked_components, fit_clicks, nearness
from medssl.probe.remembering import RememberingBackbone
from medssl.probe.windows import central_features
from medssl.scans.clicked import Point, clicked_voxels, voxels_of
from medssl.scans.memory import free_memory
from medssl.transforms.labels import InvertToLabeld
from medssl.workflows.running import bare_errors
from medssl.workflows.segment_predict import write_prediction

logger = logging.getLogger(__name__)
_KEPT_SCANS = 2
_BYTES_OF_A_NUMBER = 4


class _Opened(NamedTuple):
    """A preprocessed scan; its windows are padded to their size."""

    sample: Mapping[str, Any]
    padded: Tensor
    first: np.ndarray
    plan: Plan
    backbone: RememberingBackbone


@dataclass
class _Place:
    """A scan among those in memory, opened or about to be: whoever opens it holds the lock."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    opened: _Opened | None = None


class PointSegmenter:
    """Masks of clicked structures by the frozen features of a bundle.

    `open`, or the first click in a scan, computes its features. Those of two scans at most stay in memory, and of the
    last one alone where there is too little memory for both, so further clicks only solve and apply a linear head. A
    scan that was opened and never clicked goes before one that was. A scan is known by path, size and time of change.

    Args:
        bundle: whose backbone and preprocessing are used, of three dimensions.
        settings: how clicks are learnt from.

    Raises:
        ValueError: if the bundle is of two dimensions.
    """

    def __init__(self, bundle: LoadedBundle, settings: Settings = CHOSEN) -> None:
        self.bundle = bundle
        self.settings = settings
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.backbone = bundle.network.backbone
        if self.backbone.spatial_dims != 3:
            raise ValueError(f"{bundle.folder} is for pictures; points need a bundle for 3D scans.")
        self.preprocessing = bundle.preprocessing()
        # The next to go first. A server answers several requests at once.
        self._places: OrderedDict[Any, _Place] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, scan: Path) -> None:
        """Compute the features of a scan, unless they are in memory, so that the first click is answered like others.

        Clicks in another scan are answered meanwhile, and one in the same scan waits.

        Args:
            scan: file of a scan, or folder of a DICOM series.

        Raises:
            ValueError, OSError: if it cannot be read, or its features need more memory than is free.
        """
        self._open(scan, clicked=False)

    def __call__(self, scan: Path, inside: Sequence[Point], outside: Sequence[Point] = ()) -> MetaTensor:
        """Return the mask on the grid of the scan, shape ``(1, *spatial)``, uint8.

        It consists of the connected parts that contain a point inside; the voxels of the points are what was said of
        them. Without points outside, what is outside is learnt from random voxels far from those inside.

        Args:
            scan: file of a scan, or folder of a DICOM series.
            inside: right, anterior and superior coordinates in mm of points in the structure.
            outside: those of points that are not in it.

        Raises:
            ValueError: if no point is inside, a point is not in the scan, one inside is where the bundle crops the
                scan, or a voxel was clicked on both sides.
        """
        voxels = clicked_voxels(scan, inside, outside)
        opened = self._open(scan, clicked=True)
        logits = self._logits(opened, scan, inside, outside)
        image = opened.sample["image"]
        sample = {**opened.sample, "pred": MetaTensor(logits, meta=image.meta)}
        mask = InvertToLabeld("pred", self.preprocessing, "image")(sample)["pred"]
        found = clicked_components(mask[0].numpy() > 0, *voxels)
        return MetaTensor(torch.from_numpy(found[None].astype(np.uint8)), meta=mask.meta)

    def _open(self, scan: Path, clicked: bool) -> _Opened:
        key = scan_state(scan)
        with self._lock:
            if key not in self._places:
                while len(self._places) >= _KEPT_SCANS:
                    self._places.popitem(last=False)
                self._places[key] = _Place()
                self._places.move_to_end(key, last=False)
            place = self._places[key]
            if clicked:
                self._places.move_to_end(key)
        with place.lock:
            if place.opened is None:
                try:
                    place.opened = self._computed(scan, key)
                except BaseException:
                    with self._lock:
                        self._places.pop(key, None)
                    raise
        return place.opened

    def _computed(self, scan: Path, key: Any) -> _Opened:
        with bare_errors():
            sample = self.preprocessing({"image": str(scan)})
        image = sample["image"]
        plan = plan_windows(
            *(image.shape[1:], self.bundle.patch_size, self.bundle.overlap),
            stride=self.backbone.strides[-1],
            largest_growth=np.inf,
        )
        self._make_room(scan, key, plan.computed_voxels)
        first = np.maximum(np.array(plan.roi_size) - image.shape[1:], 0) // 2
        padded = torch.as_tensor(np.asarray(SpatialPad(plan.roi_size)(image)), dtype=torch.float32)
        backbone = RememberingBackbone(self.backbone.to(self.device))
        with torch.no_grad():
            self._windows()(image.as_tensor()[None], lambda window: backbone(window)[0][:, :1])
        logger.info("Computed the features of %s, which clicks in it use.", scan)
        return _Opened(sample, padded, first, plan, backbone)

    def _make_room(self, scan: Path, key: Any, num_voxels: int) -> None:
        """Forget other scans where the features of one would not fit beside theirs."""
        cells = zip(self.backbone.level_channels, self.backbone.strides, strict=True)
        needed = num_voxels * _BYTES_OF_A_NUMBER * sum(channels / math.prod([stride] * 3) for channels, stride in cells)
        if needed > free_memory():
            with self._lock:
                for other in [other for other in self._places if other != key]:
                    del self._places[other]
            gc.collect()
        if needed > (free := free_memory()):
            raise ValueError(
                f"The features of {scan} need {needed / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB are free; "
                "crop the scan, or use a machine with more memory."
            )

    def _windows(self) -> GrowingInferer:
        return GrowingInferer(
            *(self.bundle.patch_size, self.backbone.strides[-1], self.bundle.overlap),
            sw_device=self.device,
            device="cpu",
        )

    def _logits(self, opened: _Opened, scan: Path, inside: Sequence[Point], outside: Sequence[Point]) -> Tensor:
        image, plan = opened.sample["image"], opened.plan
        shape, affine = image.shape[1:], image.affine.numpy().astype(float)
        kept = [voxels[_in_grid(voxels, shape)] for voxels in (voxels_of(side, affine) for side in (inside, outside))]
        if len(kept[0]) < len(inside):
            raise ValueError(f"A point inside the structure is not in the body in {scan}, beyond which it is cropped.")

        def features_at(voxels: np.ndarray) -> np.ndarray:
            windows = (plan.roi_size, plan.overlap, self.device)
            return central_features(
                opened.backbone, opened.padded, voxels + opened.first, *windows, upsampling="linear"
            )

        spacing = np.linalg.norm(affine[:3, :3], axis=0)
        clicks = (shape, spacing, *(np.clip(side, 0, np.asarray(shape) - 1) for side in kept), self.settings)
        rows = click_rows(features_at, *clicks)
        head = LinearHead(3, self.backbone.level_channels, 1, upsampling="linear").to(self.device).eval()
        fit_clicks(head, rows, self.settings)
        network = SegmentationNetwork(opened.backbone, head, frozen=True).eval()
        with torch.no_grad():
            logits = self._windows()(image.as_tensor()[None], network)[0]
        return logits + torch.from_numpy(nearness(*clicks))


def segment_points(
    scan: Path,
    inside: Sequence[Point],
    outside: Sequence[Point],
    bundle: Path | str,
    out: Path,
    name: str = "structure",
    trust: bool = False,
) -> tuple[Path, Path, float]:
    """Write the mask of a clicked structure as ``NAME.seg.nrrd`` and ``NAME.nii.gz``, on the grid of the scan.

    Args:
        scan: file of a scan, or folder of a DICOM series.
        inside: right, anterior and superior coordinates in mm of points in the structure, as 3D Slicer shows them.
        outside: those of points that are not in it.
        bundle: a packed pretraining or segmentation bundle, whose backbone is used, or the name of shipped weights.
        out: folder of the files.
        name: of the structure and of the files.
        trust: True runs whatever the bundle's configuration says; else it is read as data.

    Returns:
        The paths of both files, and the volume in ml.

    Raises:
        FileNotFoundError: if the bundle lacks a file.
        ValueError: if a point is wrong (see `PointSegmenter`), or the scan is damaged.
    """
    mask = PointSegmenter(load_bundle(bundle, trust))(scan, inside, outside)
    write_prediction(mask, scan, name, {1: name}, {1: 1}, out)
    volume = float(mask.sum()) * abs(float(np.linalg.det(mask.affine.numpy()[:3, :3]))) / 1000
    return out / f"{name}.seg.nrrd", out / f"{name}.nii.gz", volume


def scan_state(scan: Path) -> tuple[Any, ...]:
    """Return what tells a scan from others, and from itself before a change: path, size and time of each file."""
    """Return what tells a scan from others and from itself after a change: paths, sizes and times of its files."""
    files = sorted(scan.rglob("*")) if scan.is_dir() else [scan]
    stats = [(str(file.resolve()), file.stat()) for file in files]
    return tuple((file, stat.st_ino, stat.st_size, stat.st_mtime_ns) for file, stat in stats)


def _in_grid(voxels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    # Half a voxel of the scan can be beyond the edge of a grid that was cropped and resampled.
    return ((voxels >= -1) & (voxels <= np.asarray(shape))).all(axis=1)
