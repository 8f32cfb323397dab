"""Objects by key, whole or not at all, over local disk and S3.

A `Store` is a folder: local, or a prefix of a bucket. A key is posix text relative to it, `images/ab/cat.png`.
Keys are plain characters: nothing in them is ever decoded, so `%2F`, `#`, `?` and spaces are themselves. A
reader sees the old object or the new one, never a part: locally a temporary file is synced and renamed, on
S3 an object is one PutObject.

It does not cache, and knows nothing of what is stored. Read in this order: `base` (the interface), `local`,
`s3` (`clients` and `faults` below it), `urls`, `ranges`.
"""

from dreamjobs.storage.base import ObjectInfo, Store
from dreamjobs.storage.local import LocalStore
from dreamjobs.storage.ranges import open_ranges
from dreamjobs.storage.s3 import S3Store
from dreamjobs.storage.urls import UrlParts, exists, join_url, open_store, read_url, split_url

__all__ = [
    "LocalStore",
    "ObjectInfo",
    "S3Store",
    "Store",
    "UrlParts",
    "exists",
    "join_url",
    "open_ranges",
    "open_store",
    "read_url",
    "split_url",
]
