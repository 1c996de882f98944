"""The examples of docs/python.md run as they are and print what the page says."""

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^## (.*?)$.*?^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def test_every_section_is_an_example_of_at_most_40_lines():
    assert [title for title, _, _ in EXAMPLES] == re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert len(EXAMPLES) == PAGE.count("```python") == 5
    assert max(len(code.splitlines()) for _, code, _ in EXAMPLES) <= 40


@pytest.mark.parametrize(("code", "expected"), [example[1:] for example in EXAMPLES], ids=[e[0] for e in EXAMPLES])
def test_an_example_prints_what_the_page_says(code, expected, pretrained, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "kats").symlink_to(pretrained)
    exec(compile(code, "docs/python.md", "exec"), {"__name__": "example"})
    printed = capsys.readouterr().out
    assert NUMBER.sub("#", printed) == NUMBER.sub("#", expected)
    # Trained on another processor, the second decimal may differ.
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (printed, expected)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.05, abs=0.02)
