"""The linear head on frozen features, solved: softmax regression on chosen voxels, by L-BFGS."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import OptimizeResult, minimize
from torch import Tensor
from torch.nn import functional as F

from medssl.probe.rows import VoxelRows

# Keeps the soft Dice of a class of few voxels from dividing by zero; the weights of all voxels sum up to one.
_SMOOTHING = 1e-6
# Without limits of the solver's own, the gradient of the weights alone says when it is solved.
_OPTIONS = {"maxcor": 20, "ftol": 0, "gtol": 0}
# A typical p (1 - p) of a probe, and how many penalties keep directions without features in bounds. In trials on
# abdominal CT a tenth of the second one, or other shares of the voxels, changed the number of steps by two thirds
# at most.
_CERTAINTY, _PENALTIES = 0.1, 10
# Features of which weighted copies are held at a time.
_ROWS_AT_A_TIME = 64


class Voxels(NamedTuple):
    """Standardised features of labelled cases.

    Attributes:
        features: float32, shape ``(C, N)``: one row a feature, as a matrix product reads it fastest.
        labels: class of every voxel, 0 is background, shape ``(N,)``.
        weights: float64, share of all voxels that each stands for, shape ``(N,)``; every case has the same share.
        cases: number of the case of every voxel, shape ``(N,)``.
    """

    features: Tensor
    labels: Tensor
    weights: Tensor
    cases: Tensor

    def of(self, which: Tensor) -> "Voxels":
        """Return the voxels where a boolean tensor of shape ``(N,)`` is true; their shares sum up to one again."""
        weights = self.weights[which]
        return Voxels(
            self.features[:, which].contiguous(), self.labels[which], weights / weights.sum(), self.cases[which]
        )


class Standardisation(NamedTuple):
    """Mean and deviation of every feature over the voxels of the labelled cases, each of shape ``(C,)``."""

    mean: Tensor
    deviation: Tensor


def standardised(cases: Sequence[VoxelRows], device: torch.device | str = "cpu") -> tuple[Voxels, Standardisation]:
    """Join the rows of cases, with features of mean 0 and deviation 1 over the voxels that the rows stand for.

    A feature that is constant stays 0.

    Args:
        cases: their features are copied, once.
        device: of the result.

    Example:
        >>> rows = VoxelRows(np.array([[1.0], [4.0]]), np.array([0, 1]), np.array([3.0, 1.0]), np.array([2]))
        >>> voxels, standardisation = standardised([rows])
        >>> voxels.weights.tolist(), standardisation.mean.tolist()
        ([0.75, 0.25], [1.75])
    """
    sizes = [len(rows.labels) for rows in cases]
    features = torch.empty(cases[0].features.shape[1], sum(sizes), device=device)
    for rows, part in zip(cases, features.split(sizes, dim=1), strict=True):
        part.copy_(torch.from_numpy(np.asarray(rows.features)).T)
    labels = torch.from_numpy(np.concatenate([rows.labels for rows in cases])).to(device)
    shares = [rows.weights.astype(np.float64) / rows.weights.sum(dtype=np.float64) / len(cases) for rows in cases]
    weights = torch.from_numpy(np.concatenate(shares)).to(device)
    numbers = torch.repeat_interleave(torch.arange(len(cases)), torch.tensor(sizes)).to(device)
    mean = features @ weights.float()
    features -= mean[:, None]
    deviation = torch.stack([row.square() @ weights.float() for row in features]).sqrt()
    deviation[deviation <= 1e-6 * (mean.abs() + 1e-6)] = 1
    features /= deviation[:, None]
    return Voxels(features, labels, weights, numbers), Standardisation(mean, deviation)


class Solution(NamedTuple):
    """A linear map of standardised features to the logits of a softmax, and how well it is solved.

    Attributes:
        weights: float64, shape ``(1 + num_classes, C + 1)``: background first, the bias in the last column.
        loss: that was reached.
        gradient_norm: largest component of the gradient of the loss there.
        num_evaluations: of the loss and its gradient.
        converged: whether the gradient is within the tolerance.
    """

    weights: Tensor
    loss: float
    gradient_norm: float
    num_evaluations: int
    converged: bool

    def predict(self, features: Tensor) -> Tensor:
        """Return the class of every voxel for standardised features of shape ``(C, N)``."""
        return _logits(self.weights, features).argmax(dim=0)


def solve(
    voxels: Voxels,
    num_classes: int,
    l2: float,
    start: Tensor | None = None,
    max_evaluations: int = 1000,
    tolerance: float = 3e-4,
    watch: Callable[[float, float], None] = lambda loss, gradient_norm: None,
    unknown: Tensor | None = None,
) -> Solution:
    """Solve softmax regression with background: weighted cross-entropy, soft Dice and an L2 penalty.

    The cross-entropy is convex; the soft Dice of the foreground classes, with squared denominators as in vox2vec
    (Goncharov et al., 2023) and over all cases at once, is not, so the result depends on the start, which is zero and
    no random number. SciPy's L-BFGS-B (Byrd et al., 1995; Morales and Nocedal, 2011) does the steps. Sums are taken in
    float64.

    Args:
        voxels: see `standardised`.
        num_classes: number of foreground classes. One that no voxel has is left out of the Dice.
        l2: weight of half the sum of the squared weights; the bias is free.
        start: weights of a similar problem, to need fewer steps.
        max_evaluations: of the loss, at most.
        tolerance: the gradient of the solution has no component larger than this.
        watch: called with loss and largest component of the gradient after every evaluation.
        unknown: where a label lacks classes that may be there: True for a case (row) and a class (column, background
            first), shape ``(cases, 1 + num_classes)``. A background voxel of that case may then be of the class (the
            marginal loss of Shi et al., 2021, https://doi.org/10.1016/j.media.2021.101979), and the case is left out of
            the class's Dice.

    Example:
        >>> rows = VoxelRows(np.array([[-1.0], [1.0]]), np.array([0, 1]), np.ones(2), np.array([2]))
        >>> voxels, _ = standardised([rows])
        >>> solution = solve(voxels, num_classes=1, l2=1e-3)
        >>> solution.predict(voxels.features).tolist(), solution.converged
        ([0, 1], True)
    """
    shape = (1 + num_classes, len(voxels.features) + 1)
    targets = F.one_hot(voxels.labels, 1 + num_classes).T.to(voxels.weights.dtype)
    present = targets[1:].any(dim=1)
    allowed, shares = _with_unknown(voxels, targets, unknown)

    scale, unscale = _whitening(voxels, l2)
    norm = np.inf

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal norm
        weights = _scaled(torch.from_numpy(flat).reshape(shape).to(scale.device), scale).requires_grad_()
        loss = _loss(weights, voxels, targets, present, allowed, shares) + l2 / 2 * weights[:, :-1].square().sum()
        loss.backward()
        norm = weights.grad.abs().max().item()
        watch(loss.item(), norm)
        return loss.item(), _scaled(weights.grad, scale).flatten().cpu().numpy()

    def stop_when_solved(intermediate_result: OptimizeResult) -> None:
        if norm <= tolerance:
            raise StopIteration

    first = np.zeros(shape) if start is None else _scaled(start, unscale).cpu().numpy()
    options = {**_OPTIONS, "maxfun": max_evaluations, "maxiter": max_evaluations}
    found = minimize(
        loss_and_gradient, first.ravel(), jac=True, method="L-BFGS-B", callback=stop_when_solved, options=options
    )
    weights = _scaled(torch.from_numpy(found.x.reshape(shape)).to(scale.device), scale)
    reached = _scaled(torch.from_numpy(found.jac.reshape(shape)).to(scale.device), unscale).abs().max().item()
    return Solution(weights, float(found.fun), reached, int(found.nfev), reached <= tolerance)


def _whitening(voxels: Voxels, l2: float) -> tuple[Tensor, Tensor]:
    """Return the matrix that maps the unknowns of the search to weights of features, and its inverse.

    Features of neighbouring levels are nearly alike, which makes L-BFGS take many steps. In these unknowns the second
    derivative of the loss is roughly the same in all directions: it is the covariance of the features times the mean
    of p (1 - p), plus the penalty. The minimum is that of the weights.
    """
    shares = voxels.weights.float()
    blocks = [(rows * shares) @ voxels.features.T for rows in voxels.features.split(_ROWS_AT_A_TIME)]
    covariance = torch.cat(blocks).double()
    values, vectors = torch.linalg.eigh(covariance)
    sizes = (_CERTAINTY * values.clamp(min=0) + _PENALTIES * l2 + 1e-12).sqrt()
    return (vectors / sizes) @ vectors.T, (vectors * sizes) @ vectors.T


def _scaled(weights: Tensor, matrix: Tensor) -> Tensor:
    return torch.cat([weights[:, :-1] @ matrix, weights[:, -1:]], dim=1).detach()


def _with_unknown(voxels: Voxels, targets: Tensor, unknown: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Return the classes that each voxel may be of, and its share in the Dice of each class; None if all are known."""
    if unknown is None or not unknown.any():
        return None, None
    hidden = unknown.to(voxels.cases.device)[voxels.cases].T
    allowed = targets.bool() | (hidden & (voxels.labels == 0))
    return allowed, torch.where(hidden, 0.0, voxels.weights)


def _loss(
    weights: Tensor, voxels: Voxels, targets: Tensor, present: Tensor, allowed: Tensor | None, shares: Tensor | None
) -> Tensor:
    log_probability = _logits(weights, voxels.features).log_softmax(dim=0)
    probability = log_probability.exp()
    if allowed is None or shares is None:
        entropy = -(voxels.weights * (log_probability * targets).sum(dim=0)).sum()
        sums = [values @ voxels.weights for values in (probability * targets, probability.square(), targets)]
    else:
        entropy = -(voxels.weights * log_probability.masked_fill(~allowed, -torch.inf).logsumexp(dim=0)).sum()
        sums = [(values * shares).sum(dim=1) for values in (probability * targets, probability.square(), targets)]
    shared, predicted, wanted = (values[1:][present] for values in sums)
    dice = (2 * shared + _SMOOTHING) / (predicted + wanted + _SMOOTHING)
    return entropy + (1 - dice.mean() if present.any() else 0)


def _logits(weights: Tensor, features: Tensor) -> Tensor:
    return (weights[:, :-1].float() @ features).double() + weights[:, -1:]


def foreground_map(solution: Solution, standardisation: Standardisation) -> tuple[Tensor, Tensor]:
    """Return the kernel and the bias of one logit a class for the features as they were.

    A class is predicted where its logit is the highest and above 0, else the background: with the logit of the
    background subtracted, that is the class of the highest probability of the softmax.

    Args:
        solution: of `solve`.
        standardisation: of the features that it was solved on.

    Returns:
        Float64 tensors of shape ``(num_classes, C)`` and ``(num_classes,)``.
    """
    against = solution.weights[1:] - solution.weights[:1]
    kernel = against[:, :-1] / standardisation.deviation
    return kernel, against[:, -1] - kernel @ standardisation.mean.double()
