import pytest
import torch

from medssl.evaluation.embeddings import dense_embeddings, principal_colours, similarity_map
from medssl.ops.pyramid import gather_voxels


@pytest.mark.parametrize("size", [(9, 8), (5, 6, 7)])
def test_dense_embeddings_are_those_of_every_voxel(size):
    pyramid = [torch.rand(2, 3 + i, *(-(-n // 2**i) for n in size)) for i in range(3)]
    voxels = torch.cartesian_prod(torch.arange(2), *(torch.arange(n) for n in size))
    gathered = gather_voxels(pyramid, voxels)
    assert torch.equal(dense_embeddings(pyramid).movedim(1, -1).flatten(0, -2), gathered)


def test_colours_are_the_components_of_the_features():
    """Three independent signals of different strength come back as three colours."""
    torch.manual_seed(0)
    signals = torch.rand(3, 20, 20)
    mixing = torch.linalg.qr(torch.randn(6, 6))[0][:, :3] * torch.tensor([9.0, 3.0, 1.0])
    colours = principal_colours(torch.einsum("cs,shw->chw", mixing, signals))
    for colour, signal in zip(colours, signals, strict=True):
        correlation = torch.corrcoef(torch.stack([colour.flatten(), signal.flatten()]))[0, 1]
        assert abs(correlation) > 0.95


def test_colours_are_the_same_on_every_run_and_leave_the_random_state():
    features = torch.rand(5, 8, 8, 4)
    state = torch.get_rng_state()
    assert torch.equal(principal_colours(features), principal_colours(features.clone()))
    assert torch.equal(torch.get_rng_state(), state)


def test_colours_fill_the_range_from_0_to_1():
    colours = principal_colours(torch.randn(4, 16, 16))
    assert colours.amin((1, 2)).tolist() == [0.0] * 3
    assert colours.amax((1, 2)).tolist() == [1.0] * 3


@pytest.mark.parametrize("exponent", [80, -60])
def test_features_whose_squares_float32_cannot_hold_keep_their_colours(exponent):
    features = torch.randn(4, 16, 16)
    assert torch.equal(principal_colours(features * 2.0**exponent), principal_colours(features))


def test_what_lies_outside_the_mask_is_black_and_has_no_influence():
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:6, 2:6] = True
    features = torch.rand(4, 8, 8)
    colours = principal_colours(features, mask)
    assert colours[:, ~mask].eq(0).all()
    assert torch.equal(colours, principal_colours(torch.where(mask, features, 100.0), mask))


def test_collapsed_features_have_one_colour():
    assert principal_colours(torch.ones(4, 6, 6)).unique().numel() == 1


def test_too_few_voxels_are_an_error():
    mask = torch.zeros(8, 8)
    mask[0, 0] = 1
    with pytest.raises(ValueError, match="1 voxels of 4 features"):
        principal_colours(torch.rand(4, 8, 8), mask)


def test_similarity_is_1_at_the_anchor_and_ignores_length():
    features = torch.rand(4, 5, 6, 3)
    features[:, 0, 0, 0] = 7 * features[:, 2, 3, 1]
    similarity = similarity_map(features, (2, 3, 1))
    assert similarity.shape == (5, 6, 3)
    assert similarity[2, 3, 1].item() == pytest.approx(1.0)
    assert similarity[0, 0, 0].item() == pytest.approx(1.0)


@pytest.mark.parametrize("anchor", [(0, 6), (0, -1), (0,)])
def test_an_anchor_outside_the_map_is_an_error(anchor):
    with pytest.raises(ValueError, match="anchor"):
        similarity_map(torch.rand(4, 5, 6), anchor)
