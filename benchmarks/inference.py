"""Segment a whole volume: planned windows in bfloat16 against MONAI's sliding window in float32.

The network is the paper's pyramid (32 channels, 5 levels) with a linear head of 14 classes and random weights. The
peer takes windows of 128 x 128 x 32 at an overlap of 0.5, one at a time, and a plain restatement of the head: the
logits of every level are upsampled to full size, then summed. Ours takes the windows of `medssl.ops.windows`
and sums before it upsamples. One thread; each run has its own process.

`docs/results.md` has the change in Dice with these windows. For some networks it is 0.005 or more, so they are off by
default.

    python benchmarks/inference.py [--quick]
"""

import math
import sys
import tempfile
import time
from collections.abc import Sequence

import torch
from measuring import Row, best_of, in_fresh_process, print_rows
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, CropForegroundd, Invertd, Orientationd, Spacingd
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.evaluation.inferer import PlannedInferer
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from medssl.ops.windows import plan_windows
from medssl.transforms.labels import InvertToLabeld, LogitsToLabeld

STAGE = "inference"
NUM_CLASSES = 14
PAPER = {"base_channels": 32, "num_levels": 5, "patch_size": (128, 128, 32), "volume": (224, 192, 64)}
QUICK = {"base_channels": 8, "num_levels": 3, "patch_size": (32, 32, 16), "volume": (82, 61, 48)}
FULL_SCAN, QUICK_SCAN = (256, 256, 100), (128, 128, 50)
PAPER_VOLUME = (326, 245, 250)
MEMORY_GIB = 4.0
PEER = "MONAI SlidingWindowInferer, overlap 0.5, float32, per-level upsampling (plain restatement)"


class PerLevelHead(nn.Module):
    """A `LinearHead`'s logits the plain way: every level upsampled to full size, then all of them summed."""

    def __init__(self, head: LinearHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, pyramid: list[Tensor]) -> Tensor:
        """Return the logits for a pyramid, finest first."""
        size = pyramid[0].shape[2:]
        logits = [conv(level) for conv, level in zip(self.head.convs, pyramid[::-1], strict=True)]
        upsampled = []
        for i, coarse in enumerate(reversed(logits)):
            full = F.interpolate(coarse, scale_factor=float(2**i), mode="nearest")
            upsampled.append(full[(..., *map(slice, size))])
        return torch.stack(upsampled).sum(0)


def network(case: dict, plain: bool) -> SegmentationNetwork:
    """The network with seeded random weights, optionally with the plain head."""
    torch.manual_seed(0)
    backbone = FPN(3, base_channels=case["base_channels"], num_levels=case["num_levels"])
    head = LinearHead(3, backbone.level_channels, NUM_CLASSES)
    return SegmentationNetwork(backbone, PerLevelHead(head) if plain else head).eval()


def volume(case: dict) -> Tensor:
    """A smooth random volume."""
    torch.manual_seed(1)
    coarse = torch.rand(1, 1, *(math.ceil(size / 8) for size in case["volume"]))
    return F.interpolate(coarse, size=case["volume"], mode="trilinear")


def difference_on_the_same_windows() -> float:
    """Difference between our logits in float32 and the peer's if both use the same windows."""
    case = {**QUICK, "volume": (64, 64, 32)}
    ours = PlannedInferer(case["patch_size"], case["base_channels"], NUM_CLASSES, overlap=0.5, amp=False)
    plain = SlidingWindowInferer(case["patch_size"], sw_batch_size=1, overlap=0.5, mode="gaussian")
    with torch.inference_mode():
        peer = plain(volume(case), network(case, plain=True))
        return float((ours(volume(case), network(case, plain=False)) - peer).abs().max())


def whole(case: dict, plain: bool) -> float:
    """Segment a whole volume; return the seconds."""
    torch.set_num_threads(1)
    net, image = network(case, plain), volume(case)
    patch = tuple(case["patch_size"])
    if plain:
        inferer = SlidingWindowInferer(patch, sw_batch_size=1, overlap=0.5, mode="gaussian")
    else:
        inferer = PlannedInferer(patch, case["base_channels"], NUM_CLASSES, MEMORY_GIB, stride=stride(case))
    start = time.perf_counter()
    with torch.no_grad():
        inferer(image, net)
    return time.perf_counter() - start


def heads(case: dict) -> dict:
    """The seconds of both heads on the pyramid of one window, and how much their logits differ."""
    torch.set_num_threads(1)
    plain, ours = network(case, plain=True), network(case, plain=False)
    with torch.inference_mode():
        pyramid = ours.backbone(torch.rand(1, 1, *case["patch_size"]))
        difference = float((plain.head(pyramid) - ours.head(pyramid)).abs().max())
        seconds = {
            name: best_of(lambda head=net.head: head(pyramid)) for name, net in (("ours", ours), ("peer", plain))
        }
    return {**seconds, "difference": difference}


def bring_back(shape: list[int], plain: bool, file: str) -> float:
    """Resample logits to the grid of a scan, write the labels to a file; return the seconds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    affine = torch.diag(torch.tensor([-0.8, -0.8, 1.5, 1.0], dtype=torch.float64))
    preprocessing = Compose(
        [
            Orientationd("image", axcodes="RAS", labels=None),
            Spacingd("image", pixdim=(1.0, 1.0, 2.0), mode="bilinear"),
            CropForegroundd("image", source_key="image", allow_smaller=True),
        ]
    )
    data = preprocessing({"image": MetaTensor(torch.rand(1, *shape), affine=affine)})
    size = data["image"].shape[1:]
    coarse = torch.randn(1, NUM_CLASSES, *(math.ceil(voxels / 16) for voxels in size))
    data["pred"] = MetaTensor(F.interpolate(coarse, size=size, mode="trilinear")[0])
    peer = Compose([Invertd("pred", preprocessing, "image", nearest_interp=False), LogitsToLabeld("pred")])
    transform = peer if plain else InvertToLabeld("pred", preprocessing, "image")
    start = time.perf_counter()
    label = transform(data)["pred"]
    seconds = time.perf_counter() - start
    torch.save(label.as_tensor(), file)
    return seconds


def whole_rows(case: dict) -> list[Row]:
    """The rows of a whole volume, and of the paper's volume estimated from the time per computed voxel."""
    difference = difference_on_the_same_windows()
    ours, peer = (in_fresh_process("inference", "whole", case, plain) for plain in (False, True))
    seconds = ours.result, peer.result
    voxels = computed_voxels(case["volume"], case)
    size = " x ".join(map(str, case["volume"]))
    rates = " and ".join(f"{count / 1e3 / s:.0f}" for count, s in zip(voxels, seconds, strict=True))
    note = f"{said(voxels)}, {rates} kvoxel/s; in float32 on the same windows the logits differ by {difference:.0e}"
    budget = f"memory_gib={MEMORY_GIB:g}"
    rows = [
        Row(STAGE, f"time, {size}", *seconds, "s", PEER, 5, note=note),
        Row(STAGE, f"peak memory of the process, {size}", ours.peak_mib, peer.peak_mib, "MiB", PEER, None, budget),
    ]
    if case is PAPER:
        more = computed_voxels(PAPER_VOLUME, case)
        estimated = [s * count / before for s, count, before in zip(seconds, more, voxels, strict=True)]
        name = f"time, {' x '.join(map(str, PAPER_VOLUME))}: estimated"
        rows.append(Row(STAGE, name, *estimated, "s", PEER, 5, note=f"not run: {said(more)} at the rates above"))
    return rows


def computed_voxels(shape: Sequence[int], case: dict) -> tuple[int, int]:
    """The numbers of voxels that ours and the peer compute."""
    patch = case["patch_size"]
    ours = plan_windows(shape, patch, stride=stride(case))
    peer = plan_windows(shape, patch, overlap=0.5)
    return ours.computed_voxels, peer.computed_voxels


def said(voxels: Sequence[int]) -> str:
    """The computed voxels of both as text."""
    return f"{voxels[0] / 1e6:.3g} and {voxels[1] / 1e6:.3g} Mvoxel computed"


def stride(case: dict) -> int:
    """The stride of the coarsest level."""
    return 2 ** (case["num_levels"] - 1)


def scan_rows(scan: Sequence[int]) -> list[Row]:
    """The rows of resampling to the scan's own grid."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/{plain}.pt" for plain in (False, True)]
        ours, peer = (
            in_fresh_process("inference", "bring_back", scan, plain, file)
            for plain, file in zip((False, True), files, strict=True)
        )
        agreement = float(torch.eq(*(torch.load(file, weights_only=True) for file in files)).float().mean())
    size = f"{' x '.join(map(str, scan))}, {NUM_CLASSES} classes"
    name, note = "MONAI Invertd, then the maximum", f"equal labels at {agreement:.4%} of voxels"
    seconds = ours.result, peer.result
    return [
        Row(STAGE, f"back to the scan, peak memory, {size}", ours.peak_mib, peer.peak_mib, "MiB", name, note=note),
        Row(STAGE, f"back to the scan, time, {size}", *seconds, "s", name),
    ]


def measure(full: bool) -> list[Row]:
    """The rows of this stage."""
    case = PAPER if full else QUICK
    rows = whole_rows(case)
    head = in_fresh_process("inference", "heads", case).result
    window = " x ".join(map(str, case["patch_size"]))
    note = f"same pyramid; logits differ by at most {head['difference']:.0e}"
    rows.append(Row(STAGE, f"head alone, {window}", head["ours"], head["peer"], "s", "per-level upsampling", note=note))
    return [*rows, *scan_rows(FULL_SCAN if full else QUICK_SCAN)]


if __name__ == "__main__":
    print_rows(measure(full="--quick" not in sys.argv))
