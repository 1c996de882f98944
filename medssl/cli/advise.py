"""The command ``advise``: which settings suit the structures of a data list."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from medssl.cli.options import DatalistArgument, console, print_line

if TYPE_CHECKING:
    from medssl.workflows.advising import Advice


def advise(
    datalist: DatalistArgument,
    data: Annotated[list[str] | None, typer.Option("--data", help="Data recipes, whose spacing is judged.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A JSON file to write it to as well.")] = None,
) -> None:
    """Measure the structures of the labels there are, and advise spacing, windows, levels, backbone and method."""
    from medssl.data.datalist import read_datalist

    listed = read_datalist(datalist)
    from medssl.files import write_json
    from medssl.workflows.advising import advise as advice_for

    advice = advice_for(listed, data or ())
    print_line(f"{datalist}: {len(advice.cases)} of {advice.num_labelled} labelled cases measured, held-out ones not.")
    console.print(structures_table(advice))
    for name, (value, reason) in advice.settings.items():
        print_line(f"{name}: {_shown(value)} – {reason}")
    for note in advice.notes:
        print_line(f"Note: {note}")
    if out is not None:
        write_json(out, advice.as_json())
        print_line(f"Advice: {out}")


def structures_table(advice: "Advice") -> Table:
    """Return a table with a line per structure."""
    unit, is_volume = advice.scans.unit, len(advice.scans.spacing) == 3
    size = "ml" if is_volume else f"{unit}²"
    table = Table("Structure", title="Medians over cases", title_justify="left")
    for title in ("cases", size, f"box {unit}", f"thick {unit}", "of scan", "contrast"):
        table.add_column(title, justify="right")
    for name, measured in advice.structures.items():
        table.add_row(
            *(name, str(advice.shown[name]), f"{measured.size:.3g}", _sizes(measured.extent)),
            *(f"{measured.thickness:.3g}", f"{measured.share:.2%}", f"{measured.contrast:+.1f}"),
        )
    return table


def _shown(value: Any) -> str:
    return (
        f"[{', '.join(f'{number:g}' for number in value)}]"
        if isinstance(value, Sequence) and not isinstance(value, str)
        else str(value)
    )


def _sizes(lengths: Sequence[float]) -> str:
    return " x ".join(f"{length:.3g}" for length in lengths)
