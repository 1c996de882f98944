import pytest
import torch
from torch.nn import functional as F

from medssl.networks.fpn import FPN
from medssl.networks.similarity import PointSimilarity, anchor_features


@pytest.mark.parametrize("size", [(9, 7), (8, 6, 5)])
def test_similarity_is_the_mean_over_levels_of_upsampled_cosines(size):
    torch.manual_seed(0)
    backbone = FPN(spatial_dims=len(size), base_channels=4, num_levels=3).eval()
    image, voxel = torch.rand(1, 1, *size), tuple(n // 2 for n in size)
    found = PointSimilarity(backbone, anchor_features(backbone, image, voxel))(image)
    cosines = []
    for level, features in enumerate(backbone(image)):
        full = features
        for axis in range(2, features.ndim):
            full = full.repeat_interleave(2**level, dim=axis).narrow(axis, 0, size[axis - 2])
        vector = full[(0, slice(None), *voxel)].reshape(1, -1, *[1] * len(size))
        cosines.append(F.cosine_similarity(full, vector, dim=1))
    torch.testing.assert_close(found[:, 0], torch.stack(cosines).mean(dim=0))


def test_the_voxel_itself_is_most_similar():
    torch.manual_seed(0)
    backbone, image = FPN(spatial_dims=2, base_channels=4, num_levels=2).eval(), torch.rand(1, 1, 12, 12)
    found = PointSimilarity(backbone, anchor_features(backbone, image, (4, 9)))(image)
    assert found.max().item() == pytest.approx(1.0, abs=1e-6)
    assert found[0, 0, 4, 9].item() == pytest.approx(1.0, abs=1e-6)
