"""Faults of other bundles that broke MONAI, MONAI Label or 3D Slicer do not occur in ours."""

import configparser
import json
import math
import re

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, load
from monai.transforms import Compose, DeleteItemsd, LoadImaged, Spacingd

from medssl.packaging.pack import pack
from medssl.packaging.sources import source_bundles
from tests.bundles.test_inference import oblique_affine, write_scan
from tests.packaging.toy_run import segmentation_run
from tests.tiny import files_of

ROOT = source_bundles()
# MONAI, medssl, and the packages installed with medssl.
INSTALLED = ("medssl", "monai", "torch", "pytorch_optimizer")
RECIPES = sorted(path for path in ROOT.rglob("*.yaml") if "protocols" not in path.parts)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ecosystem")
    return pack(segmentation_run(folder / "run"), "toy", folder / "bundles", zip_bundle=False)


@pytest.fixture(scope="module")
def pretrain_bundle(pretrained, tmp_path_factory):
    return pack(pretrained, "toy", tmp_path_factory.mktemp("pretrain"), zip_bundle=False)


def preprocessing(bundle):
    config = json.loads((bundle / "configs" / "inference.json").read_text(encoding="utf-8"))
    return ConfigParser(config).get_parsed_content("preprocessing")


def parts(value):
    """Yield every object of a configuration."""
    if isinstance(value, dict):
        yield value
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else []:
        yield from parts(item)


@pytest.mark.parametrize("workflow_type", [None, "train", "inference"])
@pytest.mark.parametrize("kind", ["bundle", "pretrain_bundle"])
def test_monai_loads_the_trained_network_from_another_folder(kind, workflow_type, request, tmp_path, monkeypatch):
    packed = request.getfixturevalue(kind)
    monkeypatch.chdir(tmp_path)
    before = files_of(packed)
    named = {"workflow_type": workflow_type} if workflow_type else {}
    network = load(packed.name, bundle_dir=str(packed.parent), **named)
    assert list(tmp_path.iterdir()) == [] and files_of(packed) == before
    weights = torch.load(packed / "models" / "model.pt", weights_only=True)
    assert list(network.state_dict()) == list(weights)
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_the_text_that_monai_label_adds_is_harmless(bundle, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    path = str(tmp_path / "scan.nii.gz")
    plain = preprocessing(bundle)({"image": path})["image"]
    served = preprocessing(bundle)({"image": path, "image_path": path})["image"]
    torch.testing.assert_close(served.as_tensor(), plain.as_tensor())


def test_without_the_deletion_that_text_would_be_harmful(bundle, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    path = str(tmp_path / "scan.nii.gz")
    rest = [step for step in preprocessing(bundle).flatten().transforms if not isinstance(step, DeleteItemsd)]
    with pytest.raises(RuntimeError, match="Spacingd"):
        Compose(rest)({"image": path, "image_path": path})


def test_monai_label_knows_reader_and_spacing_by_their_class(bundle):
    steps = preprocessing(bundle).flatten().transforms
    assert sum(isinstance(step, LoadImaged) for step in steps) == 1
    assert sum(isinstance(step, Spacingd) for step in steps) == 1


def test_the_grid_of_the_scan_is_known_after_preprocessing(bundle, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    image = preprocessing(bundle)({"image": str(tmp_path / "scan.nii.gz")})["image"]
    np.testing.assert_allclose(image.meta["original_affine"], oblique_affine(), atol=1e-4)


def test_float_voxels_give_the_image_of_integer_voxels(bundle, tmp_path):
    write_scan(tmp_path / "scan.nii.gz")
    scan = nib.load(tmp_path / "scan.nii.gz")
    nib.save(nib.Nifti1Image(scan.get_fdata(dtype=np.float32), scan.affine), tmp_path / "float.nii.gz")
    images = [preprocessing(bundle)({"image": str(tmp_path / f"{name}.nii.gz")})["image"] for name in ("scan", "float")]
    torch.testing.assert_close(images[0].as_tensor(), images[1].as_tensor())


@pytest.fixture(scope="module")
def recipes():
    """Every recipe by its path below the source bundles."""
    assert len(RECIPES) > 50
    return {str(path.relative_to(ROOT)): ConfigParser.load_config_file(str(path)) for path in RECIPES}


def all_parts(recipes):
    return [(name, part) for name, recipe in recipes.items() for part in parts(recipe)]


def test_no_key_looks_like_metadata(recipes):
    # MONAI Label and 3D Slicer delete or overwrite keys of these names; DeleteItemsd removes them.
    keys = [
        (name, str(key))
        for name, part in all_parts(recipes)
        if part.get("_target_") != "DeleteItemsd"
        for setting in ("keys", "key", "source_key", "orig_keys", "image_key")
        for key in np.atleast_1d(part.get(setting, []))
    ]
    assert len(keys) > 80
    assert [key for key in keys if key[1].startswith(("image_", "label_"))] == []


def test_no_recipe_uses_transforms_that_lose_the_affine_or_change_their_input(recipes):
    # The second read of a PersistentDataset lacks the affine; the others change their input in place.
    banned = {"PersistentDataset", "RandCoarseShuffled", "RandCoarseDropoutd", "RandStdShiftIntensityd"}
    assert [(name, part) for name, part in all_parts(recipes) if part.get("_target_") in banned] == []


def test_orientationd_has_labels(recipes):
    # Without labels it warns.
    steps = [(name, part) for name, part in all_parts(recipes) if part.get("_target_") == "Orientationd"]
    assert steps and [step for step in steps if "labels" not in step[1]] == []


def test_one_switch_decides_on_bad_values_wherever_a_recipe_loads(recipes):
    loads = [
        (name, part)
        for name, part in all_parts(recipes)
        if name.startswith("data/") and "medssl.scans.loading" in str(part.get("_target_"))
    ]
    assert len(loads) >= 6
    assert [load for load in loads if load[1].get("allow_bad_values") != "@allow_bad_values"] == []


def test_code_is_from_monai_or_an_installed_package(recipes):
    targets = [(name, str(part["_target_"])) for name, part in all_parts(recipes) if "_target_" in part]
    assert len(targets) > 100
    assert [pair for pair in targets if "." in pair[1] and pair[1].split(".")[0] not in INSTALLED] == []


def test_every_preprocessing_turns_scans_to_the_same_axes(recipes):
    turns = {
        name: [
            step["axcodes"]
            for step in recipe["image_transforms"]
            if not isinstance(step, str) and step["_target_"] == "Orientationd"
        ]
        for name, recipe in recipes.items()
        if recipe.get("image_transforms") is not None
    }
    assert turns and {name: axes for name, axes in turns.items() if axes not in (["RAS"], ["RA"], ["LP"])} == {}


def test_no_patch_is_a_single_cell_on_the_coarsest_level(recipes):
    # A norm over one cell of one image fails in training; 16 is the coarsest stride of the default pyramid.
    sizes = {name: recipe.get("patch_size") for name, recipe in recipes.items()}
    sizes = {name: size for name, size in sizes.items() if isinstance(size, list)}
    assert sizes
    assert [name for name, size in sizes.items() if math.prod(math.ceil(side / 16) for side in size) == 1] == []


@pytest.mark.parametrize("kind", ["pretrain", "segmentation"])
def test_logs_go_where_monai_lets_them(kind):
    settings = configparser.RawConfigParser()
    settings.read(ROOT / kind / "configs" / "logging.conf", encoding="utf-8")
    arguments = [settings[section]["args"] for section in settings.sections() if "args" in settings[section]]
    assert arguments and all(re.fullmatch(r"\(sys\.std(out|err),\)", text) for text in arguments)


@pytest.mark.parametrize("kind", ["pretrain", "segmentation"])
def test_the_version_is_in_the_changelog_and_the_apps_are_an_object(kind):
    metadata = json.loads((ROOT / kind / "configs" / "metadata.json").read_text(encoding="utf-8"))
    assert metadata["version"] in metadata["changelog"]
    assert isinstance(metadata.get("supported_apps", {}), dict)


@pytest.mark.parametrize("kind", ["pretrain", "segmentation"])
def test_results_are_written_in_a_format_that_slicer_opens(kind):
    config = ConfigParser.load_config_file(str(ROOT / kind / "configs" / "inference.yaml"))
    assert config["output_ext"] in (".nii.gz", ".nrrd")
