import sys

import pytest

from medssl.cli.app import main


@pytest.fixture
def medssl(monkeypatch, capsys):
    """Give a function that runs a command line and returns exit status, output and errors."""

    def run(*command):
        monkeypatch.setattr(sys, "argv", ["medssl", *map(str, command)])
        with pytest.raises(SystemExit) as exited:
            main()
        printed = capsys.readouterr()
        return exited.value.code or 0, printed.out, printed.err

    return run
