"""Published images and masks of ../shared/data: every mask is read with its meaning."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from medssl.data.datalist import load_section, write_datalist
from medssl.data.folders import build_datalist
from medssl.scans.loading_2d import LoadImages2Dd, load_label
from medssl.workflows.checking import check_report

pytestmark = pytest.mark.real_data


def linked(folder, images, masks):
    """Two folders of links, to images and, under the same names, to masks."""
    for kind, files in (("images", images), ("masks", masks)):
        (folder / kind).mkdir()
        for image, path in zip(images, files, strict=True):
            (folder / kind / f"{image.stem}{path.suffix}").symlink_to(path)
    return folder / "images", folder / "masks"


def counts(label):
    values, numbers = np.unique(label.numpy(), return_counts=True)
    return dict(zip(values.astype(int).tolist(), numbers.tolist(), strict=True))


def test_masks_drawn_over_a_superalloy_are_two_phases_and_the_rest(shared_data, tmp_path):
    folder = shared_data / "nasa-micrographs" / "Super1"
    images = [path for part in ("train", "test") for path in sorted((folder / part).glob("*.tif"))]
    masks = [path.parents[1] / f"{path.parent.name}_annot" / f"{path.stem}_mask.tif" for path in images]
    folders = linked(tmp_path, images, masks)
    colours = "0=else,1=#0000ff,2=#ff0000"
    made = build_datalist(*folders, "super1", label_colours=colours, group=r"(spot\d)_", num_test=1)
    path = write_datalist(made, tmp_path / "list.json")
    lines, num_errors = check_report(path, ["image_2d"])
    assert (num_errors, lines[-1]) == (0, "3 cases, 0 errors, 0 warnings")
    (case,) = [case for case in load_section(path, "training+test") if case["case"] == "spot2_0d_0"]
    sample = LoadImages2Dd(["image", "label"])(case)
    assert sample["image"].shape == sample["label"].shape == (1, 512, 512)
    assert counts(sample["label"]) == {0: 512 * 512 - 131030 - 7808, 1: 131030, 2: 7808}
    with pytest.raises(ValueError, match=r"spot2_0d_0\.tif has the colour #.* that label_colours does not list"):
        build_datalist(*folders, "super1", label_colours="1=#0000ff,2=#ff0000")


def test_masks_of_coatings_are_indices(shared_data):
    annotations = shared_data / "nasa-micrographs" / "EBC2" / "train_annot"
    (path,) = annotations.glob("021519*.tif")
    assert counts(load_label(path)) == {0: 918608, 1: 128112, 2: 1856}


def test_axons_and_myelin_are_two_greys(shared_data):
    folder = shared_data / "axondeepseg-sem"
    colours = "0=#000000,1=#808080,2=#ffffff"
    label = load_label(folder / "__test_demo_files__" / "mask.png", colours)
    assert label.shape == (1, 1541, 1096)
    assert counts(label) == {0: 582452, 1: 579970, 2: 526514}
    # The small masks were interpolated: their colours are not labels, and medssl does not guess.
    with pytest.raises(ValueError, match=r"mask_0\.png has the colour"):
        load_label(folder / "__test_training_files__" / "Train" / "mask_0.png", colours)


def test_membranes_are_the_black_of_their_masks(shared_data):
    folder = shared_data / "isbi2012-em"
    label = load_label(folder / "label" / "0.png", "0=#ffffff,1=#000000")
    assert counts(label) == {0: 204652, 1: 57492}
    image = LoadImages2Dd("image")({"image": folder / "image" / "0.png"})["image"]
    # Membranes are dark only if image and mask have the same orientation.
    darker, turned = (image[mask == 0].mean() - image[mask == 1].mean() for mask in (label, label.mT))
    assert darker > 30 > 10 > turned


def test_the_left_ventricle_lies_in_bright_blood(shared_data, tmp_path):
    folder = shared_data / "sunnybrook-cmr"
    images = sorted((folder / "Images").glob("*/*.png"))
    masks = [folder / "Labels" / path.parent.name / path.name for path in images]
    folders = linked(tmp_path, images, masks)
    options = {"label_colours": "0=#000000,1=#ffffff", "label_names": "1=left ventricle"}
    made = build_datalist(*folders, "sunnybrook", "MR", **options, group=r"(SC-HF-I-\d+)", num_test=1)
    assert [len({case["group"] for case in made.section(name)}) for name in ("training", "test")] == [3, 1]
    path = write_datalist(made, tmp_path / "list.json")
    assert check_report(path, ["image_2d"])[1] == 0
    load = LoadImages2Dd(["image", "label"])
    contrasts = []
    for case in load_section(path, "training+test"):
        sample = load(case)
        image, mask = (sample[key][0].numpy() for key in ("image", "label"))
        ring = binary_dilation(mask, iterations=4) & (mask == 0)
        turned = (image, image.T, image[::-1], image[:, ::-1])
        contrasts.append([seen[mask == 1].mean() - seen[ring].mean() for seen in turned])
    assert np.min(contrasts, axis=0)[0] > 10
    means = np.mean(contrasts, axis=0)
    assert means[0] > 1.5 * means[1:].max()
