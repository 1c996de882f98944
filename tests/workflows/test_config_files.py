import pytest
from monai.bundle import ConfigParser

from medssl.packaging.sources import source_bundles
from medssl.workflows.config_files import change_setting, has_setting, merge_files, read_config_file, setting
from medssl.workflows.recipes import find_recipe, with_bases


def of_folder(folder):
    return [find_recipe(folder, path.stem) for path in sorted((source_bundles() / folder).glob("*.yaml"))]


@pytest.mark.parametrize(
    ("first", "folder"),
    [
        (["pretrain/configs/train"], "pretrain/configs/methods"),
        (["pretrain/configs/train", "pretrain/configs/methods/kats"], "pretrain/configs/ablation"),
        (["segmentation/configs/train", "segmentation/configs/from_scratch"], "networks"),
        (["segmentation/configs/train", "data/ct"], "data"),
    ],
)
def test_recipes_are_read_and_merged_as_by_monai(first, folder):
    base = [find_recipe(*name.rsplit("/", 1)) for name in first]
    for path in of_folder(folder):
        files = with_bases([*base, path])
        assert merge_files(files) == ConfigParser.load_config_files([str(file) for file in files])


def test_json_yaml_additions_nested_keys_and_anchors_are_merged_as_by_monai(tmp_path):
    first, second, third = (tmp_path / name for name in ("first.json", "second.yaml", "third.yml"))
    first.write_text('{"sizes": {"a": 1}, "names": ["x"], "train": {"steps": [{"rate": 1e-3}]}}')
    second.write_text("+sizes: {b: 2}\n+names: [y]\ntrain::steps::0::rate: 2.5e-1\ntrain#epochs: 3\n")
    third.write_text("base: &base {a: 1, b: [on, 010, ~]}\nother: *base\n")
    files = [first, second, third]
    assert merge_files(files) == ConfigParser.load_config_files([str(path) for path in files])


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("twice.yaml", "a: 1\nb: {c: 1, c: 2}\n", "'c' appears twice"),
        ("twice.json", '{"a": 1, "a": 2}', "'a' appears twice"),
        ("broken.yaml", "a: [1\n", "cannot be read"),
        ("list.yaml", "- 1\n", "must hold settings"),
        ("object.yaml", "a: !!python/object/apply:os.getcwd []\n", "cannot be read"),
    ],
)
def test_a_file_that_is_no_configuration_is_named(name, text, words, tmp_path):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ValueError, match=f"{name}.*{words}"):
        read_config_file(path)


def test_what_can_not_be_added_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("a: 1\n+a: [2]\n")
    with pytest.raises(ValueError, match=r"mine\.yaml: \+a"):
        merge_files([path])


def test_a_warning_tells_of_an_addition_to_what_is_not_there(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("+handlers: [1]\n")
    with pytest.warns(UserWarning, match=r"mine\.yaml: 'handlers' of \+handlers is not in"):
        assert merge_files([path]) == {"handlers": [1]}


def test_a_file_for_other_recipes_is_named(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("head_def::size: 1\n")
    with pytest.raises(ValueError, match=r"mine\.yaml sets 'head_def::size'"):
        merge_files([path])


def test_a_part_is_found_changed_and_missed_by_its_name():
    config = {"train": {"steps": [1, 2]}}
    change_setting(config, "train::steps::1", 3)
    change_setting(config, "train#new", {})
    assert (setting(config, "train#steps#1"), setting(config, "train::new")) == (3, {})
    for name in ("test", "train::steps::5", "train::steps::first", "train::steps::0::a"):
        assert not has_setting(config, name)
    for name in ("test::new", "train::steps::0::new", "train::steps::9"):
        with pytest.raises(KeyError):
            change_setting(config, name, 1)
