"""The classes that a configuration from elsewhere may build: networks and transforms of MONAI, torch and medssl."""

from collections.abc import Iterator
from functools import cache
from pydoc import ErrorDuringImport, locate

from monai.bundle import ComponentLocator
from monai.transforms import Transform
from torch import nn

# Where a class may be named, and where it must be defined.
_NAMED_IN = ("monai.transforms.", "monai.networks.", "torch.nn.", "medssl.")
_DEFINED_IN = (
    *("monai.transforms.", "monai.networks.", "torch.nn.modules."),
    *("medssl.networks.", "medssl.transforms.", "medssl.scans."),
)
_KINDS = (nn.Module, Transform)
# They call what their settings name, or fetch or write files.
_EXCLUDED_PREFIXES = ("TorchVision", "RandTorchVision", "TorchIO", "RandTorchIO", "CuCIM", "RandCuCIM", "Lambda")
_EXCLUDED = frozenset(
    {
        *("RandLambda", "RandLambdad", "RandLambdaD", "RandLambdaDict", "WriteFileMapping", "WriteFileMappingd"),
        *("MILModel", "Transchex", "MultiModal", "TorchVisionFCModel", "BackboneWithFPN", "HyenaND"),
    }
)
# Settings by which a class calls what a text names, fetches a file, or reads pickles.
_CODE_SETTINGS = frozenset({"writer", "func", "inv_func", "merger_cls", "pretrained", "pretrained_url", "allow_pickle"})
_READERS = frozenset({"NibabelReader", "ITKReader", "PydicomReader", "PILReader", "NumpyReader", "NrrdReader"})
# Handed over, never called with what the configuration holds.
_FUNCTIONS = frozenset({"medssl.transforms.save.name_by_case"})


@cache
def known_name(target: str, called: bool = True) -> str | None:
    """The full name of a class that a configuration from elsewhere may build, or None for anything else.

    Args:
        target: of ``_target_``: a dotted path, or the bare name of a class of MONAI.
        called: False if the configuration hands the class or function over and does not call it.

    Example:
        >>> known_name("UNet"), known_name("torch.nn.Linear")
        ('monai.networks.nets.unet.UNet', 'torch.nn.modules.linear.Linear')
        >>> known_name("os.system") is known_name("monai.transforms.Lambda") is None
        True
    """
    if target in _FUNCTIONS:
        return None if called else target
    if not all(part.isidentifier() and not part.startswith("_") for part in target.split(".")):
        return None
    names = [_harmless_name(found) for found in _candidates(target)]
    # MONAI takes the first of several of a name, so that all must be harmless.
    return names[0] if names and None not in names else None


def code_setting(settings: dict[str, object]) -> str | None:
    """The first setting of a class that would run code, fetch a file or read a pickle; None if there is none.

    Example:
        >>> code_setting({"keys": "image", "reader": "os.system", "command": "true"})
        'reader'
    """
    for key, value in settings.items():
        readers = value if isinstance(value, list) else [value]
        if key == "reader" and value is not None and not all(isinstance(r, str) and r in _READERS for r in readers):
            return key
        if key in _CODE_SETTINGS and value not in (None, False):
            return key
    return None


def _candidates(target: str) -> Iterator[object]:
    if "." not in target:
        modules = _monai().get_component_module_name(target) or []
        yield from (locate(f"{module}.{target}") for module in ([modules] if isinstance(modules, str) else modules))
    elif target.startswith(_NAMED_IN):
        try:
            yield locate(target)
        except ErrorDuringImport as error:
            # It catches Ctrl-C too.
            if not isinstance(error.value, Exception):
                raise error.value from None
            return


@cache
def _monai() -> ComponentLocator:
    return ComponentLocator()


def _harmless_name(found: object) -> str | None:
    if not isinstance(found, type) or not issubclass(found, _KINDS):
        return None
    name = f"{found.__module__}.{found.__qualname__}"
    excluded = found.__name__ in _EXCLUDED or found.__name__.startswith(_EXCLUDED_PREFIXES)
    return name if name.startswith(_DEFINED_IN) and not excluded and locate(name) is found else None
