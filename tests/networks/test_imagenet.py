import pytest
import torch
from torch import nn

from medssl.networks.imagenet import with_imagenet_weights
from medssl.networks.resnet import ResNet


def make(in_channels=3, **options):
    return ResNet(**{"spatial_dims": 2, "depth": 18, "base_channels": 4, "in_channels": in_channels, **options})


@pytest.fixture
def colour_file(tmp_path):
    """Weights as torchvision writes them: with a classifier."""
    torch.manual_seed(0)
    network = make()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
    torch.save({**network.state_dict(), "fc.weight": torch.zeros(9, 32), "fc.bias": torch.zeros(9)}, tmp_path / "w.pth")
    return str(tmp_path / "w.pth"), network.eval()


def test_colour_images_have_the_features_of_the_file(colour_file):
    path, expected = colour_file
    images = torch.rand(1, 3, 64, 64)
    backbone = with_imagenet_weights(make(), path).eval()
    torch.testing.assert_close(backbone(images), expected(images))


def test_a_grey_image_has_the_features_of_three_copies_of_it(colour_file):
    path, expected = colour_file
    image = torch.rand(1, 1, 64, 64)
    backbone = with_imagenet_weights(make(in_channels=1), path).eval()
    torch.testing.assert_close(backbone(image)[-1], expected(image.expand(-1, 3, -1, -1))[-1])


def test_without_a_file_the_start_is_random():
    backbone = make()
    before = backbone.conv1.weight.clone()
    assert torch.equal(with_imagenet_weights(backbone, None).conv1.weight, before)


def test_files_without_batch_counts_are_taken(colour_file, tmp_path):
    weights = {k: v for k, v in torch.load(colour_file[0], weights_only=True).items() if "num_batches" not in k}
    torch.save(weights, tmp_path / "old.pth")
    backbone = with_imagenet_weights(make(), str(tmp_path / "old.pth"))
    assert torch.equal(backbone.bn1.running_mean, weights["bn1.running_mean"])


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"depth": 34}, r"the first is layer1\.2\.conv1\.weight"),
        ({"depth": 10}, r"layer1\.1\.conv1\.weight .* is too much"),
        ({"in_channels": 4}, r"conv1\.weight has the shape"),
    ],
    ids=["deeper", "shallower", "channels"],
)
def test_weights_of_another_network_are_refused_and_nothing_is_changed(colour_file, options, fault):
    backbone = make(**options)
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    with pytest.raises(ValueError, match=f"imagenet_weights.*{fault}"):
        with_imagenet_weights(backbone, colour_file[0])
    assert all(torch.equal(value, before[name]) for name, value in backbone.state_dict().items())


def test_a_3d_backbone_is_refused(colour_file):
    with pytest.raises(ValueError, match="2D ResNet"):
        with_imagenet_weights(make(spatial_dims=3), colour_file[0])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"imagenet_weights.*nowhere"):
        with_imagenet_weights(make(), str(tmp_path / "nowhere.pth"))


@pytest.mark.parametrize("content", [b"no weights", b""])
def test_a_file_of_something_else_is_named(tmp_path, content):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"imagenet_weights.*w\.pth"):
        with_imagenet_weights(make(), str(tmp_path / "w.pth"))


def test_a_checkpoint_instead_of_a_state_dict_is_refused(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "w.pth")
    with pytest.raises(ValueError, match="no state dict"):
        with_imagenet_weights(make(), str(tmp_path / "w.pth"))
