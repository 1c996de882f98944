"""The groups of commands for what others load or made: ``medssl bundle`` and ``medssl weights``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

console = Console()
DataOption = Annotated[
    list[str], typer.Option("--data", help="Data recipe: ct, mr, … or a YAML file; may be repeated, the last wins.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to make.")]
bundle_app = typer.Typer(no_args_is_help=True, help="Bundles that others load.")
weights_app = typer.Typer(no_args_is_help=True, help="Checkpoints that others published.")


@bundle_app.command("check")
def check_bundle(
    bundle: Annotated[Path, typer.Argument(help="Folder or zip of a packed bundle. Its configuration is run.")],
    quick: Annotated[bool, typer.Option("--quick", help="Without MONAI's commands, in seconds.")] = False,
) -> None:
    """Say what is wrong with a bundle, a line a fault; exit status 1 if anything is. Check those you trust only."""
    from medssl.packaging.checks.checking import check_packed

    faults = check_packed(bundle, quick)
    for line in faults or ["ok"]:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if faults:
        sys.exit(1)


@bundle_app.command("export-auto3dseg")
def export_auto3dseg(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run of a stock MONAI network.")],
    name: Annotated[str, typer.Option("--name", help="Name of the model.")],
    out: Annotated[Path, typer.Option("--out", help="The folder that gets the zip.")],
    version: Annotated[str, typer.Option("--version", help="Three numbers.")] = "0.1.0",
) -> None:
    """Make a zip for the 3D Slicer extension MONAIAuto3DSeg."""
    from medssl.packaging.auto3dseg import export_auto3dseg as export

    console.print(f"Model: {export(run, name, out, version)}", soft_wrap=True)


@weights_app.command("import")
def import_weights(
    file: Annotated[Path, typer.Argument(help="Checkpoint of vox2vec, of Kats et al., or torchvision's.")],
    method: Annotated[str, typer.Option("--as", help="vox2vec, kats, resnet18 or resnet50.")],
    data: DataOption,
    out: OutOption,
    name: Annotated[str | None, typer.Option("--name", help="Of the bundle; default: the method's.")] = None,
) -> None:
    """Make a bundle of published weights, from which --backbone starts; every tensor is accounted for."""
    from medssl.workflows import importing

    bundle, lines = importing.import_weights(file, method, data, name or method, out)
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    console.print(f"Bundle: {bundle}", soft_wrap=True)


@weights_app.command()
def inspect(file: Annotated[Path, typer.Argument(help="A checkpoint.")]) -> None:
    """Say what a checkpoint holds."""
    from medssl.workflows.importing import inspect_weights

    for line in inspect_weights(file):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
