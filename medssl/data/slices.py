"""From a list of volumes to a list of their slices."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from monai.transforms import Orientation

from medssl.data.datalist import SECTIONS, Datalist, write_datalist
from medssl.data.splits import group_of
from medssl.scans.loading import VerifiedLoadImage

LIST = "datalist.json"


def cut_slices(datalist: Datalist, output_dir: str | os.PathLike[str], axis: int = 2) -> Path:
    """Write every slice of the cases of a list as a 2D NIfTI file, and return the path of their list.

    Volumes are turned to RAS first. Slices have the spacing of their plane. Each stays in the section of its case, and
    names the case (or its group) as its ``group``, so that splits and few-label subsets keep the slices of a case
    together; its ``position`` says where in the case it is, from 0 to 1. A slice that has one value throughout is left
    out. The folder is filled at the end, at once.

    Args:
        datalist: of volumes.
        output_dir: new or empty folder.
        axis: across the slices: 0 sagittal, 1 coronal, 2 axial.

    Raises:
        FileExistsError: if the folder holds something.
        ValueError: if the list holds images already, or a label has another shape than its image; names the file.
    """
    output = Path(output_dir)
    if datalist.spatial_dims != 3:
        raise ValueError(f"{datalist.path or datalist.name} lists 2D images already; give a list of volumes.")
    if axis not in (0, 1, 2):
        raise ValueError(f"axis={axis} is no axis of a volume; give 0, 1 or 2.")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise FileExistsError(f"{output} is not empty; give a new folder for the slices, or empty this one.")
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".slices-", dir=output) as staging:
        sections = {
            name: tuple(entry for case in datalist.sections.get(name, ()) for entry in _cut(case, Path(staging), axis))
            for name in SECTIONS
        }
        write_datalist(replace(datalist, sections=sections, path=None, spatial_dims=2), Path(staging) / LIST)
        # The list goes last: a folder with a list is whole.
        for name in sorted(os.listdir(staging), key=lambda name: (name == LIST, name)):
            os.replace(Path(staging) / name, output / name)
    return output / LIST


def _cut(case: Mapping[str, str], folder: Path, axis: int) -> Iterator[dict[str, str]]:
    """Write the slices of a case and give their entries."""
    volumes = {key: _in_ras(case[key]) for key in ("image", "label") if key in case}
    (image, spacing), *labels = volumes.values()
    for label, _ in labels:
        if label.shape != image.shape:
            raise ValueError(
                f"{case['label']} has {label.shape} voxels where the image has {image.shape}; run `medssl check`."
            )
    in_plane = np.delete(spacing, axis)
    digits = len(str(image.shape[axis] - 1))
    for index in range(image.shape[axis]):
        if image.take(index, axis).min() == image.take(index, axis).max():
            continue
        name = f"{case['case']}_{'xyz'[axis]}{index:0{digits}d}"
        position = f"{(index + 0.5) / image.shape[axis]:.4f}"
        entry = {"case": name, "group": group_of(case), "position": position}
        for key, (volume, _) in volumes.items():
            path = folder / f"{key}s" / f"{name}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            _save(volume.take(index, axis), in_plane, path)
            entry[key] = str(path)
        yield entry


def _in_ras(path: str) -> tuple[np.ndarray, np.ndarray]:
    volume = VerifiedLoadImage(dtype=None, ensure_channel_first=True)(path)
    volume = Orientation(axcodes="RAS", labels=None)(volume)
    return volume[0].numpy(), nib.affines.voxel_sizes(np.asarray(volume.affine, float))


def _save(pixels: np.ndarray, spacing: np.ndarray, path: Path) -> None:
    affine = np.diag([*spacing, 1.0, 1.0])
    image = nib.Nifti1Image(np.ascontiguousarray(pixels), affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    nib.save(image, path)
