"""What a packed bundle writes under MONAI's own command appears whole or not at all."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from medssl.packaging.pack import pack
from tests.bundles.test_inference import write_scan
from tests.packaging.toy_run import pretraining_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A function that starts the inference of a bundle, which writes features of about 1 MB, from a shell."""
    folder = tmp_path_factory.mktemp("bundle")
    bundle = pack(pretraining_run(folder / "run"), "toy", folder, zip_bundle=False)
    write_scan(folder / "scan.nii.gz")

    def start(out: Path, before: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", bundle / "configs" / "inference.json"]
        command += ["--bundle_root", bundle, "--input", folder / "scan.nii.gz", "--output_dir", out]
        words = ["bash", "-c", f'{before}; exec "$@"', "bash", *map(str, command)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        return subprocess.Popen(
            words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    return start


def test_on_a_full_disk_nothing_is_left_and_the_error_names_the_file(started, tmp_path):
    # In units of 1024 bytes: a limit on the size of files is a full disk to whoever writes.
    process = started(tmp_path / "out", "ulimit -f 64")
    output, _ = process.communicate(timeout=300)
    assert process.returncode not in (0, None)
    # The cause of the error that MONAI raises.
    assert re.search(r"^OSError: \[Errno 28\] The disk is full .*/scan_features\.nii\.gz'$", output, re.MULTILINE), (
        output
    )
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_kill_while_it_writes_leaves_no_file_of_that_name(started, tmp_path):
    process = started(tmp_path / "out", "true")
    while not any(path.stat().st_size for path in tmp_path.glob("out/.staging-*/*")):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.0005)
    process.kill()
    process.communicate()
    assert not (tmp_path / "out" / "scan_features.nii.gz").exists()
