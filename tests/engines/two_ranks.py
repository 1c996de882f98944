"""What each of two ranks computes for `test_data_parallel`, and what one process computes for comparison."""

import sys
from types import SimpleNamespace

import torch
from torch import nn

from medssl.data.sampling import StepBatches
from medssl.engines.data_parallel import AverageLosses, data_parallel
from medssl.methods.hierarchical import Hierarchical
from medssl.networks.batch_norm import synchronise_batch_norm
from medssl.networks.fpn import FPN, BalancedPyramid
from medssl.networks.heads import Projector, RestorationHead
from medssl.runs.ranks import join_ranks, num_ranks, on_first_rank, rank
from medssl.transforms.patches import RandOverlappingPatchesd

ROWS = (3, 4)
STEPS = 4


def method_of(name):
    """Give a small network of a method, the same whenever it is called."""
    torch.manual_seed(0)
    fpn = FPN(3, base_channels=4, num_levels=2)
    if name == "vox2vec":
        return without_kinks(Hierarchical(fpn, Projector(fpn.level_channels)))
    network = BalancedPyramid(FPN(3, base_channels=4, num_levels=2), level_channels=4)
    return without_kinks(Hierarchical(network, Projector(network.level_channels), RestorationHead(3, 4)))


def without_kinks(method):
    """Make the gradients of a method a smooth function of its numbers.

    Where a ReLU is given zero but for rounding, its gradient is 0 in one process and 1 on two ranks. One such value
    moved the gradients of all layers below by a thousandth on a CPU with AVX2.
    """
    for module in list(method.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Softplus())
            elif isinstance(child, nn.MaxPool3d):
                setattr(module, name, nn.AvgPool3d(child.kernel_size))
    return method


def batches_of(rank=0, num_ranks=1):
    """Give the batches of a rank; the bodies are so small that the ranks have different numbers of voxels."""
    random = torch.Generator().manual_seed(0)
    body = torch.zeros(1, 14, 14, 10, dtype=torch.bool)
    body[:, 6:10, 6:10, 3:7] = True
    volume = {"image": torch.rand(1, 14, 14, 10, generator=random), "foreground": body}
    cut = RandOverlappingPatchesd((8, 8, 8), num_voxels=40)
    return StepBatches([volume], cut, seed=0, batch_size=4, rank=rank, num_ranks=num_ranks)


def train(method, network, batches, average=lambda losses: losses):
    """Give the losses and gradient norms of some steps."""
    optimizer = torch.optim.Adam(method.parameters(), lr=3e-3)
    history = []
    for step in range(STEPS):
        optimizer.zero_grad()
        losses = network(batches[step])
        losses["loss"].backward()
        norm = nn.utils.clip_grad_norm_(method.parameters(), 1.0)
        optimizer.step()
        history.append({**average(losses), "norm": norm})
    return [{name: value.item() for name, value in step.items()} for step in history]


def averaged(losses):
    """Give the losses as `AverageLosses` leaves them for those who log."""
    engine = SimpleNamespace(state=SimpleNamespace(output={"pred": losses, "loss": losses["loss"]}))
    AverageLosses()(engine)
    assert engine.state.output["loss"] is engine.state.output["pred"]["loss"]
    return engine.state.output["pred"]


def normalised(norm, x):
    """Give what a batch norm makes of features, the gradients of a loss of it, and its state."""
    x = x.clone().requires_grad_()
    y = norm(x)
    (y.square() * torch.linspace(0, 1, y[0].numel()).view_as(y[0])).sum().backward()
    gradients = [p.grad for p in norm.parameters()]
    return {"output": y.detach(), "gradient": x.grad, "of_parameters": gradients, "state": norm.state_dict()}


def features(*shape):
    """Give features whose mean is larger than their spread."""
    return torch.randn(sum(ROWS), *shape, generator=torch.Generator().manual_seed(1)) + 5


def norms():
    """Give batch norms of all kinds with features for each."""
    made = [
        ("rows", nn.BatchNorm1d(5), features(5)),
        ("volumes", nn.BatchNorm3d(2), features(2, 3, 4, 2)),
        ("cumulative", nn.BatchNorm1d(5, momentum=None, affine=False), features(5)),
    ]
    for _, norm, _ in made:
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 2, generator=torch.Generator().manual_seed(2))
    return made


def main(out):
    """Write what this rank has computed to a folder."""
    join_ranks()
    results = {"written": []}
    on_first_rank(lambda: results["written"].append(rank()))
    for name in ("kats", "vox2vec"):
        method = method_of(name)
        history = train(method, data_parallel(method), batches_of(rank(), num_ranks()), averaged)
        results[name] = {"history": history, "state": method.state_dict()}
    for name, norm, x in norms():
        network = nn.Sequential(norm)
        synchronise_batch_norm(network)
        results[name] = normalised(network[0], x.split(ROWS)[rank()])
    try:
        network[0](torch.zeros(1, 5) if rank() else torch.zeros(0, 5))
    except ValueError as error:
        results["one_value"] = str(error)
    torch.save(results, f"{out}/rank_{rank()}.pt")


if __name__ == "__main__":
    main(sys.argv[1])
