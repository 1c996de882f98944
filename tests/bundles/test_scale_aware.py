import pytest
import torch

from tests.recipes import run_method

TINY = {"base_channels": 4, "pairs_per_batch": 3, "window_stride": 8, "window_floor": 8}
HEADS = {
    "simclr": {"hidden_channels": 16, "embedding_channels": 8},
    "byol": {"hidden_channels": 16, "embedding_channels": 8},
    "vicreg": {"expander_channels": 16},
}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("method", list(HEADS))
def test_any_image_level_method_takes_small_windows(method, spatial_dims, tmp_path):
    settings = {**TINY, **HEADS[method], "window_divisor": 2, "strategy": "distance"}
    run = run_method(method, spatial_dims, tmp_path, ["scale_aware"], **settings)
    assert torch.load(run / "backbone.pt", weights_only=True)


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("method", list(HEADS))
def test_any_image_level_method_takes_windows_of_several_sizes(method, spatial_dims, tmp_path):
    settings = {**TINY, **HEADS[method], "window_weights": [1, 0, 3]}
    run = run_method(method, spatial_dims, tmp_path, ["multi_scale"], **settings)
    assert torch.load(run / "backbone.pt", weights_only=True)


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_full_frame_is_the_baseline(spatial_dims, tmp_path):
    run = run_method("simclr", spatial_dims, tmp_path, ["full_frame"], **TINY, **HEADS["simclr"])
    assert torch.load(run / "backbone.pt", weights_only=True)


def test_a_window_larger_than_an_image_names_the_case(tmp_path):
    settings = {**TINY, **HEADS["simclr"], "window": 512, "window_divisor": None}
    with pytest.raises(ValueError, match=r"window of \[512, 512\] voxels is larger than the image .* of case \S+;"):
        run_method("simclr", 2, tmp_path, ["scale_aware"], **settings)
