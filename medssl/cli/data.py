"""The commands that make and check data lists: datalist, slices, folds and check."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medssl.cli.options import DatalistArgument, OutOption, console, print_line


def datalist(
    images: Annotated[
        Path,
        typer.Argument(help="Folder of scans (NIfTI, NRRD, MetaImage, DICOM, PNG, TIFF, BMP, BIDS) or a dataset.json."),
    ],
    out: Annotated[Path, typer.Option("--out", help="The data list (JSON) to write.")],
    labels: Annotated[Path | None, typer.Option("--labels", help="Folder of label maps, matched by name.")] = None,
    modality: Annotated[
        str | None,
        typer.Option(
            "--modality", help="CT, MR or image; default: image for pictures, MR for several channels, else CT."
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the data set.")] = "",
    label_names: Annotated[str | None, typer.Option("--label-names", help='As in "1=liver,2=spleen".')] = None,
    label_colours: Annotated[
        str | None, typer.Option("--label-colours", help='Of colour masks, as in "0=else,1=#ff0000,2=#0000ff".')
    ] = None,
    group: Annotated[
        str | None, typer.Option("--group", help=r'Whose a case is, as in "(patient\d+)_": kept in one section.')
    ] = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Of several: name or number; in BIDS the suffix, such as T1w.")
    ] = None,
    series: Annotated[
        str | None, typer.Option("--series", help="Of several DICOM series: UID, number or part of the description.")
    ] = None,
    num_validation: Annotated[int, typer.Option("--validation", help="Labelled cases (groups) to hold out.")] = 0,
    num_test: Annotated[int, typer.Option("--test", help="Labelled cases (groups) to hold out.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of held-out cases.")] = 0,
) -> None:
    """Make a data list from folders of scans and labels, of images and masks, or from another list."""
    from medssl.data.datalist import SECTIONS, write_datalist
    from medssl.data.folders import build_datalist
    from medssl.data.held_out import draw_datalist

    if images.is_file():
        if any((labels, modality, name, label_names, label_colours, series)):
            raise ValueError(f"{images} says itself which scans and labels there are; leave those options out.")
        made = draw_datalist(images, channel, group, seed, num_validation, num_test)
    else:
        name = name or images.resolve().name
        drawn = (seed, num_validation, num_test)
        made = build_datalist(
            images, labels, name, modality, label_names, *drawn, label_colours, group, channel, series
        )
    write_datalist(made, out)
    counts = ", ".join(f"{len(made.sections[section])} {section}" for section in SECTIONS)
    console.print(f"Data list: {out} ({counts})", soft_wrap=True)
    if made.channels and not images.is_file():
        numbers = f"CASE_0000 to CASE_{len(made.channels) - 1:04d}"
        kind = f"{len(made.channels)} channels by the numbers of its files ({numbers})"
        console.print(f"Every case has {kind}, and is {made.modality}.", soft_wrap=True)


def slices(
    datalist: Annotated[Path, typer.Argument(help="The data list (JSON) of volumes.")],
    out: OutOption,
    axis: Annotated[int, typer.Option("--axis", help="0 sagittal, 1 coronal, 2 axial.")] = 2,
) -> None:
    """Cut volumes into 2D slices with a data list of their own; the slices of a case stay in its section."""
    from medssl.data.datalist import read_datalist

    listed = read_datalist(datalist)
    from medssl.data.slices import cut_slices

    console.print(f"Data list: {cut_slices(listed, out, axis)}", soft_wrap=True)


def folds(
    datalist: DatalistArgument,
    out: OutOption,
    count: Annotated[int, typer.Option("--count", help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice.")] = 0,
) -> None:
    """Write one data list per fold of a cross-validation over the training and test cases."""
    from medssl.data.datalist import read_datalist, write_datalist
    from medssl.data.folds import fold_datalists

    for number, fold in enumerate(fold_datalists(read_datalist(datalist), count, seed)):
        console.print(f"Fold: {write_datalist(fold, out / f'fold_{number}.json')}", soft_wrap=True)


def check(
    datalist: DatalistArgument,
    data: Annotated[list[str] | None, typer.Option("--data", help="Data recipes, for patch size and spacing.")] = None,
) -> None:
    """Read every case in full and say what is wrong with it; exit status 1 if anything must be fixed."""
    from medssl.workflows.checking import check_report

    lines, num_errors = check_report(datalist, data or ())
    for line in lines:
        print_line(line)
    if num_errors:
        sys.exit(1)
