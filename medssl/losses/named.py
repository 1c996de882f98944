"""The named losses that a method returns for a loss: the one that is minimised, and those that are only logged."""

from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class WeightedTerms(Protocol):
    """A loss that is the weighted sum of terms worth logging, such as `medssl.losses.vicreg.VICRegLoss`."""

    def terms(self, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms of two embeddings of shape ``(N, C)`` by name, scalars with a gradient."""

    def weighted_sum(self, terms: dict[str, Tensor]) -> Tensor:
        """Return the loss for its terms."""


def losses_of_terms(loss: WeightedTerms, z1: Tensor, z2: Tensor) -> dict[str, Tensor]:
    """Return ``loss`` and, detached, its unweighted terms.

    Args:
        loss: of two embeddings.
        z1: embeddings, shape ``(N, C)``.
        z2: of the same shape; row ``i`` is the partner of row ``i``.

    Example:
        >>> import torch
        >>> from medssl.losses.vicreg import VICRegLoss
        >>> list(losses_of_terms(VICRegLoss(), torch.rand(4, 2), torch.rand(4, 2)))
        ['loss', 'invariance', 'variance', 'covariance']
    """
    terms = loss.terms(z1, z2)
    return {"loss": loss.weighted_sum(terms), **{name: term.detach() for name, term in terms.items()}}


def contrastive_losses(loss: Tensor, collapse_value: float) -> dict[str, Tensor]:
    """Return ``loss``; detached, the same as ``contrastive``, and its ``collapse_distance``.

    Args:
        loss: a contrastive loss, a scalar.
        collapse_value: its value if all embeddings were equal; the distance is how far the loss lies below that.

    Example:
        >>> import torch
        >>> contrastive_losses(torch.tensor(1.0), collapse_value=4.0)
        {'loss': tensor(1.), 'contrastive': tensor(1.), 'collapse_distance': tensor(3.)}
    """
    contrastive = loss.detach()
    return {"loss": loss, "contrastive": contrastive, "collapse_distance": collapse_value - contrastive}
