"""One display for all steps of a command: what is done now, and the time left for the whole."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_REFRESHES_PER_SECOND = 2


@dataclass
class _Kind:
    left: int
    guess: float
    took: list[float] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return sum(self.took) / len(self.took) if self.took else self.guess


class TimeLeft:
    """The time left for units of several kinds of work: guesses at first, then what the units that are done took.

    Example:
        >>> left = TimeLeft()
        >>> left.expect("read", 4, guess=1.0)
        >>> left.finish("read", 3.0)
        >>> left.seconds()
        9.0
    """

    def __init__(self) -> None:
        self._kinds: dict[str, _Kind] = {}

    def expect(self, kind: str, count: int, guess: float) -> None:
        """Set how many units of a kind are left, and the seconds that one takes as long as none is done."""
        former = self._kinds.get(kind)
        self._kinds[kind] = _Kind(count, guess, former.took if former else [])

    def finish(self, kind: str, seconds: float) -> None:
        """Count a unit as done."""
        found = self._kinds.setdefault(kind, _Kind(1, seconds))
        found.left = max(found.left - 1, 0)
        found.took.append(seconds)

    def seconds(self) -> float:
        """Return the seconds left when the last unit was done."""
        return sum(kind.left * kind.seconds for kind in self._kinds.values())

    def of_unit(self, kind: str) -> float:
        """Return the seconds that a unit of a kind takes."""
        return self._kinds[kind].seconds if kind in self._kinds else 0.0


class Display:
    """Shows the step, a bar and the time left; prints one line a step where the output is not a terminal.

    Args:
        console: to show it on.
    """

    def __init__(self, console: Console) -> None:
        self.left = TimeLeft()
        self._console = console
        self._begin = time.monotonic()
        self._title, self._unit_begin, self._unit_seconds = "Starting", self._begin, 0.0

    @contextmanager
    def shown(self, log: Path) -> Iterator[None]:
        """Show the display for the length of a block; messages and bars of single steps go to a file.

        Args:
            log: text is appended to it.
        """
        with _logged(log):
            if not self._console.is_terminal:
                yield
                return
            with Live(self, console=self._console, refresh_per_second=_REFRESHES_PER_SECOND, transient=True):
                yield

    @contextmanager
    def unit(self, kind: str, title: str) -> Iterator[None]:
        """Show a unit of work while a block does it, and count it as done."""
        self._title, self._unit_begin = title, time.monotonic()
        self._unit_seconds = self.left.of_unit(kind)
        if not self._console.is_terminal:
            self._console.print(f"{title} ({self.words()})", soft_wrap=True, highlight=False, markup=False)
        yield
        self.left.finish(kind, time.monotonic() - self._unit_begin)
        self._unit_begin, self._unit_seconds = time.monotonic(), 0.0

    @property
    def elapsed(self) -> float:
        """Seconds since the display was made."""
        return time.monotonic() - self._begin

    def seconds_left(self) -> float:
        """Return the seconds left now."""
        in_unit = min(time.monotonic() - self._unit_begin, self._unit_seconds)
        return max(self.left.seconds() - in_unit, 0.0)

    def words(self) -> str:
        """Return the time left as text."""
        seconds = self.seconds_left()
        return f"about {max(seconds, 1):.0f} s left" if seconds < 90 else f"about {seconds / 60:.0f} min left"

    def __rich__(self) -> RenderableType:
        """Return what the terminal shows now."""
        elapsed, left = self.elapsed, self.seconds_left()
        row = Table.grid(padding=(0, 2))
        bar = ProgressBar(total=max(elapsed + left, 1e-3), completed=elapsed, width=30)
        row.add_row(bar, self.words(), Text(self._title, overflow="ellipsis", no_wrap=True))
        return row


@contextmanager
def _logged(path: Path) -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        root.handlers = [logging.StreamHandler(file)]
        try:
            with redirect_stderr(file):
                yield
        finally:
            root.handlers = before
