import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, CropForegroundd, Invertd, Orientationd, Spacingd

from medssl.transforms.labels import InvertToLabeld, LogitsToLabeld

AFFINE = torch.tensor([[-0.8, 0.1, 0, 5], [0.1, -0.8, 0, -3], [0, 0, 2.5, 7], [0, 0, 0, 1]], dtype=torch.float64)
PREPROCESSING = Compose(
    [
        Orientationd("image", axcodes="RAS", labels=None),
        Spacingd("image", pixdim=(1.0, 1.0, 2.0), mode="bilinear"),
        CropForegroundd("image", source_key="image", margin=1, allow_smaller=True),
    ]
)


def preprocessed(num_classes: int) -> dict:
    """Give a preprocessed scan, oblique and cropped, with random logits."""
    torch.manual_seed(0)
    scan = torch.zeros(1, 30, 26, 12)
    scan[:, 4:26, 5:22, 2:11] = 1
    data = PREPROCESSING({"image": MetaTensor(scan, affine=AFFINE)})
    data["pred"] = MetaTensor(torch.randn(num_classes, *data["image"].shape[1:]))
    return data


# Fewer, as many and more than are brought back at once.
@pytest.mark.parametrize("num_classes", [1, 4, 9])
def test_labels_and_grid_are_those_of_inverting_all_logits(num_classes):
    expected = Compose([Invertd("pred", PREPROCESSING, "image", nearest_interp=False), LogitsToLabeld("pred")])(
        preprocessed(num_classes)
    )["pred"]
    label = InvertToLabeld("pred", PREPROCESSING, "image")(preprocessed(num_classes))["pred"]
    assert len(expected.unique()) == num_classes + 1
    assert (label.shape, label.dtype) == ((1, 30, 26, 12), torch.uint8)
    assert torch.equal(label.as_tensor(), expected.as_tensor())
    torch.testing.assert_close(label.affine, AFFINE)


def test_of_equal_logits_the_first_class_wins():
    data = preprocessed(6)
    data["pred"] = torch.ones_like(data["pred"])
    assert InvertToLabeld("pred", PREPROCESSING, "image")(data)["pred"].unique().tolist() == [0, 1]


def test_the_data_given_stay():
    data = preprocessed(6)
    before, operations = data["pred"].clone(), len(data["image"].applied_operations)
    InvertToLabeld("pred", PREPROCESSING, "image")(data)
    assert torch.equal(data["pred"], before)
    assert len(data["image"].applied_operations) == operations
