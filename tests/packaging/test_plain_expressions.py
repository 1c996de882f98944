import pytest
from monai.bundle import ConfigParser

from medssl.packaging.plain_expressions import only_computes


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$@size + 1", 4),
        ("$-@size / 2", -1.5),
        ("$[@size] + @sizes", [3, 4, 5]),
        ("$@sizes[-1]", 5),
        ("$@sizes[0:1]", [4]),
        ("$@root + '/eval'", "here/eval"),
        ("$@none is None", True),
        ("$1 if @size > 2 and not @none else 0", 1),
        ("$@inner::key", "x"),
    ],
)
def test_what_only_computes_gives_the_value_that_monai_gives(expression, value):
    config = {"size": 3, "sizes": [4, 5], "root": "here", "none": None, "inner": {"key": "x"}, "result": expression}
    assert only_computes(expression)
    assert ConfigParser(config).get_parsed_content("result") == value


@pytest.mark.parametrize(
    "expression",
    [
        "$__import__('os')",
        "$import os",
        "$from os import system",
        "$open('file')",
        "$@a.to(@device)",
        "$@a()",
        "$@a.b",
        "$@a.__class__",
        "$@a.strides.__class__",
        "$torch.load",
        "$torch.hub",
        "$np.uint8('1')",
        "$monai.networks",
        "$a",
        "$__local_refs",
        "$[x for x in @a]",
        "$lambda: 1",
        "$f'{@a}'",
        "$(x := 1)",
        "$'a' * 10 ** 10",
        "$1 << 10 ** 10",
        "$@a[@b.c]",
        "$'@a' or exec('') or '@a'",
        "$__local_refs[exec('')]",
        "$*@a",
        "$1 +",
        "$" + "(" * 400 + ")" * 400,
        "$1" + " + 1" * 300,
    ],
)
def test_anything_else_is_not_evaluated(expression):
    assert not only_computes(expression)
