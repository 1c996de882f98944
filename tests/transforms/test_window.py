import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import ScaleIntensityRanged

from medssl.transforms.window import IntensityWindowd


@pytest.mark.parametrize("dtype", [torch.float32, torch.int16, torch.uint8])
def test_values_are_those_of_monai(dtype):
    image = MetaTensor(torch.randint(0, 200, (1, 6, 5, 4), generator=torch.Generator().manual_seed(0)).to(dtype))
    theirs = ScaleIntensityRanged("image", 20.0, 150.0, 0.0, 1.0, clip=True)({"image": image.clone()})["image"]
    ours = IntensityWindowd("image", (20, 150))({"image": image})["image"]
    assert ours.dtype == torch.float32 and ours.equal(theirs)


def test_the_image_that_goes_in_stays_and_its_metadata_come_along():
    image = MetaTensor(torch.tensor([[-5.0, 0.0, 5.0]]), affine=torch.diag(torch.tensor([2.0, 2.0, 2.0, 1.0])))
    windowed = IntensityWindowd("image", (-10, 10))({"image": image})["image"]
    assert image.tolist() == [[-5, 0, 5]] and windowed.tolist() == [[0.25, 0.5, 0.75]]
    assert windowed.affine.equal(image.affine)


@pytest.mark.parametrize("window", [(5, 5), (5, -5), (float("nan"), 5)])
def test_an_empty_window_is_an_error(window):
    with pytest.raises(ValueError, match="is empty"):
        IntensityWindowd("image", window)
