"""Finds photographs: files, folders and S3 prefixes as rows of a manifest, one at a time."""

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from dreamjobs.errors import DreamjobsError, ImageError, InputError, NotFoundError
from dreamjobs.images import is_picture, probe
from dreamjobs.storage import ObjectInfo, Store, join_url, open_store, split_url

_PROBE_BYTES = 256 * 1024
_PROBES = 16
_TOLD = 5


@dataclass
class Passed:
    """Counts photographs found and files passed over, and keeps what is said of the first photographs among them."""

    found: int = 0
    count: int = 0
    unusable: tuple[str, ...] = ()

    def add(self, reason: str = "") -> None:
        """A file passed over; with a reason if it is a photograph."""
        self.count += 1
        if reason and len(self.unusable) < _TOLD:
            self.unusable += (reason,)


@dataclass(frozen=True)
class Found:
    """One photograph: how the manifest names it, and where it is."""

    image: str
    store: Store
    info: ObjectInfo


def clips(sources: list[str], base: str) -> Iterator[dict[str, Any]]:
    """A row for each folder of frames.

    Raises:
        NotFoundError: for a source without a picture.
    """
    for source in sources:
        root = source.rstrip("/")
        store = open_store(root)
        if not any(is_picture(info.key) for info in store.list()):
            raise NotFoundError(f"{source!r} is no folder with frames: it holds no picture")
        yield {"image": (root if "://" in root else image_name(os.getcwd(), root, base)) + "/"}


def find(sources: list[str], base: str, passed: Passed) -> Iterator[Found]:
    """All photographs under the sources; what is no photograph, or has a name that no manifest holds, is passed over.

    Raises:
        NotFoundError: for a source that does not exist.
        InputError: for a source that is itself a photograph whose name is not UTF-8.
    """
    for source in sources:
        yield from _find_in(source, base, passed)


def _find_in(source: str, base: str, passed: Passed) -> Iterator[Found]:
    """A single object if there is one of that name, else all photographs below it."""
    if not source.endswith("/") and (alone := _alone(source)):
        yield Found(image_name(alone.store.url, alone.info.key, base), alone.store, alone.info)
        return
    store = open_store(source.rstrip("/") if "://" not in source else source)
    if "://" not in source and not os.path.isdir(source):
        raise NotFoundError(f"there is no file or folder {source!r}")
    for info in store.list():
        if not is_picture(info.key):
            passed.add()
            continue
        try:
            name = image_name(store.url, info.key, base)
        except InputError as error:  # one bad name among a million is no reason to list none
            passed.add(str(error))
        else:
            yield Found(name, store, info)


def _alone(source: str) -> Found | None:
    try:
        parts = split_url(source)
    except InputError:  # a bare bucket names no object
        return None
    store = open_store(parts.base)
    info = store.info(parts.key)
    return Found(source, store, info) if info else None


def image_name(root: str, key: str, base: str) -> str:
    """`s3://...` as it is; a local path relative to the manifest's folder, absolute if that is on S3."""
    if root.startswith("s3://"):
        return join_url(root, key)
    path = os.path.join(root, key)
    if not _is_utf8(path):
        raise InputError(f"the name {path!r} is not UTF-8, so no manifest can hold it; rename the file")
    return path if base.startswith("s3://") else os.path.relpath(path, base)


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def as_rows(found: Iterator[Found], *, sizes: bool) -> Iterator[dict[str, Any]]:
    """A row for each photograph, in order; headers are read by a few threads, a few photographs ahead."""
    if not sizes:
        yield from (as_row(item) for item in found)
        return
    with ThreadPoolExecutor(_PROBES) as pool:
        ahead: deque[Future[dict[str, Any]]] = deque()
        for item in found:
            ahead.append(pool.submit(_row_with_size, item))
            if len(ahead) >= 4 * _PROBES:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def as_row(found: Found) -> dict[str, Any]:
    """A photograph's row, without its width and height."""
    kind, _, version = found.info.version.partition(":")
    return {
        "image": found.image,
        "size_bytes": found.info.size_bytes,
        "etag": version if kind == "etag" else None,
        "mtime": int(version) if kind == "mtime" else None,
    }


def _row_with_size(found: Found) -> dict[str, Any]:
    """The size is left out where the header does not tell it; the run says then what is wrong with the file."""
    row = as_row(found)
    try:
        size = probe(found.store.get_range(found.info.key, 0, _PROBE_BYTES))
    except (ImageError, DreamjobsError):
        size = None
    return row | ({"width": size.width, "height": size.height} if size else {})
