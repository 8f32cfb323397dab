"""The `Store` interface, what it says of an object, and which keys are allowed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dreamjobs.errors import InputError

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

TEMP_FOLDER = ".dreamjobs-tmp"
"""The folder of a local store where files stand while they are written; no key may have such a part."""


@dataclass(frozen=True)
class ObjectInfo:
    """What a store says of one object without reading it.

    `version` changes when the content does: `etag:<hex>` on S3, `mtime:<ns>` locally. `modified_s` is seconds
    since 1970 by the clock of the store, which may differ from this machine's.
    """

    key: str
    size_bytes: int
    version: str
    modified_s: float


class Store(ABC):
    """A folder of whole objects.

    A store is a small value: it compares by its place, pickles, and may be used from many threads. Every
    method raises `InputError` for a key that is not allowed (see `check_key`), `AccessError` where permission
    or credentials lack, and `StorageError` where the store failed after its own retries.
    """

    @property
    @abstractmethod
    def url(self) -> str:
        """Where the store is: an absolute path, or `s3://bucket/prefix`; `open_store` takes it back."""

    @abstractmethod
    def get(self, key: str) -> bytes:
        """Return the whole object; `NotFoundError` if there is none."""

    @abstractmethod
    def get_range(self, key: str, start: int, length: int) -> bytes:
        """Return `length` >= 1 bytes from `start` >= 0, fewer (or none) where the object ends sooner.

        Raises `NotFoundError` if there is no such object.
        """

    @abstractmethod
    def put(self, key: str, data: bytes) -> None:
        """Store `data` (up to 5 GiB) whole, in place of what was there; it is durable on return."""

    @abstractmethod
    def put_if_absent(self, key: str, data: bytes) -> bool:
        """Store `data` whole if nothing is there, and return whether this call did.

        Of any number of callers at once, on any machines, exactly one gets True.
        """

    @abstractmethod
    def put_file(self, key: str, local_path: str) -> None:
        """Store a finished local file of any size, whole; `NotFoundError` if there is no such file."""

    @abstractmethod
    def info(self, key: str) -> ObjectInfo | None:
        """Return what is known of an object, or None if there is none; a folder is none."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key starts with `prefix`, in order of key, without holding them all.

        `a` gives `a.png` and `a/b.png`, `a/` only the second. A folder that does not exist is empty; a bucket
        that does not exist is a `NotFoundError`. Files still being written are left out. Errors are raised
        when the first object is asked for.
        """

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; one that is not there is no error."""

    @abstractmethod
    def sweep(self, older_than_s: float) -> int:
        """Remove what writers that died left behind, and return how many.

        Locally these are temporary files, on S3 unfinished multipart uploads, which are billed but never
        listed. Only those older than `older_than_s` seconds go: a younger one may have a live writer.
        """

    @abstractmethod
    def arrow(self) -> tuple[FileSystem, str]:
        """Return a pyarrow filesystem and the path of this store in it, to read and write Parquet.

        Make a new one for each dataset: on S3 it may carry credentials that expire within the hour.
        """

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self.info(key) is not None


def check_key(key: str) -> str:
    """Return `key` if it stays inside its store, else raise `InputError`.

    Not allowed: an empty key, one that begins or ends with `/`, an empty, `.` or `..` part, a NUL, and the
    folder of files still being written.
    """
    for part in key.split("/"):
        if part in {"", ".", "..", TEMP_FOLDER} or "\0" in part:
            raise InputError(
                f"key {key!r} is not allowed: give relative parts joined by '/', none of them empty, '.', "
                f"'..' or {TEMP_FOLDER!r}, without NUL"
            )
    return key


def check_prefix(prefix: str) -> tuple[str, str]:
    """Split what keys are to begin with into folder and rest; `InputError` if the folder is not allowed."""
    folder, slash, begins = prefix.rpartition("/")
    return (check_key(folder) if slash else ""), begins


def check_range(key: str, start: int, length: int) -> None:
    """Raise `InputError` unless `start` >= 0 and `length` >= 1."""
    if start < 0 or length < 1:
        raise InputError(f"bytes {start} + {length} of {key!r}: start is at least 0 and length at least 1")
