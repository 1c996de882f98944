import json
import threading
import time
from multiprocessing.dummy import DummyProcess

import pytest
from monai.transforms import Transform

from medssl.workflows.running import run_config


class FailOrLinger(Transform):
    """Fails at once for 0, a damaged case; waits for other numbers, slow cases."""

    def __call__(self, seconds):
        if not seconds:
            raise ValueError("a.png is damaged")
        time.sleep(seconds)
        return seconds


def test_no_thread_of_the_cache_outlives_a_failed_run(tmp_path):
    path = tmp_path / "config.json"
    dataset = {"_target_": "CacheDataset", "data": [0, 0.5, 0.5], "progress": False}
    dataset["transform"] = {"_target_": f"{__name__}.FailOrLinger"}
    path.write_text(json.dumps({"dataset": dataset, "run": ["$@dataset"]}), encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.png is damaged"):
        run_config(path, workflow_type=None)
    assert not [thread for thread in threading.enumerate() if isinstance(thread, DummyProcess)]
