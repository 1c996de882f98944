import pytest

from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.sizes import require_sizes


@pytest.mark.parametrize(
    "config",
    [
        {"spacing": [1, 2.5, 3], "patch_size": [8, 16, 8]},
        {"spacing": [1, 2], "patch_size": [8, 8], "spatial_dims": 2},
        {"spacing": None, "patch_size": "@size"},
        {"spacing": "$[1, 1, 1]"},
        {"spacing": [1, 2]},
        {},
    ],
)
def test_sizes_and_what_becomes_one_are_accepted(config):
    require_sizes(config)


@pytest.mark.parametrize(
    "value", [[0, 1, 1], [-1, 1, 1], [1, 1], 2, "two", [1, 1, None], [1, 1, float("nan")], [True] * 3]
)
@pytest.mark.parametrize("key", ["spacing", "patch_size"])
def test_what_is_no_size_is_refused_by_the_name_of_the_setting(key, value):
    with pytest.raises(ValueError, match=f"^--{key} is .*; give 3 "):
        require_sizes({key: value, "spatial_dims": 3})


def test_a_patch_is_a_whole_number_of_voxels():
    with pytest.raises(ValueError, match=r"--patch_size is \[8\.5, 8, 8\]; give 3 whole numbers"):
        require_sizes({"patch_size": [8.5, 8, 8], "spatial_dims": 3})


def test_every_command_that_merges_a_recipe_says_so():
    with pytest.raises(ValueError, match=r"--spacing is \[2, 2\]; give 3 lengths in mm"):
        merge([find_recipe("segmentation/configs", "train"), find_recipe("data", "mr")], {}, {"spacing": [2, 2]})
    with pytest.raises(ValueError, match=r"--patch_size is \[8, 8, 8\]; give 2 whole numbers"):
        merge([find_recipe("data", "mr_slices")], {}, {"patch_size": [8, 8, 8]})
