import os
import signal
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path

import pytest

from medssl.workflows.run_pool import Job, TimeLeft, run_jobs


@pytest.mark.slow
def test_a_run_that_fails_does_not_end_the_others(tmp_path, capfd):
    stage = [Job("a", partial(int, "none")), Job("a", partial(Path.touch, tmp_path / "done"))]
    later = [Job("b", partial(Path.touch, tmp_path / "later"))]
    with pytest.raises(ValueError, match="none"):
        run_jobs([stage, later], num_processes=1)
    assert [path.name for path in tmp_path.iterdir()] == ["done"]


@pytest.mark.slow
def test_a_killed_process_is_said(capfd):
    with pytest.raises(BrokenProcessPool, match="the same command continues"):
        run_jobs([[Job("a", partial(signal.raise_signal, signal.SIGKILL))]], num_processes=1)


@pytest.mark.slow
def test_one_bar_counts_all_runs_and_those_of_before(capfd):
    before = dict(os.environ)
    run_jobs([[Job("a", partial(int, "1"))], [Job("b", partial(int, "2"))]], num_processes=1, num_finished=2)
    _, errors = capfd.readouterr()
    assert "100%" in errors.splitlines()[-1]
    assert "4/4 runs" in errors.splitlines()[-1]
    assert dict(os.environ) == before


def test_kinds_that_were_not_seen_take_the_mean_of_the_others():
    left = TimeLeft(["a", "a", "b", "b", "c"], num_processes=1)
    left.finish("a", 10.0)
    left.finish("b", 30.0)
    assert left.seconds() == 10 + 30 + 20


def test_failed_runs_say_nothing_of_the_time():
    left = TimeLeft(["a", "a"], num_processes=1)
    left.finish("a", None)
    assert left.seconds() is None
