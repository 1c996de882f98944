"""Which libraries a command imports before it prints or fails: torch and MONAI take seconds of anyone's time."""

import json
import subprocess
import sys

import pytest

LIBRARIES = (
    "torch",
    "monai",
    "ignite",
    "scipy.ndimage",
    "scipy.stats",
    "matplotlib",
    "skimage",
    "sklearn",
    "tensorboard",
)
LIBRARIES_OF_MEASURES = ("scipy.ndimage",)
READERS = ("numpy", "nibabel", "SimpleITK", "PIL")

# All in one process, which keeps what an earlier command has imported.
SCRIPT = """
import json, os, sys
from medssl.cli.app import main

shown, sys.stdout, sys.stderr = sys.stdout, open(os.devnull, "w"), open(os.devnull, "w")
for command in json.loads(sys.argv[1]):
    sys.argv = ["medssl", *command]
    status = 0
    try:
        main()
    except SystemExit as exited:
        status = exited.code or 0
    print(json.dumps([status, [name for name in LIBRARIES if name in sys.modules]]), file=shown)
"""


def imported(*commands, libraries=(*LIBRARIES, *READERS)):
    script = SCRIPT.replace("LIBRARIES", repr(libraries))
    texts = json.dumps([[str(word) for word in command] for command in commands])
    result = subprocess.run([sys.executable, "-c", script, texts], capture_output=True, text=True, check=True)
    return [tuple(json.loads(line)) for line in result.stdout.splitlines()]


def test_help_and_the_list_of_weights_import_no_library():
    assert imported(["--help"], ["pretrain", "--help"], ["weights", "list"]) == [(0, [])] * 3


def test_advice_imports_neither_torch_nor_monai(ct_list):
    assert imported(["advise", ct_list, "--data", "ct"]) == [(0, [*LIBRARIES_OF_MEASURES, *READERS])]


def test_making_and_checking_a_data_list_imports_what_reads_scans(ct_list, tmp_path):
    scans = json.loads(ct_list.read_text(encoding="utf-8"))["training"][0]["image"]
    images = (ct_list.parent / scans).parent
    made, checked, with_sizes = imported(
        ["datalist", images, "--out", tmp_path / "list.json"],
        ["check", ct_list],
        ["check", ct_list, "--data", "ct"],
    )
    assert made == (0, list(READERS))
    assert checked == (0, list(READERS))
    assert with_sizes == (0, list(READERS))


@pytest.fixture(scope="module")
def wrong_commands(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    (folder / "empty").mkdir()
    gone, out = folder / "gone", folder / "out"
    data = ("--data", "ct", "--out", out)
    return [
        ["check", gone],
        ["advise", gone],
        ["datalist", gone, "--out", out],
        ["slices", gone, "--out", out],
        ["folds", gone, "--out", out],
        ["prepare", gone, *data],
        ["pretrain", "kats", "--datalist", gone, *data],
        ["pretrain", "katz", "--datalist", gone, *data],
        ["probe", "--datalist", gone, *data],
        ["finetune", "--datalist", gone, *data],
        ["evaluate", gone],
        ["report", gone, "--out", out],
        ["report", folder / "empty", "--out", out],
        ["protocol", "nothing", "--datalist", gone, "--out", out],
        ["protocol", "hippocampus", "--datalist", gone, "--out", out],
        ["pack", gone, "--name", "a"],
        ["bundle", "check", gone],
        ["bundle", "export-auto3dseg", gone, "--name", "a", "--out", out],
        ["weights", "inspect", gone],
        ["weights", "import", gone, "--as", "kats", *data],
        ["similarity", gone, "--point", "0", "0", "0", "--bundle", "abdomen-ct", "--out", out],
        ["segment-points", gone, "--in", "0", "0", "0", "--bundle", "abdomen-ct", "--out", out],
    ]


def test_a_wrong_path_or_name_is_told_before_torch_and_monai_are_imported(wrong_commands):
    found = imported(*wrong_commands, libraries=LIBRARIES)
    assert {" ".join(map(str, command[:2])): result for command, result in zip(wrong_commands, found, strict=True)} == {
        " ".join(map(str, command[:2])): (1, []) for command in wrong_commands
    }


def test_a_wrong_setting_is_told_before_torch_and_monai_are_imported(ct_list, tmp_path):
    common = ("--datalist", ct_list, "--data", "ct", "--out", tmp_path / "run")
    assert (
        imported(
            ["pretrain", "kats", *common, "--max_epoch", "3"],
            ["pretrain", "kats", *common, "--store", tmp_path],
            ["prepare", ct_list, "--data", "ct", "--out", tmp_path / "store", "--max_epoch", "3"],
            ["probe", *common, "--labels", "99"],
            ["probe", *common, "--backbone", tmp_path],
            libraries=LIBRARIES,
        )
        == [(1, [])] * 5
    )


def test_a_wrong_point_is_told_before_torch_and_monai_are_imported(ct_list, tmp_path):
    scan = sorted((ct_list.parent / "images").iterdir())[0]
    command = ("segment-points", scan, "--out", tmp_path / "out")
    inside, shipped = ("--in", "0", "0", "0"), ("--bundle", "abdomen-ct")
    assert (
        imported(
            [*command, *shipped],
            [*command, *shipped, "--in", "900", "0", "0"],
            [*command, *shipped, *inside, "--not", "0", "0", "0"],
            [*command, *shipped, *inside, "--name", "a/b"],
            [*command, *inside, "--bundle", "nothing"],
            libraries=LIBRARIES,
        )
        == [(1, [])] * 5
    )
