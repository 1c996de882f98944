"""Options that several commands share, and the console they print to."""

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

console = Console()

DatalistArgument = Annotated[Path, typer.Argument(help="The data list (JSON).")]
DatalistOption = Annotated[Path, typer.Option("--datalist", help="The data list (JSON).")]
ScansOption = Annotated[
    Path | None, typer.Option("--datalist", help="The data list (JSON); not with --data synthetic.")
]
DataOption = Annotated[
    list[str], typer.Option("--data", help="Data recipe: ct, mr, … or a YAML file; may be repeated, the last wins.")
]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to make.")]
LayerOption = Annotated[list[str] | None, typer.Option("--with", help="A recipe to add, merged last; may be repeated.")]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Continue the run in --out, or start it: one command restarts it after any stop."),
]
ChangedOption = Annotated[
    bool, typer.Option("--allow-changed", help="Resume with other settings or data than the run was started with.")
]
BackboneOption = Annotated[
    Path | None,
    typer.Option("--backbone", help="Folder of a pretraining run or bundle, or a name of `medssl weights list`."),
]
TrustOption = Annotated[
    bool,
    typer.Option(
        "--trust",
        help="Run what the bundle or run says, code too; else it is read as data (docs/security.md).",
    ),
]
LabelsOption = Annotated[int | None, typer.Option("--labels", help="Number of labelled cases; default: all.")]
FoldOption = Annotated[int, typer.Option("--fold", help="Which seeded subset of the labelled cases.")]


def require_path(path: Path, what: str) -> None:
    """Check that a file or folder is there, before the libraries that read it are imported, which takes seconds.

    Raises:
        FileNotFoundError: if it is not.
    """
    if not path.exists():
        raise FileNotFoundError(f"There is no {what} {path}; correct the path.")


def print_line(line: str) -> None:
    """Print a line as it is: long ones are not wrapped, and nothing in it is markup."""
    console.print(line, soft_wrap=True, highlight=False, markup=False)


def print_once(line: str | Table) -> None:
    """Print a line or a table; under ``torchrun`` only rank 0 does."""
    if os.environ.get("RANK", "0") == "0":
        console.print(line, soft_wrap=True)
