"""The command line: ``medssl COMMAND``."""

import logging
import sys

import typer
from rich.console import Console

import medssl.runs.quick_end  # noqa: F401
from medssl.cli.advise import advise
from medssl.cli.bundles import bundle_app, pack, similarity, weights_app
from medssl.cli.data import check, datalist, folds, slices
from medssl.cli.points import PointsCommand, segment_points
from medssl.cli.segment import segment
from medssl.cli.stopping import answer_signals, status_of_signal, stop_answering
from medssl.cli.train import demo, evaluate, finetune, prepare, pretrain, probe, protocol, report
from medssl.runs.ranks import num_ranks

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
for command in (segment, prepare, pretrain, probe, finetune, evaluate):
    # Any setting of a recipe can follow the options.
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(command)
for command in (datalist, slices, folds, check, advise, report, protocol, pack, demo, similarity):
    app.command()(command)
app.command(cls=PointsCommand)(segment_points)
app.add_typer(bundle_app, name="bundle")
app.add_typer(weights_app, name="weights")


def main() -> None:
    """Run the command line; an expected error is one clear message and exit status 1."""
    logging.basicConfig(format="%(message)s")
    logging.getLogger("medssl").setLevel(logging.INFO)
    answer_signals()
    try:
        app()
    except Exception as error:
        if status_of_signal() is not None:
            sys.exit(status_of_signal())
        if not isinstance(error, ValueError | OSError | FloatingPointError):
            raise
        # The progress bar of another rank may stand at the end of the line.
        text = f"Error: {error}" if num_ranks() == 1 else f"\nError: {error}"
        Console(stderr=True).print(text, style="red", soft_wrap=True, highlight=False, markup=False)
        sys.exit(1)
    finally:
        stop_answering()
