import argparse

import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.packaging.published_weights import mapping_report, read_published_weights
from tests.packaging.published import published_forward, published_state


def saved(content, path):
    torch.save(content, path)
    return path


def test_the_network_computes_what_the_published_tensors_compute(tmp_path):
    state = published_state(width=4, num_levels=3)
    weights = read_published_weights(saved(state, tmp_path / "w.pt"))
    network = FPN(3, base_channels=4, num_levels=3).eval()
    network.load_state_dict(weights.tensors)
    image = torch.rand(1, 1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = network(image)
    for level, expected in zip(found, published_forward(state, 3, image), strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("width", "num_levels", "num_tensors"), [(16, 6, 340), (32, 5, 278)])
def test_width_and_depth_of_the_published_networks_are_recognised(width, num_levels, num_tensors, tmp_path):
    meta = {name: torch.zeros(()).expand(value.shape) for name, value in published_state(width, num_levels).items()}
    weights = read_published_weights(saved(meta, tmp_path / "w.pt"))
    assert weights.settings == {
        "spatial_dims": 3,
        "in_channels": 1,
        "base_channels": width,
        "num_levels": num_levels,
    }
    assert len(weights.tensors) == num_tensors


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {f"backbone.{name}": value for name, value in state.items()},
        lambda state: {"state_dict": {f"module.backbone.{name}": value for name, value in state.items()}},
    ],
)
def test_wrappers_are_removed(wrap, tmp_path):
    state = published_state(2, 2)
    plain = read_published_weights(saved(state, tmp_path / "plain.pt"))
    wrapped = read_published_weights(saved(wrap(state), tmp_path / "wrapped.pt"))
    assert all(torch.equal(plain.tensors[name], wrapped.tensors[name]) for name in plain.tensors)


def test_heads_of_a_training_checkpoint_are_left_out_and_reported(tmp_path):
    state = {f"backbone.{name}": value for name, value in published_state(2, 2).items()}
    state |= {"proj_head.0.weight": torch.zeros(3, 3), "rest_head.0.weight": torch.zeros(3)}
    weights = read_published_weights(saved({"state_dict": state}, tmp_path / "w.ckpt"))
    assert weights.left_out == ["proj_head.0.weight", "rest_head.0.weight"]
    assert "proj_head.0.weight -> left out, not part of the backbone" in list(mapping_report(weights))


def test_every_tensor_is_reported(tmp_path):
    weights = read_published_weights(saved(published_state(2, 3), tmp_path / "w.pt"))
    lines = list(mapping_report(weights))
    assert len(lines) == len(weights.tensors)
    # The coarsest level comes first: two levels above the bottom, so list entry 0 has 4 channels.
    assert "right_blocks.0.layers.0.layers.2.bias -> decoder.0.0.layers.2.bias (4,)" in lines


def test_another_network_is_refused_naming_a_tensor_and_its_shape(tmp_path):
    state = published_state(2, 2) | {"fullres_block.0.weight": torch.zeros(7, 5)}
    with pytest.raises(ValueError, match=r"w\.pt is of another network: fullres_block\.0\.weight \(7, 5\)"):
        read_published_weights(saved(state, tmp_path / "w.pt"))


def test_a_layer_of_another_width_is_refused_naming_its_shape(tmp_path):
    state = published_state(2, 2) | {"skip_blocks.0.weight": torch.zeros(3, 2, 1, 1, 1)}
    with pytest.raises(
        ValueError, match=r"skip_blocks\.0\.weight has the shape \(3, 2, 1, 1, 1\), not \(2, 2, 1, 1, 1\)"
    ):
        read_published_weights(saved(state, tmp_path / "w.pt"))


def test_a_network_of_other_depth_is_refused(tmp_path):
    state = published_state(2, 2) | {"bottom_block.layers.2.layers.2.bias": torch.zeros(4)}
    with pytest.raises(ValueError, match=r"bottom_block\.layers\.2\.layers\.2\.bias \(4,\) is too much"):
        read_published_weights(saved(state, tmp_path / "w.pt"))


def test_a_missing_tensor_is_named(tmp_path):
    state = published_state(2, 2)
    del state["up_blocks.0.0.bias"]
    with pytest.raises(ValueError, match=r"is not whole: 1 tensors .* the first is ups\.0\.bias"):
        read_published_weights(saved(state, tmp_path / "w.pt"))


def test_a_pickled_object_is_refused(tmp_path):
    path = saved({"state_dict": published_state(2, 2), "hyper": argparse.Namespace(a=1)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt is damaged, or holds objects that could run code"):
        read_published_weights(path)


def test_a_damaged_file_is_refused(tmp_path):
    path = saved(published_state(2, 2), tmp_path / "w.pt")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"w\.pt is damaged"):
        read_published_weights(path)
