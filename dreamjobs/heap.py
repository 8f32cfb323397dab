"""What the C library does with memory that is given back, and when Python looks for what can be."""

import ctypes
import gc
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT = 256 << 20
_APART = 32 << 20  # the most that glibc takes: larger blocks are mapped one by one, and go back when freed
_NEW_OBJECTS = 50_000


def keep_freed() -> None:
    """Let glibc keep up to 256 MiB of what is freed at its heap's end, unless the environment says how much.

    Nets, and who stitches tiles, free the same memory after every tile and ask for it again for the next; what was
    given back in between comes as new pages, which the kernel has to clear. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _APART)  # as it comes to be by itself, but not once the other is set


def collect_seldom() -> None:
    """Have Python look for garbage in cycles after 50,000 new objects, not 700; for processes that are all our own.

    Importing torch makes some half a million that stay. To go through them over and over takes a sixth of the import.
    A dream leaves no cycles behind; a net does.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
