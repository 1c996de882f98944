import copy

import pytest
import torch
from contract import check_method
from images import make_backbone, make_batch

from medssl.methods.byol import BYOL


def byol(spatial_dims, **options):
    return BYOL(make_backbone(spatial_dims), hidden_channels=16, embedding_channels=8, **options)


def changed(method):
    """The method with a student that has moved away from its teacher."""
    with torch.no_grad():
        for parameter in method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return method


def embedding(network, view):
    """What a backbone and a projector give for a view, at unit length."""
    backbone, projector = network
    z = projector(backbone(view)[-1].mean(dim=(2, 3, 4)))
    return z / z.norm(dim=1, keepdim=True)


def test_contract():
    check_method(byol, make_batch)


def test_loss_is_the_squared_distance_of_prediction_and_target_both_ways():
    method, batch = changed(byol(3)).eval(), make_batch(3)
    backbone, _, projector = method.teacher.network
    expected = 0
    for own, other in [("view_1", "view_2"), ("view_2", "view_1")]:
        p = method.predictor(method.projector(method.backbone(batch[own])[-1].mean(dim=(2, 3, 4))))
        p = p / p.norm(dim=1, keepdim=True)
        expected = expected + (p - embedding((backbone, projector), batch[other])).square().sum(dim=1).mean()
    torch.testing.assert_close(method(batch)["loss"], expected)


def test_the_teacher_starts_as_the_student():
    method, view = byol(3).eval(), make_batch(3)["view_1"]
    torch.testing.assert_close(method.teacher(view), method.embed(view))


@pytest.mark.parametrize(("progress", "momentum"), [(0.0, 0.9), (0.5, 0.95), (1.0, 1.0)])
def test_the_teachers_momentum_rises_to_one(progress, momentum):
    method = changed(byol(2, momentum=0.9))
    before = method.teacher.network[0].conv1.weight.clone()
    method.after_step(progress)
    expected = momentum * before + (1 - momentum) * method.backbone.conv1.weight.detach()
    torch.testing.assert_close(method.teacher.network[0].conv1.weight, expected)


def test_every_weight_of_the_teacher_moves():
    method = changed(byol(2, momentum=0.5))
    before = copy.deepcopy(list(method.teacher.parameters()))
    method.after_step(0.0)
    assert all(not torch.equal(a, b) for a, b in zip(before, method.teacher.parameters(), strict=True))


def test_the_state_has_no_weight_twice():
    names = byol(2).state_dict()
    assert {name.split(".")[0] for name in names} == {"backbone", "projector", "predictor", "teacher"}
    assert sum(name.endswith("backbone.conv1.weight") for name in names) == 1


def test_a_collapsed_network_has_no_distance_left():
    method = byol(2)
    torch.nn.init.zeros_(method.projector[-1].weight)
    torch.nn.init.ones_(method.projector[-1].bias)
    assert method(make_batch(2))["collapse_distance"].item() == pytest.approx(0, abs=1e-6)


def test_widths_are_those_of_the_paper():
    method = BYOL(make_backbone(2))
    for head in (method.projector, method.predictor):
        assert [layer.out_features for layer in head if hasattr(layer, "out_features")] == [4096, 256]


def test_a_single_pair_is_refused():
    with pytest.raises(ValueError, match="pairs_per_batch"):
        byol(2)(make_batch(2, num_pairs=1))
