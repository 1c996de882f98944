import pytest

from medssl.workflows import presets
from medssl.workflows.presets import preset_names, pretraining_seconds, said_of_time
from medssl.workflows.recipes import find_recipe, merge

RECIPE = [
    find_recipe("pretrain/configs", "train"),
    find_recipe("pretrain/configs/methods", "kats"),
    *(find_recipe("data", name) for name in ("ct", "phantom")),
]
TINY = {"base_channels": 4, "num_levels": 2, "patch_size": [16, 16, 16]}


MEASURED = ", measured just now; less once other work on this machine ends"


@pytest.fixture
def seconds(monkeypatch):
    """A machine on which a step of the pretraining takes as many seconds as it has pairs."""
    monkeypatch.setattr(
        presets, "pretraining_seconds", lambda config: presets._steps(config) * config["pairs_per_batch"]
    )


def test_a_long_pretraining_offers_the_presets_with_their_times(seconds):
    said = said_of_time(RECIPE, {}, None)
    assert said.startswith(f"50,000 steps take about 6 days here{MEASURED}.")
    assert "--preset small: 1,000 steps, about 67 min" in said


def test_a_chosen_preset_or_a_short_pretraining_offers_none(seconds):
    small = [*RECIPE, find_recipe(presets.PRESETS, "small")]
    assert said_of_time(small, {}, "small") == f"1,000 steps take about 67 min here{MEASURED}."
    assert said_of_time(RECIPE, {"max_epochs": 1}, None) == f"100 steps take about 17 min here{MEASURED}."


def test_the_time_follows_steps_pairs_and_voxels(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(presets.time, "monotonic", lambda: float(next(clock)))
    config = merge(RECIPE, {}, {**TINY, "max_epochs": 2, "steps_per_epoch": 5, "pairs_per_batch": 3})
    assert pretraining_seconds(config) == pytest.approx(2 * 5 * 3)
    larger = {**config, "patch_size": [64, 32, 32]}
    assert pretraining_seconds(larger) == pytest.approx(2 * 5 * 3 * 2)


@pytest.mark.parametrize("name", preset_names())
def test_presets_set_what_recipes_have(name):
    config = merge(RECIPE, {})
    assert set(merge([find_recipe(presets.PRESETS, name)], {})) <= set(config)
