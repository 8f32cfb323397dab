"""Fixtures for all tests: an S3 server over real HTTP, started only for the tests that ask for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import settings

from dreamjobs.heap import collect_seldom

collect_seldom()  # as the program itself does
settings.register_profile("untimed", deadline=None)  # nothing is timed here, on machines that are shared
settings.load_profile("untimed")
pytest.register_assert_rewrite("unit.test_storage_contract")


@pytest.fixture(scope="session")
def s3_bucket_url() -> Iterator[str]:
    """`s3://BUCKET` of a fresh bucket, with the AWS_* variables of its server in os.environ.

    The server is the one that AWS_ENDPOINT_URL names, or else moto in a process of its own. Ask for this
    fixture before Ray starts, so that its workers inherit the variables.
    """
    from integration.s3_server import fresh_bucket, server_environment

    with server_environment(), fresh_bucket() as bucket:
        yield f"s3://{bucket}"
