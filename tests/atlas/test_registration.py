import pytest
import torch

from medssl.atlas.affine import box_affine, moved_by
from medssl.atlas.descriptor import self_similarity
from medssl.atlas.fields import displaced, read_at, smoothed
from medssl.atlas.refine import refine_displacements
from medssl.atlas.registration import register
from medssl.ops.warping import voxel_grid
from tests.atlas.bodies import body, dice


def features(image):
    return torch.cat([image, self_similarity(image)])


def carried(label, positions):
    return read_at(label.float(), positions).round().long()


@pytest.mark.parametrize(
    ("shift", "scale", "size"),
    [
        ((3.0, -2.0, 2.0), 1.0, (32, 28, 24)),
        ((0.0, 0.0, 0.0), 1.25, (36, 32, 28)),
        ((4.0, 0.0, 3.0), 0.9, (40, 28, 24)),
    ],
)
def test_organs_that_lie_elsewhere_or_are_of_another_size_are_found(shift, scale, size):
    image, label = body()
    other, wanted = body(shift, scale, size)
    positions = register(features(other), features(image))
    assert positions.shape == (*size, 3)
    before = carried(label, moved_by(box_affine(size, label.shape[1:]), voxel_grid(size)))
    after = carried(label, positions)
    for value in (1, 2):
        assert dice(after, wanted, value) > max(0.7, dice(before, wanted, value))


def test_descent_brings_features_closer():
    fixed = smoothed(torch.randn(4, 16, 16, 16)) * 3
    field = smoothed(torch.randn(3, 16, 16, 16), times=4) * 4
    moving = read_at(fixed, displaced(field))
    found = refine_displacements(fixed, moving, torch.zeros(3, 16, 16, 16))

    def difference(displacements):
        return (read_at(moving, displaced(displacements)) - fixed).square().mean()

    assert difference(found) < 0.5 * difference(torch.zeros(3, 16, 16, 16))


def test_thin_scans_can_be_registered():
    positions = register(torch.rand(3, 12, 12, 2), torch.rand(3, 10, 14, 1))
    assert torch.isfinite(positions).all()
