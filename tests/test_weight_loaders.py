"""Every way to load weights names the file and the fault, and never passes on torch's advice to load it unsafely."""

import pickle
import re
import resource
import shutil
import tempfile
import traceback
from pathlib import Path

import pytest
import torch

from medssl.engines import weights as engine_weights
from medssl.files import file_sha256
from medssl.networks.state_dicts import read_state_dict, read_weights
from medssl.packaging.checks.checking import check_packed
from medssl.packaging.loading import load_bundle
from medssl.packaging.pack import pack
from medssl.packaging.published_weights import read_published_weights
from medssl.packaging.torchvision_weights import read_torchvision_weights
from medssl.runs.checkpoints import load_checkpoint
from medssl.workflows.backbones import load_backbone
from medssl.workflows.importing import inspect_weights
from medssl.workflows.segment_training import load_run
from medssl.workflows.training import evaluate
from tests.packaging.toy_run import segmentation_run
from tests.unprivileged import as_nobody


class Runs:
    """A pickle that would make a folder."""

    def __reduce__(self):
        return Path.mkdir, (Path("MADE"),)


FAULTS = {
    "garbage": lambda path: path.write_bytes(b"garbage" * 100),
    "empty": lambda path: path.write_bytes(b""),
    "pickle": lambda path: path.write_bytes(pickle.dumps(Runs())),
    "pickle in a checkpoint": lambda path: torch.save({"weight": Runs()}, path),
    "list": lambda path: torch.save([torch.zeros(1)], path),
    "number": lambda path: torch.save(3, path),
    "other names": lambda path: torch.save({"x": torch.zeros(1)}, path),
    "no tensors": lambda path: torch.save({"x": 1}, path),
    "half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
}
READERS = {
    "read_weights": read_weights,
    "read_state_dict": read_state_dict,
    "read_backbone": engine_weights.read_backbone,
    "published": read_published_weights,
    "torchvision": lambda path: read_torchvision_weights(path, 18, 1),
    "inspect": lambda path: list(inspect_weights(path)),
    "load_backbone": lambda path: engine_weights.load_backbone(torch.nn.Linear(1, 1), path),
    "LoadBackbone": lambda path: engine_weights.LoadBackbone(torch.nn.Linear(1, 1), str(path))(None),
    "LoadWeights": lambda path: engine_weights.LoadWeights(torch.nn.Linear(1, 1), str(path))(None),
}
# They say what a file of other tensors holds, or return them.
_TAKE_OTHER_NAMES = ("read_weights", "read_state_dict", "read_backbone", "inspect")


def _told(read, path):
    """The whole text that a user sees, with all causes."""
    with pytest.raises(ValueError, match=rf"{path.name}") as error:
        read()
    told = "".join(traceback.format_exception(error.value))
    assert "weights_only" not in told.replace("weights_only=True)", "")
    assert "UnpicklingError" not in told and not Path("MADE").exists()
    return str(error.value)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("reader", READERS)
def test_a_reader_of_weights_names_the_file(reader, fault, tmp_path, monkeypatch):
    if fault == "other names" and reader in _TAKE_OTHER_NAMES:
        pytest.skip("other tensors are no fault to this reader")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "weights.pt"
    torch.save(torch.nn.Linear(1, 1).state_dict(), path)
    FAULTS[fault](path)
    _told(lambda: READERS[reader](path), path)


@pytest.mark.parametrize("reader", READERS)
def test_a_file_that_may_not_be_read_is_not_called_damaged(reader):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "weights.pt"
        torch.save(torch.nn.Linear(1, 1).state_dict(), path)
        path.chmod(0)
        with (
            as_nobody(),
            pytest.raises(PermissionError, match=rf"^{re.escape(str(path))} cannot be read: Permission denied\.$"),
        ):
            READERS[reader](path)


def test_a_file_that_fails_while_it_is_read_is_not_called_damaged():
    # The memory of this process; no page lies at its start.
    with pytest.raises(OSError, match=r"^/proc/self/mem cannot be read: Input/output error\.$"):
        read_weights("/proc/self/mem")


def test_weights_that_do_not_fit_in_memory_are_not_called_damaged(tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(2**26)}, path)
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 2**26, before[1]))
    try:
        with pytest.raises(ValueError, match=rf"^{re.escape(str(path))} does not fit in memory"):
            read_weights(path)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if fault not in ("other names", "no tensors")])
def test_a_checkpoint_is_named(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "step=0000001.pt"
    torch.save({"step": 1}, path)
    FAULTS[fault](path)
    path.with_name(f"{path.name}.sha256").write_text(f"{file_sha256(path)}  {path.name}\n", encoding="ascii")
    _told(lambda: load_checkpoint(path), path)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_weights_of_a_run_are_named_wherever_they_are_loaded(fault, pretrained, probed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = shutil.copytree(probed, tmp_path / "run")
    FAULTS[fault](run / "model.pt")
    _told(lambda: load_run(run), run / "model.pt")
    _told(lambda: evaluate(run), run / "model.pt")
    _told(lambda: pack(run, "toy", tmp_path / "bundle"), run / "model.pt")
    backbone = shutil.copytree(pretrained, tmp_path / "backbone")
    FAULTS[fault](backbone / "backbone.pt")
    _told(lambda: load_backbone(backbone), backbone / "backbone.pt")


@pytest.mark.parametrize("fault", FAULTS)
def test_the_weights_of_a_bundle_are_named(fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle = pack(segmentation_run(tmp_path / "run"), "toy", tmp_path / "bundle", zip_bundle=False)
    FAULTS[fault](bundle / "models" / "model.pt")
    _told(lambda: load_bundle(bundle), bundle / "models" / "model.pt")
    (found, *_) = check_packed(bundle)
    assert "models/model.pt" in found and "weights_only=False" not in found
