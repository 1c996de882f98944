"""The model card of a packed bundle: what it was trained on, how, how well it does, and how to run it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_CARD = """# {name}

{task}.

## Trained on

{data}

## How

{training}

## How well

{results}

## Intended use

{use}

## Limits

- Research software, not a medical device: not for diagnosis or treatment.
- {seen} Expect worse results on other
  modalities, scanners, fields of view, ages and diseases.
{limits}

## How to run

```bash
pip install medssl
python -m monai.bundle run --config_file {name}/configs/inference.json --bundle_root {name} \\
    --input SCAN_OR_DICOM_FOLDER --output_dir OUT
```

{output}
{label_server}
In Python:

```python
from monai.bundle import ConfigWorkflow

bundle = ConfigWorkflow(
    config_file="{name}/configs/inference.json", workflow_type="inference", bundle_root="{name}",
    input="scan.nii.gz", output_dir="out",
)
bundle.initialize()
bundle.run()
```

The weights alone: `torch.load("{name}/models/model.pt", weights_only=True)` is a state dict of tensors.

## Files

{files}

Recorded in `provenance.json`; `medssl bundle check {name}` compares them.

## Licence

The code and configurations are under the Apache License 2.0 (see LICENSE). {licence}
"""

_LABEL_SERVER = """
In MONAI Label, with 3D Slicer as its client:

```bash
monailabel apps --download --name monaibundle --output apps
mkdir -p apps/monaibundle/model && cp -r {name} apps/monaibundle/model/
monailabel start_server --app apps/monaibundle --studies FOLDER_OF_SCANS --conf models {name} \\
    --conf zoo_source ngc --conf skip_trainers true --conf sam2 false
```

"""


def model_card(
    name: str,
    task: str,
    record: Mapping[str, Any],
    labels: Mapping[int, str],
    rows: Sequence[Mapping[str, Any]],
    sha256: Mapping[str, str],
) -> str:
    """Return the model card as Markdown.

    Args:
        name: name of the bundle.
        task: one line, as in the metadata.
        record: the run's record, see `medssl.runs.record.run_record`.
        labels: foreground label value to name; empty for a pretrained backbone.
        rows: evaluation rows, one per case and class; empty if the run was not evaluated.
        sha256: name of each file of weights to its SHA-256.
    """
    return _CARD.format(
        name=name,
        task=task,
        data=_data(record),
        training=_training(record),
        results=_results(rows, _unit(record)) if labels else "Measure it with a linear probe: `medssl probe`.",
        use=_use(record, labels),
        seen=_seen(record),
        limits=_limits(record, labels),
        output=_output(labels, _is_2d(record)),
        label_server=_LABEL_SERVER.format(name=name) if labels and not _is_2d(record) else "",
        files="\n".join(f"- SHA-256 of `models/{file}`: `{digest}`" for file, digest in sha256.items()),
        licence=_licence(record),
    )


def _data(record: Mapping[str, Any]) -> str:
    datalist = record["datalist"]
    if "source" in record:
        if "trained_on" in record["source"]:
            return f"{record['source']['trained_on']} The network: {record['source']['paper']}"
        return f"The {_scans(record)} that the authors name in their paper: {record['source']['paper']}"
    if _is_synthetic(record):
        return f"No scans: {datalist['name']}, made from a seed; SHA-256 of their settings: `{datalist['sha256']}`"
    counts = ", ".join(f"{count} {section}" for section, count in datalist["counts"].items())
    lines = [
        f"- data list: {datalist['name']} ({datalist['modality']})",
        f"- SHA-256 of the list: `{datalist['sha256']}`",
    ]
    lines.append(f"- cases in the list: {counts}")
    if record["labels"]:
        lines.append(f"- labelled cases that trained the head: {record['labels']}")
    if datalist.get("licence"):
        lines.append(f"- licence of the data: {datalist['licence']}")
    return "\n".join(lines)


def _is_synthetic(record: Mapping[str, Any]) -> bool:
    return record["datalist"]["modality"] == "synthetic"


def _is_2d(record: Mapping[str, Any]) -> bool:
    return record["datalist"].get("spatial_dims", 3) == 2


def _scans(record: Mapping[str, Any]) -> str:
    """Return what the data are, such as ``MR slices``."""
    modality = record["datalist"]["modality"]
    if modality == "image":
        return "images"
    return f"{modality} {'slices' if _is_2d(record) else 'scans'}"


def _unit(record: Mapping[str, Any]) -> str:
    return "pixels" if record["datalist"]["modality"] == "image" else "mm"


def _training(record: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{library} {number}" for library, number in record["versions"].items())
    lines = [f"- method: {record['method']}"]
    if "source" in record:
        source = record["source"]
        lines += [
            f"- trained by others, imported from `{source['file']}`, SHA-256 `{source['sha256']}`",
            f"- preprocessing: {', '.join(record['recipe'])}; whether the authors used it is not certain",
            f"- versions at import: {versions}",
        ]
        return "\n".join(lines)
    if record["setting"]:
        lines.append(f"- setting: {record['setting'].replace('_', ' ')}")
    if record["backbone_sha256"]:
        lines.append(f"- SHA-256 of the pretrained backbone: `{record['backbone_sha256']}`")
    lines += [
        f"- recipe: {', '.join(record['recipe'])} (merged: configs/train.json)",
        f"- seed {record['seed']}, {record['steps']} steps",
        f"- versions: {versions}",
    ]
    return "\n".join(lines)


def _results(rows: Iterable[Mapping[str, Any]], unit: str) -> str:
    by_class: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_class[row["class"]].append(row)
    if not by_class:
        return "Not evaluated."
    lines = [f"| structure | cases | Dice | HD95 ({unit}) | surface Dice |", "|---|---|---|---|---|"]
    for name, own in by_class.items():
        cells = [_mean(own, measure) for measure in ("dice", "hd95_mm", "surface_dice")]
        lines.append(f"| {name} | {len({row['case'] for row in own})} | {' | '.join(cells)} |")
    note = (
        "Mean over the cases in which a measure is defined (the structure is in the reference); their number if fewer."
    )
    return "\n".join([*lines, "", note])


def _mean(rows: Sequence[Mapping[str, Any]], measure: str) -> str:
    values = [row[measure] for row in rows if row.get(measure) is not None and math.isfinite(row[measure])]
    if not values:
        return "–"
    count = "" if len(values) == len(rows) else f" ({len(values)})"
    return f"{sum(values) / len(values):.3f}{count}"


def _use(record: Mapping[str, Any], labels: Mapping[int, str]) -> str:
    if labels:
        return (
            f"To outline {', '.join(labels.values())} in {_scans(record)} like those above, in research, as a first "
            "draft that a person corrects."
        )
    scans = "scans of any modality" if _is_synthetic(record) else _scans(record)
    return f"To start networks for {scans} that are to be trained on few labelled ones, in research."


def _seen(record: Mapping[str, Any]) -> str:
    if "source" in record:
        if "trained_on" in record["source"]:
            return "Nothing is known of the images that the weights have seen."
        return f"The weights have seen the {_scans(record)} of the authors only."
    if record["backbone_sha256"]:
        return f"The head was trained on {_scans(record)} of the list above; what the backbone saw is in its own card."
    if _is_synthetic(record):
        return "The weights have seen synthetic volumes only, and no scan."
    return f"The weights have seen {_scans(record)} of the list above only."


def _licence(record: Mapping[str, Any]) -> str:
    if "source" in record:
        return f"The weights: {record['source']['licence']}"
    if _is_synthetic(record):
        return "No data of others were used."
    licence = record["datalist"].get("licence")
    return (
        f"The data are under {licence}." if licence else "The data list does not say under which licence the data are."
    )


def _limits(record: Mapping[str, Any], labels: Mapping[int, str]) -> str:
    if not labels:
        return "- It gives features, not a segmentation: train a head on labelled scans first."
    return (
        f"- Labelled scans that trained it: {record['labels']}. Look at every result before you use it.\n"
        f"- It knows {', '.join(labels.values())} and nothing else; every other structure becomes background."
    )


def _output(labels: Mapping[int, str], is_2d: bool) -> str:
    if not labels:
        return "This writes `SCAN_features.nii.gz`: a unit feature vector for every voxel of the preprocessed scan."
    if is_2d:
        return (
            "This writes `SCAN_seg.nii.gz` and `SCAN_seg.seg.nrrd` on the image's own grid, first axis x. A picture\n"
            "has no place in space: programs may show it flipped beside its segmentation."
        )
    return (
        "This writes `SCAN_seg.nii.gz` and `SCAN_seg.seg.nrrd` on the scan's own grid; the second opens in 3D Slicer\n"
        "as a segmentation with names and colours. MONAI Label serves the folder with its app `monaibundle`."
    )
