"""What a method is. Methods need not import this: any module with these members is one."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from medssl.networks.backbone import Backbone


class Method(Protocol):
    """A `torch.nn.Module` that maps a batch to named losses while it trains a backbone.

    Attributes:
        backbone: what is transferred; its weights are the result of a pretraining.
    """

    backbone: Backbone

    def forward(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        """Return scalar losses by name.

        ``loss`` is minimised. The others are logged and hold no gradient. A contrastive loss goes by ``contrastive``,
        and comes with a ``collapse_distance``: how far it lies below its value for embeddings that are all equal.

        Args:
            batch: views by the keys ``view_1``, ``view_2`` and on, of shape ``(B, C, *spatial)``, and what the recipe's
                transforms put beside them; docs/methods.md lists the keys.
        """


@runtime_checkable
class HasAfterStep(Protocol):
    """A method with a teacher, a queue or anything else that moves after each optimizer step."""

    def after_step(self, progress: float) -> None:
        """Move what is not trained by gradients.

        Args:
            progress: share of the training that is done, above 0 and at most 1.
        """


def require_method(method: Any) -> None:
    """Check that what a recipe gives as its method can be pretrained.

    Raises:
        ValueError: naming the member that it lacks.

    Example:
        >>> from torch import nn
        >>> require_method(nn.Linear(2, 1))
        Traceback (most recent call last):
        ...
        ValueError: Linear is not a method: it has no backbone, the part that is transferred (medssl.methods.protocol).
    """
    if not callable(getattr(method, "forward", None)):
        raise ValueError(
            f"{type(method).__name__} is not a method: it has no forward(batch), which gives the losses "
            "(medssl.methods.protocol)."
        )
    if getattr(method, "backbone", None) is None:
        raise ValueError(
            f"{type(method).__name__} is not a method: it has no backbone, the part that is transferred "
            "(medssl.methods.protocol)."
        )
