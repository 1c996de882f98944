import numpy as np
import pytest
import torch

from medssl.transforms.masking import RandMaskBlocksd


def masked(shape, seed=0, **settings):
    view = torch.rand(2, *shape, generator=torch.Generator().manual_seed(1))
    transform = RandMaskBlocksd(["view_1", "view_2"], **settings).set_random_state(seed=seed)
    return view, transform({"view_1": view, "view_2": view, "clean_1": view})


@pytest.mark.parametrize("shape", [(64, 48), (32, 32, 24), (30, 33, 17)])
def test_between_60_and_75_percent_are_hidden_and_more_or_less_from_view_to_view(shape):
    shares = []
    for seed in range(20):
        _, sample = masked(shape, seed)
        shares += [sample[f"masked_{k}"].float().mean().item() for k in (1, 2)]
    # Blocks at the end of an axis may be smaller than the others.
    assert 0.55 < min(shares) < 0.65 < max(shares) < 0.8


def test_what_is_visible_is_untouched_and_what_is_hidden_is_its_mean():
    view, sample = masked((32, 32, 16))
    mask = sample["masked_2"]
    assert mask.dtype == torch.bool
    assert mask.shape == (1, 32, 32, 16)
    visible = ~mask[0]
    assert torch.equal(sample["view_2"][:, visible], view[:, visible])
    for channel, former in zip(sample["view_2"], view, strict=True):
        torch.testing.assert_close(channel[~visible], former[visible].mean().expand(int(mask.sum())))
    assert torch.equal(sample["clean_1"], view)


def test_the_mask_is_of_whole_blocks():
    _, sample = masked((12, 8, 6), block_size=(4, 2, 3))
    blocks = sample["masked_1"][0].numpy().reshape(3, 4, 4, 2, 2, 3).transpose(0, 2, 4, 1, 3, 5).reshape(24, 24)
    assert np.isin(blocks.mean(axis=1), (0, 1)).all()
    assert 0.6 * 24 - 1 <= blocks.all(axis=1).sum() <= 0.75 * 24 + 1


def test_views_get_masks_of_their_own_that_a_seed_repeats():
    _, first = masked((32, 32), seed=4)
    _, again = masked((32, 32), seed=4)
    assert torch.equal(first["masked_1"], again["masked_1"])
    assert not torch.equal(first["masked_1"], first["masked_2"])


@pytest.mark.parametrize("hidden", [(0.75, 0.6), (0.0, 0.5), (0.5, 1.0)])
def test_shares_that_hide_nothing_or_all_are_refused(hidden):
    with pytest.raises(ValueError, match="two shares between 0 and 1"):
        RandMaskBlocksd("view_1", hidden=hidden)


def test_a_block_as_large_as_the_view_is_refused():
    with pytest.raises(ValueError, match=r"block_size \[8, 8\] do not divide a view of size \[8, 16\]"):
        masked((8, 16), block_size=(8, 8))
