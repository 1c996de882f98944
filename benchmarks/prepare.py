"""Prepare one CT of 512 x 512 x 200 voxels of int16, 45 MB as `.nii.gz`, on one thread.

Read it, turn it to RAS, crop it to the body, resample it to 1 x 1 x 2 mm and scale -1350..1000 HU to 0..1. medssl
runs the transforms of `bundles/data/ct.yaml` and verifies the CRC of the whole stream. The peer is MONAI's `Compose`
of the same steps, without the CRC, in the order of the paper (resample, then crop) and in the faster one (crop, then
resample). Memory is what the call adds to a process that has imported everything.
"""

import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from measuring import Row, best_of, in_fresh_process, print_rows
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
    Spacingd,
)

from medssl.packaging.sources import source_bundles
from medssl.scans.geometry import corner_distance
from medssl.scans.streams import whole_nifti
from medssl.transforms.foreground import Above, BodyMaskd

FULL, QUICK = (512, 512, 200), (128, 128, 50)
LOW, HIGH = -1350.0, 1000.0
BODY_HU = -500.0
SPACING = (1.0, 1.0, 2.0)
FIELD_MM, SLICE_MM = 409.6, 2.5


def write_ct(path: Path, shape: tuple[int, int, int]) -> None:
    """Write a body with two lungs in air, with noise that compresses to less than half, stored as LPS like most CT."""
    rng = np.random.default_rng(0)
    x, y = (np.linspace(-1, 1, size) for size in shape[:2])
    x, y = x[:, None], y[None]
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    lungs = ((abs(x) - 0.36) / 0.22) ** 2 + (y / 0.36) ** 2 < 1
    tissue = np.where(lungs, -850.0, np.where(body, 40.0, -1000.0))
    spread = np.where(body, 12.0, 6.0)
    voxels = np.empty(shape, np.int16, order="F")
    for index in range(shape[2]):
        voxels[..., index] = np.rint(tissue + spread * rng.standard_normal(shape[:2]))
    affine = np.diag([-FIELD_MM / shape[0], -FIELD_MM / shape[1], SLICE_MM, 1])
    path.write_bytes(gzip.compress(nib.Nifti1Image(voxels, affine).to_bytes(), 1))


def ours() -> Compose:
    """The transforms of ``ct.yaml`` for an image alone, from its path to a float32 volume."""
    parser = ConfigParser(ConfigParser.load_config_file(str(source_bundles() / "data" / "ct.yaml")))
    parser.update({"keys": ["image"], "interpolation": ["bilinear"]})
    return Compose(parser.get_parsed_content("image_transforms"))


def ours_with_body() -> Compose:
    """The transforms of pretraining, from a path to a volume and its body mask."""
    return Compose([*ours().transforms, BodyMaskd("image", threshold=(BODY_HU - LOW) / (HIGH - LOW))])


def paper_order() -> Compose:
    """MONAI's transforms in the order of the paper: resample, scale, crop."""
    return Compose([*_read(), _space(), _scale(), _crop((BODY_HU - LOW) / (HIGH - LOW))])


def crop_first() -> Compose:
    """MONAI's transforms in the order of ``ct.yaml``."""
    return Compose([*_read(), _crop(BODY_HU), _space(), _scale()])


PIPELINES: dict[str, Callable[[], Compose]] = {"medssl": ours, "paper": paper_order, "crop first": crop_first}


def added_mib(name: str, path: str) -> float:
    """The peak memory that preparing the scan adds to its process; needs a new process on Linux."""
    transforms = PIPELINES[name]()
    # Resets the peak to the memory in use: imports need more for a moment.
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    before = _memory("VmRSS")
    transforms({"image": path})
    return _memory("VmHWM") - before


def measure(full: bool) -> list[Row]:
    """The rows of the table; without `full`, for a 64th of the voxels."""
    torch.set_num_threads(1)
    shape = FULL if full else QUICK
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        write_ct(path, shape)
        note = _equality(path)
        seconds = {name: best_of(lambda make=make: make()({"image": str(path)})) for name, make in PIPELINES.items()}
        memory = {name: in_fresh_process("prepare", "added_mib", name, str(path)).result for name in PIPELINES}
        inflate = f"inflating alone {best_of(lambda: whole_nifti(path)):.2f} s"
        sample = ours()({"image": str(path)})
    volumes = f"input and output volume {(np.prod(shape) * 2 + sample['image'].numel() * 4) / 2**20:.0f} MiB"
    size = " x ".join(map(str, shape))
    return [
        Row(
            "prepare",
            f"time, {size}",
            seconds["medssl"],
            seconds["paper"],
            "s",
            "MONAI, order of the paper",
            8,
            inflate,
            note,
        ),
        Row(
            "prepare",
            f"time, {size}",
            seconds["medssl"],
            seconds["crop first"],
            "s",
            "MONAI, cropped first",
            None,
            inflate,
            note,
        ),
        *(
            Row("prepare", "memory", memory["medssl"], memory[name], "MiB", peer, None, volumes)
            for name, peer in (("paper", "MONAI, order of the paper"), ("crop first", "MONAI, cropped first"))
        ),
    ]


def profile(full: bool) -> str:
    """The milliseconds of every step of the three pipelines and of the body mask."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ct.nii.gz"
        write_ct(path, FULL if full else QUICK)
        return "\n".join(
            f"{name}: {_steps(make(), str(path))}" for name, make in {**PIPELINES, "medssl": ours_with_body}.items()
        )


def _steps(pipeline: Compose, path: str) -> str:
    texts = []
    # The second of two runs, since the first also loads libraries.
    for _ in range(2):
        sample, texts = {"image": path}, []
        for step in pipeline.transforms:
            start = time.perf_counter()
            sample = step(sample)
            texts.append(f"{type(step).__name__} {1000 * (time.perf_counter() - start):.0f} ms")
    return ", ".join(texts)


def _equality(path: Path) -> str:
    image, peer = (make()({"image": str(path)})["image"] for make in (ours, crop_first))
    displacement = corner_distance(peer.shape[1:], np.asarray(image.affine), np.asarray(peer.affine))
    difference = float((image - peer)[:, 2:-2, 2:-2, 2:-2].abs().mean()) * (HIGH - LOW)
    if image.shape != peer.shape or displacement > 0.01 or difference > 1:
        raise AssertionError(f"{image.shape} and {peer.shape}, {displacement} mm, {difference} HU apart")
    return f"largest displacement {displacement:.1e} mm, mean difference {difference:.1e} HU"


def _memory(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def _read() -> list:
    return [LoadImaged("image"), EnsureChannelFirstd("image"), Orientationd("image", axcodes="RAS", labels=None)]


def _space() -> Spacingd:
    return Spacingd("image", pixdim=SPACING, mode="bilinear")


def _scale() -> ScaleIntensityRanged:
    return ScaleIntensityRanged("image", a_min=LOW, a_max=HIGH, b_min=0.0, b_max=1.0, clip=True)


def _crop(threshold: float) -> CropForegroundd:
    return CropForegroundd("image", source_key="image", select_fn=Above(threshold), allow_smaller=True, margin=1)


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
    print(profile(full="--quick" not in sys.argv))
