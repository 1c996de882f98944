import pytest

from medssl.workflows.preprocessing import changed_settings, preprocessing_of
from medssl.workflows.recipes import find_recipe, merge


def recipe(*data, **overrides):
    return merge(
        [find_recipe("pretrain/configs", "train"), *(find_recipe("data", name) for name in data)], {}, overrides
    )


def steps(config):
    """Give the settings of each transform by the last part of its name."""
    return {step["_target_"].rpartition(".")[2]: step for step in preprocessing_of(config)}


def test_references_and_expressions_are_replaced_by_their_values():
    config = {
        "size": [1.0, 2.0],
        "window": {"low": -5},
        "inner": {"_target_": "Above", "threshold": "@window::low"},
        "image_transforms": [
            {"_target_": "First", "pixdim": "@size", "first": "$@size[0] + 1", "nested": "@inner"},
            {"_target_": "Second", "kind": "$torch.float32", "pair": "$(1, 2)", "text": "plain", "none": None},
        ],
        "foreground_transforms": [{"_target_": "Third"}],
    }
    assert preprocessing_of(config) == [
        {"_target_": "First", "pixdim": [1.0, 2.0], "first": 2.0, "nested": {"_target_": "Above", "threshold": -5}},
        {"_target_": "Second", "kind": "$torch.float32", "pair": [1, 2], "text": "plain", "none": None},
        {"_target_": "Third"},
    ]


def test_a_setting_that_cannot_be_written_down_is_an_error():
    config = {"size": 1, "image_transforms": [{"a": "$object() if @size else 0"}], "foreground_transforms": []}
    with pytest.raises(ValueError, match=r"image_transforms::0::a.*cannot be written as JSON"):
        preprocessing_of(config)


def test_a_recipe_is_its_transforms_from_reading_to_the_body_mask():
    found = steps(recipe("ct", spacing=[3.0, 3.0, 3.0]))
    assert next(iter(found)) == "VerifiedLoadImaged"
    assert [step["pixdim"] for step in found.values() if "pixdim" in step] == [[3.0, 3.0, 3.0]]
    assert list(found)[-1] == "BodyMaskd"
    assert found["BodyMaskd"]["threshold"] == recipe("ct")["foreground_threshold"]


@pytest.mark.parametrize("overrides", [{"patch_size": [8, 8, 8]}, {"seed": 3}, {"max_epochs": 2}])
def test_settings_of_the_training_are_no_part_of_it(overrides):
    assert preprocessing_of(recipe("ct", **overrides)) == preprocessing_of(recipe("ct"))


@pytest.mark.parametrize("overrides", [{"spacing": [2, 2, 2]}, {"hu_window": [-100, 100]}, {"body_threshold": -400}])
def test_settings_of_the_transforms_change_it(overrides):
    assert preprocessing_of(recipe("ct", **overrides)) != preprocessing_of(recipe("ct"))


def test_what_was_changed_is_named_setting_by_setting():
    first, second = (preprocessing_of(recipe("ct", spacing=spacing)) for spacing in ([1, 1, 2], [3, 3, 3]))
    assert [text.partition(": ")[2] for text in changed_settings(first, second)] == ["pixdim [1, 1, 2] -> [3, 3, 3]"]
    assert changed_settings(first, first) == []


def test_other_transforms_are_named_as_a_whole():
    (text,) = changed_settings(preprocessing_of(recipe("ct")), preprocessing_of(recipe("mr")))
    before, after = text.split(" -> ")
    assert "BodyContrastd" in after and "BodyContrastd" not in before
