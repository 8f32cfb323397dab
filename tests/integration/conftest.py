"""Fixtures for integration tests: one local Ray cluster for all of them."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def ray_cluster(s3_bucket_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A local Ray cluster that `engine.run` finds connected, and the folder of its nets' gate.

    It starts after the S3 server, so that its workers inherit the AWS_* variables, and with the tests' folder
    on PYTHONPATH, so that they can import a net of one's own.
    """
    import ray

    gate = tmp_path_factory.mktemp("gate")
    tests = str(Path(__file__).resolve().parents[1])
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", tests, prepend=os.pathsep)
        environment.setenv("DREAMJOBS_TEST_GATE", str(gate))
        environment.setenv("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        ray.init(
            address="local",
            num_cpus=8,
            include_dashboard=False,
            object_store_memory=200_000_000,
            logging_level=logging.ERROR,
            log_to_driver=False,
            _system_config={"metrics_report_interval_ms": 1000},  # 10 s by default, and what the killed did not report
        )
        yield gate
        ray.shutdown()


@pytest.fixture
def gate(ray_cluster: Path) -> Path:
    """The file that lets gated nets on the local cluster go on, and in this process; it is not there yet."""
    file = ray_cluster / "open"
    file.unlink(missing_ok=True)
    return file
