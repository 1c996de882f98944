"""What every decoder of a pyramid is held to."""

import torch

from medssl.networks.fpn import FPN

# Widths and strides as those of a small FPN and of a small ResNet.
FPN_LEVELS = ((4, 8, 16), (1, 2, 4))
RESNET_LEVELS = ((4, 4, 8, 16, 32), (2, 4, 8, 16, 32))
SHAPES = [(16, 16), (17, 5), (9, 8, 5), (40, 33, 2)]


def random_pyramid(level_channels, strides, shape, batch_size=2):
    return [
        torch.rand(batch_size, c, *(-(-size // stride) for size in shape))
        for c, stride in zip(level_channels, strides, strict=True)
    ]


def check_decoder(make_head):
    """Check a head made by ``make_head(spatial_dims, level_channels, num_classes, strides)``."""
    for shape in SHAPES:
        for levels in (FPN_LEVELS, RESNET_LEVELS):
            check_size(make_head, shape, *levels)
        check_scripting(make_head, shape)
    check_gradients(make_head)
    check_real_pyramid(make_head)


def check_size(make_head, shape, level_channels, strides):
    pyramid = random_pyramid(level_channels, strides, shape)
    logits = make_head(len(shape), level_channels, 3, strides).eval()(pyramid)
    assert logits.shape == (2, 3, *pyramid[0].shape[2:])


def check_scripting(make_head, shape):
    head = make_head(len(shape), FPN_LEVELS[0], 3, FPN_LEVELS[1]).eval()
    pyramid = random_pyramid(*FPN_LEVELS, shape)
    torch.testing.assert_close(torch.jit.script(head)(pyramid), head(pyramid))


def check_gradients(make_head):
    head = make_head(2, FPN_LEVELS[0], 3, FPN_LEVELS[1])
    logits = head(random_pyramid(*FPN_LEVELS, (32, 32), batch_size=4))
    (logits * torch.randn(logits.shape)).sum().backward()
    untrained = [name for name, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert untrained == []


def check_real_pyramid(make_head):
    backbone = FPN(2, base_channels=4, num_levels=3).eval()
    head = make_head(2, backbone.level_channels, 2, backbone.strides).eval()
    assert head(backbone(torch.rand(1, 1, 19, 22))).shape == (1, 2, 19, 22)
