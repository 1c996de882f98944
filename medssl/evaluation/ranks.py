"""One evaluation shared by several processes: each takes some cases and writes its rows, which become one file."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medssl.evaluation.case_slices import slices_folder, write_slices
from medssl.evaluation.metrics import read_rows, write_rows

_FOLDER = ".rows"


def cases_of_rank(cases: Sequence[Any], rank: int, num_ranks: int) -> Sequence[Any]:
    """Return the cases of a rank: every `num_ranks`-th one.

    Example:
        >>> cases_of_rank(["a", "b", "c"], rank=0, num_ranks=2)
        ['a', 'c']
    """
    return cases[rank::num_ranks]


def rank_rows_path(run_dir: str, rank: int) -> str:
    """Return the file for the rows of a rank, within the run folder.

    Example:
        >>> rank_rows_path("run", 1)
        'run/.rows/rank_1.jsonl'
    """
    return str(Path(run_dir) / _FOLDER / f"rank_{rank}.jsonl")


def discard_rank_rows(run_dir: Path) -> None:
    """Delete the rows of ranks that an interrupted evaluation left."""
    shutil.rmtree(run_dir / _FOLDER, ignore_errors=True)


def merge_rank_rows(run_dir: Path, cases: Sequence[str]) -> None:
    """Write the rows of all ranks to ``rows.jsonl``, in the order of the cases, and delete the ranks' files.

    The slices that the ranks kept for pictures are put beside them.

    Args:
        run_dir: the run folder.
        cases: names of the cases.

    Example:
        >>> import tempfile
        >>> from medssl.evaluation.metrics import FIELDS
        >>> run = Path(tempfile.mkdtemp())
        >>> for rank, case in enumerate(["b", "a"]):
        ...     write_rows(rank_rows_path(run, rank), [dict.fromkeys(FIELDS) | {"case": case}])
        >>> merge_rank_rows(run, ["a", "b"])
        >>> [row["case"] for row in read_rows(run / "rows.jsonl")]
        ['a', 'b']
    """
    rows = [row for path in (run_dir / _FOLDER).glob("*.jsonl") for row in read_rows(path)]
    slices = {path.stem: path.read_bytes() for path in (run_dir / _FOLDER).glob("*.slices/*.npz")}
    write_slices(slices_folder(run_dir / "rows.jsonl"), slices)
    order = {case: number for number, case in enumerate(cases)}
    write_rows(run_dir / "rows.jsonl", sorted(rows, key=lambda row: order[row["case"]]))
    discard_rank_rows(run_dir)
