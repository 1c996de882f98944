"""Masked restoration: the network restores the parts of an image that it does not see."""

from torch import Tensor, nn

from medssl.networks.backbone import Backbone, require_backbone


class MaskedRestoration(nn.Module):
    """The loss of masked autoencoding with a convolutional pyramid: the squared error of the hidden voxels.

    Masked autoencoders (He et al., 2022, https://arxiv.org/abs/2111.06377) restore hidden patches from visible ones;
    Wald et al. (2025, https://arxiv.org/abs/2410.23132) carry it over to 3D convolutional networks, which see the
    hidden blocks as constants. With hidden voxels M of an image x and the restored image y, the loss is the mean over
    the images of

        1 / |M| · Σ_{v ∈ M} (y_v − x_v)².

    Reads the batch keys ``view_k``, ``clean_k`` of shape ``(B, C, *spatial)`` and ``masked_k``, bool, of shape
    ``(B, 1, *spatial)``, for k = 1, 2 (`medssl.transforms.masking.RandMaskBlocksd`).

    Args:
        backbone: what is trained and transferred; its finest level has the size of the image.
        restoration_head: maps the finest feature map to the restored image.

    Raises:
        ValueError: if the finest level is too coarse to restore the image.

    Example:
        >>> import torch
        >>> from medssl.networks.fpn import FPN
        >>> from medssl.networks.heads import RestorationHead
        >>> method = MaskedRestoration(FPN(2, base_channels=4, num_levels=2), RestorationHead(2, 4))
        >>> images = {key: torch.rand(2, 1, 8, 8) for key in ("view_1", "view_2", "clean_1", "clean_2")}
        >>> masks = {key: torch.rand(2, 1, 8, 8) < 0.7 for key in ("masked_1", "masked_2")}
        >>> sorted(method({**images, **masks}))
        ['explained', 'loss']
    """

    def __init__(self, backbone: Backbone, restoration_head: nn.Module) -> None:
        super().__init__()
        require_backbone(backbone)
        if backbone.strides[0] != 1:
            raise ValueError(
                f"Restoration needs a level of the image's own size, but the finest of {type(backbone).__name__} has "
                f"cells of {backbone.strides[0]} voxels; take a backbone such as fpn or unet."
            )
        self.backbone = backbone
        self.restoration_head = restoration_head

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return ``loss`` and, detached, ``explained``: the share of the hidden variance that the restoration gets.

        It is 0 for a network that fills every hidden voxel of an image with their mean.
        """
        errors, variances = [], []
        for k in (1, 2):
            clean, mask = batch[f"clean_{k}"], batch[f"masked_{k}"]
            restored = self.restore(self.backbone(batch[f"view_{k}"]))
            errors.append(masked_mean((restored - clean).square(), mask).mean())
            mean = masked_mean(clean, mask).reshape(-1, *[1] * (clean.dim() - 1))
            variances.append(masked_mean((clean - mean).square(), mask).mean())
        loss = (errors[0] + errors[1]) / 2
        variance = (variances[0] + variances[1]) / 2
        return {"loss": loss, "explained": 1 - loss.detach() / variance.clamp_min(1e-8)}

    def restore(self, pyramid: list[Tensor]) -> Tensor:
        """Return the restored images, of the shape of the views."""
        return self.restoration_head(pyramid[0])


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of each image over the voxels of its mask and over its channels, shape ``(B,)``.

    Args:
        values: shape ``(B, C, *spatial)``.
        mask: bool, shape ``(B, 1, *spatial)``; not empty in any image.

    Example:
        >>> import torch
        >>> masked_mean(torch.tensor([[[1.0, 2.0, 6.0]]]), torch.tensor([[[True, False, True]]]))
        tensor([3.5000])
    """
    inside = (values * mask).flatten(1).sum(1)
    return inside / (mask.flatten(1).sum(1) * values.shape[1])
