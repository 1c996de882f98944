import ast
import re
from pathlib import Path
from pydoc import ErrorDuringImport

import monai
import pytest

from medssl.packaging import known_classes
from medssl.packaging.known_classes import code_setting, known_name

# How the source of a class turns a text into code.
_TEXT_TO_CODE = re.compile(
    r"\blocate\(|optional_import\([^)]*name=(?![\"'])|getattr\(models|from_pretrained\(|_instantiate\(|eval\(f?[\"']"
)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("UNet", "monai.networks.nets.unet.UNet"),
        ("LoadImaged", "monai.transforms.io.dictionary.LoadImaged"),
        ("medssl.networks.fpn.FPN", "medssl.networks.fpn.FPN"),
        ("medssl.data.loading.VerifiedLoadImaged", "medssl.scans.loading.VerifiedLoadImaged"),
        ("torch.nn.BatchNorm3d", "torch.nn.modules.batchnorm.BatchNorm3d"),
    ],
)
def test_networks_and_transforms_are_known_by_their_full_names(name, full):
    assert known_name(name) == full


@pytest.mark.parametrize(
    "name",
    [
        *("os.system", "os", "builtins.eval", "subprocess.Popen", "pathlib.Path", "", ".", "torch.nn", "monai"),
        *("torch.load", "torch.hub.load", "torch.nn.init.zeros_", "torch.nn.Module.__class__", "torch.jit.load"),
        *(
            "monai.networks.utils.torch.hub.load",
            "monai.transforms.torch.load",
            "monai.bundle.load",
            "load_decathlon_datalist",
        ),
        *("medssl.packaging.pack.pack", "medssl.files.os.system", "medssl.workflows.training.pretrain"),
        *("monai.transforms.Lambda", "Lambdad", "RandLambdad", "TorchVisiond", "RandTorchIOd", "MILModel", "Transchex"),
        *("monai.data.PersistentDataset", "CheckpointLoader", "SupervisedTrainer", "torch.utils.data.DataLoader"),
        *("medssl.__main__", "medssl._x.y", "UNet; import os", "UNet\n", "@UNet", "$UNet"),
    ],
)
def test_nothing_else_is_known(name):
    assert known_name(name) is None


def test_a_function_is_handed_over_and_not_called():
    assert known_name("medssl.transforms.save.name_by_case", called=False) == "medssl.transforms.save.name_by_case"
    assert known_name("medssl.transforms.save.name_by_case") is None


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"reader": ["NibabelReader", "os.system"]}, "reader"),
        ({"reader": {"_target_": "x"}}, "reader"),
        ({"allow_pickle": True}, "allow_pickle"),
        ({"pretrained": "https://example.org"}, "pretrained"),
        ({"reader": None, "pretrained": False, "writer": None, "keys": "image"}, None),
        ({"reader": "ITKReader"}, None),
    ],
)
def test_settings_that_lead_to_code_or_files_are_named(settings, key):
    assert code_setting(settings) == key


def _classes_that_turn_texts_into_code():
    for package in (monai.transforms, monai.networks):
        for path in sorted(Path(package.__path__[0]).rglob("*.py")):
            source = path.read_text(encoding="utf-8")
            module = ".".join([package.__name__, *path.relative_to(package.__path__[0]).with_suffix("").parts])
            for node in ast.walk(ast.parse(source)) if _TEXT_TO_CODE.search(source) else ():
                if isinstance(node, ast.ClassDef) and _TEXT_TO_CODE.search(ast.get_source_segment(source, node)):
                    yield module, node.name


def test_every_class_of_monai_that_turns_a_text_into_code_is_refused_or_its_setting_is():
    """Fails with a release of MONAI that adds one."""
    guarded = {"LoadImage": "reader", "SaveImage": "writer"}
    found = list(_classes_that_turn_texts_into_code())
    assert {name for _, name in found} >= {"LoadImage", "SaveImage", "TorchVision", "TorchIO"}
    for module, name in found:
        key = guarded.get(name)
        assert known_name(f"{module}.{name}") is None or code_setting({key: "os.system"}) == key, name


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(143)])
def test_a_signal_while_a_class_is_looked_up_is_no_unknown_class(error, monkeypatch):
    """Python's look-up makes an error of the import of whatever is raised meanwhile."""

    def stopped(*_):
        raise ErrorDuringImport("medssl.networks.fpn", (type(error), error, None))

    monkeypatch.setattr(known_classes, "locate", stopped)
    with pytest.raises(type(error)):
        known_name.__wrapped__("medssl.networks.fpn.FPN")
