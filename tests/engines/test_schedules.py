import math

import pytest
import torch
from ignite.engine import Engine
from torch.optim.lr_scheduler import CosineAnnealingLR, LinearLR, SequentialLR

from medssl.engines.schedules import WarmupCosine


def make_optimizer():
    return torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(2)]}], lr=1.0)


def rates(max_epochs, epoch_length, start=0, **options):
    """The rates of both groups at every step of a run, possibly one that goes on after a number of steps."""
    optimizer, seen = make_optimizer(), []
    engine = Engine(lambda *_: seen.append([group["lr"] for group in optimizer.param_groups]))
    WarmupCosine(optimizer, max_epochs=max_epochs, steps_per_epoch=epoch_length, **options).attach(engine)
    engine.state.iteration = start
    engine.load_state_dict({"iteration": start, "epoch_length": epoch_length, "max_epochs": max_epochs})
    engine.run([0] * epoch_length)
    return seen


def test_rates_by_hand():
    schedule = WarmupCosine(make_optimizer(), peak=1.0, max_epochs=1, steps_per_epoch=5, warmup=0.2, end=0.2)
    expected = [1.0, 1.0, 0.2 + 0.4 * (1 + math.sqrt(0.5)), 0.6, 0.2 + 0.4 * (1 - math.sqrt(0.5))]
    assert [schedule.learning_rate(step, total_steps=5) for step in range(1, 6)] == pytest.approx(expected)


def test_rates_are_those_of_torchs_schedulers():
    optimizer = make_optimizer()
    rise = LinearLR(optimizer, start_factor=0.25, total_iters=3)
    fall = CosineAnnealingLR(optimizer, T_max=8, eta_min=0.1)
    scheduler, expected = SequentialLR(optimizer, [rise, fall], milestones=[4]), []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    schedule = WarmupCosine(make_optimizer(), peak=1.0, max_epochs=3, steps_per_epoch=4, warmup=0.34, end=0.1)
    assert [schedule.learning_rate(step, total_steps=12) for step in range(1, 13)] == pytest.approx(expected)


def test_every_group_has_the_rate_of_the_step():
    schedule = WarmupCosine(make_optimizer(), peak=0.3, max_epochs=2, steps_per_epoch=3, warmup=0.4)
    assert rates(2, 3, peak=0.3, warmup=0.4) == [
        [schedule.learning_rate(step, total_steps=6)] * 2 for step in range(1, 7)
    ]


def test_a_resumed_run_goes_on_with_the_rates_of_one_that_was_not_stopped():
    whole = rates(4, 3, peak=0.3, warmup=0.45)
    assert rates(4, 3, start=6, peak=0.3, warmup=0.45) == whole[6:]


def test_an_optimizer_that_loads_a_state_still_follows():
    optimizer = make_optimizer()
    schedule = WarmupCosine(optimizer, peak=0.3, max_epochs=2, steps_per_epoch=3)
    optimizer.load_state_dict(make_optimizer().state_dict())
    engine = Engine(lambda *_: None)
    schedule.attach(engine)
    engine.run([0])
    assert [group["lr"] for group in optimizer.param_groups] == [0.3, 0.3]


@pytest.mark.parametrize("warmup", [1.0, 1.5, -0.1])
def test_a_warmup_as_long_as_the_run_is_refused(warmup):
    with pytest.raises(ValueError, match="a share of the run"):
        WarmupCosine(make_optimizer(), peak=0.3, max_epochs=2, steps_per_epoch=3, warmup=warmup)


def test_without_a_length_it_is_that_of_the_trainer():
    optimizer = make_optimizer()
    schedule = WarmupCosine(optimizer, peak=1.0, warmup=0.5)
    seen = []

    def step(engine, batch):
        seen.append(optimizer.param_groups[0]["lr"])
        if engine.state.iteration == 1:
            # As a budget of minutes does after its first steps.
            engine.state.max_epochs = 2

    engine = Engine(step)
    schedule.attach(engine)
    engine.run(range(2), max_epochs=4)
    assert seen == pytest.approx([0.25, 1.0, 1.0, 0.5])
