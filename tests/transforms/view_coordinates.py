"""Images that hold their own coordinates, to see where a view lies."""

import numpy as np
import torch

KEYS = ["view_1", "view_2"]


def coordinates(shape: tuple[int, ...]) -> torch.Tensor:
    """An image whose channels are the indices of its voxels."""
    return torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))


def predicted(affine: torch.Tensor, size: tuple[int, ...]) -> torch.Tensor:
    """What a view of an image of coordinates holds, from its affine and the definition."""
    d = len(size)
    places = np.einsum("ij,j...->i...", affine[:, :d].double().numpy(), coordinates(size).double().numpy())
    return torch.from_numpy(places + affine[:, d].double().numpy().reshape(d, *[1] * d)).float()


def assert_in_place(sample: dict, shape: tuple[int, ...], keys=KEYS) -> None:
    for key in keys:
        view = sample[key]
        expected = predicted(sample[key.replace("view", "affine")], view.shape[1:])
        # Where a view is magnified, its outermost voxels lie beyond the centres of the outermost voxels of the box.
        inside = (slice(None), *(slice(n // 4, n - n // 4) for n in view.shape[1:]))
        torch.testing.assert_close(view[inside], expected[inside], atol=1e-4, rtol=0)
        assert (expected >= -0.5 - 1e-4).all()
        assert all((expected[i] <= n - 0.5 + 1e-4).all() for i, n in enumerate(shape))
