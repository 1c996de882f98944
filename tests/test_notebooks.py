"""The notebooks run from their first cell to their last, and are kept with what they show."""

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[1] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def pictures(notebook):
    """The cells that show a picture."""
    return [
        cell.id for cell in code_cells(notebook) for output in cell.outputs if "image/png" in output.get("data", {})
    ]


def run(path, folder, monkeypatch):
    """A notebook as it is after a run in a folder."""
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_kept_as_one_run_left_it_small_and_without_paths(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    counts = [cell.execution_count for cell in code_cells(notebook)]
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]

    assert counts == list(range(1, len(counts) + 1))
    assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
    assert [place for place in ("/tmp", "/home", "/work") if place in json.dumps(outputs)] == []
    assert path.stat().st_size < 700_000


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_in_any_folder_shows_its_pictures_and_leaves_nothing_there(path, tmp_path, monkeypatch):
    monkeypatch.delenv("CHAOS", raising=False)

    shown = pictures(run(path, tmp_path, monkeypatch))

    assert len(shown) >= 2
    assert pictures(nbformat.read(path, as_version=4)) == shown
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.real_data
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_few_labels_also_segments_real_scans(shared_data, tmp_path, monkeypatch):
    monkeypatch.setenv("CHAOS", str(shared_data / "chaos-mr-t2"))

    assert "real-run" in pictures(run(FOLDER / "few_labels.ipynb", tmp_path, monkeypatch))
