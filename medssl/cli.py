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


@app.command()
def datalist(
    images: Annotated[Path, typer.Argument(help="Folder of scans: NIfTI, NRRD, MetaImage files or DICOM folders.")],
    out: Annotated[Path, typer.Option("--out", help="The data list (JSON) to write.")],
    labels: Annotated[Path | None, typer.Option("--labels", help="Folder of label maps, matched by name.")] = None,
    modality: Annotated[str, typer.Option("--modality", help="CT or MR.")] = "CT",
    name: Annotated[str, typer.Option("--name", help="Name of the data set.")] = "",
    label_names: Annotated[str | None, typer.Option("--label-names", help='As in "1=liver,2=spleen".')] = None,
    num_validation: Annotated[int, typer.Option("--validation", help="Labelled cases to hold out.")] = 0,
    num_test: Annotated[int, typer.Option("--test", help="Labelled cases to hold out.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice of held-out cases.")] = 0,
) -> None:
    """Make a data list from folders of scans and labels."""
    from medssl.data.datalist import SECTIONS, write_datalist
    from medssl.data.folders import build_datalist

    name = name or images.resolve().name
    made = build_datalist(images, labels, name, modality.upper(), label_names, seed, num_validation, num_test)
    write_datalist(made, out)
    counts = ", ".join(f"{len(made.sections[section])} {section}" for section in SECTIONS)
    console.print(f"Data list: {out} ({counts})", soft_wrap=True)


@app.command()
def folds(
    datalist: Annotated[Path, typer.Argument(help="The data list (JSON).")],
    out: OutOption,
    count: Annotated[int, typer.Option("--count", help="Number of folds.")] = 5,
    seed: Annotated[int, typer.Option("--seed", help="Of the choice.")] = 0,
) -> None:
    """Write one data list per fold of a cross-validation over the training and test cases."""
    from medssl.data.datalist import read_datalist, write_datalist
    from medssl.data.folds import fold_datalists

    for number, fold in enumerate(fold_datalists(read_datalist(datalist), count, seed)):
        console.print(f"Fold: {write_datalist(fold, out / f'fold_{number}.json')}", soft_wrap=True)


@app.command()
def check(
    datalist: Annotated[Path, typer.Argument(help="The data list (JSON).")],
    data: Annotated[list[str] | None, typer.Option("--data", help="Data recipes, for patch size and spacing.")] = None,
) -> None:
    """Read every case whole and say what is wrong with it; exit status 1 if anything must be mended."""
    from medssl.workflows.checking import check_report

    lines, num_errors = check_report(datalist, data or ())
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    if num_errors:
        sys.exit(1)


@app.command()
def report(
    rows: Annotated[list[Path], typer.Argument(help="rows.jsonl files, or folders that are searched for them.")],
    out: OutOption,
) -> None:
    """Turn rows of results into tables (Markdown, CSV) and a figure (PNG)."""
    from medssl.evaluation.report import report as write_report

    files = [file for path in rows for file in (sorted(path.rglob("rows.jsonl")) if path.is_dir() else [path])]
    if not files:
        raise ValueError(f"There is no rows.jsonl below {', '.join(map(str, rows))}; run `medssl evaluate` first.")
    console.print(f"Report: {write_report(files, out)}", soft_wrap=True)


@app.command()
def protocol(
    name: Annotated[str, typer.Argument(help="Protocol: hippocampus, … or a YAML file.")],
    datalist: DatalistOption,
    out: OutOption,
    processes: Annotated[int, typer.Option("--processes", help="Runs at a time.")] = 1,
) -> None:
    """Run methods x settings x labels x folds under one budget and report them; continues where it stopped."""
    from medssl.workflows.protocol import run_protocol

    console.print(f"Report: {run_protocol(name, datalist, out, processes)}", soft_wrap=True)


@app.command()
def pack(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    name: Annotated[str, typer.Option("--name", help="Name of the bundle.")],
    out: Annotated[Path | None, typer.Option("--out", help="Where the bundle goes; default: RUN/bundle.")] = None,
) -> None:
    """Make a self-contained MONAI bundle, folder and zip, from a finished run."""
    from medssl.packaging.pack import pack as pack_run

    console.print(f"Bundle: {pack_run(run, name, out)}", soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("medssl-demo"),
) -> None:
    """Run the whole line on phantoms: data, check, pretraining, probe, bundle, prediction of a new scan."""
    from medssl.workflows.demo import run_demo

    console.print(f"Bundle: {run_demo(out, console)}", soft_wrap=True)


def main() -> None:
    """Run the command line; an expected error is one clear message and exit status 1."""
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, highlight=False, markup=False)
        sys.exit(1)
