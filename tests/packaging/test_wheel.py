"""The wheel holds what a user needs: shipped weights load from it, with no network connection and no checkout."""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# What a MONAI Label server leaves in its app.
SERVER = ("bin", "lib", "logs", "model")
OFFLINE = "import socket; socket.socket.connect = None; "
LOAD = "import medssl, pathlib; medssl.load_backbone('abdomen-ct'); print(pathlib.Path(medssl.__file__).parents[1])"


@pytest.mark.slow
def test_shipped_weights_load_from_the_wheel_without_a_checkout_or_a_network(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    source = tmp_path / "source"
    for name in ("medssl", "bundles"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", *SERVER))
    for name in ("setup.py", "setup.cfg", "README.md", "LICENSE"):
        shutil.copyfile(ROOT / name, source / name)
    build = ("wheel", ".", "--no-deps", "-w", str(tmp_path))
    subprocess.run([*pip, *build], cwd=source, check=True)
    (wheel,) = tmp_path.glob("medssl-*.whl")

    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv" / "bin" / "python"
    where = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True)
    # The dependencies only: .pth files in there, such as that of an editable medssl, are not read.
    places = [place for place in sys.path if Path(place).name == "site-packages"]
    (site / "dependencies.pth").write_text("\n".join(places))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    loaded = subprocess.run([python, "-c", OFFLINE + LOAD], cwd=elsewhere, check=True, capture_output=True, text=True)
    assert Path(loaded.stdout.strip()).resolve() == site.resolve()
