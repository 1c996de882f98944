"""What a backbone is: the network that methods train and that segmentation starts from."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class Backbone(Protocol):
    """A network that maps an image to a pyramid of feature maps; any `torch.nn.Module` with these members is one.

    Attributes:
        spatial_dims: 2 or 3.
        level_channels: channels of each level of the pyramid, finest first.
        strides: voxels of the image per cell of each level, the same along every axis.

    Example:
        >>> from medssl.networks.fpn import FPN
        >>> isinstance(FPN(2, base_channels=4, num_levels=2), Backbone), isinstance(nn.Conv2d(1, 4, 3), Backbone)
        (True, False)
    """

    spatial_dims: int
    level_channels: Sequence[int]
    strides: Sequence[int]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the feature maps of ``x`` of shape ``(B, C, *spatial)``, finest first.

        Level ``i`` has the shape ``(B, level_channels[i], *cells)``, with ``ceil(size / strides[i])`` cells along an
        axis.
        """


@runtime_checkable
class LocatedBackbone(Backbone, Protocol):
    """A backbone that says where its cells lie, for methods that match cells by their place in the image.

    Attributes:
        first_centres: voxel at the centre of the first cell of each level, the same along every axis.
    """

    first_centres: Sequence[float]


def require_backbone(network: Any, located: bool = False) -> None:
    """Check that a network can serve as a backbone.

    Args:
        network: what a recipe gives as the backbone of a method or a segmentation network.
        located: True where its cells are matched by place, see `LocatedBackbone`.

    Raises:
        ValueError: naming the members that it lacks.

    Example:
        >>> require_backbone(nn.Conv2d(1, 4, 3))
        Traceback (most recent call last):
        ...
        ValueError: Conv2d cannot be a backbone: it has no spatial_dims, level_channels, strides (medssl.networks...).
    """
    members = ["forward", "spatial_dims", "level_channels", "strides"] + ["first_centres"] * located
    missing = [name for name in members if getattr(network, name, None) is None]
    if missing:
        raise ValueError(
            f"{type(network).__name__} cannot be a backbone: it has no {', '.join(missing)} "
            "(medssl.networks.backbone says what they are)."
        )


def backbone_of(network: nn.Module) -> Backbone | None:
    """Return the backbone that a network is built on, or None where it has none.

    Example:
        >>> from medssl.networks.features import DenseFeatures
        >>> from medssl.networks.fpn import FPN
        >>> type(backbone_of(DenseFeatures(FPN(2, base_channels=4, num_levels=2)))).__name__
        'FPN'
        >>> backbone_of(nn.Conv2d(1, 4, 3)) is None
        True
    """
    # Not a protocol for networks with a backbone: from Python 3.12 on, isinstance does not see submodules.
    backbone = getattr(network, "backbone", None)
    return backbone if isinstance(backbone, Backbone) else None
