"""The life of a run: its folder, start, checkpoints, stop, resume, lock and record."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
