import signal

import pytest
from ignite.engine import Engine

from medssl.engines.progress import Progress
from medssl.runs.exceptions import on_exception
from medssl.runs.stop import SIGNALS, StopOnSignal


def failing(engine, batch):
    raise ArithmeticError("of this step")


def test_all_actions_are_done_and_the_exception_goes_on():
    done, engine = [], Engine(failing)
    on_exception(engine, lambda: done.append(1))
    on_exception(engine, lambda: done.append(2))
    with pytest.raises(ArithmeticError, match="of this step"):
        engine.run([0])
    assert done[:2] == [1, 2]


def test_a_run_that_fails_leaves_its_bar_closed_and_signals_as_they_were(tmp_path):
    before, engine, progress = [signal.getsignal(number) for number in SIGNALS], Engine(failing), Progress()
    progress.attach(engine)
    StopOnSignal(tmp_path, {}).attach(engine)
    with pytest.raises(ArithmeticError):
        engine.run([0])
    assert progress.bar.disable
    assert [signal.getsignal(number) for number in SIGNALS] == before
