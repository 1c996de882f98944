"""Actions to take when an exception ends a run."""

from collections.abc import Callable

from ignite.engine import Engine, Events


def on_exception(engine: Engine, action: Callable[[], object]) -> None:
    """Call an action when an exception ends a run of an engine; the exception is raised again afterwards.

    Ignite stops at the first handler that raises the exception again, and swallows an exception that no handler raises.
    So one handler calls all actions of an engine.

    Args:
        engine: the engine.
        action: called without arguments, in the order of registration. Ignite reports an exception twice, for the epoch
            and for the run, so an action must tolerate being called again.

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
