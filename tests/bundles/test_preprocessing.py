"""The transforms of a data recipe give the results of MONAI's own, and invert in the same way."""

import json

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    Orientationd,
    ScaleIntensityRanged,
    ScaleIntensityRangePercentilesd,
    Spacingd,
)

from medssl.packaging.sources import source_bundles
from medssl.transforms.foreground import Above

KEYS = ["image", "label"]
MODES = ["bilinear", "nearest"]
# One axis is upsampled, one downsampled, and one kept.
SPACING = [3.0, 5.9, 10.0]


def recipe(*names: str) -> Compose:
    parser = ConfigParser(
        ConfigParser.load_config_files([str(source_bundles() / f"data/{name}.yaml") for name in names])
    )
    parser.update({"keys": KEYS, "interpolation": MODES, "spacing": SPACING})
    return Compose(parser.get_parsed_content("image_transforms"))


def peer(name: str) -> Compose:
    read = [LoadImaged(KEYS), EnsureChannelFirstd(KEYS), Orientationd(KEYS, axcodes="RAS", labels=None)]
    crop = [CropForegroundd(KEYS, "image", Above({"ct": -500, "mr": 0.3}[name]), allow_smaller=True, margin=1)]
    space = [Spacingd(KEYS, pixdim=SPACING, mode=MODES)]
    if name == "ct":
        return Compose([*read, *crop, *space, ScaleIntensityRanged("image", -1350, 1000, 0.0, 1.0, clip=True)])
    scale = [ScaleIntensityRangePercentilesd("image", 0.01, 99.9, 0.0, 1.0, clip=True)]
    return Compose([*read, *scale, *crop, *space])


@pytest.fixture(params=[("ct",), ("mr", "mr_percentiles")], ids=["ct", "mr"])
def pair(request):
    """The sample of the recipe and that of MONAI for a labelled phantom, and the transforms of both."""
    modality = request.param[0]
    path = request.getfixturevalue(f"{modality}_list")
    entry = json.loads(path.read_text(encoding="utf-8"))["training"][0]
    files = {key: str(path.parent / entry[key]) for key in KEYS}
    return [(transforms, transforms(dict(files))) for transforms in (recipe(*request.param), peer(modality))]


def test_image_label_and_place_are_those_of_monai(pair):
    (_, ours), (_, theirs) = pair
    for key in KEYS:
        assert ours[key].shape == theirs[key].shape and ours[key].dtype == theirs[key].dtype
        torch.testing.assert_close(ours[key].affine, theirs[key].affine, rtol=0, atol=1e-9)
    torch.testing.assert_close(ours["image"].as_tensor(), theirs["image"].as_tensor(), rtol=0, atol=1e-5)
    assert ours["label"].equal(theirs["label"])


def test_a_prediction_returns_to_the_grid_of_the_scan(pair):
    back = []
    for transforms, sample in pair:
        sample["pred"] = sample["image"].contiguous()
        back.append(
            Invertd("pred", transforms, orig_keys="image", nearest_interp=False, to_tensor=True)(sample)["pred"]
        )
    assert back[0].shape == (1, 40, 32, 20)
    torch.testing.assert_close(back[0].affine, back[1].affine, rtol=0, atol=1e-9)
    torch.testing.assert_close(back[0].as_tensor(), back[1].as_tensor(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("names", [("mr",), ("mr", "phantom"), ("mr", "hippocampus")])
def test_mr_is_scaled_by_its_body_and_inverted(names, mr_list):
    entry = json.loads(mr_list.read_text(encoding="utf-8"))["training"][0]
    transforms = recipe(*names)
    sample = transforms({key: str(mr_list.parent / entry[key]) for key in KEYS})
    image = sample["image"].as_tensor()
    body = image[image > 0.2]
    assert image.min() >= 0 and image.max() <= 1
    # Resampling to coarse voxels smooths, which takes from the deviation and leaves the mean.
    assert body.mean().item() == pytest.approx(0.45, abs=0.05) and 0.1 < body.std().item() < 0.25
    sample["pred"] = sample["label"].contiguous()
    back = Invertd("pred", transforms, orig_keys="image", nearest_interp=True, to_tensor=True)(sample)["pred"]
    assert back.shape == (1, 40, 32, 20)
