"""Runs submitted to a Ray cluster as jobs: followed, left alone, stopped, and refused."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from integration.photos import GATED, Command, encoded, noise, put_photos, rows, wait_for
from integration.ray_head import Head, Relay, started

from dreamjobs.ledger.drivers import at_work
from dreamjobs.manifest import build
from dreamjobs.storage import open_store

TINY = ["--set=net=tiny", "--set=octaves=1", "--set=steps=2", "--set=jitter=2"]
WAITING = [
    f"--set=net={GATED}",
    *(f"--set={item}" for item in ("weights=random", "objective=things", "octaves=1", "steps=100")),
]


@pytest.fixture(scope="module")
def ray_head() -> Iterator[Head]:
    """A one-machine cluster with a job server that asks for a token."""
    with started() as head:
        yield head


@pytest.fixture
def head(ray_head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Head:
    """The cluster, its gate closed and its token at hand; three photographs in the current folder."""
    ray_head.close_gate()
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ray_head.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    put_photos("photos", 3)
    return ray_head


def ended(command: Command) -> tuple[int, str]:
    """The exit code and all output of a command, once it has ended."""
    with command:
        return command.wait(), command.output


def submitted(head: Head, folder: Path, *options: str, address: str = "") -> Command:
    return Command(folder, "submit", "m.parquet", "run", "--address", address or head.address, *options)


def waiting_run(head: Head, folder: Path, address: str = "") -> Command:
    """A submitted run of three photographs, one of which waits at the gate."""
    open_store("photos").put("1.png", encoded(noise(9, (64, 20))))
    build(["photos"], "m.parquet", [])
    command = submitted(head, folder, *WAITING, "--actors=1", address=address)
    command.until((head.gate / "dreaming").exists)
    return command


def written() -> list[dict[str, Any]]:
    return rows("run") if Path("run/results").exists() else []


def finished() -> None:
    """Wait until the run has its three rows and its driver is gone."""
    wait_for(lambda: len(written()) == 3)
    wait_for(lambda: not at_work(open_store("run")))


def open_gate(head: Head) -> None:
    (head.gate / "open").touch()


def test_a_submitted_run_is_followed_to_its_end(head: Head, tmp_path: Path) -> None:
    """Names and settings with spaces survive, the job's output is shown, and its exit code is the command's.

    It says that it dreams on cores, as it was not told to wait for cards.
    """
    Path("photos/a 'b' $HOME.png").write_bytes(b"text")
    build(["photos"], "my manifest.parquet", [])
    options = ["--set=objective=things + 0.5*edges", "--actors=1", "--log-format=json", *TINY]
    places = ("my manifest.parquet", "my run")
    code, output = ended(Command(tmp_path, "submit", *places, "--address", head.address, *options))
    assert code == 1, output
    assert re.search(r"^raysubmit_\w+$", output, re.MULTILINE)
    events = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events if event["event"] not in ("done", "log")] == [
        "start",
        "outlook",
        "note",
        "failed",
        "end",
    ]
    assert "--gpus-per-actor 1 would wait for a card" in output
    found = rows("my run")
    assert {row["objective"] for row in found} == {"things + 0.5*edges"}
    assert {row["image"]: row["status"] for row in found} == {
        "photos/0.png": "done",
        "photos/1.png": "done",
        "photos/2.png": "done",
        "photos/a 'b' $HOME.png": "failed",
    }
    options += ["--failures-ok", "--gpus-per-actor=0"]
    code, output = ended(Command(tmp_path, "submit", *places, "--address", head.address, *options))
    assert code == 0, output
    assert "would wait" not in output


@pytest.mark.parametrize(("number", "code"), [(signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, 130)])
def test_the_job_outlives_who_follows_it(head: Head, tmp_path: Path, number: signal.Signals, code: int) -> None:
    """A closed terminal or Ctrl-C in the middle of a run end the following, and the run is finished all the same."""
    with waiting_run(head, tmp_path) as command:
        command.process.send_signal(number)
        assert command.wait() == code
        assert ("the job goes on" in command.output) == (number == signal.SIGINT)
        assert "Traceback" not in command.output
    assert len(written()) < 3
    open_gate(head)
    finished()
    assert {row["status"] for row in rows("run")} == {"done"}


def test_a_broken_connection_loses_no_line(head: Head, tmp_path: Path) -> None:
    """Cut off again and again in the middle, the follower connects again and shows each line of the job once."""
    with Relay(int(head.address.rpartition(":")[2])) as relay, waiting_run(head, tmp_path, relay.address) as command:
        command.until(lambda: "3 to do" in command.output)
        relay.cut()
        wait_for(lambda: relay.connections)
        relay.cut()
        open_gate(head)
        code, output = ended(command)
    assert code == 0, output
    assert output.count("3 to do: 3 new; 0 done before\n") == 1
    assert output.count("3 done, 0 failed, 0 left") == 1


def test_a_stopped_job_is_told_and_continued(head: Head, tmp_path: Path) -> None:
    """The command that the follower names stops the job; the follower ends with 130, and the same command goes on."""
    with waiting_run(head, tmp_path) as command:
        stop = shlex.split(re.search(r"`(ray job stop .*?)`", command.output)[1])  # type: ignore[index]
        ray = Path(sys.executable).with_name(stop[0])
        subprocess.run([ray, *stop[1:], "--no-wait"], check=True, capture_output=True)
        assert command.wait() == 130
        assert "was stopped" in command.output
    assert len(written()) < 3
    open_gate(head)
    code, output = ended(submitted(head, tmp_path, *WAITING, "--actors=1"))
    assert code == 0, output
    assert len(rows("run")) == 3


def test_a_killed_driver_ends_with_its_signal(head: Head, tmp_path: Path) -> None:
    """A driver that is killed, as where memory runs out, ends the command with 128 and the signal."""
    with waiting_run(head, tmp_path) as command:
        (driver,) = at_work(open_store("run"))
        os.kill(int(re.search(r"process (\d+)", driver.name)[1]), signal.SIGKILL)  # type: ignore[index]
        assert command.wait() == 128 + signal.SIGKILL


def test_only_the_id_without_following(head: Head, tmp_path: Path) -> None:
    """`--no-follow` prints the job's id and nothing else, and leaves the job to itself."""
    build(["photos"], "m.parquet", [])
    code, output = ended(submitted(head, tmp_path, "--no-follow", "--set=objective=things", *TINY, "--actors=1"))
    assert code == 0, output
    assert re.fullmatch(r"raysubmit_\w+\n", output)
    finished()


def test_bad_input_of_a_job_ends_with_2(head: Head, tmp_path: Path) -> None:
    """What the job refuses is shown with its words and its exit code."""
    build(["photos"], "m.parquet", [])
    code, output = ended(submitted(head, tmp_path, "--set=net=googlenot"))
    assert code == 2
    assert "did you mean `googlenet`?" in output


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"RAY_AUTH_MODE": "disabled"}, "needs RAY_AUTH_MODE=token"),
        ({"RAY_AUTH_TOKEN": "0" * 64}, "Invalid authentication token"),
        ({"RAY_ADDRESS": "http://elsewhere:8265"}, "unset that variable"),
    ],
)
def test_who_may_not_submit_is_told_why(
    head: Head, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    """No token, another cluster's token, or a variable that leads elsewhere: exit code 2 and what to do."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, output = ended(submitted(head, tmp_path))
    assert code == 2
    assert said in output
    assert "Traceback" not in output


def test_nobody_at_the_address(tmp_path: Path) -> None:
    """Where nobody listens the command ends at once, with 2."""
    places = ("s3://b/m.parquet", "s3://b/run")
    code, output = ended(Command(tmp_path, "submit", *places, "--address", "http://127.0.0.1:9"))
    assert code == 2
    assert "no job server at 'http://127.0.0.1:9': " in output


class ElsewhereHandler(BaseHTTPRequestHandler):
    """The two answers of a job server whose cluster is another machine."""

    def do_GET(self) -> None:
        answers: dict[str, Any] = {
            "/api/version": {"version": "4", "ray_version": "2.60.0", "ray_commit": ""},
            "/api/v0/nodes": {"result": True, "msg": "", "data": {"result": _nodes("203.0.113.7")}},
        }
        body = json.dumps(answers[self.path.partition("?")[0]]).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _nodes(*hosts: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"resources_total": {}, "labels": {}}
    numbers = dict.fromkeys(["start_time_ms", "end_time_ms"], 0)
    same = {"state": "ALIVE", "state_message": None, "is_head_node": True, **empty, **numbers}
    listed = [{"node_id": host, "node_ip": host, "node_name": host, **same} for host in hosts]
    counts = {"total": len(listed), "num_after_truncation": len(listed), "num_filtered": len(listed)}
    return {"result": listed, "partial_failure_warning": "", "warnings": [], **counts}


@pytest.mark.parametrize(
    "places",
    [
        ["m.parquet", "s3://b/run"],
        ["s3://b/m.parquet", "run"],
        ["s3://b/m.parquet", "s3://b/run", "--set=weights=mine/w.safetensors"],
    ],
)
def test_paths_are_refused_by_a_cluster_elsewhere(tmp_path: Path, places: list[str]) -> None:
    """A cluster of other machines is not given paths of this one; the error names the path and what to give."""
    with ThreadingHTTPServer(("127.0.0.1", 0), ElsewhereHandler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        code, output = ended(Command(tmp_path, "submit", *places, "--address", address))
        server.shutdown()
    assert code == 2
    assert "is a path on this machine, and the job runs on others: put it on s3://" in output
