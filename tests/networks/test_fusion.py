import pytest
import torch

from medssl.networks.fusion import GatedFusion


def make(spatial_dims, reference):
    torch.manual_seed(0)
    fusion = GatedFusion((3, 5), reference)
    for gate in fusion.gates:
        torch.nn.init.normal_(gate)
    size = (4, 2, 6)[:spatial_dims]
    return fusion, [torch.randn(2, channels, *size) for channels in (7, 3, 5)]


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("reference", [False, True], ids=["paper", "code"])
def test_gates_of_the_coarsest_levels(spatial_dims, reference):
    fusion, pyramid = make(spatial_dims, reference)
    parts = []
    for level, p in zip(pyramid[1:], fusion.gates, strict=True):
        f = level.mean(dim=tuple(range(2, 2 + spatial_dims)))
        parts.append(1 / (1 + torch.exp(-p)) * f if reference else 1 / (1 + torch.exp(-f)) * p)
    torch.testing.assert_close(fusion(pyramid), torch.cat(parts, dim=1))


def test_gates_start_at_one():
    assert all(torch.equal(gate, torch.ones_like(gate)) for gate in GatedFusion((3, 5)).gates)


def test_every_gate_is_trained():
    fusion, pyramid = make(2, reference=False)
    fusion(pyramid).sum().backward()
    assert all(gate.grad.abs().min() > 0 for gate in fusion.gates)
