"""Places as text: local paths, `file://` and `s3://`, taken as they are written and never percent-decoded."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from dreamjobs.errors import InputError
from dreamjobs.storage.base import Store, check_key
from dreamjobs.storage.local import LocalStore
from dreamjobs.storage.s3 import S3Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)


@dataclass(frozen=True)
class UrlParts:
    """One object as the url of a store and its key there; `open_store(base).get(key)` reads it."""

    base: str
    key: str


def open_store(url: str) -> Store:
    """Return the store at `s3://bucket/prefix`, a local path or `file:///path`; nothing is asked of it yet.

    Raises `InputError` for another scheme, an empty path or a missing bucket.
    """
    scheme, rest = _split_scheme(url)
    if scheme == "s3":
        bucket, _, prefix = rest.partition("/")
        return S3Store(bucket, prefix)
    return LocalStore(rest)


def split_url(url: str) -> UrlParts:
    """Return the folder and the name of one object; `InputError` if `url` names none.

    A name that only S3 can hold (`s3://bucket/a//b.png`) has the bucket itself as its folder.
    """
    scheme, rest = _split_scheme(url)
    if scheme == "s3":
        return _split_s3(url, rest)
    folder, name = os.path.split(os.path.abspath(rest))
    if rest.endswith("/") or not name:
        raise InputError(f"{url!r} names a folder; name one file")
    return UrlParts(folder, name)


def join_url(base: str, relative: str) -> str:
    """Return where `relative`, found in a file of the folder `base`, points to.

    An absolute path or a url stands for itself. `..` climbs out of a local folder; on S3, where it is a plain
    name, it is an `InputError`.
    """
    scheme, rest = _split_scheme(relative)
    if scheme == "s3":
        return relative
    if scheme or os.path.isabs(rest):
        return os.path.abspath(rest)
    base_scheme, base_rest = _split_scheme(base)
    if base_scheme != "s3":
        return os.path.abspath(os.path.join(base_rest, rest))
    if ".." in rest.split("/"):
        raise InputError(f"{relative!r} in {base}: '..' has no meaning on S3; write the whole s3:// url")
    return f"s3://{base_rest.rstrip('/')}/{rest.removeprefix('./')}"


def read_url(url: str) -> bytes:
    """Return the bytes of one local file or S3 object; errors as `Store.get`."""
    parts = split_url(url)
    return open_store(parts.base).get(parts.key)


def exists(url: str) -> bool:
    """Whether there is a local file or S3 object at a url; errors as `Store.exists`."""
    parts = split_url(url)
    return open_store(parts.base).exists(parts.key)


def _split_scheme(url: str) -> tuple[str, str]:
    """Return `s3`, `file` or nothing, and the rest."""
    if not url or "\0" in url:
        raise InputError(f"place {url!r} is not allowed: give a local path or s3://bucket/prefix")
    match = _SCHEME.fullmatch(url)
    if match is None:
        return "", url
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file" and rest.startswith("/"):
        return scheme, rest
    if scheme == "s3":
        return scheme, rest
    raise InputError(f"place {url!r} is not allowed: give a local path, file:///path or s3://bucket/prefix")


def _split_s3(url: str, rest: str) -> UrlParts:
    bucket, _, name = rest.partition("/")
    folder, slash, last = name.rpartition("/")
    if not bucket or not last:
        raise InputError(f"{url!r} names no object; write s3://bucket/key")
    try:
        check_key(name)
    except InputError:
        return UrlParts(f"s3://{bucket}", name)
    return UrlParts(f"s3://{bucket}{slash}{folder}", last)
