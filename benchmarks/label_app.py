"""Seconds from saved labels to a model: the `train` of the MONAI Label app, without the server.

    OMP_NUM_THREADS=2 python benchmarks/label_app.py

Three labelled phantoms of 128 x 128 x 64 voxels, nine structures, the small backbone (FPN, 16 base channels, 4
levels), windows of 128 x 128 x 32 at the spacing of the scans. Weights are random; trained ones take the same time.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from monai.bundle import ConfigParser

from medssl.networks.fpn import FPN
from medssl.packaging.inference_config import inference_config
from medssl.packaging.sources import source_bundles
from medssl.phantom.anatomy import LABELS
from medssl.phantom.dataset import phantom_case
from medssl.workflows.labelling import Labelling
from medssl.workflows.labelling_carry import LabelledScan

NETWORK = {"base_channels": 16, "num_levels": 4}
SPACING = (2.9, 2.9, 5.0)


def write_bundle(folder: Path, patch_size: Sequence[int]) -> Path:
    """Write the two bundle files that labelling reads."""
    names = ("pretrain/configs/train.yaml", "networks/fpn.yaml", "data/ct.yaml")
    parser = ConfigParser(ConfigParser.load_config_files([str(source_bundles() / name) for name in names]))
    parser.update({**NETWORK, "spacing": list(SPACING), "patch_size": list(patch_size)})
    for name in ("configs", "models"):
        (folder / name).mkdir(parents=True)
    content = json.dumps(inference_config("pretrain", parser.get()))
    (folder / "configs" / "inference.json").write_text(content, encoding="utf-8")
    torch.manual_seed(0)
    weights = {f"backbone.{name}": value for name, value in FPN(**NETWORK).state_dict().items()}
    torch.save(weights, folder / "models" / "model.pt")
    return folder


def write_scans(folder: Path, count: int, shape: Sequence[int]) -> list[LabelledScan]:
    """Write phantoms and their labels."""
    scans = []
    for seed in range(count):
        image, label, affine = phantom_case(seed, "CT", shape, SPACING)
        paths = folder / f"case{seed}.nii.gz", folder / f"label{seed}.nii.gz"
        for path, array in zip(paths, (image, label.astype(np.uint8)), strict=True):
            nib.save(nib.Nifti1Image(array, affine), path)
        scans.append(LabelledScan(f"case{seed}", *paths))
    return scans


def main() -> None:
    """Print a line for the first training, one with kept features, and one after a label has changed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scans", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=(128, 128, 64))
    parser.add_argument("--patch-size", type=int, nargs=3, default=(128, 128, 32))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scans = write_scans(folder, options.scans, options.shape)
        bundle = write_bundle(folder / "bundle", options.patch_size)
        labelling = Labelling(bundle, folder / "kept", dict(LABELS))
        for occasion in ("first", "features kept", "one label changed"):
            if occasion == "one label changed":
                change_label(scans[0].label)
            begun, worked = time.monotonic(), time.process_time()
            report = labelling.train(scans)
            seconds, worked = time.monotonic() - begun, time.process_time() - worked
            parts, voxels = report["seconds"], report["voxels_computed"]
            line = f"{occasion}: {seconds:.1f} s ({worked:.1f} s of processor time), {parts}"
            print(f"{line}, features of {voxels} voxels computed", flush=True)


def change_label(path: Path) -> None:
    """Remove a corner of a label, as a correction would."""
    image = nib.load(path)
    label = np.asarray(image.dataobj).copy()
    label[: label.shape[0] // 2, :, : label.shape[2] // 4] = 0
    nib.save(nib.Nifti1Image(label, image.affine), path)


if __name__ == "__main__":
    main()
