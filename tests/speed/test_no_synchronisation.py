"""A training step on a GPU must not wait for the device: what would make it wait does not stand on its path."""

import ast
from pathlib import Path

import pytest

import medssl

ROOT = Path(medssl.__file__).parent
# Modules of the step of the default recipe, from the batch in the loader to the weights, and of what logs it.
STEP = [
    "engines/averaging.py",
    "engines/batches.py",
    "engines/losses.py",
    "engines/progress.py",
    "engines/steps.py",
    "engines/timing.py",
    "losses/info_nce.py",
    "methods/hierarchical.py",
    "networks/features.py",
    "networks/fpn.py",
    "networks/heads.py",
    "ops/distributed.py",
    "ops/pyramid.py",
    "speed/switches.py",
]
METHODS = {"item", "cpu", "tolist", "numpy", "nonzero", "unique"}
FUNCTIONS = {"bool", "float", "int"}
# What runs on a CPU alone, once a step has arrived, or where ranks must agree.
ALLOWED = {
    ("engines/losses.py", "LossValues.__call__", "item"),
    ("engines/losses.py", "StopOnBadLoss.__call__", "item"),
    ("engines/losses.py", "_LossCopy.read", "tolist"),
    ("ops/distributed.py", "global_count", "int"),
}


def calls(tree, place=()):
    """Give the name of every call, with that of the function it is in."""
    for node in ast.iter_child_nodes(tree):
        inner = (*place, node.name) if isinstance(node, ast.ClassDef | ast.FunctionDef) else place
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                yield ".".join(place), node.func.attr
            if isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
                yield ".".join(place), node.func.id
        yield from calls(node, inner)


def found():
    return {
        (name, *call) for name in STEP for call in calls(ast.parse((ROOT / name).read_text(encoding="utf-8"), name))
    }


def test_nothing_on_the_path_of_a_step_waits_for_the_device():
    assert found() == ALLOWED


@pytest.mark.parametrize("code", ["x.item()", "if bool(x): pass", "float(x.sum())", "x.cpu().numpy()"])
def test_what_waits_is_found(code):
    assert list(calls(ast.parse(f"def step(x):\n    {code}")))
