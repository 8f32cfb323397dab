"""A store over a prefix of an S3 bucket, or of any server that speaks S3."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dreamjobs.errors import InputError, NotFoundError, StorageError
from dreamjobs.storage.base import ObjectInfo, Store, check_key, check_range
from dreamjobs.storage.clients import s3_client, s3_file_system
from dreamjobs.storage.faults import explained_os, explained_s3

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

READ_ATTEMPTS = 5
RACE_ATTEMPTS = 8
MAX_KEY_BYTES = 1024
_TOKEN = "dreamjobs-put"

# Fixed, for the mimetypes module reads files of the machine. A browser shows what has a type, saves the rest.
_CONTENT_TYPES = {
    "avif": "image/avif",
    "css": "text/css; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "png": "image/png",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "webp": "image/webp",
}


@dataclass(frozen=True)
class S3Store(Store):
    """Objects of `bucket` whose names begin with `prefix` and a slash (all of them where it is empty).

    Reading takes any name that S3 can hold, `a//b.png` and `../b.png` too, for there they are plain names and
    photo archives contain them; writing takes only keys that every store allows.
    """

    bucket: str
    prefix: str = ""

    def __post_init__(self) -> None:
        if not self.bucket or "/" in self.bucket:
            raise InputError(f"bucket {self.bucket!r} is not allowed: write s3://bucket/prefix")
        object.__setattr__(self, "prefix", self.prefix.rstrip("/"))
        if self.prefix:
            check_key(self.prefix)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def get(self, key: str) -> bytes:
        return self._read(key)

    def get_range(self, key: str, start: int, length: int) -> bytes:
        from botocore.exceptions import ClientError

        check_range(key, start, length)
        try:
            return self._read(key, Range=f"bytes={start}-{start + length - 1}")
        except StorageError as error:
            if isinstance(error.__cause__, ClientError) and _status(error.__cause__) == 416:
                return b""  # the object ends before `start`
            raise

    def put(self, key: str, data: bytes) -> None:
        with self._client(check_key(key)) as (client, place):
            client.put_object(**place, Body=data, **_content_type(key))

    def put_if_absent(self, key: str, data: bytes) -> bool:
        token = uuid.uuid4().hex
        for attempt in range(RACE_ATTEMPTS):
            answer = self._try_create(key, data, token)
            if answer == 200:
                return True
            if answer == 412:
                return self._token(key) == token
            time.sleep(0.05 * 2**attempt)
        raise StorageError(f"{self._url(key)} is being written by others all the time; try again")

    def put_file(self, key: str, local_path: str) -> None:
        with explained_os(local_path), open(local_path, "rb"):
            pass  # boto3 would say less of a file it cannot read
        with self._client(check_key(key)) as (client, place):
            client.upload_file(local_path, **place, ExtraArgs=_content_type(key))

    def info(self, key: str) -> ObjectInfo | None:
        try:
            with self._client(key) as (client, place):
                head = client.head_object(**place)
        except NotFoundError:
            return None
        return _info(key, head["ContentLength"], head["ETag"], head["LastModified"])

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:

        base = self._name("")
        for found in self._pages("list_objects_v2", "Contents", base + prefix):
            key = found["Key"].removeprefix(base)
            if not key.endswith("/") and key:  # what consoles write to show an empty folder
                yield _info(key, found["Size"], found["ETag"], found["LastModified"])

    def delete(self, key: str) -> None:
        with self._client(check_key(key)) as (client, place):
            client.delete_object(**place)

    def sweep(self, older_than_s: float) -> int:
        before = time.time() - older_than_s
        uploads = self._pages("list_multipart_uploads", "Uploads", self._name(""))
        stale = [upload for upload in uploads if upload["Initiated"].timestamp() < before]
        for upload in stale:
            self._abort(upload["Key"], upload["UploadId"])
        return len(stale)

    def arrow(self) -> tuple[FileSystem, str]:
        return s3_file_system(self.bucket), f"{self.bucket}/{self.prefix}".rstrip("/")

    def _name(self, key: str) -> str:
        return f"{self.prefix}/{key}" if self.prefix else key

    def _url(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._name(key)}"

    @contextmanager
    def _client(self, key: str) -> Iterator[tuple[Any, dict[str, str]]]:
        """Give the client and where `key` is, and explain what goes wrong with it."""
        name = self._name(key)
        if not key or "\0" in key or len(name.encode(errors="replace")) > MAX_KEY_BYTES:
            raise InputError(f"key {name!r} is not allowed: give 1 to {MAX_KEY_BYTES} bytes without NUL")
        with explained_os(self._url(key)), explained_s3(self._url(key)):
            yield s3_client(), {"Bucket": self.bucket, "Key": name}

    def _read(self, key: str, **options: str) -> bytes:
        from botocore.exceptions import BotoCoreError

        with self._client(key) as (client, place):
            for _ in range(READ_ATTEMPTS - 1):
                body = client.get_object(**place, **options)["Body"]
                try:
                    return bytes(body.read())
                except BotoCoreError:  # cut off: botocore tries again only up to the first byte of the body
                    body.close()
            return bytes(client.get_object(**place, **options)["Body"].read())

    def _try_create(self, key: str, data: bytes, token: str) -> int:
        """Put if absent, once; return 200, 412 (it exists) or 409 (a race, to be run again)."""
        from botocore.exceptions import ClientError

        with self._client(check_key(key)) as (client, place):
            try:
                client.put_object(**place, Body=data, IfNoneMatch="*", Metadata={_TOKEN: token}, **_content_type(key))
            except ClientError as error:
                if _status(error) in {409, 412}:
                    return _status(error)
                raise
        return 200

    def _token(self, key: str) -> str | None:
        """Return which call created the object.

        The client repeats a put whose answer was lost, and the repeat is told 412 for what the first one made.
        """
        try:
            with self._client(key) as (client, place):
                return client.head_object(**place)["Metadata"].get(_TOKEN)  # type: ignore[no-any-return]
        except NotFoundError:
            return None

    def _pages(self, operation: str, items: str, prefix: str) -> Iterator[dict[str, Any]]:
        with explained_s3(f"s3://{self.bucket}/{prefix}"):
            paginator = s3_client().get_paginator(operation)
            for page in paginator.paginate(Bucket=self.bucket, Prefix=prefix):
                yield from page.get(items, [])

    def _abort(self, name: str, upload_id: str) -> None:
        with explained_s3(f"s3://{self.bucket}/{name}"):
            client = s3_client()
            try:
                client.abort_multipart_upload(Bucket=self.bucket, Key=name, UploadId=upload_id)
            except client.exceptions.NoSuchUpload:
                return  # finished or swept meanwhile


def _status(error: Any) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


def _content_type(key: str) -> dict[str, str]:
    known = _CONTENT_TYPES.get(key.rpartition(".")[2].lower())
    return {"ContentType": known} if known else {}


def _info(key: str, size_bytes: int, etag: str, modified: Any) -> ObjectInfo:
    return ObjectInfo(key, size_bytes, "etag:" + etag.strip('"'), modified.timestamp())
