"""Label, train and segment with the client of MONAI Label's 3D Slicer plugin. Runs in the environment of MONAI Label.

    python label_app_client.py FOLDER_OF_THE_CLIENT URL FOLDER

FOLDER holds ``labels/CASE.nii.gz``, the names of their segments in ``segments.json``, ``clicks.json`` and
``points.json``. Result files are written there, and the answers are printed.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

# What the plugin sends.
REQUEST = {"result_extension": ".nrrd", "result_dtype": "uint8"}


def train(client, trainer: str = "segmentation") -> dict:
    """Train as the plugin does; return the final status."""
    client.train_start(trainer, {"device": "cpu"})
    for _ in range(1200):
        status = client.train_status()
        if status["status"] not in ("SUBMITTED", "RUNNING"):
            return status
        time.sleep(0.5)
    raise TimeoutError(status)


def infer(client, model: str, case: str, target: Path | None = None, **request) -> dict:
    """Ask for a result and copy it; return its parameters, or the error."""
    try:
        result, answer = client.infer(model, case, {**request, **REQUEST})
    except Exception as error:
        return {"error": error.msg}
    shutil.copy(result, target)
    return answer


def next_sample(client, case: str) -> dict:
    """Ask for the most helpful scan until it is the case, as the server compares scans in the background."""
    for _ in range(240):
        answer = client.next_sample("most_helpful", {})
        if answer["id"] == case:
            break
        time.sleep(0.5)
    return answer


def save(client, label: Path, names: list[str]) -> None:
    """Submit a label as the plugin does."""
    info = [{"name": name, "idx": index} for index, name in enumerate(names, start=1)]
    client.save_label(label.name.removesuffix(".nii.gz"), str(label), "final", {"label_info": info})


def main(client_folder: str, url: str, work: str) -> dict:
    """Repeat what a person does with the plugin."""
    sys.path.insert(0, client_folder)
    from client import MONAILabelClient

    client = MONAILabelClient(url, tempfile.mkdtemp())
    folder = Path(work)
    names = json.loads((folder / "segments.json").read_text())
    *labels, last = sorted((folder / "labels").glob("*.nii.gz"))
    case = last.name.removesuffix(".nii.gz")
    seen = {"info_before": client.info(), "untrained": infer(client, "segmentation", case)}
    seen["first_sample"] = client.next_sample("most_helpful", {})
    seen["trained_without_labels"] = train(client)
    for click in json.loads((folder / "clicks.json").read_text()):
        for name, options in {"region": {}, "heat": {"heat_map": True}}.items():
            target = folder / f"{click['name']}_{name}.nrrd"
            seen[target.stem] = infer(
                client, "similarity", click["case"], target, foreground=[click["index"]], **options
            )
    seen["no_click"] = infer(client, "similarity", case)
    for name, (model_case, sides) in json.loads((folder / "points.json").read_text()).items():
        seen[name] = infer(client, "points", model_case, folder / f"{name}.nrrd", **sides)
    seen["no_point"] = infer(client, "points", case)
    save(client, labels[0], names)
    seen["first"] = train(client)
    seen["info_first"] = client.info()
    infer(client, "segmentation", case, folder / "first.nrrd")
    for label in labels[1:]:
        save(client, label, names)
    seen["second"] = train(client)
    seen["answer"] = infer(client, "segmentation", case, folder / "second.nrrd")
    seen["info"] = client.info()
    seen["next_sample"] = next_sample(client, case)
    save(client, last, ["liver", "my own structure"])
    seen["wrong_names"] = train(client)
    return seen


if __name__ == "__main__":
    print("ANSWERED " + json.dumps(main(*sys.argv[1:])))
