import pytest
import torch

from medssl.ops.pairs import paired_rows


def test_the_second_view_of_a_row_comes_as_many_rows_later_as_there_are_images():
    z1, z2 = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(paired_rows([z1, z2]), torch.cat([z1, z2]))


def test_a_single_image_names_the_setting():
    with pytest.raises(ValueError, match="set pairs_per_batch to 2 or more"):
        paired_rows([torch.zeros(1, 4), torch.zeros(1, 4)])
