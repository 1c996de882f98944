import numpy as np
import pytest

from medssl.advice.measures import StructureMeasures
from medssl.advice.rules import (
    DIVISORS,
    Scans,
    advised_levels,
    advised_patch,
    advised_spacing,
    advised_weights,
    advised_window,
    window_divisor,
)

ABDOMEN = Scans((0.8, 0.8, 3.0), (400.0, 400.0, 300.0))


def measures(thickness, share=0.1, longest=None):
    return StructureMeasures(1.0, (longest or thickness, thickness, thickness), thickness, share, 1.0)


def test_scans_of_thin_structures_keep_their_voxels():
    scans = Scans((1.0, 1.0, 1.0), (35.0, 50.0, 36.0))
    found = advised_spacing({"anterior": measures(8.0), "posterior": measures(5.0)}, scans)
    assert found.value == [1.0, 1.0, 1.0]
    assert "posterior (5 mm), is 5.0 voxels thick." in found.reason


@pytest.mark.parametrize(("thickness", "spacing"), [(24.0, [3.0, 3.0, 7.7]), (80.0, [3.75, 3.75, 7.7])])
def test_thick_structures_get_larger_voxels_as_long_as_a_scan_has_enough(thickness, spacing):
    found = advised_spacing({"liver": measures(thickness)}, Scans((1.6, 1.6, 7.7), (320.0, 320.0, 240.0)))
    assert found.value == spacing
    assert found.reason.startswith("larger than 1.6 x 1.6 x 7.7, for context; ")


def test_the_largest_voxels_that_are_advised_do_not_cost_a_level():
    scans, organ = Scans((1.0, 1.0, 1.0), (300.0, 300.0, 238.7)), {"liver": measures(80.0)}
    assert advised_levels(organ, scans, advised_spacing(organ, scans).value).value == 5


def test_the_thinnest_structure_decides_the_spacing():
    both = {"liver": measures(80.0), "vein": measures(16.0)}
    assert advised_spacing(both, Scans((1.0, 1.0, 1.0), (140.0, 140.0, 140.0))).value == [2.0, 2.0, 2.0]


def test_large_scans_get_larger_voxels_that_are_nearer_to_cubes():
    spacing = np.array(advised_spacing({"vein": measures(8.0)}, ABDOMEN).value)
    assert spacing[2] == 3.0 and spacing[0] == spacing[1] > 2
    voxels = np.prod(np.array(ABDOMEN.extent) / spacing)
    assert voxels == pytest.approx(3e6, rel=0.01)


def test_voxels_too_large_for_a_structure_are_said():
    reason = advised_spacing({"liver": measures(90.0), "adrenal gland": measures(4.0)}, ABDOMEN).reason
    assert "adrenal gland (4 mm), is 1.7 voxels thick, fewer than the 4" in reason


@pytest.mark.parametrize(
    ("thickness", "side", "levels"), [(1.0, 256, 4), (7.0, 256, 4), (8.0, 256, 5), (70.0, 256, 5), (9.0, 35, 3)]
)
@pytest.mark.parametrize("unit", [1.0, 0.2])
def test_thick_structures_get_more_levels_and_small_scans_fewer(thickness, side, levels, unit):
    scans = Scans((unit, unit, 4 * unit), (300 * unit, 300 * unit, side * unit))
    structures = {"thick": measures(thickness * unit), "thin": measures(unit)}
    assert advised_levels(structures, scans, scans.spacing).value == levels


def test_a_patch_is_as_long_along_every_axis_and_no_longer_than_a_scan():
    one = {"liver": measures(90.0, longest=200.0)}
    patch = np.array(advised_patch(one, ABDOMEN, (2.0, 2.0, 4.0)).value)
    assert patch.tolist() == [56, 56, 32] and not (patch % 8).any()
    flat = advised_patch(one, Scans((1.0, 1.0, 1.0), (300.0, 300.0, 20.0)), (1.0, 1.0, 1.0))
    assert flat.value[2] == 24
    assert "liver, is 200 mm long" in flat.reason


# Lines such as faults; regions; what is thin but everywhere; what is rare but compact.
@pytest.mark.parametrize(("thickness", "share", "divisor"), [(4, 0.02, 8), (60, 0.3, 2), (3, 0.24, 2), (12, 0.02, 2)])
def test_windows_are_small_for_thin_and_rare_structures_and_large_for_others(thickness, share, divisor):
    assert window_divisor(measures(thickness, share), side=256.0) == divisor


def test_most_structures_decide_the_window_and_a_tie_the_larger_one():
    scans = Scans((1.0, 1.0), (256.0, 300.0), "px")
    fault, region = measures(4.0, 0.02), measures(60.0, 0.3)
    assert advised_window({"a": fault, "b": fault, "c": region}, scans).value == 8
    tie = advised_window({"a": fault, "c": region}, scans)
    assert tie.value == 2
    assert tie.reason == "L is 256 px; 1 of 2 structures ask for L/2; a asks for L/8."


def test_weights_of_windows_are_half_even_and_half_by_the_structures():
    scans = Scans((1.0, 1.0), (256.0, 256.0))
    found = advised_weights({"a": measures(4.0, 0.02), "b": measures(60.0, 0.3)}, scans).value
    assert found == pytest.approx([1 / 6 + 1 / 4, 1 / 6, 1 / 6 + 1 / 4], abs=1e-3)
    assert len(found) == len(DIVISORS)
