"""Files that appear whole or not at all, and are on the disk when they do."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from dreamjobs.errors import StorageError
from dreamjobs.storage.base import TEMP_FOLDER

_RACES = 100


@contextmanager
def temporary(root: str, path: str, fill: Callable[[int], None]) -> Iterator[str]:
    """Give a synced file for `path` under `root`, filled by `fill(descriptor)`; gone at the end unless renamed."""
    _make_folder(os.path.dirname(path))
    folder = os.path.join(root, TEMP_FOLDER)
    # Apart from the objects, so that what a killed writer leaves is never among them.
    temp = os.path.join(folder, uuid.uuid4().hex)
    try:
        fd = _create(folder, temp)
        try:
            fill(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        yield temp
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temp)
        remove_if_empty(folder)


def _create(folder: str, temp: str) -> int:
    """Open a new file in a folder that writers who end take away when it is empty; the mode is open()'s own."""
    for _ in range(_RACES):
        with suppress(FileExistsError):
            os.mkdir(folder)
        with suppress(FileNotFoundError):
            return os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    raise StorageError(f"folder {folder!r} vanishes as often as it is made; try again")


def remove_if_empty(folder: str) -> None:
    """Remove a folder unless it holds something, or is gone."""
    with suppress(OSError):
        os.rmdir(folder)


def write_all(fd: int, data: bytes) -> None:
    """Write all of the data, however little the system takes at a time."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def copy_all(source: int, fd: int) -> None:
    """Write all that can be read from one descriptor to another, a MiB at a time."""
    with open(source, "rb", closefd=False) as reader, open(fd, "wb", closefd=False) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def rename(temp: str, path: str) -> None:
    """Give `temp` its final name, in place of whatever has it."""
    os.replace(temp, path)
    _sync_folder(os.path.dirname(path))


def link(temp: str, path: str) -> bool:
    """Give `temp` its final name unless it is taken: unlike open(O_EXCL), nobody can see it half written."""
    try:
        os.link(temp, path)
    except FileExistsError:
        # Over NFS the answer to a link that was made can get lost and the repeat then finds it.
        return os.path.samefile(temp, path)
    _sync_folder(os.path.dirname(path))
    return True


def _make_folder(folder: str) -> None:
    if os.path.isdir(folder):
        return
    parent = os.path.dirname(folder)
    _make_folder(parent)
    with suppress(FileExistsError):
        os.mkdir(folder)
        _sync_folder(parent)
    if not os.path.isdir(folder):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)


def _sync_folder(folder: str) -> None:
    # Without this a power cut can undo a rename whose results row is already written.
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def open_regular(path: str) -> BinaryIO:
    """Open a file to read it, but nothing that may never end or keep a reader waiting."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return open(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
