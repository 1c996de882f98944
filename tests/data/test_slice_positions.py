"""Where a slice is in its scan, from the data list to the batch."""

import json

import pytest
import torch

from medssl.data.datalist import load_section, read_datalist, write_datalist
from medssl.transforms.aligned import RandAlignedPatchesd
from tests.slices import write_slices


@pytest.fixture(scope="module")
def slices(tmp_path_factory):
    return write_slices(tmp_path_factory.mktemp("slices"))


def changed(slices, folder, position):
    """A copy of the list with another position of its first training case, or none."""
    content = json.loads(slices.read_text(encoding="utf-8"))
    content["training"][0].pop("position")
    content["training"][0] |= {} if position is None else {"position": position}
    path = folder / "list.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_slices_of_a_scan_lie_evenly_from_0_to_1(slices):
    for case in load_section(slices, "training+unlabeled"):
        index = int(case["case"].rpartition("z")[2])
        assert float(case["position"]) == pytest.approx((index + 0.5) / 16, abs=1e-4)


def test_positions_are_written_as_they_were_read(slices, tmp_path):
    again = write_datalist(read_datalist(slices), tmp_path / "again.json")
    positions = [[case["position"] for case in load_section(path, "training")] for path in (slices, again)]
    assert positions[0] == positions[1]


def test_a_view_has_the_position_of_its_slice(slices):
    case = load_section(slices, "training")[3]
    pixels = {"image": torch.rand(1, 8, 8), "foreground": torch.ones(1, 8, 8)}
    position = RandAlignedPatchesd((8, 8))({**case, **pixels})["position"]
    assert position[-1].item() == pytest.approx(float(case["position"]))


def test_where_one_case_has_none_no_batch_has_them(slices, tmp_path):
    cases = load_section(changed(slices, tmp_path, None), "training")
    assert not any("position" in case for case in cases)


@pytest.mark.parametrize("position", [1.5, "middle", [0.5], "nan"])
def test_what_is_no_position_names_its_place(slices, tmp_path, position):
    with pytest.raises(ValueError, match=r"list.json: 'training\[0\].position' must be a number from 0 to 1"):
        read_datalist(changed(slices, tmp_path, position))
