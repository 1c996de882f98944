import logging

import pytest
from ignite.engine import Engine, Events

from medssl.engines import minutes as module
from medssl.engines.minutes import TIMED_STEPS, FitToMinutes, FoundLength


@pytest.fixture
def clock(monkeypatch):
    """A clock that a step moves on by 3 seconds."""
    seconds = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: seconds[0])
    return seconds


def run(handler, clock, max_epochs, stop_after=None, seconds=lambda step: 3.0):
    def step(engine, batch):
        clock[0] += seconds(engine.state.iteration)
        if engine.state.iteration == stop_after:
            engine.terminate()

    engine = Engine(step)
    handler.attach(engine)
    engine.run(range(10), max_epochs=max_epochs)
    return engine.state.iteration


def test_a_run_gets_the_steps_that_its_minutes_allow(clock, caplog):
    caplog.set_level(logging.INFO)
    assert run(FitToMinutes(5, FoundLength()), clock, max_epochs=1000) == 100
    assert "A step takes 3.00 s: 100 steps in 5 minutes." in caplog.text


def test_slow_first_steps_count_as_time(clock):
    assert run(FitToMinutes(5, FoundLength()), clock, 1000, seconds=lambda step: 60.0 if step == 1 else 3.0) == 80


def test_a_run_whose_steps_become_slower_ends_in_time(clock, caplog):
    caplog.set_level(logging.INFO)
    found = FoundLength()
    steps = run(FitToMinutes(5, found), clock, 1000, seconds=lambda step: 3.0 if step <= 30 else 9.0)
    assert 5 * 60 - 90 < clock[0] <= 5 * 60 + 90
    assert found.max_epochs == steps / 10 and "Steps have become slower" in caplog.text


def test_without_minutes_the_length_is_that_of_the_recipe(clock):
    assert run(FitToMinutes(None, FoundLength()), clock, max_epochs=2) == 20


def test_a_short_time_still_ends_an_epoch_after_the_timed_steps(clock):
    steps = run(FitToMinutes(0.1, FoundLength()), clock, max_epochs=1000)
    assert steps == 20 > TIMED_STEPS


def test_a_resumed_run_keeps_the_length_that_was_found(clock):
    found, kept = FoundLength(), FoundLength()
    run(FitToMinutes(5, found), clock, max_epochs=1000, stop_after=30)
    kept.load_state_dict(found.state_dict())
    engine = Engine(lambda engine, batch: None)
    FitToMinutes(5, kept).attach(engine)
    lengths = []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: lengths.append(engine.state.max_epochs))
    engine.run(range(10), max_epochs=1000)
    assert set(lengths) == {10}


@pytest.mark.parametrize("minutes", [0, -1])
def test_a_time_that_is_none_is_refused(minutes):
    with pytest.raises(ValueError, match="set --minutes"):
        FitToMinutes(minutes, FoundLength())
