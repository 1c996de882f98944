"""The training commands: pretrain a method, train a segmentation network, evaluate it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from medssl.data.datalist import load_few_labels, read_datalist
from medssl.data.files import write_json
from medssl.engines.run_folder import claim_run_folder, latest_checkpoint
from medssl.packaging.provenance import finish_run_record, run_record, write_run_record
from medssl.workflows.recipes import find_recipe, merge, read_config, run_config

NETWORK_KEYS = ("spatial_dims", "in_channels", "base_channels", "num_levels")


def pretrain(
    method: str,
    datalist: Path,
    data: Sequence[str],
    output_dir: Path,
    layers: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Path:
    """Give the weights of a backbone pretrained by a method: the file ``backbone.pt`` of the run folder.

    Args:
        method: name of a method recipe, or a YAML file.
        datalist: the data list; its sections ``training`` and ``unlabeled`` are used, without labels.
        data: names of data recipes, or YAML files, later ones winning.
        output_dir: the run folder, new unless `resume`.
        layers: further recipes laid over the method: names below ``bundles/pretrain/configs/ablation``, or YAML files.
        overrides: settings in MONAI's syntax.
        resume: continue from the latest checkpoint of the run folder.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is False.
        FileNotFoundError: if there is no such recipe or data list, or nothing to resume.
        ValueError: if the data list is wrong, or has no case to train on.
    """
    recipe = [
        find_recipe("pretrain/configs", "train"),
        find_recipe("pretrain/configs/methods", method),
        *(find_recipe("pretrain/configs/ablation", layer) for layer in layers),
        *(find_recipe("data", name) for name in data),
    ]
    settings = {"datalist": str(Path(datalist).resolve())}
    config = merge(recipe, settings, overrides)
    read_datalist(datalist).section(config["sections"])
    _run(config, recipe, {**settings, **(overrides or {})}, output_dir, resume)
    return output_dir / "backbone.pt"


def train_segmentation(
    setting: str,
    datalist: Path,
    data: Sequence[str],
    output_dir: Path,
    backbone: Path | None = None,
    num_labels: int | None = None,
    fold: int = 0,
    layers: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
) -> Path:
    """Give the weights of a segmentation network trained on few labels: the file ``model.pt`` of the run folder.

    Args:
        setting: ``linear_probe``, ``fine_tune`` or ``from_scratch``.
        datalist: the data list; the network learns from its section ``training``, and the best weights are chosen
            on its section ``validation``; where that is empty, the last weights are kept.
        data: names of data recipes, or YAML files, later ones winning.
        output_dir: the run folder, new unless `resume`.
        backbone: the folder of a pretraining run, whose network is taken over; None starts from random weights.
        num_labels: number of labelled cases; None takes all.
        fold: which of the seeded nested subsets of labelled cases; it also seeds the training.
        layers: further YAML files laid over the recipe.
        overrides: settings in MONAI's syntax.
        resume: continue from the latest checkpoint of the run folder.

    Raises:
        FileExistsError: if the folder holds a run and `resume` is False.
        FileNotFoundError: if there is no such recipe, data list or backbone, or nothing to resume.
        ValueError: if the data list is wrong, or has fewer training cases than `num_labels`.
    """
    recipe = [
        find_recipe("segmentation/configs", "train"),
        find_recipe("segmentation/configs", setting),
        *(find_recipe("segmentation/configs", layer) for layer in layers),
        *(find_recipe("data", name) for name in data),
    ]
    listed = read_datalist(datalist)
    if not listed.sections["validation"]:
        recipe.append(find_recipe("segmentation/configs", "without_validation"))
    load_few_labels(datalist, "training", num_labels, fold)
    settings: dict[str, Any] = {
        "datalist": str(Path(datalist).resolve()),
        "class_names": {str(value): name for value, name in listed.labels.items()},
        "num_classes": len(listed.labels) - 1,
        "num_labels": num_labels,
        "fold": fold,
        "seed": fold,
    }
    method = "random"
    if backbone is not None:
        pretrained = read_config(backbone)
        settings |= {key: pretrained[key] for key in NETWORK_KEYS}
        settings["backbone_weights"] = str(_require(backbone / "backbone.pt", "a finished pretraining run").resolve())
        method = pretrained["name"]
    settings["name"] = method
    config = merge(recipe, settings, overrides)
    if listed.sections["validation"] and config["val_interval"] > config["max_epochs"]:
        raise ValueError(
            f"val_interval={config['val_interval']} exceeds max_epochs={config['max_epochs']}: the weights would never "
            "be judged, and none kept. Set --val_interval lower."
        )
    _run(config, recipe, {**settings, **(overrides or {})}, output_dir, resume)
    return output_dir / "model.pt"


def evaluate(
    run_dir: Path, datalist: Path | None = None, section: str = "test", overrides: Mapping[str, Any] | None = None
) -> Path:
    """Give the file ``rows.jsonl`` of a segmentation run, with one row per case and class of a section.

    The rows of a former evaluation are replaced.

    Args:
        run_dir: folder of a finished segmentation run.
        datalist: another data list than that of the run.
        section: of the data list.
        overrides: settings in MONAI's syntax, such as ``prediction_dir``.

    Raises:
        FileNotFoundError: if the folder holds no weights of a segmentation run.
        ValueError: if it is the folder of a pretraining run, or the data list has no case in the section.
    """
    config = read_config(run_dir)
    if "setting" not in config:
        raise ValueError(f"{run_dir} is a pretraining run; probe or fine-tune its backbone before you evaluate.")
    _require(run_dir / "model.pt", "a segmentation run that has been validated")
    listed = datalist or Path(config["datalist"])
    read_datalist(listed).section(section)
    settings = {
        "output_dir": str(run_dir.resolve()),
        "datalist": str(listed.resolve()),
        "section": section,
        "method_name": config["name"],
        "num_labels": config["num_labels"] or len(read_datalist(config["datalist"]).section("training")),
    }
    recipe = [run_dir / "config.json", find_recipe("segmentation/configs", "evaluate")]
    path = run_dir / "evaluate.json"
    write_json(path, merge(recipe, settings, overrides))
    run_config(path, workflow_type=None)
    return run_dir / "rows.jsonl"


def _require(path: Path, what: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {path.name}: it is not the folder of {what}.")
    return path


def _run(
    config: dict[str, Any], recipe: Sequence[Path], settings: Mapping[str, Any], output_dir: Path, resume: bool
) -> None:
    config["output_dir"] = str(output_dir.resolve())
    config["resume_from"] = str(latest_checkpoint(output_dir).resolve()) if resume else None
    record = run_record(
        kind="segmentation" if "setting" in config else "pretrain",
        setting=config.get("setting"),
        method=config["name"],
        recipe=recipe,
        seed=config["seed"],
        steps=config["max_epochs"] * config["steps_per_epoch"],
        datalist=config["datalist"],
        labels=config.get("num_labels"),
        overrides=settings,
        backbone=config.get("backbone_weights"),
    )
    claim_run_folder(config["output_dir"], config["resume_from"])
    write_json(output_dir / "config.json", config)
    write_run_record(output_dir, record)
    run_config(output_dir / "config.json")
    finish_run_record(output_dir)
