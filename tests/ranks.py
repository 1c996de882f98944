"""Functions called in a process group of several ranks, one process a rank."""

import multiprocessing

import torch
import torch.distributed as dist
from torch.multiprocessing import start_processes


def on_ranks(function, num_ranks, folder, *arguments):
    """Call `function(rank, *arguments)` on every rank of a gloo group and give what the ranks returned, in order.

    The function must be importable by its name; what it returns, tensors and numbers, comes through `folder`.
    """
    # The ranks of all tests are forks of one process that has imported what takes seconds to import.
    multiprocessing.set_forkserver_preload(["medssl.losses.info_nce", "torch.nn.parallel"])
    start_processes(_call, (num_ranks, str(folder), function, arguments), num_ranks, start_method="forkserver")
    return [torch.load(folder / f"rank_{rank}.pt", weights_only=True) for rank in range(num_ranks)]


def _call(rank, num_ranks, folder, function, arguments):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=num_ranks)
    try:
        torch.save(function(rank, *arguments), f"{folder}/rank_{rank}.pt")
    finally:
        dist.destroy_process_group()
