import itertools
import math

import pytest
from monai.data.utils import dense_patch_slices
from monai.inferers.utils import _get_scan_interval

from medssl.ops.windows import VOXELS_AT_ONCE, plan_windows

PAPER_VOLUME, PAPER_PATCH = (326, 245, 250), (128, 128, 32)


def starts(shape, plan):
    """Give the sorted starts of MONAI's windows along each axis."""
    padded = tuple(map(max, shape, plan.roi_size))
    interval = _get_scan_interval(padded, plan.roi_size, len(shape), plan.overlap)
    slices = dense_patch_slices(padded, plan.roi_size, interval)
    assert len(slices) == plan.num_windows
    return [sorted({window[axis].start for window in slices}) for axis in range(len(shape))]


def test_a_lower_overlap_takes_fewer_windows():
    counts = [plan_windows(PAPER_VOLUME, PAPER_PATCH, overlap).num_windows for overlap in (0.5, 0.25, 0.2)]
    assert counts == [225, 132, 90]


@pytest.mark.parametrize("overlap", [0.0, 0.2, 0.25, 0.5])
@pytest.mark.parametrize(
    ("shape", "patch"), [(PAPER_VOLUME, PAPER_PATCH), ((33, 53, 28), (24, 32, 24)), ((99,), (10,))]
)
def test_monai_takes_the_planned_windows_and_they_overlap_evenly(shape, patch, overlap):
    plan = plan_windows(shape, patch, overlap)
    for axis, found in enumerate(starts(shape, plan)):
        steps = [after - before for before, after in itertools.pairwise(found)]
        assert all(step <= patch[axis] * (1 - overlap) for step in steps)
        # Steps are rounded up, so that the last can be shorter by one voxel per step.
        assert not steps or max(steps) - min(steps) <= len(steps)


def test_a_volume_within_the_patch_is_one_window():
    plan = plan_windows((20, 8), (32, 8))
    assert (plan.num_windows, plan.roi_size) == (1, (32, 8))


def test_windows_grow_where_that_computes_less():
    grown = plan_windows(PAPER_VOLUME, PAPER_PATCH, stride=16, max_voxels=2**22)
    assert grown.computed_voxels < 0.6 * plan_windows(PAPER_VOLUME, PAPER_PATCH).computed_voxels
    assert all(size % 16 == 0 for size in grown.roi_size)


def test_without_a_limit_a_forward_pass_has_at_most_four_million_voxels_or_one_patch():
    grown = plan_windows(PAPER_VOLUME, PAPER_PATCH, stride=16, sw_batch_size=4)
    assert math.prod(grown.roi_size) * grown.sw_batch_size <= VOXELS_AT_ONCE
    assert plan_windows(PAPER_VOLUME, (256, 256, 128)).roi_size == (256, 256, 128)


def test_windows_do_not_grow_where_a_patch_holds_two_coarsest_cells():
    assert plan_windows(PAPER_VOLUME, PAPER_PATCH, stride=16).roi_size[2] == 32
    assert plan_windows(PAPER_VOLUME, (32, 32, 32), stride=16).roi_size == (32, 32, 32)


def test_windows_grow_to_at_most_twice_the_patch_unless_more_is_allowed():
    assert max(plan_windows((500, 500), (32, 32), stride=8).roi_size) <= 64
    assert plan_windows((500, 500), (32, 32), stride=8, largest_growth=math.inf).roi_size == (504, 504)


def test_windows_do_not_grow_beyond_the_volume():
    plan = plan_windows((30, 20), (24, 24), stride=8)
    assert (plan.roi_size, plan.num_windows) == ((32, 24), 1)


def test_windows_and_batches_stay_within_the_limit():
    limit = 2 * math.prod(PAPER_PATCH)
    plan = plan_windows(PAPER_VOLUME, PAPER_PATCH, stride=16, max_voxels=limit, sw_batch_size=8)
    assert plan.sw_batch_size * math.prod(plan.roi_size) <= limit
    assert plan_windows(PAPER_VOLUME, PAPER_PATCH, max_voxels=limit, sw_batch_size=8).sw_batch_size == 2


def test_a_patch_beyond_the_limit_is_refused():
    with pytest.raises(ValueError, match=r"A window of \[8, 8\] has more than 63 voxels"):
        plan_windows((20, 20), (8, 8), max_voxels=63)
