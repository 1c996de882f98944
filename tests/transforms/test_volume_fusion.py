import pytest
import torch

from medssl.transforms.volume_fusion import RandFuseLevelsd, RandTwoPatchesd


def fused(shape=(32, 24, 16), seed=0, **settings):
    generator = torch.Generator().manual_seed(1)
    views = {key: torch.rand(2, *shape, generator=generator) for key in ("view_1", "view_2")}
    return views, RandFuseLevelsd(**settings).set_random_state(seed=seed)(views)


@pytest.mark.parametrize("shape", [(32, 24), (32, 24, 16)])
@pytest.mark.parametrize("num_levels", [1, 4])
def test_every_voxel_is_the_mixture_that_its_level_says(shape, num_levels):
    views, sample = fused(shape, num_levels=num_levels)
    levels = sample["levels"]
    assert levels.dtype == torch.int64
    assert levels.shape == (1, *shape)
    share = levels / num_levels
    torch.testing.assert_close(sample["view_1"], share * views["view_1"] + (1 - share) * views["view_2"])
    assert set(levels.unique().tolist()) == set(range(num_levels + 1))
    assert torch.equal(sample["view_2"], views["view_2"])


def test_a_seed_repeats_the_levels_and_another_does_not():
    assert torch.equal(fused(seed=3)[1]["levels"], fused(seed=3)[1]["levels"])
    assert not torch.equal(fused(seed=3)[1]["levels"], fused(seed=4)[1]["levels"])


def test_one_block_of_one_size_is_a_box():
    _, sample = fused((20, 20), num_blocks=(1, 1), block_share=(0.25, 0.25))
    inside = sample["levels"][0].nonzero()
    assert len(inside) == 25
    assert (inside.max(0).values - inside.min(0).values).tolist() == [4, 4]


def test_views_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="cannot be fused"):
        RandFuseLevelsd()({"view_1": torch.zeros(1, 8, 8), "view_2": torch.zeros(1, 8, 9)})


def test_two_patches_of_one_volume_lie_apart():
    image = torch.arange(60.0).reshape(1, 60, 1) + torch.zeros(1, 60, 40)
    case = {"case": "a", "image": image, "foreground": torch.ones(1, 60, 40, dtype=torch.bool)}
    cut = RandTwoPatchesd((8, 8)).set_random_state(seed=0)
    starts = [[cut(case)[f"view_{k}"][0, 0, 0].item() for k in (1, 2)] for _ in range(40)]
    assert sum(abs(a - b) >= 8 for a, b in starts) > 20
    assert set(cut(case)) == {"case", "view_1", "view_2"}
