import torch

from medssl.atlas.descriptor import self_similarity
from tests.atlas.bodies import body


def test_contrast_that_is_turned_round_changes_nothing():
    image, _ = body()
    torch.testing.assert_close(self_similarity(image), self_similarity(1 - image), atol=1e-4, rtol=0)


def test_the_descriptor_moves_with_the_image():
    image = torch.rand(1, 12, 12, 12)
    moved = image.roll(3, dims=1)
    torch.testing.assert_close(self_similarity(moved)[:, 6:9, 3:9, 3:9], self_similarity(image)[:, 3:6, 3:9, 3:9])


def test_values_lie_between_0_and_1_and_the_most_alike_pair_of_a_voxel_has_1():
    similarity = self_similarity(torch.rand(2, 8, 9, 10))
    assert similarity.min() >= 0
    torch.testing.assert_close(similarity.amax(dim=0), torch.ones(8, 9, 10))


def test_an_image_of_one_value_has_finite_values():
    assert torch.isfinite(self_similarity(torch.ones(1, 4, 4, 4))).all()
