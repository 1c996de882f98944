import pytest
import torch

from medssl.networks.state_dicts import read_state_dict, read_weights, require_fit


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_tensors_are_read_by_their_bare_names(wrap, prefix, tmp_path):
    torch.save(wrap({f"{prefix}conv.weight": torch.ones(2)}), tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt").keys() == {"conv.weight"}


class Harmful:
    def __reduce__(self):
        return print, ("run by the file",)


@pytest.mark.parametrize("read", [read_state_dict, read_weights])
def test_a_file_that_would_run_code_is_refused(read, tmp_path, capsys):
    torch.save({"weight": Harmful()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt is damaged, or holds objects that could run code") as error:
        read(tmp_path / "w.pt")
    assert "weights_only" not in str(error.value)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("read", [read_state_dict, read_weights])
@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
def test_a_damaged_file_is_refused(read, content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"w\.pt is damaged"):
        read(tmp_path / "w.pt")


@pytest.mark.parametrize("read", [read_state_dict, read_weights])
def test_a_missing_file_is_named(read, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file of weights .*w\.pt"):
        read(tmp_path / "w.pt")


def test_raw_weights_keep_their_names(tmp_path):
    torch.save({"backbone.a": torch.arange(3)}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt")["backbone.a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("content", [{"model": {"a": torch.arange(3)}}, [torch.ones(2)], {}, 3])
def test_what_is_no_raw_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt holds no raw state dict"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("tensors", "fault"),
    [
        ({"weight": torch.ones(2, 3), "bias": torch.ones(2), "scale": torch.ones(1)}, r"theirs\.scale .* too much"),
        ({"weight": torch.ones(3, 2), "bias": torch.ones(2)}, r"theirs\.weight has the shape \(3, 2\), not \(2, 3\)"),
        ({"weight": torch.ones(2, 3)}, r"1 tensors of a line are missing, the first is bias"),
    ],
)
def test_tensors_of_another_network_are_refused_by_their_name_in_the_file(tensors, fault, tmp_path):
    theirs = {name: f"theirs.{name}" for name in tensors}
    with pytest.raises(ValueError, match=fault):
        require_fit(torch.nn.Linear(3, 2), tensors, theirs, "a line", tmp_path / "w.pt")
