"""Files of a folder that are the channels of scans, by the numbers in their names."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from medssl.scans.channels import missing_channel, numbered_channels
from medssl.scans.pictures import is_picture


def channel_files(scans: Mapping[str, Path], labels: Iterable[str]) -> dict[str, list[Path]]:
    """Return the files of every case: those of its channels where names are numbered as nnU-Net does, else one.

    Pictures are left as they are: their numbers count images.

    Args:
        scans: file or folder by its name without the ending.
        labels: names of the labels without ending and suffix.

    Raises:
        ValueError: if a case lacks a channel that others have.

    Example:
        >>> files = {stem: Path(f"{stem}.nii.gz") for stem in ("a_0000", "a_0001", "b_0000", "b_0001")}
        >>> [len(channels) for channels in channel_files(files, ["a"]).values()]
        [2, 2]
    """
    grouped = None if any(map(is_picture, scans.values())) else numbered_channels(scans, labels)
    if grouped is None:
        return {stem: [path] for stem, path in scans.items()}
    for case, channels in grouped.items():
        if missing := missing_channel(case, channels, grouped):
            folder = scans[channels[0]].parent
            raise ValueError(
                f"{folder} holds no {missing}, a channel of case '{case}' by the names of the other scans; add it, or "
                "rename the files if their numbers mean something else."
            )
    return {case: [scans[stem] for stem in channels] for case, channels in grouped.items()}


def chosen_channel(cases: Mapping[str, list[Path]], channel: str | None, folder: Path) -> dict[str, list[Path]]:
    """Return the files of every case, or of one of its channels.

    Args:
        cases: files of the channels by case.
        channel: number of the channel to take; None: all.
        folder: for the message.

    Raises:
        ValueError: if there is no such channel.
    """
    if channel is None:
        return dict(cases)
    count = max(map(len, cases.values()))
    if channel.isdecimal() and int(channel) < count and count > 1:
        return {case: [files[int(channel)]] for case, files in cases.items()}
    which = f"no channel '{channel}', but 0 to {count - 1}" if count > 1 else f"no channels to choose '{channel}' from"
    raise ValueError(f"{folder} has {which}; correct --channel or leave it out.")
