"""Memory that a step frees stays with the process, for the next step, which needs as much again.

glibc maps large blocks one by one and gives each back to the system when it is freed. Every step then waits for the
system to clear all its pages anew: 2 to 15% of its time.
"""

import ctypes
import platform

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX = -1, -2, -4  # malloc.h
_KEPT = 2**31 - 1  # bytes at the heap's end; mallopt takes an int
_GROWTH = 64 * 2**20


def keep_freed() -> None:
    """Take large blocks from the heap, and leave up to 2 GiB of what is free at its end there; for glibc, else nothing.

    Idempotent. It changes the whole process, so it is called where one begins to dream, never on import.
    Source: mallopt(3).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for option, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _KEPT), (_TOP_PAD, _GROWTH)):
        mallopt(option, value)
