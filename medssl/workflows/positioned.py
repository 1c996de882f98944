"""A bundle whose backbone also says where in the body a voxel lies."""

from medssl.networks.heads import LinearHead
from medssl.networks.position import PositionedBackbone
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.loading import LoadedBundle

_AXES = (0, 1)


def positioned(bundle: LoadedBundle, num_classes: int) -> LoadedBundle:
    """Return a bundle with a new linear head on the backbone of another and on position, as ``position.yaml`` gives it.

    A bundle that has position already keeps its backbone.

    Args:
        bundle: pretrained or of a segmentation.
        num_classes: number of foreground classes of the head.
    """
    backbone = bundle.network.backbone
    config = dict(bundle.config)
    if not isinstance(backbone, PositionedBackbone):
        backbone = PositionedBackbone(backbone, num_coordinates=len(_AXES))
        adds = {"_target_": "AddCoordinateChannelsd", "keys": "image", "spatial_dims": list(_AXES)}
        config["image_transforms"] = [*config["image_transforms"], adds]
    head = LinearHead(
        *(backbone.spatial_dims, backbone.level_channels, num_classes), standardize=True, upsampling="linear"
    )
    network = SegmentationNetwork(backbone, head, frozen=True).eval()
    return bundle._replace(network=network, config=config)
