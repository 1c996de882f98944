import pytest
import torch
from ignite.engine import Engine

from medssl.engines.batches import prepare_views
from medssl.methods.moco import MoCo
from medssl.methods.simclr import SimCLR
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNetEncoder
from medssl.speed.gate import RequireGradientParity, best_parity, first_samples, has_gradients_of_float32
from medssl.speed.gradient_parity import Parity
from medssl.speed.switches import Accelerated
from tests.engines.pretraining_method import make_batch, make_method
from tests.speed.test_layer_parity import WrongInBfloat16


def engine_with(batch):
    engine = Engine(lambda engine, batch: None)
    engine.prepare_batch, engine.non_blocking, engine.to_kwargs = prepare_views, False, {}
    engine.state.device, engine.state.batch = torch.device("cpu"), batch
    return engine


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
    monkeypatch.setattr("medssl.speed.gate.gradient_parity", lambda *a: calls.append(a) or Parity(1.0, 1.0))
    engine = engine_with(None)
    handler.attach(engine)
    engine.run([make_batch(pairs=3)] * 3, max_epochs=1)
    assert len(calls) == 1
    assert len(calls[0][2]["view_1"]) == 2


def test_nothing_is_measured_without_a_switch(monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.gradient_parity", None)
    engine = engine_with(None)
    RequireGradientParity(Accelerated(make_method())).attach(engine)
    engine.run([make_batch()], max_epochs=1)


def test_a_refusal_names_the_switches_the_numbers_and_the_one_to_blame():
    network = Accelerated(make_method(), amp=True, channels_last=True)
    right = network._run
    network._run = lambda batch: {"loss": 0.5 * right(batch)["loss"]}
    message = r"With amp \+ channels_last, .*cosine \d\.\d+, norm 0\.\d+.*Set --channels_last false\."
    with pytest.raises(ValueError, match=message):
        RequireGradientParity(network)(engine_with(make_batch()))


def test_the_samples_that_are_taken_keep_their_voxels_and_names():
    batch, taken = make_batch(pairs=3, num_voxels=5), first_samples(make_batch(pairs=3, num_voxels=5), 2)
    assert torch.equal(taken["view_2"], batch["view_2"][:2])
    assert torch.equal(taken["voxels_1"], batch["voxels_1"][:10])
    assert taken["case"] == ["a", "a"]


@pytest.fixture
def deep(monkeypatch):
    """A method whose gradients rounding turns, as far as the whole is concerned, and a batch."""

    def parity(plain, network, batch, epsilon):
        return Parity(0.95 if "amp" in network.switches else 1.0, 1.0)

    monkeypatch.setattr("medssl.speed.gate.gradient_parity", parity)
    views = torch.rand(2, 2, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    return SimCLR(ResNet(depth=18, base_channels=4)), {"view_1": views[0], "view_2": views[1]}


def test_bfloat16_is_taken_where_each_layer_alone_has_the_gradients(deep):
    good, report = has_gradients_of_float32(Accelerated(deep[0], amp=True, channels_last=True), deep[1])
    assert good
    assert "each of the 22 layers alone" in report


def test_a_layer_that_is_wrong_in_bfloat16_is_refused_by_name(deep):
    layer = deep[0].projector[0]
    deep[0].projector[0] = WrongInBfloat16(layer.in_features, layer.out_features)
    good, report = has_gradients_of_float32(Accelerated(deep[0], amp=True), deep[1])
    assert not good
    assert "of 22 layers, each alone, other gradients in method.projector.0" in report


@pytest.mark.parametrize(("passing", "cosine"), [(1.0, 1.0), (0.1, 1.0), (None, 0.95)])
def test_the_epsilon_that_suits_the_network_decides(passing, cosine, monkeypatch):
    found = {epsilon: Parity(0.5 + 0.0045 * epsilon, 1.0) for epsilon in (1.0, 0.3, 0.1, 100.0)}
    found[passing] = Parity(1.0, 1.0)
    monkeypatch.setattr("medssl.speed.gate.gradient_parity", lambda *a: found[a[3]])
    assert best_parity(Accelerated(make_method(), amp=True), make_batch())[0].cosine == cosine


def test_at_another_epsilon_a_wrong_layer_is_still_refused(deep, monkeypatch):
    monkeypatch.setattr(
        "medssl.speed.gate.gradient_parity",
        lambda plain, network, batch, epsilon: Parity(
            1.0 if epsilon != 1.0 or "amp" not in network.switches else 0.5, 1.0
        ),
    )
    network = Accelerated(deep[0], amp=True)
    assert has_gradients_of_float32(network, deep[1])[0]
    layer = deep[0].projector[0]
    deep[0].projector[0] = WrongInBfloat16(layer.in_features, layer.out_features)
    assert not has_gradients_of_float32(network, deep[1])[0]


@pytest.mark.parametrize(
    ("build", "switches"),
    [
        (lambda: SimCLR(UNetEncoder(2, base_channels=8, num_levels=3), embedding_channels=32), ["amp"]),
        (lambda: MoCo(ResNet(depth=50, base_channels=4), 32, queue_size=256), ["amp", "channels_last"]),
    ],
    ids=["plain", "50 layers"],
)
def test_other_kinds_of_networks_pass_too(build, switches):
    torch.manual_seed(0)
    views = torch.rand(2, 2, 1, 64, 64)
    network = Accelerated(build(), **dict.fromkeys(switches, True))
    assert has_gradients_of_float32(network, {"view_1": views[0], "view_2": views[1]})[0]


@pytest.mark.parametrize(
    ("cosine", "norm", "switches"),
    [(0.8, 1.0, ["amp"]), (0.95, 1.2, ["amp"]), (0.95, 1.0, ["amp", "compile"]), (0.95, 1.0, ["channels_last"])],
    ids=["direction", "length", "compiled", "float32"],
)
def test_rounding_excuses_no_others(cosine, norm, switches, monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.gradient_parity", lambda *a: Parity(cosine, norm))
    monkeypatch.setattr("medssl.speed.gate.unlike_layers", None)
    # Nothing is run here, and loading the compiler takes seconds.
    monkeypatch.setattr(torch, "compile", lambda function, **options: function)
    network = Accelerated(make_method(), **dict.fromkeys(switches, True))
    assert has_gradients_of_float32(network, make_batch()) == (False, str(Parity(cosine, norm)))


def test_what_is_wrong_without_bfloat16_is_refused_with_it(monkeypatch):
    monkeypatch.setattr("medssl.speed.gate.gradient_parity", lambda *a: Parity(0.95, 1.0))
    monkeypatch.setattr("medssl.speed.gate.unlike_layers", None)
    assert not has_gradients_of_float32(Accelerated(make_method(), amp=True, channels_last=True), make_batch())[0]
