import json
from pathlib import Path

import pytest


@pytest.fixture
def write_list(tmp_path):
    """Return a function that writes a data list of given sections beside the scans."""

    def write(modality: str = "CT", labels: dict | None = None, **sections: list) -> Path:
        labels = labels or {"0": "background", "1": "liver", "2": "spleen"}
        path = tmp_path / "list.json"
        path.write_text(json.dumps({"name": "toy", "modality": modality, "labels": labels, **sections}))
        return path

    return write
