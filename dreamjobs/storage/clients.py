"""S3 clients from the environment: boto3's, one per process, and pyarrow's with the same settings.

Both follow botocore's own rules for credentials, profiles, region and AWS_ENDPOINT_URL[_S3].
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dreamjobs.errors import AccessError, InputError
from dreamjobs.storage.faults import explained_s3

if TYPE_CHECKING:
    from pyarrow.fs import FileSystem

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
RETRIES = 8
POOL_CONNECTIONS = 32

# Ways of getting credentials that pyarrow knows too, and keeps fresh by itself.
_PYARROW_KNOWS = {"env", "iam-role", "container-role", "assume-role-with-web-identity"}


def s3_client() -> Any:
    """Return this process's boto3 client, shared by its threads, which do not share boto3's default session.

    A fork and a change of the AWS_* variables get a new one. `InputError` for an endpoint that is no URL.
    """
    return _client(os.getpid(), _settings())


def s3_file_system(bucket: str) -> FileSystem:
    """Return a pyarrow filesystem that reaches `bucket` as `s3_client` does.

    Credentials of a profile that only botocore understands are copied as they are now, and may expire.
    """
    from pyarrow.fs import AwsStandardS3RetryStrategy, S3FileSystem

    return S3FileSystem(
        **_credentials(bucket),
        **_place(bucket),
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=READ_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=RETRIES + 1),
    )


def _settings() -> tuple[tuple[str, str], ...]:
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_")))


@lru_cache(maxsize=4)
def _client(pid: int, settings: tuple[tuple[str, str], ...]) -> Any:
    # The arguments only tell clients apart. No lock: two threads at the same moment make two clients, each from
    # a session of its own, and one is dropped. A lock held during a fork would stay locked in the child.
    from botocore.config import Config

    with explained_s3("s3://"):
        try:
            return _session().client(
                "s3",
                config=Config(
                    retries={"mode": "standard", "max_attempts": RETRIES},
                    connect_timeout=CONNECT_TIMEOUT_S,
                    read_timeout=READ_TIMEOUT_S,
                    max_pool_connections=POOL_CONNECTIONS,
                ),
            )
        except ValueError as error:
            raise InputError(f"no S3 client: {error}; AWS_ENDPOINT_URL is as http://host:port") from error


def _session() -> Any:
    import boto3

    return boto3.session.Session()


def _credentials(bucket: str) -> dict[str, Any]:
    with explained_s3(f"s3://{bucket}"):
        found = _session().get_credentials()
        if found is None:
            raise AccessError(f"no credentials for s3://{bucket}; set AWS_ACCESS_KEY_ID or AWS_PROFILE")
        if found.method in _PYARROW_KNOWS:
            return {}
        keys = found.get_frozen_credentials()
    return {"access_key": keys.access_key, "secret_key": keys.secret_key, "session_token": keys.token}


def _place(bucket: str) -> dict[str, Any]:
    """Return where pyarrow is to look: the endpoint if it is not Amazon's, the region if it is."""
    meta = s3_client().meta
    url = urlsplit(meta.endpoint_url)
    region = meta.region_name or "us-east-1"
    if (url.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return {"region": _region_of(bucket, default=region)}
    return {"endpoint_override": url.netloc + url.path, "scheme": url.scheme, "region": region}


def _region_of(bucket: str, *, default: str) -> str:
    # boto3 follows a bucket into its region by itself, pyarrow does not.
    from pyarrow.fs import resolve_s3_region

    try:
        return str(resolve_s3_region(bucket))
    except OSError:
        return default
