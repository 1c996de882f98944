import torch
from monai.transforms import Compose, RandGaussianNoise, RandScaleIntensity

from medssl.transforms.views import PerViewd


def views():
    return {"view_1": torch.ones(1, 4, 4), "view_2": torch.ones(1, 4, 4), "case": "a"}


def test_every_view_draws_its_own_values():
    result = PerViewd(["view_1", "view_2"], [RandScaleIntensity(0.5, prob=1.0)]).set_random_state(seed=0)(views())
    assert not torch.equal(result["view_1"], result["view_2"])
    assert result["case"] == "a"


def test_a_seed_replays_within_a_compose():
    augment = Compose(
        [PerViewd(["view_1", "view_2"], [RandScaleIntensity(0.5, prob=1.0), RandGaussianNoise(prob=1.0)])]
    )
    first, again = (augment.set_random_state(seed=3)(views()) for _ in range(2))
    other = augment.set_random_state(seed=4)(views())
    for key in ("view_1", "view_2"):
        assert torch.equal(first[key], again[key])
        assert not torch.equal(first[key], other[key])


def test_the_input_stays_as_it_is():
    before = views()
    PerViewd("view_1", [RandScaleIntensity(0.5, prob=1.0)])(before)
    assert torch.equal(before["view_1"], torch.ones(1, 4, 4))
