"""A data list from elsewhere runs nothing: its names stand in configurations, where a text can be code."""

import json

import pytest

from medssl.workflows.checking import check_report
from medssl.workflows.preparing import prepare
from medssl.workflows.training import evaluate, pretrain, train_segmentation
from tests.tiny import NETWORK, PRETRAINING, SEGMENTATION

CODE = "$__import__('os').mkdir('MADE')"
TOLD = r"hostile\.json: the (label|channel) name .* starts with \$, @ or %"


@pytest.fixture(params=["label", "channel"])
def hostile(request, ct_list, tmp_path, monkeypatch):
    """A list with code as the name of a label or a channel."""
    monkeypatch.chdir(tmp_path)
    content = json.loads(ct_list.read_text(encoding="utf-8"))
    for section in ("training", "validation", "test", "unlabeled"):
        for number, case in enumerate(content[section]):
            case |= {key: str(ct_list.parent / case[key]) for key in ("image", "label") if key in case}
            if request.param == "channel":
                second = tmp_path / f"{section}_{number}.nii.gz"
                second.symlink_to(case["image"])
                case["image"] = [case["image"], str(second)]
    if request.param == "label":
        content["labels"]["1"] = CODE
    else:
        content["channels"] = ["T1", CODE]
    path = tmp_path / "hostile.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def test_no_command_runs_what_a_list_names(hostile, probed, tmp_path):
    small = {**SEGMENTATION, **NETWORK}
    for use in (
        lambda: check_report(hostile, ["ct"]),
        lambda: prepare(hostile, ["ct"], tmp_path / "store", num_processes=1),
        lambda: pretrain("kats", hostile, ["ct"], tmp_path / "run", overrides=PRETRAINING),
        lambda: train_segmentation("from_scratch", hostile, ["ct"], tmp_path / "run", overrides=small),
        lambda: evaluate(probed, hostile),
    ):
        with pytest.raises(ValueError, match=TOLD):
            use()
    assert not list(tmp_path.rglob("MADE")) and not (tmp_path / "run").exists()
