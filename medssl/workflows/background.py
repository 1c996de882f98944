"""Work that a server does while nobody waits for it."""

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)


class Background:
    """Does tasks one after the other in a thread that ends with the process. A task that fails is logged.

    Example:
        >>> done, background = [], Background()
        >>> background.later(lambda: done.append(1))
        >>> background.wait()
        >>> done
        [1]
    """

    def __init__(self) -> None:
        self._tasks: deque[Callable[[], object]] = deque()
        self._changed = threading.Condition()
        self._busy = False
        threading.Thread(target=self._run, daemon=True).start()

    def soon(self, task: Callable[[], object]) -> None:
        """Do a task next."""
        with self._changed:
            self._tasks.appendleft(task)
            self._changed.notify_all()

    def later(self, task: Callable[[], object]) -> None:
        """Do a task after all that wait."""
        with self._changed:
            self._tasks.append(task)
            self._changed.notify_all()

    def wait(self) -> None:
        """Return once all tasks are done."""
        with self._changed:
            self._changed.wait_for(lambda: not self._tasks and not self._busy)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._tasks))
                task, self._busy = self._tasks.popleft(), True
            try:
                task()
            except Exception as error:  # the server lives on
                logger.warning("In the background: %s", error)
            with self._changed:
                self._busy = False
                self._changed.notify_all()
