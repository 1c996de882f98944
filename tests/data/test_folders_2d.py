import numpy as np
import pytest
from PIL import Image

from medssl.data.folders import build_datalist

RED, BLUE, GREY = (255, 0, 0), (0, 0, 255), (9, 9, 9)


@pytest.fixture
def folders(tmp_path):
    """Four pictures of two specimens with colour masks, and one without a mask."""
    for name in ("s1_a", "s1_b", "s2_a", "s2_b", "s3_a"):
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3)).save(tmp_path / "images" / f"{name}.tif")
    (tmp_path / "masks").mkdir()
    for name in ("s1_a", "s1_b", "s2_a", "s2_b"):
        mask = np.array([[RED, BLUE, GREY], [RED, RED, RED]], np.uint8)
        Image.fromarray(mask).save(tmp_path / "masks" / f"{name}_mask.png")
    return tmp_path / "images", tmp_path / "masks"


def build(folders, **options):
    return build_datalist(*folders, "toy", **{"label_colours": "0=else,1=#ff0000,2=#0000ff", **options})


def test_pictures_with_colour_masks_are_a_list(folders):
    made = build(folders)
    assert (made.modality, made.spatial_dims) == ("image", 2)
    assert made.labels == {0: "background", 1: "label_1", 2: "label_2"}
    assert made.label_colours == {0: "else", 1: RED, 2: BLUE}
    assert [case["case"] for case in made.section("training")] == ["s1_a", "s1_b", "s2_a", "s2_b"]
    assert made.section("training")[0]["label"] == str(folders[1] / "s1_a_mask.png")


def test_an_unlisted_colour_is_found_when_the_list_is_made(folders):
    with pytest.raises(ValueError, match=r"s1_a_mask\.png has the colour #090909 at pixel \(2, 0\)"):
        build(folders, label_colours="1=#ff0000,2=#0000ff")


def test_colour_masks_without_colours_are_an_error(folders):
    with pytest.raises(ValueError, match=r"s1_a_mask\.png is a mask in colours; say in label_colours"):
        build(folders, label_colours=None)


def test_the_images_of_a_specimen_stay_together(folders):
    made = build(folders, group=r"(s\d)_", num_test=1)
    assert [len(made.section(name)) for name in ("training", "test")] == [2, 2]
    assert all(len({case["group"] for case in made.section(name)}) == 1 for name in ("training", "test"))
    assert made.section("unlabeled")[0]["group"] == "s3"


def test_nothing_is_learnt_from_a_specimen_that_is_held_out(folders):
    (folders[0] / "s2_a.tif").rename(folders[0] / "s2_c.tif")
    (folders[1] / "s2_a_mask.png").unlink()
    for seed in range(4):
        made = build(folders, group=r"(s\d)_", num_test=1, seed=seed)
        tested = {case["group"] for case in made.section("test")}
        assert not tested & {case["group"] for case in made.section("training+unlabeled")}


def test_held_out_are_groups_not_images(folders):
    with pytest.raises(ValueError, match="2 held-out of 2 labelled groups leave none"):
        build(folders, group=r"(s\d)_", num_test=2)


@pytest.mark.parametrize("group", [r"s\d_", r"(x)", "("])
def test_a_group_that_fits_no_name_is_an_error(folders, group):
    with pytest.raises(ValueError, match="must be a regular expression with one pair of brackets"):
        build(folders, group=group)


def test_a_case_outside_all_groups_is_named(folders):
    with pytest.raises(ValueError, match=r"\(case 's3_a' does not\)"):
        build(folders, group=r"(s[12])_")


def test_black_and_white_masks_need_their_colours(folders):
    for mask in folders[1].iterdir():
        Image.fromarray(np.array([[0, 255, 0]], np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"hold the values \[0, 255\].*--label-colours 0=#000000,1=#ffffff"):
        build(folders, label_colours=None)
    assert build(folders, label_colours="0=#000000,1=#ffffff").labels == {0: "background", 1: "label_1"}


def test_jpeg_masks_are_named_as_such(folders):
    for mask in folders[1].iterdir():
        Image.open(mask).save(mask.with_suffix(".jpg"))
        mask.unlink()
    with pytest.raises(ValueError, match="masks holds JPEG files"):
        build(folders)


def test_a_modality_that_nobody_knows_is_an_error(folders):
    with pytest.raises(ValueError, match="no modality 'PET'; choose one of CT, MR, image"):
        build(folders, modality="PET")
