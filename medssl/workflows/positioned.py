"""What a probe for use has beside features: where in the body a voxel lies, and altered copies of labelled scans."""

from monai.bundle import ConfigParser

from medssl.networks.heads import LinearHead
from medssl.networks.position import PositionedBackbone
from medssl.networks.segmentation import SegmentationNetwork
from medssl.packaging.loading import LoadedBundle
from medssl.probe.copies import Copies
from medssl.workflows.recipes import find_recipe, merge

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


def copies_with_position(number: int, in_channels: int) -> Copies:
    """Return the copies of ``augmented_probe.yaml`` for scans whose preprocessing adds position.

    Args:
        number: of copies of a scan.
        in_channels: of a scan, without those of position.
    """
    recipes = [find_recipe("segmentation/configs", name) for name in ("train", "linear_probe", "augmented_probe")]
    recipes += [find_recipe("data", name) for name in ("ct", "position")]
    config = merge(recipes, {}, {"copies": number, "in_channels": in_channels})
    copies: Copies = ConfigParser(config).get_parsed_content("solve::copied")
    return copies
