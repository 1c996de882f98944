import logging

import pytest
from ignite.engine import Engine

from medssl.engines import timing
from medssl.engines.progress import Progress
from medssl.engines.timing import DataWait, ExpectedTime, duration, forecast


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(timing, "time", clock)
    return clock


def engine_of(clock, data_seconds, step_seconds, num_steps):
    """An engine and its batches, which move the clock as if it took time to get them and to use them."""

    def batches():
        for number in range(num_steps):
            clock.now += data_seconds
            yield number

    def step(engine, _):
        clock.now += step_seconds
        return {"pred": None, "loss": LOSS}

    return Engine(step), batches()


class _Loss:
    def item(self):
        return 1.0


LOSS = _Loss()


@pytest.mark.parametrize(
    ("data_seconds", "step_seconds", "share"), [(0.0, 1.0, 0.0), (1.0, 3.0, 0.25), (1.0, 0.0, 1.0)]
)
def test_the_share_of_the_steps_that_waits_for_data(data_seconds, step_seconds, share, clock):
    engine, batches = engine_of(clock, data_seconds, step_seconds, 12)
    wait = DataWait()
    wait.attach(engine)
    engine.run(batches, max_epochs=1, epoch_length=12)
    assert wait.share == pytest.approx(share)


def test_what_the_workers_take_to_start_does_not_count(clock):
    wait = DataWait()
    wait.steps.extend([(60.0, 60.1), (5.0, 5.1), *[(0.0, 0.1)] * 6])
    assert wait.share == 0.0


@pytest.mark.parametrize(("data_seconds", "told"), [(0.05, ""), (1.0, ", waiting for data 50 %: more --num_workers")])
def test_the_bar_tells_of_waiting_only_where_it_is_notable(data_seconds, told, clock):
    engine, batches = engine_of(clock, data_seconds, 1.0, 12)
    progress = Progress()
    progress.attach(engine)
    engine.run(batches, max_epochs=1, epoch_length=12)
    assert progress.bar.postfix == f"loss=1.000{told}"


def messages(caplog, clock, num_steps, max_epochs, start=0):
    engine, batches = engine_of(clock, 0.5, 1.5, num_steps)
    engine.load_state_dict({"iteration": start, "epoch_length": 10, "max_epochs": max_epochs})
    ExpectedTime().attach(engine)
    with caplog.at_level(logging.INFO, "medssl"):
        engine.run(batches)
    return [record.getMessage() for record in caplog.records if record.name == "medssl.engines.timing"]


def test_the_time_of_the_rest_is_logged_once_after_a_few_steps(caplog, clock):
    assert messages(caplog, clock, 40, 4) == [forecast(2.0, 28, 10)]


def test_a_resumed_run_counts_the_steps_that_are_left(caplog, clock):
    assert messages(caplog, clock, 20, 4, start=20) == [forecast(2.0, 8, 10)]


def test_a_run_that_ends_with_the_timed_steps_logs_nothing(caplog, clock):
    assert messages(caplog, clock, 10, 1) == []


def test_a_run_of_days_tells_how_many_epochs_take_a_day():
    assert forecast(10.0, 50_000, 100).endswith("about 5.8 days on this machine (--max_epochs 86: about a day).")
    assert "max_epochs" not in forecast(1.0, 50_000, 100)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(59, "59 seconds"), (61, "61 seconds"), (91, "1.5 minutes"), (86_000, "24 hours"), (1e7, "116 days")],
)
def test_a_duration_is_told_in_the_largest_unit(seconds, text):
    assert duration(seconds) == text
