"""A store over a local folder (or a network file system mounted as one)."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamjobs.errors import InputError
from dreamjobs.storage.base import TEMP_FOLDER, ObjectInfo, Store, check_key, check_prefix, check_range
from dreamjobs.storage.faults import explained_os
from dreamjobs.storage.walk import NOT_THERE, names, walk
from dreamjobs.storage.whole import copy_all, link, open_regular, remove_if_empty, rename, temporary, write_all

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem


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
        with explained_os(path), open_regular(path) as file:
            return file.read()

    def get_range(self, key: str, start: int, length: int) -> bytes:
        check_range(key, start, length)
        path = self._path(key)
        with explained_os(path), open_regular(path) as file:
            file.seek(start)
            return file.read(length)

    def put(self, key: str, data: bytes) -> None:
        path = self._path(key)
        with explained_os(path), temporary(self.root, path, lambda fd: write_all(fd, data)) as temp:
            rename(temp, path)

    def put_if_absent(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        with explained_os(path):
            if os.path.lexists(path):
                return False
            with temporary(self.root, path, lambda fd: write_all(fd, data)) as temp:
                return link(temp, path)

    def put_file(self, key: str, local_path: str) -> None:
        path = self._path(key)
        with (
            explained_os(local_path),
            open(local_path, "rb") as source,
            explained_os(path),
            temporary(self.root, path, lambda fd: copy_all(source.fileno(), fd)) as temp,
        ):
            rename(temp, path)

    def info(self, key: str) -> ObjectInfo | None:
        path = self._path(key)
        with explained_os(path):
            try:
                return _info(key, os.stat(path))
            except OSError as error:
                if error.errno in NOT_THERE:
                    return None
                raise

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        folder, begins = check_prefix(prefix)
        top = self._path(folder) if folder else self.root
        for key in walk(top, f"{folder}/" if folder else "", begins=begins):
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
        remove_if_empty(self._temp_folder())
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
        return (os.path.join(folder, name) for name in names(folder, ""))


def _info(key: str, status: os.stat_result) -> ObjectInfo | None:
    if not stat.S_ISREG(status.st_mode):
        return None
    return ObjectInfo(key, status.st_size, f"mtime:{status.st_mtime_ns}", status.st_mtime)


def _modified_before(path: str, time_s: float) -> bool:
    try:
        return os.stat(path).st_mtime < time_s
    except FileNotFoundError:
        return False
