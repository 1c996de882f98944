"""Data lists of the Medical Segmentation Decathlon and of nnU-Net, in the form of medssl's own."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.names import case_of_file
from medssl.scans.channels import channels_of_file, image_files
from medssl.scans.pictures import is_picture


def native_content(path: Path, content: Mapping[str, Any], channel: str | None = None) -> dict[str, Any]:
    """Return the content of a foreign ``dataset.json`` in the form of `medssl.data.datalist`, or a native one as it is.

    A list is the Medical Segmentation Decathlon's (or nnU-Net 1's) if ``modality`` numbers its channels, and that of
    nnU-Net 2 if it has ``channel_names``; nnU-Net 2 lists no files, so its folders are searched. Test scans without a
    label become ``unlabeled``. Cases are named after their files, without the number of the channel.

    Args:
        path: the JSON file.
        content: what it holds.
        channel: name or number of the channel to take where there are several; ``None``: all.

    Raises:
        ValueError: if there is no such channel, a file is missing, or labels are not one value each; names the file and
            what to do.
    """
    if isinstance(content.get("channel_names"), dict):
        return _nnunet(path, content, channel)
    if isinstance(content.get("modality"), dict):
        return _decathlon(path, content, channel)
    if channel is not None:
        raise ValueError(f"{path}: it has no channels to choose '{channel}' from; leave the channel out.")
    return dict(content)


def _decathlon(path: Path, content: Mapping[str, Any], channel: str | None) -> dict[str, Any]:
    channels = _channels(path, content["modality"])

    def entry(listed: Any) -> Any:
        item = {"image": listed} if isinstance(listed, str) else listed
        if not isinstance(item, dict) or not isinstance(item.get("image"), str):
            return item
        return {"case": case_of_file(item["image"]), **item, "image": _listed_image(path, item, channels, channel)}

    sections: dict[str, list[Any]] = {"training": [], "validation": [], "test": [], "unlabeled": []}
    for section in sections:
        for listed in _list(path, content, section):
            item = entry(listed)
            has_label = isinstance(item, dict) and "label" in item
            sections["unlabeled" if section == "test" and not has_label else section].append(item)
    named = _named(path, channels, channel)
    return {**content, **sections, **named, "modality": _modality(channels, channel, sections["training"])}


def _listed_image(path: Path, item: Mapping[str, Any], channels: Sequence[str], channel: str | None) -> str | list[str]:
    """Return the channels of an entry: of the 4D file, or the files that nnU-Net 1 names by the numbers of channels."""
    image, numbers = item["image"], _chosen(path, channels, channel)
    numbered = [_numbered(image, number) for number in numbers]
    if not (path.parent / image).exists() and all((path.parent / file).exists() for file in numbered):
        return numbered if len(numbered) > 1 else numbered[0]
    return channels_of_file(image, len(channels), numbers) if len(channels) > 1 else image


def _nnunet(path: Path, content: Mapping[str, Any], channel: str | None) -> dict[str, Any]:
    channels, ending = _channels(path, content["channel_names"]), content.get("file_ending")
    if not isinstance(ending, str) or not ending.startswith("."):
        raise ValueError(f"{path}: 'file_ending' must be text such as '.nii.gz', not {ending!r}.")
    numbers = _chosen(path, channels, channel)
    find = _finder(path, numbers, len(channels), ending)
    training = _explicit(path, content, numbers) or list(find("imagesTr", "labelsTr"))
    held_out = list(find("imagesTs", "labelsTs"))
    if not training and not held_out:
        raise ValueError(f"{path}: there is no scan in {path.parent / 'imagesTr'}, such as CASE_0000{ending}.")
    return {
        "name": content.get("name", path.absolute().parent.name),
        "modality": _modality(channels, channel, training or held_out),
        "licence": content.get("licence", content.get("license")),
        "labels": _labels(path, content.get("labels")),
        "training": training,
        "test": [item for item in held_out if "label" in item],
        "unlabeled": [item for item in held_out if "label" not in item],
        **_named(path, channels, channel),
        **({"spatial_dims": content["spatial_dims"]} if "spatial_dims" in content else {}),
        **({"spatial_dims": 2} if is_picture(f"a{ending}") else {}),
    }


def _finder(
    path: Path, numbers: Sequence[int], count: int, ending: str
) -> Callable[[str, str], Iterator[dict[str, Any]]]:
    """Return what lists the cases of a folder of scans, each with its label if the other folder holds one."""

    def find(images: str, labels: str) -> Iterator[dict[str, Any]]:
        folder = path.parent / images
        suffixes = [f"_{index:04d}{ending}" for index in range(count)]
        files = {item.name for item in folder.glob(f"*{ending}") if not item.name.startswith(".")}
        for case in sorted({name[: -len(suffixes[0])] for name in files if name.endswith(tuple(suffixes))}):
            missing = [f"{case}{suffix}" for suffix in suffixes if f"{case}{suffix}" not in files]
            if missing:
                raise ValueError(f"{path}: {folder / missing[0]} is missing, a channel of case '{case}'; add it.")
            label = path.parent / labels / f"{case}{ending}"
            is_labelled = label.exists()
            if images == "imagesTr" and not is_labelled:
                raise ValueError(f"{path}: {label} is missing, the label of case '{case}'; add it or remove the scan.")
            item = {"case": case, "image": [f"{images}/{case}{suffixes[number]}" for number in numbers]}
            yield {**item, "label": f"{labels}/{label.name}"} if is_labelled else item

    return find


def _explicit(path: Path, content: Mapping[str, Any], numbers: Sequence[int]) -> list[dict[str, Any]]:
    """Return the cases that nnU-Net's optional key ``dataset`` lists with their files."""
    listed = content.get("dataset", {})
    try:
        return [
            {"case": case, "image": [files["images"][number] for number in numbers], "label": files["label"]}
            for case, files in listed.items()
        ]
    except (AttributeError, KeyError, IndexError, TypeError) as error:
        raise ValueError(
            f"{path}: 'dataset' must map every case to its 'images' (one a channel) and 'label'."
        ) from error


def _labels(path: Path, stored: Any) -> dict[str, str]:
    if not isinstance(stored, dict):
        raise ValueError(f'{path}: \'labels\' must map names to values, as in {{"background": 0, "liver": 1}}.')
    for name, value in stored.items():
        if name == "ignore":
            raise ValueError(
                f"{path}: the label 'ignore' marks voxels to leave out, which medssl cannot; relabel them."
            )
        if isinstance(value, bool) or not isinstance(value, int):
            text = f"the label '{name}' is {value!r}, a region of several values"
            raise ValueError(f"{path}: {text}; medssl learns one value each, so list the values as labels.")
    values = {str(value): name for name, value in stored.items()}
    if len(values) < len(stored):
        raise ValueError(f"{path}: two 'labels' have the same value; give every label its own.")
    return values


def _channels(path: Path, stored: Mapping[str, Any]) -> list[str]:
    try:
        channels = [str(stored[key]) for key in sorted(stored, key=int)]
        if channels and sorted(map(int, stored)) == list(range(len(stored))):
            return channels
    except ValueError:
        pass
    raise ValueError(f'{path}: channels must be numbered from 0, as in {{"0": "T1", "1": "T2"}}, not {dict(stored)}.')


def _named(path: Path, channels: Sequence[str], channel: str | None) -> dict[str, list[str]]:
    """Return the names of the channels where several are taken."""
    taken = _chosen(path, channels, channel)
    names = [channels[number] for number in taken]
    if len(set(names)) < len(names):
        names = [f"{name} {number}" for name, number in zip(names, taken, strict=True)]
    return {"channels": names} if len(taken) > 1 else {}


def _chosen(path: Path, channels: Sequence[str], channel: str | None) -> list[int]:
    """Return the number of the chosen channel, or of all."""
    if channel is None:
        return list(range(len(channels)))
    known = {str(number): number for number in range(len(channels))} | {
        name.casefold(): number for number, name in enumerate(channels)
    }
    if channel.casefold() in known:
        return [known[channel.casefold()]]
    raise ValueError(
        f"{path} has no channel '{channel}' but {', '.join(channels)}; choose one of them, or none for all."
    )


def _numbered(image: str, number: int) -> str:
    ending = image[len(image) - len(Path(image).name) + len(case_of_file(image)) :]
    return f"{image[: len(image) - len(ending)]}_{number:04d}{ending}"


def _modality(channels: Sequence[str], channel: str | None, entries: Sequence[Any]) -> str:
    """Return CT if all channels taken are, else MR; image for pictures.

    The scaling of MR needs no unit, as nnU-Net takes all channels but CT.
    """
    if any(isinstance(item, dict) and is_picture(image_files(item.get("image", ""))[0]) for item in entries[:1]):
        return "image"
    named = channels if channel is None else [channels[int(channel)] if channel.isdecimal() else channel]
    return "CT" if all(name.upper() == "CT" for name in named) else "MR"


def _list(path: Path, content: Mapping[str, Any], section: str) -> list[Any]:
    entries = content.get(section, [])
    if not isinstance(entries, list):
        raise ValueError(f"{path}: '{section}' must be a list of cases.")
    return entries
