import pytest
import torch
from ignite.engine import Engine
from torch import nn

from medssl.engines.averaging import AverageWeights, averaged
from medssl.engines.weights import LoadBackbone, SaveWeights, load_backbone, read_backbone


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_weights_of_a_run_and_of_a_bundle_are_loaded(prefix, tmp_path):
    weights = nn.Linear(2, 3).state_dict()
    torch.save({f"{prefix}{name}": value for name, value in weights.items()}, tmp_path / "w.pt")
    backbone = nn.Linear(2, 3)
    engine = Engine(lambda e, b: None)
    LoadBackbone(backbone, str(tmp_path / "w.pt")).attach(engine)
    engine.run([0])
    assert all(torch.equal(value, weights[name]) for name, value in backbone.state_dict().items())
    assert read_backbone(tmp_path / "w.pt").keys() == weights.keys()


def test_weights_of_another_network_are_refused(tmp_path):
    torch.save(nn.Linear(2, 4).state_dict(), tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"w\.pt does not fit the network: .*size mismatch"):
        LoadBackbone(nn.Linear(2, 3), str(tmp_path / "w.pt"))(Engine(lambda e, b: None))


def test_a_backbone_without_pretrained_weights_stays_as_it_is():
    backbone = nn.Linear(2, 3)
    before = backbone.weight.detach().clone()
    assert load_backbone(backbone, None) is backbone
    assert torch.equal(backbone.weight, before)


def test_weights_are_saved_when_training_is_done_and_not_before(tmp_path):
    module, path = nn.Linear(2, 3), tmp_path / "backbone.pt"
    seen = []

    def step(engine, _):
        seen.append(path.exists())
        nn.init.ones_(module.weight)

    engine = Engine(step)
    SaveWeights(module, str(path)).attach(engine)
    engine.run([0, 1])
    weights = torch.load(path, weights_only=True)
    assert seen == [False, False]
    assert weights.keys() == module.state_dict().keys()
    assert torch.equal(weights["weight"], torch.ones(3, 2))
    assert [file.name for file in tmp_path.iterdir()] == ["backbone.pt"]


def test_where_a_run_averages_the_weights_the_average_is_saved(tmp_path):
    module, path = nn.Linear(1, 1), tmp_path / "backbone.pt"
    engine = Engine(lambda engine, weight: nn.init.constant_(module.weight, weight))
    SaveWeights(module, str(path)).attach(engine)
    AverageWeights(averaged(module, decay=0.75), module).attach(engine)
    engine.run([4.0, 8.0])
    assert torch.load(path, weights_only=True)["weight"].item() == 5.0
    assert module.weight.item() == 8.0
