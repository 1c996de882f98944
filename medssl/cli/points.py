"""The command ``segment-points``: the mask of a structure from a few points inside and outside of it."""

from pathlib import Path
from typing import Annotated

import typer

from medssl.cli.options import OutOption, TrustOption, print_line, require_path

_Points = list[tuple[float, float, float]]


def segment_points(
    scan: Annotated[Path, typer.Argument(help="Scan: a file, or the folder of a DICOM series.")],
    bundle: Annotated[
        Path,
        typer.Option("--bundle", help="A packed bundle, whose backbone is used, or a name of `medssl weights list`."),
    ],
    out: OutOption,
    inside: Annotated[
        _Points | None, typer.Option("--in", help="R A S in mm of a point in the structure; may be repeated.")
    ] = None,
    outside: Annotated[
        _Points | None, typer.Option("--not", help="R A S in mm of a point not in it; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the structure and of the files.")] = "structure",
    trust: TrustOption = False,
) -> None:
    """Segment one structure of a scan from a few points, and print its volume."""
    from medssl.packaging.shipped_weights import bundle_folder

    if not name.strip() or name.startswith(".") or set(name) & set("/\\:"):
        raise ValueError(f"{name!r} cannot be the name of a file; give a --name such as 'left kidney'.")
    bundle_folder(bundle)
    require_path(scan, "scan")
    from medssl.scans.clicked import clicked_voxels

    clicked_voxels(scan, inside or [], outside or [])
    from medssl.workflows.points import segment_points as segment

    *files, volume = segment(scan, inside or [], outside or [], bundle, out, name, trust)
    for path in files:
        print_line(f"Segmentation: {path}")
    print_line(f"Volume of {name}: {volume:.1f} ml")
