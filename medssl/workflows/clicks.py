"""Clicks in 3D Slicer: their place in a scan, the region that looks like them, and the structure they are in."""

from collections.abc import Sequence
from pathlib import Path

import torch
from monai.data import MetaTensor

from medssl.packaging.loading import LoadedBundle
from medssl.scans.headers import VolumeHeader
from medssl.scans.integrity import sound_header, verified_header
from medssl.workflows.points import PointSegmenter
from medssl.workflows.similarity import heat_map

_NO_FOREGROUND = "No foreground point was clicked; place at least one."


def clicked_point(scan: Path, index: Sequence[int]) -> tuple[float, float, float]:
    """Return the right, anterior and superior coordinates in mm of a voxel index from 3D Slicer.

    When Slicer loads a scan with left-handed axes, it flips the third axis and counts from the other end.

    Args:
        scan: file of a scan, or folder of a DICOM series.
        index: index of the voxel, as Slicer's MONAI Label module sends it.

    Raises:
        ValueError: if the voxel is not in the scan.
    """
    return _place(verified_header(scan, channels=None), index)


def clicked_mask(
    segmenter: PointSegmenter, scan: Path, foreground: Sequence[Sequence[int]], background: Sequence[Sequence[int]]
) -> MetaTensor:
    """Return the mask of the structure whose voxels were clicked, uint8 of shape ``(1, *spatial)``.

    Args:
        segmenter: keeps the features of the scan for the next click.
        scan: file of a scan, or folder of a DICOM series.
        foreground: voxels clicked in the structure, as Slicer counts them.
        background: voxels clicked outside of it.

    Raises:
        ValueError: without a foreground voxel, or if a voxel is not in the scan (see `PointSegmenter`).
    """
    if not foreground:
        raise ValueError(_NO_FOREGROUND)
    header = sound_header(scan, channels=None)
    return segmenter(scan, *([_place(header, index) for index in side] for side in (foreground, background)))


def similar_region(
    bundle: LoadedBundle,
    scan: Path,
    foreground: Sequence[Sequence[int]],
    background: Sequence[Sequence[int]],
    threshold: float,
) -> tuple[MetaTensor, MetaTensor]:
    """Return the similarity of every voxel to the clicked ones, and the region above a threshold.

    Args:
        bundle: whose backbone and preprocessing are used.
        scan: file of a scan, or folder of a DICOM series.
        foreground: clicked voxels, as Slicer counts them; the most similar one counts.
        background: voxels clicked as background; voxels more similar to one of them are not in the region.
        threshold: smallest similarity in the region, in [-1, 1].

    Returns:
        The similarity, float32, and the region, uint8, of shape ``(1, *spatial)`` on the grid of the scan.

    Raises:
        ValueError: without a foreground voxel, or if a voxel is outside the part of the scan that the bundle keeps.
    """
    if not foreground:
        raise ValueError(_NO_FOREGROUND)
    heat = _most_similar(bundle, scan, foreground)
    region = heat >= threshold
    if background:
        region &= heat > _most_similar(bundle, scan, background)
    return heat, region.to(torch.uint8)


def _most_similar(bundle: LoadedBundle, scan: Path, voxels: Sequence[Sequence[int]]) -> MetaTensor:
    heat = heat_map(bundle, scan, clicked_point(scan, voxels[0]))
    for voxel in voxels[1:]:
        heat = torch.maximum(heat, heat_map(bundle, scan, clicked_point(scan, voxel)))
    return heat


def _place(header: VolumeHeader, index: Sequence[int]) -> tuple[float, float, float]:
    if len(index) != 3 or any(not 0 <= i < size for i, size in zip(index, header.grid, strict=True)):
        raise ValueError(f"The voxel {list(index)} is not in {header.path}, which has {list(header.grid)} voxels.")
    i, j, k = index
    if torch.det(torch.from_numpy(header.affine[:3, :3])) < 0:
        k = header.grid[2] - 1 - k
    right, anterior, superior = (header.affine @ (i, j, k, 1))[:3]
    return float(right), float(anterior), float(superior)
