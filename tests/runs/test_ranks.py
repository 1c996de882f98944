from pathlib import Path

import pytest
import torch

from medssl.runs.ranks import joined_ranks, num_ranks, on_first_rank, rank_device, require_one_process
from tests.torchrun import start_on_ranks


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two ranks have computed."""
    out = tmp_path_factory.mktemp("ranks")
    process = start_on_ranks(out, module="tests.engines.two_ranks")
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors
    return [torch.load(out / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_only_the_first_rank_acts(ranks):
    assert [found["written"] for found in ranks] == [[0], []]


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="the names of threads are known on Linux alone")
@pytest.mark.slow
@pytest.mark.parametrize("way", ["block", "program"])
def test_no_thread_of_the_ranks_outlives_them(way, tmp_path):
    # Such a thread aborts the process now and then, while the interpreter ends.
    process = start_on_ranks(tmp_path, way, module="tests.engines.left_ranks")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    for rank in (0, 1):
        names = (tmp_path / f"rank_{rank}.txt").read_text(encoding="utf-8").splitlines()
        assert names
        assert not [name for name in names if "gloo" in name]


def test_one_process_needs_no_ranks():
    done = []
    with joined_ranks():
        require_one_process("Probing runs")
        on_first_rank(lambda: done.append(num_ranks()))
    assert done == [1]
    assert not torch.distributed.is_initialized()


def test_more_processes_than_gpus_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert rank_device() == torch.device("cuda", 1)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ValueError, match="--nproc_per_node 2"):
        rank_device()
