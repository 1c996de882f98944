import pytest
import torch

from medssl.networks.resnet import ResNet
from medssl.packaging.published_weights import mapping_report
from medssl.packaging.torchvision_weights import read_torchvision_weights, torchvision_depth
from tests.packaging.torchvision_state import torchvision_forward, torchvision_state


def saved(state, path):
    torch.save(state, path)
    return path


def levels(weights, depth, image):
    network = ResNet(depth=depth, **weights.settings).eval()
    network.load_state_dict(weights.tensors)
    with torch.no_grad():
        return network(image)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_network_computes_what_torchvisions_computes(depth, tmp_path):
    state = torchvision_state(depth, width=4)
    weights = read_torchvision_weights(saved(state, tmp_path / "w.pth"), depth, in_channels=3)
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    for level, expected in zip(levels(weights, depth, image), torchvision_forward(state, depth, image), strict=True):
        torch.testing.assert_close(level, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("depth", [18, 50])
def test_a_grey_image_gives_the_output_of_three_copies(depth, tmp_path):
    state = torchvision_state(depth, width=4)
    weights = read_torchvision_weights(saved(state, tmp_path / "w.pth"), depth, in_channels=1)
    image = torch.rand(1, 1, 64, 64, generator=torch.Generator().manual_seed(1))
    expected = torchvision_forward(state, depth, image.expand(-1, 3, -1, -1))
    torch.testing.assert_close(levels(weights, depth, image)[-1], expected[-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("depth", "num_tensors", "num_numbers"), [(18, 122, 11_689_512), (50, 320, 25_557_032)])
def test_torchvisions_own_sizes_are_accepted(depth, num_tensors, num_numbers, tmp_path):
    state = torchvision_state(depth)
    learned = [value for name, value in state.items() if name.endswith((".weight", ".bias"))]
    # The published numbers of tensors and parameters: what is generated here has torchvision's schema.
    assert (len(state), sum(value.numel() for value in learned)) == (num_tensors, num_numbers)
    meta = {name: torch.zeros(()).expand(value.shape) for name, value in state.items()}
    weights = read_torchvision_weights(saved(meta, tmp_path / "w.pth"), depth, in_channels=3)
    assert len(weights.tensors) == num_tensors - 2
    assert weights.settings == {"spatial_dims": 2, "in_channels": 3, "base_channels": 64}


def test_every_tensor_is_reported_with_what_was_done_to_it(tmp_path):
    state = torchvision_state(18, width=2, classes=5)
    lines = list(mapping_report(read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, in_channels=1)))
    assert len(lines) == len(state)
    assert lines[0] == (
        "conv1.weight -> conv1.weight (2, 1, 7, 7): summed over its 3 channels, so that a grey image gives what 3 "
        "copies of it gave"
    )
    assert lines[-2:] == [f"fc.{name} -> left out, not part of the backbone" for name in ("weight", "bias")]


@pytest.mark.parametrize("in_channels", [1, 3])
def test_images_of_the_files_own_channels_leave_conv1_as_it_is(in_channels, tmp_path):
    state = torchvision_state(18, width=2, in_channels=in_channels)
    weights = read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, in_channels)
    assert torch.equal(weights.tensors["conv1.weight"], state["conv1.weight"])
    assert weights.changes == {}


@pytest.mark.parametrize(("stored", "wanted"), [(1, 3), (3, 2), (4, 1)])
def test_other_images_are_refused(stored, wanted, tmp_path):
    state = torchvision_state(18, width=2, in_channels=stored)
    message = rf"w\.pth takes images of {stored} channel.*\(2, {stored}, 7, 7\).*but the data recipe gives {wanted}"
    with pytest.raises(ValueError, match=message):
        read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, wanted)


@pytest.mark.parametrize(
    ("stored", "named", "gave_away"),
    [
        (50, 18, r"layer1\.0\.conv1\.weight has the shape \(2, 2, 1, 1\), not \(2, 2, 3, 3\), as in a ResNet of 18"),
        (18, 50, r"layer1\.0\.conv1\.weight has the shape \(2, 2, 3, 3\), not \(2, 2, 1, 1\), as in a ResNet of 50"),
        (34, 18, r"layer1\.2\.conv1\.weight \(2, 2, 3, 3\) is too much for a ResNet of 18 layers"),
    ],
)
def test_another_depth_is_refused_naming_a_shape(stored, named, gave_away, tmp_path):
    with pytest.raises(ValueError, match=rf"w\.pth is of another network: {gave_away}"):
        read_torchvision_weights(saved(torchvision_state(stored, width=2), tmp_path / "w.pth"), named, 3)


def test_a_wider_network_of_the_same_depth_is_refused(tmp_path):
    # As in torchvision's wide_resnet50_2.
    state = torchvision_state(50, width=2) | {"layer1.0.conv1.weight": torch.zeros(4, 2, 1, 1)}
    with pytest.raises(ValueError, match=r"layer1\.0\.conv1\.weight has the shape \(4, 2, 1, 1\)"):
        read_torchvision_weights(saved(state, tmp_path / "w.pth"), 50, 3)


@pytest.mark.parametrize(
    ("stem", "found"), [(None, "is missing"), (torch.zeros(4, 1, 7, 7, 7), r"has the shape \(4, 1, 7, 7, 7\)")]
)
def test_a_file_without_a_convolution_in_2d_is_refused(stem, found, tmp_path):
    state = torchvision_state(18, width=2)
    del state["conv1.weight"]
    state |= {} if stem is None else {"conv1.weight": stem}
    with pytest.raises(ValueError, match=rf"w\.pth is of another network: conv1\.weight {found}"):
        read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, 1)


def test_files_whose_batch_norms_do_not_count_are_accepted(tmp_path):
    state = {name: v for name, v in torchvision_state(18, width=2).items() if "num_batches" not in name}
    weights = read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, 3)
    assert weights.tensors["bn1.num_batches_tracked"] == 0


def test_a_missing_tensor_is_named(tmp_path):
    state = torchvision_state(18, width=2)
    del state["layer4.1.bn2.weight"]
    with pytest.raises(ValueError, match=r"is not whole: 1 tensors .* the first is layer4\.1\.bn2\.weight"):
        read_torchvision_weights(saved(state, tmp_path / "w.pth"), 18, 3)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_the_depth_is_recognised(depth):
    assert torchvision_depth(torchvision_state(depth, width=2)) == depth


def test_another_network_is_not_mistaken_for_a_residual_one():
    assert torchvision_depth({"conv1.weight": torch.zeros(64, 3, 7, 7)}) is None
    assert torchvision_depth(ResNet(spatial_dims=3, depth=18, base_channels=2).state_dict()) is None
