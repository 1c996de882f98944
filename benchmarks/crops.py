"""A random patch of a prepared volume, from the volume store and from alternatives.

    python benchmarks/crops.py [--quick]

A prepared CT of 326 x 245 x 250 voxels; a patch of 128 x 128 x 32 becomes float32 in memory. Peers: MONAI's
CacheDataset (as it is by default) and PersistentDataset, each with RandSpatialCropd, and a compressed float32 NIfTI
that is read whole. Warm page cache, one thread, median. The last row is the memory of a process that draws patches of
all volumes, libraries included.

The target of 60 times PersistentDataset is out of reach with this store. Two thirds of the time turn the last axis of a
patch, which the store has first, so that a patch is read from few places of the disk (0.66 ms; 0.14 ms as a view that
is not turned, which the batch would turn instead). Filling a patch with zeros first is left out now where it lies
inside the volume: 12 % less. The memory of a worker is that of a Python process with torch and MONAI; it does not grow
with the number of cases.
"""

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from measuring import Row, in_fresh_process, median_of, print_rows
from monai.data import CacheDataset, PersistentDataset
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged, RandSpatialCropd

from medssl.data.store import StoreDataset, case_key, describe_source, preprocessing_sha256, volume_folder
from medssl.data.store import write_manifest as write_store
from medssl.data.volumes import write_volume
from medssl.transforms.foreground import body_mask
from medssl.transforms.patches import cut_patch

STAGE = "crops"
FULL = ((326, 245, 250), (128, 128, 32))
QUICK = ((120, 100, 90), (64, 64, 16))
THRESHOLD = 0.36170213
TOLERANCE = 8.3e-6
PREPROCESSING = preprocessing_sha256([])


def prepared_scan(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """An image scaled to 0..1 with noise, an ellipse of body in air, and the mask of the body."""
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    inside = (axes[0] ** 2 + axes[1] ** 2 < 0.95) & (axes[2] > -2)
    noise = np.random.default_rng(0).normal(0, 0.02, shape)
    image = np.clip(np.where(inside, 0.55, 0.1) + noise, 0, 1).astype(np.float32)
    return image, body_mask(image, THRESHOLD)


def write_scans(folder: Path, shape: tuple[int, ...], count: int) -> list[dict[str, str]]:
    """Write equal prepared scans as ``.nii.gz`` and into the store ``folder/store``; return their data list."""
    image, body = prepared_scan(shape)
    first = folder / "0.nii.gz"
    nib.save(nib.Nifti1Image(image, np.eye(4)), first)
    source = describe_source(first)
    key = case_key(source["sha256"], PREPROCESSING)
    cases = []
    for number in range(count):
        case = {"case": str(number), "image": str(folder / f"{number}.nii.gz")}
        volume = volume_folder(folder / "store", case["case"], key)
        volume.mkdir(parents=True)
        if number:
            os.link(first, case["image"])
        identity = {"case": case["case"], "key": key, "preprocessing": PREPROCESSING, "source": source}
        write_volume(volume, torch.from_numpy(image)[None], torch.from_numpy(body)[None], np.eye(4), identity)
        cases.append(case)
    write_store(folder / "store", [], [])
    return cases


def open_store(folder: Path, cases: list[dict[str, str]]) -> StoreDataset:
    """The cases as `medssl pretrain --store` reads them."""
    return StoreDataset(folder / "store", cases, PREPROCESSING)


def ours(volumes: StoreDataset, size: tuple[int, ...], random: np.random.Generator, case: int = 0) -> torch.Tensor:
    """A random patch of a volume of the store."""
    volume = volumes[case]
    start = np.array([random.integers(n - p + 1) for n, p in zip(volume["image"].shape[1:], size, strict=True)])
    return cut_patch(volume["image"], start, np.array(size), volume["intensity"])


def monai_dataset(cases: list[dict[str, str]], size: tuple[int, ...], cache_dir: Path | None = None) -> CacheDataset:
    """Random patches by MONAI: from its memory, or from its cache folder."""
    steps = [LoadImaged("image"), EnsureChannelFirstd("image"), RandSpatialCropd("image", size, random_size=False)]
    transform = Compose(steps).set_random_state(seed=0)
    if cache_dir is not None:
        return PersistentDataset(cases, transform, cache_dir)
    return CacheDataset(cases, transform, progress=False)


def from_nifti(path: str, size: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    """Plain restatement: read and unpack the whole file, convert it, cut the patch."""
    image = nib.load(path).get_fdata().astype(np.float32)
    start = [random.integers(n - p + 1) for n, p in zip(image.shape, size, strict=True)]
    return image[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))].copy()


def require_same_voxels(volumes: StoreDataset, crop: torch.Tensor, size: tuple[int, ...]) -> None:
    """Check that the store holds the voxels of MONAI's patch, at the place that the patch's affine gives."""
    volume, start = volumes[0], crop.affine[:3, 3].long().numpy()
    difference = cut_patch(volume["image"], start, np.array(size), volume["intensity"]) - crop.as_tensor()
    if difference.abs().max() > TOLERANCE:
        raise ValueError(f"The store and MONAI differ by {difference.abs().max():g}.")


def our_memory(folder: str, count: int, size: list[int]) -> int:
    """Draw ten patches from each volume of the store; return their number."""
    cases = [{"case": str(n), "image": f"{folder}/{n}.nii.gz"} for n in range(count)]
    volumes, random = open_store(Path(folder), cases), np.random.default_rng(0)
    return len([ours(volumes, tuple(size), random, case).sum() for case in range(count) for _ in range(10)])


def monai_memory(folder: str, count: int, size: list[int]) -> int:
    """Draw ten patches from each volume of a CacheDataset; return their number."""
    volumes = monai_dataset([{"image": f"{folder}/{n}.nii.gz"} for n in range(count)], tuple(size))
    return len([volumes[case]["image"].sum() for case in range(count) for _ in range(10)])


def time_rows(folder: Path, cases: list[dict[str, str]], size: tuple[int, ...], full: bool) -> list[Row]:
    """One row for each peer."""
    volumes, random = open_store(folder, cases), np.random.default_rng(0)
    cached = monai_dataset(cases[:1], size)
    persistent = monai_dataset(cases[:1], size, folder / "persistent")
    require_same_voxels(volumes, cached[0]["image"], size)
    require_same_voxels(volumes, persistent[0]["image"], size)
    peers: list[tuple[str, float, Callable, int]] = [
        ("MONAI CacheDataset (default) + RandSpatialCropd", 30, lambda: cached[0], 30),
        ("MONAI PersistentDataset + RandSpatialCropd", 60, lambda: persistent[0], 30),
        ("float32 .nii.gz, read and cut", 300, lambda: from_nifti(cases[0]["image"], size, random), 5),
    ]
    image = torch.rand(1, *FULL[0] if full else QUICK[0])
    corner = tuple(slice(n) for n in size)
    copy = median_of(lambda: image[(slice(None), *corner)].clone(memory_format=torch.contiguous_format))
    quantity = f"patch {size[0]} x {size[1]} x {size[2]}"
    limit = f"cutting it from float32 in memory: {1000 * copy:.2f} ms"
    note = f"voxels equal to {TOLERANCE:g}"
    rows = []
    for name, target, peer, repeats in peers:
        own = 1000 * median_of(lambda: ours(volumes, size, random))
        numbers = (own, 1000 * median_of(peer, repeats))
        rows.append(Row(STAGE, quantity, *numbers, "ms", name, target if full else None, limit, note))
    return rows


def memory_row(folder: Path, size: tuple[int, ...], few: int, many: int) -> Row:
    """The row for the memory of a worker."""
    found = {
        (function, count): in_fresh_process("crops", function, str(folder), count, list(size)).peak_mib
        for function in ("our_memory", "monai_memory")
        for count in (few, many)
    }
    own, peer = (f"{found[function, few]:.0f}" for function in ("our_memory", "monai_memory"))
    note = f"with {few} volumes: {own} and {peer} MiB"
    numbers = (found["our_memory", many], found["monai_memory", many])
    return Row(STAGE, f"peak memory of a worker, {many} volumes", *numbers, "MiB", "MONAI CacheDataset", note=note)


def measure(full: bool) -> list[Row]:
    """The rows of this stage."""
    torch.set_num_threads(1)
    shape, size = FULL if full else QUICK
    with tempfile.TemporaryDirectory() as name:
        cases = write_scans(Path(name), shape, 20)
        return [*time_rows(Path(name), cases, size, full), memory_row(Path(name), size, 2, 20)]


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
