import pytest
from images import make_backbone
from torch import nn

from medssl.methods.byol import BYOL
from medssl.methods.densecl import DenseCL
from medssl.methods.moco import MoCo
from medssl.methods.protocol import HasAfterStep, require_method
from medssl.methods.simclr import SimCLR
from medssl.methods.vicregl import VICRegL


@pytest.mark.parametrize("method", [SimCLR, BYOL, MoCo])
def test_methods_are_accepted(method):
    require_method(method(make_backbone(2)))


@pytest.mark.parametrize(("method", "moves"), [(BYOL, True), (MoCo, True), (DenseCL, True), (SimCLR, False)])
def test_methods_with_a_teacher_move_after_each_step(method, moves):
    assert isinstance(method(make_backbone(2)), HasAfterStep) == moves


def test_what_lacks_a_member_is_refused_by_its_name():
    with pytest.raises(ValueError, match="Identity is not a method: it has no backbone"):
        require_method(nn.Identity())
    with pytest.raises(ValueError, match="dict is not a method: it has no forward"):
        require_method({})


@pytest.mark.parametrize("method", [SimCLR, BYOL, MoCo, DenseCL, VICRegL])
def test_a_method_refuses_a_backbone_that_is_none(method):
    with pytest.raises(ValueError, match="Linear cannot be a backbone: it has no spatial_dims, level_channels"):
        method(nn.Linear(2, 1))


@pytest.mark.parametrize("make_method", [VICRegL, lambda backbone: DenseCL(backbone, matching="location")])
def test_matching_by_place_asks_where_the_cells_lie(make_method):
    backbone = make_backbone(2)
    del backbone.first_centres
    with pytest.raises(ValueError, match="ResNet cannot be a backbone: it has no first_centres"):
        make_method(backbone)
