import pytest
import torch

from medssl.networks.heads import LinearHead
from medssl.networks.rows import LinearHeadOnRows, set_map_of_rows
from medssl.ops.pyramid import gather_voxels, interpolate_voxels

LEVELS = (3, 5, 7)
SHAPE = (5, 8, 3)


def pyramid_and_voxels(seed=0):
    generator = torch.Generator().manual_seed(seed)
    pyramid = [
        torch.randn(2, c, *(-(-s // 2**i) for s in SHAPE), generator=generator) * (i + 1) + i
        for i, c in enumerate(LEVELS)
    ]
    voxels = torch.cartesian_prod(*(torch.arange(size) for size in (2, *SHAPE)))
    return pyramid, voxels


def at(logits, voxels):
    return logits.movedim(1, -1)[tuple(voxels.unbind(1))]


def randomised(standardize, upsampling="nearest"):
    torch.manual_seed(0)
    head = LinearHead(3, LEVELS, num_classes=4, standardize=standardize, upsampling=upsampling)
    for norm in head.norms:
        if standardize:
            norm.running_mean.normal_()
            norm.running_var.uniform_(0.5, 2)
    return head


@pytest.mark.parametrize("upsampling", ["nearest", "linear"])
@pytest.mark.parametrize("standardize", [False, True])
def test_rows_get_the_logits_of_the_head_at_their_voxels(standardize, upsampling):
    head = randomised(standardize, upsampling).eval()
    pyramid, voxels = pyramid_and_voxels()
    rows = LinearHeadOnRows(head)(interpolate_voxels(pyramid, voxels, SHAPE, upsampling))
    torch.testing.assert_close(rows, at(head(pyramid), voxels), rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("standardize", [False, True])
def test_gradients_are_those_of_the_head(standardize):
    head = randomised(standardize).eval()
    pyramid, voxels = pyramid_and_voxels()
    at(head(pyramid), voxels).square().sum().backward()
    expected = [parameter.grad.clone() for parameter in head.parameters()]
    head.zero_grad()
    LinearHeadOnRows(head)(gather_voxels(pyramid, voxels)).square().sum().backward()
    for parameter, gradient in zip(head.parameters(), expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-4)


def test_training_standardises_by_the_batch_and_keeps_the_mean_of_the_statistics_as_batch_norm_does():
    # A shape that halves evenly, in which every cell of a coarse level has as many voxels.
    dense, on_rows = randomised(True), randomised(True)
    for head in (dense, on_rows):
        for norm in head.norms:
            norm.reset_running_stats()
    view = LinearHeadOnRows(on_rows).train()
    dense.train()
    voxels = torch.cartesian_prod(*(torch.arange(size) for size in (2, 8, 8, 4)))
    for seed in range(3):
        generator = torch.Generator().manual_seed(seed)
        pyramid = [
            torch.randn(2, c, *(s // 2**i for s in (8, 8, 4)), generator=generator) for i, c in enumerate(LEVELS)
        ]
        logits = view(gather_voxels(pyramid, voxels))
        torch.testing.assert_close(logits, at(dense(pyramid), voxels), rtol=1e-4, atol=1e-5)
    for ours, theirs in zip(on_rows.norms, dense.norms, strict=True):
        torch.testing.assert_close(ours.running_mean, theirs.running_mean, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours.running_var, theirs.running_var, rtol=1e-4, atol=0)
        assert int(ours.num_batches_tracked) == int(theirs.num_batches_tracked) == 3


def test_a_row_of_weight_2_counts_as_two_rows():
    head, twice = randomised(True), randomised(True)
    rows = torch.randn(6, sum(LEVELS), generator=torch.Generator().manual_seed(0))
    weight = torch.tensor([1.0, 2, 1, 1, 2, 1])
    expected = LinearHeadOnRows(twice).train()(rows.repeat_interleave(weight.long(), dim=0))
    weighted = LinearHeadOnRows(head).train()(rows, weight)
    torch.testing.assert_close(weighted.repeat_interleave(weight.long(), dim=0), expected)
    for ours, theirs in zip(head.norms, twice.norms, strict=True):
        torch.testing.assert_close(ours.running_var, theirs.running_var)


def test_the_state_of_the_head_is_what_trains():
    head = randomised(False)
    assert [id(p) for p in LinearHeadOnRows(head).parameters()] == [id(p) for p in head.parameters()]


@pytest.mark.parametrize("standardize", [False, True])
def test_a_head_takes_over_a_map_of_rows_whatever_it_standardises_by(standardize):
    head = randomised(standardize).eval()
    kernel, bias = torch.randn(4, sum(LEVELS), dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    set_map_of_rows(head, kernel, bias)
    pyramid, voxels = pyramid_and_voxels()
    expected = (gather_voxels(pyramid, voxels).double() @ kernel.T + bias).float()
    torch.testing.assert_close(at(head(pyramid), voxels), expected, rtol=1e-4, atol=1e-4)
