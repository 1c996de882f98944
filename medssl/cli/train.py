"""The commands that train and evaluate: prepare, pretrain, probe, finetune, evaluate, report, protocol and demo."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from medssl.cli.options import (
    BackboneOption,
    ChangedOption,
    DatalistArgument,
    DatalistOption,
    DataOption,
    FoldOption,
    LabelsOption,
    LayerOption,
    OutOption,
    ResumeOption,
    ScansOption,
    TrustOption,
    console,
    print_line,
    print_once,
    require_path,
)


def prepare(
    context: typer.Context,
    datalist: DatalistArgument,
    data: DataOption,
    out: OutOption,
    sections: Annotated[str | None, typer.Option("--sections", help="Default: training+unlabeled.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Cases at a time; default: one per core.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Check the checksums of what is kept.")] = False,
) -> None:
    """Preprocess every case once, for `medssl pretrain --store`; keeps unchanged cases. Settings as for pretrain."""
    from medssl.workflows import preparing, recipes

    overrides = recipes.parse_overrides(context.args)
    prepared = preparing.prepare(datalist, data, out, sections, processes, verify, overrides)
    for case, problem in prepared.failed.items():
        print_line(f"{case}: error: {problem}")
    counts = f"{len(prepared.made)} made, {len(prepared.kept)} kept, {len(prepared.failed)} failed"
    console.print(f"Store: {out} ({counts})", soft_wrap=True)
    if prepared.failed:
        sys.exit(1)


def pretrain(
    context: typer.Context,
    method: Annotated[str, typer.Argument(help="Method recipe: kats, vox2vec, … or a YAML file.")],
    data: DataOption,
    out: OutOption,
    datalist: ScansOption = None,
    layers: LayerOption = None,
    resume: ResumeOption = False,
    allow_changed: ChangedOption = False,
    store: Annotated[Path | None, typer.Option("--store", help="Take the cases from a store (prepare).")] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="small (two CPU cores) or paper, merged last.")] = None,
) -> None:
    """Pretrain a backbone without labels. Any setting of the recipe can follow, as in --max_epochs 5."""
    from medssl.workflows import recipes, training

    overrides = recipes.parse_overrides(context.args)
    weights = training.pretrain(
        method,
        datalist,
        data,
        out,
        layers=layers or (),
        overrides=overrides,
        resume=resume,
        allow_changed=allow_changed,
        store=store,
        preset=preset,
        # Who sets the length knows it.
        say=print_once if preset or "max_epochs" not in overrides else None,
    )
    print_once(f"Backbone: {weights}")


def probe(
    context: typer.Context,
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    backbone: BackboneOption = None,
    trust: TrustOption = False,
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
        raise ValueError("--with paper_probe keeps no features; add --cached, or omit --features.")
    _train(
        "linear_probe",
        context,
        {} if features is None else {"features_dir": str(features.resolve())},
        datalist=datalist,
        data=data,
        output_dir=out,
        backbone=backbone,
        trust=trust,
        num_labels=labels,
        fold=fold,
        layers=["cached_probe", *(layers or ())] if cached else layers,
        resume=resume,
        allow_changed=allow_changed,
    )


def finetune(
    context: typer.Context,
    datalist: DatalistOption,
    data: DataOption,
    out: OutOption,
    backbone: BackboneOption = None,
    trust: TrustOption = False,
    labels: LabelsOption = None,
    fold: FoldOption = 0,
    layers: LayerOption = None,
    resume: ResumeOption = False,
    allow_changed: ChangedOption = False,
) -> None:
    """Fine-tune a pretrained backbone with a non-linear head; without --backbone, train it from scratch."""
    _train(
        "fine_tune" if backbone else "from_scratch",
        context,
        {},
        datalist=datalist,
        data=data,
        output_dir=out,
        backbone=backbone,
        trust=trust,
        num_labels=labels,
        fold=fold,
        layers=layers,
        resume=resume,
        allow_changed=allow_changed,
    )


def _train(setting: str, context: typer.Context, settings: dict[str, Any], **options: Any) -> None:
    """Train a segmentation network; settings of the command line win over those given here."""
    from medssl.workflows import recipes, training

    overrides = settings | recipes.parse_overrides(context.args)
    options["layers"] = options["layers"] or ()
    if setting == "linear_probe" and not {"paper_probe", "cached_probe"} & set(options["layers"]):
        _say_what_a_solution_ignores(overrides)
    console.print(f"Network: {training.train_segmentation(setting, overrides=overrides, **options)}", soft_wrap=True)


def _say_what_a_solution_ignores(overrides: dict[str, Any]) -> None:
    of_a_training = ("max_epochs", "steps_per_epoch", "learning_rate", "patches_per_batch", "volumes_per_batch")
    ignored = [f"--{name}" for name in of_a_training if name in overrides]
    if ignored:
        what = f"these change nothing: {', '.join(ignored)}"
        print_line(f"The head is solved, not trained, so {what}. To train it, add --with paper_probe.")


def evaluate(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(help="Folder of a probe, fine-tuning or from-scratch run.")],
    datalist: Annotated[Path | None, typer.Option("--datalist", help="Another data list than the run's.")] = None,
    section: Annotated[str, typer.Option("--section", help="Section of the data list.")] = "test",
    layers: LayerOption = None,
    trust: TrustOption = False,
) -> None:
    """Write one row of Dice, HD95, surface Dice and volumes per case and class, and print their means."""
    from medssl.workflows import recipes, training

    rows = training.evaluate(run, datalist, section, recipes.parse_overrides(context.args), layers or (), trust)
    from medssl.cli.results_table import results_table
    from medssl.evaluation.metrics import read_rows

    print_once(results_table(read_rows(rows)))
    print_once(f"Rows: {rows}")


def report(
    rows: Annotated[
        list[Path], typer.Argument(help="rows.jsonl or rows.csv files, or folders to search for rows.jsonl.")
    ],
    out: OutOption,
) -> None:
    """Turn rows of results into tables with intervals and tests (Markdown, CSV), a figure and pictures (PNG)."""
    for path in rows:
        require_path(path, "file or folder")
    files = [file for path in rows for file in (sorted(path.rglob("rows.jsonl")) if path.is_dir() else [path])]
    if not files:
        raise ValueError(f"There is no rows.jsonl below {', '.join(map(str, rows))}; run `medssl evaluate` first.")
    from medssl.evaluation.report import report as write_report

    console.print(f"Report: {write_report(files, out)}", soft_wrap=True)


def protocol(
    name: Annotated[str, typer.Argument(help="Protocol: hippocampus, … or a YAML file.")],
    datalist: DatalistOption,
    out: OutOption,
    processes: Annotated[int, typer.Option("--processes", help="Runs at a time.")] = 1,
    trust: TrustOption = False,
) -> None:
    """Run methods x settings x labels x folds under one budget and report them; the same command continues."""
    from medssl.workflows.protocol import run_protocol

    console.print(f"Report: {run_protocol(name, datalist, out, processes, trust)}", soft_wrap=True)


def demo(
    out: Annotated[Path, typer.Option("--out", help="The folder to make.")] = Path("medssl-demo"),
) -> None:
    """Run every step on phantoms: data, check, pretraining, probe, bundle, prediction of a new scan."""
    from medssl.workflows.demo import run_demo

    console.print(f"Bundle: {run_demo(out, console)}", soft_wrap=True)
