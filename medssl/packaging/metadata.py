"""The metadata.json of a packed bundle: MONAI's description of a model for people and for programs."""

from collections.abc import Mapping, Sequence
from typing import Any

from medssl.runs.record import library_versions

SCHEMA = "https://project-monai.github.io/schema/meta_schema_20240725.json"
REQUIRED_KEYS = (
    "schema",
    "version",
    "monai_version",
    "pytorch_version",
    "numpy_version",
    "required_packages_version",
    "task",
    "description",
    "authors",
    "copyright",
    "network_data_format",
)
_FORMATS = {"CT": "hounsfield", "MR": "magnitude"}
_CHANNELS = {3: ("red", "green", "blue")}
_FILES = {2: "2D NIfTI, PNG, TIFF or BMP", 3: "NIfTI or DICOM"}


def bundle_metadata(
    template: Mapping[str, Any],
    name: str,
    record: Mapping[str, Any],
    labels: Mapping[int, str],
    strides: Sequence[int],
    channels: tuple[int, int],
    spatial_dims: int,
    channel_names: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the metadata of a packed bundle, in the schema of 2024-07-25.

    The prediction of a segmentation network has one channel per foreground class, while ``channel_def`` names the label
    values of the finished label map, 0 being background: that is what MONAI Label and 3D Slicer read.

    Args:
        template: metadata of the source bundle, which holds what does not depend on the run.
        name: name of the bundle.
        record: the run's record, see `medssl.runs.record.run_record`.
        labels: foreground label value to name; empty for a pretrained backbone.
        strides: voxels of the image per cell of each level; sizes are multiples of twice the last.
        channels: input and output channels of the network.
        spatial_dims: 2 or 3.
        channel_names: of the input, where a scan is several files.
    """
    versions = library_versions()
    modality = record["datalist"]["modality"]
    shape = [f"{2 * strides[-1]}*n"] * spatial_dims
    image = {
        "type": "image",
        "format": "RGB" if channels[0] == 3 and not channel_names else _FORMATS.get(modality, "magnitude"),
        "modality": modality,
        "num_channels": channels[0],
        "spatial_shape": shape,
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": True,
        "channel_def": {
            str(channel): name for channel, name in enumerate(channel_names or _CHANNELS.get(channels[0], ["image"]))
        },
    }
    network_io: dict[str, Any] = {
        "inputs": {"image": image},
        "outputs": {"pred": _prediction(labels, channels[1], shape)},
    }
    if labels:
        network_io["post_processed_outputs"] = {"pred": _label_map(labels, shape)}
    return {
        **template,
        "schema": SCHEMA,
        "monai_version": versions["monai"],
        "pytorch_version": versions["torch"].partition("+")[0],
        "numpy_version": versions["numpy"],
        "required_packages_version": {
            package: versions[package] for package in ("medssl", "pytorch-ignite", "nibabel", "SimpleITK", "pynrrd")
        },
        "name": name,
        "task": _task(record, labels),
        "data_source": _data_source(record),
        "data_type": _FILES[spatial_dims],
        "network_data_format": network_io,
    }


def _prediction(labels: Mapping[int, str], channels: int, shape: list[str]) -> dict[str, Any]:
    names = {"0": "background", **{str(value): name for value, name in labels.items()}}
    return {
        "type": "image",
        "format": "segmentation" if labels else "latent",
        "num_channels": channels,
        "spatial_shape": shape,
        "dtype": "float32",
        # Logits are unbounded; features are coordinates of unit vectors.
        "value_range": [] if labels else [-1, 1],
        "is_patch_data": True,
        "channel_def": names if labels else {str(channel): f"feature {channel}" for channel in range(channels)},
    }


def _label_map(labels: Mapping[int, str], shape: list[str]) -> dict[str, Any]:
    return {
        **_prediction(labels, 1, shape),
        "dtype": "uint8",
        "value_range": [0, max(labels)],
        "is_patch_data": False,
    }


def _data_source(record: Mapping[str, Any]) -> str:
    if "source" in record:
        source = record["source"]
        origin = source.get("trained_on", f"weights published with {source['paper']}")
        return f"{origin} SHA-256 {source['sha256']}"
    kind = "made by" if record["datalist"]["modality"] == "synthetic" else "data list"
    return f"{kind} '{record['datalist']['name']}', SHA-256 {record['datalist']['sha256']}"


def _task(record: Mapping[str, Any], labels: Mapping[int, str]) -> str:
    modality = record["datalist"]["modality"]
    if not labels:
        # The training of these weights is unknown.
        trained = "Pretrained" if "trained_on" in record.get("source", {}) else "Self-supervised"
        scans = "scans of any modality" if modality == "synthetic" else modality
        return f"{trained} {record['method']} backbone for {scans}"
    return f"{modality} segmentation of {', '.join(labels.values())} ({record['setting'].replace('_', ' ')})"
