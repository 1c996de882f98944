import logging

import pytest
import torch

from medssl.transforms.mirror import mirror_axes, mirrors


@pytest.mark.parametrize("name", ["left kidney", "Kidney_right", "kidney_l", "Lung-Left", "adrenal gland (right)", "R"])
def test_a_class_with_a_side_keeps_left_and_right(name):
    assert mirror_axes({"0": "background", "1": name}, 3) == [1, 2]


@pytest.mark.parametrize("name", ["liver", "cleft", "bright spot", "colon", "gall"])
def test_letters_within_a_word_are_not_a_side(name):
    assert mirror_axes({"0": "background", "1": name}, 3) == [0, 1, 2]


def test_the_log_says_which_classes_have_a_side(caplog):
    caplog.set_level(logging.INFO)
    mirror_axes({"1": "liver", "2": "left kidney"}, 3)
    assert "not mirrored left to right: left kidney would change sides" in caplog.text


def test_image_and_label_are_mirrored_together():
    image = torch.arange(24.0).reshape(1, 2, 3, 4)
    sample = {"image": image, "label": image.clone()}
    for flip in mirrors(["image", "label"], {"1": "liver"}, 3, prob=1.0):
        sample = flip(sample)
    assert torch.equal(sample["image"], image.flip(1, 2, 3))
    assert torch.equal(sample["image"], sample["label"])
