import json

import numpy as np
import pytest
from PIL import Image

from medssl.data.checking import check_datalist
from tests.slices import write_pictures

GREY = np.random.default_rng(0).integers(0, 256, (6, 8), np.uint8)


def found(folder, image, mask, in_channels=None, **changes):
    """Give what is wrong with a list of one picture and its mask."""
    Image.fromarray(image).save(folder / "a.png")
    Image.fromarray(mask).save(folder / "a_mask.png")
    case = {"case": "a", "image": "a.png", "label": "a_mask.png"}
    content = {"name": "toy", "modality": "image", "spatial_dims": 2, "labels": {"0": "background", "1": "cell"}}
    (folder / "list.json").write_text(json.dumps({**content, "training": [case], **changes}))
    return [(f.severity, f.problem) for f in check_datalist(folder / "list.json", in_channels=in_channels)]


def test_slices_and_pictures_are_clean(slice_list, tmp_path):
    assert not [f for f in check_datalist(slice_list, [16, 16], [5.6, 5.6], 1) if f.severity == "error"]
    for colours, channels in ((False, 1), (True, 3)):
        pictures = write_pictures(slice_list, tmp_path / str(colours), colours)
        findings = check_datalist(pictures, in_channels=channels)
        assert {f.problem[:19] for f in findings} <= {"the label is empty;"}


def test_a_picture_and_its_mask_are_clean(tmp_path):
    assert found(tmp_path, GREY, GREY // 128) == []


@pytest.mark.parametrize(
    ("image", "mask", "options", "problem"),
    [
        (GREY, GREY[:4] // 128, {}, "its label is 8 x 4 but the image is 8 x 6"),
        (GREY, GREY // 128 * 255, {}, "values that the list does not declare: 255"),
        (GREY, np.stack([GREY] * 3, -1), {}, "is a mask stored as three equal channels; say in label_colours"),
        (GREY, np.stack([GREY] * 3, -1), {"label_colours": {"1": [1, 1, 1]}}, "a colour that label_colours does not"),
        (GREY * 0, GREY // 128, {}, "all its voxels are 0"),
        (np.stack([GREY, GREY, GREY // 2], -1), GREY // 128, {"in_channels": 1}, "3 channels that differ"),
        (GREY, GREY // 128, {"spatial_dims": 3}, "it has 2 axes, but a volume has 3"),
    ],
)
def test_what_is_wrong_is_an_error(tmp_path, image, mask, options, problem):
    assert any(severity == "error" and problem in text for severity, text in found(tmp_path, image, mask, **options))


def test_a_recipe_of_other_axes_than_the_list_is_an_error(tmp_path):
    assert found(tmp_path, GREY, GREY // 128) == []
    findings = check_datalist(tmp_path / "list.json", [16, 16, 16])
    assert "it has 2 axes, but the patch of 16 x 16 x 16 has 3" in findings[0].problem
