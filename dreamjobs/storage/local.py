"""A store over a local folder (or a network file system mounted as one)."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamjobs.errors import InputError
from dreamjobs.storage.base import TEMP_PREFIX, ObjectInfo, Store, check_key, check_prefix, check_range
from dreamjobs.storage.faults import explained_os

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


@dataclass(frozen=True)
class LocalStore(Store):
    """Objects as files under `root`, which is made absolute and need not exist before the first put.

    Symbolic links are followed. File systems without hard links (FAT) lack `put_if_absent`.
    """

    root: str

    def __post_init__(self) -> None:
        if not self.root or "\0" in self.root:
            raise InputError(f"folder {self.root!r} is not allowed: give a path")
        object.__setattr__(self, "root", os.path.abspath(self.root))

    @property
    def url(self) -> str:
        return self.root

    def get(self, key: str) -> bytes:
        path = self._path(key)
        with explained_os(path), open(path, "rb") as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_range(key, start, length)
        path = self._path(key)
        with explained_os(path), open(path, "rb") as file:
            file.seek(start)
            return file.read(length)

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with explained_os(path), _temporary(path, lambda fd: _write_all(fd, data)) as temp:
            _rename(temp, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with explained_os(path):
            if os.path.lexists(path):
                return False
            with _temporary(path, lambda fd: _write_all(fd, data)) as temp:
                return _link(temp, path)

    def put_file(self, key: str, local_path: str) -> None:
        path = self._path(key)
        with (
            explained_os(local_path),
            open(local_path, "rb") as source,
            explained_os(path),
            _temporary(path, lambda fd: _copy_all(source.fileno(), fd)) as temp,
        ):
            _rename(temp, path)

    def info(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with explained_os(path):
            try:
                return _info(key, os.stat(path))
            except (FileNotFoundError, NotADirectoryError):
                return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, begins = check_prefix(prefix)
        top = self._path(folder) if folder else self.root
        for key in _walk(top, f"{folder}/" if folder else "", begins=begins):
            if not _is_temporary(key) and (found := self.info(key)):
                yield found

    def delete(self, key: str) -> None:
        path = self._path(key)
        with explained_os(path), suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(path)

    def sweep(self, older_than_s: float) -> int:
        before = time.time() - older_than_s
        stale = [path for path in self._temporaries() if _modified_before(path, before)]
        for path in stale:
            with explained_os(path), suppress(FileNotFoundError):
                os.unlink(path)
        return len(stale)

    def arrow(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), self.root

    def _path(self, key: str) -> str:
        return os.path.join(self.root, check_key(key))

    def _temporaries(self) -> Iterator[str]:
        return (os.path.join(self.root, key) for key in _walk(self.root, "") if _is_temporary(key))


# ---- writing -----------------------------------------------------------------------------------------------


@contextmanager
def _temporary(path: str, fill: Callable[[int], None]) -> Iterator[str]:
    """Give a synced file beside `path`, filled by `fill(descriptor)`; gone at the end unless renamed."""
    folder = os.path.dirname(path)
    _make_folder(folder)
    # A short name of its own, for `path`'s may already be as long as the file system allows. The mode is
    # open()'s own, for a tempfile's 0600 would hide results from everyone else.
    temp = os.path.join(folder, TEMP_PREFIX + uuid.uuid4().hex)
    try:
        fd = os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            fill(fd)
            os.fsync(fd)
        finally:
            os.close(fd)
        yield temp
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temp)


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _copy_all(source: int, fd: int) -> None:
    with open(source, "rb", closefd=False) as reader, open(fd, "wb", closefd=False) as writer:
        shutil.copyfileobj(reader, writer, 1 << 20)


def _rename(temp: str, path: str) -> None:
    os.replace(temp, path)
    _sync_folder(os.path.dirname(path))


def _link(temp: str, path: str) -> bool:
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


# ---- reading -----------------------------------------------------------------------------------------------


def _info(key: str, status: os.stat_result) -> ObjectInfo | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return ObjectInfo(key, status.st_size, f"mtime:{status.st_mtime_ns}", status.st_mtime)


def _walk(folder: str, above: str, *, begins: str = "", parents: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield `above` + the path of each file under `folder`, in order, whose first name begins with `begins`."""
    if (real := os.path.realpath(folder)) in parents:  # a symbolic link to a folder that holds it
        return
    for name in _names(folder, begins):
        if name.endswith("/"):
            yield from _walk(os.path.join(folder, name[:-1]), above + name, parents=(*parents, real))
        else:
            yield above + name


def _names(folder: str, begins: str) -> list[str]:
    """Return a folder's names in the order of the keys below them: folder `b` is `b/`, after `b.png`."""
    with explained_os(folder):
        try:
            with os.scandir(folder) as entries:
                return sorted(e.name + "/" * e.is_dir() for e in entries if e.name.startswith(begins))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_temporary(key: str) -> bool:
    return key.rpartition("/")[2].startswith(TEMP_PREFIX)


def _modified_before(path: str, time_s: float) -> bool:
    try:
        return os.stat(path).st_mtime < time_s
    except FileNotFoundError:
        return False
