"""Positions of the cells of a feature map in the image from which its view was cut."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor


def cell_positions(affine: Tensor, grid: Sequence[int], stride: int, first: float) -> Tensor:
    """Centres of the cells of a feature map, in voxels of the image.

    In voxels of the view, the centre of cell ``i`` along an axis is ``first + stride * i``.

    Args:
        affine: affines of the views, shape ``(B, d, d + 1)``: voxel index of the view to voxel index of the image.
        grid: spatial shape of the feature map.
        stride: voxels of the view per cell along each axis.
        first: voxel of the view at the centre of the first cell along each axis, which depends on the layers of the
            backbone (its ``first_centres``): ``(stride - 1) / 2`` where cells are boxes of voxels.

    Returns:
        float32 tensor of shape ``(B, *grid, d)``.

    Raises:
        ValueError: if affine and grid differ in their number of axes.

    Example:
        >>> mirrored = torch.tensor([[[-1.0, 0.0, 31.0], [0.0, 0.5, 10.0]]])
        >>> cell_positions(mirrored, grid=(2, 1), stride=4, first=1.5).tolist()
        [[[[29.5, 10.75]], [[25.5, 10.75]]]]
    """
    axes = len(grid)
    if affine.shape[1:] != (axes, axes + 1):
        raise ValueError(f"A map with {axes} axes needs affines of {axes} x {axes + 1}, got {tuple(affine.shape[1:])}.")
    centres = [torch.arange(n, device=affine.device, dtype=torch.float32) * stride + first for n in grid]
    places = torch.stack(torch.meshgrid(*centres, indexing="ij"), dim=-1)
    # Sums of products, since autocast and tensor cores would round a matrix product.
    linear, offset = affine[..., :axes].float(), affine[..., axes].float()
    shape = (-1, *[1] * axes, axes)
    return sum(places[..., i, None] * linear[..., i].reshape(shape) for i in range(axes)) + offset.reshape(shape)


def affine_of(batch: Mapping[str, Tensor], number: int) -> Tensor:
    """Return the affine of a view of a batch, shape ``(B, d, d + 1)``.

    Args:
        batch: holds ``affine_1`` for view 1, and so on.
        number: number of the view.

    Raises:
        ValueError: if the batch has no affine for the view.

    Example:
        >>> affine_of({"view_1": torch.zeros(1, 1, 4)}, 1)
        Traceback (most recent call last):
        ValueError: Cells cannot be matched by location: the batch has no 'affine_1'. ...
    """
    if f"affine_{number}" not in batch:
        raise ValueError(
            f"Cells cannot be matched by location: the batch has no 'affine_{number}'. Cut the views with "
            "medssl.transforms.crops, and omit anything that moves their content afterwards, such as --with affine."
        )
    return batch[f"affine_{number}"]


def require_whole_cell(spatial: Sequence[int], stride: int) -> None:
    """Require that a view is at least as large as one cell of the feature map along some axis.

    Smaller views give maps of a single cell, mostly padding: nothing to match, and hardly any variance for batch norm.

    Args:
        spatial: voxels of the view along each axis.
        stride: voxels of the view per cell along each axis.

    Raises:
        ValueError: if it is smaller; the message names both sizes.

    Example:
        >>> require_whole_cell((8, 7), stride=32)
        Traceback (most recent call last):
        ValueError: A view of 8 x 7 voxels is smaller than a cell of the coarsest level, of 32 voxels; ...
    """
    if max(spatial) < stride:
        raise ValueError(
            f"A view of {' x '.join(map(str, spatial))} voxels is smaller than a cell of the coarsest level, of "
            f"{stride} voxels; raise patch_size, or choose a backbone with fewer levels."
        )


def cell_diagonal(affine: Tensor, stride: int) -> Tensor:
    """Length of the diagonal of a cell in voxels of the image, for each view.

    No point of a view is further than half of it from the nearest centre of a cell.

    Args:
        affine: affines of the views, without shear, shape ``(B, d, d + 1)``.
        stride: voxels of the view per cell along each axis.

    Returns:
        Tensor of shape ``(B,)``.

    Example:
        >>> cell_diagonal(torch.tensor([[[3.0, 0.0, 7.0], [0.0, -4.0, 0.0]]]), stride=2)
        tensor([10.])
    """
    return stride * affine[..., :-1].float().flatten(1).norm(dim=1)
