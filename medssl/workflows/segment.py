"""The `medssl segment` command: from a folder of scans and a few masks to segmentations of all others, and a report."""

import hashlib
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from medssl.advice.measures import StructureMeasures
from medssl.evaluation.segment_report import write_segment_report
from medssl.files import file_sha256, sweep_temporary
from medssl.packaging.loading import LoadedBundle
from medssl.packaging.pack import pack
from medssl.runs.lock import locked_run_folder
from medssl.workflows.segment_advice import log_advice, structures_of
from medssl.workflows.segment_backbone import Backbone, choose_backbone, with_settings
from medssl.workflows.segment_choice import Chooser
from medssl.workflows.segment_facts import fingerprint
from medssl.workflows.segment_inputs import Inputs, read_inputs, scan_name
from medssl.workflows.segment_memory import require_patch_memory
from medssl.workflows.segment_predict import Predictor
from medssl.workflows.segment_predictions import Found, Predictions
from medssl.workflows.segment_progress import Display
from medssl.workflows.segment_reporting import segment_report
from medssl.workflows.segment_training import PATCHES_PER_BATCH, Trainer, UnlabelledCase, load_run

_PREDICT_SECONDS, _DESCRIBE_SECONDS, _PACK_SECONDS = 15.0, 3.0, 15.0
BUNDLE = "few_labels"


@dataclass(frozen=True)
class Segmented:
    """What the command made.

    Attributes:
        report: the page.
        bundle: folder of the bundle that segments further scans.
        problems: one sentence for everything left out, by the name of its file.
    """

    report: Path
    bundle: Path
    problems: dict[str, str]


def segment_scans(
    scans: Path,
    labels: Path | None,
    output_dir: Path,
    minutes: float = 10.0,
    backbone: str | None = None,
    modality: str | None = None,
    absent: str = "ignore",
    label_names: str | None = None,
    settings: Mapping[str, Any] | None = None,
    console: Console | None = None,
    trust: bool = False,
) -> Segmented:
    """Segment all scans of a folder or data list that have no mask; a network learns from those that have one.

    What is unchanged since an earlier call is kept: facts of scans, features, networks, segmentations. Files in
    ``segmentations`` that the user has changed are never overwritten.

    Args:
        scans: folder of volumes (NIfTI, NRRD, MetaImage) and of folders of DICOM series; or a data list.
        labels: folder of masks with the names of their scans; None takes those of a data list.
        output_dir: gets ``segmentations``, ``report.html``, ``bundle`` and ``work``.
        minutes: for the whole.
        backbone: folder of a pretraining run or bundle, or a name of shipped weights; None chooses.
        modality: CT or MR; None finds it.
        absent: what a structure is that some masks show and others lack: ``ignore``: unknown there; ``background``:
            not there.
        label_names: as in ``1=liver,2=spleen``; None takes those of the masks.
        settings: of the data recipe, such as ``spacing`` and ``patch_size``.
        console: where progress is shown.
        trust: True runs whatever the configuration of `backbone` says; else it is read as data.

    Raises:
        BlockingIOError: if another command works in the folder.
        FileNotFoundError: if there is no such backbone.
        ValueError: if nothing can be segmented, and before anything is written there.
    """
    display = Display(console or Console(quiet=True))
    with locked_run_folder(output_dir / "work"), display.shown(output_dir / "work" / "log.txt"):
        sweep_temporary(output_dir)
        inputs = read_inputs(scans, labels, output_dir, modality, label_names, display)
        structures = partial(_structures, inputs, output_dir / "work")
        facts = list(inputs.facts.values())
        start = choose_backbone(backbone, inputs.modality, facts, structures, trust, inputs.channels)
        start = start._replace(data=with_settings(start.data, settings or {}))
        log_advice(start, settings or {})
        require_patch_memory(start.data["patch_size"], start.channels, PATCHES_PER_BATCH)
        return _segment(inputs, start, output_dir, minutes, absent, display)


def _structures(inputs: Inputs, work: Path) -> dict[str, StructureMeasures]:
    return structures_of(inputs.labelled(work / "masks"), inputs.structures.names, inputs.modality, work / "measures")


def _segment(
    inputs: Inputs, start: Backbone, output_dir: Path, minutes: float, absent: str, display: Display
) -> Segmented:
    work = output_dir / "work"
    cases, rest = inputs.labelled(work / "masks"), inputs.unlabelled()
    if not rest:
        raise ValueError("There is no scan without a mask, so there is nothing to segment; add scans.")
    names = inputs.structures.names
    _expect(display, len(cases), len(rest), minutes)
    trainer = Trainer(work, start, inputs.modality, names, absent, minutes, len(cases))
    after = len(cases) * _DESCRIBE_SECONDS + _PACK_SECONDS
    work_left = _in_labelled_scans(inputs, rest)
    others = [UnlabelledCase(case, inputs.scans[case], inputs.facts[case].content) for case in rest]
    chooser = Chooser(trainer, cases, names, minutes, display, others)
    choice = chooser.choose(work_left, after, _obstacle(inputs, absent))
    predictions = Predictions(output_dir / "segmentations", work / "segmentations", inputs.structures)
    segmented, problems = _predict_all(inputs, rest, load_run(choice.run, start.trust), predictions, display)
    labelled = {}
    for case in cases:
        with display.unit("describe", f"Look at {case.case}"):
            labelled[case.case] = predictions.describe(
                case.case, case.image, case.label, hashlib.sha256(f"{names} {case.content}".encode()).hexdigest()
            )
    with display.unit("pack", "Pack the network as a bundle"):
        bundle = _packed(choice.run, output_dir / "bundle", start.trust)
    problems |= inputs.problems
    report = segment_report(inputs, start, choice, absent, segmented, labelled, problems)
    return Segmented(write_segment_report(report, output_dir / "report.html"), bundle, problems)


def _obstacle(inputs: Inputs, absent: str) -> str:
    """Return why there can be no fine-tuning, or nothing."""
    lacking = ", ".join(inputs.structures.absent())
    if absent == "background" or not lacking:
        return ""
    return f"Fine-tuning needs --absent background where some masks lack a structure ({lacking})."


def _in_labelled_scans(inputs: Inputs, cases: list[str]) -> float:
    """Return how many scans of the size of the labelled ones would be as large as all of the given cases together."""
    volumes = {case: math.prod(facts.extent) for case, facts in inputs.facts.items()}
    labelled = [volumes[case] for case in inputs.structures.of_case]
    return sum(volumes[case] for case in cases) / (sum(labelled) / len(labelled))


def _expect(display: Display, num_labelled: int, num_rest: int, minutes: float) -> None:
    after = num_labelled * (_PREDICT_SECONDS + _DESCRIBE_SECONDS) + num_rest * _PREDICT_SECONDS + _PACK_SECONDS
    display.left.expect("fine_tune", 1, max(60 * minutes - after, 0.0))
    display.left.expect("probe", 1, num_labelled * _PREDICT_SECONDS)
    display.left.expect("predict", num_rest, _PREDICT_SECONDS)
    display.left.expect("describe", num_labelled, _DESCRIBE_SECONDS)
    display.left.expect("pack", 1, _PACK_SECONDS)


def _predict_all(
    inputs: Inputs, cases: list[str], network: LoadedBundle, predictions: Predictions, display: Display
) -> tuple[dict[str, Found], dict[str, str]]:
    """Segment scans that are not segmented yet; returns what was found, and a sentence for every scan that failed."""
    # Structures of other names, in the same network, are another run.
    model, problems = f"{network.folder.name} {file_sha256(network.folder / 'model.pt')}", {}
    keys = {case: hashlib.sha256(f"{model} {fingerprint(inputs.scans[case])}".encode()).hexdigest() for case in cases}
    kept = {case: predictions.read(case, keys[case]) for case in cases}
    waiting = [case for case in cases if kept[case] is None]
    display.left.expect("predict", len(waiting), display.left.of_unit("left out") or _PREDICT_SECONDS)
    found = {case: known for case, known in kept.items() if known is not None}
    predictor = Predictor(network)
    for number, case in enumerate(waiting, start=1):
        scan = inputs.scans[case]
        with display.unit("predict", f"Segment {scan_name(scan)} ({number} of {len(waiting)})"):
            try:
                found[case] = predictions.segment(case, scan, keys[case], predictor)
            except (ValueError, OSError, RuntimeError, MemoryError) as error:
                # One bad scan does not end the others.
                problems[scan_name(scan)] = str(error)
    return found, problems


def _packed(run: Path, folder: Path, trust: bool) -> Path:
    """Return the bundle of a run; that of another run is replaced, and only when the new one is whole."""
    marker = folder / "run.txt"
    packed = [path for path in folder.glob("*/") if (path / "provenance.json").is_file()]
    if packed and marker.is_file() and marker.read_text(encoding="utf-8") == run.name:
        return packed[0]
    fresh = folder.with_name(f".{folder.name}-new")
    shutil.rmtree(fresh, ignore_errors=True)
    bundle = pack(run, BUNDLE, fresh, zip_bundle=False, trust=trust)
    (fresh / marker.name).write_text(run.name, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    fresh.replace(folder)
    return folder / bundle.name
