"""The checks that every method passes, in 2D and in 3D (modelled on scikit-learn's estimator checks).

A method's test module calls `check_method(make_method, make_batch)` with two factories that take ``spatial_dims``.
"""

import copy
import io
from collections.abc import Callable

import torch
from torch import Tensor, nn

from medssl.methods.protocol import require_method
from medssl.networks.backbone import Backbone
from medssl.speed.parity import soil_memory
from medssl.speed.switches import Accelerated


def check_method(make_method: Callable[[int], nn.Module], make_batch: Callable[[int], dict[str, Tensor]]) -> None:
    """Hold a method to `medssl.methods.protocol.Method`, and to what a training needs of it."""
    for spatial_dims in (2, 3):
        torch.manual_seed(spatial_dims)
        method, batch = make_method(spatial_dims).train(), make_batch(spatial_dims)
        check_output(method, batch)
        check_leaves_are_parameters(method, batch)
        check_every_parameter_gets_a_gradient(method, batch)
        check_teacher_changes_the_loss(method, batch)
        check_round_trip(method, make_method(spatial_dims), batch)
        check_bfloat16(method, batch)
        check_backbone(method, batch)


def loss_of(method: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """The loss of a copy, so that batch statistics and queues of the method stay as they are."""
    return copy.deepcopy(method)(batch)["loss"]


def check_output(method, batch):
    losses = copy.deepcopy(method)(batch)
    assert losses["loss"].requires_grad
    for name, value in losses.items():
        assert value.dim() == 0 and torch.isfinite(value), name
        assert name == "loss" or not value.requires_grad, f"{name} must be detached"


def check_leaves_are_parameters(method, batch):
    known = {id(p) for p in method.parameters()}
    stack, seen = [method(batch)["loss"].grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            assert id(node.variable) in known, "a leaf of the loss is not a registered parameter"
        stack += [parent for parent, _ in node.next_functions]


def check_every_parameter_gets_a_gradient(method, batch):
    method.zero_grad()
    method(batch)["loss"].backward()
    missing = [n for n, p in method.named_parameters() if p.requires_grad and p.grad is None]
    assert not missing, f"without a gradient: {missing}"
    method.zero_grad()


def check_teacher_changes_the_loss(method, batch):
    teacher = getattr(method, "teacher", None)
    if teacher is None:
        return
    before = loss_of(method, batch)
    changed = copy.deepcopy(method)
    with torch.no_grad():
        for p in changed.teacher.parameters():
            p.add_(torch.randn_like(p))
    assert not torch.isclose(before, loss_of(changed, batch))


def check_round_trip(method, other, batch):
    file = io.BytesIO()
    torch.save(method.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    torch.testing.assert_close(loss_of(other.train(), batch), loss_of(method, batch))


def check_bfloat16(method, batch):
    """Under `amp`, as runs use it, the loss is finite, in float32, and the same whatever memory held before."""
    networks = [Accelerated(copy.deepcopy(method), amp=True) for _ in range(2)]
    first = networks[0](batch)
    soil_memory(method.parameters())
    again = networks[1](batch)
    assert torch.isfinite(first["loss"])
    assert torch.equal(first["loss"], again["loss"])
    assert first["loss"].dtype == torch.float32
    if "contrastive" in first:
        assert "collapse_distance" in first


def check_backbone(method, batch):
    require_method(method)
    backbone, view = method.backbone, batch["view_1"]
    assert isinstance(backbone, Backbone)
    assert backbone.spatial_dims == view.dim() - 2
    pyramid = backbone(view)
    assert [level.shape[1] for level in pyramid] == list(backbone.level_channels)
    cells = [[-(-size // stride) for size in view.shape[2:]] for stride in backbone.strides]
    assert [list(level.shape[2:]) for level in pyramid] == cells
