"""What the operating system and S3 raise, turned into the exceptions of `dreamjobs.errors`."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dreamjobs.errors import AccessError, DreamjobsError, InputError, NotFoundError, StorageError

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_HARD_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def explained_os(path: str) -> Iterator[None]:
    """Turn errors of the operating system about `path` into ours."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        raise _explain_os(error, path) from error


def _explain_os(error: OSError | UnicodeError, path: str) -> DreamjobsError:
    if isinstance(error, UnicodeError) or error.errno in {errno.EILSEQ, errno.EINVAL}:
        return InputError(f"file name {path!r} cannot be used here: {error}; rename it")
    if isinstance(error, FileNotFoundError):
        return NotFoundError(f"file {path!r} does not exist")
    if isinstance(error, IsADirectoryError):
        return NotFoundError(f"{path!r} is a folder, not a file; name a file in it")
    if isinstance(error, NotADirectoryError):
        return NotFoundError(f"{path!r} does not exist: a part of its path is a file, not a folder")
    if error.errno == errno.ELOOP:
        return NotFoundError(f"{path!r} does not exist: it is a symbolic link that leads back to itself")
    if error.errno == errno.ENXIO:
        return InputError(f"{path!r} is no regular file but a pipe, a socket or a device; copy it into a file first")
    if error.errno == errno.ENAMETOOLONG:
        return InputError(f"file name {path!r} is too long: 255 bytes a part are usual; shorten it")
    if error.errno in _NO_HARD_LINKS and error.filename2 is not None:
        return InputError(f"the file system of {path!r} has no hard links; put this folder on one that has")
    if error.errno == errno.EXDEV:
        return InputError(f"{path!r} is on another file system than its store; keep a store on one, whole")
    if isinstance(error, PermissionError) or error.errno == errno.EROFS:
        return AccessError(f"access to file {path!r} is denied: {error.strerror}; check its permissions")
    if error.errno in _DISK_FULL:
        return StorageError(f"disk full (or quota reached) at {path!r}; free some space, then run again")
    return StorageError(f"file {path!r} failed: {error}")


_DENIED = {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
_WRONG = {
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_DEFAULT_REGION to it",
    "EntityTooLarge": "one object put whole is at most 5 GiB",
    "InvalidBucketName": "a bucket's name is 3 to 63 of a-z, 0-9, '-' and '.'",
    "KeyTooLongError": "a key is at most 1024 bytes",
    "PermanentRedirect": "the bucket is in another region; set AWS_DEFAULT_REGION to it",
}
_HOW_TO_LOG_IN = (
    "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE to a profile of ~/.aws, or log in with "
    "`aws sso login`, or run where an instance, pod or task role is attached"
)


@contextmanager
def explained_s3(url: str) -> Iterator[None]:
    """Turn errors of boto3 and its transfers about `url` into ours."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        raise _explain_answer(error, url) from error
    except BotoCoreError as error:
        raise _explain_botocore(error, url) from error
    except S3UploadFailedError as error:
        # boto3 keeps the server's answer only as context
        cause = error.__context__
        raise (
            _explain_answer(cause, url)
            if isinstance(cause, ClientError)
            else StorageError(f"upload to {url} failed: {error}")
        ) from error


def _explain_answer(error: ClientError, url: str) -> DreamjobsError:
    """Explain a refusal by its code, or by its status where it has none (the answer to HEAD has no body)."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code == "NoSuchBucket":
        bucket = url.split("/")[2]
        return NotFoundError(f"bucket {bucket!r} of {url} does not exist; create it or correct its name")
    if status == 404:
        return NotFoundError(f"object {url} does not exist")
    if status in {401, 403} or code in _DENIED:
        return AccessError(f"access to {url} is denied ({code or status}); grant it, or {_HOW_TO_LOG_IN}")
    if code in _WRONG:
        return InputError(f"{url} is refused ({code}): {_WRONG[code]}")
    return StorageError(f"the server of {url} failed: {error}")


def _explain_botocore(error: Exception, url: str) -> DreamjobsError:
    from botocore import exceptions as boto

    credentials = (
        boto.NoCredentialsError,
        boto.PartialCredentialsError,
        boto.CredentialRetrievalError,
        boto.ProfileNotFound,
        boto.TokenRetrievalError,
        boto.NoAuthTokenError,
        boto.SSOError,
        boto.LoginError,
    )
    if isinstance(error, credentials):
        return AccessError(f"no usable credentials for {url}: {error}; {_HOW_TO_LOG_IN}")
    if isinstance(error, boto.ParamValidationError):
        return InputError(f"{url} is refused before it is sent: {error}")
    return StorageError(f"the server of {url} failed: {error}; check AWS_ENDPOINT_URL and the network")
