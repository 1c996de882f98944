"""State dicts with the names and shapes of torchvision's residual networks, made without medssl and without MONAI."""

import torch
from torch import Tensor
from torch.nn import functional as F

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def torchvision_state(depth: int, width: int = 64, in_channels: int = 3, classes: int = 1000) -> dict[str, Tensor]:
    """Random tensors named, shaped and ordered as in torchvision's ``resnet18``, ``resnet34`` or ``resnet50``."""
    generator = torch.Generator().manual_seed(depth)
    state: dict[str, Tensor] = {}

    def conv(name, fan_in, fan_out, kernel):
        scale = (2 / (fan_in * kernel**2)) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(fan_out, fan_in, kernel, kernel, generator=generator)

    def norm(name, channels):
        state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    expansion = 4 if depth == 50 else 1
    conv("conv1", in_channels, width, 7)
    norm("bn1", width)
    channels = width
    for stage, blocks in enumerate(BLOCKS[depth]):
        inner = width * 2**stage
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            kernels = (1, 3, 1) if depth == 50 else (3, 3)
            widths = [channels, *[inner] * (len(kernels) - 1), inner * expansion]
            for number, kernel in enumerate(kernels, start=1):
                conv(f"{name}.conv{number}", widths[number - 1], widths[number], kernel)
                norm(f"{name}.bn{number}", widths[number])
            if channels != inner * expansion:
                conv(f"{name}.downsample.0", channels, inner * expansion, 1)
                norm(f"{name}.downsample.1", inner * expansion)
            channels = inner * expansion
    state["fc.weight"] = torch.zeros(classes, channels)
    state["fc.bias"] = torch.zeros(classes)
    return state


def torchvision_forward(state: dict[str, Tensor], depth: int, image: Tensor) -> list[Tensor]:
    """The stem and the stages of the network in inference, as He et al. (2016) and torchvision define them."""

    def norm(name, x):
        mean, var, weight, bias = (state[f"{name}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, mean, var, weight, bias)

    def conv(name, x, stride=1):
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    levels = [F.relu(norm("bn1", conv("conv1", image, 2)))]
    x = F.max_pool2d(levels[0], 3, 2, 1)
    # The 3-wide convolution that halves the image: the second of a bottleneck, the first of a basic block.
    halving, last = (2, 3) if depth == 50 else (1, 2)
    for stage, blocks in enumerate(BLOCKS[depth]):
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            stride = 2 if stage and not block else 1
            y = x
            for number in range(1, last + 1):
                y = norm(f"{name}.bn{number}", conv(f"{name}.conv{number}", y, stride if number == halving else 1))
                y = F.relu(y) if number < last else y
            if f"{name}.downsample.0.weight" in state:
                x = norm(f"{name}.downsample.1", conv(f"{name}.downsample.0", x, stride))
            x = F.relu(x + y)
        levels.append(x)
    return levels
