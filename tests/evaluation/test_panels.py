import random

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from medssl.evaluation.panels import ViewPanels, centre_slices, evaluating, panel_figure, view_pictures
from medssl.methods.hierarchical import Hierarchical
from medssl.networks.fpn import FPN


class Restoring(nn.Module):
    """A method as small as it can be: a backbone, a restoration, and a frozen teacher."""

    def __init__(self, spatial_dims):
        super().__init__()
        self.backbone = FPN(spatial_dims, base_channels=4, num_levels=2)
        self.restoration_head = nn.Dropout(0.5)
        self.teacher = nn.BatchNorm1d(2).eval()

    def restore(self, pyramid):
        return self.restoration_head(pyramid[0][:, :1])


def make_batch(spatial_dims, tensor=torch.Tensor):
    size = (12, 10, 8)[:spatial_dims]
    return {name: tensor(torch.rand(2, 1, *size)) for name in ("view_1", "view_2", "clean_1")}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("tensor", [torch.Tensor, MetaTensor])
def test_there_is_a_picture_of_each_stage(spatial_dims, tensor):
    pictures = view_pictures(Restoring(spatial_dims), make_batch(spatial_dims, tensor))
    assert list(pictures) == ["view 1", "view 2", "clean patch 1", "restoration 1", "embeddings 1"]
    shapes = [picture.shape for picture in pictures.values()]
    assert shapes == [(12, 10)] * 4 + [(12, 10, 3)]


def test_a_picture_is_the_centre_slice_of_the_first_sample():
    batch = make_batch(3)
    assert np.array_equal(view_pictures(Restoring(3), batch)["view 2"], batch["view_2"][0, 0, :, :, 4].numpy())


def test_without_clean_patch_and_restoration_there_are_three_pictures():
    method = Restoring(2)
    method.restoration_head = None
    batch = make_batch(2)
    del batch["clean_1"]
    assert list(view_pictures(method, batch)) == ["view 1", "view 2", "embeddings 1"]


def test_looking_changes_neither_network_nor_random_state():
    method = Restoring(3).train()
    method.teacher.eval()
    batch = make_batch(3)
    modes = [module.training for module in method.modules()]
    before = {name: value.clone() for name, value in method.state_dict().items()}
    random_states = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    panel_figure(view_pictures(method, batch))
    assert torch.equal(torch.get_rng_state(), random_states[0])
    assert (random.getstate(), str(np.random.get_state())) == random_states[1:]  # noqa: NPY002
    assert [module.training for module in method.modules()] == modes
    assert all(torch.equal(before[name], value) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_pictures_need_no_gradients():
    method = Restoring(2)
    enabled = []
    method.restoration_head.register_forward_hook(lambda *_: enabled.append(torch.is_grad_enabled()))
    view_pictures(method, make_batch(2))
    assert enabled == [False]


@pytest.mark.parametrize(("head", "shown"), [(nn.Conv2d(4, 1, 1), True), (None, False)])
def test_the_hierarchical_method_shows_its_restoration_where_it_has_one(head, shown):
    method = Hierarchical(FPN(2, base_channels=4, num_levels=2), nn.Linear(12, 4), head)
    assert ("restoration 1" in view_pictures(method, make_batch(2))) == shown


def test_training_modes_come_back_after_an_error():
    network = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    with pytest.raises(RuntimeError), evaluating(network):
        raise RuntimeError
    assert [module.training for module in network.modules()] == [True, True, False]


def test_the_levels_are_cut_at_the_same_place():
    fine = torch.arange(6.0).expand(1, 1, 4, 4, 6)
    levels = centre_slices([fine, fine[..., ::2, ::2, ::2], fine[..., ::4, ::4, ::4]])
    assert [level.unique().tolist() for level in levels] == [[3.0], [2.0], [0.0]]


def test_the_handler_writes_every_interval(tmp_path):
    engine = Engine(lambda engine, batch: None)
    engine.network = Restoring(2)
    ViewPanels(interval=2, log_dir=str(tmp_path)).attach(engine)
    engine.run([make_batch(2) for _ in range(5)])
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [image.step for image in events.Images("views")] == [2, 4]


def test_an_interval_below_1_is_an_error():
    with pytest.raises(ValueError, match="interval"):
        ViewPanels(interval=0)
