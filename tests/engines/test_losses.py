from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from medssl.engines.losses import LossValues, MethodLoss, StopOnBadLoss
from medssl.runs.checkpoints import SaveCheckpoints


def engine_with_losses(*losses, late=None, **batch):
    """An engine whose steps have the given losses, as MONAI's trainer announces them."""
    values = iter(losses)

    def step(engine, _):
        loss = torch.tensor(next(values))
        engine.state.output = {"pred": {"loss": loss, "twice": 2 * loss}, "loss": loss}
        engine.state.batch = batch
        engine.fire_event(IterationEvents.LOSS_COMPLETED)
        return engine.state.output

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    engine.optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    StopOnBadLoss(late).attach(engine)
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


def test_losses_that_are_read_late_are_shown_a_step_later():
    engine, seen = engine_with_losses(1.0, 2.0, 3.0, late=True), []
    engine.add_event_handler(Events.ITERATION_COMPLETED, lambda: seen.append(LossValues()(engine.state.output)))
    engine.run([0, 1, 2])
    assert seen == [{}, {"loss": 1.0, "twice": 2.0}, {"loss": 2.0, "twice": 4.0}]


@pytest.mark.parametrize("num_steps", [2, 3, 5])
def test_a_bad_loss_that_is_read_late_ends_the_run_within_a_step_and_names_its_own_step_and_cases(num_steps):
    engine = engine_with_losses(1.0, float("nan"), *[3.0] * 3, late=True, case=["a"])
    with pytest.raises(FloatingPointError, match=r"loss of step 2 is nan \(cases: a\)"):
        engine.run(range(num_steps))
    assert engine.state.iteration == min(num_steps, 3)


def test_nothing_is_saved_after_a_bad_loss_that_is_not_read_yet(tmp_path):
    engine = engine_with_losses(1.0, float("inf"), 1.0, late=True)
    SaveCheckpoints(str(tmp_path), {}, interval=1).attach(engine)
    with pytest.raises(FloatingPointError, match="loss of step 2 is inf"):
        engine.run(range(3))
    assert [path.name for path in tmp_path.glob("*.pt")] == ["step=0000001.pt"]


@pytest.mark.parametrize(("loss", "moved"), [(1.0, True), (float("nan"), False)])
def test_a_fused_optimizer_leaves_the_weights_alone_after_a_bad_loss(loss, moved):
    weight = torch.zeros(3, requires_grad=True)
    engine = engine_with_losses(loss, late=True)
    engine.optimizer = torch.optim.Adam([weight], fused=True)
    weight.grad = torch.full((3,), loss)

    @engine.on(IterationEvents.LOSS_COMPLETED)
    def take_the_step():
        engine.optimizer.step()

    with nullcontext() if moved else pytest.raises(FloatingPointError):
        engine.run([0])
    assert bool(weight.any()) == moved
    assert torch.isfinite(weight).all()
