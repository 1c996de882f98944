"""Click a voxel and see what is similar: a map over the same scan or another one."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from monai.data.utils import to_affine_nd
from monai.inferers import SlidingWindowInferer
from monai.transforms import Invertd
from torch import nn

from medssl.evaluation.similarity_figure import similarity_figure
from medssl.files import replacing
from medssl.networks.similarity import PointSimilarity, anchor_features
from medssl.packaging.loading import LoadedBundle, load_bundle
from medssl.scans.loading import VerifiedLoadImage
from medssl.workflows.running import bare_errors

OVERLAP = 0.25


def similarity(
    scan: Path, point: Sequence[float], bundle: Path | str, out: Path, other: Path | None = None, trust: bool = False
) -> tuple[Path, Path]:
    """Write what is similar to a point, as a NIfTI heat map on the grid of the searched scan and as a PNG.

    Args:
        scan: file of a scan, or folder of a DICOM series.
        point: right, anterior and superior coordinates of the point in mm, as 3D Slicer shows them; for the pixel
            (x, y) of a picture ``(-x, -y, 0)``.
        bundle: a packed pretraining or segmentation bundle, whose backbone is used, or the name of shipped weights.
        out: folder for both files, which are named after the searched scan.
        other: the scan to search; None searches the same one.
        trust: True runs whatever the bundle's configuration says; else it is read as data.

    Returns:
        The paths of the heat map and of the picture.

    Raises:
        FileNotFoundError: if the bundle lacks a file.
        ValueError: if the point lies outside the part of the scan that the bundle keeps, or a scan is damaged.
    """
    opened = load_bundle(bundle, trust)
    heat = heat_map(opened, scan, point, other)
    target = other or scan
    name = target.name.split(".")[0]
    volume = _write_volume(heat, out / f"{name}_similarity.nii.gz")
    load = VerifiedLoadImage(ensure_channel_first=True, spatial_dims=heat.dim() - 1, channels=opened.in_channels)
    # The picture shows the first channel.
    scans = [load(str(path))[:1] if opened.in_channels > 1 else load(str(path)) for path in (scan, target)]
    return volume, similarity_figure(scans[0], tuple(point), scans[1], heat, out / f"{name}_similarity.png")


def heat_map(bundle: LoadedBundle, scan: Path, point: Sequence[float], other: Path | None = None) -> MetaTensor:
    """The similarity to a point as a map of shape ``(1, *spatial)`` on the grid of the searched scan.

    Args:
        bundle: whose backbone and preprocessing are used.
        scan: file of a scan, or folder of a DICOM series.
        point: right, anterior and superior coordinates of the point in mm.
        other: the scan to search; None searches the same one.
    """
    preprocessing = bundle.preprocessing()
    backbone, patch_size = bundle.network.backbone, bundle.patch_size
    with bare_errors():
        source = preprocessing({"image": str(scan)})
        searched = source if other is None else preprocessing({"image": str(other)})
    anchors = _anchors(backbone, source["image"], point, patch_size, scan)
    windows = SlidingWindowInferer(patch_size, sw_batch_size=1, overlap=OVERLAP, mode="gaussian")
    found = windows(searched["image"][None], PointSimilarity(backbone, anchors))[0]
    searched["pred"] = MetaTensor(found, meta=searched["image"].meta)
    return Invertd("pred", preprocessing, orig_keys="image", nearest_interp=False)(searched)["pred"]


def _anchors(
    backbone: nn.Module, image: MetaTensor, point: Sequence[float], patch_size: Sequence[int], scan: Path
) -> list[torch.Tensor]:
    """Return the features of the point, from a patch with the point in its middle where the scan allows it."""
    shape = np.array(image.shape[1:])
    affine = to_affine_nd(3, image.affine.numpy().astype(float))
    # The third coordinate does not matter in a 2D image.
    voxel = np.rint(np.linalg.inv(affine) @ np.array([*point, 1.0]))[: len(shape)].astype(int)
    if np.any(voxel < 0) or np.any(voxel >= shape):
        last = np.pad(shape - 1, (0, 3 - len(shape)))
        corners = [affine[:3] @ np.array([*index, 1.0]) for index in ((0, 0, 0), last)]
        raise ValueError(
            f"The point {tuple(point)} is not in the body in {scan}, which reaches from {corners[0].round().tolist()} "
            f"to {corners[1].round().tolist()} mm (right, anterior, superior)."
        )
    size = np.minimum(patch_size, shape)
    start = np.clip(voxel - size // 2, 0, shape - size)
    box = tuple(slice(int(a), int(a + n)) for a, n in zip(start, size, strict=True))
    patch = image.as_tensor()[(slice(None), *box)][None]
    return anchor_features(backbone, patch, (voxel - start).tolist())


def _write_volume(heat: MetaTensor, path: Path) -> Path:
    affine = to_affine_nd(3, heat.affine.numpy().astype(float))
    image = nib.Nifti1Image(heat[0].numpy().astype(np.float32), affine)
    image.header.set_xyzt_units("mm")
    with replacing(path) as temporary:
        temporary.write_bytes(gzip.compress(image.to_bytes(), mtime=0))
    return path
