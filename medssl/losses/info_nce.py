"""InfoNCE over voxel embeddings, exact, in tiles of the similarity matrix."""

import itertools
import math
from typing import Any

import torch
from einops import einsum, rearrange
from torch import Tensor, nn
from torch.nn import functional as F

from medssl.ops.distributed import gather_rows, logsumexp_over_ranks, rank_and_size, sum_over_ranks

# Largest exponent that float32 holds with room to spare.
_MAX_EXPONENT = 80.0


def plain_info_nce(z1: Tensor, z2: Tensor, temperature: float = 0.1) -> Tensor:
    """The mean InfoNCE loss of paired embeddings, written as in the paper: what `InfoNCELoss` computes in tiles.

    Read it first. It holds the whole similarity matrix, works in the precision of its input and in one process, and is
    the reference that the tests compare `InfoNCELoss` with (Kats et al., 2024, equation 1; Chen et al., 2020).

    Args:
        z1: embeddings of view 1, shape ``(N, C)``.
        z2: embeddings of view 2, shape ``(N, C)``; row ``i`` of both is a positive pair.
        temperature: above 0.

    Example:
        >>> z = torch.eye(4)
        >>> torch.allclose(plain_info_nce(z, z, 0.5), InfoNCELoss(temperature=0.5)(z, z))
        True
    """
    z = F.normalize(torch.cat([z1, z2]), dim=1)
    similarity = einsum(z, z, "anchor c, other c -> anchor other") / temperature
    similarity.fill_diagonal_(-torch.inf)
    partner = torch.arange(len(z), device=z.device).roll(len(z1))
    positive = similarity.take_along_dim(partner[:, None], dim=1).squeeze(1)
    return (similarity.logsumexp(dim=1) - positive).mean()


class InfoNCELoss(nn.Module):
    r"""The mean InfoNCE loss of paired embeddings, a scalar: `plain_info_nce` for many rows, ranks and low precision.

    Row ``i`` of both inputs is a positive pair; all other rows of both are its negatives. With
    :math:`s(a, b) = \langle a, b\rangle / \tau` of the normalised embeddings, an anchor :math:`z` with partner
    :math:`z^+` costs

    .. math:: -s(z, z^+) + \log\Big(\exp s(z, z^+) + \sum_{z^-} \exp s(z, z^-)\Big),

    averaged over the 2N anchors of both views (Kats et al., 2024, equation 1; Chen et al., 2020).

    The ``(2N, 2N)`` similarity matrix is never held: its tiles are computed once for the loss and once more for the
    gradient, in memory ``O(N C + block_size**2)``. Sums are in float32. Under bfloat16 autocast the tiles are
    multiplied in bfloat16, unless there is only one or `temperature` is so small that float32 is needed (see
    `log_sum_of_negatives`). The loss can be differentiated once.

    In a process group of several ranks the loss is that of the pairs of all ranks; ranks may hold different numbers of
    pairs. Every rank returns the same value, computes its share of the tiles, and gets gradients for
    `DistributedDataParallel` to average (`medssl.ops.distributed.gather_rows`). All ranks must call it.

    Args:
        temperature: :math:`\tau`, above 0.
        block_size: rows of a tile; None is 512 on a CPU, which measured fastest, and 4,096 elsewhere, where launching
            many small tiles would take too long.

    Raises:
        ValueError: if the temperature or the block size is not above 0, the inputs differ in shape, or there are fewer
            than two pairs.

    Example:
        >>> z = torch.eye(4)
        >>> InfoNCELoss(temperature=0.1)(z, z) < InfoNCELoss(temperature=0.1)(z, z.roll(1, 0))
        tensor(True)
    """

    def __init__(self, temperature: float = 0.1, block_size: int | None = None) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}.")
        if block_size is not None and block_size < 1:
            raise ValueError(f"block_size must be above 0, got {block_size}.")
        self.temperature = temperature
        self.block_size = block_size

    def forward(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the loss of embeddings of shape ``(N, C)`` each."""
        _require_pairs(z1, z2, z1.shape == z2.shape and z1.dim() == 2)
        device = z1.device.type
        block_size = self.block_size or (512 if device == "cpu" else 4096)
        low_precision = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.bfloat16
        with torch.autocast(device, enabled=False):
            pairs = gather_rows(torch.cat([z1, z2], dim=1).float())
            _require_pairs(z1, z2, len(pairs) > 1)
            # The root of the temperature in every embedding makes their products the similarities.
            z = F.normalize(rearrange(pairs, "n (view c) -> (view n) c", view=2), dim=1) * self.temperature**-0.5
            if len(z) <= block_size:
                partner = torch.arange(len(z), device=z.device).roll(len(pairs))
                return F.cross_entropy((z @ z.T).fill_diagonal_(-torch.inf), partner)
            positive = torch.linalg.vecdot(*z.chunk(2)).repeat(2)
            negatives = log_sum_of_negatives(z, 1 / self.temperature, block_size, low_precision)
            return F.softplus(negatives - positive).mean()


def _require_pairs(z1: Tensor, z2: Tensor, good: bool) -> None:
    if not good:
        raise ValueError(
            f"InfoNCE needs two embeddings of one shape (N, C) with N > 1, got {tuple(z1.shape)} and {tuple(z2.shape)}."
        )


def collapse_value(num_pairs: int) -> float:
    """The InfoNCE loss of embeddings that are all equal: ``ln(2 N - 1)``.

    A loss that stays here has collapsed, whatever the temperature.

    Args:
        num_pairs: number of positive pairs, N, of all ranks together.

    Example:
        >>> round(collapse_value(10240), 2)
        9.93
    """
    return math.log(2 * num_pairs - 1)


# torch.compile would unroll the loop over the tiles, of which there are hundreds.
@torch.compiler.disable
def log_sum_of_negatives(z: Tensor, bound: float, block_size: int, low_precision: bool = False) -> Tensor:
    """``log(sum_b(exp(<z_a, z_b>)))`` of every row ``a`` over all rows ``b`` except itself and its partner.

    The matrix is symmetric, so a tile of the upper triangle serves both its rows and its columns. While ``exp(bound)``
    fits float32, exponentials are summed as they are; beyond that, as for a temperature below about 0.014, each tile
    goes through log-sum-exp in float32.

    Args:
        z: float32, shape ``(2 N, C)``; row ``i + N`` is the partner of row ``i``. The same on all ranks.
        bound: no two rows have a larger product.
        block_size: rows of a tile.
        low_precision: multiply tiles in bfloat16 while ``exp(bound)`` fits float32.

    Returns:
        float32 tensor of shape ``(2 N,)``, differentiable once; the same on all ranks.

    Example:
        >>> log_sum_of_negatives(torch.zeros(8, 2), 0.0, 4).exp().round()
        tensor([6., 6., 6., 6., 6., 6., 6., 6.])
    """
    bounded = bound + math.log(len(z)) < _MAX_EXPONENT
    dtype = torch.bfloat16 if low_precision and bounded else torch.float32
    return _LogSumOfNegatives.apply(z, block_size, bounded, dtype)


class _LogSumOfNegatives(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, block_size: int, bounded: bool, dtype: torch.dtype) -> Tensor:
        ctx.options = block_size, bounded, dtype
        tiles = _Tiles(z, block_size, dtype)
        log_sums = _log_sums(tiles) if bounded else _stable_log_sums(tiles)
        ctx.save_for_backward(z, log_sums)
        return log_sums

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        z, log_sums = ctx.saved_tensors
        block_size, bounded, dtype = ctx.options
        with torch.autocast(z.device.type, enabled=False):
            tiles = _Tiles(z, block_size, dtype)
            weights = _weights(tiles, log_sums, gradient) if bounded else _stable_weights(tiles, log_sums, gradient)
            result = torch.zeros_like(z)
            for rows, columns, weight in weights:
                result[rows] += weight @ tiles.z[columns]
                if rows != columns:
                    result[columns] += weight.T @ tiles.z[rows]
        return sum_over_ranks(result), None, None, None


class _Tiles:
    """The rank's share of the upper triangle of ``z z^T``, one tile at a time in the same memory.

    A tile comes as its rows, its columns and its values, with ``-inf`` where a row meets itself or its partner.
    """

    def __init__(self, z: Tensor, block_size: int, dtype: torch.dtype) -> None:
        self.z = z.to(dtype)
        blocks = [slice(start, min(start + block_size, len(z))) for start in range(0, len(z), block_size)]
        rank, num_ranks = rank_and_size()
        self.places = list(itertools.combinations_with_replacement(blocks, 2))[rank::num_ranks]
        self.memory = self.buffer()

    def buffer(self) -> Tensor:
        """Memory for the largest tile."""
        return self.z.new_empty(max((_size(*place) for place in self.places), default=0))

    def __iter__(self):
        num_pairs = len(self.z) // 2
        for rows, columns in self.places:
            tile = _view(self.memory, rows, columns)
            torch.mm(self.z[rows], self.z[columns].T, out=tile)
            for offset in (-num_pairs, 0, num_pairs):
                diagonal = rows.start - columns.start + offset
                if -tile.shape[0] < diagonal < tile.shape[1]:
                    tile.diagonal(diagonal).fill_(-torch.inf)
            yield rows, columns, tile


def _size(rows: slice, columns: slice) -> int:
    return (rows.stop - rows.start) * (columns.stop - columns.start)


def _view(memory: Tensor, rows: slice, columns: slice) -> Tensor:
    return memory[: _size(rows, columns)].view(rows.stop - rows.start, columns.stop - columns.start)


def _log_sums(tiles: _Tiles) -> Tensor:
    sums = torch.zeros(len(tiles.z), device=tiles.z.device)
    for rows, columns, tile in tiles:
        tile.exp_()
        sums[rows] += tile.sum(1, dtype=torch.float32)
        if rows != columns:
            sums[columns] += tile.sum(0, dtype=torch.float32)
    return sum_over_ranks(sums).log_()


def _stable_log_sums(tiles: _Tiles) -> Tensor:
    log_sums = torch.full((len(tiles.z),), -torch.inf, device=tiles.z.device)
    for rows, columns, tile in tiles:
        log_sums[rows] = torch.logaddexp(log_sums[rows], tile.logsumexp(1))
        if rows != columns:
            log_sums[columns] = torch.logaddexp(log_sums[columns], tile.logsumexp(0))
    return logsumexp_over_ranks(log_sums)


def _weights(tiles: _Tiles, log_sums: Tensor, gradient: Tensor):
    """Yield the tiles of P + P^T, where row a of P is the gradient of ``log_sums[a]`` times ``gradient[a]``."""
    share = (gradient * torch.exp(-log_sums)).to(tiles.z.dtype)
    memory = tiles.buffer()
    for rows, columns, tile in tiles:
        both = torch.add(share[rows, None], share[columns], out=_view(memory, rows, columns))
        yield rows, columns, tile.exp_().mul_(both)


def _stable_weights(tiles: _Tiles, log_sums: Tensor, gradient: Tensor):
    for rows, columns, tile in tiles:
        of_rows = torch.exp(tile - log_sums[rows, None]).mul_(gradient[rows, None])
        yield rows, columns, tile.sub_(log_sums[columns]).exp_().mul_(gradient[columns]).add_(of_rows)
