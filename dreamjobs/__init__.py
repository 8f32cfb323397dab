"""Distributed batch DeepDream: a Parquet manifest of photographs and parameter grids becomes dreamed pictures.

From Python: `DreamParams`, `load_net` and `dream` for one picture, `run` for a manifest. They are imported when first
used, so that `import dreamjobs` and the command line's help start at once.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dreamjobs.engine import run
    from dreamjobs.nets import load_net
    from dreamjobs.octaves import dream
    from dreamjobs.params import DreamParams

# torch reads this when it first asks for 2 MiB or more. Huge pages make large nets up to a tenth faster on a CPU.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
# oneDNN reads this when it first compiles. It keeps what it compiled for 1,024 sizes of maps and weights; a round of a
# fanned-out picture's tiles takes several times as many, so that each would be compiled again in the next.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "8192")

__all__ = ["DreamParams", "dream", "load_net", "run"]

_HOMES = {
    "DreamParams": "dreamjobs.params",
    "dream": "dreamjobs.octaves",
    "load_net": "dreamjobs.nets",
    "run": "dreamjobs.engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
