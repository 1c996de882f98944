"""The command line: ``medssl COMMAND``."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
console = Console()
PASS_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

DataOption = Annotated[
    list[str], typer.Option("--data", help="Data recipe: ct, mr, … or a YAML file; may be repeated, the last wins.")
]
DatalistOption = Annotated[Path, typer.Option("--datalist", help="The data list (JSON).")]
OutOption = Annotated[Path, typer.Option("--out", help="The folder to make.")]
LayerOption = Annotated[list[str] | None, typer.Option("--with", help="A recipe laid over; may be repeated.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Continue from the latest checkpoint in --out.")]


@app.command(context_settings=PASS_OVERRIDES)
def pretrain(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="Method recipe: kats, vox2vec, … or a YAML file.")],
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    layers: LayerOption = None,
    resume: ResumeOption = False,
) -> None:
    """Pretrain a backbone without labels. Any setting of the recipe can follow, as in --max_epochs 5."""
    from medssl.workflows import recipes, training

    overrides = recipes.parse_overrides(context.args)
    weights = training.pretrain(method, datalist, data, out, layers or (), overrides, resume)
    console.print(f"Backbone: {weights}", soft_wrap=True)


BackboneOption = Annotated[Path | None, typer.Option("--backbone", help="Folder of a pretraining run.")]
LabelsOption = Annotated[int | None, typer.Option("--labels", help="Number of labelled cases; default: all.")]
FoldOption = Annotated[int, typer.Option("--fold", help="Which seeded subset of the labelled cases.")]


@app.command(context_settings=PASS_OVERRIDES)
def probe(
    context: typer.Context,
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    backbone: BackboneOption = None,
    labels: LabelsOption = None,
    fold: FoldOption = 0,
    layers: LayerOption = None,
    resume: ResumeOption = False,
) -> None:
    """Train a linear head on a frozen backbone (a random one without --backbone)."""
    _train("linear_probe", context, datalist, data, out, backbone, labels, fold, layers, resume)


@app.command(context_settings=PASS_OVERRIDES)
def finetune(
    context: typer.Context,
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    backbone: BackboneOption = None,
    labels: LabelsOption = None,
    fold: FoldOption = 0,
    layers: LayerOption = None,
    resume: ResumeOption = False,
) -> None:
    """Fine-tune a pretrained backbone with a non-linear head; without --backbone, train it from scratch."""
    setting = "fine_tune" if backbone else "from_scratch"
    _train(setting, context, datalist, data, out, backbone, labels, fold, layers, resume)


def _train(setting, context, datalist, data, out, backbone, labels, fold, layers, resume) -> None:
    from medssl.workflows import recipes, training

    overrides = recipes.parse_overrides(context.args)
    weights = training.train_segmentation(
        setting, datalist, data, out, backbone, labels, fold, layers or (), overrides, resume
    )
    console.print(f"Network: {weights}", soft_wrap=True)


@app.command(context_settings=PASS_OVERRIDES)
def evaluate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a probe, fine-tuning or from-scratch run.")],
    datalist: Annotated[Path | None, typer.Option("--datalist", help="Another data list than the run's.")] = None,
    section: Annotated[str, typer.Option("--section", help="Section of the data list.")] = "test",
) -> None:
    """Write one row of Dice, HD95 and surface Dice per case and class."""
    from medssl.workflows import recipes, training

    rows = training.evaluate(run, datalist, section, recipes.parse_overrides(context.args))
    console.print(f"Rows: {rows}", soft_wrap=True)


def main() -> None:
    """Run the command line; an expected error is one clear message and exit status 1."""
    try:
        app()
    except (ValueError, FileNotFoundError, FileExistsError, FloatingPointError) as error:
        console.stderr = True
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, highlight=False)
        sys.exit(1)
