import numpy as np
import pytest

from benchmarks.near_duplicates import figures, read
from medssl.scans.fingerprint import LIKENESS

pytestmark = pytest.mark.real_data


@pytest.mark.parametrize(("folder", "count", "copies"), [("msd-hippocampus", 40, 60), ("chaos-mr-t2", 14, 12)])
def test_altered_copies_are_found_and_other_patients_are_not_accused(shared_data, folder, count, copies):
    paths = sorted((shared_data / folder / "images").glob("*.nii.gz"))[:count]
    found, others = figures([read(path) for path in paths], copies, np.random.default_rng(0))
    assert np.mean(np.concatenate(list(found.values())) >= LIKENESS) >= 0.95
    assert np.mean(np.array(others) >= LIKENESS) <= 0.01
