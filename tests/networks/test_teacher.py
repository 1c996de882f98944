import torch
from torch import nn

from medssl.networks.teacher import Teacher


def test_starts_as_the_student_and_follows_it_by_the_momentum():
    student = nn.Linear(3, 2)
    teacher, start = Teacher(student), student.weight.detach().clone()
    with torch.no_grad():
        student.weight.add_(1.0)
    teacher.update(student, momentum=0.9)
    torch.testing.assert_close(teacher.network.weight, start + 0.1)


def test_statistics_of_batch_norm_are_copied():
    student = nn.BatchNorm1d(3)
    teacher = Teacher(student)
    student(torch.rand(8, 3))
    teacher.update(student, momentum=0.9)
    torch.testing.assert_close(teacher.network.running_mean, student.running_mean)
    assert teacher.network.num_batches_tracked == 1


def test_gives_no_gradients_and_trains_no_parameter():
    teacher = Teacher(nn.Linear(3, 2))
    assert not teacher(torch.rand(4, 3, requires_grad=True)).requires_grad
    assert not any(p.requires_grad for p in teacher.parameters())


def test_follows_several_modules_one_after_another():
    parts = nn.Linear(3, 2), nn.ReLU(), nn.Linear(2, 1)
    teacher = Teacher(*parts)
    with torch.no_grad():
        parts[2].bias.add_(1.0)
    x = torch.rand(4, 3)
    assert not torch.allclose(teacher(x), nn.Sequential(*parts)(x))
    teacher.update(*parts, momentum=0.0)
    assert torch.equal(teacher(x), nn.Sequential(*parts)(x))
    assert list(teacher.state_dict()) == [f"network.{i}.{name}" for i in (0, 2) for name in ("weight", "bias")]
