from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents

from medssl.engines.losses import LossValues, MethodLoss, StopOnBadLoss


def engine_with_losses(*losses, **batch):
    """An engine whose steps have the given losses, as MONAI's trainer announces them."""
    values = iter(losses)

    def step(engine, _):
        engine.state.output = {"loss": torch.tensor(next(values))}
        engine.state.batch = batch
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        return engine.state.output

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    StopOnBadLoss().attach(engine)
    return engine


def test_the_loss_of_a_method_is_the_one_named_loss():
    losses = {"part": torch.tensor(1.0), "loss": torch.tensor(2.0)}
    assert MethodLoss()(losses, torch.empty(0)) is losses["loss"]


@pytest.mark.parametrize(
    ("returned", "found"), [({"total": torch.tensor(1.0)}, "returned total"), (torch.tensor(1.0), "returned Tensor")]
)
def test_a_method_without_a_named_loss_is_refused(returned, found):
    with pytest.raises(ValueError, match=f"named losses, one of them 'loss', but this one {found}"):
        MethodLoss()(returned, torch.empty(0))


def test_the_values_of_all_named_losses_are_logged():
    losses = {"loss": torch.tensor(2.0, requires_grad=True), "part": torch.tensor(1.0)}
    assert LossValues()({"pred": losses, "loss": losses["loss"]}) == {"loss": 2.0, "part": 1.0}


def test_the_loss_of_a_segmentation_network_is_logged_by_itself():
    assert LossValues()({"pred": torch.zeros(1, 2, 4, 4), "loss": torch.tensor(0.5)}) == {"loss": 0.5}


def test_a_run_goes_on_while_its_loss_is_finite():
    assert engine_with_losses(1.0, -3.0, case=["a"]).run([0, 1]).iteration == 2


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_ends_the_run_and_names_step_and_cases(bad):
    engine = engine_with_losses(1.0, bad, case=["b", "a", "b"])
    with pytest.raises(FloatingPointError, match=rf"loss of step 2 is {bad} \(cases: a, b\)"):
        engine.run([0, 1])


def test_a_batch_that_names_no_cases_can_still_be_reported():
    state = SimpleNamespace(output={"loss": torch.tensor(float("nan"))}, batch={}, iteration=7)
    with pytest.raises(FloatingPointError, match=r"step 7 .*unknown"):
        StopOnBadLoss()(SimpleNamespace(state=state))
