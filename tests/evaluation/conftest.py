import pytest


def _row(method="a", setting="fine_tune", labels=1, fold=0, case="x", name="liver", dice=0.5, **fields):
    """Give a row of results, by default of a class that is there and was found."""
    return {
        "method": method,
        "setting": setting,
        "labels": labels,
        "fold": fold,
        "case": case,
        "class": name,
        "dice": dice,
        "iou": None if dice is None else dice / (2 - dice),
        "hd95_mm": None if dice is None else 10 * (1 - dice),
        "surface_dice": dice,
        "reference_voxels": 0 if dice is None else 100,
        "predicted_voxels": 90,
        "expected_ml": None if dice is None else 2.0,
        "predicted_ml": 1.8,
        "image_mean": 0.4,
        **fields,
    }


@pytest.fixture
def make_row():
    return _row
