"""A body with two organs, drawn anew for every patient: where each organ lies and how large it is."""

import torch
from torch import Tensor

from medssl.ops.warping import voxel_grid

SIZE = (32, 28, 24)


def ellipsoid(size, centre, radii) -> Tensor:
    """Tell which voxels lie in an ellipsoid."""
    return ((voxel_grid(size) - torch.tensor(centre)) / torch.tensor(radii)).square().sum(dim=-1) <= 1


def body(shift=(0.0, 0.0, 0.0), scale=1.0, size=SIZE) -> tuple[Tensor, Tensor]:
    """Give an image of shape (1, *size) and its label map: 1 and 2 are the organs."""
    shift = torch.tensor(shift)
    middle = (torch.tensor(size) - 1) / 2 + shift
    label = torch.zeros(1, *size, dtype=torch.long)
    label[0][ellipsoid(size, (middle + torch.tensor([-6.0, 0.0, 2.0]) * scale).tolist(), [4.5 * scale] * 3)] = 1
    label[0][ellipsoid(size, (middle + torch.tensor([6.0, 2.0, -3.0]) * scale).tolist(), [3.5 * scale] * 3)] = 2
    inside = ellipsoid(size, middle.tolist(), [13 * scale, 11 * scale, 10 * scale])
    image = 0.4 * inside[None].float() + 0.4 * (label == 1) + 0.2 * (label == 2)
    return image, label


def dice(found: Tensor, wanted: Tensor, value: int) -> float:
    """Give the overlap of a class in two label maps."""
    one, other = found == value, wanted == value
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())
