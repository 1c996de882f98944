import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from medssl.transforms.intensity import (
    RandBezierIntensityd,
    RandBlurOrSharpend,
    RandIntensityWindowd,
    bezier_table,
)


def ramp() -> torch.Tensor:
    return torch.linspace(0, 1, 4096).reshape(1, 64, 64)


def noise(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).random(shape, dtype=np.float32))


def test_bezier_map_grows_and_keeps_0_and_1():
    for controls in np.random.default_rng(0).random((10, 2, 2)):
        table = bezier_table(controls)
        assert table[0] == 0 and table[-1] == 1
        assert (np.diff(table) >= 0).all()


def test_points_of_the_bezier_curve_lie_on_the_map():
    controls = np.array([[0.2, 0.7], [0.5, 0.1]])
    table = bezier_table(controls)
    points = np.array([[0.0, 0.0], *controls, [1.0, 1.0]])
    for t in (0.1, 0.35, 0.5, 0.9):
        while len(points) > 1:  # de Casteljau
            points = (1 - t) * points[:-1] + t * points[1:]
        x, y = points[0]
        assert table[round(x * 4095)] == pytest.approx(y, abs=1e-3)
        points = np.array([[0.0, 0.0], *controls, [1.0, 1.0]])


def test_control_points_on_the_diagonal_change_nothing():
    table = bezier_table(np.array([[0.2, 0.2], [0.7, 0.7]]))
    np.testing.assert_allclose(table, np.linspace(0, 1, 4096), atol=1e-6)


@pytest.mark.parametrize("controls", [[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 1.0]]])
def test_extreme_control_points_give_a_growing_map(controls):
    assert (np.diff(bezier_table(np.array(controls))) >= 0).all()


@pytest.mark.parametrize("shape", [(2, 12, 10), (1, 12, 10, 6)])
def test_bezier_maps_equal_values_alike_and_keeps_their_order(shape):
    image = noise(shape)
    mapped = RandBezierIntensityd("view_1", prob=1).set_random_state(seed=0)({"view_1": image})["view_1"]
    assert mapped.shape == image.shape
    order = image.flatten().argsort()
    assert (mapped.flatten()[order].diff() >= 0).all()
    assert (mapped - image).abs().max() > 0.01


def test_bezier_rounds_to_the_nearest_level():
    bend, image = RandBezierIntensityd("view_1", prob=1).set_random_state(seed=0), noise((1, 40, 40))
    mapped = bend({"view_1": image})["view_1"].numpy()
    exact = np.interp(image.numpy(), np.linspace(0, 1, 4096), bend.table)
    assert np.abs(mapped - exact).max() <= 0.51 * np.diff(bend.table).max()


def test_bezier_clamps_what_lies_outside():
    image = torch.tensor([[-3.0, 0.0, 1.0, 1.7]])
    mapped = RandBezierIntensityd("view_1", prob=1).set_random_state(seed=0)({"view_1": image})["view_1"]
    assert mapped.tolist() == [[0, 0, 1, 1]]


def test_window_stretches_to_0_and_1():
    window = RandIntensityWindowd("view_1", prob=1, lower=(0.1, 0.1), upper=(0.6, 0.6)).set_random_state(seed=0)
    expected = torch.tensor([[0.0, 0.0, 0.5, 1.0, 1.0]])
    torch.testing.assert_close(window({"view_1": torch.tensor([[0.0, 0.1, 0.35, 0.6, 0.9]])})["view_1"], expected)


def test_default_windows_are_those_of_vox2vec_in_hounsfield_units():
    window = RandIntensityWindowd("view_1", prob=1).set_random_state(seed=0)
    ends = []
    for _ in range(500):
        window.randomize()
        ends.append(window.window)
    low, high = np.array(ends).T * 2350 - 1350
    assert low.min() == pytest.approx(-1350, abs=5) and low.max() == pytest.approx(-1000, abs=5)
    assert high.min() == pytest.approx(300, abs=5) and high.max() == pytest.approx(1000, abs=5)


def test_without_a_draw_the_window_is_0_to_1():
    window = RandIntensityWindowd("view_1", prob=0).set_random_state(seed=0)
    assert window({"view_1": torch.tensor([[-0.5, 0.25, 1.5]])})["view_1"].tolist() == [[0, 0.25, 1]]


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of the first two axes by dense matrices, mirrored at the borders."""
    for axis in (0, 1):
        n = image.shape[axis]
        radius = int(4 * sigma + 0.5)
        weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
        weights /= weights.sum()
        mirrored = np.pad(np.arange(n), radius, mode="symmetric")
        matrix = np.zeros((n, n))
        for row in range(n):
            np.add.at(matrix[row], mirrored[row : row + 2 * radius + 1], weights)
        image = np.moveaxis(np.tensordot(matrix, image, axes=(1, axis)), 0, axis)
    return image


@pytest.mark.parametrize("shape", [(20, 18), (20, 18, 4)])
def test_blur_and_sharpening_are_those_of_vox2vec(shape):
    image = noise((1, *shape))
    change = RandBlurOrSharpend("view_1", prob=1)
    kinds = set()
    for seed in range(8):
        changed = change.set_random_state(seed=seed)({"view_1": image})["view_1"]
        expected = blur(image[0].double().numpy(), change.sigma)
        if change.strength:
            assert 0.5 <= change.sigma <= 1 and 10 <= change.strength <= 30
            expected = expected + change.strength * (expected - blur(expected, 0.5))
        else:
            assert 0.25 <= change.sigma <= 1.5
        kinds.add(change.strength > 0)
        np.testing.assert_allclose(changed[0].numpy(), expected, atol=1e-4)
    assert kinds == {False, True}


def test_slices_are_filtered_one_by_one():
    image = torch.zeros(1, 9, 9, 5)
    image[0, 4, 4, 2] = 1
    changed = RandBlurOrSharpend("view_1", prob=1, blur_sigma=(1, 1)).set_random_state(seed=0)({"view_1": image})[
        "view_1"
    ]
    assert changed[..., 2].any() and not changed[..., 1].any() and not changed[..., 3].any()


def test_half_of_the_images_are_blurred_or_sharpened_half_of_them_blurred():
    change, image = RandBlurOrSharpend("view_1").set_random_state(seed=0), torch.zeros(1, 2, 2)
    kinds = []
    for _ in range(2000):
        change.randomize(image)
        kinds.append("kept" if not change._do_transform else "sharp" if change.strength else "blurred")
    assert kinds.count("kept") == pytest.approx(1000, abs=100)
    assert kinds.count("sharp") == pytest.approx(500, abs=80)


@pytest.mark.parametrize("make", [RandBezierIntensityd, RandIntensityWindowd, RandBlurOrSharpend])
class TestEvery:
    def test_views_are_augmented_differently(self, make):
        sample = make(["view_1", "view_2"], prob=1).set_random_state(seed=0)({"view_1": ramp(), "view_2": ramp()})
        assert not torch.equal(sample["view_1"], sample["view_2"])

    def test_a_seed_decides_everything(self, make):
        transform = make("view_1", prob=1)
        image = noise((1, 16, 16, 4))
        first, again, other = (transform.set_random_state(seed=s)({"view_1": image})["view_1"] for s in (5, 5, 6))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)

    def test_the_input_is_kept_and_the_output_is_plain_float32(self, make):
        image = MetaTensor(noise((1, 16, 16, 4)))
        before = image.clone()
        out = make("view_1", prob=1).set_random_state(seed=0)({"view_1": image, "clean_1": image})
        assert type(out["view_1"]) is torch.Tensor and out["view_1"].dtype == torch.float32
        assert out["clean_1"] is image and torch.equal(image, before)

    def test_each_view_is_changed_with_the_given_probability(self, make):
        transform = make(["view_1", "view_2"], prob=0.3).set_random_state(seed=0)
        image = noise((1, 4, 4))
        samples = [transform({"view_1": image, "view_2": image}) for _ in range(400)]
        changed = np.array([[not torch.equal(s[name], image) for name in ("view_1", "view_2")] for s in samples])
        assert changed.mean(axis=0) == pytest.approx([0.3, 0.3], abs=0.08)
        assert changed.all(axis=1).mean() == pytest.approx(0.09, abs=0.05)
