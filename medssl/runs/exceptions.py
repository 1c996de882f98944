"""What has to be put in order when an exception ends a run."""

from collections.abc import Callable

from ignite.engine import Engine, Events


def on_exception(engine: Engine, action: Callable[[], object]) -> None:
    """Have an action done when an exception ends a run; the exception then goes on.

    Ignite ends with the first handler of an exception that raises it again, and swallows one that no handler raises; so
    all actions of an engine are those of one handler.

    Args:
        engine: whose runs are meant.
        action: takes nothing; actions are done in the order in which they came. Ignite tells of an exception twice, of
            the epoch and of the run, so an action must bear being done again.

    Example:
        >>> done, engine = [], Engine(lambda engine, batch: batch / 0)
        >>> on_exception(engine, lambda: done.append("put in order"))
        >>> try:
        ...     engine.run([1])
        ... except ZeroDivisionError:
        ...     print(done[0])
        put in order
    """
    if not hasattr(engine, "exception_actions"):
        engine.exception_actions = []
        engine.add_event_handler(Events.EXCEPTION_RAISED, _put_in_order)
    engine.exception_actions.append(action)


def _put_in_order(engine: Engine, error: BaseException) -> None:
    for action in engine.exception_actions:
        action()
    raise error
