import numpy as np

from medssl.phantom.contrast import paint, random_means

LABELS = np.repeat(np.arange(8, dtype=np.uint8), 24 * 24 * 3).reshape(24, 24, 24)


def test_every_region_gets_its_mean():
    means = np.linspace(0, 1, 256).astype(np.float32)[::-1] * 4
    image = paint(np.random.default_rng(0), LABELS, means, np.zeros(LABELS.shape, np.float32))
    found = [image[label == LABELS].mean() for label in range(8)]
    np.testing.assert_allclose(found, means[:8], atol=0.35)


def test_regions_differ_in_their_texture():
    rng = np.random.default_rng(1)
    grain = rng.standard_normal(LABELS.shape, dtype=np.float32)
    image = paint(rng, LABELS, np.zeros(256, np.float32), grain)
    spread = np.array([image[label == LABELS].std() for label in range(1, 8)])
    assert spread.max() > 2 * spread.min() > 0
    # Air has none.
    assert image[LABELS == 0].std() == 0


def test_means_are_drawn_anew_and_some_tissues_share_one():
    means = [random_means(np.random.default_rng(seed)) for seed in range(40)]
    assert np.abs(np.corrcoef(means[0][1:], means[1][1:])[0, 1]) < 0.4
    values = [len(np.unique(mean.round(2))) for mean in means]
    assert min(values) < 60 < max(values)
    assert 0.5 < np.mean([mean[0] < 0 for mean in means]) < 1
