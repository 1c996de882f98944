import pytest
import torch
from ignite.engine import Engine, Events

from medssl.engines.progress import Progress


def step(engine, _):
    return {"pred": {"loss": torch.tensor(0.12345), "part": torch.tensor(2.0)}, "loss": torch.tensor(0.12345)}


def test_one_bar_counts_the_steps_of_all_epochs_and_closes():
    progress, engine, seen = Progress(), Engine(step), []
    progress.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append((progress.bar.n, progress.bar.total)))
    engine.run([0, 1], max_epochs=2)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert progress.bar.disable


def test_the_bar_shows_the_losses_of_the_step():
    progress, engine = Progress(), Engine(step)
    progress.attach(engine)
    engine.run([0])
    assert progress.bar.postfix == "loss=0.123, part=2.000"


def test_a_resumed_run_shows_the_steps_that_were_done_before():
    progress, engine, seen = Progress(), Engine(step), []
    engine.load_state_dict({"iteration": 4, "epoch_length": 2, "max_epochs": 3})
    progress.attach(engine)
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append((progress.bar.n, progress.bar.total)))
    engine.run([0, 1])
    assert seen == [(5, 6), (6, 6)]


def test_a_run_that_fails_closes_its_bar():
    def fails(engine, _):
        raise ArithmeticError("of this step")

    progress, engine = Progress(), Engine(fails)
    progress.attach(engine)
    with pytest.raises(ArithmeticError):
        engine.run([0])
    assert progress.bar.disable
