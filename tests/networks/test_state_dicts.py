import pytest
import torch

from medssl.networks.state_dicts import read_state_dict, require_fit


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3}])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_tensors_are_read_by_their_bare_names(wrap, prefix, tmp_path):
    torch.save(wrap({f"{prefix}conv.weight": torch.ones(2)}), tmp_path / "w.pt")
    assert read_state_dict(tmp_path / "w.pt").keys() == {"conv.weight"}


class Harmful:
    def __reduce__(self):
        return print, ("run by the file",)


def test_a_file_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"weight": Harmful()}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt is damaged, or holds objects that could run code") as error:
        read_state_dict(tmp_path / "w.pt")
    assert "weights_only" not in str(error.value)
    assert capsys.readouterr().out == ""


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
