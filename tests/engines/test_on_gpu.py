"""What only a CUDA device can show; benchmarks/gpu.sh runs it."""

import copy

import pytest
import torch

from medssl.engines.batches import prepare_views
from medssl.speed.gate import computes_as_float32
from medssl.speed.switches import Accelerated
from medssl.workflows.training import pretrain
from tests.engines.pretraining_method import make_batch, make_method
from tests.tiny import PRETRAINING

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]
SIZE = (64, 64, 16)


def on_gpu(batch):
    return prepare_views(batch, torch.device("cuda"), False)[0]


@pytest.mark.parametrize(
    "switches",
    [["amp"], ["channels_last"], ["activation_checkpointing"], ["amp", "channels_last", "activation_checkpointing"]],
    ids="+".join,
)
def test_switches_have_the_gradients_of_float32(switches):
    network = Accelerated(make_method(base_channels=16).cuda(), **dict.fromkeys(switches, True))
    good, report = computes_as_float32(network, on_gpu(make_batch(SIZE)))
    assert good, report


def test_the_gradients_are_those_of_the_cpu():
    method, batch = make_method(base_channels=16), make_batch(SIZE)
    on_device = copy.deepcopy(method).cuda()

    class Moved(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.method = on_device

        def forward(self, batch):
            return {"loss": self.method(on_gpu(batch))["loss"].cpu()}

    losses = [float(m(b)["loss"]) for m, b in ((method, batch), (on_device, on_gpu(batch)))]
    assert losses[0] == pytest.approx(losses[1], rel=0.01)
    expected = torch.autograd.grad(method(batch)["loss"], method.restoration_head.parameters())
    found = torch.autograd.grad(Moved()(batch)["loss"], on_device.restoration_head.parameters())
    for a, b in zip(expected, found, strict=True):
        assert (a - b.cpu()).norm() < 0.05 * a.norm() + 1e-4


def peak_bytes(**switches):
    network, batch = Accelerated(make_method(base_channels=16).cuda(), **switches), on_gpu(make_batch(SIZE))
    torch.cuda.reset_peak_memory_stats()
    network(batch)["loss"].backward()
    return torch.cuda.max_memory_allocated()


def test_bfloat16_and_recomputing_take_less_memory():
    assert peak_bytes(amp=True) < 0.8 * peak_bytes()
    assert peak_bytes(activation_checkpointing=True) < 0.8 * peak_bytes()


def test_pretraining_runs_on_the_device(ct_list, tmp_path):
    weights = pretrain("kats", ct_list, ["ct"], tmp_path / "run", layers=["fast"], overrides=PRETRAINING)
    assert all(torch.isfinite(value.float()).all() for value in torch.load(weights, weights_only=True).values())
