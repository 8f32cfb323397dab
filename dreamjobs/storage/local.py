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
from typing import TYPE_CHECKING, BinaryIO

from dreamjobs.errors import InputError, StorageError
from dreamjobs.storage.base import TEMP_FOLDER, ObjectInfo, Store, check_key, check_prefix, check_range
from dreamjobs.storage.faults import explained_os

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

_RACES = 100
_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}


@dataclass(frozen=True)
class LocalStore(Store):
    """Objects as files under `root`, which is made absolute and need not exist before the first put.

    Symbolic links are followed. File systems without hard links (FAT) lack `put_if_absent`. Files are written in
    `root`/.dreamjobs-tmp, which is there only meanwhile, so all of a store is on one file system.
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
        with explained_os(path), _open_regular(path) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_range(key, start, length)
        path = self._path(key)
        with explained_os(path), _open_regular(path) as file:
            file.seek(start)
            return file.read(length)

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with explained_os(path), _temporary(self.root, path, lambda fd: _write_all(fd, data)) as temp:
            _rename(temp, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with explained_os(path):
            if os.path.lexists(path):
                return False
            with _temporary(self.root, path, lambda fd: _write_all(fd, data)) as temp:
                return _link(temp, path)

    def put_file(self, key: str, local_path: str) -> None:
        path = self._path(key)
        with (
            explained_os(local_path),
            open(local_path, "rb") as source,
            explained_os(path),
            _temporary(self.root, path, lambda fd: _copy_all(source.fileno(), fd)) as temp,
        ):
            _rename(temp, path)

    def info(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with explained_os(path):
            try:
                return _info(key, os.stat(path))
            except OSError as error:
                if error.errno in _NOT_THERE:
                    return None
                raise

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, begins = check_prefix(prefix)
        top = self._path(folder) if folder else self.root
        for key in _walk(top, f"{folder}/" if folder else "", begins=begins):
            if found := self.info(key):
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
        _remove_if_empty(self._temp_folder())
        return len(stale)

    def arrow(self) -> tuple[FileSystem, str]:
        from pyarrow.fs import LocalFileSystem

        return LocalFileSystem(), self.root

    def _path(self, key: str) -> str:
        return os.path.join(self.root, check_key(key))

    def _temp_folder(self) -> str:
        return os.path.join(self.root, TEMP_FOLDER)

    def _temporaries(self) -> Iterator[str]:
        folder = self._temp_folder()
        return (os.path.join(folder, name) for name in _names(folder, ""))


# ---- writing -----------------------------------------------------------------------------------------------


@contextmanager
def _temporary(root: str, path: str, fill: Callable[[int], None]) -> Iterator[str]:
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
        _remove_if_empty(folder)


def _create(folder: str, temp: str) -> int:
    """Open a new file in a folder that writers who end take away when it is empty; the mode is open()'s own."""
    for _ in range(_RACES):
        with suppress(FileExistsError):
            os.mkdir(folder)
        with suppress(FileNotFoundError):
            return os.open(temp, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    raise StorageError(f"folder {folder!r} vanishes as often as it is made; try again")


def _remove_if_empty(folder: str) -> None:
    with suppress(OSError):
        os.rmdir(folder)


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


def _open_regular(path: str) -> BinaryIO:
    """Open a file to read it, but nothing that may never end or keep a reader waiting."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    mode = os.fstat(fd).st_mode
    if stat.S_ISREG(mode):
        return open(fd, "rb")
    os.close(fd)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)


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
                return sorted(e.name + "/" * _is_folder(e) for e in entries if _is_shown(e.name, begins))
        except (FileNotFoundError, NotADirectoryError):
            return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        if error.errno in _NOT_THERE:
            return False
        raise


def _is_shown(name: str, begins: str) -> bool:
    return name.startswith(begins) and name != TEMP_FOLDER


def _modified_before(path: str, time_s: float) -> bool:
    try:
        return os.stat(path).st_mtime < time_s
    except FileNotFoundError:
        return False
