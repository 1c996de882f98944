"""Drive a MONAI Label server with the client of its own 3D Slicer plugin. Runs in the environment of MONAI Label.

    python label_client.py FOLDER_OF_THE_CLIENT URL MODEL IMAGE LABEL OUT [REQUEST]

asks for the next scan, segments it, segments an uploaded scan in a session, saves a label, and prints the answers.
REQUEST, a JSON object, is added to what the plugin sends.
"""

import json
import shutil
import sys
import tempfile
from pathlib import Path


def main(client_folder: str, url: str, model: str, image: str, label: str, out: str, more: str = "{}") -> dict:
    """Repeat what a person does with the plugin; result files go to a folder."""
    sys.path.insert(0, client_folder)
    from client import MONAILabelClient

    client = MONAILabelClient(url, tempfile.mkdtemp())
    # What the plugin sends.
    request = {"result_extension": ".nrrd", "result_dtype": "uint8", **json.loads(more)}
    info = client.info()
    sample = client.next_sample("first", {})
    result, answer = client.infer(model, sample["id"], request)
    shutil.copy(result, Path(out) / "datastore.nrrd")
    session = client.create_session(image)["session_id"]
    result, _ = client.infer(model, "", request, session_id=session)
    shutil.copy(result, Path(out) / "session.nrrd")
    client.remove_session(session)
    client.save_label(sample["id"], label, "final", {"label_info": []})
    return {"info": info, "sample": sample, "answer": answer, "datastore": client.datastore()}


if __name__ == "__main__":
    print("ANSWERED " + json.dumps(main(*sys.argv[1:])))
