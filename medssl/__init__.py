"""Self-supervised pretraining and few-label segmentation of medical images on MONAI."""

import lazy_loader

from medssl.moved import find_former_modules

find_former_modules()

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
