"""Feature maps over regions, such as superpixels."""

from typing import Literal

import torch
from einops import rearrange, repeat
from torch import Tensor


def regions_of_cells(regions: Tensor, stride: int) -> Tensor:
    """The region of every cell of a feature map: that of the voxel in the middle of the cell.

    Args:
        regions: id of every voxel, shape ``(B, *spatial)``.
        stride: voxels per cell along each axis; the last cell of an axis may be cut off.

    Returns:
        Tensor of shape ``(B, *ceil(spatial / stride))``.

    Example:
        >>> regions_of_cells(torch.tensor([[0, 0, 0, 1, 1]]), stride=2)
        tensor([[0, 1, 1]])
    """
    for dim in range(1, regions.dim()):
        size = regions.shape[dim]
        middle = torch.arange(0, size, stride, device=regions.device) + stride // 2
        regions = regions.index_select(dim, middle.clamp(max=size - 1))
    return regions


def pool_regions(features: Tensor, regions: Tensor, divisor: Literal["region", "image"] = "region") -> Tensor:
    """A map in which every cell holds the mean of its region's features.

    The average superpixel feature map of SuperCL (Zeng et al., figure 4a).

    Args:
        features: shape ``(B, C, *spatial)``.
        regions: id of every cell, shape ``(B, *spatial)``; an id in one image is unrelated to the same id in another.
        divisor: ``"region"`` divides the sum over a region by its cells, ``"image"`` by all cells of the image, as the
            public code of SuperCL does.

    Returns:
        Tensor of the shape of `features`, in float32.

    Raises:
        ValueError: if the shapes do not match, or the divisor is unknown.

    Example:
        >>> pool_regions(torch.tensor([[[1.0, 3.0, 5.0]]]), torch.tensor([[7, 7, 9]]))
        tensor([[[2., 2., 5.]]])
    """
    if features.shape[:1] + features.shape[2:] != regions.shape:
        raise ValueError(
            f"features {tuple(features.shape)} need regions of shape (B, *spatial), got {tuple(regions.shape)}."
        )
    if divisor not in ("region", "image"):
        raise ValueError(f"divisor must be 'region' or 'image', got {divisor!r}.")
    cells = rearrange(features.float(), "b c ... -> (b ...) c")
    cells_per_image = regions[0].numel()
    # Ids become consecutive over the batch, so that there are no more sums than regions.
    image = repeat(torch.arange(len(regions), device=regions.device), "b -> (b n)", n=cells_per_image)
    ids, index = torch.unique(torch.stack([image, regions.flatten()]), dim=1, return_inverse=True)
    sums = cells.new_zeros(ids.shape[1], cells.shape[1]).index_add(0, index, cells)
    counts = torch.bincount(index)[:, None] if divisor == "region" else cells_per_image
    pooled = rearrange((sums / counts)[index], "(b n) c -> b c n", n=cells_per_image)
    return pooled.reshape(features.shape)
