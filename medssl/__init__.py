"""Self-supervised pretraining and few-label segmentation of medical images on MONAI."""

from medssl.moved import find_former_modules

find_former_modules()
