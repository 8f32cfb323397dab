"""A proxy to the S3 server that refuses what an IAM policy does not allow, as Amazon would.

moto can check an action against a policy, but neither against its resources nor for S3 clients other than boto3;
here every request counts, pyarrow's too.
"""

from __future__ import annotations

import contextlib
import fnmatch
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from integration.s3_server import Fault, Handler, proxy

_OF_A_BUCKET = {"GET": "s3:ListBucket", "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
_OF_AN_OBJECT = {"GET": "s3:GetObject", "HEAD": "s3:GetObject", "PUT": "s3:PutObject", "DELETE": "s3:DeleteObject"}


@dataclass(frozen=True)
class Ask:
    """An action on a resource, both as policies name them."""

    action: str
    resource: str


@dataclass
class Policy:
    """Statements without conditions, and what was asked of them."""

    statements: list[dict[str, Any]]
    used: set[str] = field(default_factory=set)
    refused: list[Ask] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def allows(self, ask: Ask) -> bool:
        """Whether a statement allows it."""
        return any(
            statement["Effect"] == "Allow"
            and any(fnmatch.fnmatchcase(ask.action, pattern) for pattern in _listed(statement["Action"]))
            and any(fnmatch.fnmatchcase(ask.resource, pattern) for pattern in _listed(statement["Resource"]))
            for statement in self.statements
        )

    def granted(self) -> set[str]:
        """The actions that it names."""
        return {action for statement in self.statements for action in _listed(statement["Action"])}


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def ask_of(method: str, path: str) -> Ask:
    """What a request of S3's REST interface, bucket in the path, needs to be allowed."""
    parts = urlsplit(path)
    query = parse_qs(parts.query, keep_blank_values=True)
    bucket, _, key = unquote(parts.path.lstrip("/")).partition("/")
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    if not key and "uploads" in query:
        return Ask("s3:ListBucketMultipartUploads", resource)
    if not key:
        return Ask(_OF_A_BUCKET[method], resource)
    if method == "DELETE" and "uploadId" in query:
        return Ask("s3:AbortMultipartUpload", resource)
    return Ask("s3:PutObject" if method == "POST" else _OF_AN_OBJECT[method], resource)


@contextlib.contextmanager
def enforcing_proxy(policy: Policy) -> Iterator[str]:
    """Give the url of a proxy that holds every request against a policy."""

    class Enforcing(Handler):
        def fault(self) -> Fault:
            ask = ask_of(self.command, self.path)
            with policy.lock:
                policy.used.add(ask.action)
                if policy.allows(ask):
                    return None
                policy.refused.append(ask)
            return 403

        def forward(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            status, headers, answer = super().forward(body)
            bucket = urlsplit(self.path).path.split("/")[1]
            if status == 404 and not policy.allows(Ask("s3:ListBucket", f"arn:aws:s3:::{bucket}")):
                return 403, headers, b"<Error><Code>AccessDenied</Code></Error>"  # whether it exists is not told
            return status, headers, answer

    with proxy(Enforcing) as url:
        yield url
