import pytest
import torch
from monai.transforms import SpatialPadd

from medssl.transforms.missing import passing_over_missing


def test_an_image_alone_is_transformed_as_beside_its_label():
    transform = SpatialPadd(["image", "label"], (4, 4), mode=["edge", "constant"])
    image = torch.rand(1, 3, 2)
    both = transform({"image": image, "label": torch.zeros(1, 3, 2)})
    alone = passing_over_missing([transform])[0]({"image": image})
    assert alone.keys() == {"image"}
    assert torch.equal(alone["image"], both["image"])


def test_the_transforms_given_still_ask_for_their_keys():
    transform = SpatialPadd(["image", "label"], (4, 4))
    passing_over_missing([transform])
    with pytest.raises(KeyError, match="label"):
        transform({"image": torch.rand(1, 3, 2)})
