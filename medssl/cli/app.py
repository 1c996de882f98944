"""The command line: ``medssl COMMAND``."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from medssl.cli.bundles import DataOption, OutOption, bundle_app, console, weights_app
from medssl.cli.data import datalist, folds, slices

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
app.add_typer(bundle_app, name="bundle")
app.add_typer(weights_app, name="weights")
PASS_OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}

DatalistOption = Annotated[Path, typer.Option("--datalist", help="The data list (JSON).")]
LayerOption = Annotated[list[str] | None, typer.Option("--with", help="A recipe laid over; may be repeated.")]
ResumeOption = Annotated[
    bool,
    typer.Option("--resume", help="Go on with the run in --out, or start it: one command restarts it after any stop."),
]
ChangedOption = Annotated[
    bool, typer.Option("--allow-changed", help="Resume with other settings or data than the run was started with.")
]


@app.command(context_settings=PASS_OVERRIDES)
def prepare(
    context: typer.Context,
    datalist: Annotated[Path, typer.Argument(help="The data list (JSON).")],
    data: DataOption,
    out: OutOption,
    sections: Annotated[str | None, typer.Option("--sections", help="Default: training+unlabeled.")] = None,
    processes: Annotated[int | None, typer.Option("--processes", help="Cases at a time; default: one a core.")] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the checksums of what is kept.")] = False,
) -> None:
    """Preprocess every case once, for `medssl pretrain --store`; keeps what is unchanged. Settings as for pretrain."""
    from medssl.workflows import preparing, recipes

    overrides = recipes.parse_overrides(context.args)
    prepared = preparing.prepare(datalist, data, out, sections, processes, verify, overrides)
    for case, problem in prepared.failed.items():
        console.print(f"{case}: error: {problem}", soft_wrap=True, highlight=False, markup=False)
    counts = f"{len(prepared.made)} made, {len(prepared.kept)} kept, {len(prepared.failed)} failed"
    console.print(f"Store: {out} ({counts})", soft_wrap=True)
    if prepared.failed:
        sys.exit(1)


@app.command(context_settings=PASS_OVERRIDES)
def pretrain(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="Method recipe: kats, vox2vec, … or a YAML file.")],
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    layers: LayerOption = None,
    resume: ResumeOption = False,
    allow_changed: ChangedOption = False,
    store: Annotated[Path | None, typer.Option("--store", help="Take the cases from a store (prepare).")] = None,
) -> None:
    """Pretrain a backbone without labels. Any setting of the recipe can follow, as in --max_epochs 5."""
    from medssl.workflows import recipes, training

    overrides = recipes.parse_overrides(context.args)
    weights = training.pretrain(method, datalist, data, out, layers or (), overrides, resume, allow_changed, store)
    _print_once(f"Backbone: {weights}")


BackboneOption = Annotated[Path | None, typer.Option("--backbone", help="Folder of a pretraining run or bundle.")]
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
    allow_changed: ChangedOption = False,
    cached: Annotated[bool, typer.Option("--cached", help="Train as the paper does, on features kept once.")] = False,
    features: Annotated[
        Path | None, typer.Option("--features", help="Where features are kept, for several runs; default: in --out.")
    ] = None,
) -> None:
    """Fit a linear head on a frozen backbone (a random one without --backbone)."""
    if features is not None and "paper_probe" in (layers or ()) and not cached:
        raise ValueError("--with paper_probe keeps no features; add --cached, or leave out --features.")
    layers = ["cached_probe", *(layers or ())] if cached else layers
    kept = {} if features is None else {"features_dir": str(features.resolve())}
    _train("linear_probe", context, datalist, data, out, backbone, labels, fold, layers, resume, allow_changed, kept)


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
    allow_changed: ChangedOption = False,
) -> None:
    """Fine-tune a pretrained backbone with a non-linear head; without --backbone, train it from scratch."""
    setting = "fine_tune" if backbone else "from_scratch"
    _train(setting, context, datalist, data, out, backbone, labels, fold, layers, resume, allow_changed)


def _train(
    setting, context, datalist, data, out, backbone, labels, fold, layers, resume, allow_changed, settings=None
) -> None:
    from medssl.workflows import recipes, training

    overrides = {**(settings or {}), **recipes.parse_overrides(context.args)}
    weights = training.train_segmentation(
        setting, datalist, data, out, backbone, labels, fold, layers or (), overrides, resume, allow_changed
    )
    console.print(f"Network: {weights}", soft_wrap=True)


@app.command(context_settings=PASS_OVERRIDES)
def evaluate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a probe, fine-tuning or from-scratch run.")],
    datalist: Annotated[Path | None, typer.Option("--datalist", help="Another data list than the run's.")] = None,
    section: Annotated[str, typer.Option("--section", help="Section of the data list.")] = "test",
    layers: LayerOption = None,
) -> None:
    """Write one row of Dice, HD95 and surface Dice per case and class."""
    from medssl.workflows import recipes, training

    rows = training.evaluate(run, datalist, section, recipes.parse_overrides(context.args), layers or ())
    _print_once(f"Rows: {rows}")


app.command()(datalist)
app.command()(slices)
app.command()(folds)


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
    """Make a self-contained MONAI bundle, folder and zip, from a finished run; every MONAI command is tried on it."""
    from medssl.packaging.pack import pack as pack_run

    console.print(f"Bundle: {pack_run(run, name, out, rehearsed=True)}", soft_wrap=True)


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("medssl-demo"),
) -> None:
    """Run the whole line on phantoms: data, check, pretraining, probe, bundle, prediction of a new scan."""
    from medssl.workflows.demo import run_demo

    console.print(f"Bundle: {run_demo(out, console)}", soft_wrap=True)


@app.command()
def similarity(
    scan: Annotated[Path, typer.Argument(help="Scan: a file, or the folder of a DICOM series.")],
    point: Annotated[tuple[float, float, float], typer.Option("--point", help="R A S of a point in it, in mm.")],
    bundle: Annotated[Path, typer.Option("--bundle", help="A packed bundle, whose backbone is used.")],
    out: OutOption,
    other: Annotated[Path | None, typer.Option("--in", help="Another scan to search; default: the same.")] = None,
) -> None:
    """Write a heat map (NIfTI) and a picture (PNG) of what looks like a point of a scan."""
    from medssl.workflows.similarity import similarity as write_similarity

    for path in write_similarity(scan, point, bundle, out, other):
        console.print(f"Similarity: {path}", soft_wrap=True)


def _print_once(line: str) -> None:
    """Print a line, under ``torchrun`` by rank 0 alone."""
    if os.environ.get("RANK", "0") == "0":
        console.print(line, soft_wrap=True)


def main() -> None:
    """Run the command line; an expected error is one clear message and exit status 1."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("medssl").setLevel(logging.INFO)
    try:
        app()
    except (ValueError, OSError, FloatingPointError) as error:
        Console(stderr=True).print(f"Error: {error}", style="red", soft_wrap=True, highlight=False, markup=False)
        sys.exit(1)
