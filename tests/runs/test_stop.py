import os
import signal

import pytest
from ignite.engine import Engine, Events

from medssl.runs import stop
from medssl.runs.checkpoints import list_checkpoints
from medssl.runs.stop import SIGNALS, StopOnSignal, leave_signals_to_main


class Stateless:
    def state_dict(self):
        return {}


@pytest.fixture(autouse=True)
def usual_signals():
    """A shell starts what runs in its background with SIGINT ignored."""
    former = {number: signal.getsignal(number) for number in SIGNALS}
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in former.items():
        signal.signal(number, handler)


def run(folder, signal_in_step, event=None, number=signal.SIGTERM, times=1, after=lambda: None):
    """Run three epochs of four steps with a signal in one step; give the steps done."""
    steps = []

    def step(engine, _):
        steps.append(engine.state.iteration)
        if engine.state.iteration == signal_in_step and event is None:
            send()

    def send():
        for _ in range(times):
            os.kill(os.getpid(), number)
        after()

    before = [signal.getsignal(number) for number in SIGNALS]
    engine = Engine(step)
    if event is not None:
        engine.add_event_handler(event, lambda e: send() if e.state.iteration == signal_in_step else None)
    StopOnSignal(folder, {"thing": Stateless()}).attach(engine)
    try:
        engine.run(range(4), max_epochs=3)
    finally:
        assert [signal.getsignal(number) for number in SIGNALS] == before
    return steps


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(number, status, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, 6, number=number)
    assert stopped.value.code == status
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step=0000006.pt"]


@pytest.mark.parametrize("event", [None, Events.EPOCH_COMPLETED])
def test_the_checkpoint_of_an_epochs_end_waits_for_its_validation(event, tmp_path):
    validated = []

    class Best:
        def state_dict(self):
            return {"validated": list(validated)}

    engine = Engine(lambda e, b: os.kill(os.getpid(), signal.SIGTERM) if e.state.iteration == 4 and not event else None)
    if event:
        engine.add_event_handler(event, lambda e: os.kill(os.getpid(), signal.SIGTERM))
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda e: validated.append(e.state.epoch))
    handler = StopOnSignal(tmp_path, {"best": Best()})
    handler.attach(engine)
    with pytest.raises(SystemExit):
        engine.run(range(4), max_epochs=2)
    assert validated == [1]
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step=0000004.pt"]


def test_a_signal_in_the_last_step_lets_the_run_end(tmp_path):
    assert run(tmp_path, 12) == list(range(1, 13))


def test_the_answer_comes_at_once_and_says_what_is_waited_for(tmp_path, capfd):
    said = []
    with pytest.raises(SystemExit):
        run(tmp_path, 6, event=Events.ITERATION_STARTED, after=lambda: said.append(capfd.readouterr().err))
    assert said == ["\nStopping after this step (or validation), with a checkpoint. Once more stops at once.\n"]


def test_the_same_signal_twice_in_a_moment_counts_once(tmp_path):
    with pytest.raises(SystemExit):
        run(tmp_path, 6, times=3)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["step=0000006.pt"]


def test_a_second_signal_ends_the_run_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(stop, "SAME_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 6, number=signal.SIGINT, times=2)
    assert not list_checkpoints(tmp_path)


def test_after_a_run_signals_do_what_they_did(tmp_path):
    assert len(run(tmp_path, 0)) == 12


def test_workers_leave_signals_to_the_main_process():
    child = os.fork()
    if child == 0:
        leave_signals_to_main(0)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
