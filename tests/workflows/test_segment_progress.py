import io
import logging
import sys

from rich.console import Console

from medssl.workflows.segment_progress import Display, TimeLeft


def test_what_was_measured_replaces_the_guess_and_other_kinds_keep_theirs():
    left = TimeLeft()
    left.expect("read", 3, 1.0)
    left.expect("predict", 2, 10.0)
    assert left.seconds() == 23.0
    left.finish("read", 5.0)
    assert left.seconds() == 2 * 5 + 2 * 10


def test_a_new_number_of_units_keeps_what_was_measured():
    left = TimeLeft()
    left.finish("predict", 4.0)
    left.expect("predict", 3, 10.0)
    assert left.seconds() == 12.0


def test_without_a_terminal_every_step_is_a_line_and_messages_go_to_the_log(tmp_path):
    out = io.StringIO()
    display = Display(Console(file=out, force_terminal=False))
    display.left.expect("read", 2, 30.0)
    with display.shown(tmp_path / "log.txt"), display.unit("read", "Read [b]a[/b].nii"):
        print("a bar", file=sys.stderr)
        logging.getLogger("medssl").warning("a message")
    assert out.getvalue() == "Read [b]a[/b].nii (about 60 s left)\n"
    assert (tmp_path / "log.txt").read_text(encoding="utf-8") == "a bar\na message\n"


def test_in_a_terminal_one_display_shows_the_step_and_the_time_left(tmp_path):
    out = io.StringIO()
    display = Display(Console(file=out, force_terminal=True, width=100))
    display.left.expect("predict", 10, 60.0)
    with display.shown(tmp_path / "log.txt"), display.unit("predict", "Segment anna"):
        pass
    assert "Segment anna" in out.getvalue() and "about 10 min left" in out.getvalue()
