import json

import pytest
import yaml

from medssl.packaging.sources import source_bundles
from medssl.runs.folder import read_config
from medssl.workflows.recipes import find_recipe, merge, parse_overrides, with_bases


@pytest.mark.parametrize(
    ("arguments", "overrides"),
    [
        ([], {}),
        (["--max_epochs", "2"], {"max_epochs": 2}),
        (["--max_epochs=2"], {"max_epochs": 2}),
        (["--learning_rate", "1e-3"], {"learning_rate": 0.001}),
        (["--learning_rate=-2.5E+2"], {"learning_rate": -250.0}),
        (["--patch_size", "[16,16,8]"], {"patch_size": [16, 16, 8]}),
        (["--train::trainer::amp", "true"], {"train::trainer::amp": True}),
        (["--train#loss=null"], {"train::loss": None}),
        (["--device", "$torch.device('cpu')"], {"device": "$torch.device('cpu')"}),
        (["--cache_rate", "@seed", "--name", "a=b"], {"cache_rate": "@seed", "name": "a=b"}),
        (["--shift", "-1"], {"shift": -1}),
        (["--name", "1e3x"], {"name": "1e3x"}),
    ],
)
def test_overrides_are_read_as_yaml(arguments, overrides):
    assert parse_overrides(arguments) == overrides


@pytest.mark.parametrize("arguments", [["max_epochs", "2"], ["--max_epochs"], ["--a", "1", "2"]])
def test_what_is_no_override_is_named(arguments):
    with pytest.raises(ValueError, match="is not a setting; overrides look like --max_epochs 5"):
        parse_overrides(arguments)


def test_a_value_that_is_no_yaml_is_named():
    with pytest.raises(ValueError, match=r"'\[1,' is not valid YAML"):
        parse_overrides(["--patch_size", "[1,"])


def test_an_unknown_recipe_lists_what_there_is():
    with pytest.raises(FileNotFoundError, match=r"no recipe 'katz' in pretrain/configs/methods.*kats, .*vox2vec"):
        find_recipe("pretrain/configs/methods", "katz")


def test_recipes_that_only_change_another_one_are_listed_apart_with_what_they_change():
    with pytest.raises(FileNotFoundError, match=r"There are: ct, .*\. Only behind another one: .*ct_3mm \(after ct\)"):
        find_recipe("data", "none")


DATA = sorted(path.stem for path in (source_bundles() / "data").glob("*.yaml"))


@pytest.mark.parametrize("name", DATA)
def test_every_data_recipe_is_whole_or_says_behind_which_one_it_is(name):
    path = find_recipe("data", name)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    bases = content.get("after", [])
    assert bases or content["image_transforms"]
    for base in bases:
        with pytest.raises(ValueError, match=f"--data {base} --data {name}"):
            merge([path], {})
        with pytest.raises(ValueError, match=f"--data {base} --data {name}"):
            merge([path, find_recipe("data", base)], {})
        merged = merge([find_recipe("segmentation/configs", "train"), find_recipe("data", base), path], {})
        assert merged["image_transforms"] and "after" not in merged


def test_a_missing_recipe_file_is_named():
    with pytest.raises(FileNotFoundError, match=r"no recipe file mine\.yaml"):
        find_recipe("data", "mine.yaml")


def write_recipes(folder, **texts):
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    return [folder / f"{name}.yaml" for name in texts]


def test_what_a_recipe_extends_is_merged_before_it_and_the_key_is_gone(tmp_path):
    base, middle, own = write_recipes(
        tmp_path,
        base="{a: {x: 1, y: 1}, b: 1, c: 1}",
        middle="{extends: base.yaml, b: 2, c: 2}",
        own="{extends: [middle.yaml], c: 3, 'a::y': 3}",
    )
    assert with_bases([own]) == [base, middle, own]
    assert merge([own], {}) == {"a": {"x": 1, "y": 3}, "b": 2, "c": 3}


def test_a_base_that_is_already_there_is_not_merged_again(tmp_path):
    base, between, own = write_recipes(tmp_path, base="a: 1", between="a: 2", own="{extends: base.yaml, b: 3}")
    assert merge([base, between, own], {}) == {"a": 2, "b": 3}


def test_a_recipe_elsewhere_extends_one_of_the_bundle_by_name(tmp_path):
    (own,) = write_recipes(tmp_path, own="{extends: image_level, jitter: 0.1}")
    config = merge([find_recipe("pretrain/configs", "train"), own], {})
    assert config["jitter"] == 0.1 and config["blur"] == [0.1, 2.0]


def test_a_missing_base_is_named(tmp_path):
    (own,) = write_recipes(tmp_path, own="extends: image_levle")
    with pytest.raises(FileNotFoundError, match="no recipe 'image_levle'"):
        merge([own], {})


def test_recipes_that_extend_each_other_are_refused(tmp_path):
    first, _ = write_recipes(tmp_path, first="extends: second.yaml", second="extends: first.yaml")
    with pytest.raises(ValueError, match=r"first\.yaml extends itself; take it out of 'extends' in .*second\.yaml"):
        merge([first], {})


def test_a_recipe_can_be_a_file_of_the_user(tmp_path):
    (tmp_path / "mine.yaml").write_text("a: 1")
    assert find_recipe("data", str(tmp_path / "mine.yaml")) == tmp_path / "mine.yaml"


@pytest.fixture
def recipe(tmp_path):
    first = {"max_epochs": 1, "train": {"trainer": {"_target_": "SupervisedTrainer"}}, "steps": "@max_epochs"}
    paths = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for path, content in zip(paths, (first, {"max_epochs": 2, "extra": 3}), strict=True):
        path.write_text(yaml.safe_dump(content))
    return paths


def test_later_files_then_settings_then_overrides_win(recipe):
    assert merge(recipe, {})["max_epochs"] == 2
    assert merge(recipe, {"max_epochs": 3})["max_epochs"] == 3
    assert merge(recipe, {"max_epochs": 3}, {"max_epochs": 4})["max_epochs"] == 4


def test_overrides_reach_into_a_component_and_references_stay(recipe):
    merged = merge(recipe, {"name": "new"}, {"train::trainer::amp": True})
    assert merged["train"]["trainer"] == {"_target_": "SupervisedTrainer", "amp": True}
    assert (merged["steps"], merged["name"]) == ("@max_epochs", "new")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("max_epoch", r"no setting 'max_epoch'; did you mean --max_epochs\?"),
        ("nothing_like_it", r"no setting 'nothing_like_it'\."),
        ("train::trainr::amp", "no setting 'train::trainr'"),
    ],
)
def test_a_misspelt_override_is_an_error(recipe, key, message):
    with pytest.raises(ValueError, match=message):
        merge(recipe, {}, {key: 1})


def test_the_configuration_of_a_run_is_read(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"seed": 3}))
    assert read_config(tmp_path) == {"seed": 3}


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json"):
        read_config(tmp_path)
