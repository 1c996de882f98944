import pytest
import torch

from medssl.networks.resnet import ResNet


def torchvision_schema(blocks, convs, widths, expansion):
    """The names and shapes of torchvision's state dict, written from its documentation, without ``fc``."""
    schema = {"conv1.weight": (64, 3, 7, 7)}

    def norm(name, channels):
        schema.update({f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")})
        schema[f"{name}.num_batches_tracked"] = ()

    norm("bn1", 64)
    before = 64
    for stage, (count, width) in enumerate(zip(blocks, widths, strict=True), start=1):
        for block in range(count):
            place, entering = f"layer{stage}.{block}", before
            sizes = {2: [(width, 3), (width, 3)], 3: [(width, 1), (width, 3), (width * expansion, 1)]}[convs]
            for number, (channels, kernel) in enumerate(sizes, start=1):
                schema[f"{place}.conv{number}.weight"] = (channels, entering, kernel, kernel)
                norm(f"{place}.bn{number}", channels)
                entering = channels
            if block == 0 and before != width * expansion:
                schema[f"{place}.downsample.0.weight"] = (width * expansion, before, 1, 1)
                norm(f"{place}.downsample.1", width * expansion)
            before = width * expansion
    return schema


@pytest.mark.parametrize(
    ("depth", "blocks", "convs", "expansion"), [(18, (2, 2, 2, 2), 2, 1), (50, (3, 4, 6, 3), 3, 4)], ids=["18", "50"]
)
def test_state_dict_is_that_of_torchvision(depth, blocks, convs, expansion):
    state = ResNet(2, in_channels=3, depth=depth).state_dict()
    expected = torchvision_schema(blocks, convs, (64, 128, 256, 512), expansion)
    assert {name: tuple(value.shape) for name, value in state.items()} == expected


@pytest.mark.parametrize("depth", [18, 50])
@pytest.mark.parametrize("shape", [(64, 64), (33, 70), (17, 40, 32)])
def test_levels_have_the_channels_and_strides_it_says(depth, shape):
    network = ResNet(len(shape), depth=depth, base_channels=4).eval()
    levels = network(torch.zeros(1, 1, *shape))
    assert [level.shape[1] for level in levels] == list(network.level_channels)
    for level, stride in zip(levels, network.strides, strict=True):
        assert tuple(level.shape[2:]) == tuple(-(-size // stride) for size in shape)


def test_every_parameter_is_trained():
    network = ResNet(2, base_channels=4)
    sum(level.square().mean() for level in network(torch.rand(2, 1, 64, 64))).backward()
    assert all(p.grad is not None for p in network.parameters())


def test_scripted_network_gives_the_same_pyramid():
    network, x = ResNet(3, base_channels=4).eval(), torch.rand(1, 1, 33, 32, 20)
    for scripted, eager in zip(torch.jit.script(network)(x), network(x), strict=True):
        torch.testing.assert_close(scripted, eager)


def test_an_unknown_depth_is_refused():
    with pytest.raises(ValueError, match="depth must be one of 10, 18, 34, 50"):
        ResNet(depth=20)
