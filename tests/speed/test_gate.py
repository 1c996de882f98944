import copy
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from ignite.engine import Engine

from medssl.engines.batches import prepare_views
from medssl.methods.moco import MoCo
from medssl.methods.simclr import SimCLR
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNetEncoder
from medssl.speed.gate import RequireGradientParity, computes_as_float32, first_samples
from medssl.speed.parity import Parity
from medssl.speed.switches import Accelerated
from tests.engines.pretraining_method import make_batch, make_method
from tests.speed.wrong import SometimesWrongInBfloat16, WrongInBfloat16, WrongOutputInBfloat16, needs_bfloat16, replaced


@pytest.fixture(autouse=True)
def _processor_with_bfloat16(monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.multiplies_bfloat16", lambda device_type: True)


def engine_with(batch):
    engine = Engine(lambda engine, batch: None)
    engine.prepare_batch, engine.non_blocking, engine.to_kwargs = prepare_views, False, {}
    engine.state.device, engine.state.batch = torch.device("cpu"), batch
    return engine


def image_method(backbone, method=SimCLR, size=64, **options):
    torch.manual_seed(0)
    views = torch.rand(2, 2, 1, *[size] * backbone.spatial_dims)
    return method(backbone, 32, **options), {"view_1": views[0], "view_2": views[1]}


def test_measuring_leaves_no_trace():
    method = make_method()
    network, batch = Accelerated(method, amp=True, channels_last=True), make_batch()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    random = torch.get_rng_state()
    engine = engine_with(batch)
    seen = {key: value.clone() for key, value in batch.items() if isinstance(value, torch.Tensor)}
    RequireGradientParity(network)(engine)
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(torch.equal(value, seen[key]) for key, value in engine.state.batch.items() if key in seen)
    assert all(p.grad is None for p in method.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert {layer.eps for layer in method.modules() if hasattr(layer, "eps")} == {1e-5}


def test_the_first_batch_alone_is_measured(monkeypatch):
    handler, calls = RequireGradientParity(Accelerated(make_method(), channels_last=True)), []
    monkeypatch.setattr("medssl.speed.gate.computes_as_float32", lambda *a: calls.append(a) or (True, ""))
    engine = engine_with(None)
    handler.attach(engine)
    engine.run([make_batch(pairs=3)] * 3, max_epochs=1)
    assert len(calls) == 1
    assert len(calls[0][1]["view_1"]) == 2


def test_where_bfloat16_would_be_emulated_the_other_switches_stay_and_the_log_says_so(monkeypatch, caplog):
    monkeypatch.setattr("medssl.speed.gate.multiplies_bfloat16", lambda device_type: False)
    network, batch = Accelerated(make_method(), amp=True, channels_last=True), make_batch()
    RequireGradientParity(network)(engine_with(batch))
    assert network.switches == ("channels_last",)
    assert [record.message for record in caplog.records if record.levelname == "WARNING"] == [
        "This processor has no instructions for bfloat16: amp is off, steps stay in float32."
    ]


def test_a_step_whose_bfloat16_would_be_emulated_is_that_of_float32(monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.multiplies_bfloat16", lambda device_type: False)
    method, batch = make_method(), make_batch()
    expected, network = copy.deepcopy(method)(batch), Accelerated(method, amp=True)
    RequireGradientParity(network)(engine_with(batch))
    losses = network(batch)
    assert all(torch.equal(losses[name], expected[name]) for name in expected)


def test_nothing_is_measured_without_a_switch(monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.computes_as_float32", None)
    engine = engine_with(None)
    RequireGradientParity(Accelerated(make_method())).attach(engine)
    engine.run([make_batch()], max_epochs=1)


def test_the_samples_that_are_taken_keep_their_voxels_and_names():
    batch, taken = make_batch(pairs=3, num_voxels=5), first_samples(make_batch(pairs=3, num_voxels=5), 2)
    assert torch.equal(taken["view_2"], batch["view_2"][:2])
    assert torch.equal(taken["voxels_1"], batch["voxels_1"][:10])
    assert taken["case"] == ["a", "a"]


@pytest.mark.parametrize(
    "switches",
    [["amp"], ["channels_last"], ["activation_checkpointing"], ["amp", "channels_last", "activation_checkpointing"]],
    ids="+".join,
)
@pytest.mark.parametrize("size", [(16, 16, 8), (16, 16)], ids=["3D", "2D"])
def test_every_switch_that_runs_eagerly_is_allowed(switches, size):
    network = Accelerated(make_method(len(size)), **dict.fromkeys(switches, True))
    good, report = computes_as_float32(network, make_batch(size))
    assert good, report
    assert ("layers alone" in report) == ("amp" in switches)


@pytest.mark.parametrize(
    "make",
    [
        lambda: (make_method(3, 4, 2), make_batch(num_voxels=16)),
        lambda: (make_method(base_channels=16, num_levels=2), make_batch((4, 16, 8))),
        lambda: image_method(UNetEncoder(2, base_channels=8, num_levels=3)),
        lambda: image_method(ResNet(depth=50, base_channels=4), MoCo, queue_size=256),
        lambda: image_method(ResNet(3, depth=10, base_channels=4), size=32),
    ],
    ids=["few voxels", "two voxels thick", "plain", "50 layers", "one voxel thick"],
)
def test_bfloat16_is_allowed_for_networks_of_other_kinds(make):
    method, batch = make()
    good, report = computes_as_float32(Accelerated(method, amp=True), batch)
    assert good, report


@needs_bfloat16
@pytest.mark.parametrize("kind", [WrongInBfloat16, WrongOutputInBfloat16, SometimesWrongInBfloat16])
def test_a_layer_that_is_wrong_in_bfloat16_is_refused_by_name_with_the_switch_to_turn_off(kind):
    method, batch = image_method(ResNet(depth=10, base_channels=4))
    method.projector[0] = replaced(method.projector[0], kind)
    message = r"With amp \+ channels_last, .*alone, 1 of 14 layers .*: projector\.0\. Set --amp false\."
    with pytest.raises(ValueError, match=message):
        RequireGradientParity(Accelerated(method, amp=True, channels_last=True))(engine_with(batch))


@pytest.mark.parametrize("switches", [["amp", "channels_last"], ["channels_last"], ["amp"]], ids="+".join)
@pytest.mark.parametrize("part", ["loss", "gradients"])
def test_a_step_that_is_wrong_between_its_layers_is_refused(switches, part):
    network = Accelerated(make_method(), **dict.fromkeys(switches, True))
    right = network._run

    def wrong(batch):
        loss = right(batch)["loss"]
        return {"loss": loss + 0.5 * loss.detach() if part == "loss" else 0.5 * (loss + loss.detach())}

    network._run = wrong
    names = r" \+ ".join(switches)
    message = rf"With {names}, .*cosine \d\.\d+, norm .*loss \d.*Set --{switches[-1]} false\."
    with pytest.raises(ValueError, match=message):
        RequireGradientParity(network)(engine_with(make_batch()))


@pytest.mark.parametrize(
    ("alone", "distance", "switches", "good"),
    [
        (0.2, 0.39, ["amp"], True),
        (0.2, 0.41, ["amp"], False),
        (0.6, 0.9, ["amp"], True),
        (0.2, 0.39, ["amp", "compile"], True),
        (0.3, 0.3, ["amp", "compile"], False),
        (float("nan"), 0.1, ["amp", "compile"], False),
        (0.2, 0.1, ["channels_last"], False),
    ],
)
def test_rounding_excuses_as_much_as_it_does_alone_and_a_compiled_step_only_where_it_is_small(
    alone, distance, switches, good, monkeypatch
):
    def parity(exact, step):
        distance_of = alone if step == "rounded" else distance
        return Parity(1.0, 1.0), Parity(1 - distance_of**2 / 2, 1.0)

    # Nothing is run here, and loading the compiler takes seconds.
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    monkeypatch.setattr("medssl.speed.gate.rounded", lambda plain: "rounded")
    monkeypatch.setattr("medssl.speed.gate.measured_step", lambda network, batch: network)
    monkeypatch.setattr("medssl.speed.gate.step_parities", parity)
    network = Accelerated(make_method(), **dict.fromkeys(switches, True))
    assert computes_as_float32(network, make_batch())[0] == good


COMPILED = """
from medssl.speed.gate import computes_as_float32
from medssl.speed.switches import Accelerated
from tests.engines.pretraining_method import make_batch, make_method

for switches in (["amp", "compile"], ["amp", "channels_last", "compile"]):
    method, batch = make_method(base_channels=16, num_levels=2), make_batch((32, 32, 16), num_voxels=128)
    good, report = computes_as_float32(Accelerated(method, **dict.fromkeys(switches, True)), batch)
    print("ALLOWED" if good else "REFUSED", report)
"""


@pytest.mark.slow
@needs_bfloat16
@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_the_wrong_gradients_of_compiled_bfloat16_channels_last_are_refused_and_right_ones_are_not():
    # In a process of its own: a compiler keeps state, and what other tests left in it is not meant here.
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-W", "ignore", "-c", COMPILED]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    contiguous, channels_last = done.stdout.splitlines()
    assert contiguous.startswith("ALLOWED")
    # A torch that mends it has to give the gradients of float32.
    assert channels_last.startswith("REFUSED" if torch.__version__.startswith("2.13") else "ALLOWED")
