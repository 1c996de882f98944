"""Ask a MONAI Label server for scans, with the client of its 3D Slicer plugin. Runs in the environment of MONAI Label.

    python channel_client.py FOLDER_OF_THE_CLIENT URL OUT SCRIPT

SCRIPT is a JSON list of steps, done in order: ``["save", CASE, LABEL, [NAMES]]``, ``["train", TRAINER]``,
``["infer", MODEL, CASE, REQUEST]`` or ``["session", MODEL, FILE, REQUEST]``. Prints the answer of each, or its error;
the file of answer N is written to ``OUT/N.nrrd``.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path

from label_app_client import REQUEST, train


def done(client, step: list, target: Path) -> dict:
    """Do one step and return its answer."""
    kind, name, *rest = step
    if kind == "save":
        info = [{"name": segment, "idx": index} for index, segment in enumerate(rest[1], start=1)]
        return client.save_label(name, rest[0], "final", {"label_info": info})
    if kind == "train":
        return train(client, name)
    scan, more = rest
    session = client.create_session(scan)["session_id"] if kind == "session" else None
    result, answer = client.infer(name, "" if session else scan, {**REQUEST, **more}, session_id=session)
    shutil.copy(result, target)
    return answer


def main(client_folder: str, url: str, out: str, script: str) -> list[dict]:
    """Do all steps."""
    sys.path.insert(0, client_folder)
    from client import MONAILabelClient, MONAILabelClientException

    client = MONAILabelClient(url, tempfile.mkdtemp())
    answers = []
    for number, step in enumerate(json.loads(script)):
        try:
            answers.append(done(client, step, Path(out) / f"{number}.nrrd"))
        except MONAILabelClientException as error:
            answers.append({"error": error.msg})
    return answers


if __name__ == "__main__":
    print("ANSWERED " + json.dumps(main(*sys.argv[1:])))
