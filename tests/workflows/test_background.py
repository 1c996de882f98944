import logging
import threading

from medssl.workflows.background import Background


def test_what_is_wanted_soon_comes_before_what_waits():
    background, done, may_begin = Background(), [], threading.Event()
    background.later(may_begin.wait)
    for number in (1, 2):
        background.later(lambda number=number: done.append(number))
    background.soon(lambda: done.append("soon"))
    may_begin.set()
    background.wait()
    assert done == ["soon", 1, 2]


def test_a_task_that_fails_is_logged_and_the_next_one_is_done(caplog):
    background, done = Background(), []

    def fail():
        raise OSError("the disk is full")

    with caplog.at_level(logging.WARNING):
        background.later(fail)
        background.later(lambda: done.append(1))
        background.wait()
    assert done == [1] and "the disk is full" in caplog.text
