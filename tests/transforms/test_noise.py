import numpy as np
import pytest
import torch

from medssl.transforms.noise import RandClippedNoised


def test_noise_is_gaussian_up_to_the_limit():
    image = torch.full((1, 60, 60, 60), 3.0)
    noise = RandClippedNoised("image", std=0.1, limit=0.2).set_random_state(seed=1)({"image": image})["image"] - image
    assert noise.abs().max() <= 0.2 + 1e-6
    inside = np.sort(noise[noise.abs() < 0.199].numpy())
    expected = np.clip(np.random.default_rng(0).normal(0, 0.1, noise.numel()), -0.2, 0.2)
    expected = np.sort(expected[np.abs(expected) < 0.199])
    quantiles = np.linspace(0.01, 0.99, 50)
    np.testing.assert_allclose(np.quantile(inside, quantiles), np.quantile(expected, quantiles), atol=3e-3)


def test_the_seed_decides_the_noise_and_every_key_has_its_own():
    sample = {"a": torch.zeros(1, 4, 4), "b": torch.zeros(1, 4, 4)}
    first, again = (RandClippedNoised(["a", "b"]).set_random_state(seed=3)(sample) for _ in range(2))
    assert torch.equal(first["a"], again["a"])
    assert not torch.equal(first["a"], first["b"])
    assert sample["a"].abs().max() == 0


def test_a_negative_std_is_refused():
    with pytest.raises(ValueError, match=r"at least 0, got -0\.1"):
        RandClippedNoised("image", std=-0.1)
