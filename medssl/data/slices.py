"""Volumes cut into 2D slices, with a data list of their own."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import Orientation

from medssl.data.datalist import SECTIONS, Datalist, write_datalist
from medssl.data.splits import group_of
from medssl.files import require_empty_folder, staging_folder
from medssl.scans.channels import image_channels, image_files
from medssl.scans.loading import VerifiedLoadImaged
from medssl.scans.structure_loading import load_structures
from medssl.scans.structures import names_as_text, structure_path

LIST = "datalist.json"


def cut_slices(datalist: Datalist, output_dir: str | os.PathLike[str], axis: int = 2) -> Path:
    """Write every slice of the cases of a list as a 2D NIfTI file, and return the path of their data list.

    Volumes are first reoriented to RAS. A slice has the spacing of its plane, stays in the section of its case, and
    names the case (or its group) as its ``group``, so that splits and few-label subsets keep the slices of a case
    together; its ``position`` says where it lies in the case, from 0 to 1. Slices of a single value are left out. The
    folder is filled in one go at the end, the list last.

    Args:
        datalist: of volumes.
        output_dir: new or empty folder.
        axis: axis across the slices: 0 sagittal, 1 coronal, 2 axial.

    Raises:
        FileExistsError: if the folder is not empty.
        ValueError: if the list already holds 2D images, or a label and its image differ in shape; names the file.
    """
    output = Path(output_dir)
    if datalist.spatial_dims != 3:
        raise ValueError(f"{datalist.path or datalist.name} already lists 2D images; give a list of volumes.")
    if axis not in (0, 1, 2):
        raise ValueError(f"axis={axis} is not an axis of a volume; give 0, 1 or 2.")
    require_empty_folder(output, "slices")
    with staging_folder(output, last=LIST) as staging:
        sections = {
            name: tuple(
                entry
                for case in datalist.sections.get(name, ())
                for entry in _cut(case, staging, axis, datalist.labels)
            )
            for name in SECTIONS
        }
        write_datalist(replace(datalist, sections=sections, path=None, spatial_dims=2), staging / LIST)
    return output / LIST


def _cut(case: Mapping[str, Any], folder: Path, axis: int, names: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """Write the slices of a case and yield their entries in the data list."""
    volumes = {"image": _in_ras(case["image"], case, False, names)}
    volumes |= {"label": _in_ras(case["label"], case, True, names)} if "label" in case else {}
    channels = [volume for volume, _ in volumes["image"]]
    (image, *_), spacing = channels, volumes["image"][0][1]
    files = [*image_channels(case["image"]), *([case["label"]] if "label" in case else [])]
    for file, (volume, _) in zip(files, [*volumes["image"], *volumes.get("label", [])], strict=True):
        if volume.shape != image.shape:
            raise ValueError(f"{file} has {volume.shape} voxels where the image has {image.shape}; run `medssl check`.")
    in_plane = np.delete(spacing, axis)
    digits = len(str(image.shape[axis] - 1))
    for index in range(image.shape[axis]):
        if any(np.ptp(channel.take(index, axis)) == 0 for channel in channels):
            continue
        name = f"{case['case']}_{'xyz'[axis]}{index:0{digits}d}"
        position = f"{(index + 0.5) / image.shape[axis]:.4f}"
        entry = {"case": name, "group": group_of(case), "position": position}
        for key, parts in volumes.items():
            stems = [name] if len(parts) == 1 else [f"{name}_{channel:04d}" for channel in range(len(parts))]
            paths = [folder / f"{key}s" / f"{stem}.nii.gz" for stem in stems]
            paths[0].parent.mkdir(exist_ok=True)
            for (volume, _), path in zip(parts, paths, strict=True):
                _save(volume.take(index, axis), in_plane, path)
            entry[key] = [str(path) for path in paths] if len(paths) > 1 else str(paths[0])
        yield entry


def _in_ras(
    file: str | list[str], case: Mapping[str, Any], is_label: bool, names: Mapping[int, str]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return every channel with its spacing."""
    if is_label and structure_path(file) is not None:
        volume = load_structures(file, image_files(case["image"])[0], names_as_text(names))
    else:
        key = "label" if is_label else "image"
        volume = VerifiedLoadImaged(key, dtype=None, ensure_channel_first=True)({key: file})[key]
    volume = Orientation(axcodes="RAS", labels=None)(volume)
    spacing = nib.affines.voxel_sizes(np.asarray(volume.affine, float))
    return [(channel, spacing) for channel in volume.numpy()]


def _save(pixels: np.ndarray, spacing: np.ndarray, path: Path) -> None:
    affine = np.diag([*spacing, 1.0, 1.0])
    image = nib.Nifti1Image(np.ascontiguousarray(pixels), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)
