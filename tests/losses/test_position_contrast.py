import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss as Oracle

from medssl.losses.position_contrast import PositionContrastLoss


def embeddings(num_images=6):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(num_images, 4, generator=generator), torch.randn(num_images, 4, generator=generator)


def test_slices_of_one_level_are_positives_whatever_scan_they_are_of():
    z1, z2 = embeddings()
    # Two groups, further apart than the threshold and each narrower.
    positions = torch.tensor([[0.10], [0.15], [0.19], [0.60], [0.62], [0.69]])
    expected = Oracle(temperature=0.1)(torch.cat([z1, z2]), torch.tensor([0, 0, 0, 1, 1, 1]).repeat(2))
    torch.testing.assert_close(PositionContrastLoss(0.1, 0.1)(z1, z2, positions), expected)


def test_far_from_all_others_an_image_has_its_other_view_alone():
    z1, z2 = embeddings()
    positions = torch.linspace(0, 1, 6)[:, None]
    expected = Oracle(temperature=0.1)(torch.cat([z1, z2]), torch.arange(6).repeat(2))
    torch.testing.assert_close(PositionContrastLoss(0.1, 0.1)(z1, z2, positions), expected)


def test_without_positions_the_error_says_where_they_come_from():
    with pytest.raises(ValueError, match=r"no 'position'; cut the views with .*RandAlignedPatchesd"):
        PositionContrastLoss()(*embeddings(), None)


def test_many_images_of_one_place_have_no_negatives():
    with pytest.raises(ValueError, match="All 8 images come from one position, so PCL has no negatives"):
        PositionContrastLoss()(*embeddings(8), torch.full((8, 2), 0.5))
