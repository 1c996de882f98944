"""Every recipe of the source bundles trains for two steps and has the sizes of its paper."""

import json

import pytest
import torch
from monai.bundle import ConfigParser

from medssl.networks.heads import LinearHead, NonLinearHead
from medssl.packaging.sources import source_bundles
from medssl.workflows.recipes import with_bases
from medssl.workflows.training import pretrain, train_segmentation
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION, arguments, start

ROOT = source_bundles()
ABLATIONS = sorted(path.stem for path in (ROOT / "pretrain/configs/ablation").glob("*.yaml"))
PRETRAINING_RECIPES = [
    ("kats", [], ["ct"]),
    ("vox2vec", [], ["ct"]),
    *(("kats", [name], ["ct"]) for name in ABLATIONS),
    ("kats", ["kats_reference"], ["ct", "ct_reference"]),
    ("kats", [], ["mr"]),
    ("kats", [], ["mr", "mr_percentiles"]),
    ("kats", ["kats_reference"], ["mr", "mr_reference"]),
]
SEGMENTATION_RECIPES = [
    ("linear_probe", ["paper_probe"]),
    ("linear_probe", ["cached_probe"]),
    ("fine_tune", []),
    ("from_scratch", []),
    ("fine_tune", ["fine_tune_reference"]),
    ("fine_tune", ["pix2rep_fine_tune"]),
    ("fine_tune", ["paper_fine_tune"]),
    ("from_scratch", ["paper_from_scratch"]),
]


def parsed(*files, **settings):
    parser = ConfigParser(ConfigParser.load_config_files([str(path) for path in with_bases([ROOT / f for f in files])]))
    parser.update(settings)
    return parser


def num_parameters(module):
    return sum(p.numel() for p in module.parameters())


def require_run(folder, weights):
    """Check that a folder holds a finished run of two steps."""
    state = torch.load(folder / weights, weights_only=True)
    assert all(torch.isfinite(value.float()).all() for value in state.values())
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["steps_per_epoch"] == 2
    record = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert record["finished"] >= record["started"]
    assert record["steps"] == 2
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["step=0000002.pt", "step=0000002.pt.sha256"]
    assert any((folder / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(("method", "layers", "data"), PRETRAINING_RECIPES)
def test_pretraining_recipe_trains(method, layers, data, ct_list, mr_list, tmp_path):
    datalist = mr_list if "mr" in data else ct_list
    weights = pretrain(method, datalist, data, tmp_path / "run", layers=layers, overrides=PRETRAINING)
    require_run(tmp_path / "run", "backbone.pt")
    assert weights == tmp_path / "run" / "backbone.pt"


@pytest.mark.parametrize(("setting", "layers"), SEGMENTATION_RECIPES)
def test_segmentation_recipe_trains(setting, layers, ct_list, pretrained, tmp_path):
    backbone = None if setting == "from_scratch" else pretrained
    # Unfreezing happens within the two steps.
    schedule = {"frozen_steps": 1} if setting == "fine_tune" and layers else {}
    network = NETWORK if backbone is None else {}
    overrides = {**SEGMENTATION, **schedule, **network}
    train_segmentation(
        setting, ct_list, ["ct"], tmp_path / "run", backbone=backbone, num_labels=1, layers=layers, overrides=overrides
    )
    require_run(tmp_path / "run", "model.pt")


def test_fine_tuning_of_pix2rep_trains_both_parts_from_the_first_step_at_two_rates(ct_list, pretrained, tmp_path):
    layers = ["pix2rep_fine_tune"]
    train_segmentation(
        "fine_tune",
        ct_list,
        ["ct"],
        tmp_path / "run",
        backbone=pretrained,
        num_labels=1,
        layers=layers,
        overrides=SEGMENTATION,
    )
    state = torch.load(tmp_path / "run/checkpoints/step=0000002.pt", weights_only=True)
    assert {group["name"]: group["lr"] for group in state["optimizer"]["param_groups"]} == {
        "head": 0.01,
        "backbone": 5e-5,
    }
    steps = {int(values["step"]) for values in state["optimizer"]["state"].values()}
    assert steps == {2}


def moved(before, after):
    return [name for name, value in before.items() if not torch.equal(value, after[f"backbone.{name}"])]


def test_a_probe_does_not_change_the_backbone(pretrained, probed):
    before = torch.load(pretrained / "backbone.pt", weights_only=True)
    assert moved(before, torch.load(probed / "model.pt", weights_only=True)) == []


def test_the_papers_fine_tuning_changes_the_pretrained_backbone_once_it_is_unfrozen(ct_list, pretrained, tmp_path):
    before = torch.load(pretrained / "backbone.pt", weights_only=True)
    for name, frozen_steps in (("frozen", 2), ("unfrozen", 1)):
        overrides = {**SEGMENTATION, "frozen_steps": frozen_steps}
        weights = train_segmentation(
            "fine_tune",
            ct_list,
            ["ct"],
            tmp_path / name,
            backbone=pretrained,
            num_labels=1,
            layers=["paper_fine_tune"],
            overrides=overrides,
        )
        changed = moved(before, torch.load(weights, weights_only=True))
        assert bool(changed) == (name == "unfrozen")


@pytest.mark.parametrize("network", ["dynunet", "segresnet", "basic_unet"])
@pytest.mark.parametrize("data", ["ct", "image_2d"])
def test_stock_networks_of_monai_give_one_logit_a_class(network, data):
    names = [f"segmentation/configs/{name}.yaml" for name in ("train", "from_scratch", network)]
    parser = parsed(*names, f"data/{data}.yaml", num_classes=3)
    size = (32, 32, 32)[: parser["spatial_dims"]]
    logits = parser.get_parsed_content("network_def")(torch.zeros(2, 1, *size))
    assert logits.shape == (2, 3, *size)


@pytest.mark.parametrize("data", ["ct", "mr", "image_2d", "mr_slices", "ct_slices"])
def test_every_augmentation_of_supervised_training_keeps_the_shape(data):
    names = [f"segmentation/configs/{name}.yaml" for name in ("train", "from_scratch")]
    parser = parsed(*names, f"data/{data}.yaml", num_classes=3, class_names={"1": "liver"})
    size = (24, 24, 16)[: parser["spatial_dims"]]
    drawn = parser.get_parsed_content("augmentation")
    assert len(drawn) >= 8
    for transform in drawn:
        for random in (transform, *vars(transform).values()):
            if hasattr(random, "prob"):
                random.prob = 1.0
        sample = transform({"image": torch.rand(1, *size), "label": torch.ones(1, *size)})
        assert sample["image"].shape == sample["label"].shape == (1, *size)


def test_a_stock_network_trains_from_scratch_as_any_other(ct_list, tmp_path):
    overrides = {**SEGMENTATION, "patch_size": [16, 16, 16]}
    train_segmentation(
        "from_scratch", ct_list, ["ct"], tmp_path / "run", num_labels=1, layers=["segresnet"], overrides=overrides
    )
    require_run(tmp_path / "run", "model.pt")


def test_the_weights_that_are_kept_are_the_averaged_ones(ct_list, pretrained, tmp_path):
    weights = train_segmentation(
        "fine_tune", ct_list, ["ct"], tmp_path / "run", backbone=pretrained, num_labels=1, overrides=SEGMENTATION
    )
    state = torch.load(tmp_path / "run/checkpoints/step=0000002.pt", weights_only=True)
    kept = torch.load(weights, weights_only=True)
    assert all(torch.equal(value, state["average"][f"module.{name}"]) for name, value in kept.items())
    assert any(not torch.equal(value, state["network"][name]) for name, value in kept.items())


def test_images_are_mirrored_left_to_right_only_where_no_class_has_a_side():
    names = [f"segmentation/configs/{name}.yaml" for name in ("train", "from_scratch")]
    for classes, axes in (({"1": "liver"}, [0, 1, 2]), ({"1": "left kidney"}, [1, 2])):
        parser = parsed(*names, num_classes=1, class_names=classes)
        transforms = parser.get_parsed_content("augmentation")
        assert [t.flipper.spatial_axis for t in transforms if type(t).__name__ == "RandFlipd"] == axes


def test_kats_has_the_size_of_its_paper():
    network = parsed("pretrain/configs/train.yaml", "pretrain/configs/methods/kats.yaml").get_parsed_content(
        "network_def"
    )
    assert num_parameters(network.backbone) == 47_567_872
    assert num_parameters(network.projections) == 31_776


def test_vox2vec_has_the_size_of_its_paper():
    files = ("pretrain/configs/train.yaml", "pretrain/configs/methods/vox2vec.yaml")
    assert num_parameters(parsed(*files).get_parsed_content("network_def")) == 47_624_448


@pytest.mark.parametrize("layer", [name for name in ABLATIONS if name != "kats_reference"])
def test_ablation_rows_without_balance_have_the_network_of_vox2vec(layer):
    files = ("train.yaml", "methods/kats.yaml", f"ablation/{layer}.yaml")
    parser = parsed(*(f"pretrain/configs/{file}" for file in files))
    assert num_parameters(parser.get_parsed_content("network_def")) == 47_624_448


def test_reference_keeps_the_projections_random_and_restores_with_one_convolution():
    files = ("train.yaml", "methods/kats.yaml", "ablation/kats_reference.yaml")
    method = parsed(*(f"pretrain/configs/{file}" for file in files), base_channels=4).get_parsed_content("method_def")
    assert not any(p.requires_grad for p in method.projections.parameters())
    assert isinstance(method.restoration_head, torch.nn.Conv3d)
    assert method.restoration_head.kernel_size == (1, 1, 1)


@pytest.mark.parametrize(
    ("files", "head"),
    [
        (["linear_probe"], LinearHead),
        (["fine_tune"], NonLinearHead),
        (["from_scratch"], NonLinearHead),
        (["fine_tune", "fine_tune_reference"], LinearHead),
    ],
)
def test_each_setting_has_its_head(files, head):
    names = [f"segmentation/configs/{name}.yaml" for name in ("train", *files)]
    parser = parsed(*names, num_classes=3, **NETWORK)
    assert type(parser.get_parsed_content("network_def").head) is head


@pytest.mark.slow
@pytest.mark.parametrize("bundle", ["pretrain", "segmentation"])
def test_the_command_at_the_top_of_a_recipe_works(bundle, ct_list, pretrained, probed, tmp_path):
    settings = {"datalist": ct_list, "output_dir": tmp_path / "run", "bundle_root": "."}
    if bundle == "pretrain":
        method, tiny, by_medssl = "configs/methods/kats.yaml", PRETRAINING, pretrained / "backbone.pt"
    else:
        method, tiny, by_medssl = "configs/linear_probe.yaml", {**SEGMENTATION, **NETWORK}, probed / "model.pt"
        settings |= {"backbone_weights": pretrained / "backbone.pt", "num_classes": 9, "num_labels": 1}
    files = ["configs/train.yaml", method, "../data/ct.yaml"]
    command = ["run", "--config_file", str(files), *arguments({**settings, **tiny})]
    process = start(*command, cwd=ROOT / bundle, module="monai.bundle")
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    trained = torch.load(tmp_path / "run" / by_medssl.name, weights_only=True)
    torch.testing.assert_close(trained, torch.load(by_medssl, weights_only=True))
