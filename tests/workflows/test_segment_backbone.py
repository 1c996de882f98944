import json

import pytest

from medssl.advice.measures import StructureMeasures
from medssl.packaging.shipped_weights import bundle_folder
from medssl.workflows.segment_backbone import choose_backbone, with_settings
from medssl.workflows.segment_facts import ScanFacts


def scan(shape, spacing, low=-1024.0, high=1500.0):
    return ScanFacts("", shape, spacing, low, high)


def structures(**thickness):
    """Give a function that measures structures of some thicknesses in mm."""
    found = {name: StructureMeasures(1.0, (mm, mm, mm), mm, 0.01, 1.0) for name, mm in thickness.items()}
    return lambda: found


ORGAN = structures(liver=60.0)
ABDOMEN = scan((256, 256, 90), (1.4, 1.4, 4.0))


def test_shipped_weights_of_the_modality_and_voxel_size_are_found_with_their_preprocessing():
    found = choose_backbone(None, "CT", [ABDOMEN], ORGAN)
    assert found.source == "abdomen-ct-4mm" and found.network == {}
    config = json.loads((bundle_folder("abdomen-ct-4mm") / "configs" / "train.json").read_text(encoding="utf-8"))
    for key in ("spacing", "patch_size", "image_transforms", "hu_window", "body_threshold"):
        assert found.data[key] == config[key]
    assert "keys" not in found.data and "max_epochs" not in found.data


@pytest.mark.parametrize(
    ("modality", "facts"),
    [
        ("MR", scan((200, 200, 30), (1.6, 1.6, 7.7), 0)),
        ("CT", scan((300, 300, 300), (0.1, 0.1, 0.1))),
        ("CT", scan((64, 64, 16), (1.0, 1.0, 1.0))),
    ],
    ids=["another modality", "much finer voxels", "a small field of view"],
)
def test_weights_that_do_not_suit_are_not_taken(modality, facts):
    found = choose_backbone(None, modality, [facts], ORGAN)
    assert found.source is None and found.network["base_channels"] == found.channels
    assert "random weights" in found.reason


def test_without_a_backbone_spacing_and_patches_follow_the_scans():
    thin = structures(vein=8.0)
    found = choose_backbone(None, "MR", [scan((200, 200, 32), (1.6, 1.6, 7.7), 0)], thin)
    assert found.data["spacing"] == [1.6, 1.6, 7.7]
    assert found.data["patch_size"] == [80, 80, 16]
    large = choose_backbone(None, "MR", [scan((400, 400, 400), (0.5, 0.5, 0.5), 0)], thin)
    assert large.data["spacing"][0] > 1.2 and large.data["patch_size"] == [48, 48, 48]


def test_without_a_backbone_large_organs_are_seen_coarser_and_by_more_levels():
    facts = [scan((200, 200, 32), (1.6, 1.6, 7.7), 0)]
    organ, vein = (choose_backbone(None, "MR", facts, structures(one=mm)) for mm in (60.0, 6.0))
    assert organ.data["spacing"][0] > 2 * vein.data["spacing"][0]
    assert organ.network["num_levels"] > vein.network["num_levels"]
    assert organ.advice["spacing"].value == organ.data["spacing"]


def test_ct_that_was_cut_to_a_window_keeps_it():
    found = choose_backbone(None, "CT", [scan((64, 64, 16), (1.0, 1.0, 1.0), -125.0, 275.0)], ORGAN)
    assert found.data["hu_window"] == [-125.0, 275.0] and -125 < found.data["body_threshold"] < 0


def test_settings_of_the_user_win_and_unknown_ones_are_refused():
    data = choose_backbone(None, "CT", [ABDOMEN], ORGAN).data
    assert with_settings(data, {"spacing": [3, 3, 3]})["spacing"] == [3, 3, 3]
    with pytest.raises(ValueError, match=r"no setting --max_epochs .* --spacing, --patch_size"):
        with_settings(data, {"max_epochs": 3})


def test_an_unknown_backbone_is_an_error():
    with pytest.raises(FileNotFoundError, match="abdomen-ct"):
        choose_backbone("nowhere", "CT", [ABDOMEN], ORGAN)
