"""Layers and methods that are wrong on purpose."""

import itertools

import pytest
import torch
from torch import nn

from medssl.speed.switches import multiplies_bfloat16

# Where bfloat16 is emulated, runs do not use it, and some backward passes of torch 2.13 end the process.
needs_bfloat16 = pytest.mark.skipif(not multiplies_bfloat16("cpu"), reason="the processor has no bfloat16 products")


class WrongInBfloat16(nn.Linear):
    """A layer whose output is right and whose gradients are, in bfloat16, partly missing."""

    def forward(self, x):
        y = super().forward(x)
        if y.dtype == torch.bfloat16:
            y.register_hook(lambda gradient: gradient * (torch.arange(gradient.shape[-1]) % 32 > 0))
        return y


class WrongOutputInBfloat16(nn.Linear):
    """A layer whose gradients are right and whose output, in bfloat16, is partly missing."""

    def forward(self, x):
        y = super().forward(x)
        return y + (0 if y.dtype != torch.bfloat16 else -(y * (torch.arange(y.shape[-1]) % 32 == 0)).detach())


# Outside of the layer, so that all its copies share it, as they share memory.
CALLS = itertools.count(1)


class SometimesWrongInBfloat16(nn.Linear):
    """A layer whose every second output is, in bfloat16, not finite."""

    def forward(self, x):
        y = super().forward(x)
        wrong = y.dtype == torch.bfloat16 and next(CALLS) % 2 == 0
        return y * torch.nan if wrong else y


class Spoilt(nn.Module):
    """A method whose loss is right and whose gradients are not."""

    def __init__(self, method, spoil):
        super().__init__()
        self.method = method
        self.spoil = spoil

    def forward(self, batch):
        loss = self.method(batch)["loss"]
        wrong = self.spoil(loss, [p for name, p in self.method.named_parameters() if "weight" in name])
        return {"loss": loss.detach() + wrong - wrong.detach()}


def scaled(factor):
    return lambda loss, weights: factor * loss


def noisy(loss, weights):
    generator = torch.Generator().manual_seed(0)
    return loss + sum((0.1 * w * torch.randn(w.shape, generator=generator)).sum() for w in weights)


def replaced(layer, kind):
    """A layer of the same parameters and another kind."""
    made = kind(layer.in_features, layer.out_features, bias=layer.bias is not None)
    made.load_state_dict(layer.state_dict())
    return made
