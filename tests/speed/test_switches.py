import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from medssl.speed.switches import Accelerated
from tests.engines.pretraining_method import make_batch, make_method
from tests.speed.wrong import needs_bfloat16

ALL_EAGER = {"amp": True, "channels_last": True, "activation_checkpointing": True}


def test_without_a_switch_it_is_the_method_to_the_bit():
    method, batch = make_method(), make_batch()
    expected = copy.deepcopy(method)(batch)
    losses = Accelerated(method)(batch)
    assert Accelerated(method).switches == ()
    assert all(torch.equal(losses[name], expected[name]) for name in expected)


@pytest.mark.parametrize("size", [(16, 16, 8), (16, 16)], ids=["3D", "2D"])
@pytest.mark.parametrize("switch", list(ALL_EAGER))
def test_each_switch_gives_the_losses_of_the_method(switch, size):
    method, batch = make_method(len(size)), make_batch(size)
    expected = copy.deepcopy(method)(batch)
    losses = Accelerated(method, **{switch: True})(batch)
    assert losses["loss"].dtype == torch.float32
    tolerance = 0.02 if switch == "amp" else 1e-5
    torch.testing.assert_close(dict(losses), dict(expected), rtol=tolerance, atol=tolerance)


def test_the_state_of_the_method_has_the_same_names_and_values_under_all_switches():
    method = make_method()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    parameters = list(method.parameters())
    network = Accelerated(method, **ALL_EAGER)
    assert method.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(a is b for a, b in zip(network.parameters(), parameters, strict=True))


class Layouts(TorchDispatchMode):
    """Collects whether the feature maps that convolutions get and give have their channels last."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default:
            self.seen += [x.stride(1) == 1 for x in (args[0], out) if x.shape[1] > 1]
        return out


@needs_bfloat16
def test_channels_last_reaches_every_convolution_of_a_step():
    # In float32, torch computes 1-wide convolutions on one thread with their channels first.
    network, batch = Accelerated(make_method(), amp=True, channels_last=True), make_batch()
    with Layouts() as layouts:
        network(batch)
    assert len(layouts.seen) > 20
    assert all(layouts.seen)


def test_channels_last_copies_no_image_of_one_channel():
    seen = []

    class Watched(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, batch):
            seen.append(batch["view_1"])
            return {"loss": self.weight.sum()}

    network = Accelerated(Watched(), channels_last=True)
    for channels, copied in ((1, False), (3, True)):
        view = torch.rand(2, channels, 6, 5, 4)
        network({"view_1": view})
        assert torch.equal(seen[-1], view)
        assert seen[-1].stride() == torch.empty(view.shape, memory_format=torch.channels_last_3d).stride()
        assert (seen[-1].data_ptr() != view.data_ptr()) == copied


class Precisions(TorchDispatchMode):
    """Collects the precisions of all tensors that any operation gets or gives."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.seen |= {x.dtype for x in tree_leaves((args, kwargs, out)) if isinstance(x, torch.Tensor)}
        return out


def test_no_operation_of_a_step_is_in_float16():
    method, batch = make_method(), make_batch()
    network, optimizer = Accelerated(method, **ALL_EAGER), torch.optim.Adam(method.parameters())
    with Precisions() as precisions:
        network(batch)["loss"].backward()
        nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
    assert torch.bfloat16 in precisions.seen
    assert torch.float16 not in precisions.seen


@pytest.mark.parametrize("amp", ["float16", torch.float16, "fp16", "half"])
def test_another_precision_than_bfloat16_is_refused(amp):
    with pytest.raises(ValueError, match=r"true \(bfloat16\) or false: float16 is hundreds of times slower on a CPU"):
        Accelerated(make_method(), amp=amp)


def test_recomputing_is_refused_where_there_is_nothing_to_recompute():
    with pytest.raises(ValueError, match="no FPN whose activations"):
        Accelerated(nn.Linear(1, 1), activation_checkpointing=True)


def test_recomputing_what_is_compiled_is_refused():
    with pytest.raises(ValueError, match=r"torch\.compile chooses what"):
        Accelerated(make_method(), activation_checkpointing=True, compile=True)


def test_the_method_stays_plain_outside_of_a_step():
    method = make_method()
    network = Accelerated(method, **ALL_EAGER)
    network(make_batch())
    assert not any(getattr(module, "recomputes", False) for module in method.modules())


def test_a_copy_without_switches_is_plain_and_contiguous():
    method = make_method()
    network = Accelerated(method, **ALL_EAGER)
    plain = network.without(*network.switches)
    assert plain.switches == ()
    assert all(p.is_contiguous() for p in plain.parameters())
    assert not all(p.is_contiguous() for p in method.parameters())
    assert network.without("amp").switches == ("channels_last", "activation_checkpointing")
