"""Fixtures for integration tests: one local Ray cluster for all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ray_cluster(s3_bucket_url: str) -> Iterator[None]:
    """A local Ray cluster that `engine.run` finds connected.

    It starts after the S3 server, so that its workers inherit the AWS_* variables, and with the tests' folder
    on PYTHONPATH, so that they can import a net of one's own.
    """
    import ray

    tests = str(Path(__file__).resolve().parents[1])
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [tests, before]))
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    ray.init(
        address="local",
        num_cpus=8,
        include_dashboard=False,
        object_store_memory=200_000_000,
        logging_level=logging.ERROR,
        log_to_driver=False,
        _system_config={"metrics_report_interval_ms": 1000},  # 10 s by default, and what a killed actor did not report
    )
    try:
        yield
    finally:
        ray.shutdown()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
