import torch

from medssl.probe.versions import newest_probe, write_probe

LABELS = {1: "liver"}


def report(backbone="a", labels=None):
    return {"backbone": backbone, "labels": {str(value): name for value, name in (labels or LABELS).items()}}


def test_the_newest_version_is_found(tmp_path):
    for bias in (1.0, 2.0):
        head = torch.nn.Linear(1, 1)
        head.bias.data[:] = bias
        write_probe(tmp_path, head, {**report(), "dice": bias})
    path, found = newest_probe(tmp_path, "a", LABELS)
    assert (path.name, found["dice"]) == ("0002.pt", 2.0)
    assert torch.load(path, weights_only=True)["bias"].item() == 2.0


def test_before_the_first_there_is_none(tmp_path):
    assert newest_probe(tmp_path / "missing", "a", LABELS) is None


def test_weights_without_a_report_do_not_count(tmp_path):
    first = write_probe(tmp_path, torch.nn.Linear(1, 1), report())
    (tmp_path / "0002.pt").write_bytes(b"half")
    assert newest_probe(tmp_path, "a", LABELS)[0] == first
    assert write_probe(tmp_path, torch.nn.Linear(1, 1), report()).name == "0003.pt"


def test_a_probe_of_another_backbone_or_for_other_labels_is_passed_over(tmp_path):
    first = write_probe(tmp_path, torch.nn.Linear(1, 1), report())
    write_probe(tmp_path, torch.nn.Linear(1, 1), report(backbone="b"))
    write_probe(tmp_path, torch.nn.Linear(1, 1), report(labels={1: "spleen"}))
    assert newest_probe(tmp_path, "a", LABELS)[0] == first
