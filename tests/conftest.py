"""What tests of several folders share: tiny phantoms, tiny runs on them, and the real scans where there are any."""

import os
from pathlib import Path

import pytest
import torch
from threadpoolctl import threadpool_limits

from medssl.phantom.dataset import write_phantom
from medssl.workflows.training import pretrain, train_segmentation
from tests.slices import write_slices
from tests.tiny import PRETRAINING, SEGMENTATION

# As many threads as the fresh processes of `tests.tiny.start` have, so that sums agree to the bit: of torch, of the
# libraries that are loaded, and of those that will be.
torch.set_num_threads(1)
threadpool_limits(1)
os.environ["OMP_NUM_THREADS"] = "1"
CASES = {"num_cases": 5, "num_labelled": 2, "num_validation": 1, "num_test": 1}
SIZE = {"shape": (40, 32, 20), "spacing": (5.6, 5.9, 8.5)}


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random numbers that a test draws are those of every run, whatever ran before it."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def ct_list(tmp_path_factory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("ct"), **CASES, **SIZE)


@pytest.fixture(scope="session")
def mr_list(tmp_path_factory) -> Path:
    return write_phantom(tmp_path_factory.mktemp("mr"), **CASES, **SIZE, modality="MR")


@pytest.fixture(scope="session")
def slice_list(tmp_path_factory) -> Path:
    """A list of slices of phantoms, 2D NIfTI files."""
    return write_slices(tmp_path_factory.mktemp("slices"))


@pytest.fixture(scope="session")
def pretrained(ct_list, tmp_path_factory) -> Path:
    """A pretraining run of two steps, not to be changed."""
    folder = tmp_path_factory.mktemp("pretrained") / "run"
    pretrain("kats", ct_list, ["ct"], folder, overrides=PRETRAINING)
    return folder


@pytest.fixture(scope="session")
def probed(ct_list, pretrained, tmp_path_factory) -> Path:
    """A linear probe of two steps on one label, not to be changed."""
    folder = tmp_path_factory.mktemp("probed") / "run"
    train_segmentation(
        "linear_probe", ct_list, ["ct"], folder, backbone=pretrained, num_labels=1, overrides=SEGMENTATION
    )
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("../shared/data, which holds the real scans, is not there")
    return folder
