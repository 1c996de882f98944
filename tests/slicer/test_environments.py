"""The environments have versions that work together; with others, failures would look like medssl's."""

from pathlib import Path

import pytest

CI = Path(__file__).parents[2] / ".ci"


@pytest.mark.parametrize(
    "pin", ["pydicom<3", "pynetdicom<3", "dicomweb-client[gcp]<0.60", "monailabel==0.8.5", "numpy==1.26"]
)
def test_monai_label_has_the_versions_it_runs_with(pin):
    assert pin in (CI / "monailabel-env").read_text(encoding="utf-8")


def test_slicer_is_the_real_one_and_not_the_package_of_that_name():
    script = (CI / "slicer-env").read_text(encoding="utf-8")
    assert "slicer-core==" in script
    assert " slicer==" not in script


def test_monai_label_is_installed_without_packages_it_cannot_load():
    script = (CI / "monailabel-env").read_text(encoding="utf-8")
    assert "--no-deps monailabel==0.8.5" in script
    assert not {"torchvision", "sam2"} & set(script.split('pins="')[1].split('"')[0].split())


def test_medssl_itself_requires_neither():
    # They need different versions of NumPy, pydicom or VTK.
    setup = (CI.parent / "setup.cfg").read_text(encoding="utf-8")
    assert "monailabel>" not in setup and "monailabel=" not in setup and "slicer-core" not in setup.split("[tool:")[0]


def test_the_server_is_asked_for_local_bundles_only():
    assert '"zoo_source": "ngc"' in Path(__file__).with_name("serving.py").read_text(encoding="utf-8")
