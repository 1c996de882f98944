"""Solve a linear probe, and train it on features computed once, beside recomputing the backbone at every step.

The first row solves the probe of `medssl probe` on ten made-up volumes of the size of a hippocampus crop (35 x 50 x 36,
2 classes), a pyramid of 16 channels and 4 levels: features, choice of the penalty and solution, in seconds of one core,
beside the paper's budget on kept features (`medssl probe --cached`), from its measured seconds a patch and a step. The
second row is the paper's protocol: 45,000 steps of 7 patches of 128 x 128 x 32, a pyramid of 32 channels and 5 levels,
13 classes. Nobody waits for the peer: its seconds a patch (backbone, head, loss, backward pass, Adam) are measured and
multiplied. Ours is the measured seconds a kept patch times 64 patches of each of 20 cases, plus the measured seconds a
step on rows times 45,000. Reading and preprocessing of the cases, the crops of the peer and the validation of either
side are not counted. The last row is measured whole, through the workflow of `medssl probe` on phantoms, `--cached`
beside `--with paper_probe`. Every run is in a process of its own, on two threads (`--quick`: one).

    python benchmarks/probe.py [--quick]
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from measuring import Row, best_of, in_fresh_process, print_rows

from medssl.evaluation.metrics import read_rows
from medssl.losses.dice_bce import DiceBCELoss, RowDiceBCELoss, RowTargets
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows
from medssl.networks.segmentation import SegmentationNetwork
from medssl.ops.pyramid import gather_voxels
from medssl.phantom.dataset import write_phantom
from medssl.probe.cache import FeatureCache
from medssl.probe.fit import fit_head
from medssl.probe.rows import VoxelRows
from medssl.workflows.training import evaluate, pretrain, train_segmentation

STAGE = "probe"
PAPER = {"base_channels": 32, "num_levels": 5, "patch_size": (128, 128, 32), "num_classes": 13}
SMALL = {"base_channels": 16, "num_levels": 4, "patch_size": (24, 32, 24), "num_classes": 2}
QUICK = {"base_channels": 8, "num_levels": 3, "patch_size": (32, 32, 16), "num_classes": 5}
PAPER_STEPS, PATCHES, CASES, PATCHES_PER_CASE, ROWS_PER_PATCH = 45000, 7, 20, 64, 1024
PEER = "medssl's plain probe: the backbone at every step"
PHANTOM_NETWORK = {"base_channels": 8, "num_levels": 3, "num_workers": 0}
PHANTOM_PROBE = {
    "num_workers": 0,
    "max_epochs": 1,
    "patches_per_batch": PATCHES,
    "volumes_per_batch": 1,
    "val_interval": 1,
    "overlap": 0.25,
    "learning_rate": 0.03,
    "standardize": True,
}


def make_network(size: dict, seed: int = 0) -> SegmentationNetwork:
    """Give the network with seeded random weights."""
    torch.manual_seed(seed)
    backbone = FPN(3, base_channels=size["base_channels"], num_levels=size["num_levels"])
    return SegmentationNetwork(backbone, LinearHead(3, backbone.level_channels, size["num_classes"]), frozen=True)


def make_case(size: dict, shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Give an image of noise with a brighter block for every class, and the label map of the blocks."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.zeros(1, *shape, dtype=torch.uint8)
    for value in range(1, size["num_classes"] + 1):
        corner = [int(torch.randint(0, n * 3 // 4, (1,), generator=generator)) for n in shape]
        label[(0, *(slice(c, c + n // 5) for c, n in zip(corner, shape, strict=True)))] = value
    return torch.rand(1, *shape, generator=generator) + 0.2 * label, label


def plain_patch(size: dict) -> float:
    """Give the seconds of a training step of the plain probe on one patch."""
    network = make_network(size).train()
    image, label = make_case(size, tuple(size["patch_size"]))
    optimizer = torch.optim.Adam(network.head.parameters(), lr=3e-4)

    def step() -> None:
        optimizer.zero_grad()
        DiceBCELoss()(network(image[None]), label[None]).backward()
        optimizer.step()

    step()
    return best_of(step, 2)


def cached_parts(size: dict, clock: str = "perf_counter") -> dict[str, float]:
    """Give the seconds of a kept patch, those of a step on rows, and how far rows are from the dense head."""
    now = getattr(time, clock)
    network = make_network(size)
    shape = tuple(2 * n for n in size["patch_size"])
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder, network.backbone, size["patch_size"], size["num_classes"], 2, ROWS_PER_PATCH)
        image, label = make_case(size, shape)
        start = now()
        rows = cache.patches("a", image, label)
        patch = (now() - start) / 2
    step = rows_step(network, rows, now)
    return {"patch": patch, "step": step, "difference": _difference(network, size)}


def rows_step(network: SegmentationNetwork, rows: VoxelRows, now: Callable[[], float]) -> float:
    """Give the seconds of a training step on the rows of seven patches, as `--cached` makes it."""
    count = int(rows.counts[0])
    features = torch.from_numpy(np.tile(rows.features[:count], (PATCHES, 1))).float()
    label, weight = (torch.from_numpy(np.tile(part[:count], PATCHES)) for part in (rows.labels, rows.weights))
    targets = RowTargets(label, weight.float(), [count] * PATCHES)
    head, loss = LinearHeadOnRows(network.head).train(), RowDiceBCELoss()
    optimizer = torch.optim.Adam(network.head.parameters(), lr=3e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss(head(features, targets.weight), targets).backward()
        optimizer.step()

    step()
    start = now()
    for _ in range(30):
        step()
    return (now() - start) / 30


def solved(size: dict, num_cases: int, shape: list[int], max_voxels: int) -> dict[str, float]:
    """Give the seconds of one core that features and fit of a solved probe take, and how well it is solved."""
    network = make_network(size)
    names = [str(value) for value in range(size["num_classes"])]
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder, network.backbone, size["patch_size"], size["num_classes"])
        start = time.process_time()
        rows = {
            str(case): cache.volume(str(case), *make_case(size, tuple(shape), case), max_voxels // num_cases)
            for case in range(num_cases)
        }
        features = time.process_time() - start
        fit = fit_head(network.head, rows, names)
        seconds = time.process_time() - start
    solution = fit.solution
    return {
        "features": features,
        "seconds": seconds,
        "evaluations": solution.num_evaluations,
        "gradient": solution.gradient_norm,
    }


@torch.no_grad()
def _difference(network: SegmentationNetwork, size: dict) -> float:
    image, _ = make_case(size, tuple(size["patch_size"]))
    pyramid = network.backbone(image[None])
    voxels = torch.stack([torch.randint(0, n, (2000,)) for n in size["patch_size"]], dim=1)
    voxels = torch.cat([torch.zeros(2000, 1, dtype=torch.long), voxels], dim=1)
    dense = network.head(pyramid).movedim(1, -1)[tuple(voxels.unbind(1))]
    return float((LinearHeadOnRows(network.head)(gather_voxels(pyramid, voxels)) - dense).abs().max())


def phantom_data(folder: str, steps: int) -> str:
    """Write phantoms and pretrain a backbone on them; give the data list."""
    cases = {"num_cases": 6, "num_labelled": 2, "num_validation": 1, "num_test": 2}
    datalist = write_phantom(Path(folder) / "data", modality="MR", **cases)
    settings = {**PHANTOM_NETWORK, "max_epochs": 1, "steps_per_epoch": steps, "pairs_per_batch": 2, "num_voxels": 128}
    settings |= {"learning_rate": 0.001, "panel_every": steps}
    pretrain("kats", datalist, ["mr", "phantom"], Path(folder) / "pretrain", overrides=settings)
    return str(datalist)


def phantom_probe(folder: str, datalist: str, cached: bool, patch_size: list[int], steps: int) -> list[float]:
    """Give the seconds of a probe of two labelled phantoms, and its mean Dice on the test scans."""
    run = Path(folder) / f"cached_{cached}"
    settings = {**PHANTOM_PROBE, "patch_size": patch_size, "steps_per_epoch": steps, "checkpoint_every": steps}
    layers = ["cached_probe" if cached else "paper_probe"]
    common = ("linear_probe", Path(datalist), ["mr", "phantom"], run)
    start = time.perf_counter()
    train_segmentation(*common, backbone=Path(folder) / "pretrain", num_labels=2, layers=layers, overrides=settings)
    seconds = time.perf_counter() - start
    dice = [row["dice"] or 0.0 for row in read_rows(evaluate(run)) if row["reference_voxels"]]
    return [seconds, float(np.mean(dice))]


def measure(full: bool) -> list[Row]:
    """Give the rows of the protocol, of the measured budget and of the annotator."""
    size, threads = (PAPER, 2) if full else (QUICK, 1)
    steps, pretraining, phantom_steps = (PAPER_STEPS, 30, 100) if full else (PAPER_STEPS, 2, 10)
    patch_size = [32, 32, 32] if full else [32, 32, 16]
    patch = in_fresh_process("probe", "plain_patch", size, threads=threads).result
    parts = in_fresh_process("probe", "cached_parts", size, threads=threads).result
    plain_hours = steps * PATCHES * patch / 3600
    cached_hours = (CASES * PATCHES_PER_CASE * parts["patch"] + steps * parts["step"]) / 3600
    with tempfile.TemporaryDirectory() as folder:
        datalist = in_fresh_process("probe", "phantom_data", folder, pretraining, threads=threads).result
        runs = [
            in_fresh_process(
                "probe", "phantom_probe", folder, datalist, cached, patch_size, phantom_steps, threads=threads
            ).result
            for cached in (True, False)
        ]
    crops = in_fresh_process("probe", "solved", SMALL, 10 if full else 2, [35, 50, 36], 100_000, threads=1)
    small = in_fresh_process("probe", "cached_parts", SMALL, "process_time", threads=1).result
    trained = 10 * PATCHES_PER_CASE * small["patch"] + steps * small["step"]
    return [
        Row(
            STAGE,
            "time of one core, 10 volumes of 35 x 50 x 36 solved" if full else "the same, 2 volumes",
            crops.result["seconds"],
            trained,
            "s",
            f"medssl's probe trained {steps} steps on kept features",
            None,
            "under 25 s",
            f"features {crops.result['features']:.1f} s; largest gradient {crops.result['gradient']:.0e} after "
            f"{crops.result['evaluations']} evaluations; {crops.extra_mib:.0f} MiB of memory",
        ),
        Row(
            STAGE,
            f"time, {steps} steps x {PATCHES} patches of {size['patch_size']}, {CASES} cases",
            cached_hours,
            plain_hours,
            "h",
            PEER,
            50 if full else None,
            f"{CASES * PATCHES_PER_CASE} passes of the backbone instead of {steps * PATCHES}",
            f"both extrapolated from {patch:.2f} s a patch (plain), {parts['patch']:.2f} s a kept patch and "
            f"{parts['step'] * 1000:.0f} ms a step on rows; logits within {parts['difference']:.0e} of the dense head",
        ),
        Row(
            STAGE,
            f"time, {phantom_steps} steps x {PATCHES} patches of {tuple(patch_size)}, 2 phantoms, measured whole",
            runs[0][0],
            runs[1][0],
            "s",
            PEER,
            None,
            f"{2 * PATCHES_PER_CASE} passes instead of {phantom_steps * PATCHES}",
            f"with validation; test Dice {runs[0][1]:.3f} (cached) and {runs[1][1]:.3f} (plain)",
        ),
    ]


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
