"""The training commands: pretrain a backbone, train a segmentation network, evaluate it."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from medssl.data.datalist import Datalist, read_datalist, require_few_labels
from medssl.data.splits import by_group
from medssl.files import write_json
from medssl.runs.folder import read_config, require_free_folder
from medssl.runs.lock import locked_run_folder
from medssl.runs.ranks import joined_ranks, num_ranks, on_first_rank, rank, require_one_process
from medssl.runs.record import finish_run_record, read_run_record, run_record
from medssl.runs.start import begin_run, no_start_left_behind
from medssl.workflows.backbones import backbone_settings, require_fitting_backbone
from medssl.workflows.preprocessing import require_same_preprocessing
from medssl.workflows.recipes import channel_settings, find_recipe, merge, with_bases
from medssl.workflows.running import gpu_layers, run_config
from medssl.workflows.training_memory import require_training_memory


@joined_ranks()
def pretrain(
    method: str,
    datalist: Path | None,
    data: Sequence[str],
    output_dir: Path,
    *,
    layers: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changed: bool = False,
    store: Path | None = None,
    preset: str | None = None,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Pretrain a backbone by a method, and return the file of its weights, ``backbone.pt`` in the run folder.

    Under ``torchrun`` the ranks share every batch, and the losses are those of one process (docs/scaling.md).

    Args:
        method: name of a method recipe, or a YAML file.
        datalist: the data list; its sections ``training`` and ``unlabeled`` are used, without labels. None if the data
            recipe makes its volumes itself, as ``synthetic`` does.
        data: names of data recipes, or YAML files; later ones win.
        output_dir: the run folder, new unless `resume`.
        layers: further recipes merged after the method, such as ``fast``, or YAML files.
        overrides: settings in MONAI's syntax.
        resume: continue the run in the folder from its newest whole checkpoint, or start it; nothing if it is finished.
        allow_changed: resume even if settings or data list differ from those the run was started with.
        store: volume store of ``medssl prepare`` to take the cases from; None preprocesses them.
        preset: recipe of ``bundles/pretrain/configs/presets``, merged last.
        say: gets a sentence on how long it takes; None measures nothing.

    Raises:
        BlockingIOError: if another process is training in the folder.
        FileExistsError: if the folder holds a run and `resume` is False.
        FileNotFoundError: if there is no such recipe or data list.
        ValueError: if list, store or the run to resume does not fit, or the ranks cannot share a batch evenly.
    """
    recipe = _pretraining_recipe(method, layers, data, preset)
    settings = {"datalist": None if datalist is None else str(Path(datalist).resolve())}
    settings |= {} if datalist is None else channel_settings(read_datalist(datalist))
    if store is not None:
        _require(Path(store) / "store.json", "a finished store; make it with `medssl prepare`")
        recipe.append(find_recipe("pretrain/configs", "store"))
        settings["store"] = str(Path(store).resolve())
    config = merge(recipe, settings, overrides)
    cases = _cases(config, datalist, store)
    if store is not None:
        from medssl.data.store import require_stored

        config["preprocessing_sha256"] = require_same_preprocessing(store, config)
        require_stored(store, cases, config["preprocessing_sha256"])
    if num_ranks() > 1:
        from medssl.data.sampling import require_even_shares

        require_even_shares(config["pairs_per_batch"], num_ranks())
    if say is not None:
        from medssl.workflows.presets import said_of_time

        say(said_of_time(recipe, overrides or {}, preset))
    _run(config, recipe, {**settings, **(overrides or {})}, output_dir, resume, allow_changed)
    return output_dir / "backbone.pt"


def train_segmentation(
    setting: str,
    datalist: Path,
    data: Sequence[str],
    output_dir: Path,
    *,
    backbone: Path | str | None = None,
    num_labels: int | None = None,
    fold: int = 0,
    layers: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    resume: bool = False,
    allow_changed: bool = False,
    trust: bool = False,
) -> Path:
    """Train a segmentation network on few labels, and return the file of its weights, ``model.pt`` in the run folder.

    Args:
        setting: ``linear_probe``, ``fine_tune`` or ``from_scratch``.
        datalist: the data list. The network learns from ``training``; the best weights on ``validation`` are kept, or
            the last ones if that section is empty.
        data: names of data recipes, or YAML files; later ones win.
        output_dir: the run folder, new unless `resume`.
        backbone: folder of a pretraining run or bundle, or name of shipped weights; None starts from random weights.
        num_labels: number of labelled cases; None takes all.
        fold: which of the seeded nested subsets of labelled cases; it also seeds the training.
        layers: further recipes merged after the setting, or YAML files.
        overrides: settings in MONAI's syntax.
        resume: as in `pretrain`.
        allow_changed: as in `pretrain`.
        trust: True takes over whatever network the configuration of `backbone` says; else it is read as data.

    Raises:
        BlockingIOError, FileExistsError: as `pretrain`.
        FileNotFoundError: if there is no such recipe, data list or backbone.
        ValueError: if the list is wrong or has too few cases, or the backbone or the run to resume does not fit.
    """
    require_one_process("Probing and fine-tuning run")
    recipe = _segmentation_recipe(setting, layers, data)
    listed = read_datalist(datalist)
    if not listed.sections["validation"]:
        recipe.append(find_recipe("segmentation/configs", "without_validation"))
    require_few_labels(listed, "training", num_labels)
    settings = _label_settings(datalist, listed, num_labels, fold)
    settings |= _backbone_settings(backbone, recipe, {**channel_settings(listed), **(overrides or {})}, trust)
    config = merge(recipe, settings, overrides)
    _require_trainable(setting, config)
    _run(config, recipe, {**settings, **(overrides or {})}, output_dir, resume, allow_changed)
    return output_dir / "model.pt"


@joined_ranks()
def evaluate(
    run_dir: Path,
    datalist: Path | None = None,
    section: str = "test",
    overrides: Mapping[str, Any] | None = None,
    layers: Sequence[str] = (),
    trust: bool = False,
) -> Path:
    """Evaluate a segmentation run, and return its file ``rows.jsonl`` with one row per case and class of a section.

    The rows of an earlier evaluation are replaced. Under ``torchrun`` the ranks share the cases.

    Args:
        run_dir: folder of a finished segmentation run.
        datalist: the data list; None takes that of the run.
        section: of the data list.
        overrides: settings in MONAI's syntax, such as ``prediction_dir``.
        layers: further recipes merged after the evaluation, such as ``fast_evaluate``, or YAML files.
        trust: True runs whatever the configuration of the run says; else it is read as data.

    Raises:
        FileNotFoundError: if the folder holds no weights of a segmentation run, or there is no such recipe.
        ValueError: if it is the folder of a pretraining run, its configuration holds code, or the data list has no case
            in the section.
    """
    config = read_config(run_dir)
    if "setting" not in config:
        raise ValueError(f"{run_dir} is a pretraining run; probe or fine-tune its backbone before you evaluate.")
    _require(run_dir / "model.pt", "a segmentation run that has been validated")
    listed = datalist or Path(config["datalist"])
    cases = read_datalist(listed).section(section)
    settings = {
        "output_dir": str(run_dir.resolve()),
        "datalist": str(listed.resolve()),
        "section": section,
        "method_name": config["name"],
        "num_labels": config["num_labels"] or len(by_group(read_datalist(config["datalist"]).section("training"))),
    }
    from medssl.workflows.evaluation_config import evaluation_config

    path = run_dir / "evaluate.json"
    on_first_rank(partial(write_json, path, evaluation_config(run_dir, layers, settings, overrides or {}, trust)))
    if num_ranks() == 1:
        run_config(path, workflow_type=None)
    else:
        _evaluate_on_ranks(path, [case["case"] for case in cases])
    return run_dir / "rows.jsonl"


def _cases(config: Mapping[str, Any], datalist: Path | None, store: Path | None) -> list[dict[str, str]]:
    """Return the cases of a pretraining; none if its data recipe makes volumes itself, and reads no section."""
    if config["sections"] is None:
        if datalist is not None or store is not None:
            raise ValueError("This data recipe makes its volumes itself; leave out --datalist and --store.")
        return []
    if datalist is None:
        raise ValueError("This data recipe reads scans; give a data list with --datalist, or take --data synthetic.")
    return read_datalist(datalist).section(config["sections"])


def _pretraining_recipe(method: str, layers: Sequence[str], data: Sequence[str], preset: str | None) -> list[Path]:
    return [
        find_recipe("pretrain/configs", "train"),
        find_recipe("pretrain/configs/methods", method),
        *(find_recipe("pretrain/configs", layer, "pretrain/configs/ablation", "networks") for layer in layers),
        *(find_recipe("data", name) for name in data),
        *([find_recipe("pretrain/configs/presets", preset)] if preset is not None else []),
    ]


def _segmentation_recipe(setting: str, layers: Sequence[str], data: Sequence[str]) -> list[Path]:
    return [
        find_recipe("segmentation/configs", "train"),
        find_recipe("segmentation/configs", setting),
        *(find_recipe("segmentation/configs", layer, "networks") for layer in layers),
        *(find_recipe("data", name) for name in data),
    ]


def _label_settings(datalist: Path, listed: Datalist, num_labels: int | None, fold: int) -> dict[str, Any]:
    return {
        "datalist": str(Path(datalist).resolve()),
        "class_names": {str(value): name for value, name in listed.labels.items()},
        "num_classes": len(listed.labels) - 1,
        "num_labels": num_labels,
        "fold": fold,
        "seed": fold,
        **channel_settings(listed),
    }


def _backbone_settings(
    backbone: Path | str | None, recipe: Sequence[Path], overrides: Mapping[str, Any] | None, trust: bool
) -> dict[str, Any]:
    if backbone is None:
        return {"name": "random"}
    settings = backbone_settings(backbone, trust)
    require_fitting_backbone(backbone, settings, recipe, overrides or {})
    return settings


def _require_trainable(setting: str, config: Mapping[str, Any]) -> None:
    if setting != "from_scratch" and "backbone" not in config["network_def"]:
        raise ValueError(
            f"{config['network_def']['_target_']} has no backbone; use `medssl finetune` without --backbone."
        )


def _evaluate_on_ranks(config_file: Path, cases: Sequence[str]) -> None:
    from medssl.evaluation.ranks import discard_rank_rows, merge_rank_rows

    run_dir = config_file.parent
    on_first_rank(partial(discard_rank_rows, run_dir))
    if rank() < len(cases):
        layer = find_recipe("segmentation/configs", "evaluate_multi_gpu")
        run_config(config_file, workflow_type=None, layers=[layer])
    on_first_rank(partial(merge_rank_rows, run_dir, cases))


def _require(path: Path, what: str) -> Path:
    if not path.is_file():
        raise FileNotFoundError(f"{path.parent} holds no {path.name}: it is not the folder of {what}.")
    return path


def _run(
    config: dict[str, Any],
    recipe: Sequence[Path],
    settings: Mapping[str, Any],
    output_dir: Path,
    resume: bool,
    allow_changed: bool,
) -> None:
    require_training_memory(config)
    # The run folder keeps the configuration of a single process, so the run can continue with other ranks.
    layers = [find_recipe("pretrain/configs", "multi_gpu")] if num_ranks() > 1 else []
    config["output_dir"] = str(output_dir.resolve())
    record = run_record(
        kind="segmentation" if "setting" in config else "pretrain",
        setting=config.get("setting"),
        method=config["name"],
        recipe=[*with_bases(recipe), *layers],
        seed=config["seed"],
        steps=config["max_epochs"] * config["steps_per_epoch"],
        datalist=config["datalist"],
        volumes=config["train"]["dataset"],
        labels=config.get("num_labels"),
        overrides=settings,
        backbone=config.get("backbone_weights"),
    )
    if not resume:
        require_free_folder(output_dir)
    with ExitStack() as lock:
        on_first_rank(lambda: lock.enter_context(locked_run_folder(output_dir)))
        on_first_rank(partial(begin_run, output_dir, config, record, resume, allow_changed))
        if read_run_record(output_dir)["finished"]:
            return
        with no_start_left_behind(output_dir):
            run_config(output_dir / "config.json", layers=[*layers, *gpu_layers(config, settings)])
        on_first_rank(partial(finish_run_record, output_dir))
