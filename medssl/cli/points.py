"""The command ``segment-points``: the mask of a structure from a few points inside and outside of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from medssl.cli.options import OutOption, TrustOption, print_line, require_path

_OPTIONS = ("--in", "--not")


class PointsCommand(TyperCommand):
    """A command whose options of points can be repeated, which Typer does not offer for options of three numbers."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Join the three coordinates behind each option to one word."""
        words, joined = list(args), []
        while words:
            word = words.pop(0)
            if word in _OPTIONS:
                coordinates = [words.pop(0) for _ in range(3) if words and not words[0].startswith("--")]
                word = f"{word}={' '.join(coordinates)}"
            joined.append(word)
        return super().parse_args(ctx, joined)


def segment_points(
    scan: Annotated[Path, typer.Argument(help="Scan: a file, or the folder of a DICOM series.")],
    bundle: Annotated[
        Path,
        typer.Option("--bundle", help="A packed bundle, whose backbone is used, or a name of `medssl weights list`."),
    ],
    out: OutOption,
    inside: Annotated[
        list[str] | None,
        typer.Option("--in", metavar="R A S", help="A point in the structure, in mm; may be repeated."),
    ] = None,
    outside: Annotated[
        list[str] | None, typer.Option("--not", metavar="R A S", help="A point not in it, in mm; may be repeated.")
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Of the structure and of the files.")] = "structure",
    trust: TrustOption = False,
) -> None:
    """Segment one structure of a scan from a few points, and print its volume."""
    from medssl.packaging.shipped_weights import bundle_folder

    if not name.strip() or name.startswith(".") or set(name) & set("/\\:"):
        raise ValueError(f"{name!r} cannot be the name of a file; give a --name such as 'left kidney'.")
    points = [_points(words or [], option) for words, option in zip((inside, outside), _OPTIONS, strict=True)]
    bundle_folder(bundle)
    require_path(scan, "scan")
    from medssl.scans.clicked import clicked_voxels

    clicked_voxels(scan, *points)
    from medssl.workflows.points import segment_points as segment

    *files, volume = segment(scan, *points, bundle, out, name, trust)
    for path in files:
        print_line(f"Segmentation: {path}")
    print_line(f"Volume of {name}: {volume:.1f} ml")


def _points(words: Sequence[str], option: str) -> list[list[float]]:
    try:
        points = [[float(coordinate) for coordinate in word.split()] for word in words]
    except ValueError:
        points = [[]]
    if any(len(point) != 3 for point in points):
        raise ValueError(f"{option} takes the three coordinates of a point in mm: {option} R A S.")
    return points
