import pytest
import torch

from medssl.networks.deeplabv3 import ASPP, DeepLabV3Head
from tests.networks.decoders import RESNET_LEVELS, check_decoder, random_pyramid


def make(spatial_dims, level_channels, num_classes, strides):
    return DeepLabV3Head(spatial_dims, level_channels, num_classes, strides, channels=4, rates=(1, 2, 3))


def test_it_is_a_decoder():
    check_decoder(make)


def test_widths_and_rates_are_those_of_the_paper():
    head = DeepLabV3Head(2, *RESNET_LEVELS[:1], 3, RESNET_LEVELS[1])
    convs = [m for m in head.aspp.branches.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.dilation[0]) for conv in convs] == [(1, 1), (3, 6), (3, 12), (3, 18)]
    assert {conv.out_channels for conv in convs} == {256}
    assert head.aspp.project.conv.in_channels == 5 * 256


@pytest.mark.parametrize("rate", [1, 2, 5])
def test_a_branch_sees_the_cells_at_its_rate_and_no_others(rate):
    branch = ASPP(2, in_channels=1, channels=1, rates=(rate,)).eval().branches[1].conv
    x = torch.zeros(1, 1, 15, 15, requires_grad=True)
    branch(x)[0, 0, 7, 7].backward()
    seen = {tuple(cell) for cell in x.grad[0, 0].nonzero().tolist()}
    assert seen == {(7 + a * rate, 7 + b * rate) for a in (-1, 0, 1) for b in (-1, 0, 1)}


def test_every_cell_sees_the_mean_of_the_image():
    aspp = ASPP(2, in_channels=2, channels=3, rates=(1,)).eval()
    x = torch.rand(2, 2, 6, 5)
    pooled = aspp.image_pooling(x)
    weight = aspp.image_pooling[1].conv.weight.flatten(1)
    expected = torch.relu(x.mean((2, 3)) @ weight.T / (1 + 1e-5) ** 0.5)
    torch.testing.assert_close(pooled.flatten(1), expected)
    changed = x.clone()
    changed[0, :, 0, 0] += 10
    assert (aspp(changed)[0, :, 5, 4] != aspp(x)[0, :, 5, 4]).any()


@pytest.mark.parametrize(
    ("strides", "level"), [((2, 4, 8, 16, 32), 3), ((1, 2, 4), 2), ((1, 2, 4, 8, 16), 4), ((1, 2, 4, 8, 16, 32), 4)]
)
def test_the_level_of_stride_16_or_the_coarsest_is_used(strides, level):
    channels = tuple(2 + i for i in range(len(strides)))
    head = make(2, channels, 2, strides).eval()
    pyramid = random_pyramid(channels, strides, (32, 32))
    logits = head(pyramid)
    assert head.level == level
    for i in range(len(strides)):
        changed = [value + (i == j) for j, value in enumerate(pyramid)]
        assert torch.equal(head(changed), logits) == (i != level)


def test_a_batch_of_one_is_refused_in_training():
    head = make(2, *RESNET_LEVELS[:1], 2, RESNET_LEVELS[1])
    pyramid = random_pyramid(*RESNET_LEVELS, (16, 16), batch_size=1)
    with pytest.raises(ValueError, match="patches_per_batch"):
        head(pyramid)
    assert head.eval()(pyramid).shape == (1, 2, 8, 8)


def test_a_pyramid_that_is_too_coarse_is_refused():
    with pytest.raises(ValueError, match=r"strides \(32,\)"):
        make(2, (4,), 2, (32,))


def test_names_of_the_weights_stay_what_they_are():
    names = {name for name, _ in make(2, (4,), 1, (1,)).named_parameters()}
    assert {
        "aspp.branches.0.conv.weight",
        "aspp.image_pooling.1.adn.N.weight",
        "aspp.project.conv.weight",
        "classify.weight",
    } <= names
