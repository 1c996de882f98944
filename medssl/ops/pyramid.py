"""Read feature pyramids: lists of feature maps, finest first."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from einops import rearrange
from torch import Tensor


def crop_like(x: Tensor, reference: Tensor) -> Tensor:
    """The leading corner of ``x`` that has the spatial size of ``reference``.

    Example:
        >>> crop_like(torch.zeros(1, 2, 6, 6), torch.zeros(1, 9, 5, 6)).shape
        torch.Size([1, 2, 5, 6])
    """
    for dim in range(2, x.dim()):
        x = x.narrow(dim, 0, reference.size(dim))
    return x


def gather_levels(pyramid: Sequence[Tensor], voxels: Tensor, strides: Sequence[int] | None = None) -> list[Tensor]:
    """Gather the features of every pyramid level at the given voxels, one tensor per level.

    Level ``i`` is read at ``voxels // strides[i]`` (nearest cell, no interpolation) in one indexing operation for the
    whole batch, so that the backward pass fills one gradient map per level, in the memory format of the level. Second
    derivatives are not supported.

    Args:
        pyramid: feature maps of a batch, finest first; level ``i`` has shape ``(B, C_i, *ceil(spatial / strides[i]))``.
        voxels: integer indices of shape ``(N, 1 + spatial_dims)``: position in the batch, then the voxel of the image.
        strides: voxels of the image per cell of each level; ``None``: ``2**i``.

    Returns:
        One tensor of shape ``(N, C_i)`` per level, rows in the order of ``voxels``.

    Raises:
        ValueError: if ``voxels`` has the wrong number of columns.

    Example:
        >>> fine = torch.arange(16.0).reshape(1, 1, 4, 4)
        >>> [row.tolist() for row in gather_levels([fine, fine[..., ::2, ::2]], torch.tensor([[0, 3, 2]]))]
        [[[14.0]], [[10.0]]]
    """
    spatial_dims = pyramid[0].dim() - 2
    if voxels.dim() != 2 or voxels.shape[1] != 1 + spatial_dims:
        raise ValueError(
            f"voxels must have shape (N, {1 + spatial_dims}): position in the batch, then {spatial_dims} indices; "
            f"got {tuple(voxels.shape)}."
        )
    sample, position = voxels[:, 0], voxels[:, 1:]
    strides = strides or [2**i for i in range(len(pyramid))]
    return [
        _Gather.apply(level, sample, *torch.div(position, stride, rounding_mode="floor").unbind(1))
        for level, stride in zip(pyramid, strides, strict=True)
    ]


def gather_voxels(pyramid: Sequence[Tensor], voxels: Tensor, strides: Sequence[int] | None = None) -> Tensor:
    """The features of every pyramid level at the given voxels, concatenated.

    The voxel embedding of vox2vec (Goncharov et al., 2023, https://arxiv.org/abs/2307.14725).

    Args:
        pyramid: feature maps of a batch, finest first; level ``i`` has shape ``(B, C_i, *ceil(spatial / strides[i]))``.
        voxels: integer indices of shape ``(N, 1 + spatial_dims)``: position in the batch, then the voxel of the image.
        strides: voxels of the image per cell of each level; ``None``: ``2**i``.

    Returns:
        Tensor of shape ``(N, C_0 + C_1 + ...)``, rows in the order of ``voxels``.

    Raises:
        ValueError: if ``voxels`` has the wrong number of columns.

    Example:
        >>> pyramid = [torch.zeros(2, 4, 8, 8), torch.ones(2, 6, 4, 4)]
        >>> gather_voxels(pyramid, torch.tensor([[0, 7, 7], [1, 0, 0]])).shape
        torch.Size([2, 10])
    """
    return torch.cat(gather_levels(pyramid, voxels, strides), dim=1)


def interpolate_voxels(
    pyramid: Sequence[Tensor], voxels: Tensor, size: Sequence[int], upsampling: str = "nearest"
) -> Tensor:
    """Concatenate the features of every pyramid level at voxels of an image that may be finer than the pyramid.

    Coarser levels are read at the cells of the finest level, and the result is interpolated to the image as by
    ``interpolate(align_corners=False)``: what `medssl.networks.segmentation.SegmentationNetwork` does with the logits
    of a linear head. If the finest level is as large as the image, its cells are the voxels.

    Args:
        pyramid: feature maps of a batch, finest first, each level half as large as the one before (rounded up).
        voxels: integer indices of shape ``(N, 1 + spatial_dims)``: position in the batch, then the voxel of the image.
        size: voxels of the image along each axis.
        upsampling: how a coarser level is read: ``nearest``: as in `gather_voxels`; ``linear``: interpolated between
            the centres of its cells.

    Returns:
        Tensor of shape ``(N, C_0 + C_1 + ...)``, rows in the order of ``voxels``.

    Raises:
        ValueError: if `upsampling` is something else.

    Example:
        >>> interpolate_voxels([torch.tensor([[[0.0, 4.0]]])], torch.tensor([[0, 0], [0, 1], [0, 2], [0, 3]]), (4,)).T
        tensor([[0., 1., 3., 4.]])
    """
    if upsampling not in ("nearest", "linear"):
        raise ValueError(f"upsampling is {upsampling!r}; set it to nearest or linear.")

    def at_cells(cells: Tensor) -> Tensor:
        if upsampling == "nearest":
            return gather_voxels(pyramid, cells)
        coarser = (_between(level, cells, [0.5**i] * (level.dim() - 2)) for i, level in enumerate(pyramid[1:], start=1))
        return torch.cat([gather_voxels(pyramid[:1], cells), *coarser], dim=1)

    finest = pyramid[0].shape[2:]
    if tuple(finest) == tuple(size):
        return at_cells(voxels)
    return _interpolated(at_cells, voxels, finest, [cells / width for cells, width in zip(finest, size, strict=True)])


def _between(level: Tensor, voxels: Tensor, ratio: Sequence[float]) -> Tensor:
    return _interpolated(lambda cells: gather_voxels([level], cells), voxels, level.shape[2:], ratio)


def _interpolated(
    read: Callable[[Tensor], Tensor], voxels: Tensor, size: Sequence[int], ratio: Sequence[float]
) -> Tensor:
    """Interpolate between the cells of a map of some size, `ratio` cells to a voxel, whose rows `read` returns."""
    place = ((voxels[:, 1:] + 0.5) * torch.tensor(ratio, device=voxels.device) - 0.5).clamp(min=0)
    last = torch.tensor(size, device=voxels.device) - 1
    lower = torch.minimum(place.floor().long(), last)
    ends = torch.stack([lower, torch.minimum(lower + 1, last)])
    weights = torch.stack([1 - (place - lower), place - lower])
    axes = torch.arange(len(size), device=voxels.device)
    rows: Tensor | int = 0
    for corner in itertools.product((0, 1), repeat=len(size)):
        chosen = torch.tensor(corner, device=voxels.device)
        cells = torch.cat([voxels[:, :1], ends[chosen, :, axes].T], dim=1)
        rows = rows + read(cells) * weights[chosen, :, axes].prod(dim=0)[:, None]
    return rows


class _Gather(torch.autograd.Function):
    """Indexing whose gradient map has the memory format of the level.

    PyTorch's own is always channels-last, so the next operation would copy the whole map.
    """

    @staticmethod
    def forward(ctx: Any, level: Tensor, *index: Tensor) -> Tensor:
        ctx.save_for_backward(*index)
        # Shape and strides without the memory.
        ctx.level = torch.empty_like(level, device="meta")
        return rearrange(level, "b c ... -> b ... c")[index]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        index = ctx.saved_tensors
        filled = torch.zeros_like(ctx.level, device=gradient.device)
        # A reordering of axes is a view, so this fills the map itself.
        rearrange(filled, "b c ... -> b ... c").index_put_(index, gradient, accumulate=True)
        return filled, *(None for _ in index)
