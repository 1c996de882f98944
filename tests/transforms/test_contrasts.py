import pytest
import torch

from medssl.transforms.contrasts import OneContrastPerViewd


def test_each_view_keeps_the_contrast_of_its_number():
    pair = torch.rand(2, 4, 4)
    sample = OneContrastPerViewd()({"view_1": pair, "view_2": pair, "clean_2": pair, "view_3": pair, "voxels_1": 7})
    assert torch.equal(sample["view_1"], pair[:1])
    assert torch.equal(sample["view_2"], pair[1:])
    assert torch.equal(sample["clean_2"], pair[1:])
    assert torch.equal(sample["view_3"], pair[:1])
    assert sample["voxels_1"] == 7


def test_views_do_not_share_memory_with_what_went_in():
    pair = torch.zeros(2, 4, 4)
    OneContrastPerViewd()({"view_1": pair})["view_1"].fill_(1)
    assert not pair.any()


def test_a_view_with_another_number_of_channels_is_an_error():
    with pytest.raises(ValueError, match="view_1 needs 2 channels, one a contrast, but has 3"):
        OneContrastPerViewd()({"view_1": torch.zeros(3, 4, 4)})
