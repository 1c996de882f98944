"""Whoever runs the tests as root may read and write everything, unless the rights are put down for a while."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_NOBODY = 65534
_CAPABILITIES_3 = 0x20080522
_DROP_FROM_BOUNDS, _MOST = 24, 64


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give this process the rights of nobody for the length of a block."""
    user = os.geteuid()
    if not user:
        os.seteuid(_NOBODY)
    try:
        yield
    finally:
        os.seteuid(user)


def drop_capabilities() -> None:
    """Let modes of files hold for this process for good, even if it belongs to root."""
    libc = ctypes.CDLL(None, use_errno=True)
    for capability in range(_MOST):
        # What it starts gets none either.
        libc.prctl(_DROP_FROM_BOUNDS, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_3, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "The capabilities of this process could not be dropped.")
