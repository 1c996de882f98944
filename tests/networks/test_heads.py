import pytest
import torch

from medssl.networks.heads import LinearHead, NonLinearHead, Projector, RestorationHead

KATS_LEVELS = (32, 64, 128, 256, 512)


def count(module):
    return sum(p.numel() for p in module.parameters())


def random_pyramid(level_channels, shape):
    return [torch.rand(2, c, *(-(-s // 2**i) for s in shape)) for i, c in enumerate(level_channels)]


HEADS = {
    "linear": LinearHead(3, (4, 8), 2),
    "linear, interpolated": LinearHead(3, (4, 8), 2, upsampling="linear"),
    "non-linear": NonLinearHead(2, (4, 8), 2),
}


def test_an_unknown_upsampling_is_refused():
    with pytest.raises(ValueError, match="upsampling is 'cubic'; set it to nearest or linear"):
        LinearHead(3, (4, 8), 2, upsampling="cubic")


def test_published_sizes_for_13_classes():
    assert count(LinearHead(3, KATS_LEVELS, 13)) == 992 * 13 + 13
    assert count(NonLinearHead(3, KATS_LEVELS, 13)) == 966_829


@pytest.mark.parametrize("shape", [(9, 6), (9, 6, 5)])
def test_linear_head_is_a_linear_map_of_the_voxel_embedding(shape):
    head = LinearHead(len(shape), (4, 8, 16), 3)
    pyramid = random_pyramid((4, 8, 16), shape)
    upsampled = []
    for i, level in enumerate(pyramid):
        for axis, size in enumerate(shape, start=2):
            level = level.repeat_interleave(2**i, dim=axis).narrow(axis, 0, size)
        upsampled.append(level)
    weight = torch.cat([conv.weight.flatten(1) for conv in reversed(head.convs)], dim=1)
    expected = torch.einsum("kc,bc...->bk...", weight, torch.cat(upsampled, dim=1))
    expected += head.convs[-1].bias.reshape(1, -1, *[1] * len(shape))
    torch.testing.assert_close(head(pyramid), expected)


@pytest.mark.parametrize("head_type", [LinearHead, NonLinearHead])
@pytest.mark.parametrize("shape", [(9, 6), (9, 6, 5)])
def test_heads_give_logits_of_the_finest_size(head_type, shape):
    assert head_type(len(shape), (4, 8), 3)(random_pyramid((4, 8), shape)).shape == (2, 3, *shape)


def test_non_linear_head_mixes_no_neighbours():
    head = NonLinearHead(2, (4,), 2).eval()
    x = torch.rand(1, 4, 5, 5)
    changed = x.clone()
    changed[..., 2, 2] += 1
    difference = (head([changed]) - head([x])).abs().sum(1)[0]
    assert difference[2, 2] > 0
    difference[2, 2] = 0
    assert difference.max() == 0


@pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
def test_scripted_heads_give_the_same_logits(head):
    pyramid = random_pyramid((4, 8), (6, 5, 4)[: 3 if isinstance(head, LinearHead) else 2])
    head.eval()
    torch.testing.assert_close(torch.jit.script(head)(pyramid), head(pyramid))


def test_projector_width_is_the_sum_of_the_levels():
    projector = Projector(KATS_LEVELS)
    assert [m.in_features for m in projector if isinstance(m, torch.nn.Linear)] == [992, 992, 992]
    assert projector[-1].out_features == 128


def test_restoration_head_gives_the_image_back_in_shape():
    assert RestorationHead(3, 8, 2)(torch.rand(2, 8, 5, 4, 3)).shape == (2, 2, 5, 4, 3)


def test_a_standardizing_head_is_linear_in_evaluation_and_forgets_the_scale_of_the_features():
    head = LinearHead(2, (4, 8), 2, standardize=True)
    pyramid = random_pyramid((4, 8), (6, 6))
    torch.testing.assert_close(head([1000 * level for level in pyramid]), head(pyramid), atol=1e-2, rtol=1e-2)
    head.eval()
    zero, one, two = (head([k * level for level in pyramid]) for k in (0, 1, 2))
    torch.testing.assert_close(two - one, one - zero)
    assert sum(p.numel() for p in head.parameters()) == 2 * 12 + 2
