"""State dicts with the names and shapes of the published checkpoints, made without medssl."""

import torch
from torch import Tensor


def published_state(width: int, num_levels: int, in_channels: int = 1, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors with the names of the published networks; the decoder's lists begin with the coarsest level."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    widths = [width * 2**level for level in range(num_levels)]

    def conv(name, fan_in, fan_out, kernel):
        state[f"{name}.weight"] = 0.1 * torch.randn(fan_out, fan_in, *[kernel] * 3, generator=generator)
        state[f"{name}.bias"] = 0.1 * torch.randn(fan_out, generator=generator)

    def norm(name, channels):
        state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.bias"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def stack(name, channels):
        for block in range(2):
            for position in (0, 3):
                norm(f"{name}.layers.{block}.layers.{position}", channels)
                conv(f"{name}.layers.{block}.layers.{position + 2}", channels, channels, 3)

    conv("first_conv", in_channels, width, 3)
    for level in range(num_levels - 1):
        stack(f"left_blocks.{level}", widths[level])
        conv(f"down_blocks.{level}.1", widths[level], widths[level + 1], 1)
    stack("bottom_block", widths[-1])
    for k, level in enumerate(reversed(range(num_levels - 1))):
        conv(f"up_blocks.{k}.0", widths[level + 1], widths[level], 1)
        conv(f"skip_blocks.{k}", widths[level], widths[level], 1)
        stack(f"right_blocks.{k}", widths[level])
    return state


def published_forward(state: dict[str, Tensor], num_levels: int, image: Tensor) -> list[Tensor]:
    """The pyramid, finest first, computed from the published tensors alone; sizes must be powers of two."""
    functional = torch.nn.functional

    def conv(name, x):
        weight = state[f"{name}.weight"]
        return functional.conv3d(x, weight, state[f"{name}.bias"], padding=weight.shape[-1] // 2)

    def norm(name, x):
        values = [state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(x, *values, training=False)

    def stack(name, x):
        for block in range(2):
            y = x
            for position in (0, 3):
                prefix = f"{name}.layers.{block}.layers"
                y = conv(f"{prefix}.{position + 2}", functional.relu(norm(f"{prefix}.{position}", y)))
            x = x + y
        return x

    x = conv("first_conv", image)
    skips = []
    for level in range(num_levels - 1):
        x = stack(f"left_blocks.{level}", x)
        skips.append(x)
        x = conv(f"down_blocks.{level}.1", functional.max_pool3d(x, 2))
    pyramid = [stack("bottom_block", x)]
    for k in range(num_levels - 1):
        up = (
            conv(f"up_blocks.{k}.0", pyramid[0]).repeat_interleave(2, 2).repeat_interleave(2, 3).repeat_interleave(2, 4)
        )
        pyramid.insert(0, stack(f"right_blocks.{k}", conv(f"skip_blocks.{k}", skips.pop()) + up))
    return pyramid
