"""The command ``advise``: which settings suit the structures of a data list."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
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
    title = "Medians over the cases that show a structure"
    table = Table("Structure", box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for title in ("cases", size, f"box {unit}", f"thick {unit}", "of scan", "contrast"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, measured in advice.structures.items():
        edges = " x ".join(map(_number, measured.extent))
        table.add_row(
            *(name, str(advice.shown[name]), _number(measured.size), edges, _number(measured.thickness)),
            *(f"{measured.share:.2%}", f"{measured.contrast:+.1f}"),
        )
    return table


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.2g}" if value >= 10 else f"{value:.1f}"


def _shown(value: Any) -> str:
    return f"[{', '.join(f'{number:g}' for number in value)}]" if isinstance(value, list) else str(value)
