import pytest
import yaml

from medssl.workflows.protocol_plan import cells, read_plan

BASE = {
    "data": ["ct"],
    "labels": [1, 2],
    "folds": [0, 1],
    "pretrain": {"max_epochs": 1, "spacing": [2, 2, 3]},
    "segmentation": {"max_epochs": 2},
    "backbones": {"random": {}, "kats": {"method": "kats", "overrides": {"num_levels": 2}}},
    "settings": {"linear_probe": {"backbones": ["random", "kats"]}, "from_scratch": {"backbones": ["random"]}},
}


@pytest.fixture
def write(tmp_path):
    """Give a function that writes a protocol and returns its path."""

    def write(name, plan):
        (tmp_path / name).write_text(yaml.safe_dump(plan))
        return str(tmp_path / name)

    return write


def test_a_protocol_says_only_what_differs_from_the_one_it_extends(write):
    write("base.yaml", BASE)
    changes = {
        "extends": "base.yaml",
        "labels": [5],
        "pretrain": {"max_epochs": 9},
        "segmentation": {"spacing": None},
        "backbones": {"vox2vec": {"method": "vox2vec"}, "kats": {"overrides": {"base_channels": 8}}},
        "settings": {"from_scratch": None},
    }
    plan = read_plan(write("longer.yaml", changes))
    assert plan == {
        "data": ["ct"],
        "labels": [5],
        "folds": [0, 1],
        "pretrain": {"max_epochs": 9, "spacing": [2, 2, 3]},
        "segmentation": {"max_epochs": 2, "spacing": None},
        "backbones": {
            "random": {},
            "kats": {"method": "kats", "overrides": {"num_levels": 2, "base_channels": 8}},
            "vox2vec": {"method": "vox2vec"},
        },
        "settings": {"linear_probe": {"backbones": ["random", "kats"]}},
    }


def test_bases_may_have_bases_and_names_of_shipped_protocols(write):
    write("middle.yaml", {"extends": "hippocampus", "labels": [1]})
    plan = read_plan(write("top.yaml", {"extends": "middle.yaml", "folds": [4]}))
    assert (plan["labels"], plan["folds"], plan["data"]) == ([1], [4], ["mr", "hippocampus"])


def test_a_protocol_that_extends_itself_is_named(write):
    write("a.yaml", {"extends": "b.yaml"})
    with pytest.raises(ValueError, match=r"extends itself"):
        read_plan(write("b.yaml", {"extends": "a.yaml"}))


def test_few_labels_may_have_more_draws(write):
    plan = read_plan(write("plan.yaml", {**BASE, "labels": [1, 10], "folds": {1: 5, "default": 3}}))
    drawn = {n: [fold for s, b, m, fold in cells(plan) if (s, b, m) == ("from_scratch", "random", n)] for n in (1, 10)}
    assert drawn == {1: [0, 1, 2, 3, 4], 10: [0, 1, 2]}


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({**BASE, "folds": {1: 5}}, "'folds' has no draws for 2 labels; add 2 or default"),
        ({**BASE, "folds": {1: 5, 2: [0]}}, r"'folds' gives \[0\] for 2 labels"),
        ({**BASE, "folds": {"default": 0}}, "'folds' gives 0 for 1 labels"),
        ({**BASE, "backbones": {"random": None}}, "lacks backbones"),
        ({**BASE, "backbones": {"random": {}}}, "linear_probe names kats, which is not in 'backbones'"),
        ({"extends": ["hippocampus"]}, "name one protocol"),
        (["hippocampus"], "holds no mapping"),
    ],
)
def test_a_wrong_plan_is_named(write, plan, message):
    with pytest.raises(ValueError, match=rf"plan\.yaml.*{message}"):
        read_plan(write("plan.yaml", plan))
