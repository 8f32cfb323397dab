"""What the C library does with memory that is given back."""

import ctypes
import os
import platform

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of <malloc.h>
_KEPT = 256 << 20
_APART = 32 << 20  # the most that glibc takes: larger blocks are mapped one by one, and go back when freed


def keep_freed() -> None:
    """Let glibc keep up to 256 MiB of what is freed at its heap's end, unless the environment says how much.

    Nets, and who stitches tiles, free the same memory after every tile and ask for it again for the next; what was
    given back in between comes as new pages, which the kernel has to clear. Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] == "glibc" and "MALLOC_TRIM_THRESHOLD_" not in os.environ:
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_THRESHOLD, _APART)  # as it comes to be by itself, but not once the other is set
