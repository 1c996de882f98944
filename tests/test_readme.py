"""What the documentation names exists: commands with their options, recipes, settings, keys and files."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

from medssl.cli import app as cli
from medssl.workflows.recipes import find_recipe, merge

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("bundles/*/docs/*.md")])
COMMANDS = typer.main.get_command(cli.app).commands
RECIPES = {
    "pretrain": ["pretrain/configs/train"],
    "probe": ["segmentation/configs/train", "segmentation/configs/linear_probe"],
    "finetune": ["segmentation/configs/train", "segmentation/configs/fine_tune"],
}
LAYERS = {
    "pretrain": ("pretrain/configs/ablation", "pretrain/configs", "networks"),
    "probe": ("segmentation/configs", "networks"),
    "finetune": ("segmentation/configs", "networks"),
}


def code_blocks(page):
    return re.findall(r"^ *```bash\n(.*?)^ *```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def in_blocks():
    """The `medssl ...` lines of code blocks: whole commands."""
    lines = [part.strip() for page in PAGES for block in code_blocks(page) for part in re.split(r"\n|&&", block)]
    return [shlex.split(line) for line in lines if re.match(r"(\S*/)?medssl ", line)]


def in_text():
    """The `medssl ... --option ...` spans of the text: commands that may leave something out."""
    spans = [s for page in PAGES for s in re.findall(r"`(medssl [^`\n]* --[^`\n]*)`", page.read_text(encoding="utf-8"))]
    return [[word for word in shlex.split(span) if word != "…"] for span in spans]


def parsed(arguments, **options):
    """Give the name of a command line's command, `weights import` being one, and its parsed options."""
    _, name, *rest = arguments
    command = COMMANDS[name]
    if hasattr(command, "commands"):
        command, name, rest = command.commands[rest[0]], f"{name} {rest[0]}", rest[1:]
    return name, command.make_context(name, rest, **options)


def test_there_are_commands_to_check():
    assert len(in_blocks()) > 10
    assert len(in_text()) > 3


def merge_recipes(arguments):
    """Merge the recipes that a command names, its settings laid over them; fails where one does not exist."""
    name, context = parsed(arguments, resilient_parsing=True)
    if name not in RECIPES:
        return
    files = [find_recipe(*recipe.rsplit("/", 1)) for recipe in RECIPES[name]]
    if name == "pretrain":
        files.append(find_recipe("pretrain/configs/methods", context.params["method"]))
    files += [find_recipe(LAYERS[name][0], layer, *LAYERS[name][1:]) for layer in context.params["layers"] or ()]
    files += [find_recipe("data", data) for data in context.params["data"] or () if not data.endswith(".yaml")]
    settings = [argument[2:].partition("=")[0] for argument in context.args if argument.startswith("--")]

    # A reference is a value of any kind.
    merge(files, {}, dict.fromkeys(settings, "@any"))


def faults(commands, check):
    """Give the commands for which a check fails, each with the reason."""
    found = {}
    for arguments in commands:
        try:
            check(arguments)
        except (Exception, SystemExit) as error:
            found[" ".join(arguments)] = repr(error)
    return found


def test_every_command_in_a_block_parses():
    assert faults(in_blocks(), parsed) == {}


def test_the_recipes_and_settings_of_every_command_exist():
    assert faults(in_blocks() + in_text(), merge_recipes) == {}


def test_a_command_with_a_wrong_option_or_recipe_would_be_found():
    assert faults([["medssl", "check", "list.json", "--dota", "ct"]], parsed)
    assert faults([["medssl", "pretrain", "kats", "--data", "nowhere"]], merge_recipes)


@pytest.mark.parametrize("kind", ["demo", "test"])
def test_the_readme_has_each_of_its_two_commands_on_one_line_of_its_own_block(kind):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(rf"^<!-- {kind} command -->\n```bash\n(.*)\n```$", text, re.MULTILINE)

    assert block and "-c constraints.txt" in block[1]


def test_the_readme_can_be_read_in_a_few_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 900


def test_no_link_leads_to_a_missing_file():
    links = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8"))
        if not target.startswith(("http://", "https://"))
    ]

    assert len(links) > 10
    assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []


def test_every_key_of_the_documentation_is_in_a_recipe():
    text = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    tables = text.split("## Keys you will change")[1].split("## A data set")[0]
    named = {key for row in re.findall(r"^\| (`.*?) \|", tables, re.MULTILINE) for key in re.findall(r"`(\w+)`", row)}
    files = [*ROOT.glob("bundles/*/configs/**/*.yaml"), *ROOT.glob("bundles/data/*.yaml")]
    known = {key for file in files for key in re.findall(r"^(\w+):", file.read_text(encoding="utf-8"), re.MULTILINE)}

    assert named and named <= known


def test_every_file_that_fidelity_names_is_there():
    text = (ROOT / "docs" / "fidelity.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([\w/]+\.yaml)`", text))

    assert named
    assert [
        n for n in named if not any((ROOT / f / n).is_file() for f in ("bundles", "bundles/pretrain/configs"))
    ] == []
