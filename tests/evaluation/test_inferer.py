from pathlib import Path

import pytest
import torch
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from torch import nn

from medssl.evaluation.inferer import PlannedInferer
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork
from tests.speed.wrong import needs_bfloat16
from tests.tiny import start


def network_of(spatial_dims: int) -> nn.Module:
    torch.manual_seed(0)
    backbone = FPN(spatial_dims, base_channels=4, num_levels=2)
    return SegmentationNetwork(backbone, LinearHead(spatial_dims, backbone.level_channels, num_classes=3)).eval()


def inferer_of(roi_size, **settings) -> PlannedInferer:
    return PlannedInferer(roi_size, base_channels=4, out_channels=3, **settings)


# The steps of these windows come out even, so that MONAI's own windows are the same.
@pytest.mark.parametrize(
    ("shape", "roi_size"),
    [((32, 24), (16, 16)), ((32, 24, 16), (16, 16, 8)), ((10, 24, 6), (16, 16, 8)), ((24, 8, 12), (8, 8, 4))],
    ids=["2D", "3D", "smaller than the patch", "anisotropic"],
)
def test_with_the_same_windows_in_float32_the_logits_are_those_of_monai(shape, roi_size):
    network, volume = network_of(len(shape)), torch.rand(2, 1, *shape)
    plain = SlidingWindowInferer(roi_size, sw_batch_size=3, overlap=0.5, mode="gaussian")
    planned = inferer_of(roi_size, overlap=0.5, sw_batch_size=3, amp=False)
    with torch.no_grad():
        expected = plain(volume, network)
    torch.testing.assert_close(planned(volume, network), expected, rtol=0, atol=0)


@needs_bfloat16
def test_in_bfloat16_the_logits_are_close_and_float32():
    network, volume = network_of(3), torch.rand(1, 1, 32, 24, 16)
    exact = inferer_of((16, 16, 8), amp=False)(volume, network)
    logits = inferer_of((16, 16, 8))(volume, network)
    assert logits.dtype == torch.float32
    assert 0 < (logits - exact).abs().max() < 0.05 * exact.abs().max()


class Unwritten(nn.Module):
    """Leaves one number unwritten in bfloat16 on every second call."""

    def __init__(self, network):
        super().__init__()
        self.network, self.calls = network, 0

    def forward(self, x):
        y, self.calls = self.network(x), self.calls + 1
        return y + 0 if not torch.is_autocast_enabled("cpu") or self.calls % 2 else y.index_fill(1, torch.tensor(0), 7)


@needs_bfloat16
def test_a_network_that_is_wrong_in_bfloat16_runs_in_float32_which_is_said(caplog):
    network, volume = network_of(3), torch.rand(1, 1, 32, 24, 16)
    exact = inferer_of((16, 16, 8), amp=False)(volume, network)
    assert torch.equal(inferer_of((16, 16, 8))(volume, Unwritten(network)), exact)
    assert caplog.text.count("float32 is used") == 1


class Wrong(nn.Module):
    """Gives the same wrong numbers in bfloat16 each time."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        y = self.network(x)
        return y.index_fill(1, torch.tensor(0), 0) if torch.is_autocast_enabled("cpu") else y


@needs_bfloat16
@pytest.mark.parametrize("stride", [None, 2])
def test_a_network_that_is_always_wrong_in_bfloat16_runs_in_float32_which_is_said(stride, caplog):
    network, volume = network_of(3), torch.rand(1, 1, 32, 24, 16)
    exact = inferer_of((16, 16, 8), amp=False, stride=stride)(volume, network)
    assert torch.equal(inferer_of((16, 16, 8), stride=stride)(volume, Wrong(network)), exact)
    assert caplog.text.count("float32 is used") == 1


@needs_bfloat16
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_a_sound_network_runs_in_bfloat16(spatial_dims, caplog):
    inferer = inferer_of((16, 16, 8)[:spatial_dims], stride=2)
    inferer(torch.rand(1, 1, *(32, 24, 16)[:spatial_dims]), network_of(spatial_dims))
    assert inferer.amp and caplog.text == ""


@needs_bfloat16
def test_kernels_as_wide_as_their_maps_run_in_float32():
    torch.manual_seed(0)
    conv, precisions = nn.Conv3d(1, 3, 3, stride=2, padding=1), []
    conv.register_forward_hook(lambda layer, inputs, output: precisions.append(output.dtype))
    network = nn.Sequential(conv, nn.Upsample(scale_factor=2))
    inferer_of((16, 16, 2), stride=2)(torch.rand(1, 1, 16, 16, 2), network)
    assert set(precisions) == {torch.float32}


def test_the_affine_stays():
    affine = torch.diag(torch.tensor([2.0, 3.0, 4.0, 1.0], dtype=torch.float64))
    logits = inferer_of((8, 8, 8))(MetaTensor(torch.rand(1, 1, 9, 9, 9), affine=affine), network_of(3))
    assert torch.equal(logits.affine, affine)


def test_half_precision_volumes_are_summed_in_float32():
    logits = inferer_of((8, 8), amp=False)(torch.rand(1, 1, 20, 20).half(), network_of(2))
    assert logits.dtype == torch.float32


def test_monai_and_its_tools_see_a_sliding_window_inferer():
    inferer = inferer_of([16, 16, 8])
    assert isinstance(inferer, SlidingWindowInferer)
    assert inferer.roi_size == (16, 16, 8)


def test_too_little_memory_names_the_setting_and_what_suffices():
    volume, network = torch.zeros(1, 1, 64, 64, 64), network_of(3)
    with pytest.raises(ValueError, match=r"memory_gib=0\.05 is too little for windows of \[32, 32, 32\]") as error:
        inferer_of((32, 32, 32), memory_gib=0.05)(volume, network)
    enough = float(str(error.value).rpartition(" ")[2].rstrip("."))
    assert inferer_of((32, 32, 32), memory_gib=enough + 0.01)(volume, network).shape == (1, 3, 64, 64, 64)


def test_more_memory_takes_more_windows_at_once():
    sizes = []

    def network(window: torch.Tensor) -> torch.Tensor:
        sizes.append(len(window))
        return window.repeat(1, 3, 1, 1, 1)

    volume = torch.zeros(1, 1, 128, 64, 64)
    for memory_gib in (0.15, 1):
        inferer_of((64, 64, 64), memory_gib=memory_gib, sw_batch_size=8, overlap=0.5, amp=False)(volume, network)
    assert sizes == [1, 1, 1, 3]


_PEAK = """
import sys, torch
from pathlib import Path
from medssl.evaluation.inferer import PlannedInferer
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork

channels, amp, memory_gib = int(sys.argv[1]), sys.argv[2] == "True", float(sys.argv[3])
torch.set_num_threads(1)
backbone = FPN(3, base_channels=channels, num_levels=4)
network = SegmentationNetwork(backbone, LinearHead(3, backbone.level_channels, num_classes=14)).eval()
volume = torch.rand(1, 1, 72, 72, 72)
inferer = PlannedInferer((32, 32, 32), channels, 14, memory_gib, sw_batch_size=64, amp=amp, stride=8)


def peak_gib():
    # Not the ru_maxrss of getrusage, which starts from the memory of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0]) / 2**20


before = peak_gib()
inferer(volume, network)
print(peak_gib() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
@pytest.mark.parametrize("amp", [False, True])
@pytest.mark.parametrize("channels", [8, 32])
def test_the_memory_of_a_fresh_process_stays_within_the_setting(tmp_path, channels, amp):
    (tmp_path / "peak.py").write_text(_PEAK, encoding="utf-8")
    process = start(channels, amp, 0.3, cwd=tmp_path, module="peak")
    out, error = process.communicate(timeout=600)
    assert process.returncode == 0, error
    assert 0.1 < float(out) <= 0.3
