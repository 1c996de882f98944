"""A data list as what a few-label segmentation works on."""

from pathlib import Path

from medssl.data.datalist import read_datalist
from medssl.scans.channels import image_channels
from medssl.workflows.segment_listing import Listing, match_masks, named_files

_LEARNED = ("training", "validation")


def listed_scans(datalist: Path, labels: Path | None, output_dir: Path) -> Listing:
    """List the scans of a data list and their masks.

    Masks are the labels of ``training`` and ``validation``, or those of a folder. Scans of ``test`` and ``unlabeled``
    have none: their labels are never learnt from.

    Args:
        datalist: data list, or ``dataset.json`` of the Medical Segmentation Decathlon or of nnU-Net.
        labels: folder of masks with the names of the cases; None takes those of the list.
        output_dir: is passed over where it lies in it.

    Raises:
        ValueError: if the list is wrong, or lists pictures or colour masks.
    """
    listed = read_datalist(datalist)
    if listed.spatial_dims != 3 or listed.label_colours:
        raise ValueError(f"{datalist} lists 2D images, and medssl segment takes volumes; use `medssl probe` for these.")
    # What EM volumes and the like are is found by their values.
    modality = listed.modality if listed.modality != "image" else None
    found = Listing(channels=listed.channels, modality=modality, label_names=dict(listed.labels))
    for section, cases in listed.sections.items():
        for case in cases:
            channels = list(map(str, image_channels(case["image"])))
            found.scans[case["case"]] = channels if "#" in channels[0] or len(channels) > 1 else Path(channels[0])
            if labels is None and section in _LEARNED:
                found.labels[case["case"]] = Path(case["label"])
    if labels is not None:
        match_masks(found, list(named_files(labels, (output_dir,), found)))
    return found
