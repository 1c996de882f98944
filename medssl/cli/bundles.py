"""The commands for bundles: pack, similarity, and the groups ``bundle`` and ``weights``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from medssl.cli.options import DataOption, OutOption, TrustOption, console, print_line, require_path

bundle_app = typer.Typer(no_args_is_help=True, help="Bundles that others load.")
weights_app = typer.Typer(
    no_args_is_help=True, help="Weights that come with medssl, and checkpoints that others published."
)


@bundle_app.command("check")
def check_bundle(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip of a packed bundle.")],
    quick: Annotated[bool, typer.Option("--quick", help="With --trust: skip MONAI's commands.")] = False,
    trust: TrustOption = False,
) -> None:
    """Say what is wrong with a bundle, one line per fault; exit status 1 if anything is. --trust runs it too."""
    require_path(bundle, "bundle")
    from medssl.packaging.checks.checking import check_packed

    faults = check_packed(bundle, quick, trust)
    for line in faults or ["ok"]:
        print_line(line)
    if faults:
        sys.exit(1)
    if not trust:
        print_line("Not tried: models/model.ts and MONAI's commands, which run the bundle's code; --trust tries them.")


@bundle_app.command("export-auto3dseg")
def export_auto3dseg(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of a stock MONAI network.")],
    name: Annotated[str, typer.Option("--name", help="Name of the model.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the zip.")],
    version: Annotated[str, typer.Option("--version", help="Three numbers.")] = "0.1.0",
) -> None:
    """Make a zip for the 3D Slicer extension MONAIAuto3DSeg."""
    from medssl.runs.record import read_run_record

    read_run_record(run)
    from medssl.packaging.auto3dseg import export_auto3dseg as export

    console.print(f"Model: {export(run, name, out, version)}", soft_wrap=True)


@weights_app.command("list")
def list_weights() -> None:
    """List the pretrained weights that come with medssl; --backbone takes their names."""
    from medssl.packaging.shipped_weights import shipped_weights

    row = "{:<14}{:>8}  {:<9}{:<18}{:<20}{}".format
    print_line(row("name", "size", "modality", "spacing", "channels x levels", "licence"))
    for weights in shipped_weights():
        spacing = f"{' x '.join(f'{size:g}' for size in weights.spacing)} mm"
        network = f"{weights.channels} x {weights.levels}"
        size = f"{weights.size / 1e6:.1f} MB"
        print_line(row(weights.name, size, weights.modality, spacing, network, weights.licence))


@weights_app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Checkpoint of vox2vec, of Kats et al., or torchvision's.")],
    method: Annotated[str, typer.Option("--as", help="vox2vec, kats, resnet18 or resnet50.")],
    data: DataOption,
    out: OutOption,
    name: Annotated[str | None, typer.Option("--name", help="Name of the bundle; default: the method.")] = None,
) -> None:
    """Make a bundle of published weights, from which --backbone starts; every tensor is accounted for."""
    require_path(file, "file of weights")
    from medssl.workflows import importing

    bundle, lines = importing.import_weights(file, method, data, name or method, out)
    for line in lines:
        print_line(line)
    console.print(f"Bundle: {bundle}", soft_wrap=True)


@weights_app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A checkpoint.")]) -> None:
    """Say what a checkpoint holds."""
    require_path(file, "file of weights")
    from medssl.workflows.importing import inspect_weights

    for line in inspect_weights(file):
        print_line(line)


def pack(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    name: Annotated[str, typer.Option("--name", help="Name of the bundle.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the bundle goes; default: RUN/bundle.")] = None,
    trust: TrustOption = False,
) -> None:
    """Make a self-contained MONAI bundle, folder and zip, from a finished run, and try every MONAI command on it."""
    from medssl.runs.record import read_run_record

    read_run_record(run)
    from medssl.packaging.pack import pack as pack_run

    console.print(f"Bundle: {pack_run(run, name, out, rehearsed=True, trust=trust)}", soft_wrap=True)


def similarity(
    scan: Annotated[Path, typer.Argument(help="Scan: a file, or the folder of a DICOM series.")],
    point: Annotated[tuple[float, float, float], typer.Option("--point", help="R A S of a point in it, in mm.")],
    bundle: Annotated[
        Path,
        typer.Option("--bundle", help="A packed bundle, whose backbone is used, or a name of `medssl weights list`."),
    ],
    out: OutOption,
    other: Annotated[Path | None, typer.Option("--in", help="Another scan to search; default: the same.")] = None,
    trust: TrustOption = False,
) -> None:
    """Write a heat map (NIfTI) and a picture (PNG) of everything that looks like a point of a scan."""
    from medssl.packaging.shipped_weights import bundle_folder

    bundle_folder(bundle)
    for path in (scan, other or scan):
        require_path(path, "scan")
    from medssl.workflows.similarity import similarity as write_similarity

    for path in write_similarity(scan, point, bundle, out, other, trust):
        console.print(f"Similarity: {path}", soft_wrap=True)
