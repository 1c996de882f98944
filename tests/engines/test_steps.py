import pytest
import torch
from ignite.engine import Engine
from monai.engines.utils import IterationEvents
from torch import nn

from medssl.engines.steps import AfterStep, ClipGradients


class Moving(nn.Module):
    """A method that notes the progress it is told."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(1, 1, 1)
        self.told = []

    def forward(self, batch):
        return {"loss": self.backbone(batch).sum()}

    def after_step(self, progress):
        self.told.append(progress)


class Still(nn.Module):
    """A method that has nothing to move."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Conv2d(1, 1, 1)

    def forward(self, batch):
        return {"loss": self.backbone(batch).sum()}


def engine_of(step):
    engine = Engine(step)
    engine.register_events(*IterationEvents)
    return engine


@pytest.mark.parametrize(("max_norm", "expected"), [(1.0, 1.0), (100.0, 5.0)])
def test_gradients_are_scaled_down_to_the_norm_and_never_up(max_norm, expected):
    weights = [nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2))]

    def step(engine, _):
        weights[0].grad, weights[1].grad = torch.tensor([3.0]), torch.tensor([0.0, 4.0])
        engine.fire_event(IterationEvents.BACKWARD_COMPLETED)

    engine = engine_of(step)
    ClipGradients(iter(weights), max_norm).attach(engine)
    engine.run([0])
    norm = torch.cat([w.grad for w in weights]).norm()
    assert norm.item() == pytest.approx(expected, rel=1e-5)
    assert weights[1].grad[0] == 0


def test_a_method_is_told_its_progress_after_each_step_of_all_epochs():
    method = Moving()
    engine = engine_of(lambda engine, _: engine.fire_event(IterationEvents.MODEL_COMPLETED))
    AfterStep(method).attach(engine)
    engine.run([0, 1], max_epochs=2)
    assert method.told == [0.25, 0.5, 0.75, 1.0]


def test_a_method_with_nothing_to_move_is_left_alone():
    engine = engine_of(lambda engine, _: engine.fire_event(IterationEvents.MODEL_COMPLETED))
    AfterStep(Still()).attach(engine)
    assert engine.run([0]).iteration == 1


def test_what_is_not_a_method_is_refused():
    with pytest.raises(ValueError, match="Conv2d is not a method: it has no backbone"):
        AfterStep(nn.Conv2d(1, 1, 1))
