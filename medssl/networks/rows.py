"""The linear head on rows of features instead of feature maps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.networks.heads import LinearHead


class LinearHeadOnRows(nn.Module):
    """Logits of shape ``(N, num_classes)`` for concatenated features of shape ``(N, sum(level_channels))``.

    A view of a `LinearHead`: it has the same parameters and buffers, so that training the one trains the other. On
    the features of `medssl.ops.pyramid.interpolate_voxels` it gives what the network gives at those voxels, since
    upsampling and addition commute with a map of every voxel on its own. Like the head, it standardises by the
    statistics of the batch while it trains, if it standardises at all, and by their mean over all batches after that.

    Args:
        head: whose parameters are used.

    Example:
        >>> head = LinearHead(3, level_channels=(4, 8), num_classes=2)
        >>> LinearHeadOnRows(head)(torch.zeros(5, 12)).shape
        torch.Size([5, 2])
    """

    def __init__(self, head: LinearHead) -> None:
        super().__init__()
        self.head = head

    def forward(self, rows: Tensor, weight: Tensor | None = None) -> Tensor:
        """Return the logits.

        Args:
            rows: features, those of the finest level first.
            weight: number of voxels that every row stands for, shape ``(N,)``, for the statistics of the batch;
                None: one.
        """
        kernel = torch.cat([conv.weight.flatten(1) for conv in reversed(self.head.convs)], dim=1)
        bias = self.head.convs[-1].bias
        norms = [norm for norm in reversed(self.head.norms) if not isinstance(norm, nn.Identity)]
        if norms:
            if self.head.training:
                mean, variance = _statistics(rows, torch.ones_like(rows[:, 0]) if weight is None else weight)
                cells_ratio = 2 ** (self.head.convs[0].weight.dim() - 2)
                _update(norms, mean, variance, len(rows) if weight is None else float(weight.sum()), cells_ratio)
            else:
                mean = torch.cat([norm.running_mean for norm in norms])
                variance = torch.cat([norm.running_var for norm in norms])
            # The standardisation is folded into the weights: one matrix product, and no copy of the rows.
            kernel = kernel * (variance + norms[0].eps).rsqrt()
            bias = bias - kernel @ mean
        return F.linear(rows, kernel, bias)


@torch.no_grad()
def set_map_of_rows(head: LinearHead, kernel: Tensor, bias: Tensor) -> None:
    """Set the weights of a head, in place, so that `LinearHeadOnRows` gives ``rows @ kernel.T + bias`` in evaluation.

    The statistics by which the head standardises, if it does, stay as they are.

    Args:
        head: of the levels whose features are the rows.
        kernel: shape ``(num_classes, sum(level_channels))``, finest level first.
        bias: shape ``(num_classes,)``.

    Example:
        >>> head = LinearHead(2, level_channels=(1, 1), num_classes=1)
        >>> set_map_of_rows(head, torch.tensor([[2.0, 3.0]]), torch.tensor([1.0]))
        >>> LinearHeadOnRows(head)(torch.tensor([[10.0, 100.0]])).tolist()
        [[321.0]]
    """
    norms = [norm for norm in reversed(head.norms) if not isinstance(norm, nn.Identity)]
    if norms:
        bias = bias + kernel @ torch.cat([norm.running_mean for norm in norms]).to(kernel.dtype)
        kernel = kernel * (torch.cat([norm.running_var for norm in norms]) + norms[0].eps).sqrt()
    convs = list(reversed(head.convs))
    for conv, part in zip(convs, kernel.split([conv.in_channels for conv in convs], dim=1), strict=True):
        conv.weight.copy_(part.reshape(conv.weight.shape))
    convs[0].bias.copy_(bias)


@torch.no_grad()
def _statistics(rows: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    share = weight / weight.sum()
    mean = share @ rows
    return mean, share @ (rows - mean).square_()


@torch.no_grad()
def _update(norms: list[nn.Module], mean: Tensor, variance: Tensor, num_voxels: float, cells_ratio: int) -> None:
    """Take the statistics of a batch into the mean over all batches, as batch norm without momentum does."""
    sizes = [len(norm.running_mean) for norm in norms]
    for level, (norm, part, spread) in enumerate(zip(norms, mean.split(sizes), variance.split(sizes), strict=True)):
        # Batch norm corrects the variance for the number of cells of the level.
        num_cells = max(num_voxels / cells_ratio**level, 2)
        norm.num_batches_tracked += 1
        norm.running_mean += (part - norm.running_mean) / norm.num_batches_tracked
        norm.running_var += (spread * num_cells / (num_cells - 1) - norm.running_var) / norm.num_batches_tracked
