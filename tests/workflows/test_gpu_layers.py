"""The settings of a training where there is a GPU, read from the resolved configuration."""

import pytest
from monai.bundle import ConfigParser

from medssl.engines.loading import num_workers_for_gpu
from medssl.workflows.recipes import find_recipe, merge
from medssl.workflows.running import gpu_layers


def merged(folder, method, overrides, has_gpu=True, layers=()):
    files = [find_recipe(f"{folder}/configs", "train"), find_recipe(f"{folder}/configs", *method), *layers]
    config = merge([*files, find_recipe("data", "ct")], {}, overrides)
    return merge([*files, find_recipe("data", "ct"), *gpu_layers(config, overrides, has_gpu)], {}, overrides)


def pretraining(overrides, method="kats", **options):
    return merged("pretrain", (method, "pretrain/configs/methods"), overrides, **options)


def loader(config):
    keys = ("pin_memory", "persistent_workers", "prefetch_factor")
    number = ConfigParser(config).get_parsed_content("num_workers")
    return [number, *(config["train"]["dataloader"].get(key) for key in keys)]


def test_the_default_recipe_is_ready_for_a_gpu():
    config = pretraining({})
    assert loader(config) == [num_workers_for_gpu(), True, True, 2]
    trainer = config["train"]["trainer"]
    assert (trainer["non_blocking"], trainer["optim_set_to_none"]) == (True, True)
    assert config["train"]["optimizer"]["fused"] is True
    assert [step["_target_"] for step in config["initialize"]] == [
        "monai.utils.set_determinism",
        "medssl.runs.folder.claim_run_folder",
        "medssl.speed.gpu.tune_gpu",
    ]
    assert ConfigParser(config).get_parsed_content("initialize::2::deterministic", instantiate=False) is False


def test_the_number_of_workers_of_the_user_stays():
    assert loader(pretraining({"num_workers": 3})) == [3, True, True, 2]
    assert loader(pretraining({"num_workers": 0})) == [0, True, None, None]


def test_an_optimizer_that_can_not_be_fused_stays():
    assert "fused" not in pretraining({}, method="simclr")["train"]["optimizer"]


def test_fine_tuning_is_ready_too():
    config = merged("segmentation", ("fine_tune",), {"num_classes": 2})
    assert loader(config) == [num_workers_for_gpu(), True, True, 2]
    assert config["train"]["trainer"]["non_blocking"] is True


@pytest.mark.parametrize(("overrides", "has_gpu"), [({}, False), ({"device": "$torch.device('cpu')"}, True)])
def test_on_a_cpu_nothing_changes(overrides, has_gpu):
    assert pretraining(overrides, has_gpu=has_gpu) == merge(FILES, {}, overrides)


FILES = [
    find_recipe("pretrain/configs", "train"),
    find_recipe("pretrain/configs/methods", "kats"),
    find_recipe("data", "ct"),
]


@pytest.mark.parametrize(("cores", "ranks", "number"), [(2, 1, 1), (1, 1, 1), (3, 1, 2), (16, 1, 4), (16, 4, 3)])
def test_workers_leave_a_core_and_share_the_cores_of_the_machine(cores, ranks, number, monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(cores)))
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    assert num_workers_for_gpu() == number
