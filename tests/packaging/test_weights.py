import pytest
import torch

from medssl.packaging.weights import load_strictly, load_weights


class Payload:
    pass


def test_tensors_come_back(tmp_path):
    torch.save({"a": torch.arange(3)}, tmp_path / "w.pt")
    assert load_weights(tmp_path / "w.pt")["a"].tolist() == [0, 1, 2]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"w\.pt are missing"):
        load_weights(tmp_path / "w.pt")


def test_objects_are_not_loaded(tmp_path):
    torch.save({"a": Payload()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt is damaged or holds more than tensors"):
        load_weights(tmp_path / "w.pt")


def test_a_cut_file_is_refused(tmp_path):
    torch.save({"a": torch.arange(3000)}, tmp_path / "w.pt")
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:500])
    with pytest.raises(ValueError, match=r"w\.pt is damaged"):
        load_weights(tmp_path / "w.pt")


def test_a_checkpoint_is_refused(tmp_path):
    torch.save({"model": {"a": torch.arange(3)}}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match="raw state dict"):
        load_weights(tmp_path / "w.pt")


def test_a_missing_weight_is_named():
    with pytest.raises(ValueError, match=r"Missing key.*bias"):
        load_strictly(torch.nn.Linear(2, 2), {"weight": torch.zeros(2, 2)})
