import copy
import math

import pytest
import torch
from ignite.engine import Engine, Events
from monai.engines.utils import IterationEvents

from medssl.engines.mean_teacher import GuideTeacher, MeanTeacher, consistency, sigmoid_ramp
from medssl.losses.dice_bce import DiceBCELoss
from medssl.networks.fpn import FPN
from medssl.networks.heads import LinearHead
from medssl.networks.segmentation import SegmentationNetwork


@pytest.fixture
def method():
    torch.manual_seed(0)
    backbone = FPN(2, base_channels=4, num_levels=2)
    return MeanTeacher(SegmentationNetwork(backbone, LinearHead(2, backbone.level_channels, 2)), DiceBCELoss()).train()


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(1)
    images = {
        key: torch.rand(n, 1, 8, 8, generator=generator)
        for key, n in (("image", 2), ("unlabeled", 3), ("unlabeled_noisy", 3))
    }
    return {**images, "label": torch.randint(0, 3, (2, 1, 8, 8), generator=generator)}


def run(method, batch, num_steps, max_epochs=1, **options):
    """Train for some steps and give the weight of the consistency and the student's and teacher's bias after each."""
    optimizer = torch.optim.SGD(method.student.parameters(), lr=0.1)
    history = []

    def step(engine, _):
        optimizer.zero_grad()
        losses = method(batch)
        losses["loss"].backward()
        optimizer.step()
        engine.fire_event(IterationEvents.MODEL_COMPLETED)
        networks = (method.student, method.teacher.network)
        history.append((losses["weight"].item(), *(n.head.convs[-1].bias.detach().clone() for n in networks)))

    engine = Engine(step)
    engine.register_events(*IterationEvents)
    GuideTeacher(method, **options).attach(engine)
    engine.run(range(num_steps), max_epochs=max_epochs)
    return history


def test_the_loss_is_that_of_the_labelled_and_the_weighted_difference_on_the_unlabelled(method, batch):
    method.weight = 0.5
    torch.nn.init.normal_(method.teacher.network.head.convs[-1].bias)
    student, teacher = copy.deepcopy(method.student), copy.deepcopy(method.teacher.network).eval()
    logits = student(torch.cat([batch["image"], batch["unlabeled"]]))
    supervised = DiceBCELoss()(logits[:2], batch["label"])
    difference = 1 / (1 + torch.exp(-logits[2:])) - 1 / (1 + torch.exp(-teacher(batch["unlabeled_noisy"])))
    losses = method(batch)
    torch.testing.assert_close(losses["supervised"], supervised.detach())
    torch.testing.assert_close(losses["consistency"], difference.square().mean().detach())
    torch.testing.assert_close(losses["loss"], supervised + 0.5 * difference.square().mean())


def test_without_weight_the_unlabelled_patches_change_the_loss_through_batch_norm_alone(method, batch):
    method.weight = 0.0
    assert torch.equal(method(batch)["loss"].detach(), method(batch)["supervised"])
    method.student.eval()
    other = {**batch, "unlabeled": batch["unlabeled"] + 1}
    torch.testing.assert_close(method(other)["loss"], method(batch)["loss"])


def test_a_teacher_that_is_the_student_agrees_on_the_same_patches(method, batch):
    method.eval()
    same = {**batch, "unlabeled_noisy": batch["unlabeled"]}
    assert method(same)["consistency"] == 0


def test_only_the_student_is_trained_and_a_forward_pass_leaves_the_teacher_alone(method, batch):
    before = copy.deepcopy(method.teacher.state_dict())
    method.weight = 1.0
    method(batch)["loss"].backward()
    assert all(p.grad is not None for p in method.student.parameters())
    assert all(p.grad is None for p in method.teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in method.teacher.state_dict().items())
    assert not any(module.training for module in method.teacher.modules())


def test_the_teacher_is_the_moving_average_of_the_student(method, batch):
    history = run(method, batch, 6, momentum=0.7)
    expected = torch.zeros(2)
    for n, (_, student, teacher) in enumerate(history, start=1):
        momentum = min(1 - 1 / n, 0.7)
        expected = momentum * expected + (1 - momentum) * student
        torch.testing.assert_close(teacher, expected)


def test_the_weight_rises_over_the_share_of_the_run(method, batch):
    weights = [weight for weight, _, _ in run(method, batch, 4, max_epochs=2, weight=2.0, ramp=0.5)]
    expected = [2 * math.exp(-5 * (1 - min(step / 4, 1)) ** 2) for step in range(8)]
    assert weights == pytest.approx(expected)
    assert sigmoid_ramp(0.0) == pytest.approx(math.exp(-5))


def test_the_teacher_starts_as_the_student_that_was_loaded(method, batch):
    torch.nn.init.constant_(method.student.head.convs[-1].bias, 3.0)
    engine = Engine(lambda engine, _: engine.terminate())
    engine.register_events(*IterationEvents)
    GuideTeacher(method).attach(engine)
    engine.run([0])
    assert method.teacher.network.head.convs[-1].bias.tolist() == [3.0, 3.0]


def test_a_resumed_run_keeps_the_teacher_that_it_loaded(method):
    torch.nn.init.constant_(method.teacher.network.head.convs[-1].bias, 3.0)
    engine = Engine(lambda engine, _: engine.terminate())
    engine.register_events(*IterationEvents)
    engine.add_event_handler(Events.STARTED, lambda engine: setattr(engine.state, "iteration", 5))
    GuideTeacher(method).attach(engine)
    engine.run([0], max_epochs=10, epoch_length=1)
    assert method.teacher.network.head.convs[-1].bias.tolist() == [3.0, 3.0]


def test_a_ramp_of_no_length_is_refused(method):
    with pytest.raises(ValueError, match="consistency_ramp"):
        GuideTeacher(method, ramp=0.0)


def test_the_consistency_is_computed_in_float32_under_autocast():
    student, teacher = (torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(n)) for n in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        low = consistency(student.bfloat16(), teacher.bfloat16())
    assert low.dtype == torch.float32
    assert torch.equal(low, consistency(student.bfloat16(), teacher.bfloat16()))
