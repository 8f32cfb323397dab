"""Names of the files below a folder, in the order of keys."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from dreamjobs.storage.base import TEMP_FOLDER
from dreamjobs.storage.faults import explained_os

NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


def walk(folder: str, above: str, *, begins: str = "", parents: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield `above` + the path of each file under `folder`, in order, whose first name begins with `begins`."""
    if (real := os.path.realpath(folder)) in parents:  # a symbolic link to a folder that holds it
        return
    for name in names(folder, begins):
        if name.endswith("/"):
            yield from walk(os.path.join(folder, name[:-1]), above + name, parents=(*parents, real))
        else:
            yield above + name


def names(folder: str, begins: str) -> list[str]:
    """Return a folder's names in the order of the keys below them: folder `b` is `b/`, after `b.png`."""
    with explained_os(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted(e.name + "/" * _is_folder(e) for e in entries if _is_shown(e.name, begins))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in NOT_THERE:
            return False
        raise


def _is_shown(name: str, begins: str) -> bool:
    return name.startswith(begins) and name != TEMP_FOLDER
