"""Parts of configurations that would run code: each makes the folder MADE if it does."""

import json
from pathlib import Path
from typing import Any

MADE = "MADE"
_CODE = f"__import__('os').mkdir('{MADE}')"
_LINEAR = {"_target_": "torch.nn.Linear", "in_features": 2, "out_features": 2}
_SYSTEM = {"_target_": "os.system", "command": f"mkdir {MADE}"}

# Values in the place of a network.
NETWORKS: dict[str, Any] = {
    "function": _SYSTEM,
    "builtin": {"_target_": "builtins.exec", "_debug_": False, "source": _CODE},
    "expression": f"${_CODE}",
    "expression in an argument": {**_LINEAR, "in_features": f"${_CODE}"},
    "attribute chain": {**_LINEAR, "bias": f"$().__class__.__base__.__subclasses__() and {_CODE}"},
    "component in an argument": {**_LINEAR, "bias": _SYSTEM},
    "component in a list": {"_target_": "torch.nn.Sequential", "args": [_LINEAR, [_SYSTEM]]},
    "requirement": {**_LINEAR, "_requires_": [f"${_CODE}"]},
    "disabled": {**_LINEAR, "_disabled_": f"${_CODE}"},
    "description": {**_LINEAR, "_desc_": f"${_CODE}"},
    "mode": {**_LINEAR, "_mode_": "debug"},
    "debugger": {**_LINEAR, "_debug_": True},
    "target by reference": {"_target_": "@elsewhere", "path": MADE},
    "component by reference": {**_LINEAR, "bias": "@planted"},
    "part by reference": {**_LINEAR, "bias": "@nested::deep::0"},
    "old reference": {**_LINEAR, "bias": "@nested#deep#0"},
    "relative reference": {**_LINEAR, "bias": "@##planted"},
    "reference in an expression": {**_LINEAR, "bias": "$[@planted]"},
    "macro": "%planted",
    "macro of a file": "%planted.json::net",
    "import": {**_LINEAR, "bias": "$from os import system as run"},
    "re-exported": {"_target_": "monai.networks.utils.os.mkdir", "path": MADE},
    "re-exported by medssl": {"_target_": "medssl.files.os.mkdir", "path": MADE},
    "partial": {"_target_": "os.mkdir", "path": MADE, "_mode_": "callable"},
    "not a text": {"_target_": ["os.mkdir"], "path": MADE},
    "quotes that break out": {**_LINEAR, "bias": f"$'@elsewhere' or {_CODE} or '@elsewhere'"},
    "method of a class": {"_target_": "torch.nn.Module.__init_subclass__"},
}

# Values in a list of transforms.
TRANSFORMS: dict[str, Any] = {
    "function": _SYSTEM,
    "nested": {"_target_": "Compose", "transforms": [{"_target_": "Compose", "transforms": [_SYSTEM]}]},
    "expression": f"$[{_CODE}]",
    "reader by name": {"_target_": "LoadImaged", "keys": "image", "reader": "os.system", "command": f"mkdir {MADE}"},
    "reader of medssl": {
        "_target_": "medssl.scans.loading.VerifiedLoadImaged",
        "keys": "image",
        "reader": "os.system",
        "command": f"mkdir {MADE}",
    },
    "reader by reference": {"_target_": "LoadImaged", "keys": "image", "reader": "@elsewhere", "path": MADE},
    "pickles": {"_target_": "LoadImaged", "keys": "image", "reader": "NumpyReader", "allow_pickle": True},
    "writer by name": {"_target_": "SaveImaged", "keys": "image", "writer": "os.mkdir"},
    "writer of medssl": {
        "_target_": "medssl.transforms.atomic.SaveImageAtomicd",
        "keys": "image",
        "writer": "os.mkdir",
    },
    "lambda": {"_target_": "Lambdad", "keys": "image", "func": f"$lambda x: {_CODE}"},
    "another library": {"_target_": "TorchVisiond", "keys": "image", "name": "ColorJitter"},
    "disabled": {"_target_": "Compose", "_disabled_": f"${_CODE}"},
}

# What references of the values above lead to.
PLANTED = {"elsewhere": "os.mkdir", "planted": _SYSTEM, "nested": {"deep": [_SYSTEM]}}


def plant(path: Path, **settings: Any) -> Path:
    """Write settings, and what their references lead to, into a configuration."""
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **PLANTED, **settings}), encoding="utf-8")
    planted = json.dumps({"net": _SYSTEM})
    Path("planted.json").write_text(planted, encoding="utf-8")
    return path
