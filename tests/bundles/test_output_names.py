"""Outputs are named by their case: MONAI would make one file of two scans that differ behind their last dot only."""

import yaml

from medssl.packaging.sources import source_bundles


def savers(value):
    if isinstance(value, dict):
        if value.get("_target_") == "SaveImaged":
            yield value
        value = list(value.values())
    for item in value if isinstance(value, list) else ():
        yield from savers(item)


def test_every_saver_of_the_recipes_names_by_case():
    found = {
        f"{path.parent.parent.name}/{path.name}": saver.get("output_name_formatter", {}).get("_target_")
        for path in sorted(source_bundles().rglob("*.yaml"))
        for saver in savers(yaml.safe_load(path.read_text(encoding="utf-8")))
    }
    assert len(found) >= 3
    assert set(found.values()) == {"medssl.transforms.save.name_by_case"}, found
