import subprocess
import sys

# What is registered before medssl is imported runs after its own endings.
SCRIPT = """
import atexit, gc
atexit.register(lambda: print("searched" if gc.get_objects() else "not searched"))
{imports}
print("before the end" if gc.get_freeze_count() == 0 else "too early")
"""


def printed(imports):
    script = SCRIPT.format(imports=imports)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split("\n")


def test_a_command_ends_without_a_search_for_cycles():
    assert printed("import medssl.cli.app")[:2] == ["before the end", "not searched"]


def test_other_programs_that_import_medssl_end_as_they_like():
    assert printed("import medssl.workflows.preparing")[:2] == ["before the end", "searched"]


def test_what_is_written_and_registered_for_the_end_still_happens(tmp_path):
    text = f"""
import medssl.runs.quick_end, tempfile
folder = tempfile.TemporaryDirectory(dir={str(tmp_path)!r})
file = open({str(tmp_path / "text")!r}, "w")
file.write("whole")
"""
    printed(text)
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert (tmp_path / "text").read_text(encoding="utf-8") == "whole"
