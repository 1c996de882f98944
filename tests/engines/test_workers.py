import platform
import subprocess
import sys

import pytest

# Three tensors of 32 MiB, as in a batch, made and freed; then how many pages are new when it is done again.
SCRIPT = """
import resource, signal, sys, torch
from medssl.engines.workers import start_worker

def batch():
    return [torch.zeros(8 << 20) for _ in range(3)]

if sys.argv[1] == "worker":
    start_worker(0)
for _ in range(3):
    batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, signal.getsignal(signal.SIGINT) == signal.SIG_IGN)
"""


def new_pages_and_whether_signals_are_ignored(kind):
    result = subprocess.run([sys.executable, "-c", SCRIPT, kind], capture_output=True, text=True, check=True)
    pages, ignored = result.stdout.split()
    return int(pages), ignored


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_a_worker_uses_the_memory_of_one_batch_for_the_next():
    pages, ignores_signals = new_pages_and_whether_signals_are_ignored("worker")
    assert pages < 100
    assert ignores_signals == "True"
    assert new_pages_and_whether_signals_are_ignored("other")[0] > 10_000
