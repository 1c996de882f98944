"""Where the cells of a backbone are, measured by what they depend on."""

import pytest
import torch

from medssl.networks.fpn import FPN
from medssl.networks.resnet import ResNet
from medssl.networks.unet import UNet, UNetEncoder

BACKBONES = {
    "fpn": lambda: FPN(2, base_channels=4, num_levels=4),
    "unet": lambda: UNet(2, base_channels=4, num_levels=4),
    "unet_encoder": lambda: UNetEncoder(2, base_channels=4, num_levels=4),
    "resnet": lambda: ResNet(2, depth=10, base_channels=4),
}


@pytest.mark.parametrize("name", BACKBONES)
def test_a_cell_depends_on_the_voxels_around_its_centre(name):
    """With equal weights, the influence of the voxels is even around the centre of what the cell sees."""
    network = BACKBONES[name]().eval()
    for module in network.modules():
        if hasattr(module, "weight") and module.weight.dim() > 1:
            torch.nn.init.constant_(module.weight, 1 / module.weight[0].numel())
    size = 32 * 9
    image = torch.ones(1, 1, size, size, requires_grad=True)
    # Max pooling sends the gradient to one of equal voxels, so the image leans neither way on average.
    with torch.no_grad():
        image += torch.rand(image.shape, generator=torch.Generator().manual_seed(0))
    for level, stride, first in zip(network(image), network.strides, network.first_centres, strict=True):
        index = level.shape[2] // 2
        (gradient,) = torch.autograd.grad(level[0, :, index].sum(), image, retain_graph=True)
        weight = gradient[0, 0].abs().sum(dim=1)
        centroid = float((weight * torch.arange(size)).sum() / weight.sum())
        assert centroid == pytest.approx(first + stride * index, abs=max(0.1 * stride, 0.6))
