"""The command ``segment``: label a few scans, get the others."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from medssl.cli.options import OutOption, TrustOption, console, print_line


class Modality(StrEnum):
    """What scans are."""

    CT = "CT"
    MR = "MR"


class Absent(StrEnum):
    """What a structure is that a mask lacks and others show."""

    ignore = "ignore"
    background = "background"


def segment(
    context: typer.Context,
    scans: Annotated[
        Path,
        typer.Argument(help="Folder of scans: NIfTI, NRRD, MetaImage, or folders of DICOM series; or a data list."),
    ],
    out: OutOption,
    labels: Annotated[
        Path | None, typer.Option("--labels", help="Folder of your masks, matched by name; default: those of the list.")
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", min=0, help="For the whole command, about.")] = 10.0,
    backbone: Annotated[
        str | None,
        typer.Option("--backbone", help="Pretraining run, bundle or shipped weights; default: those that suit."),
    ] = None,
    modality: Annotated[Modality | None, typer.Option("--modality", help="Default: by DICOM or values.")] = None,
    absent: Annotated[
        Absent, typer.Option("--absent", help="A structure that only some masks show: unknown elsewhere, or not there.")
    ] = Absent.ignore,
    label_names: Annotated[str | None, typer.Option("--label-names", help='As in "1=liver,2=spleen".')] = None,
    trust: TrustOption = False,
) -> None:
    """Segment all scans from the few that are labelled, with a report. Settings can follow, as in --spacing [2,2,3]."""
    from medssl.workflows import recipes
    from medssl.workflows.segment import segment_scans

    made = segment_scans(
        *(scans, labels, out, minutes, backbone, modality and modality.value, absent.value, label_names),
        recipes.parse_overrides(context.args),
        console,
        trust,
    )
    for name, problem in made.problems.items():
        print_line(f"Left out: {name}: {problem}")
    print_line(f"Segmentations: {out / 'segmentations'}")
    print_line(f"Bundle: {made.bundle}")
    print_line(f"Report: {made.report}")
    if made.problems:
        sys.exit(1)
