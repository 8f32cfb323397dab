"""Tells Ray when EC2 takes a spot machine back: `python -m dreamjobs.engine.spot`, on each worker beside its raylet.

EC2 gives notice two minutes ahead, in the machine's metadata (IMDSv2, `spot/instance-action`); Ray does not look there.
The node is then drained: Ray puts nothing new on it, and a run's actors there end what they are at. Elsewhere than on a
spot machine this waits and does nothing. AWS_EC2_METADATA_SERVICE_ENDPOINT names another server, as for boto3.
"""

import json
import logging
import os
import subprocess
import sys
import time
import urllib.request
from datetime import UTC, datetime

_LOOK_S = 5.0
_AGAIN_S = 3.0
_TIMEOUT_S = 2.0
_LOG = logging.getLogger("dreamjobs.spot")


def main() -> None:
    """Wait for the notice, then have Ray drain the node of this machine."""
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
    _LOG.info("waiting for a notice from %s", endpoint)
    while (until := notice(endpoint)) is None:
        time.sleep(_LOOK_S)
    _LOG.warning("this machine will be taken at %s", until)
    sys.exit(keep_draining(until))


def notice(endpoint: str) -> datetime | None:
    """When this machine will be taken, if that is known; None also where the metadata cannot be read just now."""
    try:
        token = _ask(endpoint, "api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"}, method="PUT")
        action = _ask(endpoint, "meta-data/spot/instance-action", {"X-aws-ec2-metadata-token": token})
    except OSError:  # 404 while there is no notice; a server that is busy or not there
        return None
    return datetime.fromisoformat(json.loads(action)["time"])


def keep_draining(until: datetime) -> int:
    """Have the node drained; where that fails, as while the head is busy, again until the machine's time is over."""
    while (code := drain(until)) and datetime.now(UTC) < until:
        _LOG.warning("the drain ended with %d; once more", code)
        time.sleep(_AGAIN_S)
    return code


def drain(until: datetime) -> int:
    """The exit code of Ray's own command, which drains the node that it is called on."""
    left_s = max(0, int((until - datetime.now(UTC)).total_seconds()))
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", f"--deadline-remaining-seconds={left_s}"]
    reason = ["--reason=DRAIN_NODE_REASON_PREEMPTION", "--reason-message=spot notice"]
    return subprocess.run([*command, *reason], check=False).returncode


def _ask(endpoint: str, path: str, headers: dict[str, str], *, method: str = "GET") -> str:
    request = urllib.request.Request(f"{endpoint}/latest/{path}", headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        return str(answer.read().decode())


if __name__ == "__main__":
    main()
