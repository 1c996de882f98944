import json

import numpy as np
import pytest

from medssl.probe.arrays import read_arrays, smallest_float, write_arrays
from tests.tiny import files_of

KEY = "0123456789abcdef" * 4
ARRAYS = {"features": np.arange(20.0).reshape(10, 2), "voxels": np.arange(10)}


def test_arrays_come_back_as_they_were_and_stay_on_the_disk(tmp_path):
    write_arrays(tmp_path, KEY, "a", ARRAYS)
    found = read_arrays(tmp_path, KEY, "a")
    assert found.keys() == ARRAYS.keys()
    assert isinstance(found["features"], np.memmap)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_features_beyond_float16_are_kept_as_float32():
    assert smallest_float(np.array([7e4])).tolist() == [7e4]


def test_arrays_of_another_key_or_case_are_not_found(tmp_path):
    write_arrays(tmp_path, KEY, "a", ARRAYS)
    # The same name of the file, another key.
    same_name = KEY[:16] + "0" * 48
    assert read_arrays(tmp_path, same_name, "a") is None
    assert read_arrays(tmp_path, KEY[::-1], "a") is None
    assert read_arrays(tmp_path, KEY, "b") is None


def spoil(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("ending", "change"),
    [
        (".features.npy", spoil),
        (".voxels.npy", spoil),
        (".voxels.npy", lambda path: path.unlink()),
        (".json", lambda path: path.write_text("{")),
        (".json", lambda path: path.write_text(json.dumps({"key": KEY}))),
    ],
)
def test_damaged_arrays_are_not_served(ending, change, tmp_path, caplog):
    write_arrays(tmp_path, KEY, "a", ARRAYS)
    change(next(tmp_path.glob(f"*{ending}")))
    assert read_arrays(tmp_path, KEY, "a") is None
    assert "are damaged" in caplog.text
    write_arrays(tmp_path, KEY, "a", ARRAYS)
    assert read_arrays(tmp_path, KEY, "a") is not None


def test_arrays_without_their_description_do_not_count(tmp_path):
    write_arrays(tmp_path, KEY, "a", ARRAYS)
    next(tmp_path.glob("*.json")).unlink()
    assert read_arrays(tmp_path, KEY, "a") is None
    assert len(files_of(tmp_path)) == 2
