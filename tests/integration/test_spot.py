"""The spot notice: read from a server like EC2's metadata, handed on to Ray."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from integration.photos import wait_for
from integration.raylets import raylets

from dreamjobs.engine.spot import keep_draining, notice

TOKEN = "a-token"
WHEN = datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC)


@contextlib.contextmanager
def metadata(when: datetime | None) -> Iterator[str]:
    """The url of a server that tells, to whoever has a token, that the machine goes then or, with None, does not."""

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            known = self.path == "/latest/api/token" and self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
            self.answer(200 if known else 400, TOKEN)

        def do_GET(self) -> None:
            if self.headers["X-aws-ec2-metadata-token"] != TOKEN:
                self.answer(401, "")
            elif when is None or self.path != "/latest/meta-data/spot/instance-action":
                self.answer(404, "")
            else:
                self.answer(200, json.dumps({"action": "terminate", "time": f"{when:%Y-%m-%dT%H:%M:%SZ}"}))

        def answer(self, status: int, text: str) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_notice_says_when() -> None:
    """The time of the notice, None while there is none, and None where nobody answers."""
    with metadata(WHEN) as url:
        assert notice(url) == WHEN
    assert notice(url) is None
    with metadata(None) as url:
        assert notice(url) is None


@pytest.mark.parametrize(
    ("left_s", "codes", "code", "tries"), [(120, [1, 1, 0], 0, 3), (120, [0], 0, 1), (-1, [1, 0], 1, 1)]
)
def test_a_drain_that_fails_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, left_s: int, codes: list[int], code: int, tries: int
) -> None:
    """Until Ray takes it, or the machine's time is over; the exit code is the last one's."""
    told: list[datetime] = []

    def drain(until: datetime) -> int:
        told.append(until)
        return codes[len(told) - 1]

    monkeypatch.setattr("dreamjobs.engine.spot.drain", drain)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    until = datetime.now(UTC) + timedelta(seconds=left_s)
    assert keep_draining(until) == code
    assert told == [until] * tries


def has_ended(pid: int) -> bool:
    """Whether there is no such process, or it waits to be taken note of."""
    try:
        return not Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return True


def test_ray_drains_the_node_that_will_be_taken(tmp_path: Path) -> None:
    """With a notice at hand Ray drains the node of this machine, and as nothing is done there, ends it at once."""
    with raylets(tmp_path) as nodes, metadata(datetime.now(UTC) + timedelta(seconds=120)) as url:
        assert not has_ended(nodes.pid)
        variables = os.environ | {"RAY_ADDRESS": nodes.address, "AWS_EC2_METADATA_SERVICE_ENDPOINT": url}
        command = [sys.executable, "-m", "dreamjobs.engine.spot"]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "this machine will be taken" in done.stderr
        wait_for(lambda: has_ended(nodes.pid), 30)
